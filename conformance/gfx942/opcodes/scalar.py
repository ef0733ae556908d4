"""Scalar ALU opcodes (MI300 ISA manual, chapter "Instructions": SOP1, SOP2, SOPK, SOPC)."""

from collections.abc import Callable

import numpy as np

from ..operands import Operand, pair_writer
from ..program import Instruction
from ..scalar import PAIR, ScalarOp, exec_operation, sop
from ..state import Step
from .integers import _bfe_i32, _bfe_u32, _bfm, highest_bit, highest_other, lowest_bit, reverse_bits

Array = np.ndarray


def nonzero(result: Array, *_: Array) -> Array:
    return result != 0


def nonzero_pair(result: Array, *_: Array) -> Array:
    return (result[0] | result[1]) != 0


def _carry(result: Array, a: Array, b: Array, *_: Array) -> Array:
    return result < a


def _carry_with_scc(result: Array, a: Array, b: Array, scc: Array) -> Array:
    return a.astype(np.uint64) + b + scc > 0xFFFFFFFF


def _borrow(result: Array, a: Array, b: Array) -> Array:
    return a < b


def _borrow_with_scc(result: Array, a: Array, b: Array, scc: Array) -> Array:
    return b.astype(np.uint64) + scc > a


def _overflow_add(result: Array, a: Array, b: Array) -> Array:
    return ((a ^ result) & (b ^ result)) < 0


def _overflow_sub(result: Array, a: Array, b: Array) -> Array:
    return ((a ^ b) & (a ^ result)) < 0


def _lshl(width: int) -> Callable[[Array, Array], Array]:
    kind = np.uint32 if width == 32 else np.uint64
    return lambda a, n: a << (n & np.uint32(width - 1)).astype(kind)


def _lshr(width: int) -> Callable[[Array, Array], Array]:
    kind = np.uint32 if width == 32 else np.uint64
    return lambda a, n: a >> (n & np.uint32(width - 1)).astype(kind)


def _ashr(width: int) -> Callable[[Array, Array], Array]:
    kind = np.int32 if width == 32 else np.int64
    return lambda a, n: a >> (n & np.uint32(width - 1)).astype(kind)


def _lshl_add(count: int) -> ScalarOp:
    return sop(
        lambda a, b: (a << np.uint32(count)) + b,
        "u32",
        "u32 u32",
        lambda result, a, b: (a.astype(np.uint64) << np.uint64(count)) + b > 0xFFFFFFFF,
    )


def _mul_hi(kind: type, result: type) -> Callable[[Array, Array], Array]:
    return lambda a, b: ((a.astype(kind) * b.astype(kind)) >> kind(32)).astype(result)


def _field_u32(a: Array, where: Array) -> Array:
    width = (where >> np.uint32(16)) & np.uint32(0x7F)
    return np.where(width >= 32, a >> (where & np.uint32(31)), _bfe_u32(a, where, width))


def _field_i32(a: Array, where: Array) -> Array:
    width = (where >> np.uint32(16)) & np.uint32(0x7F)
    return np.where(width >= 32, a >> (where & np.uint32(31)).astype(np.int32), _bfe_i32(a, where, width))


def _field_u64(a: Array, where: Array) -> Array:
    width = ((where >> np.uint32(16)) & np.uint32(0x7F)).astype(np.uint64)
    shifted = a >> (where & np.uint32(63)).astype(np.uint64)
    return np.where(
        width >= 64, shifted, shifted & ((np.uint64(1) << (width & np.uint64(63))) - np.uint64(1))
    )


def _field_i64(a: Array, where: Array) -> Array:
    width = ((where >> np.uint32(16)) & np.uint32(0x7F)).astype(np.int64)
    shifted = a >> (where & np.uint32(63)).astype(np.int64)
    spare = np.clip(64 - width, 0, 63)
    return np.where(width == 0, np.int64(0), (shifted << spare) >> spare)


