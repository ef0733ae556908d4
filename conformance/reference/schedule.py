"""What the schedule must be: a stable sort of slots by expert, and the tiles that cover it."""

from typing import NamedTuple

import torch


class Plan(NamedTuple):
    """int64 tensors: sorted_slots (served slots only), offsets [experts + 1], tile_expert and tile_row
    [tiles].
    """

    sorted_slots: torch.Tensor
    offsets: torch.Tensor
    tile_expert: torch.Tensor
    tile_row: torch.Tensor


def plan(topk_ids: torch.Tensor, experts: int, block_m: int) -> Plan:
    """The schedule of topk_ids [tokens, top_k]; ids outside [0, experts) are skipped."""
    flat = topk_ids.flatten().long()
    slots = [[] for _ in range(experts)]
    for slot, expert in enumerate(flat.tolist()):
        if 0 <= expert < experts:
            slots[expert].append(slot)
    offsets, tiles = [0], []
    for expert, mine in enumerate(slots):
        tiles += [(expert, offsets[-1] + first) for first in range(0, len(mine), block_m)]
        offsets.append(offsets[-1] + len(mine))
    return Plan(
        torch.tensor([slot for mine in slots for slot in mine], dtype=torch.int64),
        torch.tensor(offsets),
        torch.tensor([expert for expert, _ in tiles], dtype=torch.int64),
        torch.tensor([row for _, row in tiles], dtype=torch.int64),
    )
