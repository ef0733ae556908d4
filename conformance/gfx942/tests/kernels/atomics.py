"""Read-modify-write of shared memory between lanes and programs, results and old values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from .case import Arguments, Case, Launch, integers

F16, BF16, F32, F64, I32, I64 = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
    torch.int64,
)


@triton.jit
def combine(x, index, out, count, OPERATION: tl.constexpr, BLOCK: tl.constexpr):
    """out[index[i]] = OPERATION(out[index[i]], x[i]), with many i to one place."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    OPERATION(out + tl.load(index + at, mask=inside, other=0), tl.load(x + at, mask=inside, other=0), inside)


@triton.jit
def add(pointer, value, mask):
    tl.atomic_add(pointer, value, mask=mask)


@triton.jit
def add_relaxed(pointer, value, mask):
    tl.atomic_add(pointer, value, mask=mask, sem="relaxed", scope="cta")


@triton.jit
def largest(pointer, value, mask):
    tl.atomic_max(pointer, value, mask=mask)


@triton.jit
def smallest(pointer, value, mask):
    tl.atomic_min(pointer, value, mask=mask)


@triton.jit
def both(pointer, value, mask):
    tl.atomic_and(pointer, value, mask=mask)


@triton.jit
def either(pointer, value, mask):
    tl.atomic_or(pointer, value, mask=mask)


@triton.jit
def differ(pointer, value, mask):
    tl.atomic_xor(pointer, value, mask=mask)


@triton.jit
def tickets(counter, out):
    """Every program draws its own number."""
    number = tl.atomic_add(counter, 1)
    tl.store(out + number, 1)


@triton.jit
def tickets_of_lanes(counter, out, BLOCK: tl.constexpr):
    """Every lane draws its own number."""
    number = tl.atomic_add(counter + tl.zeros((BLOCK,), tl.int32), tl.full((BLOCK,), 1, tl.int32))
    tl.store(out + number, number)


@triton.jit
def exchange(place, out, BLOCK: tl.constexpr):
    """Each lane swaps in its number: all come out again, the last one being left in place."""
    number = tl.arange(0, BLOCK)
    seen = tl.atomic_xchg(place + tl.zeros((BLOCK,), tl.int32), number)
    tl.store(out + seen, 1, mask=seen >= 0)
    tl.debug_barrier()
    tl.store(out + tl.load(place), 1)


@triton.jit
def compare_and_swap(x, out, old, BLOCK: tl.constexpr):
    """Zeros become x; the rest stays. `old` is what stood there."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at)
    tl.store(old + at, tl.atomic_cas(out + at, tl.zeros_like(value), value))


@triton.jit
def locked(lock, x, out, BLOCK: tl.constexpr):
    """A spin lock between programs: an update that no atomic instruction could do."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + tl.program_id(0) * BLOCK + at)
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    total = tl.load(out + at) * 1 + value
    tl.store(out + at, total)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


