"""The layer on the emulated chip: what is executed, and when Triton compiles."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton

import conformance
import tritonmoe
from conformance import corpus
from conformance.gfx942 import Counts, gfx942
from conformance.matrix import CASES, STAGES
from tritonmoe.combine import combine_kernel
from tritonmoe.down import down_kernel
from tritonmoe.gate_up import gate_up_kernel
from tritonmoe.launches import select, shipped


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_every_launch_configuration_for_amd_is_executed(stage: str, dtype: torch.dtype) -> None:
    choices = shipped(dtype, "cdna3")
    cases = [case for case in CASES if case.stage == stage and case.torch_dtype == dtype]
    drawn = {
        example.launch % len(choices) for case in cases for example in corpus.examples_of(case, "certify")
    }
    assert drawn == set(range(len(choices)))


def test_another_number_of_tokens_compiles_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    config = tritonmoe.MoEConfig(experts=8, top_k=2, hidden=64, intermediate=48)
    router, w_gate_up, w_down = torch.randn(8, 64), torch.randn(8, 96, 64), torch.randn(8, 64, 48)

    launch = dataclasses.replace(shipped(torch.float32, "cdna3")[0][0])  # with nothing launched before
    for kernel in (gate_up_kernel, down_kernel, combine_kernel):
        kernel.device_caches.clear()  # nor compiled, by whatever else this process tests

    def run(tokens: int) -> None:
        tritonmoe.fused_moe(torch.randn(tokens, 64), router, w_gate_up, w_down, config, launch=launch)

    with gfx942():
        run(5)
        monkeypatch.setattr(
            triton.knobs.compilation, "listener", lambda **made: compiled.append(made["metadata"]["name"])
        )
        run(1)
        # A single token's slots are tiles, and their own places.
        assert compiled == ["gate_up_kernel", "down_kernel", "combine_kernel"]
        compiled.clear()
        for tokens in (1, 7, 16, 32, 33):
            run(tokens)
    assert compiled == []


def test_products_of_16_bit_numbers_run_on_the_matrix_cores() -> None:
    counts = Counts()
    x, w_gate_up, w_down = (torch.randn(*shape).bfloat16() for shape in ((16, 64), (4, 64, 64), (4, 64, 32)))
    with gfx942(counts=counts):
        launch = select(torch.bfloat16, 8.0)
        tritonmoe.fused_experts(
            x, w_gate_up, w_down, torch.zeros(16, 2, dtype=torch.int32), torch.ones(16, 2), launch=launch
        )
    useful = 2 * 32 * 64 * (2 * 32) + 2 * 32 * 32 * 64
    assert counts.matrix_operations >= useful
    assert counts.instructions["matrix"] > 0


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two"])
def test_counts_are_printed_on_request(workers: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "conformance/test_matrix.py"]
    command += ["--platform", "gfx942", "--counts", "--case", "permute/mixtral/float32/zipf", *workers]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(conformance.__file__).parents[1])
    assert done.returncode == 0, done.stdout
    launches = re.search(r"^(\d+) launches, (\d+) wavefronts, (\d+) instructions", done.stdout, re.M)
    assert launches, done.stdout
    assert all(int(number) > 0 for number in launches.groups())
    assert "LDS bank conflicts" in done.stdout
