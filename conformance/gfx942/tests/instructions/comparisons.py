"""Comparisons: one bit a lane, 0 in lanes outside EXEC; v_cmpx writes EXEC too."""

from .row import PARTIAL, Lanes, Row, f16, f32, f64, u32, u64

# What each name says of a pair that is: below, equal, above; and, for numbers, unordered.
WHOLE = {
    "f": (0, 0, 0), "lt": (1, 0, 0), "eq": (0, 1, 0), "le": (1, 1, 0), "gt": (0, 0, 1), "ne": (1, 0, 1),
        "ge": (0, 1, 1),
    "t": (1, 1, 1),
}  # fmt: skip
REAL = {
    "f": (0, 0, 0, 0), "lt": (1, 0, 0, 0), "eq": (0, 1, 0, 0), "le": (1, 1, 0, 0), "gt": (0, 0, 1, 0),
        "lg": (1, 0, 1, 0),
    "ge": (0, 1, 1, 0), "o": (1, 1, 1, 0), "u": (0, 0, 0, 1), "nge": (1, 0, 0, 1), "nlg": (0, 1, 0, 1),
        "ngt": (1, 1, 0, 1),
    "nle": (0, 0, 1, 1), "neq": (1, 0, 1, 1), "nlt": (0, 1, 1, 1), "tru": (1, 1, 1, 1),
}  # fmt: skip
# A number that is below another, or above as unsigned ones; both, the signed case first.
SMALL = {"16": (0xFFFF, 1), "32": (u32(-1), 1), "64": (u64(-1), 1)}
NUMBERS = {"f16": f16, "f32": f32, "f64": f64}
QUIET, SIGNAL = (
    {"f16": 0x7E00, "f32": 0x7FC00000, "f64": 0x7FF8 << 48},
    {"f16": 0x7C01, "f32": 0x7F800001, "f64": (0x7FF << 52) + 1},
)


def _registers(kind: str) -> tuple[str, str]:
    return ("v[2:3]", "v[4:5]") if kind.endswith("64") else ("v2", "v4")


def _whole(name: str, kind: str) -> dict:
    first, second = _registers(kind)
    minus, one = SMALL[kind[1:]]
    below, equal, above = WHOLE[name]
    if kind[0] == "u":
        below, above = above, below  # -1 is the largest
    return {"before": {first: [minus, one, one], second: [one, one, minus]}, "bits": (below, equal, above)}


def _real(name: str, kind: str) -> dict:
    first, second = _registers(kind)
    number = NUMBERS[kind]
    below, equal, above, unordered = REAL[name]
    tiny, minus_zero = number(2.0**-24 if kind == "f16" else 2.0**-149), number(-0.0)
    left = [
        number(-1.5),
        number(2.5),
        number(2.5),
        QUIET[kind],
        number(1.0),
        minus_zero,
        0,
        number(float("-inf")),
        SIGNAL[kind],
    ]
    right = [
        number(0.5),
        number(2.5),
        number(-2.5),
        number(1.0),
        QUIET[kind],
        0,
        tiny,
        number(float("inf")),
        SIGNAL[kind],
    ]
    bits = (below, equal, above, unordered, unordered, equal, below, below, unordered)
    return {"before": {first: left, second: right}, "bits": bits}


def _rows(name: str, kind: str, before: dict, bits: tuple[int, ...]) -> list[Row]:
    operands = ", ".join(_registers(kind))
    left = Lanes(bits).whole(PARTIAL)
    return [
        Row(f"v_cmp_{name}_{kind}_e64 s[10:11], {operands}", before, {"s[10:11]": Lanes(bits)}),
        Row(f"v_cmpx_{name}_{kind}_e32 vcc, {operands}", before, {"vcc": left, "exec": left}, exec=PARTIAL),
    ]


CLASSES = {  # every class of number in the order of the mask's bits
    "f16": [0x7C01, 0x7E00, 0xFC00, 0xBC00, 0x8001, 0x8000, 0, 1, 0x3C00, 0x7C00],
    "f32": [0x7F800001, 0x7FC00000, 0xFF800000, 0xBF800000, 0x80000001, 0x80000000, 0, 1, 0x3F800000,
        0x7F800000],
    "f64": [
        (0x7FF << 52) + 1, 0x7FF8 << 48, 0xFFF << 52, 0xBFF << 52, (1 << 63) + 1, 1 << 63, 0, 1, 0x3FF << 52,
            0x7FF << 52,
    ],
}  # fmt: skip

