"""What the encodings add to any opcode: constants, signs, clamps, moved lanes, parts of registers, and lanes
switched off.
"""

from .row import FULL, PARTIAL, Lanes, NaN, Row, f16, f32, f64, u32, u64

INF = float("inf")
ALL = "row_mask:0xf bank_mask:0xf"
TURN32, TURN16, TURN64 = 0x3E22F983, 0x3118, 0x3FC45F306DC9C882  # 1 / (2 pi)


def _lane(lane: int) -> int:
    return 1000 + lane


def _moved(
    control: str, source, exec_mask: int, masks: str = ALL, row_mask: int = 0xF, bank_mask: int = 0xF
) -> list[Row]:
    """v_mov_b32_dpp with and without bound_ctrl. `source` gives the lane that a lane reads, or None where
    there is none.
    """

    def kept(lane: int) -> bool:
        inside = row_mask >> lane // 16 & 1 and bank_mask >> lane % 16 // 4 & 1
        return not (inside and exec_mask >> lane & 1)

    def there(lane: int) -> bool:
        return source(lane) is not None and exec_mask >> source(lane) & 1 == 1

    def plain(lane: int) -> int:
        return 7 if kept(lane) or not there(lane) else _lane(source(lane))

    def bounded(lane: int) -> int:
        return 7 if kept(lane) else _lane(source(lane)) if there(lane) else 0

    before = {"v0": 7, "v1": _lane}
    return [
        Row(f"v_mov_b32_dpp v0, v1 {control} {masks}", before, {"v0": plain}, exec=exec_mask),
        Row(f"v_mov_b32_dpp v0, v1 {control} {masks} bound_ctrl:1", before, {"v0": bounded}, exec=exec_mask),
    ]


def _inside_row(shift: int):
    return lambda lane: lane + shift if lane // 16 == (lane + shift) // 16 else None


