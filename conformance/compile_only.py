"""`python -m conformance.compile_only`: compiles the kernels for a GPU that is not here, launching nothing.

Prints a JSON line a kernel and configuration: shared memory in bytes, and for AMD registers and spills.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget

import tritonmoe
from tritonmoe.launches import Launch, families, shipped
from tritonmoe.speed.precompile import DroppedLaunches

BACKENDS = {"cuda": (int, 32), "hip": (str, 64)}  # what an architecture is, and a warp's width
PLAIN, RAGGED = (1024, 512), (1000, 488)  # hidden, intermediate: without and with masks along K
SIZES = {torch.bfloat16: (PLAIN,), torch.float16: (RAGGED,), torch.float32: (PLAIN,)}
FIGURES = ("vgpr_count", "vgpr_spill_count", "sgpr_spill_count")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.compile_only", description=__doc__)
    parser.add_argument("backend", choices=BACKENDS)
    parser.add_argument("arch", help="90, 80, ... for cuda; gfx942, ... for hip")
    parser.add_argument("--family", choices=families(), required=True, help="whose shipped configurations")
    options = parser.parse_args(arguments)
    kind, width = BACKENDS[options.backend]
    torch.set_default_device("meta")  # sizes and strides are all that compiling needs
    triton.runtime.driver.set_active(DroppedLaunches(GPUTarget(options.backend, kind(options.arch), width)))
    current: dict[str, Any] = {}
    triton.knobs.compilation.listener = lambda **compiled: print(
        json.dumps({**current, **_figures(compiled)}), flush=True
    )
    for dtype, sizes in SIZES.items():
        for launch, _ in shipped(dtype, options.family):
            for hidden, intermediate in sizes:
                current.update(dtype=str(dtype), launch=launch.name, hidden=hidden, intermediate=intermediate)
                _run_layer(dtype, launch, hidden, intermediate)
    return 0


def _run_layer(dtype: torch.dtype, launch: Launch, hidden: int, intermediate: int) -> None:
    """A layer that takes every path: groups, a correction bias, a gated shared expert."""
    experts = 32
    config = tritonmoe.MoEConfig(
        experts=experts,
        top_k=4,
        hidden=hidden,
        intermediate=intermediate,
        scoring="sigmoid",
        expert_groups=4,
        groups_kept=2,
        correction_bias=True,
        shared_intermediate=intermediate,
        shared_gate=True,
    )

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)

    tritonmoe.fused_moe(
        empty(32, hidden),
        empty(experts, hidden),
        empty(experts, 2 * intermediate, hidden),
        empty(experts, hidden, intermediate),
        config,
        torch.empty(experts),
        tritonmoe.SharedExperts(
            empty(2 * intermediate, hidden), empty(hidden, intermediate), empty(1, hidden)
        ),
        launch=launch,
    )


def _figures(compiled: dict[str, Any]) -> dict[str, Any]:
    metadata, made = compiled["metadata"], {}
    for name, path in compiled["metadata_group"].items():
        if name.endswith(".amdgcn"):
            text = Path(path).read_text()
            made = {figure: int(re.search(rf"\.{figure}:\s*(\d+)", text)[1]) for figure in FIGURES}
    return {"kernel": metadata["name"], "shared": metadata["shared"], **made}


if __name__ == "__main__":
    sys.exit(main())
