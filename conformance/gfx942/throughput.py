"""`python -m conformance.gfx942.throughput`: wavefront-instructions per second on one core, as the grid
grows.

Two kernels of 4 wavefronts a workgroup: vector arithmetic with a loop, and a matrix product in bfloat16. An
instruction is counted once for each wavefront that executes it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence

import torch
import triton
import triton.language as tl

from . import Counts, gfx942

GRIDS = (1, 4, 16, 64, 256)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.gfx942.throughput", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for a machine")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for name, run in {"vector": _vector, "matrix": _matrix}.items():
        for grid in GRIDS:
            rows.append({"kernel": name, "workgroups": grid, "wavefronts": 4 * grid, **_measure(run, grid)})
            if not options.json:
                print(
                    "{kernel:8}{workgroups:>6} workgroups{rate:>14,.0f} wavefront-instructions/s".format(
                        **rows[-1]
                    )
                )
    if options.json:
        print(json.dumps(rows))
    return 0


def _measure(run: Callable[[int], None], grid: int) -> dict[str, float]:
    counts = Counts()
    with gfx942(counts=counts):
        run(grid)
    instructions = sum(counts.instructions.values())
    times = []
    with gfx942():
        while len(times) < 3 or (sum(times) < 0.5 and len(times) < 50):
            start = time.perf_counter()
            run(grid)
            times.append(time.perf_counter() - start)
    return {"instructions": instructions, "seconds": min(times), "rate": instructions / min(times)}


def _vector(grid: int) -> None:
    x = torch.ones(grid * 1024)
    _polynomial[(grid,)](x, x.clone(), 32, BLOCK=1024, num_warps=4)


def _matrix(grid: int) -> None:
    a, b = (torch.ones(each, dtype=torch.bfloat16) for each in ((grid * 64, 256), (256, 64)))
    _product[(grid,)](a, b, torch.empty(grid * 64, 64), 256, num_warps=4, num_stages=2)


@triton.jit
def _polynomial(x, y, steps, BLOCK: tl.constexpr):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + lane)
    total = value
    for _ in range(steps):
        total = total * value + 0.5
    tl.store(y + lane, total)


@triton.jit
def _product(a, b, c, depth):
    row = tl.program_id(0) * 64 + tl.arange(0, 64)[:, None]
    column, k = tl.arange(0, 64)[None, :], tl.arange(0, 64)
    total = tl.zeros((64, 64), tl.float32)
    for start in range(0, depth, 64):
        left = tl.load(a + row * depth + start + k[None, :])
        total += tl.dot(left, tl.load(b + (start + k)[:, None] * 64 + column))
    tl.store(c + row * 64 + column, total)


if __name__ == "__main__":
    sys.exit(main())
