"""Floating-point opcodes of the vector unit."""

from collections.abc import Callable
from typing import Any

from .row import NaN, Row, f16, f32, f64, u32

INF, ULP = float("inf"), 2.0**-23
NAN16, NAN32, NAN64 = 0x7E00, 0x7FC00000, 0x7FF8 << 48
# An infinity, a NaN, the least denormal and minus zero behind an ordinary number.
SIGNAL16, SIGNAL32, SIGNAL64 = 0x7C01, 0x7F800001, (0x7FF << 52) + 1
LEAST = 2.0**-149
PI = int(  # with 309 digits behind the point
    "31415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253421170679821"
    "48086513282306647093844609550582231725359408128481117450284102701938521105559644622948954930381964428810"
    "975665933446128475648233786783165271201909145648566923460348610454326648213393607260249141273724587006"
)


def _arithmetic(kind: str, number: Callable[..., Any], nan: int, huge: float, tiny: float) -> list[Row]:
    """What holds in every width: `huge` doubled overflows, half of `tiny`, the least normal number, is
    denormal.
    """
    bits = int(kind[1:])
    e32 = "" if kind == "f64" else "_e32"
    a, b, d = ("v[2:3]", "v[4:5]", "v[0:1]") if bits == 64 else ("v2", "v4", "v0")
    c = "v[6:7]" if bits == 64 else "v6"
    kept = {d: 0} if bits == 16 else {}
    return [
        Row(
            f"v_add_{kind}{e32} {d}, {a}, {b}",
            {
                a: number(1.5, huge, INF, 0.0, tiny),
                b: [number(2.25), number(huge), number(-INF), number(-0.0), number(-tiny / 2)],
            },
            {d: [number(3.75), number(INF), NaN(bits), 0, number(tiny / 2)]},
        ),
        Row(
            f"v_mul_{kind}{e32} {d}, {a}, {b}",
            {a: number(1.5, huge, INF, -0.0, tiny), b: number(-2.5, 2.0, 0.0, 5.0, 0.5)},
            {d: [number(-3.75), number(INF), NaN(bits), number(-0.0), number(tiny / 2)]},
        ),
        Row(
            f"v_fma_{kind} {d}, {a}, {b}, {c}",
            {**kept, a: number(1.5, huge, INF), b: number(2.0, 2.0, 0.0), c: number(0.25, -huge, 1.0)},
            {d: [number(3.25), number(huge), NaN(bits)]},
        ),
        *(
            Row(
                f"v_{name}_{kind}{e32} {d}, {a}, {b}",
                {
                    a: [*number(1.0, 2.0, -0.0, 0.0), nan, number(1.0), nan],
                    b: [*number(2.0, -3.0, 0.0, -0.0), number(1.0), nan, nan],
                },
                {d: [*found, number(1.0), number(1.0), NaN(bits)]},
            )
            for name, found in (("min", number(1.0, -3.0, -0.0, -0.0)), ("max", number(2.0, 2.0, 0.0, 0.0)))
        ),
        *(
            Row(f"v_{name}_{kind}_e32 {d}, {a}", {a: number(1.5, -1.5, 2.5, -0.25, INF)}, {d: number(*found)})
            for name, found in (
                ("trunc", (1.0, -1.0, 2.0, -0.0, INF)),
                ("ceil", (2.0, -1.0, 3.0, -0.0, INF)),
                ("floor", (1.0, -2.0, 2.0, -1.0, INF)),
                ("rndne", (2.0, -2.0, 2.0, -0.0, INF)),
            )
        ),
        Row(f"v_fract_{kind}_e32 {d}, {a}", {a: number(1.75, -0.25, 3.0)}, {d: number(0.75, 0.75, 0.0)}),
        Row(
            f"v_frexp_mant_{kind}_e32 {d}, {a}",
            {a: [*number(6.0, -0.5, tiny / 4, 0.0, INF), nan]},
            {d: [*number(0.75, -0.5, 0.5, 0.0, INF), NaN(bits)]},
        ),
    ]


