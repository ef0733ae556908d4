"""Packed opcodes: two results an instruction."""

from .row import Row, f16, f32, u32


def pair(low: int, high: int) -> int:
    """Two 16-bit values in one register."""
    return (low & 0xFFFF) | (high & 0xFFFF) << 16


A, B, C = "v[2:3]", "v[4:5]", "v[6:7]"
WORDS = {"v2": f32(1.5), "v3": f32(-2.0), "v4": f32(4.0), "v5": f32(0.5), "v6": f32(10.0), "v7": f32(20.0)}
HALVES = {"v1": pair(f16(1.5), f16(-2.0)), "v2": pair(f16(4.0), f16(0.5)), "v3": pair(f16(10.0), f16(20.0))}


def _words(text: str, low: float, high: float, **more: int) -> Row:
    return Row(text, WORDS | more, {"v0": f32(low), "v1": f32(high)})


def _halves(text: str, low: float, high: float, **more: int) -> Row:
    return Row(text, HALVES | more, {"v0": pair(f16(low), f16(high))})


def _integers(text: str, first: int, second: int, found: int, **more: int) -> Row:
    return Row(text, {"v1": first, "v2": second, **more}, {"v0": found})


ROWS = [
    _words(f"v_pk_add_f32 v[0:1], {A}, {B}", 5.5, -1.5),
    _words(f"v_pk_mul_f32 v[0:1], {A}, {B}", 6.0, -1.0),
    _words(f"v_pk_fma_f32 v[0:1], {A}, {B}, {C}", 16.0, 19.0),
    _words(f"v_pk_add_f32 v[0:1], {A}, {B} op_sel:[1,0] op_sel_hi:[0,1]", 2.0, 2.0),
    _words(f"v_pk_add_f32 v[0:1], {A}, {B} op_sel_hi:[0,0]", 5.5, 5.5),
    _words(f"v_pk_add_f32 v[0:1], {A}, {B} neg_lo:[1,0] neg_hi:[0,1]", 2.5, -2.5),
    _words(f"v_pk_fma_f32 v[0:1], {A}, {B}, {C} neg_lo:[1,0,0] neg_hi:[1,0,0]", 4.0, 21.0),
    _words(f"v_pk_mul_f32 v[0:1], s[10:11], {A} op_sel_hi:[0,1]", 4.5, -6.0, s10=f32(3.0), s11=f32(100.0)),
    _words(f"v_pk_mul_f32 v[0:1], s[10:11], {A}", 4.5, -200.0, s10=f32(3.0), s11=f32(100.0)),
    _words(f"v_pk_add_f32 v[0:1], {A}, 1.0 op_sel_hi:[1,0]", 2.5, -1.0),
    _words(f"v_pk_add_f32 v[0:1], {A}, 0 op_sel_hi:[1,0] neg_lo:[1,0] neg_hi:[1,0]", -1.5, 2.0),
    _words(f"v_pk_mul_f32 v[0:1], {A}, {B} clamp", 1.0, 0.0),
    _words(f"v_pk_mov_b32 v[0:1], {A}, {B}", 1.5, 4.0),
    _words(f"v_pk_mov_b32 v[0:1], {A}, {B} op_sel:[1,0]", -2.0, 4.0),
    _words(f"v_pk_mov_b32 v[0:1], {A}, {B} op_sel:[0,1]", 1.5, 0.5),
    Row("v_pk_mov_b32 v[0:1], v[0:1], v[0:1] op_sel:[1,0]", {"v0": 1, "v1": 2}, {"v0": 2, "v1": 1}),
    Row("v_pk_mov_b32 v[0:1], s[2:3], -1 op_sel:[1,0]", {"s2": 5, "s3": 6}, {"v0": 6, "v1": u32(-1)}),
    _halves("v_pk_add_f16 v0, v1, v2", 5.5, -1.5),
    _halves("v_pk_mul_f16 v0, v1, v2", 6.0, -1.0),
    _halves("v_pk_fma_f16 v0, v1, v2, v3", 16.0, 19.0),
    _halves("v_pk_fmac_f16 v0, v1, v2", 16.0, 19.0, v0=pair(f16(10.0), f16(20.0))),
    _halves("v_pk_min_f16 v0, v1, v2", 1.5, -2.0),
    _halves("v_pk_max_f16 v0, v1, v2", 4.0, 0.5),
    _halves("v_pk_add_f16 v0, v1, v2 op_sel:[1,0] op_sel_hi:[0,1]", 2.0, 2.0),
    _halves("v_pk_add_f16 v0, v1, v2 op_sel:[0,1] op_sel_hi:[1,0]", 2.0, 2.0),
    _halves("v_pk_add_f16 v0, v1, v2 neg_lo:[0,1] neg_hi:[1,0]", -2.5, 2.5),
    _halves("v_pk_fma_f16 v0, v1, v2, v3 clamp", 1.0, 1.0),
    _halves("v_pk_mul_f16 v0, v1, s2", 3.0, -8.0, s2=pair(f16(2.0), f16(4.0))),
    # An inline real number stands in the low half, zero above it; an integer is sign-extended.
    _halves("v_pk_add_f16 v0, v1, 1.0", 2.5, -2.0),
    _halves("v_pk_add_f16 v0, v1, 1.0 op_sel_hi:[1,0]", 2.5, -1.0),
    _integers("v_pk_add_u16 v0, v1, -1", pair(5, 7), 0, pair(4, 6)),
    _integers("v_pk_add_u16 v0, v1, 3", pair(5, 7), 0, pair(8, 7)),
    _integers("v_pk_add_u16 v0, v1, 3 op_sel_hi:[1,0]", pair(5, 7), 0, pair(8, 10)),
    _integers("v_pk_add_u16 v0, v1, 1.0", pair(5, 7), 0, pair(5, 7 + 0x3F80)),
    _integers("v_pk_lshlrev_b16 v0, 8, v1 op_sel_hi:[0,1]", pair(0x12, 0x34), 0, pair(0x1200, 0x3400)),
    _integers("v_pk_add_u16 v0, v1, v2", pair(0xFFFF, 7), pair(2, 3), pair(1, 10)),
    _integers("v_pk_add_i16 v0, v1, v2", pair(0xFFFF, 7), pair(2, 3), pair(1, 10)),
    _integers("v_pk_sub_u16 v0, v1, v2", pair(1, 7), pair(2, 3), pair(-1, 4)),
    _integers("v_pk_sub_i16 v0, v1, v2", pair(1, 7), pair(2, 3), pair(-1, 4)),
    _integers("v_pk_mul_lo_u16 v0, v1, v2", pair(0x101, 7), pair(0x102, 3), pair(0x302, 21)),
    _integers("v_pk_mad_u16 v0, v1, v2, v3", pair(0x101, 7), pair(0x102, 3), pair(0x303, 23), v3=pair(1, 2)),
    _integers("v_pk_mad_i16 v0, v1, v2, v3", pair(-1, 7), pair(3, -3), pair(-2, -19), v3=pair(1, 2)),
    _integers("v_pk_min_u16 v0, v1, v2", pair(0xFFFF, 7), pair(2, 8), pair(2, 7)),
    _integers("v_pk_max_u16 v0, v1, v2", pair(0xFFFF, 7), pair(2, 8), pair(0xFFFF, 8)),
    _integers("v_pk_min_i16 v0, v1, v2", pair(0xFFFF, 7), pair(2, 8), pair(0xFFFF, 7)),
    _integers("v_pk_max_i16 v0, v1, v2", pair(0xFFFF, 7), pair(2, 8), pair(2, 8)),
    _integers("v_pk_lshlrev_b16 v0, v1, v2", pair(4, 17), pair(0x1234, 0x4001), pair(0x2340, 0x8002)),
    _integers("v_pk_lshrrev_b16 v0, v1, v2", pair(4, 17), pair(0x9234, 0x8002), pair(0x923, 0x4001)),
    _integers("v_pk_ashrrev_i16 v0, v1, v2", pair(4, 17), pair(0x9234, 0x8002), pair(0xF923, 0xC001)),
    _integers("v_pk_add_i16 v0, v1, v2 clamp", pair(0x7FFF, 0x8000), pair(1, -1), pair(0x7FFF, 0x8000)),
    _integers("v_pk_sub_u16 v0, v1, v2 clamp", pair(1, 7), pair(2, 3), pair(0, 4)),
]  # fmt: skip
