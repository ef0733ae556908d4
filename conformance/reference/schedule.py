"""What the schedule must be: a stable sort of slots by expert, and the tiles that cover it."""

from typing import NamedTuple

import torch


class Plan(NamedTuple):
    """int64 tensors: sorted_slots (served slots only), offsets [experts + 1], tile_expert and tile_row
    [tiles]; places, where in sorted_slots each served slot is, in order of slots.
    """

    sorted_slots: torch.Tensor
    offsets: torch.Tensor
    tile_expert: torch.Tensor
    tile_row: torch.Tensor
    places: torch.Tensor


class Heights(NamedTuple):
    """Rows of a tile, and how many last rows of an expert need no tile of their own; the same for skewed
    routing, where the busiest expert has more than four times the mean of served rows, if that differs.
    """

    block_m: int
    tail: int = 0
    skewed_block_m: int | None = None
    skewed_tail: int = 0


def plan(topk_ids: torch.Tensor, experts: int, heights: Heights) -> Plan:
    """The schedule of topk_ids [tokens, top_k]; ids outside [0, experts) are skipped.

    An expert's last rows get no tile of their own if they are at most the tail and not its only ones. Tiles
    of busy experts, with more than twice the mean of served rows, come first.
    """
    flat = topk_ids.flatten().long()
    slots = [[] for _ in range(experts)]
    for slot, expert in enumerate(flat.tolist()):
        if 0 <= expert < experts:
            slots[expert].append(slot)
    offsets, tiles = [0], {True: [], False: []}
    served = sum(map(len, slots))
    block_m, tail = heights[:2]
    if heights.skewed_block_m and is_skewed([len(mine) for mine in slots]):
        block_m, tail = heights[2:]
    for expert, mine in enumerate(slots):
        firsts = [first for first in range(0, len(mine), block_m) if first == 0 or len(mine) - first > tail]
        tiles[len(mine) * experts > 2 * served] += [(expert, offsets[-1] + first) for first in firsts]
        offsets.append(offsets[-1] + len(mine))
    listed = tiles[True] + tiles[False]
    sorted_slots = torch.tensor([slot for mine in slots for slot in mine], dtype=torch.int64)
    return Plan(
        sorted_slots,
        torch.tensor(offsets),
        torch.tensor([expert for expert, _ in listed], dtype=torch.int64),
        torch.tensor([row for _, row in listed], dtype=torch.int64),
        sorted_slots.argsort(),
    )


def is_skewed(rows: list[int]) -> bool:
    """Whether the busiest expert has more than four times the mean."""
    return max(rows) * len(rows) > 4 * sum(rows)


def busy_tiles(plan: Plan) -> int:
    """How many of the tiles are busy experts', which come first."""
    rows = plan.offsets.diff()
    return int((rows * len(rows) > 2 * rows.sum())[plan.tile_expert].sum())
