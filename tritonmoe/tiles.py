"""Which tile of which expert a program of the expert GEMMs works on."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .launches import Launch, Tile

FAR = tl.constexpr(1 << 30)  # more than the rows of any buffer
AROUND = 1 << 34  # elements; FAR times as many come round in 64 bits, whatever an element's size

# Arguments that change with the number of tokens: specializing on them would compile anew as batches change.
PER_BATCH = ["rows", "max_tiles"]


def launches_of(launch: Launch, plan: Any) -> list[tuple[Launch, int]]:
    """What is launched, and for which kind of schedule: 0 for even ones, 1 for skewed ones, 2 for any. Which
    kind there is only the device knows, so of two launches one ends at once.
    """
    if in_order(plan) or launch.skewed is None:
        return [(launch, 2)]
    return [(launch, 0), (launch.skewed, 1)]


def in_order(plan: Any) -> bool:
    """Whether rows are as they come, without a schedule: one dense expert's, or a single token's slots."""
    return plan is None or plan.sorted_slots is None


def programs(tile: Tile, work: int) -> tuple[int, int, int]:
    """The grid: a program for each item of work, or `tile.persistent` a multiprocessor that share it."""
    return (min(work, tile.persistent * multiprocessors()) if tile.persistent else work, 1, 1)


def tile_meta(
    tile: Tile, block_m: int, tail: int, depth: int, when: int, wide: bool, plan: Any
) -> dict[str, Any]:
    """Meta-parameters and launch options that both products have; depth is the size that they sum over."""
    return dict(
        DENSE=in_order(plan),
        EACH=in_order(plan) and plan is not None,
        WHEN=when,
        BLOCK_M=block_m,
        BLOCK_N=tile.block_n,
        BLOCK_K=tile.block_k,
        GROUP_M=tile.group_m,
        SHORT=tile.short,
        TAIL=tail,
        SWAPPED=tile.swapped and not wide,
        WIDE=wide,
        PERSISTENT=bool(tile.persistent),
        MIXED=0 if in_order(plan) else tile.mixed,
        FLATTEN=flattened(tile, tail),
        EVEN_K=depth % tile.block_k == 0,
        **tile.options,
    )


def flattened(tile: Tile, tail: int) -> bool:
    """Whether a program's tiles follow each other in one loop, with no branch between heights: loads of the
    next one, and stores by descriptor of the last one, go on during products.
    """
    return bool(tile.persistent) and not tile.short and not tail


def describable(*tensors: torch.Tensor) -> bool:
    """Whether tensor descriptors can read them: rows side by side, everything at multiples of 16 bytes, and
    no stride as large as `row_tiles` needs for itself.
    """
    return all(
        each.stride(-1) == 1
        and each.data_ptr() % 16 == 0
        and all(stride < AROUND and stride * each.element_size() % 16 == 0 for stride in each.stride()[:-1])
        for each in tensors
    )


def row_tiles(rows: torch.Tensor | None, heights: Sequence[int], width: int) -> list[TensorDescriptor | None]:
    """For `load_rows` and `store_rows`: descriptors of tiles of rows [number, depth], one for each height;
    None without rows, and for no height.

    Of a tile's rows only those of its expert are read; zeros stand for the others, which cost the matrix
    units less power than numbers would. That a descriptor can end where the expert's rows end, which the
    device alone knows, is Triton's own idea (triton.tools.ragged_tma): at [FAR, end, FAR - count + i] is row
    end - count + i, for FAR * AROUND comes round, and from i = count on it is out of bounds.
    """
    if rows is None:
        return [None] * len(heights)
    far, stride = FAR.value, rows.stride(0)
    shape, strides = [far + 1, far, far, rows.shape[1]], [AROUND - stride, stride, stride, 1]
    return [
        TensorDescriptor(rows, shape, strides, [1, 1, height, width]) if height else None
        for height in heights
    ]


@cache
def multiprocessors() -> int:
    """Of the active GPU; a few where there is none."""
    try:
        active = triton.runtime.driver.active
        return active.utils.get_device_properties(active.get_current_device())["multiprocessor_count"]
    except RuntimeError:  # Triton's interpreter on a machine without a GPU
        return 4


@triton.jit
def tile_total(tile_count, max_tiles, DENSE: tl.constexpr, WHEN: tl.constexpr):
    """How many tiles there are: a device's number, or the host's for rows in order. None for a launch that
    is meant for the other kind of schedule: WHEN is 0 for even ones, 1 for skewed ones, 2 for both.
    """
    if DENSE:
        return max_tiles
    elif WHEN == 2:
        return tl.load(tile_count)
    else:
        return tl.where(tl.load(tile_count + 2) == WHEN, tl.load(tile_count), 0)


@triton.jit
def locate_tile(
    item,
    plan,
    columns,
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """(expert, first row, end of the expert's rows, column block) of an item of work.

    An expert's items are neighbours, so that its weights come from memory once: up to GROUP_M of its tiles,
    in groups of nearly one size, share a column block before the next one starts.
    """
    offsets, tile_expert, tile_row, rows, experts = plan
    n_blocks = tl.cdiv(columns, BLOCK_N)
    if EACH:  # a row, a tile: of no rows where it has no expert
        first = item // n_blocks
        expert = tl.load(tile_expert + first)
        end = first + ((expert >= 0) & (expert < experts)).to(tl.int32)
        return expert.to(tl.int32), first, end, item % n_blocks
    else:
        if DENSE:
            expert = item * 0
            first = item * 0
            end = first + rows
            local = item
        else:
            some_tile = item // n_blocks  # of the same expert
            expert = tl.load(tile_expert + some_tile)
            first = tl.load(offsets + expert)
            end = tl.load(offsets + expert + 1)
            local = item - (some_tile - (tl.load(tile_row + some_tile) - first) // BLOCK_M) * n_blocks
        tiles = tiles_of(end - first, BLOCK_M, TAIL)
        height = tl.cdiv(tiles, tl.cdiv(tiles, GROUP_M))
        group_first = local // (height * n_blocks) * height
        group_tiles = min(tiles - group_first, height)
        in_group = local % (height * n_blocks)
        row = first + (group_first + in_group % group_tiles) * BLOCK_M
        return expert, row, end, in_group // group_tiles


@triton.jit
def tiles_of(rows, block_m, tail):
    """How many tiles an expert's rows take; up to `tail` past the last whole tile ride along with it."""
    return tl.where(rows > 0, tl.maximum((rows - tail + block_m - 1) // block_m, 1), 0)


@triton.jit
def items_of(program, programs, work, tile_count, n_blocks, MIXED: tl.constexpr, PERSISTENT: tl.constexpr):
    """(first, end, step) of the items of work that a program takes.

    MIXED: some programs take busy experts' items, which keep the matrix units busy, and the others those that
    wait for their weights, for as long if one of the former takes MIXED percent of the time of the latter.
    Programs of one item each are the two kinds in proportion.
    """
    if MIXED == 0:
        return program, work, programs
    else:
        busy = (tl.load(tile_count + 1) * n_blocks).to(tl.int64)
        if PERSISTENT:
            weight = busy * MIXED
            share = programs * weight // tl.maximum(weight + (work - busy) * 100, 1)
            share = tl.maximum(share, 1)
        else:
            share = busy
        # Neighbours share a path to the memory: the two kinds lie evenly among each other.
        before = program * share // programs
        on_busy = (program + 1) * share // programs > before
        first = tl.where(on_busy, before, busy + program - before).to(tl.int32)
        end = tl.where(on_busy, busy, work).to(tl.int32)
        step = tl.where(on_busy, share, programs - share).to(tl.int32)
        both = (busy > 0) & (busy < work) & (programs > 1)
        return tl.where(both, first, program), tl.where(both, end, work), tl.where(both, step, programs)


@triton.jit
def load_rows(tiles, first_row, last_row, k0, HEIGHT: tl.constexpr, BLOCK_K: tl.constexpr):
    """[HEIGHT, BLOCK_K] of a schedule's rows by one of `row_tiles`, zeros from last_row on."""
    return tiles.load([FAR, last_row, FAR - (last_row - first_row), k0]).reshape(HEIGHT, BLOCK_K)


@triton.jit
def store(
    made,
    result,
    place,
    columns,
    HEIGHT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SWAPPED: tl.constexpr,
    PARTS: tl.constexpr,
):
    """A tile of a product, rounded once: result [HEIGHT, BLOCK_N], turned if SWAPPED, at place's row and
    column block.

    made: the product's rows, and one of their `row_tiles` for BLOCK_N // PARTS columns, never with SWAPPED,
    or None to write by pointers. Parts, one or two, go in turn through the same shared memory.
    """
    rows, tiles = made
    _, first_row, last_row, n_block = place
    result = result.to(rows.dtype.element_ty)
    if tiles is None:
        row = first_row + tl.arange(0, HEIGHT)
        column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
        if SWAPPED:
            result = tl.trans(result)
        at = rows + row.to(tl.int64)[:, None] * columns + column[None, :]
        tl.store(at, result, mask=(row < last_row)[:, None] & (column < columns)[None, :])
    elif PARTS == 1:
        store_rows(tiles, result, first_row, last_row, n_block * BLOCK_N, HEIGHT, BLOCK_N)
    else:
        HALF: tl.constexpr = BLOCK_N // 2
        left, right = tl.split(tl.permute(tl.reshape(result, (HEIGHT, 2, HALF)), (0, 2, 1)))
        store_rows(tiles, left, first_row, last_row, n_block * BLOCK_N, HEIGHT, HALF)
        store_rows(tiles, right, first_row, last_row, n_block * BLOCK_N + HALF, HEIGHT, HALF)


@triton.jit
def store_rows(tiles, rows, first_row, last_row, column, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """rows [HEIGHT, WIDTH] to where `load_rows` reads such, in their dtype; none from last_row on."""
    tiles.store([FAR, last_row, FAR - (last_row - first_row), column], rows.reshape(1, 1, HEIGHT, WIDTH))


@triton.jit
def rows_from(
    first_row, last_row, sorted_slots, TOP_K: tl.constexpr, IN_ORDER: tl.constexpr, HEIGHT: tl.constexpr
):
    """Where HEIGHT rows of a schedule are read, int64: tokens, or where they lie IN_ORDER the rows
    themselves.

    Past the end the last one is read again: no masks in the products' loops, and nothing of it is stored.
    """
    row = tl.minimum(first_row + tl.arange(0, HEIGHT), last_row - 1)
    if not IN_ORDER:
        row = tl.load(sorted_slots + row) // TOP_K
    return row.to(tl.int64)
