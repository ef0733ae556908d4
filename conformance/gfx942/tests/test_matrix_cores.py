"""The matrix instructions against the published rule in exact arithmetic, element by element, and their
layouts.
"""

from fractions import Fraction

import numpy as np
import pytest
from triton._C.libtriton import amd, llvm
from triton.backends.amd import compiler

from conformance.gfx942.conversions import DECODED
from conformance.gfx942.layouts import BITS, Shape
from conformance.gfx942.matrix import SHAPES, multiply

SMALLEST = {"f16": -14, "bf16": -126, "xf32": -126, "fp8": -7, "bf8": -15}
CURRENT = [name for name, shape in SHAPES.items() if name == shape.name]
GROUPED = [name for name in CURRENT if SHAPES[name].a in SMALLEST]
FORMAT = {"fp8": "e4m3fnuz", "bf8": "e5m2fnuz"}
RARE = np.array([0, 0x8000, 1, 0x8001, 0x7F, 0x80, 0x83FF], np.uint64)  # zeros and denormals of the formats


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


# The rule, in fractions


def exact_dot(kind: str, a: list[float], b: list[float], types: tuple[str, str], c: float) -> float:
    size = min(len(a), {"xf32": 4, "fp8": 16, "bf8": 16}.get(kind, 8))
    for first in range(0, len(a), size):
        c = exact_group(kind, a[first : first + size], b[first : first + size], types, c)
    return c


def exact_group(kind: str, a: list[float], b: list[float], types: tuple[str, str], c: float) -> float:
    products = np.array(a, np.float64) * np.array(b, np.float64)
    products = np.where(np.abs(products) >= 2.0**128, np.copysign(np.inf, products), products)
    if not np.isfinite(total := products.sum() + c):
        return float(np.float32(total))
    if kind in FORMAT:
        halves = [exact_sum(a[i::2], b[i::2], types) for i in (0, 1)]
        top = max(exponent for _, exponent in halves)
        total, exponent = sum(down(value, top - 24) for value, _ in halves), top
    else:
        total, exponent = exact_sum(a, b, types)
    own = exponent_of(c, -126)
    top = max(exponent, own)
    kept = 0 if kind in FORMAT and own < top - 25 else down(Fraction(c), top - 24)
    return nearest_float32(down(total, top - 31) + kept)


def exact_sum(a: list[float], b: list[float], types: tuple[str, str]) -> tuple[Fraction, int]:
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x and y]
    if not pairs:
        return Fraction(0), -126
    exponents = [exponent_of(x, SMALLEST[types[0]]) + exponent_of(y, SMALLEST[types[1]]) for x, y in pairs]
    step = Fraction(2) ** (max(exponents) - 24)
    return sum(int(Fraction(x) * Fraction(y) / step) * step for x, y in pairs), max(exponents)


def down(x: Fraction, exponent: int) -> Fraction:
    step = Fraction(2) ** exponent
    return (x / step).__floor__() * step


def exponent_of(x: float, smallest: int) -> int:
    return max(int(np.frexp(x)[1]) - 1, smallest) if x else smallest


def nearest_float32(x: Fraction) -> float:
    if not x:
        return 0.0
    size = abs(x)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    step = Fraction(2) ** max(exponent - 23, -149)
    rounded = round(x / step) * step
    return float(rounded) if abs(rounded) < 2**128 else float(np.copysign(np.inf, float(x > 0) - 0.5))


# Operands in registers, by the layout's formulas


