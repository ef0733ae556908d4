"""Loads and stores: strides of either sign, odd offsets, narrow types, masks, cache hints, far pointers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from .case import Arguments, Case, Launch, blank, integers, normal

F16, BF16, F32, I64 = torch.float16, torch.bfloat16, torch.float32, torch.int64
KEPT = -7.0  # what an untouched element of out holds


@triton.jit
def strided(
    x, out, rows, columns, x_row, x_column, out_row, out_column, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr
):
    """A masked copy between any two layouts."""
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (r < rows) & (c < columns)
    value = tl.load(x + r * x_row + c * x_column, mask=inside)
    tl.store(out + r * out_row + c * out_column, value, mask=inside)


@triton.jit
def with_other(x, out, count, BLOCK: tl.constexpr):
    """Where x ends, `other` is seen."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < count, other=3) * 2)


@triton.jit
def modified(
    x,
    out,
    count,
    BLOCK: tl.constexpr,
    LOAD: tl.constexpr,
    STORE: tl.constexpr,
    EVICT: tl.constexpr,
    VOLATILE: tl.constexpr,
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(x + at, mask=inside, cache_modifier=LOAD, eviction_policy=EVICT, volatile=VOLATILE)
    tl.store(out + at, value + 1, mask=inside, cache_modifier=STORE, eviction_policy=EVICT)


@triton.jit
def far(x, out, there, back, BLOCK: tl.constexpr):
    """The address leaves the tensor by many GiB and comes back before it is used."""
    at = tl.arange(0, BLOCK).to(tl.int64)
    value = tl.load(x + (at * there + 5) + at * back - 5)
    tl.store(out + there + at + back - 1, value)


@triton.jit
def backwards(x, out, count, step, BLOCK: tl.constexpr):
    """A negative stride from the last element on."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    tl.store(out + at, tl.load(x + count - 1 + at * step, mask=inside), mask=inside)


@triton.jit
def indirect(x, index, out, count, BLOCK: tl.constexpr):
    """Addresses that were themselves loaded, some of them masked off by their value."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    chosen = tl.load(index + at, mask=at < count, other=-1)
    value = tl.load(x + chosen, mask=chosen >= 0, other=0)
    tl.store(out + at, value, mask=at < count)


@triton.jit
def scatter(x, index, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    tl.store(out + tl.load(index + at, mask=inside), tl.load(x + at, mask=inside), mask=inside)


@triton.jit
def block_pointers(x, out, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Walks along a row of blocks; out of bounds reads as zero, and writes there are dropped."""
    source = tl.make_block_ptr(
        x, (rows, columns), (columns, 1), (tl.program_id(0) * BLOCK_R, 0), (BLOCK_R, BLOCK_C), (1, 0)
    )
    target = tl.make_block_ptr(
        out, (rows, columns), (columns, 1), (tl.program_id(0) * BLOCK_R, 0), (BLOCK_R, BLOCK_C), (1, 0)
    )
    for _ in range(0, columns, BLOCK_C):
        value = tl.load(source, boundary_check=(0, 1), padding_option="zero")
        tl.store(target, value + 1, boundary_check=(0, 1))
        source, target = tl.advance(source, (0, BLOCK_C)), tl.advance(target, (0, BLOCK_C))


@triton.jit
def scalars(x, out, count):
    """One element a program, without any vector."""
    at = tl.program_id(0)
    if at < count:
        tl.store(out + at, tl.load(x + at) + tl.load(x + (count - 1 - at)))


@triton.jit
def pointer_table(table, pool, out, BLOCK: tl.constexpr):
    """Addresses of parts of `pool`, kept in a tensor of int64."""
    source = tl.load(table + tl.program_id(0)).to(tl.pointer_type(tl.float32))
    at = tl.arange(0, BLOCK)
    tl.store(out + tl.program_id(0) * BLOCK + at, tl.load(source + at))


@triton.jit
def in_place(x, out, BLOCK: tl.constexpr):
    """Stores, waits for the whole program and reads what its other lanes have stored."""
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at))
    tl.debug_barrier()
    value = tl.load(out + (BLOCK - 1 - at))
    tl.debug_barrier()
    tl.store(out + at, value)


def copy(x: torch.Tensor, out: torch.Tensor, blocks: tuple[int, int] = (16, 64), warps: int = 4) -> Launch:
    rows, columns = x.shape
    names = dict(
        zip(("x_row", "x_column", "out_row", "out_column"), (*x.stride(), *out.stride()), strict=True)
    )
    return Launch(
        (triton.cdiv(rows, blocks[0]), triton.cdiv(columns, blocks[1])),
        dict(x=x, out=out, rows=rows, columns=columns, **names, BLOCK_R=blocks[0], BLOCK_C=blocks[1]),
        options=dict(num_warps=warps),
    )


def from_the_end() -> Launch:
    return Launch((2,), dict(x=normal(300), out=blank(300), count=300, step=-1, BLOCK=256))


def linear(x: torch.Tensor, block: int = 256, **others: Any) -> Callable[[], Launch]:
    def launch() -> Launch:
        count = x.numel()
        names = dict(x=x, out=blank(count, dtype=x.dtype), count=count, BLOCK=block)
        return Launch((triton.cdiv(count, block),), names | others)

    return launch


def padded() -> Launch:
    x = normal(300)
    return Launch((2,), dict(x=x, out=blank(512), count=300, BLOCK=256))


def modifiers(
    load: str = "", store: str = "", evict: str = "", volatile: bool = False
) -> Callable[[], Launch]:
    return linear(NUMBERS, LOAD=load, STORE=store, EVICT=evict, VOLATILE=volatile)


def distant() -> Launch:
    step = 2**33 + 12345
    return Launch((1,), dict(x=NUMBERS, out=blank(256), there=step, back=1 - step, BLOCK=256))


def blocks() -> Launch:
    return Launch((3,), dict(x=TABLE, out=blank(*TABLE.shape), rows=40, columns=75, BLOCK_R=16, BLOCK_C=32))


def each_alone() -> Launch:
    return Launch((40,), dict(x=NUMBERS, out=torch.full((40,), KEPT), count=33), options=dict(num_warps=1))


def alone(a: Arguments) -> torch.Tensor:
    wanted = torch.full((40,), KEPT)
    wanted[:33] = a.x[:33] + a.x[:33].flip(0)
    return wanted


def addresses() -> Launch:
    pool = normal(384)
    table = torch.tensor([pool[start:].data_ptr() for start in STARTS])
    return Launch((3,), dict(table=table, pool=pool, out=blank(384), BLOCK=128))


def swapped() -> Launch:
    return Launch((1,), dict(x=NUMBERS, out=blank(512), BLOCK=512), options=dict(num_warps=4))


STARTS = (256, 0, 131)
NUMBERS, TABLE = normal(1003), normal(40, 75)
WHOLE = integers(40, 75, low=-128, high=128, dtype=torch.int8)
PERMUTED = torch.randperm(1003, generator=torch.Generator().manual_seed(1))
SOME = torch.where(PERMUTED % 3 == 0, -1, PERMUTED).int()

CASES = [
    Case("copy ragged f32", strided, lambda: copy(TABLE, blank(40, 75)), lambda a: a.x),
    Case("copy to columns", strided, lambda: copy(TABLE, blank(75, 40).T), lambda a: a.x),
    Case("copy every third", strided, lambda: copy(TABLE[:, ::3], blank(40, 25)), lambda a: a.x),
    Case(
        "copy f16 off by one element",
        strided,
        lambda: copy(TABLE.half()[:, 1:], blank(40, 74, dtype=F16)),
        lambda a: a.x,
    ),
    Case(
        "copy bf16 1 warp",
        strided,
        lambda: copy(TABLE.bfloat16(), blank(40, 75, dtype=BF16), warps=1),
        lambda a: a.x,
    ),
    Case(
        "copy i8 off by one",
        strided,
        lambda: copy(WHOLE[:, 1:], blank(40, 74, dtype=torch.int8)),
        lambda a: a.x,
    ),
    Case(
        "copy i8 wide",
        strided,
        lambda: copy(WHOLE[:32, :64].contiguous(), blank(32, 64, dtype=torch.int8)),
        lambda a: a.x,
    ),
    Case("copy i16", strided, lambda: copy(WHOLE.short(), blank(40, 75, dtype=torch.int16)), lambda a: a.x),
    Case(
        "copy i64 8 warps",
        strided,
        lambda: copy(WHOLE.long(), blank(40, 75, dtype=I64), warps=8),
        lambda a: a.x,
    ),
    Case(
        "copy f64", strided, lambda: copy(TABLE.double(), blank(40, 75, dtype=torch.float64)), lambda a: a.x
    ),
    Case("copy bool", strided, lambda: copy(WHOLE > 0, blank(40, 75, dtype=torch.bool)), lambda a: a.x),
    Case("copy fixed stride", strided, lambda: copy(TABLE[:1].expand(40, 75), blank(40, 75)), lambda a: a.x),
    Case("copy backwards", backwards, from_the_end, lambda a: a.x.flip(0)),
    Case(
        "masked tail with other", with_other, padded, lambda a: 2 * torch.cat((a.x, torch.full((212,), 3.0)))
    ),
    Case("load .ca store .wb", modified, modifiers(".ca", ".wb"), lambda a: a.x + 1),
    Case("load .cg store .cg", modified, modifiers(".cg", ".cg"), lambda a: a.x + 1),
    Case("load .cv store .cs", modified, modifiers(".cv", ".cs"), lambda a: a.x + 1),
    Case("store .wt evict first", modified, modifiers("", ".wt", "evict_first"), lambda a: a.x + 1),
    Case("evict last", modified, modifiers(evict="evict_last"), lambda a: a.x + 1),
    Case("volatile", modified, modifiers(volatile=True), lambda a: a.x + 1),
    Case("far pointers", far, distant, lambda a: a.x[:256]),
    Case(
        "indirect",
        indirect,
        linear(NUMBERS, index=SOME),
        lambda a: torch.where(a.index < 0, 0, a.x[a.index.long()]),
    ),
    Case("scatter", scatter, linear(NUMBERS, index=PERMUTED.int()), lambda a: a.x[PERMUTED.argsort()]),
    Case(
        "scatter i16 by i64",
        scatter,
        linear(NUMBERS.short(), index=PERMUTED),
        lambda a: a.x[PERMUTED.argsort()],
    ),
    Case("block pointers", block_pointers, blocks, lambda a: a.x + 1, until=(3, 9)),
    Case("scalars", scalars, each_alone, alone),
    Case(
        "table of pointers",
        pointer_table,
        addresses,
        lambda a: torch.cat([a.pool[start : start + 128] for start in STARTS]),
    ),
    Case("read after barrier", in_place, swapped, lambda a: a.x[:512].flip(0)),
]
