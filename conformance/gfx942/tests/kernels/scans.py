"""Running totals, associative scans, sorting, the k largest and histograms."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from .bounds import ROUNDOFF, U32
from .case import Arguments, Case, Launch, blank, integers, normal

F16, F32, F64, I32, I64 = torch.float16, torch.float32, torch.float64, torch.int32, torch.int64


@triton.jit
def along_axis(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr, FUNCTION: tl.constexpr):
    """FUNCTION keeps the shape of x [ROWS, COLUMNS]."""
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out + at, FUNCTION(tl.load(x + at), AXIS))


@triton.jit
def cumulative_sum(x, axis: tl.constexpr):
    return tl.cumsum(x, axis)


@triton.jit
def reverse_sum(x, axis: tl.constexpr):
    return tl.cumsum(x, axis, reverse=True)


@triton.jit
def cumulative_product(x, axis: tl.constexpr):
    return tl.cumprod(x, axis)


@triton.jit
def _larger(x, y):
    return tl.maximum(x, y)


@triton.jit
def running_maximum(x, axis: tl.constexpr):
    return tl.associative_scan(x, axis, _larger)


@triton.jit
def ascending(x, axis: tl.constexpr):
    return tl.sort(x, axis)


@triton.jit
def descending(x, axis: tl.constexpr):
    return tl.sort(x, axis, descending=True)


@triton.jit
def _first_order(x_slope, x_value, y_slope, y_value):
    return x_slope * y_slope, x_value * y_slope + y_value


@triton.jit
def recurrence(x, slope, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """out[t] = slope[t] out[t - 1] + x[t], a scan over pairs."""
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    _, value = tl.associative_scan((tl.load(slope + at), tl.load(x + at)), 1, _first_order)
    tl.store(out + at, value)


@triton.jit
def _restart(x_flag, x_total, y_flag, y_total):
    return x_flag | y_flag, tl.where(y_flag != 0, y_total, x_total + y_total)


@triton.jit
def segmented(x, flag, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Running totals that begin anew where flag is set."""
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    _, total = tl.associative_scan((tl.load(flag + at), tl.load(x + at)), 1, _restart)
    tl.store(out + at, total)


@triton.jit
def largest_k(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr, COUNT: tl.constexpr):
    rows, columns = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    value = tl.topk(tl.load(x + rows[:, None] * COLUMNS + columns[None, :]), COUNT)
    tl.store(out + rows[:, None] * COUNT + tl.arange(0, COUNT)[None, :], value)


@triton.jit
def counted(x, out, count, BLOCK: tl.constexpr, BINS: tl.constexpr):
    at = tl.arange(0, BLOCK)
    inside = at < count
    tl.store(out + tl.arange(0, BINS), tl.histogram(tl.load(x + at, mask=inside, other=0), BINS, mask=inside))


@triton.jit
def offsets(x, out, count, BLOCK: tl.constexpr, BINS: tl.constexpr):
    """How many values lie in lower bins: what a counting sort needs."""
    counts = tl.histogram(tl.load(x + tl.arange(0, BLOCK)), BINS)
    tl.store(out + tl.arange(0, BINS), tl.cumsum(counts, 0) - counts)


def keeping(
    axis: int, function, x: torch.Tensor, *, warps: int = 4, out: torch.dtype | None = None
) -> Callable[[], Launch]:
    def launch() -> Launch:
        rows, columns = x.shape
        names = dict(x=x, out=blank(rows, columns, dtype=out or x.dtype), ROWS=rows, COLUMNS=columns)
        return Launch((1,), dict(**names, AXIS=axis, FUNCTION=function), options=dict(num_warps=warps))

    return launch


def pairs(warps: int, **inputs: torch.Tensor) -> Callable[[], Launch]:
    def launch() -> Launch:
        rows, columns = inputs["x"].shape
        out = blank(rows, columns, dtype=inputs["x"].dtype)
        return Launch(
            (1,), dict(**inputs, out=out, ROWS=rows, COLUMNS=columns), options=dict(num_warps=warps)
        )

    return launch


def largest(x: torch.Tensor, count: int) -> Callable[[], Launch]:
    def launch() -> Launch:
        rows, columns = x.shape
        out = blank(rows, count, dtype=x.dtype)
        return Launch((1,), dict(x=x, out=out, ROWS=rows, COLUMNS=columns, COUNT=count))

    return launch


def bins(count: int, block: int, width: int, warps: int) -> Callable[[], Launch]:
    def launch() -> Launch:
        x = integers(block, low=0, high=width, seed=count)
        names = dict(x=x, out=blank(width, dtype=I32), count=count, BLOCK=block, BINS=width)
        return Launch((1,), names, options=dict(num_warps=warps))

    return launch


