"""Tensor descriptors made on the device and on the host: loads and stores of whole blocks, bounds checked."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .bounds import accumulated
from .case import Arguments, Case, Launch, blank, integers, normal

F16, F32 = torch.float16, torch.float32


@triton.jit
def made_on_device(x, out, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    source = tl.make_tensor_descriptor(x, (rows, columns), (columns, 1), (BLOCK_R, BLOCK_C))
    target = tl.make_tensor_descriptor(out, (rows, columns), (columns, 1), (BLOCK_R, BLOCK_C))
    row, column = tl.program_id(0) * BLOCK_R, tl.program_id(1) * BLOCK_C
    target.store((row, column), source.load((row, column)) + 1)


@triton.jit
def made_on_host(x, out, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    row, column = tl.program_id(0) * BLOCK_R, tl.program_id(1) * BLOCK_C
    out.store((row, column), x.load((row, column)) * 2)


@triton.jit
def beyond(x, out, row, column, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """A block that hangs over every edge, stored whole: zeros outside."""
    value = x.load((row, column))
    at = tl.arange(0, BLOCK_R)[:, None] * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    tl.store(out + at, value)


@triton.jit
def cube(x, out, BLOCK: tl.constexpr):
    source = tl.make_tensor_descriptor(x, (6, 10, 20), (200, 20, 1), (2, BLOCK, BLOCK))
    target = tl.make_tensor_descriptor(out, (6, 10, 20), (200, 20, 1), (2, BLOCK, BLOCK))
    place = (tl.program_id(2) * 2, tl.program_id(1) * BLOCK, tl.program_id(0) * BLOCK)
    target.store(place, -source.load(place))


@triton.jit
def matmul(a, b, out, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    """a [M, K], b [N, K], out [M, N]: descriptors; K need not be a multiple of BLOCK_K."""
    row, column = tl.program_id(0) * BLOCK_M, tl.program_id(1) * BLOCK_N
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, K, BLOCK_K):
        total = tl.dot(a.load((row, k)), b.load((column, k)).T, total)
    out.store((row, column), total)


@triton.jit
def gathered(x, index, out, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """A descriptor a row: the base address is computed, as for experts' weights."""
    for i in range(ROWS):
        row = tl.load(index + i).to(tl.int64)
        source = tl.make_tensor_descriptor(x + row * WIDTH, (1, WIDTH), (WIDTH, 1), (1, WIDTH))
        tl.store(out + i * WIDTH + tl.arange(0, WIDTH)[None, :], source.load((0, 0)))


def device(x: torch.Tensor, block: tuple[int, int]) -> Callable[[], Launch]:
    def launch() -> Launch:
        rows, columns = x.shape
        names = dict(x=x, out=blank(rows, columns, dtype=x.dtype), rows=rows, columns=columns)
        return Launch(_grid(x, block), dict(**names, BLOCK_R=block[0], BLOCK_C=block[1]))

    return launch


def host(x: torch.Tensor, block: tuple[int, int]) -> Callable[[], Launch]:
    def launch() -> Launch:
        out = blank(*x.shape, dtype=x.dtype)
        return Launch(
            _grid(x, block),
            dict(x=described(x, *block), out=described(out, *block), BLOCK_R=block[0], BLOCK_C=block[1]),
        )

    return launch


def hanging(row: int, column: int) -> Callable[[], Launch]:
    names = dict(row=row, column=column, BLOCK_R=16, BLOCK_C=32)
    return lambda: Launch((1,), dict(x=described(TABLE, 16, 32), out=blank(16, 32), **names))


def cubes() -> Launch:
    return Launch((2, 1, 3), dict(x=normal(6, 10, 20), out=blank(6, 10, 20), BLOCK=16))


def product(dtype: torch.dtype, m: int, n: int, k: int, stages: int) -> Callable[[], Launch]:
    def launch() -> Launch:
        a, b = (
            described(normal(m, k, dtype=dtype), 32, 32),
            described(normal(n, k, dtype=dtype, seed=1), 64, 32),
        )
        out = described(blank(m, n), 32, 64)
        return Launch(
            (triton.cdiv(m, 32), triton.cdiv(n, 64)),
            dict(a=a, b=b, out=out, K=k, BLOCK_M=32, BLOCK_N=64, BLOCK_K=32),
            options=dict(num_stages=stages),
        )

    return launch


def rows() -> Launch:
    index = integers(8, low=0, high=64)
    return Launch((1,), dict(x=normal(64, 32), index=index, out=blank(8, 32), ROWS=8, WIDTH=32))


def described(x: torch.Tensor, *block: int) -> TensorDescriptor:
    return TensorDescriptor.from_tensor(x, list(block))


def _grid(x: torch.Tensor, block: tuple[int, int]) -> tuple[int, int]:
    return triton.cdiv(x.shape[0], block[0]), triton.cdiv(x.shape[1], block[1])


def overhanging(a: Arguments) -> torch.Tensor:
    wide = torch.zeros(100, 200)
    wide[16 : 16 + TABLE.shape[0], 32 : 32 + TABLE.shape[1]] = TABLE
    return wide[a.row + 16 : a.row + 32, a.column + 32 : a.column + 64]


def multiplied(a: Arguments) -> torch.Tensor:
    return a.a.base.double() @ a.b.base.double().T


def summed(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    return accumulated(a.a.base, a.b.base.T)


TABLE = normal(40, 76)

CASES = [
    Case("device descriptor f32", made_on_device, device(TABLE, (16, 32)), lambda a: a.x + 1),
    Case(
        "device descriptor f16", made_on_device, device(normal(33, 72, dtype=F16), (8, 64)), lambda a: a.x + 1
    ),
    Case(
        "device descriptor i8",
        made_on_device,
        device(integers(20, 80, low=0, high=99, dtype=torch.int8), (16, 32)),
        lambda a: a.x + 1,
    ),
    Case("host descriptor f32", made_on_host, host(TABLE, (16, 32)), lambda a: a.x.base * 2),
    Case(
        "host descriptor bf16",
        made_on_host,
        host(normal(33, 72, dtype=torch.bfloat16), (16, 16)),
        lambda a: a.x.base * 2,
    ),
    Case("block over the last edges", beyond, hanging(32, 64), overhanging),
    Case("block over the first edges", beyond, hanging(-5, -8), overhanging),
    Case("descriptor of three dimensions", cube, cubes, lambda a: -a.x),
    Case("descriptor dot f16", matmul, product(F16, 64, 64, 96, 2), multiplied, summed),
    Case("descriptor dot ragged", matmul, product(torch.bfloat16, 40, 72, 72, 3), multiplied, summed),
    Case("descriptor a row", gathered, rows, lambda a: a.x[a.index.long()]),
]
