"""Arithmetic, rounding, comparison and selection, element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from .bounds import U32, ulps
from .case import Arguments, Case, Launch, blank, normal

COUNT, BLOCK = 1000, 256  # the last program's tail is masked
F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
INF, NAN = float("inf"), float("nan")
EDGES = (
    0.0,
    -0.0,
    INF,
    -INF,
    NAN,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    1e-40,
    -1e-40,
    3.4e38,
    -3.4e38,
    1e-45,
)


@triton.jit
def unary(x, out, count, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    tl.store(out + at, FUNCTION(tl.load(x + at, mask=inside)), mask=inside)


@triton.jit
def binary(x, y, out, count, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    tl.store(out + at, FUNCTION(tl.load(x + at, mask=inside), tl.load(y + at, mask=inside)), mask=inside)


@triton.jit
def ternary(x, y, z, out, count, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    first, second, third = (
        tl.load(x + at, mask=inside),
        tl.load(y + at, mask=inside),
        tl.load(z + at, mask=inside),
    )
    tl.store(out + at, FUNCTION(first, second, third), mask=inside)


@triton.jit
def add(x, y):
    return x + y


@triton.jit
def subtract(x, y):
    return x - y


@triton.jit
def multiply(x, y):
    return x * y


@triton.jit
def divide(x, y):
    return x / y


@triton.jit
def divide_rn(x, y):
    return tl.div_rn(x, y)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y)


@triton.jit
def minimum_nan(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def where_nan(x, y):
    return tl.where(x != x, y, tl.where(x < y, x, -y))


@triton.jit
def compare(x, y):
    return (x < y) + 2 * (x == y) + 4 * (x > y) + 8 * (x != y) + 16 * (x <= y) + 32 * (x >= y)


@triton.jit
def fused(x, y, z):
    return tl.fma(x, y, z)


@triton.jit
def clamp(x, y, z):
    return tl.clamp(x, tl.minimum(y, z), tl.maximum(y, z))


@triton.jit
def clamp_nan(x, y, z):
    return tl.clamp(x, -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def median(x, y, z):
    return tl.maximum(tl.minimum(x, y), tl.minimum(tl.maximum(x, y), z))


@triton.jit
def magnitude(x):
    return tl.abs(x)


@triton.jit
def negate(x):
    return -x


@triton.jit
def round_down(x):
    return tl.floor(x)


@triton.jit
def round_up(x):
    return tl.ceil(x)


@triton.jit
def truncate(x):
    return libdevice.trunc(x)


@triton.jit
def round_even(x):
    return libdevice.rint(x)


@triton.jit
def sqrt(x):
    return tl.sqrt(x)


@triton.jit
def sqrt_rn(x):
    return tl.sqrt_rn(x)


@triton.jit
def polynomial(x):
    return ((x * 0.5 + 0.25) * x - 2.0) * x + 1.0


def over(
    kernel, function, *inputs: torch.Tensor, out: torch.dtype | None = None, fusion: bool = True
) -> Callable[[], Launch]:
    """FUNCTION of up to three inputs of one length; `fusion` allows a product and a sum to become one fma."""

    def launch() -> Launch:
        count = inputs[0].numel()
        names = dict(zip("xyz", inputs, strict=False))
        made = blank(count, dtype=out or inputs[0].dtype)
        return Launch(
            (triton.cdiv(count, BLOCK),),
            dict(**names, out=made, count=count, FUNCTION=function, BLOCK=BLOCK),
            options=dict(enable_fp_fusion=fusion),
        )

    return launch


def numbers(dtype: torch.dtype = F32, seed: int = 0, scale: float = 1.0, edges: bool = True) -> torch.Tensor:
    """Normal values, with every pair of edge values when two such vectors of different seeds meet."""
    values = normal(COUNT, dtype=dtype, seed=seed, scale=scale)
    if edges:
        special = torch.tensor(EDGES, dtype=F64).to(dtype)
        pairs = special.repeat(len(EDGES)) if seed % 2 else special.repeat_interleave(len(EDGES))
        values[: pairs.numel()] = pairs
    return values


def nan_loses(a: Arguments) -> torch.Tensor:
    return torch.fmax(a.x, a.y)


def compared(a: Arguments) -> torch.Tensor:
    x, y = a.x, a.y
    tests = (x < y, x == y, x > y, x != y, x <= y, x >= y)
    return sum(test.int() << bit for bit, test in enumerate(tests))


def root(a: Arguments) -> torch.Tensor:
    """Rounded correctly: PyTorch's vectorised square root is not."""
    return torch.from_numpy(np.sqrt(a.x.numpy()))


def fma_reference(a: Arguments) -> torch.Tensor:
    return a.x.double() * a.y.double() + a.z.double()


def medians(a: Arguments) -> torch.Tensor:
    return torch.stack((a.x, a.y, a.z)).median(0).values


X, Y, Z = numbers(), numbers(seed=1), numbers(seed=2, edges=False)
PLAIN, OTHER = numbers(edges=False), numbers(seed=1, edges=False)
X16, Y16, XB, YB = numbers(F16), numbers(F16, 1), numbers(BF16), numbers(BF16, 1)
X64, Y64 = numbers(F64), numbers(F64, 1)

