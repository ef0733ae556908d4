"""Scalar opcodes: results, SCC, and EXEC."""

from .row import FULL, MEMORY, Row, u32, u64

TOP, MOST = 0x80000000, 0x7FFFFFFF
A64, B64 = 0x0123456789ABCDEF, 0xFF00FF00FF00FF00


def _two(opcode: str, first: int, second: int, found: int, scc: int | None = None, carry: int = 0) -> Row:
    """s0 = opcode s1, s2. SCC `carry` before and `scc` after, the same where it is None."""
    return Row(
        f"{opcode} s0, s1, s2",
        {"s1": u32(first), "s2": u32(second), "scc": carry},
        {"s0": u32(found), "scc": carry if scc is None else scc},
    )


def _one(opcode: str, given: int, found: int, scc: int | None = None) -> Row:
    after = {"s0": u32(found)} | ({} if scc is None else {"scc": scc})
    return Row(f"{opcode} s0, s1", {"s1": u32(given)}, after)


def _pair(opcode: str, first: int, second: int, found: int, scc: int) -> Row:
    return Row(
        f"{opcode} s[0:1], s[2:3], s[4:5]",
        {"s[2:3]": u64(first), "s[4:5]": u64(second)},
        {"s[0:1]": u64(found), "scc": scc},
    )


def _shifted(opcode: str, given: int, count: int, found: int, scc: int) -> Row:
    return Row(
        f"{opcode} s[0:1], s[2:3], s4",
        {"s[2:3]": u64(given), "s4": count},
        {"s[0:1]": u64(found), "scc": scc},
    )


def _says(text: str, scc: int, **before: int) -> Row:
    """A comparison; SCC starts as what it must not stay."""
    return Row(text, {**before, "scc": 1 - scc}, {"scc": scc})


BITWISE = {  # of 0b1100 and 0b1010, as 4 bits
    "and": 0b1000, "or": 0b1110, "xor": 0b0110, "andn2": 0b0100, "orn2": 0b1101, "nand": 0b0111,
        "nor": 0b0001, "xnor": 0b1001,
}  # fmt: skip
ORDER = {"eq": (0, 1, 0), "lg": (1, 0, 1), "lt": (1, 0, 0), "le": (1, 1, 0), "gt": (0, 0, 1), "ge": (0, 1, 1)}
SIXES, FIVES = 0xCCCCCCCCCCCCCCCC, 0xAAAAAAAAAAAAAAAA  # 0b1100 and 0b1010 over and over
WITH_EXEC = {**BITWISE, "andn1": 0b0010, "orn1": 0b1011}  # of the source and EXEC