@triton.jit
def last_one_sums(x, partial, counter, out, BLOCK: tl.constexpr):
    """Each program leaves its sum; the one that comes last adds them up."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    tl.store(partial + program, tl.sum(tl.load(x + program * BLOCK + tl.arange(0, BLOCK)), 0))
    tl.debug_barrier()
    if tl.atomic_add(counter, 1) == programs - 1:
        at = tl.arange(0, BLOCK)
        tl.store(out, tl.sum(tl.load(partial + at, mask=at < programs, other=0), 0))


def combining(operation, x: torch.Tensor, start: int, places: int = 38) -> Callable[[], Launch]:
    def launch() -> Launch:
        index = integers(x.numel(), low=0, high=places, seed=8)
        out = torch.full((places,), start, dtype=x.dtype)
        names = dict(x=x, index=index, out=out, count=x.numel(), OPERATION=operation, BLOCK=256)
        return Launch((triton.cdiv(x.numel(), 256),), names)

    return launch


def launch_of(grid: int, outputs: tuple[str, ...], **arguments: Any) -> Callable[[], Launch]:
    """A fresh copy of every tensor at every launch."""

    def launch() -> Launch:
        fresh = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
        return Launch((grid,), fresh, outputs)

    return launch


def reduced(how: str) -> Callable[[Arguments], torch.Tensor]:
    """Exact in any order: the floats are small integers."""
    return lambda a: a.out.double().scatter_reduce(0, a.index.long(), a.x.double(), how)


def folded(how: Callable[[int, int], int]) -> Callable[[Arguments], torch.Tensor]:
    def reference(a: Arguments) -> torch.Tensor:
        out = a.out.tolist()
        for place, value in zip(a.index.tolist(), a.x.tolist(), strict=True):
            out[place] = how(out[place], value)
        return torch.tensor(out, dtype=a.out.dtype)

    return reference


def swapped(a: Arguments) -> dict[str, torch.Tensor]:
    return {"out": torch.where(a.out == 0, a.x, a.out), "old": a.out}


WHOLE = integers(700, low=-20, high=21, seed=1)
BITS = integers(700, low=-(2**31), high=2**31, seed=2)
LONG = integers(700, low=-(2**50), high=2**50, dtype=I64, seed=3)
SPARSE = integers(256, low=0, high=2, seed=4) * 9
ONCE = torch.zeros(1, dtype=I32)

CASES = [
    Case("atomic add i32", combine, combining(add, WHOLE, 5), reduced("sum")),
    Case("atomic add i64", combine, combining(add, LONG, 5), folded(lambda x, y: x + y)),
    Case("atomic add f32", combine, combining(add, WHOLE.float(), 5), reduced("sum")),
    Case("atomic add f32 relaxed", combine, combining(add_relaxed, WHOLE[:256].float(), 5), reduced("sum")),
    Case("atomic add f64", combine, combining(add, WHOLE.double(), 5), reduced("sum")),
    Case("atomic add f16", combine, combining(add, WHOLE.half(), 5), reduced("sum")),
    Case("atomic add bf16", combine, combining(add, (WHOLE % 3).bfloat16(), 1), reduced("sum")),
    # One sign only: before the signed atomic, Triton's AMD backend (3.6 to 3.9) reduces a wavefront's lanes
    # that share an address as unsigned numbers, so that -1 is the largest.
    Case("atomic max i32", combine, combining(largest, BITS.abs(), -5), reduced("amax")),
    Case("atomic min i64", combine, combining(smallest, -LONG.abs(), 5), reduced("amin")),
    Case("atomic max f32", combine, combining(largest, WHOLE.float(), -50), reduced("amax")),
    Case("atomic min f32", combine, combining(smallest, WHOLE.float(), 50), reduced("amin")),
    Case("atomic max u32", combine, combining(largest, BITS.view(torch.uint32), 5), folded(max)),
    Case("atomic and i32", combine, combining(both, BITS, -1), folded(lambda x, y: x & y)),
    Case("atomic or i32", combine, combining(either, BITS >> 7, 0), folded(lambda x, y: x | y)),
    Case("atomic xor i64", combine, combining(differ, LONG, 0), folded(lambda x, y: x ^ y)),
    Case(
        "tickets",
        tickets,
        launch_of(50, ("counter", "out"), counter=ONCE, out=torch.zeros(50, dtype=I32)),
        lambda a: {"counter": torch.tensor([50]), "out": torch.ones(50)},
    ),
    Case(
        "tickets of lanes",
        tickets_of_lanes,
        launch_of(3, ("counter", "out"), counter=ONCE, out=torch.full((768,), -1, dtype=I32), BLOCK=256),
        lambda a: {"counter": torch.tensor([768]), "out": torch.arange(768)},
    ),
    Case(
        "exchange",
        exchange,
        launch_of(1, ("out",), place=ONCE - 1, out=torch.zeros(512, dtype=I32), BLOCK=512),
        lambda a: torch.ones(512),
    ),
    Case(
        "compare and swap",
        compare_and_swap,
        launch_of(1, ("out", "old"), x=WHOLE[:256] + 30, out=SPARSE, old=SPARSE - 1, BLOCK=256),
        swapped,
    ),
    Case(
        "spin lock",
        locked,
        launch_of(
            12,
            ("out", "lock"),
            lock=ONCE,
            x=integers(768, low=-99, high=99),
            out=torch.zeros(64, dtype=I32),
            BLOCK=64,
        ),
        lambda a: {"out": a.x.reshape(12, 64).sum(0), "lock": ONCE},
    ),
    Case(
        "last one sums",
        last_one_sums,
        launch_of(
            9,
            ("out",),
            x=WHOLE[:576],
            partial=torch.full((9,), 99, dtype=I32),
            counter=ONCE,
            out=ONCE - 5,
            BLOCK=64,
        ),
        lambda a: a.x.sum().int().reshape(1),
    ),
]
