"""Control flow: loops whose trip counts depend on data, early return, branches, calls, grids, persistence."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import triton
import triton.language as tl

from .bounds import U32
from .case import Arguments, Case, Launch, blank, integers, normal

I32 = torch.int32
KEPT = -7


@triton.jit
def ragged_sums(x, start, out, BLOCK: tl.constexpr):
    """Program p sums x[start[p] : start[p + 1]]: trip counts from 0 on differ between programs."""
    first, last = tl.load(start + tl.program_id(0)), tl.load(start + tl.program_id(0) + 1)
    total = tl.zeros((BLOCK,), tl.int32)
    for at in range(first, last, BLOCK):
        place = at + tl.arange(0, BLOCK)
        total += tl.load(x + place, mask=place < last, other=0)
    tl.store(out + tl.program_id(0), tl.sum(total, 0))


@triton.jit
def collatz(x, out):
    """Steps until 1, a while loop on a scalar."""
    value, steps = tl.load(x + tl.program_id(0)), 0
    while value != 1:
        if value % 2 == 0:
            value = value // 2
        else:
            value = 3 * value + 1
        steps += 1
    tl.store(out + tl.program_id(0), steps)


@triton.jit
def bisect(sorted_values, wanted, out, count, BLOCK: tl.constexpr):
    """Where each wanted value would be inserted; the loop ends when every lane is done."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(wanted + at)
    low, high = tl.zeros((BLOCK,), tl.int32), tl.full((BLOCK,), 0, tl.int32) + count
    while tl.max(high - low, 0) > 0:
        middle = (low + high) // 2
        less = tl.load(sorted_values + middle, mask=low < high, other=0) < value
        low, high = (
            tl.where((low < high) & less, middle + 1, low),
            tl.where((low < high) & ~less, middle, high),
        )
    tl.store(out + at, low)


@triton.jit
def early_return(x, out, BLOCK: tl.constexpr):
    """Programs whose first element is negative leave at once."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if tl.load(x + tl.program_id(0) * BLOCK) < 0:
        return
    tl.store(out + at, tl.load(x + at) + 1)


@triton.jit
def branches(x, out, BLOCK: tl.constexpr):
    """Four ways on, chosen by a loaded scalar; two of them with barriers inside."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value, kind = tl.load(x + at), tl.load(x + tl.program_id(0) * BLOCK) % 4
    if kind == 0:
        value = value + tl.sum(value, 0)
    elif kind == 1:
        value = tl.cumsum(value, 0)
    elif kind == 2:
        value = -value
    tl.store(out + at, value)


@triton.jit
def nested(out, outer, BLOCK: tl.constexpr):
    """Inner trips depend on the outer counter and the program."""
    total = tl.zeros((BLOCK,), tl.int32)
    for i in range(outer):
        for j in range(i, i + tl.program_id(0)):
            if (i + j) % 3 != 0:
                total += i * j + tl.arange(0, BLOCK)
    tl.store(out + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), total)


@triton.jit
def unrolled(x, out, BLOCK: tl.constexpr, TIMES: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at)
    for i in tl.static_range(TIMES):
        value = value * 3 + i if i % 2 == 0 else value - i
    tl.store(out + at, value)


@triton.jit
def hinted(x, out, count, BLOCK: tl.constexpr):
    """Loop unrolling and pipelining asked for on the loop itself."""
    total = tl.zeros((BLOCK,), tl.int32)
    for at in tl.range(0, count, BLOCK, num_stages=3, loop_unroll_factor=2):
        total += tl.load(x + at + tl.arange(0, BLOCK)) * at
    tl.store(out + tl.arange(0, BLOCK), total)


@triton.jit(noinline=True)
def horner(x, a, b, c):
    return (a * x + b) * x + c


@triton.jit(noinline=True)
def scaled_sum(x, factor, BLOCK: tl.constexpr):
    return tl.sum(tl.load(x + tl.arange(0, BLOCK)), 0) * factor


