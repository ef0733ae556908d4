"""The schedule at sizes and settings that the matrix does not draw: many slots, and both ways to make it."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from conformance import reference, stages
from tritonmoe import schedule
from tritonmoe.launches import family, shipped

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
