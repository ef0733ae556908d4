"""The vector unit's arithmetic against exact fractions, IEEE division, torch's small formats and
hand-worked values.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch

from conformance.gfx942 import arithmetic as unit

FRACTION = {np.float16: 10, np.float32: 23, np.float64: 52}
SMALLEST = {np.float16: -14, np.float32: -126, np.float64: -1022}
EDGES = {
    kind: np.array(
        [
            f(value)
            for value in (0.0, 1.0, 1.5, 2.0, 3.0, 10.0, np.pi, np.inf)
            for f in (kind, lambda x, kind=kind: -kind(x))
        ]
        + [np.finfo(kind).tiny, np.finfo(kind).smallest_subnormal, np.finfo(kind).max, -np.finfo(kind).max]
        + [
            np.finfo(kind).tiny * kind(0.75),
            np.nextafter(np.finfo(kind).tiny, kind(0)),
            np.nan,
            np.finfo(kind).eps,
        ],
        kind,
    )
    for kind in FRACTION
}


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def nearest(x: Fraction, kind: type) -> float:
    """x rounded to nearest even in a format, denormals included."""
    if not x:
        return 0.0
    size = abs(x)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    step = Fraction(2) ** (max(exponent, SMALLEST[kind]) - FRACTION[kind])
    rounded = round(size / step) * step
    value = float(rounded) if rounded <= Fraction(float(np.finfo(kind).max)) else np.inf
    return float(np.copysign(value, 1 if x > 0 else -1))


def any_bits(rng: np.random.Generator, kind: type, count: int) -> np.ndarray:
    size = np.dtype(kind).itemsize
    return rng.integers(0, 256, (count, size), dtype=np.uint8).view(kind)[:, 0]


def difficult(rng: np.random.Generator, kind: type, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors and addends whose sums come near ties, cancel, or end up below the normal range."""
    bits = FRACTION[kind]
    span = {np.float16: 14, np.float32: 120, np.float64: 1000}[kind]
    short = [1 + rng.integers(0, 8, count) * 2.0 ** -rng.integers(1, bits, count) for _ in range(2)]
    scale = rng.integers(-span // 2, span // 2, count), rng.integers(-span // 2, span // 2, count)
    a, b = (np.ldexp(x, e).astype(kind) for x, e in zip(short, scale, strict=True))
    shift = rng.integers(-2 * bits - 4, 2 * bits + 4, count)
    c = np.ldexp(
        rng.choice([-1.0, 1.0], count) * (1 + rng.integers(0, 4, count) * 2.0**-bits), sum(scale) + shift
    )
    cancel = rng.random(count) < 0.2
    return a, b, np.where(cancel, -(a.astype(np.float64) * b), c).astype(kind)


FMA = {np.float16: unit.fma16, np.float32: unit.fma32, np.float64: unit.fma64}


@pytest.mark.parametrize("family", ["any bits", "difficult", "small"])
@pytest.mark.parametrize("kind", FMA, ids=lambda kind: kind.__name__)
def test_fused_multiply_add_rounds_once(kind: type, family: str) -> None:
    rng = np.random.default_rng(11)
    if family == "difficult":
        a, b, c = difficult(rng, kind, 4000)
    else:
        a, b, c = (any_bits(rng, kind, 4000) for _ in range(3))
    if family == "small":
        a, b, c = np.ldexp(np.frexp(a)[0], -40), np.frexp(b)[0], np.ldexp(np.frexp(c)[0], SMALLEST[kind])
        a = np.ldexp(a, SMALLEST[kind] + 40 + rng.integers(-FRACTION[kind], 9, len(a)))
    got = FMA[kind](a, b, c)
    assert got.dtype == kind
    for x, y, z, result in zip(a.tolist(), b.tolist(), c.tolist(), got.tolist(), strict=True):
        if np.isfinite([x, y, z]).all():
            wanted = nearest(Fraction(x) * Fraction(y) + Fraction(z), kind)
        elif np.isfinite([x, y]).all():
            wanted = z
        else:
            wanted = np.float64(x) * np.float64(y) + z
        assert result == wanted or (np.isnan(result) and np.isnan(wanted)), (x, y, z, result, wanted)


@pytest.mark.parametrize("kind", FMA, ids=lambda kind: kind.__name__)
def test_fused_multiply_add_of_zeros_infinities_and_nans_is_ieee(kind: type) -> None:
    edge = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], kind)
    a, b, c = (x.ravel() for x in np.meshgrid(edge, edge, edge))
    got, wanted = FMA[kind](a, b, c), a * b + c
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(np.signbit(got)[wanted == 0], np.signbit(wanted)[wanted == 0])