ROWS = [
    *(row for name in WHOLE for kind in ("u16", "i16", "u32", "i32", "u64", "i64")
        for row in _rows(name, kind, **_whole(name, kind))),
    *(row for name in REAL for kind in NUMBERS for row in _rows(name, kind, **_real(name, kind))),
    *(
        row
        for kind, numbers in CLASSES.items()
        for row in (
            # Lane k holds a number of class k and asks for that class only, lanes 10 to 19 for all the
            # others.
            Row(
                f"v_cmp_class_{kind}_e64 s[10:11], {_registers(kind)[0]}, v4",
                {_registers(kind)[0]: numbers * 2,
                    "v4": [1 << k for k in range(10)] + [0x3FF ^ 1 << k for k in range(10)]},
                {"s[10:11]": Lanes([1] * 10 + [0] * 10)},
            ),
            Row(
                f"v_cmpx_class_{kind}_e64 s[10:11], {_registers(kind)[0]}, s4",
                {_registers(kind)[0]: numbers, "s4": 0b1000000100},
                dict.fromkeys(("exec", "s[10:11]"), Lanes([0, 0, 1, 0, 0, 0, 0, 0, 0, 1]).whole(PARTIAL)),
                exec=PARTIAL,
            ),
        )
    ),
    Row("v_cmp_gt_i32_e32 vcc, s8, v2", {"s8": 5, "v2": [4, 5, u32(-1)]}, {"vcc": Lanes([1, 0, 1])}),
    Row("v_cmp_eq_u32_e64 s[2:3], 0, v2", {"v2": [0, 1]}, {"s[2:3]": Lanes([1, 0])}),
    Row("v_cmp_lt_i64_e32 vcc, -1, v[2:3]", {"v[2:3]": [0, u64(-1), u64(-2)]}, {"vcc": Lanes([1, 0, 0])}),
    Row("v_cmp_neq_f32_e64 s[0:1], |v0|, s6", {"v0": f32(-1.0, 1.0, 2.0), "s6": f32(1.0)},
        {"s[0:1]": Lanes([0, 0, 1])}),
    Row("v_cmp_gt_f64_e32 vcc, s[0:1], v[2:3]", {"s[0:1]": f64(1.0), "v[2:3]": f64(0.5, 1.0)},
        {"vcc": Lanes([1, 0])}),
    Row("v_cmp_lt_f32_e64 s[0:1], -v1, 1.0", {"v1": f32(-2.0, 2.0)}, {"s[0:1]": Lanes([0, 1])}),
    Row("v_cmp_ne_u16_sdwa s[0:1], v2, v3 src0_sel:BYTE_3 src1_sel:DWORD",
        {"v2": [0x12345678, 0x13345678], "v3": 0x12}, {"s[0:1]": Lanes([0, 1])}),
    Row("v_cmp_gt_u32_sdwa vcc, v6, v12 src0_sel:BYTE_1 src1_sel:DWORD", {"v6": 0x0500, "v12": [4, 5]},
        {"vcc": Lanes([1, 0])}),
    Row("v_cmp_eq_u32_sdwa s[16:17], v3, s8 src0_sel:BYTE_0 src1_sel:DWORD", {"v3": [0x105, 0x506], "s8": 5},
        {"s[16:17]": Lanes([1, 0])}),
    Row("v_cmp_lt_i32_sdwa vcc, sext(v6), v7 src0_sel:BYTE_0 src1_sel:DWORD", {"v6": [0x80, 0x7F], "v7": 0},
        {"vcc": Lanes([1, 0])}),
    Row("v_cmp_o_f16_sdwa s[8:9], v0, v0 src0_sel:WORD_1 src1_sel:WORD_1", {"v0": [0x7E000000, 0x3C007E00]},
        {"s[8:9]": Lanes([0, 1])}),
    Row("v_cmp_class_f16_sdwa vcc, v1, v2 src0_sel:WORD_1 src1_sel:DWORD",
        {"v1": [0x7E000000, 0x00007E00], "v2": 2}, {"vcc": Lanes([1, 0])}),
]  # fmt: skip
