"""Values that only move: transposed, reshaped, joined, split, interleaved, flipped, gathered, broadcast."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from .case import Case, Launch, blank, integers, normal

ROWS, COLUMNS = 32, 64


@triton.jit
def transpose(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    rows, columns = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    value = tl.trans(tl.load(x + rows[:, None] * COLUMNS + columns[None, :]))
    tl.store(out + columns[:, None] * ROWS + rows[None, :], value)


@triton.jit
def permute(x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    """x [A, B, C] to out [C, A, B]."""
    a, b, c = tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    value = tl.load(x + (a[:, None, None] * B + b[None, :, None]) * C + c[None, None, :])
    tl.store(
        out + (c[:, None, None] * A + a[None, :, None]) * B + b[None, None, :], tl.permute(value, (2, 0, 1))
    )


@triton.jit
def reshape(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The first half of each row's elements beside the second half, summed."""
    value = tl.load(x + tl.arange(0, ROWS * COLUMNS))
    halves = tl.reshape(value, (ROWS, 2, COLUMNS // 2))
    at = tl.arange(0, ROWS)[:, None] * (COLUMNS // 2) + tl.arange(0, COLUMNS // 2)[None, :]
    tl.store(out + at, tl.sum(halves, 1))


@triton.jit
def join(x, y, out, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    both = tl.join(tl.load(x + at), tl.load(y + at))
    tl.store(out + at[:, None] * 2 + tl.arange(0, 2)[None, :], both)


@triton.jit
def interleave(x, y, out, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(out + tl.arange(0, 2 * COUNT), tl.interleave(tl.load(x + at), tl.load(y + at)))


@triton.jit
def split(x, even, odd, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    left, right = tl.split(tl.load(x + at[:, None] * 2 + tl.arange(0, 2)[None, :]))
    tl.store(even + at, left)
    tl.store(odd + at, right)


@triton.jit
def concatenate(x, y, out, COUNT: tl.constexpr):
    """tl.cat may reorder, so what is stored is sorted."""
    at = tl.arange(0, COUNT)
    both = tl.cat(tl.load(x + at), tl.load(y + at), can_reorder=True)
    tl.store(out + tl.arange(0, 2 * COUNT), tl.sort(both))


@triton.jit
def flip(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr):
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out + at, tl.flip(tl.load(x + at), AXIS))


@triton.jit
def gather(x, index, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr):
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out + at, tl.gather(tl.load(x + at), tl.load(index + at), AXIS))


@triton.jit
def outer(x, y, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A column and a row broadcast against each other."""
    rows, columns = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    left = tl.broadcast_to(tl.load(x + rows)[:, None], (ROWS, COLUMNS))
    right = tl.broadcast_to(tl.load(y + columns)[None, :], (ROWS, COLUMNS))
    tl.store(out + rows[:, None] * COLUMNS + columns[None, :], left * right)


@triton.jit
def fill(out, value, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out + at, tl.full((ROWS, COLUMNS), value, tl.float32) + tl.zeros((ROWS, COLUMNS), tl.float32))


@triton.jit
def column_of_row(x, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The row sums, laid along rows, added to the transposed matrix: a change of layout through LDS."""
    rows, columns = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    value = tl.load(x + rows[:, None] * COLUMNS + columns[None, :])
    tl.store(out + columns[:, None] * ROWS + rows[None, :], tl.trans(value) + tl.max(value, 1)[None, :])


def moved(
    x: torch.Tensor, *shape: int, options: dict | None = None, **others: torch.Tensor | int
) -> Callable[[], Launch]:
    """x [ROWS, COLUMNS], other arguments, and an output of `shape`."""
    return lambda: Launch(
        (1,),
        dict(x=x, out=blank(*shape, dtype=x.dtype), **others),
        options=options or {},
    )


def halves() -> Launch:
    return Launch((1,), dict(x=REAL, even=blank(1024), odd=blank(1024), COUNT=1024), ("even", "odd"))


def filled() -> Launch:
    return Launch((1,), dict(out=blank(ROWS, COLUMNS), value=0.1, **SIZE))


SIZE = dict(ROWS=ROWS, COLUMNS=COLUMNS)
REAL, OTHER = normal(ROWS, COLUMNS), normal(ROWS, COLUMNS, seed=1)
BYTES = integers(ROWS, COLUMNS, low=-128, high=128, dtype=torch.int8)
LONG = integers(ROWS, COLUMNS, low=-(2**62), high=2**62, dtype=torch.int64)
LEFT, RIGHT = normal(512), normal(512, seed=1)
BY_ROW, BY_COLUMN = integers(ROWS, COLUMNS, low=0, high=COLUMNS), integers(ROWS, COLUMNS, low=0, high=ROWS)
CUBE = normal(8, 16, 32)

CASES = [
    Case("transpose f32", transpose, moved(REAL, COLUMNS, ROWS, **SIZE), lambda a: a.x.T),
    Case(
        "transpose f16 1 warp",
        transpose,
        moved(REAL.half(), 64, 32, **SIZE, options=dict(num_warps=1)),
        lambda a: a.x.T,
    ),
    Case(
        "transpose i8 8 warps",
        transpose,
        moved(BYTES, 64, 32, **SIZE, options=dict(num_warps=8)),
        lambda a: a.x.T,
    ),
    Case("transpose i64", transpose, moved(LONG, COLUMNS, ROWS, **SIZE), lambda a: a.x.T),
    Case("permute", permute, moved(CUBE, 32, 8, 16, A=8, B=16, C=32), lambda a: a.x.permute(2, 0, 1)),
    Case(
        "permute bf16",
        permute,
        moved(CUBE.bfloat16(), 32, 8, 16, A=8, B=16, C=32),
        lambda a: a.x.permute(2, 0, 1),
    ),
    Case("reshape", reshape, moved(REAL, ROWS, COLUMNS // 2, **SIZE), lambda a: a.x[:, :32] + a.x[:, 32:]),
    Case("join", join, moved(LEFT, 512, 2, y=RIGHT, COUNT=512), lambda a: torch.stack((a.x, a.y), 1)),
    Case(
        "interleave",
        interleave,
        moved(LEFT, 1024, y=RIGHT, COUNT=512),
        lambda a: torch.stack((a.x, a.y), 1).ravel(),
    ),
    Case("split", split, halves, lambda a: {"even": a.x.ravel()[::2], "odd": a.x.ravel()[1::2]}),
    Case(
        "cat",
        concatenate,
        moved(LEFT, 1024, y=RIGHT, COUNT=512),
        lambda a: torch.cat((a.x, a.y)).sort().values,
    ),
    Case("flip rows", flip, moved(REAL, ROWS, COLUMNS, **SIZE, AXIS=1), lambda a: a.x.flip(1)),
    Case("flip columns", flip, moved(REAL, ROWS, COLUMNS, **SIZE, AXIS=0), lambda a: a.x.flip(0)),
    Case(
        "gather in rows",
        gather,
        moved(REAL, 32, 64, index=BY_ROW, **SIZE, AXIS=1),
        lambda a: a.x.gather(1, a.index.long()),
    ),
    Case(
        "gather in columns",
        gather,
        moved(REAL, 32, 64, index=BY_COLUMN, **SIZE, AXIS=0),
        lambda a: a.x.gather(0, a.index.long()),
    ),
    Case(
        "gather f16",
        gather,
        moved(REAL.half(), 32, 64, index=BY_ROW, **SIZE, AXIS=1),
        lambda a: a.x.gather(1, a.index.long()),
    ),
    Case(
        "outer product",
        outer,
        moved(LEFT[:32], 32, 64, y=RIGHT[:64], **SIZE),
        lambda a: a.x[:, None] * a.y[None, :],
    ),
    Case("fill", fill, filled, lambda a: torch.full((ROWS, COLUMNS), 0.1)),
    Case("column of row", column_of_row, moved(REAL, 64, 32, **SIZE), lambda a: a.x.T + a.x.amax(1)[None, :]),
]
