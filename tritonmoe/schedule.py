"""Stage 2, the schedule: slots sorted by expert, and the list of tiles to work off, made on the device."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from .dispatch import Calls, calls
from .launches import Launch
from .tiles import tiles_of

MINE = 16  # slots that a program places when one launch does everything
CHUNK = 256  # slots ranked at once, best as many as a program has threads; CHUNK comparisons a slot
BLOCKS = 128  # most programs that a large batch is split over: each reads the counts of all
CELLS = 8192  # counts a program reads at once
BUSY = tl.constexpr(2)
SKEW = tl.constexpr(4)


class Schedule(NamedTuple):
    """Which rows each tile of the expert GEMMs works on; a slot is token * top_k + position in its choice.

    sorted_slots [tokens * top_k] int32: slots by expert, in token order within one; skipped slots are left
    out, so only the first offsets[-1] entries are written. places [tokens * top_k] int32: where in
    sorted_slots each slot is; unwritten for skipped ones. offsets [experts + 1] int32: an expert's rows are
    sorted_slots[offsets[e]:offsets[e + 1]]. tile_expert and tile_row [max_tiles] int32: expert and first row
    of each tile, first those of busy experts, with more than BUSY times the mean of rows. tile_count [3]
    int32: how many tiles are written, how many of them are busy experts', and whether the busiest has more
    than SKEW times the mean, so that tiles are those of `launch.skewed`. max_tiles is an upper bound that the
    host can know.

    Of one token alone each slot is a tile: tile_expert is its topk_ids, the other tensors are None.
    """

    sorted_slots: torch.Tensor | None
    offsets: torch.Tensor | None
    tile_expert: torch.Tensor
    tile_row: torch.Tensor | None
    tile_count: torch.Tensor | None
    places: torch.Tensor | None
    tokens: int
    top_k: int
    max_tiles: int


def schedule(topk_ids: torch.Tensor, experts: int, launch: Launch, seen: Calls | None = None) -> Schedule:
    """Stable counting sort of topk_ids [tokens, top_k] int32 or int64; ids outside [0, experts) are skipped.

    Up to `launch.sort.lanes` slots (a power of two) take one launch, more take two: counts of each block of
    slots, then places. Every place is computed from counts, with no atomics, so nothing depends on the order
    in which programs run.
    """
    tokens, top_k = topk_ids.shape
    slots = tokens * top_k
    lowest = min(launch.block_m, launch.skewed.block_m) if launch.skewed else launch.block_m
    max_tiles = slots // lowest + min(experts, slots)

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.int32, device=topk_ids.device)

    made = Schedule(
        empty(slots),
        empty(experts + 1),
        empty(max_tiles),
        empty(max_tiles),
        empty(3),
        empty(slots),
        tokens,
        top_k,
        max_tiles,
    )
    if slots == 0:
        return made._replace(offsets=made.offsets.zero_(), tile_count=made.tile_count.zero_())
    seen = seen or calls(launch, topk_ids, also=experts)
    ids = (topk_ids, slots, experts, *topk_ids.stride())
    if slots <= launch.sort.lanes:
        _in_one_launch(ids, made, launch, seen)
    else:
        _in_two_launches(ids, made, launch, seen)
    return made


def plan_of(topk_ids: torch.Tensor, experts: int, launch: Launch, seen: Calls | None = None) -> Schedule:
    """`schedule`, or `one_token` where that serves: tensor descriptors read no row more than once."""
    wide = launch.gate_up.wide or launch.down.wide
    if len(topk_ids) == 1 and topk_ids.is_contiguous() and not wide:
        return one_token(topk_ids)
    return schedule(topk_ids, experts, launch, seen)


def one_token(topk_ids: torch.Tensor) -> Schedule:
    """What needs no sorting: topk_ids [1, top_k], its slots side by side. A token's experts are distinct as a
    rule, so their weights come from memory once all the same.
    """
    top_k = topk_ids.shape[1]
    return Schedule(None, None, topk_ids, None, None, None, 1, top_k, top_k)


def _in_one_launch(ids: tuple[Any, ...], made: Schedule, launch: Launch, seen: Calls) -> None:
    _, slots, experts = ids[:3]
    block = min(launch.sort.lanes, 256) if slots <= 256 else launch.sort.lanes

    def meta() -> dict[str, Any]:
        sizes = dict(BLOCK=block, MINE=MINE)
        return dict(**_meta(made, experts), **_heights(launch), **sizes, **launch.sort.options)

    seen.launch(few_kernel, (1 - (-slots // MINE), 1, 1), (*ids, *made[:6]), meta, "few")


def _in_two_launches(ids: tuple[Any, ...], made: Schedule, launch: Launch, seen: Calls) -> None:
    topk_ids, slots, experts = ids[:3]
    lanes, padded = launch.sort.lanes, _padded(experts)
    chunk = min(lanes, CHUNK)
    share = _share(slots, padded, chunk)
    blocks = -(-slots // share)
    block = min(lanes, triton.next_power_of_2(share))
    counts = torch.empty(blocks, padded, dtype=torch.int32, device=topk_ids.device)

    def count_meta() -> dict[str, Any]:
        return dict(**_meta(made, experts), BLOCK=block, **launch.sort.options)

    def place_meta() -> dict[str, Any]:
        rows = max(1, min(BLOCKS, CELLS // padded))
        sizes = dict(CHUNK=chunk, ROWS=rows)
        return dict(**_meta(made, experts), **_heights(launch), **sizes, **launch.sort.options)

    seen.launch(count_kernel, (blocks, 1, 1), (*ids, counts, share), count_meta, "count")
    seen.launch(place_kernel, (blocks, 1, 1), (*ids, counts, share, blocks, *made[:6]), place_meta, "place")


def _meta(made: Schedule, experts: int) -> dict[str, int]:
    return dict(TOP_K=made.top_k, EXPERTS_PAD=_padded(experts))


def _heights(launch: Launch) -> dict[str, int]:
    other = launch.skewed or launch
    return dict(BLOCK_M=launch.block_m, TAIL=launch.tail, SKEWED_M=other.block_m, SKEWED_TAIL=other.tail)


def _padded(experts: int) -> int:
    return max(64, triton.next_power_of_2(experts))


def _share(slots: int, experts_pad: int, chunk: int) -> int:
    """Slots of each program: whole chunks, in no more programs than it pays to read the counts of."""
    blocks = max(1, min(BLOCKS, BLOCKS * 512 // experts_pad))
    return -(-slots // blocks // chunk) * chunk


IDS = ["slots", "experts", "stride_t", "stride_k"]  # arguments that change with the batch or its caller


@triton.jit(do_not_specialize=IDS, do_not_specialize_on_alignment=["topk_ids"])
def few_kernel(
    topk_ids,
    slots,
    experts,
    stride_t,
    stride_k,
    sorted_slots,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    places,
    TOP_K: tl.constexpr,
    EXPERTS_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    SKEWED_M: tl.constexpr,
    SKEWED_TAIL: tl.constexpr,
    BLOCK: tl.constexpr,
    MINE: tl.constexpr,
):
    """The first program lists the tiles; each of the others places MINE slots."""
    slot = tl.arange(0, BLOCK)
    expert = _expert(topk_ids, slot, slots, experts, stride_t, stride_k, TOP_K, EXPERTS_PAD)
    if tl.program_id(0) == 0:
        count = tl.histogram(expert, EXPERTS_PAD, mask=expert < EXPERTS_PAD)
        # Triton 3.8 deduces for AMD that a histogram is nowhere above 0, unless it comes from floats.
        count = count.to(tl.float32).to(tl.int32)
        row_end = tl.cumsum(count, axis=0)
        tiles = (offsets, tile_expert, tile_row, tile_count)
        _list_tiles(count, row_end, experts, tiles, 0, 1, EXPERTS_PAD, BLOCK_M, TAIL, SKEWED_M, SKEWED_TAIL)
    else:
        mine = (tl.program_id(0) - 1) * MINE + tl.arange(0, MINE)
        to = _expert(topk_ids, mine, slots, experts, stride_t, stride_k, TOP_K, EXPERTS_PAD)
        before = (expert * BLOCK + slot)[:, None] < (to * BLOCK + mine)[None, :]
        place = tl.sum(before.to(tl.int32), axis=0)
        tl.store(sorted_slots + place, mine, mask=to < EXPERTS_PAD)
        tl.store(places + mine, place, mask=to < EXPERTS_PAD)


@triton.jit(do_not_specialize=[*IDS, "share"], do_not_specialize_on_alignment=["topk_ids"])
def count_kernel(
    topk_ids,
    slots,
    experts,
    stride_t,
    stride_k,
    counts,
    share,
    TOP_K: tl.constexpr,
    EXPERTS_PAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """counts [blocks, EXPERTS_PAD]: how many of a block's slots go to each expert."""
    block = tl.program_id(0)
    end = min(slots, (block + 1) * share)
    count = tl.zeros((EXPERTS_PAD,), tl.int32)
    for first in range(block * share, end, BLOCK):
        slot = first + tl.arange(0, BLOCK)
        expert = _expert(topk_ids, slot, end, experts, stride_t, stride_k, TOP_K, EXPERTS_PAD)
        count += tl.histogram(expert, EXPERTS_PAD, mask=expert < EXPERTS_PAD)
    tl.store(counts + block * EXPERTS_PAD + tl.arange(0, EXPERTS_PAD), count)