def a_place(shape: Shape, block: int, row: int, k: int) -> tuple[int, int]:
    per_lane = shape.k // (64 // (shape.m * shape.blocks))
    return k % per_lane, row + shape.m * (block + shape.blocks * (k // per_lane))


def d_place(shape: Shape, block: int, row: int, column: int) -> tuple[int, int]:
    high = 1 if shape.c == "f64" else 4
    beside = -(-64 // (shape.n * shape.m // high))
    across = 64 // beside // shape.n
    groups = shape.m // (high * across)
    item = row % high + high * (row // (high * across) + groups * (block // beside))
    return item, column + shape.n * (row // high % across + across * (block % beside))


def elements(registers: np.ndarray, kind: str) -> np.ndarray:
    """[item, W, lane] of values from registers [register, W, lane]."""
    if kind == "f64":
        joined = registers[0::2].astype(np.uint64) | registers[1::2].astype(np.uint64) << np.uint64(32)
        return joined.view(np.float64)
    if kind == "i32":
        return registers.view(np.int32)
    count = 32 // BITS[kind]
    pieces = [registers >> np.uint32(BITS[kind] * i) & np.uint32(2 ** BITS[kind] - 1) for i in range(count)]
    bits = np.stack(pieces, axis=1).reshape(-1, *registers.shape[1:])
    if kind in FORMAT:
        return DECODED[FORMAT[kind]][bits]
    if kind == "i8":
        return bits.astype(np.uint8).view(np.int8)
    if kind == "f16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float32)
    if kind == "bf16":
        return (bits << np.uint32(16)).view(np.float32)
    return (bits & np.uint32(0xFFFFE000) if kind == "xf32" else bits).view(np.float32)


def dot_operands(
    shape: Shape, a: np.ndarray, b: np.ndarray, wave: int, block: int, row: int, column: int
) -> tuple[list[float], list[float]]:
    a_values, b_values = elements(a, shape.a), elements(b, shape.b)
    places = [(a_place(shape, block, row, k), a_place(shape, block, column, k)) for k in range(shape.k)]
    left = [a_values[item, wave, lane].item() for (item, lane), _ in places]
    return left, [b_values[item, wave, lane].item() for _, (item, lane) in places]


def draw(rng: np.random.Generator, kind: str, registers: int, waves: int, family: str) -> np.ndarray:
    """Registers of one operand, [registers, waves, 64]."""
    size = (registers * 32 // BITS[kind], waves, 64)
    normal = rng.standard_normal(size)
    if kind in ("f64", "i8"):
        return rng.integers(0, 2**32, (registers, waves, 64), dtype=np.uint32)
    spread = {"near": 0, "spread": 8, "wide": 60, "far": 120}.get(family, 3)
    values = (normal * np.exp2(rng.integers(-spread, spread + 1, size))).astype(np.float32)
    if family == "integers":
        values = rng.integers(-8, 9, size).astype(np.float32)
    if kind in FORMAT:
        order = np.argsort(DECODED[FORMAT[kind]])[:-1]  # the NaN last
        bits = order[np.searchsorted(DECODED[FORMAT[kind]][order], values).clip(0, 254)].astype(np.uint64)
    elif kind == "f16":
        bits = values.clip(-60000, 60000).astype(np.float16).view(np.uint16).astype(np.uint64)
    else:
        bits = values.view(np.uint32).astype(np.uint64) >> np.uint64(32 - BITS[kind])
    if family in ("rare", "far"):
        bits = np.where(rng.random(size) < 0.3, rng.choice(RARE, size) & np.uint64(2 ** BITS[kind] - 1), bits)
    if family == "special":
        codes = {"f16": [0x7C00, 0xFC00, 0x7E01], "bf16": [0x7F80, 0xFF80, 0x7FC1]}.get(kind, [0x80])
        codes = [0x7F800000, 0xFF800000, 0x7FC00001] if kind == "xf32" else codes
        bits = np.where(rng.random(size) < 0.02, rng.choice(np.array(codes, np.uint64), size), bits)
    per = 32 // BITS[kind]
    packed = bits.reshape(registers, per, waves, 64)
    return sum(packed[:, i] << np.uint64(BITS[kind] * i) for i in range(per)).astype(np.uint32)


def addends(rng: np.random.Generator, shape: Shape, waves: int, family: str) -> np.ndarray:
    size = (shape.c_registers, waves, 64)
    if shape.c != "f32":
        return rng.integers(0, 2**32, size, dtype=np.uint32)
    spread = {"spread": 30, "wide": 100, "far": 120, "rare": 130}.get(family, 4)
    values = (rng.standard_normal(size) * np.exp2(rng.integers(-spread, spread + 1, size))).astype(np.float32)
    return np.where(rng.random(size) < 0.1, np.float32(0), values).view(np.uint32)


@pytest.mark.parametrize("waves", [2, 35], ids=["few", "many"])
@pytest.mark.parametrize("family", ["near", "spread", "wide", "far", "rare", "special", "integers"])
@pytest.mark.parametrize("name", GROUPED)
def test_every_element_follows_the_published_rule(name: str, family: str, waves: int) -> None:
    shape = SHAPES[name]
    rng = np.random.default_rng(len(name) * 100 + waves)
    a = draw(rng, shape.a, shape.a_registers, waves, family)
    b = draw(rng, shape.b, shape.b_registers, waves, family)
    c = addends(rng, shape, waves, family)
    got = elements(multiply(shape, a, b, c), "f32")
    for _ in range(40):
        wave, block, row, column = (int(rng.integers(n)) for n in (waves, shape.blocks, shape.m, shape.n))
        item, lane = d_place(shape, block, row, column)
        left, right = dot_operands(shape, a, b, wave, block, row, column)
        old = c.view(np.float32)[item, wave, lane].item()
        wanted = exact_dot(shape.a, left, right, (shape.a, shape.b), old)
        np.testing.assert_array_equal(
            got[item, wave, lane],
            np.float32(wanted),
            f"{left} {right} {old} {(wave, block, row, column)}",
        )


@pytest.mark.parametrize("name", [name for name in CURRENT if SHAPES[name].a in ("f32", "f64", "i8")])
@pytest.mark.parametrize("waves", [1, 33], ids=["few", "many"])
def test_float32_float64_and_int8_add_in_order(name: str, waves: int) -> None:
    shape = SHAPES[name]
    rng = np.random.default_rng(len(name))
    a = draw(rng, shape.a, shape.a_registers, waves, "wide")
    b = draw(rng, shape.b, shape.b_registers, waves, "wide")
    c = addends(rng, shape, waves, "wide")
    got = elements(multiply(shape, a, b, c), shape.c)
    for _ in range(40):
        wave, block, row, column = (int(rng.integers(n)) for n in (waves, shape.blocks, shape.m, shape.n))
        item, lane = d_place(shape, block, row, column)
        total = elements(c, shape.c)[item, wave, lane].item()
        for x, y in zip(*dot_operands(shape, a, b, wave, block, row, column), strict=True):
            total = one_step(shape.c, x, y, total)
        np.testing.assert_array_equal(got[item, wave, lane].item(), total)


def one_step(kind: str, x: float, y: float, total: float) -> float:
    if kind == "i32":
        return (int(x) * int(y) + int(total) + 2**31) % 2**32 - 2**31
    if not np.isfinite([x, y]).all():
        return float(np.float64(x) * np.float64(y) + total)
    if not np.isfinite(total):
        return total
    value = Fraction(x) * Fraction(y) + Fraction(total)
    if kind == "f32":
        return nearest_float32(value)
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def test_a_32x32_result_register_holds_the_row_that_the_manual_says() -> None:
    """a is the identity in its first columns, so d shows b's rows: b[k, j] = 100 k + j."""
    shape = SHAPES["v_mfma_f32_32x32x8_f16"]
    a, b = np.zeros((4, 1, 64), np.float16), np.zeros((4, 1, 64), np.float16)
    for k in range(8):
        a[k % 4, 0, k + 32 * (k // 4)] = 1
        b[k % 4, 0, 32 * (k // 4) : 32 * (k // 4) + 32] = 100 * k + np.arange(32)
    d = multiply(shape, pack16(a), pack16(b), 0).view(np.float32)
    for register in range(16):
        for lane in range(64):
            row, column = 8 * (register // 4) + 4 * (lane // 32) + register % 4, lane % 32
            assert d[register, 0, lane] == (100 * row + column if row < 8 else 0)


def test_a_16x16_result_register_holds_the_row_that_the_manual_says() -> None:
    shape = SHAPES["v_mfma_f32_16x16x16_bf16"]
    a, b = np.zeros((4, 1, 64), np.float32), np.zeros((4, 1, 64), np.float32)
    for k in range(16):
        a[k % 4, 0, k + 16 * (k // 4)] = 1
        b[k % 4, 0, 16 * (k // 4) : 16 * (k // 4) + 16] = 16 * k + np.arange(16)
    bits = [(x.view(np.uint32) >> np.uint32(16)).astype(np.uint16) for x in (a, b)]
    d = multiply(shape, *(pack16(x) for x in bits), 0).view(np.float32)
    for register in range(4):
        for lane in range(64):
            assert d[register, 0, lane] == 16 * (4 * (lane // 16) + register) + lane % 16


def pack16(items: np.ndarray) -> np.ndarray:
    halves = items.view(np.uint16).astype(np.uint32)
    return halves[0::2] | halves[1::2] << np.uint32(16)


# Hand-worked sums: k values of a (b is 1), c, the result on CDNA3
SUMS = {
    "nothing is lost near 1": ([1.0, 2.0**-10], 0.0, 1.0 + 2.0**-10),
    "a product 25 bits down is cut off": ([2.0**12, -(2.0**-13)], 0.0, 2.0**12),
    "a product 24 bits down is kept": ([2.0**12, -(2.0**-12)], 0.0, 4096.0 - 2.0**-12),
    "c is rounded down, not toward zero": ([2.0**15], -(2.0**-20), 2.0**15 - 2.0**-9),
    "c at the same depth but positive vanishes": ([2.0**15], 2.0**-20, 2.0**15),
    "cancellation shows what was cut": ([2.0**15, 2.0**-10, -(2.0**15)], 0.0, 0.0),
    "c cancels the sum exactly": ([1024.0, 3.0], -1027.0, 0.0),
}


@pytest.mark.parametrize("sums", SUMS)
def test_hand_worked_sums(sums: str) -> None:
    values, c, wanted = SUMS[sums]
    shape = SHAPES["v_mfma_f32_4x4x4_16b_f16"]
    a, b = np.zeros((4, 1, 64), np.float16), np.ones((4, 1, 64), np.float16)
    a[: len(values)] = np.array(values, np.float16)[:, None, None]
    got = multiply(shape, pack16(a), pack16(b), int(np.float32(c).view(np.uint32))).view(np.float32)
    assert (got == np.float32(wanted)).all(), (got.flat[0], wanted)


@pytest.mark.parametrize("name", [name for name in GROUPED if SHAPES[name].a == "f16"])
def test_plain_mode_rounds_each_product_and_sum_to_float32(name: str) -> None:
    shape = SHAPES[name]
    rng = np.random.default_rng(7)
    a = draw(rng, "f16", shape.a_registers, 3, "spread")
    b = draw(rng, "f16", shape.b_registers, 3, "spread")
    c = addends(rng, shape, 3, "spread")
    got = multiply(shape, a, b, c, plain=True).view(np.float32)
    for _ in range(40):
        wave, block, row, column = (int(rng.integers(n)) for n in (3, shape.blocks, shape.m, shape.n))
        item, lane = d_place(shape, block, row, column)
        total = c.view(np.float32)[item, wave, lane]
        for x, y in zip(*dot_operands(shape, a, b, wave, block, row, column), strict=True):
            total = np.float32(total + np.float32(x) * np.float32(y))
        assert got[item, wave, lane] == total


@pytest.mark.parametrize(("size", "block"), [(1, 1), (2, 3), (4, 0), (4, 9)])
def test_cbsz_and_abid_broadcast_one_block_of_lanes(size: int, block: int) -> None:
    shape = SHAPES["v_mfma_f32_4x4x4_16b_f16"]
    rng = np.random.default_rng(1)
    a, b = (draw(rng, "f16", 2, 2, "near") for _ in range(2))
    width = 64 >> size
    chosen = a[:, :, np.arange(64) % width + width * block]
    got = multiply(shape, a, b, 0, cbsz=size, abid=block)
    assert (got == multiply(shape, chosen, b, 0)).all()
    assert (got != multiply(shape, a, b, 0)).any()


@pytest.mark.parametrize(
    ("pattern", "first", "second"), [(1, 0, 0), (2, 32, 32), (3, 16, 48), (4, 0, 0), (5, 16, 16), (7, 48, 48)]
)
def test_blgp_moves_lanes_of_b(pattern: int, first: int, second: int) -> None:
    """Lanes 0 and 32 of a 4x4 product read b from the lanes named."""
    shape = SHAPES["v_mfma_f32_4x4x4_16b_f16"]
    a = pack16(np.ones((4, 1, 64), np.float16))
    b = pack16(np.broadcast_to(np.arange(64, dtype=np.float16), (4, 1, 64)).copy())
    d = multiply(shape, a, b, 0, blgp=pattern).view(np.float32)
    assert (d[0, 0, 0], d[0, 0, 32]) == (4 * first, 4 * second)


def test_blgp_negates_in_float64() -> None:
    shape = SHAPES["v_mfma_f64_16x16x4_f64"]
    one = np.zeros((2, 1, 64), np.uint32)
    one[1] = 0x3FF00000
    bits = int(np.float64(10).view(np.uint64))
    values = [elements(multiply(shape, one, one, bits, blgp=bit), "f64")[0, 0, 0] for bit in (0, 1, 2, 3, 4)]
    assert values == [14, 6, 6, 14, -6]


@pytest.mark.parametrize("chip", ["gfx942", "gfx950"])
def test_llvm_reads_every_name_with_as_many_registers(chip: str, capfd: pytest.CaptureFixture) -> None:
    """gfx942 lacks the shapes with 128 bits of an operand in a lane, gfx950 the xf32 ones."""
    llvm.init_targets()
    lines = [".text"]
    for name, shape in SHAPES.items():
        bits = shape.m * shape.k * shape.blocks * BITS[shape.a]
        if shape.a == "xf32" if chip == "gfx950" else bits > 64 * 64 and shape.a != "f64":
            continue
        counts = (shape.c_registers, shape.a_registers, shape.b_registers, shape.c_registers)
        starts = (0, 64, 80, 0)
        operands = [f"v[{s}:{s + n - 1}]" if n > 1 else f"v{s}" for s, n in zip(starts, counts, strict=True)]
        lines.append(f"{name} {', '.join(operands)}")
    assert len(lines) > 50
    assemble = getattr(compiler, "assemble_amdgcn", amd.assemble_amdgcn)  # the former from Triton 3.9 on
    assemble("\n".join(lines) + "\n", chip, "")
    assert "error" not in capfd.readouterr().err


def test_older_spellings_name_the_same_instructions() -> None:
    assert SHAPES["v_mfma_f32_32x32x8bf16_1k"] is SHAPES["v_mfma_f32_32x32x8_bf16"]
    assert SHAPES["v_mfma_f32_32x32x1f32"] is SHAPES["v_mfma_f32_32x32x1_2b_f32"]


def test_a_constant_addend_serves_all_elements() -> None:
    shape = SHAPES["v_mfma_f32_16x16x4_f32"]
    rng = np.random.default_rng(3)
    for waves in (2, 40):
        a, b = (draw(rng, "f32", 1, waves, "near") for _ in range(2))
        whole = np.full((4, waves, 64), np.float32(2.5).view(np.uint32))
        assert (multiply(shape, a, b, int(whole[0, 0, 0])) == multiply(shape, a, b, whole)).all()
