"""From one number type to another: rounding, saturation, sign extension, and bits as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from .case import Arguments, Case, Launch, blank, integers, normal

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
FNUZ8, FNUZ5, OCP8, OCP5 = (
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
NAMES = {
    F16: tl.float16,
    BF16: tl.bfloat16,
    F32: tl.float32,
    F64: tl.float64,
    FNUZ8: tl.float8e4b8,
    FNUZ5: tl.float8e5b16,
    OCP8: tl.float8e4nv,
    OCP5: tl.float8e5,
    torch.int8: tl.int8,
    torch.uint8: tl.uint8,
    torch.int16: tl.int16,
    torch.int32: tl.int32,
    torch.int64: tl.int64,
}
COUNT = 1024


@triton.jit
def convert(x, out, COUNT: tl.constexpr, TYPE: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(out + at, tl.load(x + at).to(TYPE))


@triton.jit
def toward_zero(x, out, COUNT: tl.constexpr, TYPE: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(out + at, tl.load(x + at).to(TYPE, fp_downcast_rounding="rtz"))


@triton.jit
def bits_of(x, out, COUNT: tl.constexpr, TYPE: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(out + at, tl.load(x + at).to(TYPE, bitcast=True))


@triton.jit
def truth(x, out, COUNT: tl.constexpr, TYPE: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(out + at, (tl.load(x + at) != 0).to(TYPE))


def to(dtype: torch.dtype, values: torch.Tensor) -> Callable[[], Launch]:
    def launch() -> Launch:
        count = values.numel()
        out = (
            blank(count, dtype=torch.int8).view(torch.uint8)
            if dtype.itemsize == 1
            else blank(count, dtype=dtype)
        )
        out = out.view(dtype) if dtype.itemsize == 1 else out
        return Launch((1,), dict(x=values, out=out, COUNT=count, TYPE=NAMES[dtype]))

    return launch


def torch_to(dtype: torch.dtype) -> Callable[[Arguments], torch.Tensor]:
    """PyTorch's conversion on the CPU rounds to nearest even, once."""
    return lambda a: a.x.to(dtype)


def halfway(dtype: torch.dtype, source: torch.dtype = F32, scale: float = 1.0) -> torch.Tensor:
    """A quarter exactly between neighbours of `dtype`, a quarter just beside, and denormals of it."""
    spread = 2.0 ** integers(COUNT, low=-6, high=7, seed=3).double() * scale
    values = (normal(COUNT, dtype=F64) * spread).to(dtype)
    middle = values.double() * (1 + torch.finfo(dtype).eps / 2)
    middle = (middle.double() + 0).to(F32).double()
    half = torch.finfo(dtype).eps * 2.0 ** (torch.frexp(values.double().abs())[1].double() - 2)
    mixed = torch.where(torch.arange(COUNT) % 4 == 0, values.double() + half, middle + half * 2.0**-9)
    tiny = torch.finfo(dtype).smallest_normal * normal(COUNT, dtype=F64, seed=5)
    return torch.where(torch.arange(COUNT) % 4 == 3, tiny, mixed).to(source)


def codes(dtype: torch.dtype) -> torch.Tensor:
    """All 256 bytes, four times."""
    return torch.arange(COUNT, dtype=torch.int32).to(torch.uint8).view(dtype)


def truncated(a: Arguments) -> torch.Tensor:
    """float32 to the type of out, toward zero."""
    rounded = a.x.to(a.out.dtype)
    over = rounded.float().abs() > a.x.abs()
    return torch.where(over, (rounded.view(torch.int16) - 1).view(a.out.dtype), rounded)


WIDE = normal(COUNT, scale=100.0)
BYTES, SHORTS = (
    integers(COUNT, low=-128, high=128, dtype=torch.int8),
    integers(COUNT, low=-(2**15), high=2**15, dtype=torch.int16),
)
WORDS = integers(COUNT, low=-(2**31), high=2**31, dtype=torch.int32)
LONGS = integers(COUNT, low=-(2**62), high=2**62, dtype=torch.int64)