@triton.jit
def calls(x, out, BLOCK: tl.constexpr):
    """Functions that stay functions: one of scalars, called twice, and one with loads and a reduction."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    polynomial = horner(horner(tl.load(x + tl.program_id(0)), 1, 2, 3), 4, 5, tl.program_id(0))
    tl.store(out + at, tl.load(x + at) + polynomial + scaled_sum(x + tl.program_id(0) * BLOCK, 3, BLOCK))


@triton.jit
def grid3(out, BLOCK: tl.constexpr):
    """Which program of how many, in three dimensions."""
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    wide, high = tl.num_programs(0), tl.num_programs(1)
    place = (z * high + y) * wide + x
    tl.store(
        out + place * BLOCK + tl.arange(0, BLOCK), x + 100 * y + 10000 * z + 1000000 * tl.num_programs(2)
    )


@triton.jit
def persistent(x, out, rows, COLUMNS: tl.constexpr):
    """Fewer programs than rows: each takes every so-manieth."""
    at = tl.arange(0, COLUMNS)
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        value = tl.load(x + row * COLUMNS + at)
        tl.store(out + row * COLUMNS + at, value - tl.min(value, 0))


@triton.jit
def swizzled(out, height, width, GROUP: tl.constexpr):
    row, column = tl.swizzle2d(tl.program_id(0), tl.program_id(1), height, width, GROUP)
    tl.store(out + row * width + column, tl.program_id(0) * width + tl.program_id(1))


@triton.jit
def newton(x, out, BLOCK: tl.constexpr):
    """Square roots, iterated until the worst lane has converged: the trip count is a float's business."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at)
    root, change = value, tl.max(value, 0)
    while change > 1e-6:
        better = 0.5 * (root + tl.div_rn(value, root))
        change = tl.max(tl.abs(better - root) / better, 0)
        root = better
    tl.store(out + at, root)


