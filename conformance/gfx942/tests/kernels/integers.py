"""Integer arithmetic of every width: it wraps, and divides toward zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import triton
import triton.language as tl

from .case import Arguments, Case, Launch, blank, integers
from .elementwise import add, binary, maximum, multiply, over, subtract, unary

I8, I16, I32, I64 = torch.int8, torch.int16, torch.int32, torch.int64
U8, U16, U32, U64 = torch.uint8, torch.uint16, torch.uint32, torch.uint64
COUNT = 1000


@triton.jit
def quotient(x, y):
    return x // y


@triton.jit
def remainder(x, y):
    return x % y


@triton.jit
def high_half(x, y):
    return tl.umulhi(x, y)


@triton.jit
def shift_left(x, y):
    return x << y


@triton.jit
def shift_right(x, y):
    return x >> y


@triton.jit
def bitwise(x, y):
    return ((x & y) ^ (x | ~y)) + (x ^ y)


@triton.jit
def smaller(x, y):
    return tl.minimum(x, y)


@triton.jit
def ordering(x, y):
    return (x < y) * 1 + (x == y) * 2 + (x >= y) * 4


@triton.jit
def multiply_add(x, y):
    return x * y + (x >> 3) * 13 - y


@triton.jit
def magnitude(x):
    return tl.abs(x)


@triton.jit
def by_constants(x):
    return x // 7 + x % 10 + (x // 16) * 3 + x // 641


@triton.jit
def ones(x):
    """How many bits are set, by pairs, fours and bytes."""
    x = x - ((x >> 1) & 0x55555555)
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F
    return (x * 0x01010101) >> 24


@triton.jit
def swap_bytes(x):
    return (x << 24) | ((x & 0xFF00) << 8) | ((x >> 8) & 0xFF00) | (x >> 24)


@triton.jit
def rotate(x, y):
    return (x << (y & 31)) | (x >> ((32 - y) & 31))


@triton.jit
def logic(x, y):
    return (x > 0) & (y > 0) | ~((x < 5) ^ (y < 5))


@triton.jit
def pack_bits(x, out, COUNT: tl.constexpr):
    """Booleans in, eight of them in a byte out, and whether any is set."""
    at = tl.arange(0, COUNT)
    bit = tl.load(x + at).to(tl.int1)
    word = tl.reshape(bit.to(tl.uint8), (COUNT // 8, 8)) << tl.arange(0, 8)[None, :].to(tl.uint8)
    tl.store(out + tl.arange(0, COUNT // 8), tl.sum(word, axis=1).to(tl.uint8))


def drawn(dtype: torch.dtype, seed: int, nonzero: bool = False) -> torch.Tensor:
    """Of every size of `dtype`: as many bits as the draw says, the extremes first."""
    bits = torch.iinfo(dtype).bits
    generator = np.random.default_rng(seed)
    raw = generator.integers(0, 2**63, COUNT, dtype=np.uint64) * np.uint64(2) + generator.integers(
        0, 2, COUNT, dtype=np.uint64
    )
    raw >>= generator.integers(64 - bits, 64, COUNT, dtype=np.uint64)
    raw[::3] = ~raw[::3]
    values = raw.astype(_numpy(dtype))
    extremes = np.array([torch.iinfo(dtype).min, torch.iinfo(dtype).max, 1, 2, 3], values.dtype)
    values[:25] = np.tile(extremes, 5) if seed % 2 else np.repeat(extremes, 5)
    if nonzero:
        values[values == 0] = 1
        values[values == np.array(-1).astype(values.dtype)] = 5  # the smallest number over -1 has no quotient
    return torch.from_numpy(values)


def _numpy(dtype: torch.dtype) -> np.dtype:
    return np.dtype(str(dtype).removeprefix("torch."))


def in_python(function: Callable[[int, int], int]) -> Callable[[Arguments], torch.Tensor]:
    """Python's whole numbers, wrapped to the type of out."""

    def reference(a: Arguments) -> torch.Tensor:
        columns = [each.tolist() for each in (a.x, getattr(a, "y", a.x))]
        info = torch.iinfo(a.out.dtype)
        wrapped = [
            (function(*pair) - info.min) % 2**info.bits + info.min for pair in zip(*columns, strict=True)
        ]
        return torch.from_numpy(np.array(wrapped, _numpy(a.out.dtype)))

    return reference


def divided(x: int, y: int) -> int:
    """Toward zero, as Triton divides."""
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def rest(x: int, y: int) -> int:
    return x - divided(x, y) * y


def constants(x: int, _: int) -> int:
    return divided(x, 7) + rest(x, 10) + divided(x, 16) * 3 + divided(x, 641)


def pair(function, dtype: torch.dtype, *, nonzero: bool = False, shifts: bool = False, out=None):
    second = drawn(dtype, 1, nonzero)
    if shifts:
        second = integers(COUNT, low=0, high=torch.iinfo(dtype).bits, seed=7).to(dtype)
    return over(binary, function, drawn(dtype, 0), second, out=out)