CASES = [
    Case("f32 to f16", convert, to(F16, halfway(F16)), torch_to(F16)),
    Case("f32 to bf16", convert, to(BF16, halfway(BF16)), torch_to(BF16)),
    Case("f64 to f32", convert, to(F32, halfway(F32, F64)), torch_to(F32)),
    Case("f16 to f32", convert, to(F32, halfway(F16).half()), torch_to(F32)),
    Case("bf16 to f32", convert, to(F32, halfway(BF16).bfloat16()), torch_to(F32)),
    Case("f32 to f64", convert, to(F64, halfway(F32, F64).float()), torch_to(F64)),
    Case("f16 to bf16", convert, to(BF16, halfway(BF16, F16)), torch_to(BF16)),
    Case("bf16 to f16", convert, to(F16, halfway(F16, BF16)), torch_to(F16)),
    Case("f32 to f16 toward zero", toward_zero, to(F16, halfway(F16)), truncated),
    Case("f32 to bf16 toward zero", toward_zero, to(BF16, halfway(BF16)), truncated),
    Case("f32 to fp8e4b8", convert, to(FNUZ8, halfway(FNUZ8)), torch_to(FNUZ8)),
    Case("f32 to fp8e5b16", convert, to(FNUZ5, halfway(FNUZ5)), torch_to(FNUZ5)),
    Case("f16 to fp8e4b8", convert, to(FNUZ8, halfway(FNUZ8, F16)), torch_to(FNUZ8)),
    Case("bf16 to fp8e5b16", convert, to(FNUZ5, halfway(FNUZ5, BF16)), torch_to(FNUZ5)),
    Case("f32 to fp8e4nv", convert, to(OCP8, halfway(OCP8)), torch_to(OCP8)),
    Case("f32 to fp8e5", convert, to(OCP5, halfway(OCP5)), torch_to(OCP5)),
    Case("fp8e4b8 to f32", convert, to(F32, codes(FNUZ8)), torch_to(F32)),
    Case("fp8e5b16 to f32", convert, to(F32, codes(FNUZ5)), torch_to(F32)),
    Case("fp8e4b8 to bf16", convert, to(BF16, codes(FNUZ8)), torch_to(BF16)),
    Case("fp8e5b16 to f16", convert, to(F16, codes(FNUZ5)), torch_to(F16)),
    Case("fp8e4nv to f32", convert, to(F32, codes(OCP8)), torch_to(F32)),
    Case("fp8e5 to f16", convert, to(F16, codes(OCP5)), torch_to(F16)),
    Case("f32 to i32", convert, to(torch.int32, WIDE), torch_to(torch.int32)),
    Case("f32 to i64", convert, to(torch.int64, WIDE * 1e9), torch_to(torch.int64)),
    Case("f64 to i64", convert, to(torch.int64, WIDE.double() * 1e14), torch_to(torch.int64)),
    Case("f16 to i8", convert, to(torch.int8, WIDE.half().clamp(-127, 127)), torch_to(torch.int8)),
    Case("i32 to f32", convert, to(F32, WORDS), torch_to(F32)),
    Case("i64 to f32", convert, to(F32, LONGS), torch_to(F32)),
    Case("i64 to f64", convert, to(F64, LONGS), torch_to(F64)),
    Case("i16 to f16", convert, to(F16, SHORTS), torch_to(F16)),
    Case("i8 to bf16", convert, to(BF16, BYTES), torch_to(BF16)),
    Case("u8 to f32", convert, to(F32, BYTES.view(torch.uint8)), torch_to(F32)),
    Case("i8 to i64", convert, to(torch.int64, BYTES), torch_to(torch.int64)),
    Case("u8 to i32", convert, to(torch.int32, BYTES.view(torch.uint8)), torch_to(torch.int32)),
    Case("i64 to i16", convert, to(torch.int16, LONGS), torch_to(torch.int16)),
    Case("i16 to i8", convert, to(torch.int8, SHORTS), torch_to(torch.int8)),
    Case("bits of f32", bits_of, to(torch.int32, WIDE), lambda a: a.x.view(torch.int32)),
    Case("bits of bf16", bits_of, to(torch.int16, WIDE.bfloat16()), lambda a: a.x.view(torch.int16)),
    Case("truth of f32", truth, to(torch.int8, WIDE.round() % 3), lambda a: (a.x != 0).to(torch.int8)),
]
