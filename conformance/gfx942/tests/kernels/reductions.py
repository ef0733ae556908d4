"""Along an axis: sums, extremes with ties, softmax, layer norm, and combine functions of one's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from .bounds import ROUNDOFF, U32, rounding, spacing
from .case import Arguments, Case, Launch, blank, integers, normal

F16, BF16, F32, F64, I32, I64 = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
    torch.int64,
)


@triton.jit
def reduce_rows(
    x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr, FUNCTION: tl.constexpr
):
    """x [ROWS, COLUMNS] reduced along AXIS; out has what is left."""
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    result = FUNCTION(tl.load(x + at), AXIS)
    tl.store(out + tl.arange(0, ROWS if AXIS == 1 else COLUMNS), result)


@triton.jit
def reduce_all(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr, FUNCTION: tl.constexpr):
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out, FUNCTION(tl.load(x + at), None))


@triton.jit
def total(x, axis: tl.constexpr):
    return tl.sum(x, axis)


@triton.jit
def largest(x, axis: tl.constexpr):
    return tl.max(x, axis)


@triton.jit
def smallest(x, axis: tl.constexpr):
    return tl.min(x, axis)


@triton.jit
def first_largest(x, axis: tl.constexpr):
    return tl.argmax(x, axis, tie_break_left=True)


@triton.jit
def first_smallest(x, axis: tl.constexpr):
    return tl.argmin(x, axis, tie_break_left=True)


@triton.jit
def parity(x, axis: tl.constexpr):
    return tl.xor_sum(x, axis)


@triton.jit
def any_set(x, axis: tl.constexpr):
    return tl.reduce_or((x > 2).to(tl.int32), axis)


@triton.jit
def _multiply(x, y):
    return x * y


@triton.jit
def product(x, axis: tl.constexpr):
    return tl.reduce(x, axis, _multiply)


@triton.jit
def _first(x_order, x_value, y_order, y_value):
    """The value whose order is lower, whichever way the tree was cut."""
    keep = x_order < y_order
    return tl.where(keep, x_order, y_order), tl.where(keep, x_value, y_value)


@triton.jit
def by_order(x, out, order, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Per row, the value of x where `order` is lowest."""
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    _, value = tl.reduce((tl.load(order + at), tl.load(x + at)), 1, _first)
    tl.store(out + tl.arange(0, ROWS), value)


@triton.jit
def _welford(x_mean, x_square, x_count, y_mean, y_square, y_count):
    delta, count = y_mean - x_mean, x_count + y_count
    share = y_count / count
    return x_mean + delta * share, x_square + y_square + delta * delta * x_count * share, count


