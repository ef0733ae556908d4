"""Stage 2, the schedule: slots sorted by expert, and the list of tiles to work off, made on the device."""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from .launches import Launch


class Schedule(NamedTuple):
    """Which rows each tile of the expert GEMMs works on; a slot is token * top_k + position in its choice.

    sorted_slots [tokens * top_k] int32: slots by expert, in token order within one; skipped slots are left
    out, so only the first offsets[-1] entries are written. offsets [experts + 1] int32: an expert's rows are
    sorted_slots[offsets[e]:offsets[e + 1]]. tile_expert and tile_row [max_tiles] int32: expert and first row
    of each tile, of which tile_count [1] int32 are written. max_tiles is an upper bound that the host can
    know.
    """

    sorted_slots: torch.Tensor
    offsets: torch.Tensor
    tile_expert: torch.Tensor
    tile_row: torch.Tensor
    tile_count: torch.Tensor
    tokens: int
    top_k: int
    block_m: int
    max_tiles: int


def schedule(topk_ids: torch.Tensor, experts: int, launch: Launch) -> Schedule:
    """Stable counting sort of topk_ids [tokens, top_k] int32 or int64; ids outside [0, experts) are skipped.

    Every program counts for one expert, so nothing depends on the order in which programs run: no atomics.
    """
    tokens, top_k = topk_ids.shape
    slots = tokens * top_k
    max_tiles = slots // launch.block_m + min(experts, slots)

    def empty(size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.int32, device=topk_ids.device)

    made = Schedule(
        empty(slots),
        empty(experts + 1),
        empty(max_tiles),
        empty(max_tiles),
        empty(1),
        tokens,
        top_k,
        launch.block_m,
        max_tiles,
    )
    if slots == 0:
        return made._replace(offsets=made.offsets.zero_(), tile_count=made.tile_count.zero_())
    counts = empty(experts)
    strides = topk_ids.stride()
    count_kernel[(experts,)](
        topk_ids, counts, slots, *strides, TOP_K=top_k, BLOCK=launch.sort.lanes, **launch.sort.options
    )
    place_kernel[(experts,)](
        topk_ids,
        counts,
        made.sorted_slots,
        made.offsets,
        made.tile_expert,
        made.tile_row,
        made.tile_count,
        slots,
        experts,
        *strides,
        TOP_K=top_k,
        BLOCK_M=launch.block_m,
        EXPERTS_PAD=triton.next_power_of_2(experts),
        BLOCK=launch.sort.lanes,
        **launch.sort.options,
    )
    return made


@triton.jit(do_not_specialize=["slots", "stride_t", "stride_k"], do_not_specialize_on_alignment=["topk_ids"])
def count_kernel(topk_ids, counts, slots, stride_t, stride_k, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    expert = tl.program_id(0)
    found = tl.zeros((BLOCK,), tl.int32)
    for first in range(0, slots, BLOCK):
        slot = first + tl.arange(0, BLOCK)
        found += (_ids(topk_ids, slot, slots, stride_t, stride_k, TOP_K) == expert).to(tl.int32)
    tl.store(counts + expert, tl.sum(found, axis=0))


@triton.jit(
    do_not_specialize=["slots", "experts", "stride_t", "stride_k"],
    do_not_specialize_on_alignment=["topk_ids"],
)
def place_kernel(
    topk_ids,
    counts,
    sorted_slots,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    slots,
    experts,
    stride_t,
    stride_k,
    TOP_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    EXPERTS_PAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    expert = tl.program_id(0)
    lane = tl.arange(0, EXPERTS_PAD)
    count = tl.load(counts + lane, mask=lane < experts, other=0)
    tiles = (count + BLOCK_M - 1) // BLOCK_M
    row = tl.sum(tl.where(lane < expert, count, 0), axis=0)
    tile = tl.sum(tl.where(lane < expert, tiles, 0), axis=0)
    rows = tl.sum(tl.where(lane == expert, count, 0), axis=0)
    tl.store(offsets + expert, row)
    if expert == experts - 1:
        tl.store(offsets + experts, row + rows)
        tl.store(tile_count, tl.sum(tiles, axis=0))

    for first in range(0, rows, BLOCK * BLOCK_M):
        start = first + tl.arange(0, BLOCK) * BLOCK_M
        item = tile + first // BLOCK_M + tl.arange(0, BLOCK)
        tl.store(tile_expert + item, tl.zeros((BLOCK,), tl.int32) + expert, mask=start < rows)
        tl.store(tile_row + item, row + start, mask=start < rows)

    if rows > 0:
        for first in range(0, slots, BLOCK):
            slot = first + tl.arange(0, BLOCK)
            mine = _ids(topk_ids, slot, slots, stride_t, stride_k, TOP_K) == expert
            rank = tl.cumsum(mine.to(tl.int32), axis=0)
            tl.store(sorted_slots + row + rank - 1, slot, mask=mine)
            row += tl.sum(mine.to(tl.int32), axis=0)


@triton.jit
def _ids(topk_ids, slot, slots, stride_t, stride_k, TOP_K: tl.constexpr):
    """Ids of these slots, -1 past the last."""
    token = (slot // TOP_K).to(tl.int64)
    position = (slot % TOP_K).to(tl.int64)
    return tl.load(topk_ids + token * stride_t + position * stride_k, mask=slot < slots, other=-1)
