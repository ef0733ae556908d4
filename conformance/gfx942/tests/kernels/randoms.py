"""Philox, Triton's generator: the same numbers on every platform."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import triton
import triton.language as tl

from .bounds import U32
from .case import Arguments, Case, Launch, blank

COUNT, ROUNDS = 1024, 10
KEYS, FACTORS = (0x9E3779B9, 0xBB67AE85), (0xD2511F53, 0xCD9E8D57)  # Salmon et al., SC 2011


@triton.jit
def draw(out, seed, FUNCTION: tl.constexpr, COUNT: tl.constexpr):
    at = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
    tl.store(out + at, FUNCTION(seed, at))


@triton.jit
def whole(seed, at):
    return tl.randint(seed, at)


@triton.jit
def between(seed, at):
    return tl.rand(seed, at)


@triton.jit
def bell(seed, at):
    return tl.randn(seed, at)


@triton.jit
def four(out, seed, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    a, b, c, d = tl.randint4x(seed, at)
    tl.store(out + at, a)
    tl.store(out + COUNT + at, b)
    tl.store(out + 2 * COUNT + at, c)
    tl.store(out + 3 * COUNT + at, d)


@triton.jit
def dropout(x, out, share, seed, COUNT: tl.constexpr):
    at = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
    tl.store(out + at, tl.where(tl.rand(seed, at) > share, tl.load(x + at) * 2, 0.0))


def drawn(function, dtype: torch.dtype) -> Callable[[], Launch]:
    return lambda: Launch(
        (2,), dict(out=blank(2 * COUNT, dtype=dtype), seed=SEED, FUNCTION=function, COUNT=COUNT)
    )


def dropped() -> Launch:
    return Launch((2,), dict(x=torch.ones(512), out=blank(512), share=0.25, seed=99, COUNT=256))


def philox(seed: int, count: int) -> np.ndarray:
    """uint32 [4, count]: ten rounds of Philox 4x32 over the counters (i, 0, 0, 0)."""
    words = [np.arange(count, dtype=np.uint64), *(np.zeros(count, np.uint64) for _ in range(3))]
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(ROUNDS):
        first, second = words[0] * np.uint64(FACTORS[0]), words[2] * np.uint64(FACTORS[1])
        low = np.uint64(0xFFFFFFFF)
        words = [
            (second >> np.uint64(32)) ^ words[1] ^ np.uint64(keys[0]),
            second & low,
            (first >> np.uint64(32)) ^ words[3] ^ np.uint64(keys[1]),
            first & low,
        ]
        keys = [(key + step) & 0xFFFFFFFF for key, step in zip(keys, KEYS, strict=True)]
    return np.stack(words).astype(np.uint32)


def unit(words: np.ndarray) -> np.ndarray:
    """Triton's mapping of 32 bits to [0, 1): the signed number's magnitude times a float32 just below
    2**-31."""
    signed = words.view(np.int32).astype(np.int64)
    return np.where(signed < 0, -signed - 1, signed).astype(np.float32) * np.float32(4.6566127342e-10)


def integers_of(a: Arguments) -> torch.Tensor:
    return torch.from_numpy(philox(SEED, 2 * COUNT)[0].view(np.int32))


def uniform_of(a: Arguments) -> torch.Tensor:
    return torch.from_numpy(unit(philox(SEED, 2 * COUNT)[0]))


def _boxed() -> tuple[np.ndarray, np.ndarray]:
    words = philox(SEED, 2 * COUNT)
    return np.maximum(1e-7, unit(words[0]).astype(np.float64)), unit(words[1]).astype(np.float64)


def bell_of(a: Arguments) -> torch.Tensor:
    """Box and Muller's cosine."""
    first, second = _boxed()
    return torch.from_numpy(np.sqrt(-2 * np.log(first)) * np.cos(2 * math.pi * second))


def bell_bound(a: Arguments, y: torch.Tensor) -> torch.Tensor:
    """Radius: log 2 ulp, a product, a root of 1 ulp; cosine 2 ulp of at most 1, its angle two roundings of at
    most 2 pi; one product."""
    first, _ = _boxed()
    radius = torch.from_numpy(np.sqrt(-2 * np.log(first)))
    return radius * U32 * (2 * 2 * math.pi + 4) + y.abs() * U32 * (2 + 0.5 + 2 + 1)


def dropout_of(a: Arguments) -> torch.Tensor:
    return torch.from_numpy(np.where(unit(philox(99, 512)[0]) > np.float32(0.25), 2.0, 0.0))


SEED = 0x1234567

CASES = [
    Case("randint", draw, drawn(whole, torch.int32), integers_of),
    Case("rand", draw, drawn(between, torch.float32), uniform_of),
    Case("randn", draw, drawn(bell, torch.float32), bell_of, bell_bound),
    Case(
        "randint4x",
        four,
        lambda: Launch((1,), dict(out=blank(4, 512, dtype=torch.int32), seed=SEED, COUNT=512)),
        lambda a: torch.from_numpy(philox(SEED, 512).view(np.int32)),
    ),
    Case("dropout", dropout, dropped, dropout_of),
]