def divide32(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The instructions that LLVM emits for a float32 division, in their order."""
    divisor, _ = unit.div_scale32(b, b, a)
    dividend, flag = unit.div_scale32(a, b, a)
    one, guess = np.float32(1), unit.rcp32(divisor)
    guess = unit.fma32(unit.fma32(-divisor, guess, one), guess, guess)
    quotient = dividend * guess
    quotient = unit.fma32(unit.fma32(-divisor, quotient, dividend), guess, quotient)
    rest = unit.fma32(-divisor, quotient, dividend)
    return unit.div_fixup32(unit.div_fmas32(rest, guess, quotient, flag), b, a)


def divide64(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The instructions that LLVM emits for a float64 division, in their order."""
    divisor, _ = unit.div_scale64(b, b, a)
    guess = unit.rcp64(divisor)
    for _ in range(2):
        guess = unit.fma64(guess, unit.fma64(-divisor, guess, np.float64(1)), guess)
    dividend, flag = unit.div_scale64(a, b, a)
    quotient = dividend * guess
    rest = unit.fma64(-divisor, quotient, dividend)
    return unit.div_fixup64(unit.div_fmas64(rest, guess, quotient, flag), b, a)


DIVISIONS = {np.float32: (divide32, 2_000_000), np.float64: (divide64, 20_000)}


@pytest.mark.parametrize(
    "family", ["any bits", "near 1", "quotient below normal", "quotient near overflow", "edges"]
)
@pytest.mark.parametrize("kind", DIVISIONS, ids=lambda kind: kind.__name__)
def test_the_division_sequence_gives_the_rounded_quotient(kind: type, family: str) -> None:
    division, count = DIVISIONS[kind]
    rng = np.random.default_rng(5)
    a, b = (any_bits(rng, kind, count) for _ in range(2))
    if family == "edges":
        a, b = (x.ravel() for x in np.meshgrid(EDGES[kind], EDGES[kind]))
    elif family != "any bits":
        a, b = np.frexp(a)[0], np.frexp(b)[0]
        low = SMALLEST[kind]
        span = {"near 1": (0, 3), "quotient below normal": (low - FRACTION[kind] - 3, low + 3)}
        spread = rng.integers(*span.get(family, (-low - 3, -low + 3)), count)
        a = np.ldexp(a, spread // 2)
        b = np.ldexp(b, spread // 2 - spread)
    wanted, got = np.divide(a, b), division(a, b)
    same = (wanted == got) & (np.signbit(wanted) == np.signbit(got)) | (np.isnan(wanted) & np.isnan(got))
    assert same.all(), (a[~same][:3], b[~same][:3], got[~same][:3], wanted[~same][:3], (~same).sum())


def test_division_without_its_refinement_is_seen_to_be_wrong() -> None:
    x = np.random.default_rng(2).random(1000) + 1
    error = np.abs(unit.rcp64(x) * x - 1)
    assert 2.0**-31 < error.max() <= 2.0**-29
    assert (np.abs(unit.rsq64(x) ** 2 * x - 1).max()) > 2.0**-31
    assert (np.abs(unit.sqrt64(x) ** 2 / x - 1).max()) > 2.0**-31


TOP = 2**31 - 1
INTEGERS = [
    (unit.to_u32, np.float32, [-1.5, -0.0, 0.99, 3.99, np.nan], [0, 0, 0, 3, 0]),
    (unit.to_u32, np.float32, [4294967040.0, 2.0**32, np.inf], [4294967040, 2**32 - 1, 2**32 - 1]),
    (unit.to_i32, np.float32, [-1.5, 1.99, 2.0**31, np.inf], [-1, 1, TOP, TOP]),
    (unit.to_i32, np.float32, [-(2.0**31), -3e9, np.nan], [-(2**31), -(2**31), 0]),
    (unit.to_u32, np.float64, [4294967295.9, -0.5, 1e300, np.nan], [2**32 - 1, 0, 2**32 - 1, 0]),
    (unit.to_i32, np.float64, [2147483647.5, -2147483648.9, np.nan], [TOP, -(2**31), 0]),
    (unit.to_u16, np.float16, [65504, -1, 1.999, np.inf, np.nan], [65504, 0, 1, 65535, 0]),
    (unit.to_i16, np.float16, [-1.999, 40000, -40000, np.nan], [-1, 32767, -32768, 0]),
    (unit.cvt_rpi_i32_f32, np.float32, [0.5, 0.49999997, -0.5, -0.51, 8388609.0], [1, 0, 0, -1, 8388609]),
    (unit.cvt_flr_i32_f32, np.float32, [-0.5, 0.5, -3e9, np.nan], [-1, 0, -(2**31), 0]),
    (unit.frexp_exp, np.float32, [1.0, 0.0, 2.0**-149, np.inf, np.nan, 12.0], [1, 0, -148, 0, 0, 4]),
]


@pytest.mark.parametrize(("function", "kind", "values", "wanted"), INTEGERS)
def test_conversions_to_integers(
    function: Callable, kind: type, values: list[float], wanted: list[int]
) -> None:
    assert function(np.array(values, kind)).tolist() == wanted


SMALL = {name: getattr(torch, f"float8_{name}") for name in ("e4m3fnuz", "e5m2fnuz", "e4m3fn", "e5m2")}
LARGEST = {"e4m3fnuz": 240, "e5m2fnuz": 57344, "e4m3fn": 448, "e5m2": 57344}


@pytest.mark.parametrize("name", SMALL)
def test_all_256_codes_of_a_small_format_decode_and_encode_back(name: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    values = unit.fp8_decode(codes, name)
    np.testing.assert_array_equal(values, torch.from_numpy(codes).view(SMALL[name]).float().numpy())
    number = ~np.isnan(values)
    assert (unit.fp8_encode(values, name) == codes)[number].all()
    assert (unit.fp8_encode(values, name, saturate=True) == codes)[np.isfinite(values)].all()


@pytest.mark.parametrize("name", SMALL)
def test_encoding_rounds_to_the_nearest_even_code(name: str) -> None:
    rng = np.random.default_rng(4)
    values = np.unique(unit.fp8_decode(np.arange(256, dtype=np.uint8), name))
    values = values[np.isfinite(values)].astype(np.float64)
    ties = ((values[1:] + values[:-1]) / 2).astype(np.float32)
    beside = np.concatenate([np.nextafter(ties, np.float32(s * np.inf)) for s in (-1, 1)])
    random = (rng.standard_normal(20000) * np.exp2(rng.integers(-20, 8, 20000))).astype(np.float32)
    x = np.concatenate([ties, beside, random])
    x = x[np.abs(x) <= LARGEST[name]]
    wanted = torch.from_numpy(x).to(SMALL[name]).view(torch.uint8).numpy()
    assert (unit.fp8_encode(x, name) == wanted).all()


OVER = [
    ("e4m3fnuz", 247.9, 0x7F, 0x7F), ("e4m3fnuz", 248.0, 0x80, 0x7F), ("e4m3fnuz", -1e9, 0x80, 0xFF),
    ("e4m3fnuz", np.inf, 0x80, 0x7F), ("e4m3fnuz", np.nan, 0x80, 0x80), ("e4m3fnuz", -0.0, 0, 0),
    ("e4m3fnuz", -(2.0**-12), 0, 0), ("e5m2fnuz", 61439.0, 0x7F, 0x7F), ("e5m2fnuz", 61440.0, 0x80, 0x7F),
    ("e4m3fn", 464.0, 0x7E, 0x7E), ("e4m3fn", 465.0, 0x7F, 0x7E), ("e4m3fn", -np.inf, 0xFF, 0xFE),
    ("e5m2", 61440.0, 0x7C, 0x7B), ("e5m2", -np.inf, 0xFC, 0xFB), ("e5m2", -0.0, 0x80, 0x80),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "plain", "saturated"), OVER)
def test_what_lies_beyond_a_small_format(name: str, value: float, plain: int, saturated: int) -> None:
    x = np.array([value], np.float32)
    assert (unit.fp8_encode(x, name)[0], unit.fp8_encode(x, name, saturate=True)[0]) == (plain, saturated)


@pytest.mark.parametrize("name", ["e4m3fnuz", "e5m2fnuz"])
def test_stochastic_rounding_is_right_on_average_and_never_off_by_more_than_one(name: str) -> None:
    rng = np.random.default_rng(6)
    for value in (1.03, -2.9, 100.0, 2.0**-9):
        x = np.full(20000, value, np.float32)
        random = rng.integers(0, 2**32, len(x), dtype=np.uint32)
        got = unit.fp8_decode(unit.fp8_encode_stochastic(x, random, name), name)
        step = np.ptp(unit.fp8_decode(np.unique(unit.fp8_encode_stochastic(x, random, name)), name))
        assert abs(got.mean() - x[0]) <= 4 * step / np.sqrt(len(x))


def test_float32_to_float16_and_bfloat16() -> None:
    rng = np.random.default_rng(8)
    x = np.concatenate([any_bits(rng, np.float32, 50000), rng.standard_normal(50000).astype(np.float32)])
    x = np.concatenate(
        [x, (x[50000:] * np.float32(2.0**-16)), np.array([65519, 65520, 1e6, np.inf], np.float32)]
    )
    rtz = unit.f16_rtz(x).astype(np.float64)
    finite = np.isfinite(x)
    assert (np.abs(rtz) <= np.abs(x))[finite].all()
    up = np.nextafter(unit.f16_rtz(x), np.copysign(np.float16(np.inf), unit.f16_rtz(x))).astype(np.float64)
    assert (np.abs(up) > np.abs(x))[finite].all()
    assert rtz[-2:].tolist() == [65504, np.inf]
    wanted = torch.from_numpy(x).bfloat16().view(torch.uint16).numpy()
    number = ~np.isnan(x)
    assert (unit.bf16_bits(x) == wanted)[number].all()
    nans = unit.bf16_bits(np.array([0x7F800001, 0xFFC00000], np.uint32).view(np.float32))
    assert nans.tolist() == [0x7FC0, 0xFFC0]


FUNCTIONS = [
    (unit.rcp32, lambda x: 1 / x),
    (unit.rsq32, lambda x: 1 / np.sqrt(x)),
    (unit.sqrt32, np.sqrt),
    (unit.exp2_32, np.exp2),
    (unit.log2_32, np.log2),
    (unit.sin32, lambda x: np.sin(2 * np.pi * (x - np.rint(x)))),
    (unit.cos32, lambda x: np.cos(2 * np.pi * (x - np.rint(x)))),
]


@pytest.mark.parametrize(("function", "truth"), FUNCTIONS)
def test_special_functions_are_within_one_ulp_and_flush_denormal_results(
    function: Callable, truth: Callable
) -> None:
    rng = np.random.default_rng(9)
    x = (rng.random(20000) * np.exp2(rng.integers(-60, 7, 20000))).astype(np.float32)
    wanted, got = truth(x.astype(np.float64)), function(x)
    normal = np.abs(wanted) > np.finfo(np.float32).tiny
    assert (np.abs(got - wanted) <= np.spacing(np.abs(wanted).astype(np.float32)))[normal].all()
    assert not ((np.abs(got) < np.finfo(np.float32).tiny) & (got != 0)).any()


SPECIAL = [
    (
        unit.rcp32,
        [0.0, -0.0, np.inf, 2.0**-127, -(2.0**-149), 2.0**127],
        [np.inf, -np.inf, 0, np.inf, -np.inf, 0],
    ),
    (unit.rsq32, [0.0, 4.0, np.inf, 2.0**-140, -1.0], [np.inf, 0.5, 0, np.inf, np.nan]),
    (unit.sqrt32, [-0.0, 2.0**-140, 9.0, -1.0, np.inf], [-0.0, 0, 3, np.nan, np.inf]),
    (unit.exp2_32, [-126.0, -126.5, 128.0, -np.inf, np.inf, 0.5], [2.0**-126, 0, np.inf, 0, np.inf, 2**0.5]),
    (unit.log2_32, [0.0, 2.0**-130, 1.0, -1.0, np.inf], [-np.inf, -np.inf, 0, np.nan, np.inf]),
    (unit.sin32, [0.25, 0.75, 256.25, 300.0, np.inf], [1, -1, 0, 0, np.nan]),
    (unit.cos32, [0.0, 0.5, 300.5, -np.inf], [1, -1, 1, np.nan]),
]


@pytest.mark.parametrize(("function", "values", "wanted"), SPECIAL)
def test_special_functions_at_their_edges(
    function: Callable, values: list[float], wanted: list[float]
) -> None:
    np.testing.assert_array_equal(function(np.array(values, np.float32)), np.array(wanted, np.float32))


HALVES = {unit.sqrt16: np.sqrt, unit.exp2_16: np.exp2, unit.log2_16: np.log2}
HALVES |= {unit.rcp16: lambda x: 1 / x, unit.rsq16: lambda x: 1 / np.sqrt(x)}


@pytest.mark.parametrize("function", HALVES, ids=lambda f: f.__name__)
def test_float16_functions_over_all_their_arguments(function: Callable) -> None:
    x = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(function(x), HALVES[function](x.astype(np.float64)).astype(np.float16))


NAN, SNAN = np.uint32(0x7FC00000).view(np.float32), np.array(0x7F800001, np.uint32).view(np.float32)[()]
EXTREMES = [
    (unit.minimum, (1, 2), 1),
    (unit.maximum, (1, 2), 2),
    (unit.minimum, (0.0, -0.0), -0.0),
    (unit.minimum, (-0.0, 0.0), -0.0),
    (unit.maximum, (-0.0, 0.0), 0.0),
    (unit.maximum, (-0.0, -0.0), -0.0),
    (unit.minimum, (NAN, 3), 3),
    (unit.maximum, (3, NAN), 3),
    (unit.minimum, (NAN, NAN), NAN),
    (unit.minimum, (-np.inf, 5), -np.inf),
    (unit.med3, (1, 3, 2), 2),
    (unit.med3, (3, 3, -1), 3),
    (unit.med3, (NAN, 4, 2), 2),
    (unit.med3, (4, NAN, 2), 2),
    (unit.med3, (4, 2, NAN), 2),
    (unit.min3, (4, NAN, 2), 2),
    (unit.max3, (4, 9, 2), 9),
    (unit.clamp, (NAN,), 0.0),
    (unit.clamp, (-0.0,), 0.0),
    (unit.clamp, (-3,), 0),
    (unit.clamp, (0.25,), 0.25),
    (unit.clamp, (7,), 1),
    (unit.fract, (-1e-10,), 0.99999994),
    (unit.fract, (-1.25,), 0.75),
    (unit.fract, (np.inf,), NAN),
    (unit.rndne, (2.5,), 2),
    (unit.rndne, (-3.5,), -4),
    (unit.trunc, (-1.9,), -1),
    (unit.frexp_mant, (12.0,), 0.75),
    (unit.frexp_mant, (-np.inf,), -np.inf),
    (unit.flush, (2.0**-127,), 0.0),
    (unit.flush, (-(2.0**-140),), -0.0),
    (unit.flush, (2.0**-126,), 2.0**-126),
]


@pytest.mark.parametrize(
    "row", range(len(EXTREMES)), ids=lambda row: f"{EXTREMES[row][0].__name__}{EXTREMES[row][1]}"
)
def test_minima_maxima_and_parts(row: int) -> None:
    function, values, wanted = EXTREMES[row]
    got, wanted = function(*(np.array([value], np.float32) for value in values))[0], np.float32(wanted)
    assert got == wanted or (np.isnan(got) and np.isnan(wanted))
    assert np.isnan(wanted) or np.signbit(got) == np.signbit(wanted)


@pytest.mark.parametrize("function", [unit.minimum, unit.maximum])
def test_a_signalling_nan_comes_out_quiet(function: Callable) -> None:
    for pair in ((SNAN, np.float32(1)), (np.float32(1), SNAN)):
        got = function(*(np.array([value]) for value in pair))
        assert got.view(np.uint32)[0] == 0x7FC00001


@pytest.mark.parametrize("factor", [2.0, 4.0, 0.5])
def test_output_modifiers_scale_and_flush_unless_denormals_are_kept(factor: float) -> None:
    x = np.array([3.0, 2.0**-126, -(2.0**-140)], np.float32)
    low = np.array([0.0 if factor < 1 else factor * 2.0**-126], np.float32)[0]
    assert unit.output_modifier(x, factor).tolist() == [3 * factor, low, -0.0]
    assert unit.output_modifier(x, factor, denormals=True).tolist() == x.tolist()


@pytest.mark.parametrize("kind", FRACTION, ids=lambda kind: kind.__name__)
def test_the_ten_classes(kind: type) -> None:
    tiny = np.finfo(kind).smallest_subnormal
    bits = {np.float16: 0x7C01, np.float32: 0x7F800001, np.float64: 0x7FF0000000000001}[kind]
    signalling = np.array([bits], np.dtype(f"u{np.dtype(kind).itemsize}")).view(kind)
    x = np.concatenate([signalling, np.array([np.nan, -np.inf, -1, -tiny, -0.0, 0.0, tiny, 1, np.inf], kind)])
    assert unit.classify(x).tolist() == [1 << bit for bit in range(10)]


@pytest.mark.parametrize("kind", FRACTION, ids=lambda kind: kind.__name__)
def test_ldexp_rounds_once_into_denormals(kind: type) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(2000).astype(kind)
    exponents = rng.integers(SMALLEST[kind] - FRACTION[kind] - 3, SMALLEST[kind] + 3, 2000).astype(np.int32)
    got = unit.ldexp(x, exponents)
    for value, exponent, result in zip(x.tolist(), exponents.tolist(), got.tolist(), strict=True):
        assert result == nearest(Fraction(value) * Fraction(2) ** exponent, kind)
    assert np.isinf(unit.ldexp(x[:1], np.array([2**31 - 1], np.int32)))[0]
