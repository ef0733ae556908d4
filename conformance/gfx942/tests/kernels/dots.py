"""Products through the matrix cores: every input type, tile shape, operand order and pipeline depth."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from .bounds import ROUNDOFF, U32, accumulated, rounding
from .case import Arguments, Case, Launch, blank, integers, normal

F16, BF16, F32, F64, I8 = torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8
FNUZ8, FNUZ5 = torch.float8_e4m3fnuz, torch.float8_e5m2fnuz


@triton.jit
def matmul(
    a,
    b,
    out,
    M,
    N,
    K,
    a_row,
    a_column,
    b_row,
    b_column,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
    SUM: tl.constexpr,
):
    """out [M, N] = a [M, K] b [K, N], row and column strides given, every edge masked."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=SUM)
    for start in range(0, K, BLOCK_K):
        k = start + depth
        left = tl.load(
            a + rows[:, None] * a_row + k[None, :] * a_column,
            mask=(rows[:, None] < M) & (k[None, :] < K),
            other=0.0,
        )
        right = tl.load(
            b + k[:, None] * b_row + columns[None, :] * b_column,
            mask=(k[:, None] < K) & (columns[None, :] < N),
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION, out_dtype=SUM)
    tl.store(
        out + rows[:, None] * N + columns[None, :],
        total,
        mask=(rows[:, None] < M) & (columns[None, :] < N),
    )