def scanned(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """n additions in some order, each off by u of the partial sum of |x|."""
    dtype = F64 if a.x.dtype == F64 else F32
    return a.x.shape[a.AXIS] * ROUNDOFF[dtype] * a.x.double().abs().sum(a.AXIS, keepdim=True)


def recurrence_reference(a: Arguments) -> torch.Tensor:
    value, columns = torch.zeros(a.x.shape[0], dtype=F64), []
    for slope, x in zip(a.slope.double().T, a.x.double().T, strict=True):
        value = value * slope + x
        columns.append(value)
    return torch.stack(columns, 1)


def recurrence_bound(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """Every term is a product of at most n slopes and an x, rounded at most 2 n times, so 2 n u of the sum of
    the terms' magnitudes: the recurrence over magnitudes."""
    magnitudes = Arguments(x=a.x.abs(), slope=a.slope.abs())
    return 2 * a.x.shape[1] * U32 * recurrence_reference(magnitudes)


def segmented_reference(a: Arguments) -> torch.Tensor:
    total, columns = torch.zeros(a.x.shape[0], dtype=I64), []
    for flag, x in zip(a.flag.T, a.x.long().T, strict=True):
        total = torch.where(flag != 0, x, total + x)
        columns.append(total)
    return torch.stack(columns, 1)


def counts(a: Arguments) -> torch.Tensor:
    return torch.bincount(a.x[: a.count].long(), minlength=a.BINS)


REAL, TIES = normal(16, 128), integers(16, 128, low=-9, high=10, seed=1)
LONG = integers(16, 128, low=-(2**55), high=2**55, dtype=I64, seed=2)
NEAR_ONE = 1 + normal(16, 128, seed=3) / 16
FLAGS = (integers(16, 128, low=0, high=9, seed=4) == 0).int()

CASES = [
    Case(
        "cumsum f32", along_axis, keeping(1, cumulative_sum, REAL), lambda a: a.x.double().cumsum(1), scanned
    ),
    Case(
        "cumsum f32 of columns 8 warps",
        along_axis,
        keeping(0, cumulative_sum, REAL.T.contiguous(), warps=8),
        lambda a: a.x.double().cumsum(0),
        scanned,
    ),
    Case(
        "cumsum f64", along_axis, keeping(1, cumulative_sum, REAL.double()), lambda a: a.x.cumsum(1), scanned
    ),
    Case(
        "cumsum i32 1 warp",
        along_axis,
        keeping(1, cumulative_sum, TIES, warps=1),
        lambda a: a.x.cumsum(1).int(),
    ),
    Case("cumsum i64", along_axis, keeping(1, cumulative_sum, LONG), lambda a: a.x.cumsum(1)),
    Case(
        "reverse cumsum i32",
        along_axis,
        keeping(1, reverse_sum, TIES),
        lambda a: a.x.flip(1).cumsum(1).flip(1).int(),
    ),
    Case(
        "reverse cumsum f32",
        along_axis,
        keeping(1, reverse_sum, REAL, warps=2),
        lambda a: a.x.double().flip(1).cumsum(1).flip(1),
        scanned,
    ),
    Case(
        "cumprod f32",
        along_axis,
        keeping(1, cumulative_product, NEAR_ONE),
        lambda a: a.x.double().cumprod(1),
        # At most n roundings, each relative to the product.
        lambda a, y: a.x.shape[1] * U32 * y.abs(),
    ),
    Case("running maximum", along_axis, keeping(1, running_maximum, REAL), lambda a: a.x.cummax(1).values),
    Case(
        "recurrence",
        recurrence,
        pairs(4, x=REAL, slope=NEAR_ONE - 0.3),
        recurrence_reference,
        recurrence_bound,
    ),
    Case(
        "recurrence 1 warp",
        recurrence,
        pairs(1, x=REAL, slope=NEAR_ONE),
        recurrence_reference,
        recurrence_bound,
    ),
    Case("segmented", segmented, pairs(4, x=TIES, flag=FLAGS), segmented_reference),
    Case("segmented 8 warps", segmented, pairs(8, x=TIES, flag=FLAGS), segmented_reference),
    Case("sort f32", along_axis, keeping(1, ascending, REAL), lambda a: a.x.sort(1).values),
    Case(
        "sort i32 with ties",
        along_axis,
        keeping(1, descending, TIES),
        lambda a: a.x.sort(1, descending=True).values,
    ),
    Case("sort i64", along_axis, keeping(1, ascending, LONG, warps=2), lambda a: a.x.sort(1).values),
    Case("sort f16", along_axis, keeping(1, ascending, REAL.half(), warps=8), lambda a: a.x.sort(1).values),
    Case("topk f32", largest_k, largest(REAL, 8), lambda a: a.x.topk(8).values),
    Case("topk i32 with ties", largest_k, largest(TIES, 4), lambda a: a.x.topk(4).values),
    Case("histogram", counted, bins(1000, 1024, 64, 4), counts),
    Case("histogram of few bins 1 warp", counted, bins(100, 128, 4, 1), counts),
    Case("histogram 8 warps", counted, bins(2000, 2048, 256, 8), counts),
    Case("offsets", offsets, bins(512, 512, 32, 4), lambda a: counts(a).cumsum(0) - counts(a)),
]