ROWS = [
    _one("s_mov_b32", 0xDEADBEEF, 0xDEADBEEF),
    Row("s_mov_b32 s7, 0x27000", {}, {"s7": 0x27000}),
    Row("s_mov_b32 m0, -1", {}, {"m0": u32(-1)}),
    Row("s_mov_b64 s[0:1], s[2:3]", {"s[2:3]": A64}, {"s[0:1]": A64}),
    Row("s_mov_b64 s[0:1], -1", {}, {"s[0:1]": u64(-1)}),
    Row("s_mov_b64 s[0:1], 0x87654321", {}, {"s[0:1]": 0x87654321}),
    Row("s_mov_b64 exec, s[2:3]", {"s[2:3]": 0xFF}, {"exec": 0xFF}),
    Row("s_mov_b32 exec_hi, 0", {}, {"exec": 0xFFFFFFFF}),
    Row("s_movk_i32 s0, 0x7fff", {}, {"s0": 0x7FFF}),
    Row("s_movk_i32 s0, 0x8000", {}, {"s0": u32(-0x8000)}),
    Row("s_cmov_b32 s0, s1", {"s0": 1, "s1": 2, "scc": 1}, {"s0": 2, "scc": 1}),
    Row("s_cmov_b32 s0, s1", {"s0": 1, "s1": 2}, {"s0": 1}),
    Row("s_cmov_b64 s[0:1], s[2:3]", {"s[2:3]": A64, "scc": 1}, {"s[0:1]": A64, "scc": 1}),
    Row("s_cmovk_i32 s0, 0xffff", {"s0": 1, "scc": 1}, {"s0": u32(-1), "scc": 1}),
    Row("s_cmovk_i32 s0, 0xffff", {"s0": 1}, {"s0": 1}),
    _two("s_cselect_b32", 1, 2, 1, carry=1),
    _two("s_cselect_b32", 1, 2, 2),
    Row("s_cselect_b64 s[0:1], 0, -1", {"scc": 0}, {"s[0:1]": u64(-1), "scc": 0}),
    Row("s_cselect_b64 vcc, s[2:3], 0", {"scc": 1, "s[2:3]": A64}, {"vcc": A64, "scc": 1}),
    # Sums: carries of unsigned ones, overflows of signed ones.
    _two("s_add_u32", 0xFFFFFFFF, 1, 0, 1),
    _two("s_add_u32", MOST, 1, TOP, 0, carry=1),
    _two("s_add_i32", MOST, 1, TOP, 1),
    _two("s_add_i32", -1, 1, 0, 0, carry=1),
    _two("s_add_i32", TOP, -1, MOST, 1),
    _two("s_addc_u32", 0xFFFFFFFF, 0, 0, 1, carry=1),
    _two("s_addc_u32", 0xFFFFFFFF, 0, 0xFFFFFFFF, 0),
    _two("s_addc_u32", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 1, carry=1),
    _two("s_sub_u32", 1, 2, -1, 1),
    _two("s_sub_u32", 2, 2, 0, 0, carry=1),
    _two("s_sub_i32", TOP, 1, MOST, 1),
    _two("s_sub_i32", 1, 2, -1, 0, carry=1),
    _two("s_sub_i32", MOST, -1, TOP, 1),
    _two("s_subb_u32", 1, 1, -1, 1, carry=1),
    _two("s_subb_u32", 2, 1, 0, 0, carry=1),
    _two("s_subb_u32", 0, 0xFFFFFFFF, 0, 1, carry=1),
    Row("s_addk_i32 s0, 0xff80", {"s0": 5}, {"s0": u32(5 - 128), "scc": 0}),
    Row("s_addk_i32 s0, 0x7fff", {"s0": MOST}, {"s0": TOP + 0x7FFE, "scc": 1}),
    _two("s_lshl1_add_u32", 3, 4, 10, 0),
    _two("s_lshl2_add_u32", 3, 4, 16, 0),
    _two("s_lshl3_add_u32", 3, 4, 28, 0),
    _two("s_lshl4_add_u32", 0x10000001, 4, 0x14, 1),
    # Products.
    _two("s_mul_i32", -3, 7, -21, carry=1),
    _two("s_mul_hi_u32", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE),
    _two("s_mul_hi_i32", -1, 5, -1),
    _two("s_mul_hi_i32", TOP, TOP, 0x40000000),
    Row("s_mulk_i32 s0, 0xffff", {"s0": 5}, {"s0": u32(-5)}),
    # Order: SCC tells whether the first source was taken.
    *(_two(f"s_min_{kind}", first, 5, found, scc) for kind, first, found,
        scc in (("i32", -1, -1, 1), ("i32", 5, 5, 0), ("u32", -1, 5, 0), ("u32", 4, 4, 1))),
    *(_two(f"s_max_{kind}", first, 5, found, scc) for kind, first, found,
        scc in (("i32", -1, 5, 0), ("i32", 5, 5, 1), ("u32", -1, -1, 1), ("u32", 4, 5, 0))),
    _one("s_abs_i32", -5, 5, 1),
    _one("s_abs_i32", TOP, TOP, 1),
    _one("s_abs_i32", 0, 0, 0),
    _two("s_absdiff_i32", 3, 5, 2, 1),
    _two("s_absdiff_i32", 5, 5, 0, 0, carry=1),
    # Bits: SCC tells whether any is set.
    *(_two(f"s_{name}_b32", 0xCCCCCCCC, 0xAAAAAAAA, 0x11111111 * bits, 1) for name, bits in BITWISE.items()),
    *(_pair(f"s_{name}_b64", SIXES, FIVES, 0x1111111111111111 * bits, 1) for name, bits in BITWISE.items()),
    _two("s_and_b32", 0xF0, 0x0F, 0, 0, carry=1),
    _pair("s_and_b64", 1 << 40, 1 << 8, 0, 0),
    _pair("s_and_b64", 1 << 40, -1, 1 << 40, 1),
    Row("s_andn2_b64 exec, exec, s[6:7]", {"s[6:7]": 0xFF}, {"exec": FULL ^ 0xFF, "scc": 1}),
    Row("s_xor_b64 s[0:1], s[0:1], -1", {"s[0:1]": FULL}, {"s[0:1]": 0, "scc": 0}),
    Row("s_or_b64 s[4:5], s[0:1], vcc", {"s[0:1]": 1, "vcc": 1 << 63}, {"s[4:5]": 1 << 63 | 1, "scc": 1}),
    _one("s_not_b32", 0xFFFFFFFF, 0, 0),
    _one("s_not_b32", 1, -2, 1),
    Row("s_not_b64 s[0:1], s[2:3]", {"s[2:3]": FULL, "scc": 1}, {"s[0:1]": 0, "scc": 0}),
    Row("s_not_b64 s[0:1], s[2:3]", {"s[2:3]": 1}, {"s[0:1]": u64(-2), "scc": 1}),
    _two("s_lshl_b32", 0x11, 36, 0x110, 1),
    _two("s_lshl_b32", TOP, 1, 0, 0, carry=1),
    _two("s_lshr_b32", 0xF0000011, 4, 0x0F000001, 1),
    _two("s_ashr_i32", TOP, 63, -1, 1),
    _shifted("s_lshl_b64", 3, 63, 1 << 63, 1),
    _shifted("s_lshr_b64", 1 << 63, 64 + 63, 1, 1),
    _shifted("s_ashr_i64", 1 << 63, 4, -(1 << 59), 1),
    _two("s_bfe_u32", 0x87654321, 8 << 16 | 4, 0x32, 1),
    _two("s_bfe_u32", 0x87654321, 32 << 16 | 0, 0x87654321, 1),
    _two("s_bfe_u32", 0x87654321, 0x7F << 16 | 4, 0x8765432, 1),
    _two("s_bfe_u32", 0x87654321, 4, 0, 0, carry=1),
    _two("s_bfe_i32", 0x87654381, 8 << 16, -127, 1),
    _two("s_bfe_i32", 0x87654381, 1 << 16 | 6, 0, 0, carry=1),
    _two("s_bfe_i32", 0x87654381, 32 << 16 | 28, -8, 1),
    Row("s_bfe_i32 s0, s1, 0x10006", {"s1": 0x40}, {"s0": u32(-1), "scc": 1}),
    _shifted("s_bfe_u64", A64, 16 << 16 | 20, A64 >> 20 & 0xFFFF, 1),
    _shifted("s_bfe_u64", A64, 64 << 16 | 0, A64, 1),
    _shifted("s_bfe_i64", 0xF00000000, 4 << 16 | 32, -1, 1),
    _shifted("s_bfe_i64", A64, 0, 0, 0),
    _two("s_bfm_b32", 4, 8, 0xF00),
    _two("s_bfm_b32", 32, 8, 0),
    Row("s_bfm_b64 s[0:1], s2, s3", {"s2": 40, "s3": 8}, {"s[0:1]": (1 << 48) - 256}),
    _one("s_brev_b32", 0x80000001, 0x80000001),
    _one("s_brev_b32", 8, 0x10000000),
    Row("s_brev_b64 s[0:1], s[2:3]", {"s[2:3]": 6}, {"s[0:1]": 3 << 61}),
    Row("s_bitreplicate_b64_b32 s[0:1], s2", {"s2": 0x80000005}, {"s[0:1]": 3 << 62 | 0b110011}),
    # Counts.
    _one("s_bcnt1_i32_b32", 0xF0F, 8, 1),
    _one("s_bcnt1_i32_b32", 0, 0, 0),
    _one("s_bcnt0_i32_b32", 0xF0F, 24, 1),
    _one("s_bcnt0_i32_b32", -1, 0, 0),
    Row("s_bcnt1_i32_b64 s4, vcc", {"vcc": 1 << 63 | 3}, {"s4": 3, "scc": 1}),
    Row("s_bcnt0_i32_b64 s4, vcc", {"vcc": 1 << 63 | 3}, {"s4": 61, "scc": 1}),
    _one("s_ff1_i32_b32", 0, -1),
    _one("s_ff1_i32_b32", 12, 2),
    _one("s_ff0_i32_b32", -1, -1),
    _one("s_ff0_i32_b32", 7, 3),
    *(Row("s_ff1_i32_b64 s0, s[2:3]", {"s[2:3]": given}, {"s0": found}) for given,
        found in ((0, u32(-1)), (1 << 40, 40), (8, 3))),
    *(Row("s_ff0_i32_b64 s0, s[2:3]", {"s[2:3]": given}, {"s0": found}) for given,
        found in ((FULL, u32(-1)), ((1 << 40) - 1, 40))),
    _one("s_flbit_i32_b32", 0, -1),
    _one("s_flbit_i32_b32", 0xFFFF, 16),
    *(Row("s_flbit_i32_b64 s0, s[2:3]", {"s[2:3]": given}, {"s0": found}) for given,
        found in ((0, u32(-1)), (1, 63), (1 << 40, 23))),
    _one("s_flbit_i32", 0, -1),
    _one("s_flbit_i32", -1, -1),
    _one("s_flbit_i32", 0xFFFF0000, 16),
    *(Row("s_flbit_i32_i64 s0, s[2:3]", {"s[2:3]": given}, {"s0": found}) for given,
        found in ((u64(-1), u32(-1)), (u64(-2), 63), (1 << 40, 23))),
    _one("s_sext_i32_i8", 0x1280, -128),
    _one("s_sext_i32_i16", 0x12348000, -0x8000),
    _two("s_pack_ll_b32_b16", 0x11112222, 0x33334444, 0x44442222),
    _two("s_pack_lh_b32_b16", 0x11112222, 0x33334444, 0x33332222),
    _two("s_pack_hh_b32_b16", 0x11112222, 0x33334444, 0x33331111),
    Row("s_bitset0_b32 s0, s1", {"s0": 0xFF, "s1": 35}, {"s0": 0xF7}),
    Row("s_bitset1_b32 s0, s1", {"s0": 0, "s1": 31}, {"s0": TOP}),
    Row("s_bitset0_b64 s[0:1], s2", {"s[0:1]": FULL, "s2": 40}, {"s[0:1]": FULL ^ 1 << 40}),
    Row("s_bitset1_b64 s[0:1], 63", {"s[0:1]": 1}, {"s[0:1]": 1 << 63 | 1}),
    # Comparisons.
    *(
        _says(f"s_cmp_{name}_{kind} s1, s2", bit, s1=first, s2=second)
        for name, (below, equal, above) in ORDER.items()
        for kind in ("i32", "u32")
        for first, second,
            bit in ((u32(-1), 1, below if kind == "i32" else above), (1, 1, equal), (2, 1, above))
    ),
    # The immediate: sign-extended for signed comparisons, not for unsigned ones.
    *(
        _says(f"s_cmpk_{name}_{kind} s1, 0xffff", bit, s1=first)
        for name, (below, equal, above) in ORDER.items()
        for kind, cases in (
            ("i32", ((u32(-2), below), (u32(-1), equal), (0, above))),
            ("u32", ((0xFFFE, below), (0xFFFF, equal), (u32(-1), above))),
        )
        for first, bit in cases
    ),
    *(
        _says(f"s_cmp_{name}_u64 s[2:3], s[4:5]", bit, **{"s[2:3]": A64, "s[4:5]": second})
        for name, same, other in (("eq", 1, 0), ("lg", 0, 1))
        for second, bit in ((A64, same), (A64 ^ 1 << 40, other))
    ),
    _says("s_bitcmp0_b32 s8, 1", 1, s8=0xFFFFFFFD),
    _says("s_bitcmp1_b32 s8, s9", 1, s8=2, s9=33),
    _says("s_bitcmp1_b32 s8, 0", 0, s8=2),
    _says("s_bitcmp0_b64 s[8:9], 40", 0, **{"s[8:9]": 1 << 40}),
    _says("s_bitcmp1_b64 s[8:9], s2", 1, **{"s[8:9]": 1 << 40, "s2": 64 + 40}),
    # EXEC. The source is 0b1100..., EXEC 0b1010...
    *(
        Row(f"s_{name}_saveexec_b64 s[0:1], s[2:3]", {"s[2:3]": SIXES},
            {"s[0:1]": FIVES, "exec": 0x1111111111111111 * bits, "scc": 1}, exec=FIVES)
        for name, bits in WITH_EXEC.items()
    ),
    *(
        Row(f"s_{name}_wrexec_b64 s[0:1], s[2:3]", {"s[2:3]": SIXES},
            {"s[0:1]": 0x1111111111111111 * bits, "exec": 0x1111111111111111 * bits, "scc": 1}, exec=FIVES)
        for name, bits in (("andn1", 0b0010), ("andn2", 0b0100))
    ),
    Row("s_and_saveexec_b64 s[0:1], vcc", {"vcc": 0, "scc": 1}, {"s[0:1]": FULL, "exec": 0, "scc": 0}),
    Row("s_or_saveexec_b64 s[0:1], s[0:1]", {"s[0:1]": 1}, {"s[0:1]": FIVES, "exec": FIVES | 1, "scc": 1},
        exec=FIVES),
    # Relative addresses count from 0.
    Row("s_getpc_b64 s[0:1]", {}, {"s[0:1]": 0}),
    Row(
        "s_getpc_b64 s[0:1]\ns_add_u32 s0, s0, table@rel32@lo+12\ns_addc_u32 s1, s1, table@rel32@hi+20",
        {},
        {"s[0:1]": MEMORY + 8, "scc": 0},
    ),
    # SCC is kept for whoever reads it, past instructions that leave it alone.
    Row("s_add_u32 s0, s1, s2\ns_mov_b32 s3, 7\ns_addc_u32 s4, s5, s6",
        {"s1": u32(-1), "s2": 2, "s5": 3, "s6": 4}, {"s0": 1, "s3": 7, "s4": 8, "scc": 0}),
    Row("s_cmp_lt_i32 s0, 1\ns_cselect_b32 s9, s1, s2", {"s0": 0, "s1": 5, "s2": 6}, {"s9": 5, "scc": 1}),
    # A mask made from scalars is read anew after each of them is written.
    Row(
        "v_cndmask_b32_e64 v0, 0, 1, s[2:3]\ns_mov_b32 s3, -1\nv_cndmask_b32_e64 v1, 0, 1, s[2:3]\n"
        "s_mov_b64 s[2:3], 1\nv_cndmask_b32_e64 v2, 0, 1, s[2:3]",
        {"s[2:3]": 0},
        {"v0": 0, "v1": lambda lane: int(lane > 31), "v2": lambda lane: int(lane == 0), "s[2:3]": 1},
        exec=FULL,
    ),
]  # fmt: skip