@triton.jit
def optional(x, bias, out, count, HAS_BIAS: tl.constexpr, BLOCK: tl.constexpr):
    """An argument that may be None, and an assertion that holds."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count, other=0)
    if bias is not None:
        value += tl.load(bias + at, mask=at < count, other=0)
    tl.device_assert(at < 4096, "never")
    tl.store(out + at, value, mask=at < count)


def launch_of(
    grid: tuple[int, ...], out: tuple[int, ...], warps: int = 4, **arguments: Any
) -> Callable[[], Launch]:
    """With an int32 output of shape `out` that holds KEPT at first."""
    return lambda: Launch(
        grid, dict(out=torch.full(out, KEPT, dtype=I32), **arguments), options=dict(num_warps=warps)
    )


def ragged_reference(a: Arguments) -> torch.Tensor:
    edges = a.start.tolist()
    return torch.stack([a.x[low:high].sum() for low, high in pairwise(edges)]).int()


def collatz_reference(a: Arguments) -> torch.Tensor:
    def steps(value: int) -> int:
        count = 0
        while value != 1:
            value, count = (value // 2 if value % 2 == 0 else 3 * value + 1), count + 1
        return count

    return torch.tensor([steps(value) for value in a.x.tolist()])


def early_reference(a: Arguments) -> torch.Tensor:
    rows = a.x.reshape(-1, a.BLOCK)
    return torch.where(rows[:, :1] < 0, KEPT, rows + 1).ravel()


def branch_reference(a: Arguments) -> torch.Tensor:
    rows = a.x.reshape(-1, a.BLOCK)
    kind = rows[:, :1] % 4
    ways = (rows + rows.sum(1, keepdim=True), rows.cumsum(1), -rows, rows)
    return sum((kind == i) * way for i, way in enumerate(ways)).ravel()


def nested_reference(a: Arguments) -> torch.Tensor:
    at, programs = torch.arange(a.BLOCK), []
    for program in range(6):
        pairs = [(i, j) for i in range(a.outer) for j in range(i, i + program) if (i + j) % 3]
        programs.append(sum((i * j + at for i, j in pairs), torch.zeros_like(at)))
    return torch.cat(programs)


def unrolled_reference(a: Arguments) -> torch.Tensor:
    value = a.x
    for i in range(a.TIMES):
        value = value * 3 + i if i % 2 == 0 else value - i
    return value


def call_reference(a: Arguments) -> torch.Tensor:
    rows = a.x.reshape(-1, a.BLOCK)
    first = a.x[: len(rows), None]
    inner = (first + 2) * first + 3
    programs = torch.arange(len(rows))[:, None]
    return (rows + (4 * inner + 5) * inner + programs + 3 * rows.sum(1, keepdim=True)).ravel()


def grid_reference(a: Arguments) -> torch.Tensor:
    z, y, x = torch.meshgrid(torch.arange(4), torch.arange(3), torch.arange(5), indexing="ij")
    return (x + 100 * y + 10000 * z + 4000000)[..., None].expand(-1, -1, -1, a.BLOCK).ravel()


def swizzle_reference(a: Arguments) -> torch.Tensor:
    """Groups of GROUP rows, inside them column by column."""
    out = torch.empty(a.height, a.width, dtype=I32)
    for index in range(a.height * a.width):
        group, inside = divmod(index, a.GROUP * a.width)
        rows = min(a.GROUP, a.height - group * a.GROUP)
        out[group * a.GROUP + inside % rows, inside // rows] = index
    return out


def roots(warps: int) -> Callable[[], Launch]:
    return lambda: Launch((4,), dict(x=POSITIVE, out=blank(512), BLOCK=128), options=dict(num_warps=warps))


def root_bound(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """The last step squares an error below 1e-6; a sum, a product and a division of half an ulp each."""
    return (1e-12 + 3 * U32) * y


SMALL = integers(1024, low=-50, high=51)
FIRST = integers(16 * 64, low=-9, high=10, seed=5)
EDGES = torch.tensor([0, 0, 1, 130, 131, 500, 500, 1000], dtype=I32)
SORTED = integers(700, low=-5000, high=5000, seed=6).sort().values
WANTED = integers(256, low=-5100, high=5100, seed=7)
POSITIVE = normal(512).abs() + 0.01

CASES = [
    Case(
        "ragged trip counts",
        ragged_sums,
        launch_of((7,), (7,), x=SMALL, start=EDGES, BLOCK=64),
        ragged_reference,
    ),
    Case(
        "while over a scalar",
        collatz,
        launch_of((20,), (20,), x=integers(20, low=1, high=99)),
        collatz_reference,
    ),
    Case(
        "while over lanes",
        bisect,
        launch_of((2,), (256,), sorted_values=SORTED, wanted=WANTED, count=700, BLOCK=128),
        lambda a: torch.searchsorted(a.sorted_values, a.wanted),
    ),
    Case("early return", early_return, launch_of((16,), (1024,), x=FIRST, BLOCK=64), early_reference),
    Case("branches", branches, launch_of((8,), (1024,), x=SMALL.abs(), BLOCK=128), branch_reference),
    Case("nested loops", nested, launch_of((6,), (6 * 64,), outer=7, BLOCK=64), nested_reference),
    Case(
        "static range", unrolled, launch_of((1,), (1024,), x=SMALL, BLOCK=1024, TIMES=5), unrolled_reference
    ),
    Case(
        "unrolled and pipelined loop",
        hinted,
        launch_of((1,), (64,), x=SMALL, count=1024, BLOCK=64),
        lambda a: (a.x.reshape(-1, 64) * torch.arange(0, 1024, 64)[:, None]).sum(0),
    ),
    Case("function calls", calls, launch_of((8,), (1024,), x=SMALL % 8, BLOCK=128, warps=1), call_reference),
    Case("grid of three dimensions", grid3, launch_of((5, 3, 4), (60 * 64,), BLOCK=64), grid_reference),
    Case(
        "persistent",
        persistent,
        launch_of((5,), (1024,), x=SMALL, rows=16, COLUMNS=64),
        lambda a: (a.x.reshape(16, 64) - a.x.reshape(16, 64).amin(1, keepdim=True)).ravel(),
    ),
    Case("swizzle", swizzled, launch_of((7, 6), (7, 6), height=7, width=6, GROUP=3), swizzle_reference),
    Case("newton", newton, roots(1), lambda a: a.x.double().sqrt(), root_bound),
    # Until Triton 3.8 the lane that stores the new maximum is sent past the loop's barrier on a path of its
    # own, and the others, who never see that maximum, do not leave the loop.
    Case("newton 4 warps", newton, roots(4), lambda a: a.x.double().sqrt(), root_bound, since=(3, 8)),
    Case(
        "no bias",
        optional,
        launch_of((1,), (1024,), x=SMALL, bias=None, count=900, HAS_BIAS=False, BLOCK=1024),
        lambda a: torch.where(torch.arange(1024) < 900, a.x, KEPT),
    ),
    Case(
        "bias",
        optional,
        launch_of((1,), (1024,), x=SMALL, bias=SMALL.flip(0), count=1024, HAS_BIAS=True, BLOCK=1024),
        lambda a: a.x + a.bias,
    ),
]
