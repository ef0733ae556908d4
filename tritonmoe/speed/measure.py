"""How time and memory are measured: medians under graphs on the device, medians of host time, peaks."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import triton

from .workloads import Ceilings

Call = Callable[[], torch.Tensor]


class Timed(NamedTuple):
    """Median milliseconds; whether a graph was replayed, else calls were made one by one ("eager")."""

    ms: float
    how: str


def ceilings(dtype: torch.dtype) -> Ceilings:
    """A large copy, counting bytes read and written, and a large matrix product of random values."""
    return Ceilings(_bandwidth(), _rate(dtype))


def _bandwidth() -> float:
    free, _ = torch.cuda.mem_get_info()
    source = torch.empty(min(1 << 30, free // 4), dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return 2 * source.numel() / _bench(lambda: target.copy_(source), 200) * 1e3


def _rate(dtype: torch.dtype) -> float:
    side = 8192 if dtype.itemsize == 2 else 4096
    left, right = (torch.randn(side, side, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * side**3 / _bench(lambda: left @ right, 400) * 1e3


def milliseconds(call: Call, budget: float = 200) -> Timed:
    """Device time of a call with a cold cache; `budget` is in milliseconds, of repeats."""
    graph = _captured(call)
    if graph is None:
        return Timed(_bench(call, budget), "eager")
    return Timed(_bench(graph.replay, budget), "graph")


def host_microseconds(call: Call, calls: int = 50) -> float:
    """Median time until an ungraphed call returns, the device far from full with launches."""
    taken = []
    call()
    for _ in range(calls):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        taken.append(1e6 * (time.perf_counter() - start))
    torch.cuda.synchronize()
    return statistics.median(taken)


def extra_memory(call: Call) -> int:
    """Bytes allocated at the peak of a call beyond what was there before, without its result."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    torch.cuda.synchronize()
    own = result.untyped_storage().nbytes()
    return max(0, torch.cuda.max_memory_allocated() - before - own)


def poison(size: int) -> None:
    """Leaves NaN in `size` bytes of the allocator's free memory, so that what a kernel fails to write shows.

    Blocks under 1 MiB come from a pool of their own; some of it is filled too.
    """
    free, _ = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    large = max(1 << 20, min(size, free // 2))
    held = [torch.full((large // 4,), float("nan"), device="cuda")]
    held += [torch.full((1 << 16,), float("nan"), device="cuda") for _ in range(32)]
    torch.cuda.synchronize()
    del held


def _captured(call: Call) -> torch.cuda.CUDAGraph | None:
    """A graph of the call, or None for what cannot be captured, as code that waits for the device."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
        call()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:
        torch.cuda.synchronize()
        return None
    return graph


def _bench(call: Callable[[], object], budget: float) -> float:
    return triton.testing.do_bench(call, warmup=budget / 4, rep=budget, return_mode="median")
