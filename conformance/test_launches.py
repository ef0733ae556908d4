"""Every launch configuration that ships compiles for its GPUs, fits their memory, and spills nothing."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tritonmoe.launches import Launch, families, family_of, select, shipped

KIB = 1024
# family: backend, architecture, bytes of shared memory a program may have there
TARGETS = [
    ("hopper", "cuda", "90", 227 * KIB),
    ("blackwell", "cuda", "100", 227 * KIB),
    ("ampere", "cuda", "80", 99 * KIB),  # what sm86 and sm89 have; sm80 itself has 163
    ("cdna3", "hip", "gfx942", 64 * KIB),
    ("cdna4", "hip", "gfx950", 160 * KIB),
    ("default", "cuda", "80", 64 * KIB),
    ("default", "hip", "gfx942", 64 * KIB),
]


@pytest.mark.parametrize(("family", "backend", "arch", "limit"), TARGETS, ids=lambda value: str(value))
def test_every_shipped_configuration_compiles_and_fits(
    family: str, backend: str, arch: str, limit: int, tmp_path
) -> None:
    command = [sys.executable, "-m", "conformance.compile_only", backend, arch, "--family", family]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["launch"] for line in compiled} == {
        name for dtype in (torch.float32, torch.bfloat16) for name in _different(dtype, family)
    }
    assert [line for line in compiled if line["shared"] > limit] == []
    assert [line for line in compiled if line.get("vgpr_spill_count") or line.get("sgpr_spill_count")] == []


def _different(dtype: torch.dtype, family: str) -> list[str]:
    """Names of the configurations that are not an earlier one again, for which nothing is compiled."""
    seen: list[Launch] = []
    for launch, _ in shipped(dtype, family):
        skewed = launch.skewed and replace(launch.skewed, name="")
        if all(replace(launch, name=each.name, skewed=skewed) != each for each in seen):
            seen.append(replace(launch, skewed=skewed))
    return [each.name for each in seen]


def test_every_family_has_a_target_here() -> None:
    assert {family for family, *_ in TARGETS} == set(families())


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_table_rises_to_no_limit(family: str, dtype: torch.dtype) -> None:
    most = [rows for _, rows in shipped(dtype, family)]
    assert most == sorted(most)
    assert most[-1] == float("inf")


@pytest.mark.parametrize(
    ("backend", "arch", "expected"),
    [
        ("cuda", 90, "hopper"),
        ("cuda", 100, "blackwell"),
        ("cuda", 103, "blackwell"),
        ("cuda", 80, "ampere"),
        ("cuda", 89, "ampere"),
        ("hip", "gfx942", "cdna3"),
        ("hip", "gfx942:sramecc+:xnack-", "cdna3"),
        ("hip", "gfx950", "cdna4"),
        ("cuda", 75, "default"),
        ("hip", "gfx1201", "default"),
        ("xpu", "anything", "default"),
    ],
)
def test_an_architecture_finds_its_family(backend: str, arch: int | str, expected: str) -> None:
    assert family_of(backend, arch) == expected


def test_few_rows_an_expert_choose_low_tiles_and_many_high_ones() -> None:
    """Between them a lower one may come again, where a high tile would be half empty."""
    heights = [select(torch.bfloat16, rows).block_m for rows in (0.1, 1, 16, 17, 64, 1000, 1e6)]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]