def flags() -> Launch:
    bits = integers(1024, low=0, high=2, dtype=torch.bool, seed=2)
    return Launch((1,), dict(x=bits, out=blank(128, dtype=U8), COUNT=1024))


def packed(a: Arguments) -> torch.Tensor:
    return torch.from_numpy(np.packbits(a.x.numpy(), bitorder="little"))


CASES = [
    Case("add i64", binary, pair(add, I64), in_python(lambda x, y: x + y)),
    Case("subtract i64", binary, pair(subtract, I64), in_python(lambda x, y: x - y)),
    Case("multiply i64", binary, pair(multiply, I64), in_python(lambda x, y: x * y)),
    Case("divide i64", binary, pair(quotient, I64, nonzero=True), in_python(divided)),
    Case("remainder i64", binary, pair(remainder, I64, nonzero=True), in_python(rest)),
    Case("divide u64", binary, pair(quotient, U64, nonzero=True), in_python(divided)),
    Case("high half u64", binary, pair(high_half, U64), in_python(lambda x, y: x * y >> 64)),
    Case("shift left i64", binary, pair(shift_left, I64, shifts=True), in_python(lambda x, y: x << y)),
    Case("shift right i64", binary, pair(shift_right, I64, shifts=True), in_python(lambda x, y: x >> y)),
    Case("shift right u64", binary, pair(shift_right, U64, shifts=True), in_python(lambda x, y: x >> y)),
    Case("minimum i64", binary, pair(smaller, I64), in_python(min)),
    Case("maximum u64", binary, pair(maximum, U64), in_python(max)),
    Case(
        "ordering i64",
        binary,
        pair(ordering, I64, out=I32),
        in_python(lambda x, y: (x < y) + 2 * (x == y) + 4 * (x >= y)),
    ),
    Case("abs i64", unary, over(unary, magnitude, drawn(I64, 0)), in_python(lambda x, _: abs(x))),
    Case("multiply i32", binary, pair(multiply, I32), in_python(lambda x, y: x * y)),
    Case("divide i32", binary, pair(quotient, I32, nonzero=True), in_python(divided)),
    Case("remainder i32", binary, pair(remainder, I32, nonzero=True), in_python(rest)),
    Case("divide u32", binary, pair(quotient, U32, nonzero=True), in_python(divided)),
    Case("remainder u32", binary, pair(remainder, U32, nonzero=True), in_python(rest)),
    Case("high half u32", binary, pair(high_half, U32), in_python(lambda x, y: x * y >> 32)),
    Case("by constants i32", unary, over(unary, by_constants, drawn(I32, 0)), in_python(constants)),
    Case("by constants u32", unary, over(unary, by_constants, drawn(U32, 0)), in_python(constants)),
    Case("by constants i64", unary, over(unary, by_constants, drawn(I64, 0)), in_python(constants)),
    Case("bitwise i32", binary, pair(bitwise, I32), in_python(lambda x, y: ((x & y) ^ (x | ~y)) + (x ^ y))),
    Case("ones u32", unary, over(unary, ones, drawn(U32, 0)), in_python(lambda x, _: x.bit_count())),
    Case(
        "swap bytes u32",
        unary,
        over(unary, swap_bytes, drawn(U32, 0)),
        in_python(lambda x, _: int.from_bytes(x.to_bytes(4, "little"), "big")),
    ),
    Case(
        "rotate u32",
        binary,
        pair(rotate, U32, shifts=True),
        in_python(lambda x, y: x << y | x >> (32 - y)),
    ),
    Case("shift right i32", binary, pair(shift_right, I32, shifts=True), in_python(lambda x, y: x >> y)),
    Case("maximum i32", binary, pair(maximum, I32), in_python(max)),
    Case("abs i32", unary, over(unary, magnitude, drawn(I32, 0)), in_python(lambda x, _: abs(x))),
    Case(
        "multiply add i16",
        binary,
        pair(multiply_add, I16),
        in_python(lambda x, y: x * y + (x >> 3) * 13 - y),
    ),
    Case("divide i16", binary, pair(quotient, I16, nonzero=True), in_python(divided)),
    Case("minimum i16", binary, pair(smaller, I16), in_python(min)),
    Case("multiply u16", binary, pair(multiply, U16), in_python(lambda x, y: x * y)),
    Case("add i8", binary, pair(add, I8), in_python(lambda x, y: x + y)),
    Case("multiply i8", binary, pair(multiply, I8), in_python(lambda x, y: x * y)),
    Case("divide i8", binary, pair(quotient, I8, nonzero=True), in_python(divided)),
    Case("remainder u8", binary, pair(remainder, U8, nonzero=True), in_python(rest)),
    Case("shift right u8", binary, pair(shift_right, U8, shifts=True), in_python(lambda x, y: x >> y)),
    Case("maximum u8", binary, pair(maximum, U8), in_python(max)),
    Case(
        "logic",
        binary,
        pair(logic, I32, out=I8),
        in_python(lambda x, y: -((x > 0 and y > 0) or not ((x < 5) ^ (y < 5))) & 1),
    ),
    Case("pack bits", pack_bits, flags, packed),
]