def _bits64(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A count over 64 bits from one over 32: `function` of the half that decides, 32 more where it is the
    other one.
    """

    def count(a: Array) -> Array:
        low, high = (a & np.uint64(0xFFFFFFFF)).astype(np.uint32), (a >> np.uint64(32)).astype(np.uint32)
        first, second = (high, low) if function is highest_bit else (low, high)
        later = np.where(second == 0, np.uint32(0xFFFFFFFF), function(second) + np.uint32(32))
        return np.where(first == 0, later, function(first))

    return count


def _twice(a: Array) -> Array:
    """Every bit two times."""
    made = a.astype(np.uint64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        made = (made | (made << np.uint64(shift))) & np.uint64(mask)
    return made | (made << np.uint64(1))


def _sext(kind: type) -> Callable[[Array], Array]:
    return lambda a: a.astype(kind).astype(np.int32)


def _low16(a: Array) -> Array:
    """SOPK's 16-bit immediate, sign-extended."""
    return (a & 0xFFFF).astype(np.uint16).view(np.int16).astype(np.int32)


def _pack(first: int, second: int) -> Callable[[Array, Array], Array]:
    return lambda a, b: (
        ((a >> np.uint32(first)) & np.uint32(0xFFFF))
        | (((b >> np.uint32(second)) & np.uint32(0xFFFF)) << np.uint32(16))
    )


TABLE: dict[str, ScalarOp] = {
    "s_mov_b32": sop(np.positive, "u32", "u32"),
    "s_mov_b64": sop(np.positive, PAIR, PAIR),
    "s_movk_i32": sop(_low16, "i32", "i32"),
    "s_cmovk_i32": sop(
        lambda old, k, scc: np.where(scc, _low16(k), old), "i32", "i32 i32", uses_scc=True, tied=True
    ),
    "s_cmov_b32": sop(lambda old, a, scc: np.where(scc, a, old), "u32", "u32 u32", uses_scc=True, tied=True),
    "s_cmov_b64": sop(
        lambda old, a, scc: np.where(scc, a, old), PAIR, f"{PAIR} {PAIR}", uses_scc=True, tied=True
    ),
    "s_cselect_b32": sop(lambda a, b, scc: np.where(scc, a, b), "u32", "u32 u32", uses_scc=True),
    "s_cselect_b64": sop(lambda a, b, scc: np.where(scc, a, b), PAIR, f"{PAIR} {PAIR}", uses_scc=True),
    "s_add_u32": sop(np.add, "u32", "u32 u32", _carry),
    "s_add_i32": sop(np.add, "i32", "i32 i32", _overflow_add),
    "s_addk_i32": sop(
        lambda a, k: a + _low16(k),
        "i32",
        "i32 i32",
        lambda r, a, k: _overflow_add(r, a, _low16(k)),
        tied=True,
    ),
    "s_addc_u32": sop(lambda a, b, scc: a + b + scc, "u32", "u32 u32", _carry_with_scc, uses_scc=True),
    "s_sub_u32": sop(np.subtract, "u32", "u32 u32", _borrow),
    "s_sub_i32": sop(np.subtract, "i32", "i32 i32", _overflow_sub),
    "s_subb_u32": sop(lambda a, b, scc: a - b - scc, "u32", "u32 u32", _borrow_with_scc, uses_scc=True),
    "s_mul_i32": sop(np.multiply, "i32", "i32 i32"),
    "s_mulk_i32": sop(lambda a, k: a * _low16(k), "i32", "i32 i32", tied=True),
    "s_mul_hi_u32": sop(_mul_hi(np.uint64, np.uint32), "u32", "u32 u32"),
    "s_mul_hi_i32": sop(_mul_hi(np.int64, np.int32), "i32", "i32 i32"),
    "s_absdiff_i32": sop(lambda a, b: np.abs(a - b), "i32", "i32 i32", nonzero),
    "s_abs_i32": sop(np.abs, "i32", "i32", nonzero),
    "s_min_i32": sop(np.minimum, "i32", "i32 i32", lambda r, a, b: a < b),
    "s_min_u32": sop(np.minimum, "u32", "u32 u32", lambda r, a, b: a < b),
    "s_max_i32": sop(np.maximum, "i32", "i32 i32", lambda r, a, b: a >= b),
    "s_max_u32": sop(np.maximum, "u32", "u32 u32", lambda r, a, b: a >= b),
    "s_not_b32": sop(np.invert, "u32", "u32", nonzero),
    "s_not_b64": sop(np.invert, PAIR, PAIR, nonzero_pair),
    "s_lshl_b32": sop(_lshl(32), "u32", "u32 u32", nonzero),
    "s_lshl_b64": sop(_lshl(64), "u64", "u64 u32", nonzero),
    "s_lshr_b32": sop(_lshr(32), "u32", "u32 u32", nonzero),
    "s_lshr_b64": sop(_lshr(64), "u64", "u64 u32", nonzero),
    "s_ashr_i32": sop(_ashr(32), "i32", "i32 u32", nonzero),
    "s_ashr_i64": sop(_ashr(64), "i64", "i64 u32", nonzero),
    "s_lshl1_add_u32": _lshl_add(1),
    "s_lshl2_add_u32": _lshl_add(2),
    "s_lshl3_add_u32": _lshl_add(3),
    "s_lshl4_add_u32": _lshl_add(4),
    "s_bfe_u32": sop(_field_u32, "u32", "u32 u32", nonzero),
    "s_bfe_i32": sop(_field_i32, "i32", "i32 u32", nonzero),
    "s_bfe_u64": sop(_field_u64, "u64", "u64 u32", nonzero),
    "s_bfe_i64": sop(_field_i64, "i64", "i64 u32", nonzero),
    "s_bfm_b32": sop(_bfm, "u32", "u32 u32"),
    "s_bfm_b64": sop(
        lambda width, offset: (
            ((np.uint64(1) << (width & np.uint32(63)).astype(np.uint64)) - np.uint64(1))
            << (offset & np.uint32(63)).astype(np.uint64)
        ),
        "u64",
        "u32 u32",
    ),
    "s_brev_b32": sop(reverse_bits, "u32", "u32"),
    "s_brev_b64": sop(
        lambda a: (
            (reverse_bits((a & np.uint64(0xFFFFFFFF)).astype(np.uint32)).astype(np.uint64) << np.uint64(32))
            | reverse_bits((a >> np.uint64(32)).astype(np.uint32))
        ),
        "u64",
        "u64",
    ),
    "s_bcnt1_i32_b32": sop(lambda a: np.bitwise_count(a).astype(np.uint32), "u32", "u32", nonzero),
    "s_bcnt1_i32_b64": sop(lambda a: np.bitwise_count(a).astype(np.uint32), "u32", "u64", nonzero),
    "s_bcnt0_i32_b32": sop(lambda a: np.bitwise_count(~a).astype(np.uint32), "u32", "u32", nonzero),
    "s_bcnt0_i32_b64": sop(lambda a: np.bitwise_count(~a).astype(np.uint32), "u32", "u64", nonzero),
    "s_ff0_i32_b32": sop(lambda a: lowest_bit(~a), "u32", "u32"),
    "s_ff0_i32_b64": sop(lambda a: _bits64(lowest_bit)(~a), "u32", "u64"),
    "s_ff1_i32_b32": sop(lowest_bit, "u32", "u32"),
    "s_ff1_i32_b64": sop(_bits64(lowest_bit), "u32", "u64"),
    "s_flbit_i32_b32": sop(highest_bit, "u32", "u32"),
    "s_flbit_i32_b64": sop(_bits64(highest_bit), "u32", "u64"),
    "s_flbit_i32": sop(highest_other, "u32", "i32"),
    "s_flbit_i32_i64": sop(
        lambda a: _bits64(highest_bit)(np.where(a < 0, ~a, a).view(np.uint64)), "u32", "i64"
    ),
    "s_bitreplicate_b64_b32": sop(_twice, "u64", "u32"),
    "s_sext_i32_i8": sop(_sext(np.int8), "i32", "i32"),
    "s_sext_i32_i16": sop(_sext(np.int16), "i32", "i32"),
    "s_pack_ll_b32_b16": sop(_pack(0, 0), "u32", "u32 u32"),
    "s_pack_lh_b32_b16": sop(_pack(0, 16), "u32", "u32 u32"),
    "s_pack_hh_b32_b16": sop(_pack(16, 16), "u32", "u32 u32"),
    "s_bitset0_b32": sop(
        lambda old, a: old & ~(np.uint32(1) << (a & np.uint32(31))), "u32", "u32 u32", tied=True
    ),
    "s_bitset1_b32": sop(
        lambda old, a: old | (np.uint32(1) << (a & np.uint32(31))), "u32", "u32 u32", tied=True
    ),
    "s_bitset0_b64": sop(
        lambda old, a: old & ~(np.uint64(1) << (a & np.uint32(63)).astype(np.uint64)),
        "u64",
        "u64 u32",
        tied=True,
    ),
    "s_bitset1_b64": sop(
        lambda old, a: old | (np.uint64(1) << (a & np.uint32(63)).astype(np.uint64)),
        "u64",
        "u64 u32",
        tied=True,
    ),
    "s_bitcmp0_b32": sop(lambda a, n: (a >> (n & np.uint32(31))) & np.uint32(1) == 0, "", "u32 u32"),
    "s_bitcmp1_b32": sop(lambda a, n: (a >> (n & np.uint32(31))) & np.uint32(1) == 1, "", "u32 u32"),
    "s_bitcmp0_b64": sop(
        lambda a, n: (a >> (n & np.uint32(63)).astype(np.uint64)) & np.uint64(1) == 0, "", "u64 u32"
    ),
    "s_bitcmp1_b64": sop(
        lambda a, n: (a >> (n & np.uint32(63)).astype(np.uint64)) & np.uint64(1) == 1, "", "u64 u32"
    ),
}

for _name, _function in {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "andn2": lambda a, b: a & ~b,
    "orn2": lambda a, b: a | ~b,
    "nand": lambda a, b: ~(a & b),
    "nor": lambda a, b: ~(a | b),
    "xnor": lambda a, b: ~(a ^ b),
}.items():
    TABLE[f"s_{_name}_b32"] = sop(_function, "u32", "u32 u32", nonzero)
    TABLE[f"s_{_name}_b64"] = sop(_function, PAIR, f"{PAIR} {PAIR}", nonzero_pair)

for _name, _function in {
    "eq": np.equal,
    "lg": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    for _kind in ("i32", "u32"):
        TABLE[f"s_cmp_{_name}_{_kind}"] = sop(_function, "", f"{_kind} {_kind}")
    TABLE[f"s_cmpk_{_name}_i32"] = sop(lambda a, k, f=_function: f(a, _low16(k)), "", "i32 i32")
    TABLE[f"s_cmpk_{_name}_u32"] = sop(lambda a, k, f=_function: f(a, k & np.uint32(0xFFFF)), "", "u32 u32")
    if _name in ("eq", "lg"):
        TABLE[f"s_cmp_{_name}_u64"] = sop(_function, "", "u64 u64")


def _program_counter(instruction: Instruction, operands: list[Operand]) -> Step:
    """s_getpc_b64 gives 0: what is added to it, the way from here to a symbol, is the symbol's address
    here.
    """
    write, zero = pair_writer(operands[0]), np.zeros((2, 1, 1), np.uint32)
    return lambda g: write(g, zero)


_WITH_EXEC: dict[str, Callable[[Array, Array], Array]] = {
    "and": lambda source, old: source & old,
    "or": lambda source, old: source | old,
    "xor": lambda source, old: source ^ old,
    "andn1": lambda source, old: ~source & old,
    "andn2": lambda source, old: source & ~old,
    "orn1": lambda source, old: ~source | old,
    "orn2": lambda source, old: source | ~old,
    "nand": lambda source, old: ~(source & old),
    "nor": lambda source, old: ~(source | old),
    "xnor": lambda source, old: ~(source ^ old),
}
SPECIAL = (
    {"s_getpc_b64": _program_counter}
    | {f"s_{name}_saveexec_b64": exec_operation(combine, True) for name, combine in _WITH_EXEC.items()}
    | {f"s_{name}_wrexec_b64": exec_operation(_WITH_EXEC[name], False) for name in ("andn1", "andn2")}
)