CONTROLS = [
    ("quad_perm:[1,0,3,2]", lambda lane: lane ^ 1),
    ("quad_perm:[2,2,0,3]", lambda lane: lane // 4 * 4 + (2, 2, 0, 3)[lane % 4]),
    ("row_shl:1", _inside_row(1)),
    ("row_shl:15", _inside_row(15)),
    ("row_shr:1", _inside_row(-1)),
    ("row_shr:8", _inside_row(-8)),
    ("row_ror:3", lambda lane: lane // 16 * 16 + (lane % 16 - 3) % 16),
    ("wave_shl:1", lambda lane: lane + 1 if lane < 63 else None),
    ("wave_rol:1", lambda lane: (lane + 1) % 64),
    ("wave_shr:1", lambda lane: lane - 1 if lane else None),
    ("wave_ror:1", lambda lane: (lane - 1) % 64),
    ("row_mirror", lambda lane: lane // 16 * 16 + 15 - lane % 16),
    ("row_half_mirror", lambda lane: lane // 8 * 8 + 7 - lane % 8),
    ("row_bcast:15", lambda lane: lane // 16 * 16 - 1 if lane >= 16 else None),
    ("row_bcast:31", lambda lane: 31 if lane >= 32 else None),
    ("row_newbcast:5", lambda lane: lane // 16 * 16 + 5),
]

WORD = 0x8765C3A1
PADDED = "dst_sel:DWORD dst_unused:UNUSED_PAD"

ROWS = [
    # Constants: -16 to 64 and nine real numbers inline, literals, in the type of the operation.
    Row("v_add_u32_e32 v0, 64, v1", {"v1": 1}, {"v0": 65}),
    Row("v_add_u32_e32 v0, -16, v1", {"v1": 1}, {"v0": u32(-15)}),
    Row("v_mov_b32_e32 v0, 0xdeadbeef", {}, {"v0": 0xDEADBEEF}),
    Row("v_mov_b32_e32 v0, 1.0", {}, {"v0": f32(1.0)}),
    Row("v_mov_b32_e32 v0, 0.15915494", {}, {"v0": TURN32}),
    Row("v_mul_f32_e32 v0, 0.15915494, v1", {"v1": f32(1.0)}, {"v0": TURN32}),
    Row("v_mul_f16_e32 v0, 0.15915494, v1", {"v1": f16(1.0)}, {"v0": TURN16}),
    Row("v_mul_f64 v[0:1], v[2:3], 0.15915494309189532", {"v[2:3]": f64(1.0)}, {"v[0:1]": TURN64}),
    Row("v_add_f32_e32 v0, -4.0, v1", {"v1": f32(1.0)}, {"v0": f32(-3.0)}),
    Row("v_max_f32_e32 v0, 1, v1", {"v1": 0}, {"v0": 1}),  # an integer is its own bits: the least denormal
    Row("v_add_f16_e32 v0, 0.5, v1", {"v1": f16(1.0)}, {"v0": f16(1.5)}),
    Row("v_add_f16_e32 v0, 0x3c00, v1", {"v1": f16(1.0)}, {"v0": f16(2.0)}),
    Row("v_add_f64 v[0:1], v[2:3], 2.0", {"v[2:3]": f64(1.0)}, {"v[0:1]": f64(3.0)}),
    Row("v_max_f64 v[0:1], v[2:3], 1", {"v[2:3]": 0}, {"v[0:1]": 1}),
    Row("v_fmac_f64_e32 v[0:1], 0xc1f00000, v[2:3]", {"v[0:1]": 0, "v[2:3]": f64(1.0)},
        {"v[0:1]": f64(-(2.0**32))}),
    Row("v_add_u16_e32 v0, -1, v1", {"v1": 3}, {"v0": 2}),
    Row("v_mov_b64_e32 v[0:1], -1", {}, {"v[0:1]": u64(-1)}),
    Row("v_mov_b64_e32 v[0:1], 1.0", {}, {"v[0:1]": f64(1.0)}),
    Row("v_lshl_add_u64 v[0:1], v[2:3], 0, -3", {"v[2:3]": 5}, {"v[0:1]": 2}),
    Row("v_cmp_lt_i64_e32 vcc, -5, v[2:3]", {"v[2:3]": [u64(-4), u64(-5)]}, {"vcc": Lanes([1, 0])}),
    Row("v_add_u32_e32 v0, m0, v1", {"m0": 4, "v1": 1}, {"v0": 5}),
    Row("v_mov_b32_e32 v0, vcc_hi", {"vcc_hi": 4}, {"v0": 4}),
    Row("v_mov_b32_e32 v0, exec_hi", {"v0": 0}, {"v0": lambda lane: int(lane == 32)}, exec=1 << 32),
    Row("v_mov_b32_e32 v0, src_scc", {"scc": 1}, {"v0": 1, "scc": 1}),
    # Signs of sources.
    Row("v_add_f32_e64 v0, -v1, |v2|", {"v1": f32(1.0), "v2": f32(-3.0)}, {"v0": f32(2.0)}),
    Row("v_add_f32_e64 v0, -|v1|, s2", {"v1": f32(-1.0), "s2": f32(3.0)}, {"v0": f32(2.0)}),
    Row("v_mul_f32_e64 v0, v1, -s2", {"v1": f32(2.0), "s2": f32(3.0)}, {"v0": f32(-6.0)}),
    Row("v_add_f64 v[0:1], -v[2:3], |s[2:3]|", {"v[2:3]": f64(1.0), "s[2:3]": f64(-3.0)},
        {"v[0:1]": f64(2.0)}),
    Row("v_fma_f16 v0, -v1, |v2|, v3", {"v0": 0, "v1": f16(1.0), "v2": f16(-3.0), "v3": f16(1.0)},
        {"v0": f16(-2.0)}),
    Row("v_pack_b32_f16 v0, -v1, |v2|", {"v1": f16(1.0), "v2": f16(-3.0)},
        {"v0": f16(-1.0) | f16(3.0) << 16}),
    Row("v_max_f32_e64 v0, -vcc_hi, v1", {"vcc_hi": f32(-2.0), "v1": f32(1.0)}, {"v0": f32(2.0)}),
    # Clamps: real numbers to 0..1, NaN to 0; integers to their range.
    Row("v_add_f32_e64 v0, v1, v2 clamp",
        {"v1": [*f32(0.25, 2.0, -3.0, -0.0), 0x7FC00000], "v2": f32(0.0, 0.0, 1.0, -0.0, 0.0)},
        {"v0": f32(0.25, 1.0, 0.0, 0.0, 0.0)}),
    Row("v_mul_f16_e64 v0, v1, v2 clamp", {"v1": f16(0.5, 2.0, -1.0), "v2": f16(1.0)},
        {"v0": f16(0.5, 1.0, 0.0)}),
    Row("v_max_f64 v[0:1], v[2:3], v[2:3] clamp", {"v[2:3]": f64(0.5, 2.0, -1.0)},
        {"v[0:1]": f64(0.5, 1.0, 0.0)}),
    Row("v_add_u32_e64 v0, v1, v2 clamp", {"v1": u32(-1), "v2": [1, 0]}, {"v0": u32(-1)}),
    Row("v_sub_u32_e64 v0, v1, 1 clamp", {"v1": [0, 5]}, {"v0": [0, 4]}),
    Row("v_subrev_u32_e64 v0, 1, v1 clamp", {"v1": [0, 5]}, {"v0": [0, 4]}),
    Row("v_add_i32 v0, v1, v2 clamp", {"v1": [0x7FFFFFFF, 0x80000000, 5], "v2": [1, u32(-1), u32(-1)]},
        {"v0": [0x7FFFFFFF, 0x80000000, 4]}),
    Row("v_sub_i32 v0, v1, v2 clamp", {"v1": [0x7FFFFFFF, 0x80000000, 5], "v2": [u32(-1), 1, 6]},
        {"v0": [0x7FFFFFFF, 0x80000000, u32(-1)]}),
    Row("v_add_u16_e64 v0, v1, v2 clamp", {"v1": 0xFFFF, "v2": 2}, {"v0": 0xFFFF}),
    Row("v_sub_i16 v0, v1, v2 clamp", {"v1": [0x8000, 3], "v2": 1}, {"v0": [0x8000, 2]}),
    Row("v_mad_u32_u24 v0, v1, v2, v3 clamp", {"v1": 0xFFFFFF, "v2": [0xFFFFFF, 2], "v3": 1},
        {"v0": [u32(-1), 0x1FFFFFF]}),
    Row("v_mad_i32_i24 v0, v1, v2, v3 clamp", {"v1": 0x800000, "v2": [0x7FFFFF, 2], "v3": 1},
        {"v0": [0x80000000, u32(1 - (1 << 24))]}),
    Row("v_mad_u16 v0, v1, v2, v3 clamp", {"v0": 0, "v1": 0x100, "v2": [0x100, 2], "v3": 1},
        {"v0": [0xFFFF, 0x201]}),
    # Halves of registers.
    Row("v_mad_u16 v0, v1, v2, v3 op_sel:[1,0,1,0]",
        {"v0": 0xABCD0000, "v1": 3 << 16, "v2": 5, "v3": 7 << 16}, {"v0": 0xABCD0016}),
    Row("v_mad_u16 v0, v1, v2, v3 op_sel:[0,0,0,1]", {"v0": 0xABCD, "v1": 3, "v2": 5, "v3": 7},
        {"v0": 0x16ABCD}),
    Row("v_fma_f16 v0, v1, v2, v3 op_sel:[1,1,0,1]",
        {"v0": 0xABCD, "v1": f16(2.0) << 16, "v2": f16(3.0) << 16, "v3": f16(1.0)},
        {"v0": f16(7.0) << 16 | 0xABCD}),
    Row("v_pack_b32_f16 v0, v1, v2 op_sel:[1,0,0]", {"v1": 0x1234AAAA, "v2": 0xBBBB5678}, {"v0": 0x56781234}),
    Row("v_pack_b32_f16 v0, v1, v2 op_sel:[1,1,0]", {"v1": 0x1234AAAA, "v2": 0xBBBB5678}, {"v0": 0xBBBB1234}),
    # Lanes moved within rows and across them.
    *(row for control, source in CONTROLS for mask in (FULL, PARTIAL)
        for row in _moved(control, source, mask)),
    *_moved("row_shr:2", _inside_row(-2), FULL, "row_mask:0xa bank_mask:0xc", 0xA, 0xC),
    *_moved("quad_perm:[3,2,1,0]", lambda lane: lane ^ 3, PARTIAL, "row_mask:0x5 bank_mask:0x3", 0x5, 0x3),
    Row(f"v_add_u32_dpp v0, v1, v2 row_shr:1 {ALL}", {"v0": 7, "v1": _lane, "v2": 5},
        {"v0": lambda lane: 1004 + lane if lane % 16 else 7}, exec=FULL),
    Row(f"v_add_f32_dpp v0, -v1, |v2| row_shl:1 {ALL} bound_ctrl:1", {"v1": f32(1.0), "v2": f32(-3.0)},
        {"v0": lambda lane: f32(3.0 if lane % 16 == 15 else 2.0)}, exec=FULL),
    Row(f"v_fmac_f32_dpp v0, v1, v2 quad_perm:[1,0,3,2] {ALL}",
        {"v0": f32(1.0), "v1": f32(2.0, 3.0), "v2": f32(5.0)}, {"v0": f32(16.0, 11.0)}, exec=FULL),
    Row(f"v_max_i32_dpp v0, v0, v0 row_shr:1 {ALL} bound_ctrl:1", {"v0": _lane}, {"v0": _lane}, exec=FULL),
    Row(f"v_cndmask_b32_dpp v0, v1, v2, vcc row_mirror {ALL}",
        {"v1": lambda lane: lane % 16, "v2": 99, "vcc": Lanes([0, 1])},
        {"v0": lambda lane: 99 if lane % 2 else 15 - lane % 16}, exec=FULL),
    Row(f"v_add_co_u32_dpp v0, vcc, v1, v2 row_ror:1 {ALL}", {"v1": [1, u32(-1)], "v2": 1},
        {"v0": [0, 2], "vcc": Lanes([1, 0])}, exec=FULL),
    Row(f"v_mov_b64_dpp v[0:1], v[2:3] row_newbcast:1 {ALL}", {"v[2:3]": [5, 6 << 33, 7, 8]},
        {"v[0:1]": 6 << 33}, exec=FULL),
    Row(f"v_cvt_f32_f16_dpp v0, v1 quad_perm:[1,0,3,2] {ALL}", {"v1": f16(1.0, 2.0)}, {"v0": f32(2.0, 1.0)},
        exec=FULL),
    # Parts of registers, as sources.
    *(
        Row(f"v_mov_b32_sdwa v0, v1 {PADDED} src0_sel:{select}", {"v1": WORD}, {"v0": found})
        for select,
            found in (("BYTE_0", 0xA1), ("BYTE_1", 0xC3), ("BYTE_2", 0x65), ("BYTE_3", 0x87),
            ("WORD_0", 0xC3A1), ("WORD_1", 0x8765), ("DWORD", WORD))
    ),
    *(
        Row(f"v_mov_b32_sdwa v0, sext(v1) {PADDED} src0_sel:{select}", {"v1": WORD}, {"v0": found})
        for select,
            found in (("BYTE_0", u32(0xA1 - 256)), ("BYTE_2", 0x65), ("WORD_0", u32(0xC3A1 - 65536)),
            ("WORD_1", u32(0x8765 - 65536)))
    ),
    # As destinations: the rest zero, sign-extended, or kept.
    *(
        Row(f"v_mov_b32_sdwa v0, v1 dst_sel:{select} dst_unused:UNUSED_{rest} src0_sel:DWORD",
            {"v0": 0x11223344, "v1": 0xFFFF80F5}, {"v0": found})
        for select, rest, found in (
            ("BYTE_0", "PAD", 0xF5), ("BYTE_1", "PAD", 0xF500), ("BYTE_3", "PAD", 0xF5000000),
                ("WORD_0", "PAD", 0x80F5),
            ("WORD_1", "PAD", 0x80F50000), ("BYTE_0", "SEXT", 0xFFFFFFF5), ("BYTE_1", "SEXT", 0xFFFFF500),
            ("WORD_0", "SEXT", 0xFFFF80F5), ("WORD_1", "SEXT", 0x80F50000),
                ("BYTE_0", "PRESERVE", 0x112233F5),
            ("BYTE_2", "PRESERVE", 0x11F53344), ("WORD_1", "PRESERVE", 0x80F53344),
                ("DWORD", "PRESERVE", 0xFFFF80F5),
        )
    ),
    Row("v_or_b32_sdwa v0, v1, v2 dst_sel:BYTE_1 dst_unused:UNUSED_PAD src0_sel:DWORD src1_sel:BYTE_0",
        {"v1": 0x0F, "v2": 0xABF0}, {"v0": 0xFF00}),
    Row(f"v_and_b32_sdwa v0, v1, s1 {PADDED} src0_sel:BYTE_3 src1_sel:DWORD", {"v1": 0xC5000000, "s1": 0x8F},
        {"v0": 0x85}),
    Row(f"v_add_u32_sdwa v0, sext(v1), sext(v2) {PADDED} src0_sel:BYTE_0 src1_sel:BYTE_1",
        {"v1": 0xFF, "v2": 0x8000}, {"v0": u32(-129)}),
    Row(f"v_sub_u32_sdwa v0, v1, s1 clamp {PADDED} src0_sel:BYTE_0 src1_sel:DWORD",
        {"v1": [0xABCD05, 0x03], "s1": 4}, {"v0": [1, 0]}),
    Row(f"v_max_i16_sdwa v0, sext(v1), sext(v2) {PADDED} src0_sel:BYTE_0 src1_sel:BYTE_0",
        {"v1": 0xFF, "v2": 0x80}, {"v0": 0xFFFF}),
    Row(f"v_lshlrev_b16_sdwa v0, v1, v2 {PADDED} src0_sel:DWORD src1_sel:BYTE_3", {"v1": 4, "v2": 0xF1000000},
        {"v0": 0xF10}),
    Row(f"v_lshlrev_b32_sdwa v0, v1, v2 {PADDED} src0_sel:DWORD src1_sel:WORD_1", {"v1": 4, "v2": 0xF1230000},
        {"v0": 0xF1230}),
    Row(f"v_add_f16_sdwa v0, v1, -v2 {PADDED} src0_sel:WORD_1 src1_sel:DWORD",
        {"v1": f16(3.0) << 16, "v2": f16(1.0)}, {"v0": f16(2.0)}),
    Row(
        "v_add_f16_sdwa v0, |v1|, v2 dst_sel:WORD_1 dst_unused:UNUSED_PRESERVE"
        " src0_sel:WORD_1 src1_sel:WORD_1",
        {"v0": 0xABCD, "v1": f16(-3.0) << 16, "v2": f16(1.0) << 16}, {"v0": f16(4.0) << 16 | 0xABCD}),
    Row(f"v_cvt_f32_i32_sdwa v0, sext(v1) {PADDED} src0_sel:BYTE_2", {"v1": 0xFE0000}, {"v0": f32(-2.0)}),
    Row(f"v_cvt_f32_f16_sdwa v0, v1 {PADDED} src0_sel:WORD_1", {"v1": f16(1.5) << 16}, {"v0": f32(1.5)}),
    Row("v_cvt_i16_f16_sdwa v0, v1 dst_sel:BYTE_1 dst_unused:UNUSED_PAD src0_sel:WORD_1",
        {"v1": f16(-2.0) << 16}, {"v0": 0xFE00}),
    Row(f"v_add_co_u32_sdwa v0, vcc, v1, v2 {PADDED} src0_sel:WORD_0 src1_sel:DWORD",
        {"v1": 0xABCDFFFF, "v2": [1, 0xFFFF0001]}, {"v0": [0x10000, 0], "vcc": Lanes([0, 1])}),
    # A result that is also a source.
    Row("v_sub_u32_e32 v0, v1, v0", {"v0": 3, "v1": 10}, {"v0": 7}),
    Row("v_lshlrev_b64 v[0:1], 1, v[0:1]", {"v[0:1]": 0x80000000}, {"v[0:1]": 1 << 32}),
    Row("v_mad_u64_u32 v[0:1], s[0:1], v0, v1, v[0:1]", {"v0": 3, "v1": 5},
        {"v[0:1]": 15 + 3 + (5 << 32), "s[0:1]": 0}),
    Row("v_pk_add_f32 v[0:1], v[0:1], v[0:1] op_sel:[1,1] op_sel_hi:[0,0]", {"v0": f32(1.0), "v1": f32(3.0)},
        {"v0": f32(6.0), "v1": f32(2.0)}),
    Row("v_add_f32_e32 v0, v1, v2", {"v1": f32(INF), "v2": f32(-INF)}, {"v0": NaN(32)}),
    # No lane at all.
    Row("v_add_u32_e32 v0, v1, v2", {"v0": 5, "v1": 1, "v2": 2}, {"v0": 5}, exec=0),
    Row("v_cmp_eq_u32_e32 vcc, v1, v1", {}, {"vcc": 0}, exec=0),
]  # fmt: skip