ROWS = [
    *_arithmetic("f16", f16, NAN16, 40000.0, 2.0**-14),
    *_arithmetic("f32", f32, NAN32, 2.0**127, 2.0**-126),
    *_arithmetic("f64", f64, NAN64, 2.0**1023, 2.0**-1022),
    # Signalling NaNs come out quiet, whatever the other operand is (IEEE mode).
    Row("v_min_f32_e32 v0, v1, v2", {"v1": [SIGNAL32, f32(1.0)], "v2": [f32(1.0), SIGNAL32]},
        {"v0": SIGNAL32 | 1 << 22}),
    Row("v_max_f16_e32 v0, v1, v2", {"v1": [SIGNAL16, f16(1.0)], "v2": [f16(1.0), SIGNAL16]},
        {"v0": SIGNAL16 | 1 << 9}),
    Row("v_max_f64 v[0:1], v[2:3], v[2:3]", {"v[2:3]": SIGNAL64}, {"v[0:1]": SIGNAL64 | 1 << 51}),
    # Differences.
    Row("v_sub_f32_e32 v0, v1, v2", {"v1": f32(1.0, 1.0), "v2": f32(0.25, 1.0)}, {"v0": f32(0.75, 0.0)}),
    Row("v_subrev_f32_e32 v0, v1, v2", {"v1": f32(1.0), "v2": f32(0.25)}, {"v0": f32(-0.75)}),
    Row("v_sub_f16_e32 v0, v1, v2", {"v1": f16(1.0), "v2": f16(0.25)}, {"v0": f16(0.75)}),
    Row("v_subrev_f16_e32 v0, v1, v2", {"v1": f16(1.0), "v2": f16(0.25)}, {"v0": f16(-0.75)}),
    # Rounding: to nearest, ties to even, once.
    Row("v_add_f32_e32 v0, v1, v2", {"v1": f32(1.0, 1 + ULP), "v2": f32(ULP / 2)},
        {"v0": f32(1.0, 1 + 2 * ULP)}),
    Row("v_add_f16_e32 v0, v1, v2", {"v1": f16(2048.0, 2050.0), "v2": f16(1.0)}, {"v0": f16(2048.0, 2052.0)}),
    Row("v_mul_legacy_f32 v0, v1, v2", {"v1": f32(0.0, INF, -0.0, 3.0), "v2": [f32(INF), 0, NAN32, f32(2.0)]},
        {"v0": [0, 0, 0, f32(6.0)]}),
    # (1 + ulp)**2 - (1 + 2 ulp) is ulp**2, which a product rounded by itself would lose.
    Row("v_fma_f32 v0, v1, v1, v3", {"v1": f32(1 + ULP), "v3": f32(-1 - 2 * ULP)}, {"v0": f32(ULP**2)}),
    Row("v_fmac_f32_e32 v0, v1, v1", {"v0": f32(-1 - 2 * ULP), "v1": f32(1 + ULP)}, {"v0": f32(ULP**2)}),
    Row("v_fmaak_f32 v0, 0.5, v1, 0x3e800000", {"v1": f32(3.0)}, {"v0": f32(1.75)}),
    Row("v_fmamk_f32 v0, v1, 0x40000000, v2", {"v1": f32(3.0), "v2": f32(0.5)}, {"v0": f32(6.5)}),
    Row("v_fmac_f64_e32 v[0:1], v[2:3], v[2:3]", {"v[0:1]": f64(-1 - 2.0**-51), "v[2:3]": f64(1 + 2.0**-52)},
        {"v[0:1]": f64(2.0**-104)}),
    Row("v_fma_f16 v0, v1, v1, v2", {"v0": 0xABCD0000, "v1": f16(1 + 2.0**-10), "v2": f16(-1 - 2.0**-9)},
        {"v0": 0xABCD0000 | f16(2.0**-20)}),
    Row("v_fma_legacy_f16 v0, v1, v1, v2",
        {"v0": 0xABCD0000, "v1": f16(1 + 2.0**-10), "v2": f16(-1 - 2.0**-9)}, {"v0": f16(2.0**-20)}),
    # Low pair first; a float32 denormal counts as zero, going in and coming out.
    Row(
        "v_dot2_f32_f16 v0, v1, v2, v3",
        {"v1": [f16(2.0) | f16(3.0) << 16, 0, f16(2.0**-14)],
            "v2": [f16(0.5) | f16(-1.0) << 16, 0, f16(2.0**-14)], "v3": f32(10.0, LEAST, -(2.0**-126))},
        {"v0": f32(8.0, 0.0, 2.0**-28)},
    ),
    Row("v_dot2c_f32_f16_e32 v0, v1, v2",
        {"v0": f32(2.0**24), "v1": f16(1.0, 1.0)[0] * 0x10001, "v2": f16(1.0) * 0x10001},
        {"v0": f32(2.0**24)}),
    # Three at a time.
    *(
        Row(f"v_{name}3_f32 v0, v1, v2, v3",
            {"v1": f32(1.0, 3.0, -2.0), "v2": f32(3.0, -2.0, 1.0), "v3": f32(-2.0, 1.0, 3.0)},
            {"v0": f32(found)})
        for name, found in (("min", -2.0), ("med", 1.0), ("max", 3.0))
    ),
    *(
        Row(
            f"v_{name}3_f16 v0, v1, v2, v3",
            {"v0": 0xABCD0000, "v1": f16(1.0, 3.0, -2.0), "v2": f16(3.0, -2.0, 1.0),
                "v3": f16(-2.0, 1.0, 3.0)},
            {"v0": 0xABCD0000 | f16(found)},
        )
        for name, found in (("min", -2.0), ("med", 1.0), ("max", 3.0))
    ),
    Row("v_med3_f32 v0, v1, v2, v3",
        {"v1": [NAN32, f32(4.0)], "v2": [f32(5.0), NAN32], "v3": [f32(6.0), NAN32]}, {"v0": f32(5.0, 4.0)}),
    # Approximate ones, where the result is exact.
    Row("v_rcp_f32_e32 v0, v1", {"v1": f32(4.0, -0.0, INF, LEAST)}, {"v0": f32(0.25, -INF, 0.0, INF)}),
    Row("v_rcp_iflag_f32_e32 v0, v1", {"v1": f32(4.0, 0.0)}, {"v0": f32(0.25, INF)}),
    Row("v_rsq_f32_e32 v0, v1", {"v1": f32(4.0, 0.0, -1.0)}, {"v0": [*f32(0.5, INF), NaN(32)]}),
    Row("v_sqrt_f32_e32 v0, v1", {"v1": f32(9.0, -0.0, -1.0)}, {"v0": [*f32(3.0, -0.0), NaN(32)]}),
    Row("v_exp_f32_e32 v0, v1", {"v1": f32(3.0, -1.0, 128.0, -INF)}, {"v0": f32(8.0, 0.5, INF, 0.0)}),
    Row("v_log_f32_e32 v0, v1", {"v1": f32(8.0, 0.5, 0.0, -1.0)}, {"v0": [*f32(3.0, -1.0, -INF), NaN(32)]}),
    Row("v_sin_f32_e32 v0, v1", {"v1": f32(0.25, -0.25, 256.25, 300.0)}, {"v0": f32(1.0, -1.0, 0.0, 0.0)}),
    Row("v_cos_f32_e32 v0, v1", {"v1": f32(0.0, 0.5, 300.25)}, {"v0": f32(1.0, -1.0, 1.0)}),
    Row("v_rcp_f16_e32 v0, v1", {"v1": f16(4.0, -0.0)}, {"v0": f16(0.25, -INF)}),
    Row("v_rsq_f16_e32 v0, v1", {"v1": f16(4.0, 0.0)}, {"v0": f16(0.5, INF)}),
    Row("v_sqrt_f16_e32 v0, v1", {"v1": f16(9.0, 2.0**-24)}, {"v0": f16(3.0, 2.0**-12)}),
    Row("v_exp_f16_e32 v0, v1", {"v1": f16(3.0, -24.0)}, {"v0": f16(8.0, 2.0**-24)}),
    Row("v_log_f16_e32 v0, v1", {"v1": f16(8.0, 2.0**-24)}, {"v0": f16(3.0, -24.0)}),
    Row("v_sin_f16_e32 v0, v1", {"v1": f16(0.25, -0.25)}, {"v0": f16(1.0, -1.0)}),
    Row("v_cos_f16_e32 v0, v1", {"v1": f16(0.0, 0.5)}, {"v0": f16(1.0, -1.0)}),
    Row("v_rcp_f64_e32 v[0:1], v[2:3]", {"v[2:3]": f64(4.0, 0.0)}, {"v[0:1]": f64(0.25, INF)}),
    Row("v_rsq_f64_e32 v[0:1], v[2:3]", {"v[2:3]": f64(4.0, 0.0)}, {"v[0:1]": f64(0.5, INF)}),
    Row("v_sqrt_f64_e32 v[0:1], v[2:3]", {"v[2:3]": f64(9.0, 0.0)}, {"v[0:1]": f64(3.0, 0.0)}),
    # A tiny negative number's fraction stays below 1.
    Row("v_fract_f32_e32 v0, v1", {"v1": f32(-(2.0**-30))}, {"v0": 0x3F7FFFFF}),
    # 2 / pi is 0x0.A2F9836E4E441529FC2757D1F534DDC0DB62...: its bits 1 to 53, and 54 to 106, where they
    # stand; of a large number those behind the first 1100 - 1077, and 2**128 times as large for the largest.
    Row("v_trig_preop_f64 v[0:1], v[2:3], 0", {"v[2:3]": f64(1.0, 2.0**54)},
        {"v[0:1]": f64((0xA2F9836E4E441529 >> 11) * 2.0**-53)}),
    Row("v_trig_preop_f64 v[0:1], |v[2:3]|, 1", {"v[2:3]": f64(-1.0)},
        {"v[0:1]": f64((0xA2F9836E4E441529FC2757D1F534 >> 6 & (1 << 53) - 1) * 2.0**-106)}),
    Row("v_trig_preop_f64 v[0:1], v[2:3], v4", {"v[2:3]": f64(2.0 ** (1100 - 1023)), "v4": 32},
        {"v[0:1]": f64((0xA2F9836E4E441529FC27 >> 4 & (1 << 53) - 1) * 2.0**-76)}),
    Row(
        "v_trig_preop_f64 v[0:1], v[2:3], 0",
        {"v[2:3]": f64(2.0 ** (1968 - 1023))},
        {"v[0:1]": f64(((2 * 10**309 << 53 + 891) // PI & (1 << 53) - 1) * 2.0 ** (-53 - 891 + 128))},
    ),
    # Exponents.
    Row("v_frexp_exp_i32_f32_e32 v0, v1", {"v1": [*f32(6.0, LEAST, 0.0, INF), NAN32]},
        {"v0": [3, u32(-148), 0, 0, 0]}),
    Row("v_frexp_exp_i32_f64_e32 v0, v[2:3]", {"v[2:3]": [*f64(6.0, 2.0**-1074, INF), NAN64]},
        {"v0": [3, u32(-1073), 0, 0]}),
    Row("v_frexp_exp_i16_f16_e32 v0, v1", {"v1": [*f16(6.0, 2.0**-24, INF), NAN16]},
        {"v0": [3, 0xFFFF & -23, 0, 0]}),
    Row(
        "v_ldexp_f32 v0, v1, v2",
        {"v1": f32(1.5, 1.5, 1.0, 1 + ULP, -0.0), "v2": [4, u32(-4), 128, u32(-149), 0x7FFFFFFF]},
        {"v0": f32(24.0, 0.09375, INF, LEAST, -0.0)},
    ),
    Row("v_ldexp_f64 v[0:1], v[2:3], v4", {"v[2:3]": f64(1.5, 1.0, 1.0), "v4": [u32(-4), 1024, u32(-1074)]},
        {"v[0:1]": f64(0.09375, INF, 2.0**-1074)}),
    Row("v_ldexp_f16_e32 v0, v1, v2",
        {"v1": f16(1.5, 1.0, 1.5, 1.0), "v2": [4, 16, 0xFFFF & -24, 0xABCD0001]},
        {"v0": f16(24.0, INF, 2 * 2.0**-24, 2.0)}),
    # Division: scale, and the fixing of special cases. 2**100 / 2**-20 scales the denominator, 1 / denormal
    # both.
    Row("v_div_fixup_f32 v0, v1, v2, v3",
        {"v1": f32(0.75, 1.0, 1.0, 1.0), "v2": f32(-4.0, 0.0, INF, 0.0), "v3": f32(3.0, -2.0, 5.0, 0.0)},
        {"v0": [*f32(-0.75, -INF, 0.0), NaN(32)]}),
    Row("v_div_fixup_f64 v[0:1], v[2:3], v[4:5], v[6:7]",
        {"v[2:3]": f64(0.75, 1.0), "v[4:5]": f64(-4.0, INF), "v[6:7]": f64(3.0, -INF)},
        {"v[0:1]": [f64(-0.75), NaN(64)]}),
    Row("v_div_fixup_f16 v0, v1, v2, v3",
        {"v0": 0xABCD0000, "v1": f16(0.75), "v2": f16(-4.0), "v3": f16(3.0)},
        {"v0": 0xABCD0000 | f16(-0.75)}),
    Row("v_div_fixup_legacy_f16 v0, v1, v2, v3",
        {"v0": 0xABCD0000, "v1": f16(0.75), "v2": f16(0.0), "v3": f16(3.0)}, {"v0": f16(INF)}),
]  # fmt: skip