@triton.jit(do_not_specialize=[*IDS, "share", "blocks"], do_not_specialize_on_alignment=["topk_ids"])
def place_kernel(
    topk_ids,
    slots,
    experts,
    stride_t,
    stride_k,
    counts,
    share,
    blocks,
    sorted_slots,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    places,
    TOP_K: tl.constexpr,
    EXPERTS_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    SKEWED_M: tl.constexpr,
    SKEWED_TAIL: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Each program places its block of slots, and lists its part of the tiles."""
    block = tl.program_id(0)
    earlier = _sum_rows(counts, 0, block, EXPERTS_PAD, ROWS)
    count = earlier + _sum_rows(counts, block, blocks, EXPERTS_PAD, ROWS)
    row_end = tl.cumsum(count, axis=0)
    next_row = row_end - count + earlier

    lane = tl.arange(0, CHUNK)  # a slot's place in its chunk's order is how many keys are smaller
    for first in range(block * share, min(slots, (block + 1) * share), CHUNK):
        expert = _expert(topk_ids, first + lane, slots, experts, stride_t, stride_k, TOP_K, EXPERTS_PAD)
        served = expert < EXPERTS_PAD
        here = tl.histogram(expert, EXPERTS_PAD, mask=served)
        shift = next_row - (tl.cumsum(here, axis=0) - here)
        key = expert * CHUNK + lane
        # The sign of a difference: so many comparisons at once run out of registers for their masks.
        rank = -tl.sum((key[:, None] - key[None, :]) >> 31, axis=0)
        place = tl.gather(shift, tl.where(served, expert, 0), 0) + rank
        tl.store(sorted_slots + place, first + lane, mask=served)
        tl.store(places + first + lane, place, mask=served)
        next_row += here

    tiles = (offsets, tile_expert, tile_row, tile_count)
    _list_tiles(
        count, row_end, experts, tiles, block, blocks, EXPERTS_PAD, BLOCK_M, TAIL, SKEWED_M, SKEWED_TAIL
    )


@triton.jit
def _sum_rows(counts, first, end, EXPERTS_PAD: tl.constexpr, ROWS: tl.constexpr):
    """Sum of counts[first:end] over blocks; ROWS of them are in flight at once."""
    total = tl.zeros((ROWS, EXPERTS_PAD), tl.int32)
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)[:, None]
        at = counts + row * EXPERTS_PAD + tl.arange(0, EXPERTS_PAD)[None, :]
        total += tl.load(at, mask=row < end, other=0)
    return tl.sum(total, axis=0)


@triton.jit
def _expert(
    topk_ids, slot, slots, experts, stride_t, stride_k, TOP_K: tl.constexpr, EXPERTS_PAD: tl.constexpr
):
    """Experts of these slots, int32; EXPERTS_PAD for a skipped slot and past the last."""
    token = (slot // TOP_K).to(tl.int64)
    position = (slot % TOP_K).to(tl.int64)
    found = tl.load(topk_ids + token * stride_t + position * stride_k, mask=slot < slots, other=-1)
    return tl.where((found >= 0) & (found < experts), found, EXPERTS_PAD).to(tl.int32)


@triton.jit
def _list_tiles(
    count,
    row_end,
    experts,
    tiles_made,
    part,
    parts,
    EXPERTS_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    SKEWED_M: tl.constexpr,
    SKEWED_TAIL: tl.constexpr,
):
    """Tiles part, part + parts, ... of every expert; the first part also writes offsets and tile_count."""
    offsets, tile_expert, tile_row, tile_count = tiles_made
    expert = tl.arange(0, EXPERTS_PAD)
    row = row_end - count
    total = tl.sum(count, axis=0).to(tl.int64)
    skewed = tl.max(count, axis=0).to(tl.int64) * experts > total * SKEW
    block_m = tl.where(skewed, SKEWED_M, BLOCK_M)
    tiles = tiles_of(count, block_m, tl.where(skewed, SKEWED_TAIL, TAIL))
    busy = count.to(tl.int64) * experts > total * BUSY
    busy_tiles = tl.where(busy, tiles, 0)
    other_tiles = tiles - busy_tiles
    busy_total = tl.sum(busy_tiles, axis=0)
    after_busy = busy_total + tl.cumsum(other_tiles, axis=0) - other_tiles
    first_tile = tl.where(busy, tl.cumsum(busy_tiles, axis=0) - busy_tiles, after_busy)
    if part == 0:
        tl.store(offsets + expert, row, mask=expert < experts)
        tl.store(offsets + experts, tl.sum(count, axis=0))
        tl.store(tile_count, tl.sum(tiles, axis=0))
        tl.store(tile_count + 1, busy_total)
        tl.store(tile_count + 2, skewed.to(tl.int32))
    for tile in range(part, tl.max(tiles, axis=0), parts):
        tl.store(tile_expert + first_tile + tile, expert, mask=tile < tiles)
        tl.store(tile_row + first_tile + tile, row + tile * block_m, mask=tile < tiles)
