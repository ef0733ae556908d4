"""Which tile of which expert a program of the expert GEMMs works on."""

import triton
import triton.language as tl

# Arguments that change with the number of tokens: specializing on them would compile anew as batches change.
PER_BATCH = ["rows", "max_tiles"]


@triton.jit
def locate_tile(
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    rows,
    max_tiles,
    columns,
    DENSE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """(expert, first row, end of rows, column block, whether there is work) of this program.

    The grid is max_tiles * cdiv(columns, BLOCK_N), an upper bound: programs past tile_count have no work.
    GROUP_M tiles share a column block before the next one starts, so that their weights are read from cache.
    """
    n_blocks = tl.cdiv(columns, BLOCK_N)
    pid = tl.program_id(0)
    in_group = GROUP_M * n_blocks
    group_first = pid // in_group * GROUP_M
    group_tiles = min(max_tiles - group_first, GROUP_M)
    tile = group_first + pid % in_group % group_tiles
    n_block = pid % in_group // group_tiles
    if DENSE:
        expert = tile * 0
        first_row = tile * BLOCK_M
        last_row = tl.zeros((), tl.int32) + rows
        active = first_row < rows
    else:
        active = tile < tl.load(tile_count)
        expert = tl.load(tile_expert + tile, mask=active, other=0)
        first_row = tl.load(tile_row + tile, mask=active, other=0)
        last_row = tl.load(offsets + expert + 1, mask=active, other=0)
    return expert, first_row, last_row, n_block, active
