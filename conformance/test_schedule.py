"""The schedule at sizes and settings that the matrix does not draw: many slots, and both ways to make it."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
import triton
import triton.language as tl

from conformance import reference, stages
from tritonmoe import schedule
from tritonmoe.launches import family, shipped
from tritonmoe.schedule import _list_tiles

Ids = Callable[[int, int, int, torch.Generator], torch.Tensor]


def uniform(tokens: int, top_k: int, experts: int, draw: torch.Generator) -> torch.Tensor:
    return torch.rand(tokens, experts, generator=draw).topk(min(top_k, experts), dim=1).indices


def skewed(tokens: int, top_k: int, experts: int, draw: torch.Generator) -> torch.Tensor:
    odds = 1 / torch.arange(1, experts + 1, dtype=torch.float64) ** 2
    return torch.multinomial(odds.expand(tokens, -1), top_k, generator=draw)


def one_expert(tokens: int, top_k: int, experts: int, draw: torch.Generator) -> torch.Tensor:
    return torch.full((tokens, top_k), experts - 1)


def mostly_skipped(tokens: int, top_k: int, experts: int, draw: torch.Generator) -> torch.Tensor:
    return torch.randint(-experts, 2 * experts, (tokens, top_k), generator=draw)


def all_skipped(tokens: int, top_k: int, experts: int, draw: torch.Generator) -> torch.Tensor:
    return torch.full((tokens, top_k), -1)


BATCHES = [  # tokens, top_k, experts, ids, most slots of one launch, rows that ride along, height if skewed
    (1, 8, 256, uniform, 64, 0, 0),
    (8, 8, 256, uniform, 64, 16, 0),
    (9, 8, 256, uniform, 64, 0, 64),
    (129, 8, 256, skewed, 64, 32, 16),
    (700, 6, 60, skewed, 1024, 16, 0),
    (2048, 2, 8, uniform, 1024, 0, 16),
    (600, 4, 1000, uniform, 1024, 32, 0),
    (1500, 1, 1, one_expert, 1024, 16, 64),
    (400, 8, 33, one_expert, 256, 32, 16),
    (700, 3, 17, mostly_skipped, 512, 0, 32),
    (700, 3, 17, all_skipped, 512, 16, 16),
    (301, 1, 4, one_expert, 1024, 0, 0),
    (4200, 2, 8, uniform, 64, 0, 16),
]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize(("tokens", "top_k", "experts", "kind", "lanes", "tail", "other"), BATCHES)
def test_the_schedule_is_the_stable_sort(
    tokens: int,
    top_k: int,
    experts: int,
    kind: Ids,
    lanes: int,
    tail: int,
    other: int,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    ids = kind(tokens, top_k, experts, torch.Generator().manual_seed(tokens)).to(dtype)
    launch = shipped(torch.bfloat16, family())[-1][0]
    launch = dataclasses.replace(launch, sort=dataclasses.replace(launch.sort, lanes=lanes), tail=tail)
    skewed = (
        dataclasses.replace(launch, block_m=other, tail=16 if tail != 16 else 0, skewed=None)
        if other
        else None
    )
    launch = dataclasses.replace(launch, skewed=skewed)
    made = schedule.schedule(ids.to(device), experts, launch)
    plan = reference.plan(ids, experts, stages.heights_of(launch))
    served, tiles = len(plan.sorted_slots), len(plan.tile_expert)
    is_skewed = reference.is_skewed(plan.offsets.diff().tolist())
    assert made.tile_count.tolist() == [tiles, reference.busy_tiles(plan), is_skewed]
    assert torch.equal(made.offsets.cpu().long(), plan.offsets.long())
    assert torch.equal(made.sorted_slots[:served].cpu().long(), plan.sorted_slots.long())
    assert torch.equal(made.tile_expert[:tiles].cpu().long(), plan.tile_expert.long())
    assert torch.equal(made.tile_row[:tiles].cpu().long(), plan.tile_row.long())
    assert torch.equal(made.places.cpu()[plan.sorted_slots.sort().values].long(), plan.places)


def test_the_same_choices_among_more_experts_are_scheduled_anew(device: torch.device) -> None:
    """What was compiled for one number of experts does not serve another."""
    launch = dataclasses.replace(shipped(torch.bfloat16, family())[0][0], skewed=None)
    ids = torch.tensor([[3, 0], [200, 5], [3, 150]])
    for experts in (8, 250, 8):
        made = schedule.schedule(ids.to(device), experts, launch)
        plan = reference.plan(ids, experts, stages.heights_of(launch))
        served = len(plan.sorted_slots)
        assert torch.equal(made.offsets.cpu().long(), plan.offsets.long())
        assert torch.equal(made.sorted_slots[:served].cpu().long(), plan.sorted_slots.long())


@triton.jit
def tiles_kernel(
    counts,
    experts,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    parts,
    EXPERTS_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
    SKEWED_M: tl.constexpr,
):
    """Writes the first of so many parts of the tiles that it counts."""
    count = tl.load(counts + tl.arange(0, EXPERTS_PAD))
    made = (offsets, tile_expert, tile_row, tile_count)
    end = tl.cumsum(count, axis=0)
    _list_tiles(count, end, experts, made, 0, parts, EXPERTS_PAD, BLOCK_M, 0, SKEWED_M, 0)


COUNTED = {  # rows of each expert, how many have more than twice the mean, whether one has over four times
    "all alike": ([2] * 8, 0, 0),
    "exactly twice the mean": ([2, 1, 1, 0], 0, 0),
    "more than twice": ([3, 1, 0, 0], 1, 0),
    "exactly four times the mean": ([8, 8, 0, 0, 0, 0, 0, 0], 2, 0),
    "more than four times": ([9, 7, 0, 0, 0, 0, 0, 0], 2, 1),
    "rows times experts beyond 2**31": ([2**23] + [2**21] * 511, 1, 0),
    "skewed beyond 2**31": ([2**24] + [2**20] * 511, 1, 1),
}


@pytest.mark.parametrize("name", COUNTED)
def test_experts_are_busy_and_schedules_skewed_by_their_rows(name: str, device: torch.device) -> None:
    rows, busy, skewed = COUNTED[name]
    padded = schedule._padded(len(rows))
    counts = torch.tensor(rows + [0] * (padded - len(rows)), dtype=torch.int32)
    tiles = [-(-each // (32 if skewed else 64)) for each in rows]
    sizes = len(rows) + 1, sum(tiles), sum(tiles), 3
    made = [torch.zeros(size, dtype=torch.int32, device=device) for size in sizes]
    tiles_kernel[(1,)](counts.to(device), len(rows), *made, max(tiles), padded, 64, 32)
    assert made[3].tolist() == [sum(tiles), sum(tiles[:busy]), skewed]
    assert made[0].tolist() == [0, *torch.tensor(rows).cumsum(0).tolist()]