# Correctly rounded operations: PyTorch's float32 and float64 ones are too, so bits are equal; of 16-bit
# values the float32 result rounded once more is the correctly rounded one, for 24 >= 2 * 11 + 2.
CASES = [
    Case("add f32", binary, over(binary, add, X, Y), lambda a: a.x + a.y),
    Case(
        "subtract f16", binary, over(binary, subtract, X16, Y16), lambda a: (a.x.float() - a.y.float()).half()
    ),
    Case("add bf16", binary, over(binary, add, XB, YB), lambda a: (a.x.float() + a.y.float()).bfloat16()),
    Case("multiply f32", binary, over(binary, multiply, X, Y), lambda a: a.x * a.y),
    Case(
        "multiply f16", binary, over(binary, multiply, X16, Y16), lambda a: (a.x.float() * a.y.float()).half()
    ),
    Case("add f64", binary, over(binary, add, X64, Y64), lambda a: a.x + a.y),
    Case("multiply f64", binary, over(binary, multiply, X64, Y64), lambda a: a.x * a.y),
    Case("divide f64", binary, over(binary, divide, X64, Y64), lambda a: a.x / a.y),
    Case("divide_rn f32", binary, over(binary, divide_rn, X, Y), lambda a: a.x / a.y),
    # Triton 3.6 takes v_rsq_f32 of a denormal, which is infinite, and gives NaN.
    Case("sqrt_rn f32", unary, over(unary, sqrt_rn, X.abs()), root, since=(3, 7)),
    Case("sqrt f64", unary, over(unary, sqrt, X64.abs()), root),
    Case("negate f16", unary, over(unary, negate, X16), lambda a: -a.x),
    Case("abs f32", unary, over(unary, magnitude, X), lambda a: a.x.abs()),
    Case("abs f64", unary, over(unary, magnitude, X64), lambda a: a.x.abs()),
    Case("floor f32", unary, over(unary, round_down, 9 * X), lambda a: a.x.floor()),
    Case("ceil f64", unary, over(unary, round_up, 9 * X64), lambda a: a.x.ceil()),
    Case("trunc f32", unary, over(unary, truncate, 9 * X), lambda a: a.x.trunc()),
    Case("rint f32", unary, over(unary, round_even, 9 * X), lambda a: a.x.round(), since=(3, 7)),
    Case("maximum f32 drops NaN", binary, over(binary, maximum, X, Y), nan_loses),
    Case("minimum f32 keeps NaN", binary, over(binary, minimum_nan, X, Y), lambda a: torch.minimum(a.x, a.y)),
    Case(
        "minimum f16 keeps NaN",
        binary,
        over(binary, minimum_nan, X16, Y16),
        lambda a: torch.minimum(a.x, a.y),
    ),
    Case("maximum f64 drops NaN", binary, over(binary, maximum, X64, Y64), nan_loses),
    Case(
        "where with NaN",
        binary,
        over(binary, where_nan, X, Y),
        lambda a: torch.where(a.x.isnan(), a.y, torch.where(a.x < a.y, a.x, -a.y)),
    ),
    Case("compare f32", binary, over(binary, compare, X, Y, out=torch.int32), compared),
    Case("compare f16", binary, over(binary, compare, X16, Y16, out=torch.int32), compared),
    Case("compare f64", binary, over(binary, compare, X64, Y64, out=torch.int32), compared),
    # One rounding of the exact x y + z; the reference's own double rounding is 2**-29 of it.
    Case("fma f32", ternary, over(ternary, fused, PLAIN, OTHER, Z), fma_reference, ulps(0.5 + 2.0**-28)),
    Case("fma f32 edges", ternary, over(ternary, fused, X, Y, Z), fma_reference, ulps(0.5 + 2.0**-28)),
    Case(
        "fma f16",
        ternary,
        over(ternary, fused, *(numbers(F16, seed, edges=False) for seed in range(3))),
        fma_reference,
        ulps(0.5, F16),
    ),
    Case(
        "clamp f32",
        ternary,
        over(ternary, clamp, PLAIN, OTHER, Z),
        lambda a: a.x.clamp(torch.minimum(a.y, a.z), torch.maximum(a.y, a.z)),
    ),
    Case("clamp f32 keeps NaN", ternary, over(ternary, clamp_nan, X, Y, Z), lambda a: a.x.clamp(-1, 1)),
    Case("median f32", ternary, over(ternary, median, PLAIN, OTHER, Z), medians),
    Case(
        "polynomial f32",
        unary,
        over(unary, polynomial, PLAIN),
        lambda a: ((a.x.double() * 0.5 + 0.25) * a.x.double() - 2) * a.x.double() + 1,
        # Horner, degree 3: at most 2 * 3 roundings of partial sums no larger than the sum of the terms'
        # magnitudes.
        lambda a, y: (
            6 * U32 * ((a.x.double().abs() * 0.5 + 0.25) * a.x.double().abs() + 2) * a.x.double().abs()
            + 6 * U32
        ),
    ),
    # v_div_scale .. v_div_fixup round correctly; AMD's default for float32 allows 2.5 ulp (OpenCL 3.0, table
    # 7.4).
    Case("divide f32", binary, over(binary, divide, X, Y), lambda a: a.x.double() / a.y.double(), ulps(2.5)),
]
