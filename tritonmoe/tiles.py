"""Which tile of which expert a program of the expert GEMMs works on."""

from functools import cache

import torch
import triton
import triton.language as tl

from .launches import Tile

# Arguments that change with the number of tokens: specializing on them would compile anew as batches change.
PER_BATCH = ["rows", "max_tiles"]


def programs(tile: Tile, work: int) -> tuple[int]:
    """The grid: a program for each item of work, or as many as the GPU runs at once, which share it."""
    return (min(work, multiprocessors()) if tile.persistent else work,)


def describable(*tensors: torch.Tensor) -> bool:
    """Whether tensor descriptors can read them: rows side by side, everything at multiples of 16 bytes."""
    return all(
        each.stride(-1) == 1
        and each.data_ptr() % 16 == 0
        and all(stride * each.element_size() % 16 == 0 for stride in each.stride()[:-1])
        for each in tensors
    )


@cache
def multiprocessors() -> int:
    """Of the active GPU; a few where there is none."""
    try:
        active = triton.runtime.driver.active
        return active.utils.get_device_properties(active.get_current_device())["multiprocessor_count"]
    except RuntimeError:  # Triton's interpreter on a machine without a GPU
        return 4


@triton.jit
def tile_total(tile_count, max_tiles, DENSE: tl.constexpr):
    """How many tiles there are: a device's number, or the host's for one dense expert."""
    if DENSE:
        return max_tiles
    else:
        return tl.load(tile_count)


@triton.jit
def has_work(
    item, tile_count, max_tiles, columns, DENSE: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr
):
    """Whether there is a tile for a program of a grid of max_tiles * cdiv(columns, BLOCK_N), an upper
    bound.
    """
    tile, _ = _order(item, max_tiles, columns, BLOCK_N, GROUP_M)
    return tile < tile_total(tile_count, max_tiles, DENSE)


@triton.jit
def locate_tile(
    item,
    plan,
    rows,
    tiles,
    columns,
    DENSE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """(expert, first row, end of the expert's rows, column block) of an item of work.

    GROUP_M tiles share a column block before the next one starts, so that their weights are read from cache.
    """
    tile, n_block = _order(item, tiles, columns, BLOCK_N, GROUP_M)
    if DENSE:
        return tile * 0, tile * BLOCK_M, tl.zeros((), tl.int32) + rows, n_block
    else:
        offsets, tile_expert, tile_row, _ = plan
        expert = tl.load(tile_expert + tile)
        return expert, tl.load(tile_row + tile), tl.load(offsets + expert + 1), n_block


@triton.jit
def is_skewed(tile_count, DENSE: tl.constexpr):
    """Whether some experts have many more rows than others, as the schedule found."""
    if DENSE:
        return False
    else:
        return tl.load(tile_count + 1) != 0


@triton.jit
def turn_of(item, work, skewed):
    """The item whose turn it is. Under skew first and last by turns: experts with many rows, which keep the
    matrix units busy, run beside those with few, which wait for their weights.
    """
    return tl.where(skewed, tl.where(item % 2 == 0, item // 2, work - 1 - item // 2), item)


@triton.jit
def _order(item, tiles, columns, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr):
    """(tile, column block) of an item."""
    in_group = GROUP_M * tl.cdiv(columns, BLOCK_N)
    group_first = item // in_group * GROUP_M
    group_tiles = min(tiles - group_first, GROUP_M)
    return group_first + item % in_group % group_tiles, item % in_group // group_tiles
