"""Integer and bit vector opcodes (MI300 ISA manual, chapter "Instructions", VOP1, VOP2 and VOP3)."""

from collections.abc import Callable

import numpy as np

from ..vector import Op, op

Array = np.ndarray


def _shift(count: Array, width: int) -> Array:
    return count & count.dtype.type(width - 1)


def _lshl(a: Array, count: Array) -> Array:
    return np.left_shift(a, _shift(count, 32))


def _lshl64(a: Array, count: Array) -> Array:
    return np.left_shift(a, (count & np.uint32(63)).astype(np.uint64))


def _lshr(a: Array, count: Array) -> Array:
    return np.right_shift(a, _shift(count, 32))


def _ashr(a: Array, count: Array) -> Array:
    return np.right_shift(a, (count & np.uint32(31)).astype(np.int32))


def _mul_hi_u32(a: Array, b: Array) -> Array:
    return (np.multiply(a, b, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32)


def _mul_hi_i32(a: Array, b: Array) -> Array:
    return (np.multiply(a, b, dtype=np.int64) >> np.int64(32)).astype(np.int32)


def _u24(a: Array) -> Array:
    return a & np.uint32(0xFFFFFF)


def _i24(a: Array) -> Array:
    return ((a & np.int32(0xFFFFFF)) ^ np.int32(0x800000)) - np.int32(0x800000)


def _bfe_u32(a: Array, offset: Array, width: Array) -> Array:
    width = width & np.uint32(31)
    return (a >> (offset & np.uint32(31))) & ((np.uint32(1) << width) - np.uint32(1))


def _bfe_i32(a: Array, offset: Array, width: Array) -> Array:
    width = (width & np.uint32(31)).astype(np.int32)
    shifted = a >> (offset & np.uint32(31)).astype(np.int32)
    spare = (np.int32(32) - width) & np.int32(31)
    return np.where(width == 0, np.int32(0), (shifted << spare) >> spare)


def _bfi(mask: Array, inside: Array, outside: Array) -> Array:
    return (mask & inside) | (~mask & outside)


def _bfm(width: Array, offset: Array) -> Array:
    return ((np.uint32(1) << (width & np.uint32(31))) - np.uint32(1)) << (offset & np.uint32(31))


def reverse_bits(a: Array) -> Array:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        s, m = np.uint32(shift), np.uint32(mask)
        a = ((a >> s) & m) | ((a & m) << s)
    return a


def highest_bit(a: Array) -> Array:
    """Leading zeros; all ones where there is no set bit (v_ffbh_u32)."""
    _, exponent = np.frexp(a.astype(np.float64))
    return np.where(a == 0, -1, 32 - exponent).astype(np.int32).view(np.uint32)


def lowest_bit(a: Array) -> Array:
    """Trailing zeros; all ones where there is no set bit (v_ffbl_b32)."""
    lowest = a & (~a + np.uint32(1))
    return np.where(a == 0, np.uint32(0xFFFFFFFF), np.uint32(31) - highest_bit(lowest))


def highest_other(a: Array) -> Array:
    """Bits from the top that equal the sign; all ones where all do (v_ffbh_i32)."""
    flipped = np.where(a < 0, ~a, a).view(np.uint32)
    return highest_bit(flipped)


def _perm(a: Array, b: Array, selector: Array) -> Array:
    """v_perm_b32: bytes of {a, b}, b the low half; selector 8 to 11 sign bits, 12 zero, above all ones."""
    if selector.shape[-1:] != (64,) and (selector == selector.flat[0]).all():
        chosen = int(selector.flat[0]).to_bytes(4, "little")
        if max(chosen) < 8:
            return _bytes_of(a, b, chosen)
    return _permuted(a, b, selector)


def _bytes_of(a: Array, b: Array, chosen: bytes) -> Array:
    """The quick way where all lanes choose alike, and bytes only."""
    a, b = np.broadcast_arrays(a, b)
    source, made = (np.stack([b, a], axis=-1).view(np.uint8), np.empty((*a.shape, 4), np.uint8))
    for place, byte in enumerate(chosen):
        made[..., place] = source[..., byte]
    return made.view(np.uint32)[..., 0]


def _permuted(a: Array, b: Array, selector: Array) -> Array:
    a, b, selector = np.broadcast_arrays(a, b, selector)
    source = (a.astype(np.uint64) << np.uint64(32)) | b
    result = np.zeros(a.shape, np.uint32)
    for place in range(4):
        chosen = (selector >> np.uint32(8 * place)) & np.uint32(0xFF)
        byte = (source >> (chosen & np.uint32(7)).astype(np.uint64) * np.uint64(8)) & np.uint64(0xFF)
        if (chosen > 7).any():
            sign_at = np.uint64(15) + np.uint64(16) * (chosen & np.uint32(3)).astype(np.uint64)
            sign = ((source >> sign_at) & np.uint64(1)) * np.uint64(0xFF)
            byte = np.where(
                chosen > 7,
                np.where(chosen >= 13, np.uint64(0xFF), np.where(chosen == 12, np.uint64(0), sign)),
                byte,
            )
        result |= byte.astype(np.uint32) << np.uint32(8 * place)
    return result


def _alignbit(a: Array, b: Array, count: Array) -> Array:
    joined = (a.astype(np.uint64) << np.uint64(32)) | b
    return (joined >> (count & np.uint32(31)).astype(np.uint64)).astype(np.uint32)


def _alignbyte(a: Array, b: Array, count: Array) -> Array:
    return _alignbit(a, b, (count & np.uint32(3)) * np.uint32(8))


def _sad(a: Array, b: Array, c: Array) -> Array:
    return np.maximum(a, b) - np.minimum(a, b) + c


def _min3(a: Array, b: Array, c: Array) -> Array:
    return np.minimum(np.minimum(a, b), c)


def _max3(a: Array, b: Array, c: Array) -> Array:
    return np.maximum(np.maximum(a, b), c)


def _mad(a: Array, b: Array, c: Array) -> Array:
    return a * b + c


def _med3(a: Array, b: Array, c: Array) -> Array:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _shorts(a: Array) -> list[Array]:
    """The two int16 of each word as int64, low one first."""
    return [
        a.astype(np.uint16).view(np.int16).astype(np.int64),
        (a.view(np.int32) >> np.int32(16)).astype(np.int64),
    ]


def _saturate_bytes(a: Array) -> Array:
    low, high = (np.clip(each, 0, 255).astype(np.uint16) for each in _shorts(a))
    return low | (high << np.uint16(8))


def _pack_clipped(low: int, high: int) -> Callable[[Array, Array], Array]:
    """Two 32-bit integers clipped to 16 bits, in one register."""

    def pack(a: Array, b: Array) -> Array:
        first, second = (np.clip(each, low, high).astype(np.uint32) & np.uint32(0xFFFF) for each in (a, b))
        return first | (second << np.uint32(16))

    return pack


def _pack16(a: Array, b: Array) -> Array:
    return a.view(np.uint16).astype(np.uint32) | (b.view(np.uint16).astype(np.uint32) << np.uint32(16))


def _cndmask(a: Array, b: Array, mask: Array) -> Array:
    return np.where(mask, b, a)


def _flip(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda a, b: function(b, a)


def _dot(bits: int, signed: bool) -> Callable[[Array, Array, Array], Array]:
    """Sum of the products of the words' fields of `bits` bits, and the last source."""

    def field(a: Array, place: int) -> Array:
        if signed:
            return (a.view(np.int32) << np.int32(32 - bits - place)) >> np.int32(32 - bits)
        return (a >> np.uint32(place)) & np.uint32((1 << bits) - 1)

    def dot(a: Array, b: Array, c: Array) -> Array:
        total = c
        for place in range(0, 32, bits):
            total = total + field(a, place) * field(b, place)
        return total

    return dot


TABLE: dict[str, Op] = {
    "v_mov_b32": op(np.positive, "u32", "u32"),
    "v_mov_b64": op(np.positive, "u64", "u64"),
    "v_accvgpr_read_b32": op(np.positive, "u32", "u32"),
    "v_accvgpr_write_b32": op(np.positive, "u32", "u32"),
    "v_accvgpr_mov_b32": op(np.positive, "u32", "u32"),
    "v_not_b32": op(np.invert, "u32", "u32"),
    "v_bfrev_b32": op(reverse_bits, "u32", "u32"),
    "v_ffbh_u32": op(highest_bit, "u32", "u32"),
    "v_ffbl_b32": op(lowest_bit, "u32", "u32"),
    "v_ffbh_i32": op(highest_other, "u32", "i32"),
    "v_bcnt_u32_b32": op(lambda a, b: np.bitwise_count(a) + b, "u32", "u32 u32"),
    "v_add_u32": op(np.add, "u32", "u32 u32"),
    "v_add_i32": op(np.add, "i32", "i32 i32"),
    "v_sub_u32": op(np.subtract, "u32", "u32 u32"),
    "v_sub_i32": op(np.subtract, "i32", "i32 i32"),
    "v_subrev_u32": op(_flip(np.subtract), "u32", "u32 u32"),
    "v_add3_u32": op(lambda a, b, c: a + b + c, "u32", "u32 u32 u32"),
    "v_mul_lo_u32": op(np.multiply, "u32", "u32 u32"),
    "v_mul_hi_u32": op(_mul_hi_u32, "u32", "u32 u32"),
    "v_mul_hi_i32": op(_mul_hi_i32, "i32", "i32 i32"),
    "v_mul_u32_u24": op(lambda a, b: _u24(a) * _u24(b), "u32", "u32 u32"),
    "v_mul_i32_i24": op(lambda a, b: _i24(a) * _i24(b), "i32", "i32 i32"),
    "v_mul_hi_u32_u24": op(lambda a, b: _mul_hi_u32(_u24(a), _u24(b)), "u32", "u32 u32"),
    "v_mul_hi_i32_i24": op(lambda a, b: _mul_hi_i32(_i24(a), _i24(b)), "i32", "i32 i32"),
    "v_mad_u32_u24": op(lambda a, b, c: _u24(a) * _u24(b) + c, "u32", "u32 u32 u32"),
    "v_mad_i32_i24": op(lambda a, b, c: _i24(a) * _i24(b) + c, "i32", "i32 i32 i32"),
    "v_mad_u32_u16": op(lambda a, b, c: a.astype(np.uint32) * b + c, "u32", "u16 u16 u32"),
    "v_mad_i32_i16": op(lambda a, b, c: a.astype(np.int32) * b + c, "i32", "i16 i16 i32"),
    "v_and_b32": op(np.bitwise_and, "u32", "u32 u32"),
    "v_or_b32": op(np.bitwise_or, "u32", "u32 u32"),
    "v_xor_b32": op(np.bitwise_xor, "u32", "u32 u32"),
    "v_xnor_b32": op(lambda a, b: ~(a ^ b), "u32", "u32 u32"),
    "v_or3_b32": op(lambda a, b, c: a | b | c, "u32", "u32 u32 u32"),
    "v_and_or_b32": op(lambda a, b, c: (a & b) | c, "u32", "u32 u32 u32"),
    "v_lshlrev_b32": op(_flip(_lshl), "u32", "u32 u32"),
    "v_lshrrev_b32": op(_flip(_lshr), "u32", "u32 u32"),
    "v_ashrrev_i32": op(_flip(_ashr), "i32", "u32 i32"),
    "v_lshlrev_b64": op(_flip(_lshl64), "u64", "u32 u64"),
    "v_lshrrev_b64": op(lambda n, a: a >> (n & np.uint32(63)).astype(np.uint64), "u64", "u32 u64"),
    "v_ashrrev_i64": op(lambda n, a: a >> (n & np.uint32(63)).astype(np.int64), "i64", "u32 i64"),
    "v_lshl_add_u32": op(lambda a, n, c: _lshl(a, n) + c, "u32", "u32 u32 u32"),
    "v_add_lshl_u32": op(lambda a, b, n: _lshl(a + b, n), "u32", "u32 u32 u32"),
    "v_lshl_or_b32": op(lambda a, n, c: _lshl(a, n) | c, "u32", "u32 u32 u32"),
    "v_xad_u32": op(lambda a, b, c: (a ^ b) + c, "u32", "u32 u32 u32"),
    "v_lshl_add_u64": op(lambda a, n, c: (a << (n & np.uint32(7))) + c, "u64", "u64 u32 u64"),
    "v_bfe_u32": op(_bfe_u32, "u32", "u32 u32 u32"),
    "v_bfe_i32": op(_bfe_i32, "i32", "i32 u32 u32"),
    "v_bfi_b32": op(_bfi, "u32", "u32 u32 u32"),
    "v_bfm_b32": op(_bfm, "u32", "u32 u32"),
    "v_perm_b32": op(_perm, "u32", "u32 u32 u32"),
    "v_alignbit_b32": op(_alignbit, "u32", "u32 u32 u32"),
    "v_alignbyte_b32": op(_alignbyte, "u32", "u32 u32 u32"),
    "v_sad_u32": op(_sad, "u32", "u32 u32 u32"),
    "v_dot4_i32_i8": op(_dot(8, True), "i32", "u32 u32 i32"),
    "v_dot4c_i32_i8": op(_dot(8, True), "i32", "u32 u32 i32", accumulate=True),
    "v_dot4_u32_u8": op(_dot(8, False), "u32", "u32 u32 u32"),
    "v_dot2_i32_i16": op(_dot(16, True), "i32", "u32 u32 i32"),
    "v_dot2c_i32_i16": op(_dot(16, True), "i32", "u32 u32 i32", accumulate=True),
    "v_dot2_u32_u16": op(_dot(16, False), "u32", "u32 u32 u32"),
    "v_dot8_i32_i4": op(_dot(4, True), "i32", "u32 u32 i32"),
    "v_dot8c_i32_i4": op(_dot(4, True), "i32", "u32 u32 i32", accumulate=True),
    "v_dot8_u32_u4": op(_dot(4, False), "u32", "u32 u32 u32"),
    "v_cvt_pk_u16_u32": op(_pack_clipped(0, 0xFFFF), "u32", "u32 u32"),
    "v_cvt_pk_i16_i32": op(_pack_clipped(-0x8000, 0x7FFF), "u32", "i32 i32"),
    "v_pack_b32_f16": op(_pack16, "u32", "f16 f16"),
    "v_sat_pk_u8_i16": op(_saturate_bytes, "u16", "u32", preserve=True),
}

for _kind in ("u32", "i32"):
    TABLE |= {
        f"v_min_{_kind}": op(np.minimum, _kind, f"{_kind} {_kind}"),
        f"v_max_{_kind}": op(np.maximum, _kind, f"{_kind} {_kind}"),
        f"v_min3_{_kind}": op(_min3, _kind, f"{_kind} {_kind} {_kind}"),
        f"v_max3_{_kind}": op(_max3, _kind, f"{_kind} {_kind} {_kind}"),
        f"v_med3_{_kind}": op(_med3, _kind, f"{_kind} {_kind} {_kind}"),
    }

for _kind in ("u16", "i16"):
    TABLE |= {
        f"v_add_{_kind}": op(np.add, _kind, f"{_kind} {_kind}"),
        f"v_sub_{_kind}": op(np.subtract, _kind, f"{_kind} {_kind}"),
        f"v_min_{_kind}": op(np.minimum, _kind, f"{_kind} {_kind}"),
        f"v_max_{_kind}": op(np.maximum, _kind, f"{_kind} {_kind}"),
        f"v_min3_{_kind}": op(_min3, _kind, f"{_kind} {_kind} {_kind}", preserve=True),
        f"v_max3_{_kind}": op(_max3, _kind, f"{_kind} {_kind} {_kind}", preserve=True),
        f"v_med3_{_kind}": op(_med3, _kind, f"{_kind} {_kind} {_kind}", preserve=True),
        f"v_mad_{_kind}": op(_mad, _kind, f"{_kind} {_kind} {_kind}", preserve=True),
        f"v_mad_legacy_{_kind}": op(_mad, _kind, f"{_kind} {_kind} {_kind}"),
    }
TABLE |= {
    "v_subrev_u16": op(_flip(np.subtract), "u16", "u16 u16"),
    "v_mul_lo_u16": op(np.multiply, "u16", "u16 u16"),
    "v_lshlrev_b16": op(lambda n, a: a << (n & np.uint16(15)), "u16", "u16 u16"),
    "v_lshrrev_b16": op(lambda n, a: a >> (n & np.uint16(15)), "u16", "u16 u16"),
    "v_ashrrev_i16": op(lambda n, a: a >> (n & np.uint16(15)).astype(np.int16), "i16", "u16 i16"),
}

_COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "f": lambda a, b: np.zeros(np.broadcast_shapes(a.shape, b.shape), bool),
    "lt": np.less,
    "eq": np.equal,
    "le": np.less_equal,
    "gt": np.greater,
    "ne": np.not_equal,
    "ge": np.greater_equal,
    "t": lambda a, b: np.ones(np.broadcast_shapes(a.shape, b.shape), bool),
}
for _kind in ("u16", "i16", "u32", "i32", "u64", "i64"):
    for _name, _function in _COMPARISONS.items():
        TABLE[f"v_cmp_{_name}_{_kind}"] = op(_function, "mask", f"{_kind} {_kind}")
        TABLE[f"v_cmpx_{_name}_{_kind}"] = op(_function, "mask", f"{_kind} {_kind}")