@triton.jit
def welford(x, mean, variance, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    rows = tl.arange(0, ROWS)
    value = tl.load(x + rows[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])
    center, square, count = tl.reduce(
        (value, tl.zeros_like(value), tl.full(value.shape, 1.0, tl.float32)), 1, _welford
    )
    tl.store(mean + rows, center)
    tl.store(variance + rows, square / count)


@triton.jit
def softmax(x, out, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside = at < columns
    value = tl.load(x + row * columns + at, mask=inside, other=float("-inf")).to(tl.float32)
    power = tl.exp(value - tl.max(value, 0))
    tl.store(out + row * columns + at, power / tl.sum(power, 0), mask=inside)


@triton.jit
def layer_norm(x, weight, bias, out, columns, epsilon, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside = at < columns
    value = tl.load(x + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / columns
    centered = tl.where(inside, value - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(centered * centered, 0) / columns + epsilon)
    result = centered * scale * tl.load(weight + at, mask=inside) + tl.load(bias + at, mask=inside)
    tl.store(out + row * columns + at, result, mask=inside)


@triton.jit
def largest_with_index(x, value, index, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    rows = tl.arange(0, ROWS)
    found, where = tl.max(
        tl.load(x + rows[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]), 1, return_indices=True
    )
    tl.store(value + rows, found)
    tl.store(index + rows, where)


def along(
    axis: int | None, function, x: torch.Tensor, *, out: torch.dtype | None = None, warps: int = 4
) -> Callable[[], Launch]:
    def launch() -> Launch:
        rows, columns = x.shape
        left = 1 if axis is None else (columns, rows)[axis]
        arguments = dict(
            x=x, out=blank(left, dtype=out or x.dtype), ROWS=rows, COLUMNS=columns, FUNCTION=function
        )
        return Launch(
            (1,), arguments | ({} if axis is None else {"AXIS": axis}), options=dict(num_warps=warps)
        )

    return launch


def tables(*outputs: str, **inputs: torch.Tensor) -> Callable[[], Launch]:
    def launch() -> Launch:
        rows, columns = inputs["x"].shape
        made = {name: blank(rows, dtype=I32 if name == "index" else F32) for name in outputs}
        return Launch((1,), dict(**inputs, **made, ROWS=rows, COLUMNS=columns), outputs)

    return launch


def softmax_of(rows: int, columns: int, dtype: torch.dtype, warps: int) -> Callable[[], Launch]:
    def launch() -> Launch:
        x = normal(rows, columns, dtype=dtype, scale=4)
        block = triton.next_power_of_2(columns)
        arguments = dict(x=x, out=blank(rows, columns, dtype=dtype), columns=columns, BLOCK=block)
        return Launch((rows,), arguments, options=dict(num_warps=warps))

    return launch


def layer_norm_of(rows: int, columns: int) -> Callable[[], Launch]:
    def launch() -> Launch:
        x, weight, bias = normal(rows, columns), normal(columns, seed=1), normal(columns, seed=2)
        block = triton.next_power_of_2(columns)
        names = dict(x=x, weight=weight, bias=bias, out=blank(rows, columns), columns=columns, epsilon=1e-5)
        return Launch((rows,), dict(**names, BLOCK=block))

    return launch


def summed(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """n - 1 additions in some order, each rounded to x's type: off by u of a partial sum, which sum |x|
    bounds."""
    x, axis = a.x.double(), getattr(a, "AXIS", None)
    terms = x.numel() if axis is None else x.shape[axis]
    return (x.abs().sum(axis) * (terms - 1) * ROUNDOFF[a.x.dtype]).reshape(y.shape)


def softmax_bound(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """exp: 1 ulp, and 3 u of its exponent's magnitude d (the difference and the product with log2 e); the
    sum's n u; the division's 2.5 ulp. exp's errors count twice: above and, averaged, below the bar."""
    x = a.x.double()
    distance = (x - x.amax(-1, keepdim=True)).abs()
    worst = 2 * U32 + 3 * U32 * distance
    relative = worst + (y * worst).sum(-1, keepdim=True) + (x.shape[-1] + 5) * U32
    return relative * y + rounding(y, a.out.dtype)


def layer_norm_reference(a: Arguments) -> torch.Tensor:
    return torch.nn.functional.layer_norm(
        a.x.double(), a.x.shape[-1:], a.weight.double(), a.bias.double(), a.epsilon
    )


def layer_norm_bound(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """The mean is off by m = (n + 3) u mean|x|; the scale by half of (n + 8) u and m over the deviation, and
    6 u of square root and reciprocal; five more roundings of the products, one of the sum."""
    x, n = a.x.double(), a.x.shape[-1]
    mean = (n + 3) * U32 * x.abs().mean(-1, keepdim=True)
    scale = (x.var(-1, keepdim=True, unbiased=False) + a.epsilon).rsqrt()
    centered = (x - x.mean(-1, keepdim=True)).abs() + mean
    relative = ((n + 8) / 2 + 6 + 5) * U32 + mean * scale
    return (centered * relative + mean) * scale * a.weight.double().abs() + U32 * y.abs()


def welford_reference(a: Arguments) -> dict[str, torch.Tensor]:
    x = a.x.double()
    return {"mean": x.mean(1), "variance": x.var(1, unbiased=False)}


def welford_bound(a: Arguments, y: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """log2 n levels, each with at most 8 roundings (a division is 5) of values no larger than max |x|,
    respectively of sums of squares no larger than twice the row's."""
    x = a.x.double()
    unit = 8 * (x.shape[1].bit_length()) * U32
    return {"mean": unit * 2 * x.abs().amax(1), "variance": unit * 4 * x.square().mean(1)}


def products(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """n - 1 roundings, each relative to the result; the last place of float32 at the end of the scale."""
    return a.x.shape[1] * U32 * y.abs() + spacing(torch.zeros(()))


REAL, TIES = normal(32, 64), integers(32, 64, low=-3, high=4, seed=4).float()
WITH_NAN = torch.where(normal(32, 64, seed=9) > 2, float("nan"), REAL)
WHOLE = integers(32, 64, low=-(2**31), high=2**31)
LONG = integers(32, 64, low=-(2**60), high=2**60, dtype=I64)
BYTES = integers(32, 64, low=-128, high=128, dtype=torch.int8)
ORDER = torch.stack([torch.randperm(64, generator=torch.Generator().manual_seed(i)) for i in range(32)]).int()

CASES = [
    Case("sum f32 of rows", reduce_rows, along(1, total, REAL), lambda a: a.x.double().sum(1), summed),
    Case(
        "sum f32 of columns",
        reduce_rows,
        along(0, total, REAL, warps=8),
        lambda a: a.x.double().sum(0),
        summed,
    ),
    Case(
        "sum f32 1 warp", reduce_rows, along(0, total, REAL, warps=1), lambda a: a.x.double().sum(0), summed
    ),
    Case("sum f16", reduce_rows, along(1, total, REAL.half()), lambda a: a.x.double().sum(1), summed),
    Case(
        "sum f16 of whole numbers", reduce_rows, along(1, total, TIES.half()), lambda a: a.x.double().sum(1)
    ),
    Case("sum bf16", reduce_rows, along(1, total, REAL.bfloat16()), lambda a: a.x.double().sum(1), summed),
    Case("sum f64", reduce_rows, along(1, total, REAL.double()), lambda a: a.x.sum(1), summed),
    Case("sum of all", reduce_all, along(None, total, REAL), lambda a: a.x.double().sum().reshape(1), summed),
    Case("sum i32", reduce_rows, along(1, total, WHOLE), lambda a: a.x.sum(1).int()),
    Case("sum i64", reduce_rows, along(0, total, LONG), lambda a: a.x.sum(0)),
    Case("sum i8 to i32", reduce_rows, along(1, total, BYTES, out=I32), lambda a: a.x.sum(1).int()),
    Case("max f32", reduce_rows, along(1, largest, REAL), lambda a: a.x.amax(1)),
    Case("max f16 of columns", reduce_rows, along(0, largest, REAL.half()), lambda a: a.x.amax(0)),
    Case("min bf16", reduce_rows, along(1, smallest, REAL.bfloat16()), lambda a: a.x.amin(1)),
    Case("min i64 of all", reduce_all, along(None, smallest, LONG), lambda a: a.x.min().reshape(1)),
    Case("max i8", reduce_rows, along(1, largest, BYTES), lambda a: a.x.amax(1)),
    Case("argmax with ties", reduce_rows, along(1, first_largest, TIES, out=I32), lambda a: a.x.argmax(1)),
    Case("argmin with ties", reduce_rows, along(0, first_smallest, TIES, out=I32), lambda a: a.x.argmin(0)),
    Case(
        "argmax 8 warps",
        reduce_rows,
        along(1, first_largest, TIES, out=I32, warps=8),
        lambda a: a.x.argmax(1),
    ),
    Case("argmax i64", reduce_rows, along(1, first_largest, LONG, out=I32), lambda a: a.x.argmax(1)),
    Case("argmin f16", reduce_rows, along(1, first_smallest, TIES.half(), out=I32), lambda a: a.x.argmin(1)),
    Case(
        "max with its index",
        largest_with_index,
        tables("value", "index", x=TIES),
        lambda a: {"value": a.x.amax(1), "index": a.x.argmax(1)},
    ),
    Case("max drops NaN", reduce_rows, along(1, largest, WITH_NAN), lambda a: a.x.nan_to_num(-9e9).amax(1)),
    Case(
        "xor",
        reduce_rows,
        along(1, parity, WHOLE),
        lambda a: torch.stack([(a.x.long() >> bit & 1).sum(1) % 2 << bit for bit in range(32)]).sum(0).int(),
    ),
    Case("any", reduce_rows, along(1, any_set, TIES, out=I32), lambda a: (a.x > 2).any(1).int()),
    Case("product f32", reduce_rows, along(1, product, REAL), lambda a: a.x.double().prod(1), products),
    Case(
        "value of lowest order",
        by_order,
        tables("out", x=REAL, order=ORDER),
        lambda a: a.x.gather(1, a.order.argmin(1, keepdim=True))[:, 0],
    ),
    Case("welford", welford, tables("mean", "variance", x=REAL), welford_reference, welford_bound),
    Case(
        "softmax f32", softmax, softmax_of(8, 781, F32, 4), lambda a: a.x.double().softmax(-1), softmax_bound
    ),
    Case(
        "softmax f16", softmax, softmax_of(5, 100, F16, 1), lambda a: a.x.double().softmax(-1), softmax_bound
    ),
    Case(
        "softmax bf16",
        softmax,
        softmax_of(3, 2000, BF16, 8),
        lambda a: a.x.double().softmax(-1),
        softmax_bound,
    ),
    Case("layer norm", layer_norm, layer_norm_of(8, 600), layer_norm_reference, layer_norm_bound),
]
