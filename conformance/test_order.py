"""The order in which programs take work. No result shows it: any order gives the same, only later."""

import dataclasses
from math import ceil

import pytest
import torch
import triton
import triton.language as tl

from conformance import reference, stages
from conformance.test_tiles import launch_with
from tritonmoe.tiles import items_of, locate_tile


@triton.jit
def items_kernel(items, work, tile_count, n_blocks, MIXED: tl.constexpr, PERSISTENT: tl.constexpr):
    program, programs = tl.program_id(0), tl.num_programs(0)
    first, end, step = items_of(program, programs, work, tile_count, n_blocks, MIXED, PERSISTENT)
    tl.store(items + 3 * program, first)
    tl.store(items + 3 * program + 1, end)
    tl.store(items + 3 * program + 2, step)


def items_taken(
    programs: int, busy: int, others: int, n_blocks: int, mixed: int, persistent: bool, device: torch.device
) -> list[range]:
    """The items of each program."""
    items = torch.full((programs, 3), -1, dtype=torch.int32, device=device)
    counts = torch.tensor([busy + others, busy, 0], dtype=torch.int32, device=device)
    items_kernel[(programs,)](items, (busy + others) * n_blocks, counts, n_blocks, mixed, persistent)
    return [range(*each) for each in items.tolist()]


SHARES = [  # programs, busy experts' tiles, others', percent of the time, programs on busy experts
    (8, 5, 5, 100, 4),
    (8, 5, 5, 150, 4),
    (8, 5, 5, 167, 5),
    (8, 5, 15, 300, 4),
    (8, 1, 30, 100, 1),
    (8, 30, 1, 100, 7),
    (2, 9, 1, 150, 1),
    (132, 120, 210, 150, 60),
]


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize(("programs", "busy", "others", "mixed", "share"), SHARES)
def test_busy_experts_have_their_share_of_the_programs(
    programs: int, busy: int, others: int, mixed: int, share: int, n_blocks: int, device: torch.device
) -> None:
    """By the time that their work takes; never none, never all. They lie evenly among the others."""
    taken = items_taken(programs, busy, others, n_blocks, mixed, True, device)
    assert sorted(item for each in taken for item in each) == list(range((busy + others) * n_blocks))
    on_busy = [each.stop == busy * n_blocks for each in taken]
    for kind, number, first in ((True, share, 0), (False, programs - share, busy * n_blocks)):
        mine = [each for each, busy_too in zip(taken, on_busy, strict=True) if busy_too == kind]
        assert [(each.start, each.step) for each in mine] == [(first + at, number) for at in range(number)]
    assert [sum(on_busy[: at + 1]) for at in range(programs)] == [
        (at + 1) * share // programs for at in range(programs)
    ]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize(
    ("programs", "busy", "others", "mixed"), [(4, 0, 7, 150), (4, 7, 0, 150), (1, 2, 5, 150), (4, 3, 4, 0)]
)
def test_one_kind_of_work_is_taken_in_its_order(
    programs: int, busy: int, others: int, mixed: int, persistent: bool, device: torch.device
) -> None:
    """And so are both by a single program, or where a launch does not tell them apart."""
    taken = items_taken(programs, busy, others, 2, mixed, persistent, device)
    assert taken == [range(program, 2 * (busy + others), programs) for program in range(programs)]