@triton.jit
def unmasked(a, b, out, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    """One tile, K a multiple of BLOCK_K: wide loads, straight into LDS and the pipeline."""
    rows, columns, depth = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        left = tl.load(a + rows[:, None] * K + start + depth[None, :])
        right = tl.load(b + (start + depth)[:, None] * BLOCK_N + columns[None, :])
        total = tl.dot(left, right, total, input_precision="ieee")
    tl.store(out + rows[:, None] * BLOCK_N + columns[None, :], total)


@triton.jit
def attention(q, k, v, out, scale, ROWS: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr):
    """Two products in a row, the first one's result an operand of the second: (scale q k') v."""
    rows, keys, width = tl.arange(0, ROWS), tl.arange(0, KEYS), tl.arange(0, WIDTH)
    query = tl.load(q + rows[:, None] * WIDTH + width[None, :])
    key = tl.load(k + keys[:, None] * WIDTH + width[None, :])
    value = tl.load(v + keys[:, None] * WIDTH + width[None, :])
    score = (tl.dot(query, tl.trans(key)) * scale).to(value.dtype)
    tl.store(out + rows[:, None] * WIDTH + width[None, :], tl.dot(score, value))


@triton.jit
def batched(a, b, out, BATCH: tl.constexpr, SIZE: tl.constexpr):
    at = tl.arange(0, BATCH)[:, None, None] * SIZE * SIZE
    at += tl.arange(0, SIZE)[None, :, None] * SIZE + tl.arange(0, SIZE)[None, None, :]
    tl.store(out + at, tl.dot(tl.load(a + at), tl.load(b + at)))


SUMS = {F64: (tl.float64, F64), I8: (tl.int32, torch.int32)}


def product(
    dtype: torch.dtype,
    *,
    size: tuple[int, int, int] = (64, 64, 64),
    block: tuple[int, int, int] = (64, 64, 32),
    mfma: int = 0,
    kpack: int = 1,
    warps: int = 4,
    stages: int = 2,
    precision: str = "ieee",
    transposed: str = "",
    right: torch.dtype | None = None,
    out: torch.dtype | None = None,
) -> Callable[[], Launch]:
    """size (M, N, K) in blocks of `block`; `transposed` names the operands stored column by column."""

    def launch() -> Launch:
        m, n, k = size
        a, b = _operand(m, k, dtype, 1), _operand(k, n, right or dtype, 2)
        a = a.T.contiguous().T if "a" in transposed else a
        b = b.T.contiguous().T if "b" in transposed else b
        sum_type, made = SUMS.get(dtype, (tl.float32, F32))
        shape = dict(zip(("M", "N", "K", "BLOCK_M", "BLOCK_N", "BLOCK_K"), (*size, *block), strict=True))
        strides = dict(a_row=a.stride(0), a_column=a.stride(1), b_row=b.stride(0), b_column=b.stride(1))
        return Launch(
            (triton.cdiv(m, block[0]), triton.cdiv(n, block[1])),
            dict(
                a=a,
                b=b,
                out=blank(m, n, dtype=out or made),
                **shape,
                **strides,
                PRECISION=precision,
                SUM=sum_type,
            ),
            options=dict(num_warps=warps, num_stages=stages, matrix_instr_nonkdim=mfma, kpack=kpack),
        )

    return launch


def wide(block: tuple[int, int, int], depth: int, warps: int, stages: int, dtype: torch.dtype, **options):
    def launch() -> Launch:
        m, n, k = block
        a, b = _operand(m, depth, dtype, 1), _operand(depth, n, dtype, 2)
        return Launch(
            (1,),
            dict(a=a, b=b, out=blank(m, n), K=depth, BLOCK_M=m, BLOCK_N=n, BLOCK_K=k),
            options=dict(num_warps=warps, num_stages=stages, **options),
        )

    return launch


def chained(
    dtype: torch.dtype, rows: int, keys: int, width: int, warps: int, mfma: int
) -> Callable[[], Launch]:
    def launch() -> Launch:
        q, k, v = (normal(each, width, dtype=dtype, seed=i) for i, each in enumerate((rows, keys, keys)))
        return Launch(
            (1,),
            dict(q=q, k=k, v=v, out=blank(rows, width), scale=0.25, ROWS=rows, KEYS=keys, WIDTH=width),
            options=dict(num_warps=warps, matrix_instr_nonkdim=mfma),
        )

    return launch


def batches() -> Launch:
    a, b = normal(4, 16, 16, dtype=F16, seed=1), normal(4, 16, 16, dtype=F16, seed=2)
    return Launch((1,), dict(a=a, b=b, out=blank(4, 16, 16), BATCH=4, SIZE=16))


def _operand(rows: int, columns: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    if dtype == I8:
        return integers(rows, columns, low=-128, high=128, dtype=I8, seed=seed)
    return normal(rows, columns, dtype=dtype, seed=seed)


def exact(a: Arguments) -> torch.Tensor:
    return a.a.double() @ a.b.double()


def cut(values: torch.Tensor) -> torch.Tensor:
    """xf32: the lowest 13 fraction bits of a float32 are dropped (MMA-Sim, arXiv 2511.10909)."""
    return (values.view(torch.int32) & ~0x1FFF).view(F32)


def exact_cut(a: Arguments) -> torch.Tensor:
    return cut(a.a).double() @ cut(a.b).double()


def summed(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """`accumulated`, and the rounding into out's type if that is narrower."""
    bound = accumulated(a.a, a.b, F64 if a.out.dtype == F64 else F32)
    return bound if a.out.dtype in (F32, F64) else bound + rounding(y.double().abs() + bound, a.out.dtype)


def scored(a: Arguments) -> torch.Tensor:
    return (a.q.double() @ a.k.double().T * a.scale) @ a.v.double()


def scored_bound(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """The score is off by its sum's error, the product with scale and the rounding to 16 bits; that error
    goes through |v|, and the second product adds its own of what it was given."""
    magnitude = a.q.double().abs() @ a.k.double().abs().T * a.scale
    first = accumulated(a.q, a.k.T) * a.scale + U32 * magnitude
    first += ROUNDOFF[a.q.dtype] * ((a.q.double() @ a.k.double().T * a.scale).abs() + first)
    return first @ a.v.double().abs() + accumulated(magnitude + first, a.v)


SMALL, TALL, DEEP, ODD = (32, 32, 32), (128, 64, 32), (64, 64, 64), (50, 37, 45)

CASES = [
    Case("dot f32", matmul, product(F32), exact, summed),
    Case("dot f32 mfma 16", matmul, product(F32, mfma=16, warps=1, block=SMALL), exact, summed),
    Case("dot f32 mfma 32", matmul, product(F32, mfma=32, warps=2), exact, summed),
    Case("dot xf32 mfma 16", matmul, product(F32, mfma=16, precision="tf32"), exact_cut, summed),
    Case("dot xf32 mfma 32", matmul, product(F32, mfma=32, precision="tf32"), exact_cut, summed),
    Case("dot f16 mfma 16 1 warp", matmul, product(F16, mfma=16, warps=1, block=SMALL), exact, summed),
    Case("dot f16 mfma 16 2 warps", matmul, product(F16, mfma=16, warps=2, stages=1), exact, summed),
    Case("dot f16 mfma 16 4 warps", matmul, product(F16, mfma=16, warps=4, stages=3), exact, summed),
    Case("dot f16 mfma 16 8 warps", matmul, product(F16, mfma=16, warps=8, block=TALL), exact, summed),
    Case(
        "dot f16 mfma 32 1 warp", matmul, product(F16, mfma=32, warps=1, block=SMALL, stages=1), exact, summed
    ),
    Case("dot f16 mfma 32 4 warps", matmul, product(F16, mfma=32, stages=2, kpack=2), exact, summed),
    Case(
        "dot f16 mfma 32 8 warps", matmul, product(F16, mfma=32, warps=8, block=TALL, stages=3), exact, summed
    ),
    Case("dot bf16 mfma 16", matmul, product(BF16, mfma=16, kpack=2), exact, summed),
    Case("dot bf16 mfma 32", matmul, product(BF16, mfma=32, kpack=2, stages=3), exact, summed),
    Case("dot bf16 to bf16", matmul, product(BF16, out=BF16), exact, summed),
    Case("dot f16 to f16", matmul, product(F16, out=F16, warps=8), exact, summed),
    Case("dot i8 mfma 16", matmul, product(I8, mfma=16, kpack=2, block=DEEP), exact),
    # Until Triton 3.8 a K shorter than the packed instruction's halves the sum so far at every step.
    Case("dot i8 short K", matmul, product(I8, mfma=16, kpack=2), exact, since=(3, 8)),
    Case("dot i8 mfma 32", matmul, product(I8, mfma=32, stages=1), exact),
    Case("dot i8 8 warps", matmul, product(I8, warps=8, block=TALL, transposed="b"), exact),
    Case("dot fp8e4b8 mfma 16", matmul, product(FNUZ8, mfma=16, kpack=2, block=DEEP), exact, summed),
    Case("dot fp8e4b8 mfma 32", matmul, product(FNUZ8, mfma=32), exact, summed),
    Case("dot fp8e5b16 mfma 16", matmul, product(FNUZ5, mfma=16), exact, summed),
    Case("dot fp8e5b16 mfma 32", matmul, product(FNUZ5, mfma=32), exact, summed),
    # Triton 3.6 swaps the operands of these, but not the instruction's types.
    Case(
        "dot fp8e4b8 with fp8e5b16", matmul, product(FNUZ8, right=FNUZ5, mfma=16), exact, summed, since=(3, 7)
    ),
    Case(
        "dot fp8e5b16 with fp8e4b8", matmul, product(FNUZ5, right=FNUZ8, mfma=32), exact, summed, since=(3, 7)
    ),
    Case("dot f64 mfma 16", matmul, product(F64, mfma=16, block=SMALL), exact, summed),
    Case("dot f64 1 warp", matmul, product(F64, warps=1, block=(16, 16, 16), size=SMALL), exact, summed),
    Case("dot f16 ragged", matmul, product(F16, size=ODD), exact, summed),
    Case("dot bf16 ragged 3 stages", matmul, product(BF16, size=ODD, stages=3, block=SMALL), exact, summed),
    Case("dot f32 ragged", matmul, product(F32, size=ODD, mfma=16), exact, summed),
    Case("dot f16 a transposed", matmul, product(F16, transposed="a", mfma=16), exact, summed),
    Case("dot bf16 b transposed", matmul, product(BF16, transposed="b", mfma=32, kpack=2), exact, summed),
    Case("dot f32 both transposed", matmul, product(F32, transposed="ab", mfma=32), exact, summed),
    Case("dot f16 4 x 64", matmul, product(F16, size=(4, 64, 64), block=(4, 64, 64), warps=1), exact, summed),
    Case("dot f16 64 x 4", matmul, product(F16, size=(64, 4, 64), block=(64, 4, 64), warps=1), exact, summed),
    Case(
        "dot bf16 4 x 64", matmul, product(BF16, size=(4, 64, 64), block=(4, 64, 64), warps=1), exact, summed
    ),
    Case("dot f32 64 x 4", matmul, product(F32, size=(64, 4, 64), block=(64, 4, 64), warps=1), exact, summed),
    Case("dot i8 4 x 64", matmul, product(I8, size=(4, 64, 64), block=(4, 64, 64), warps=1), exact),
    Case(
        "dot bf16 4 x 4",
        matmul,
        product(BF16, size=(4, 4, 64), block=(4, 4, 64), warps=1, mfma=4),
        exact,
        summed,
    ),
    Case(
        "dot f32 4 x 4",
        matmul,
        product(F32, size=(4, 4, 64), block=(4, 4, 64), warps=1, mfma=4),
        exact,
        summed,
        since=(3, 7),
    ),
    Case(
        "dot f16 8 x 8 by fma", matmul, product(F16, size=(8, 8, 32), block=(8, 8, 8), warps=1), exact, summed
    ),
    Case("dot f16 pipelined", unmasked, wide((64, 64, 32), 160, 4, 3, F16), exact, summed),
    Case("dot bf16 pipelined 1 stage", unmasked, wide((64, 64, 64), 128, 4, 1, BF16, kpack=2), exact, summed),
    Case("dot f32 pipelined 8 warps", unmasked, wide((128, 64, 32), 96, 8, 2, F32), exact, summed),
    Case("dot fp8e4b8 pipelined", unmasked, wide((64, 64, 64), 192, 4, 2, FNUZ8, kpack=2), exact, summed),
    Case("dot of many registers", unmasked, wide((128, 128, 32), 64, 1, 2, F16), exact, summed),
    Case("dot that spills", unmasked, wide((256, 128, 16), 32, 1, 1, BF16), exact, summed),
    Case(
        "dot ping-pong",
        unmasked,
        wide((128, 128, 64), 128, 8, 2, F16, matrix_instr_nonkdim=16),
        exact,
        summed,
    ),
    Case("chained dots f16", attention, chained(F16, 64, 64, 32, 4, 16), scored, scored_bound),
    Case("chained dots bf16", attention, chained(BF16, 64, 32, 64, 2, 32), scored, scored_bound),
    Case("batched dot", batched, batches, exact, summed),
]