@pytest.mark.parametrize(("busy", "others"), [(2, 2), (1, 5), (5, 2), (2**17, 2**17)])
def test_programs_of_one_item_have_the_two_kinds_evenly(busy: int, others: int, device: torch.device) -> None:
    """Each item once, and as many busy experts' among the first ones as there are in proportion."""
    work = busy + others
    taken = [each.start for each in items_taken(work, busy, others, 1, 150, False, device)]
    assert sorted(taken) == list(range(work))
    on_busy = torch.tensor([item < busy for item in taken])
    assert torch.equal(on_busy.cumsum(0), torch.arange(1, work + 1) * busy // work)
    first = [item for item in taken if item < busy]
    assert first == sorted(first)


@triton.jit
def places_kernel(
    places,
    offsets,
    tile_expert,
    tile_row,
    rows,
    experts,
    columns,
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    item = tl.program_id(0)
    plan = (offsets, tile_expert, tile_row, rows, experts)
    expert, row, end, column = locate_tile(item, plan, columns, DENSE, EACH, BLOCK_M, TAIL, BLOCK_N, GROUP_M)
    tl.store(places + 4 * item, expert)
    tl.store(places + 4 * item + 1, row)
    tl.store(places + 4 * item + 2, end)
    tl.store(places + 4 * item + 3, column)


BLOCK_M, BLOCK_N, COLUMNS = 16, 32, 80
ROWS = (1, 0, 16, 40, 120, 33)  # of experts: up to eight tiles


@pytest.mark.parametrize("dense", [False, True], ids=["experts", "dense"])
@pytest.mark.parametrize("group_m", [1, 2, 3, 8])
@pytest.mark.parametrize("tail", [0, 8])
def test_tiles_of_an_expert_share_its_columns_in_groups_of_nearly_one_size(
    tail: int, group_m: int, dense: bool, device: torch.device
) -> None:
    """Up to GROUP_M of them take a block of columns before the next one; an expert's work is all together."""
    launch = dataclasses.replace(launch_with("plain", tail, torch.bfloat16), block_m=BLOCK_M)
    ids = torch.cat([torch.full((number, 1), expert) for expert, number in enumerate(ROWS)])
    if dense:
        plan, tail = reference.plan(torch.zeros(120, 1), 1, reference.Heights(BLOCK_M, 0)), 0
    else:
        plan = reference.plan(ids, len(ROWS), stages.heights_of(launch))
    order = work_in_order(plan, group_m)
    given = (each.int().to(device) for each in (plan.offsets, plan.tile_expert, plan.tile_row))
    places = torch.full((len(order), 4), -1, dtype=torch.int32, device=device)
    parameters = (dense, False, BLOCK_M, tail, BLOCK_N, group_m)
    places_kernel[(len(order),)](places, *given, int(plan.offsets[-1]), 6, COLUMNS, *parameters)
    assert [tuple(each) for each in places.tolist()] == order


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_of_one_token_each_slot_is_a_tile_and_a_skipped_one_has_no_rows(
    dtype: torch.dtype, device: torch.device
) -> None:
    ids = torch.tensor([5, -1, 0, 6, 3], dtype=dtype, device=device)
    columns = ceil(COLUMNS / BLOCK_N)
    places = torch.full((len(ids) * columns, 4), -1, dtype=torch.int32, device=device)
    given = (None, ids, None, len(ids), 6, COLUMNS, True, True)
    places_kernel[(len(places),)](places, *given, BLOCK_M, 0, BLOCK_N, 8)
    assert [tuple(each) for each in places.tolist()] == [
        (expert, slot, slot + (0 <= expert < 6), column)
        for slot, expert in enumerate(ids.tolist())
        for column in range(columns)
    ]


def work_in_order(plan: reference.Plan, group_m: int) -> list[tuple[int, int, int, int]]:
    """(expert, first row, end of the expert's rows, column block) of every item."""
    offsets, rows_of = plan.offsets.tolist(), {}
    for expert, row in zip(plan.tile_expert.tolist(), plan.tile_row.tolist(), strict=True):
        rows_of.setdefault(expert, []).append(row)
    made = []
    for expert, rows in rows_of.items():
        size = ceil(len(rows) / ceil(len(rows) / group_m))
        for first in range(0, len(rows), size):
            group = rows[first : first + size]
            made += [
                (expert, row, offsets[expert + 1], column)
                for column in range(ceil(COLUMNS / BLOCK_N))
                for row in group
            ]
    return made
