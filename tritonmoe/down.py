"""Stage 4, down: each activation row through its expert's second projection, scattered back to its slot."""

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .launches import Launch
from .schedule import Schedule
from .tiles import PER_BATCH, describable, has_work, is_skewed, locate_tile, programs, tile_total, turn_of


def down(
    activation: torch.Tensor,
    w_down: torch.Tensor,
    plan: Schedule | None,
    launch: Launch,
    precision: str = "ieee",
) -> torch.Tensor:
    """activation @ w_down.T, row by row with the row's expert.

    activation [rows, intermediate] in the schedule's order; w_down [experts, hidden, intermediate]. Returns
    [tokens * top_k, hidden] in activation's dtype, rows by slot (token * top_k + position); rows of skipped
    slots are left unwritten. Without a plan: one expert, row i to row i. Float32 accumulation, one rounding,
    at the store.
    """
    rows, intermediate = activation.shape
    hidden = w_down.shape[1]
    max_tiles = triton.cdiv(rows, launch.block_m) if plan is None else plan.max_tiles
    partial = torch.empty(rows, hidden, dtype=activation.dtype, device=activation.device)
    tile = launch.down
    if not rows:
        return partial
    wide = tile.wide and describable(activation, w_down)
    w_tiles = a_tiles = a_short = None
    if wide:
        w_tiles = TensorDescriptor.from_tensor(w_down, [1, tile.block_n, tile.block_k])
        a_tiles = TensorDescriptor.from_tensor(activation, [launch.block_m, tile.block_k])
        a_short = TensorDescriptor.from_tensor(activation, [tile.short, tile.block_k]) if tile.short else None
    down_kernel[programs(tile, max_tiles * triton.cdiv(hidden, tile.block_n))](
        activation,
        w_down,
        partial,
        w_tiles,
        a_tiles,
        a_short,
        *(plan[:5] if plan is not None else (None,) * 5),
        rows,
        max_tiles,
        hidden,
        intermediate,
        activation.stride(0),
        activation.stride(1),
        w_down.stride(0),
        w_down.stride(1),
        w_down.stride(2),
        DENSE=plan is None,
        PRECISION=precision,
        BLOCK_M=launch.block_m,
        BLOCK_N=tile.block_n,
        BLOCK_K=tile.block_k,
        GROUP_M=tile.group_m,
        SHORT=tile.short,
        SWAPPED=tile.swapped and not wide,
        WIDE=wide,
        PERSISTENT=tile.persistent,
        MIXED=tile.mixed,
        FLATTEN=tile.persistent and not tile.short,
        EVEN_K=intermediate % tile.block_k == 0,
        **tile.options,
    )
    return partial


@triton.jit(do_not_specialize=PER_BATCH)
def down_kernel(
    activation,
    w_down,
    partial,
    w_tiles,
    a_tiles,
    a_short_tiles,
    sorted_slots,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    rows,
    max_tiles,
    hidden,
    intermediate,
    stride_ar,
    stride_ai,
    stride_we,
    stride_wh,
    stride_wi,
    DENSE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    SHORT: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    PERSISTENT: tl.constexpr,
    MIXED: tl.constexpr,
    FLATTEN: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    tensors = (activation, w_down, partial, w_tiles, sorted_slots)
    sizes = (hidden, intermediate)
    strides = (stride_ar, stride_ai, stride_we, stride_wh, stride_wi)
    plan = (offsets, tile_expert, tile_row, tile_count)
    if PERSISTENT:
        tiles = tile_total(tile_count, max_tiles, DENSE)
        work = tiles * tl.cdiv(hidden, BLOCK_N)
        skewed = is_skewed(tile_count, DENSE) if MIXED else False
        for item in tl.range(tl.program_id(0), work, tl.num_programs(0), flatten=FLATTEN):
            turn = turn_of(item, work, skewed) if MIXED else item
            place = locate_tile(turn, plan, rows, tiles, hidden, DENSE, BLOCK_M, BLOCK_N, GROUP_M)
            _tile(
                place,
                tensors,
                a_tiles,
                a_short_tiles,
                sizes,
                strides,
                DENSE,
                PRECISION,
                BLOCK_M,
                BLOCK_N,
                BLOCK_K,
                SHORT,
                SWAPPED,
                WIDE,
                EVEN_K,
            )
    else:
        item = tl.program_id(0)
        if has_work(item, tile_count, max_tiles, hidden, DENSE, BLOCK_N, GROUP_M):
            place = locate_tile(item, plan, rows, max_tiles, hidden, DENSE, BLOCK_M, BLOCK_N, GROUP_M)
            _tile(
                place,
                tensors,
                a_tiles,
                a_short_tiles,
                sizes,
                strides,
                DENSE,
                PRECISION,
                BLOCK_M,
                BLOCK_N,
                BLOCK_K,
                SHORT,
                SWAPPED,
                WIDE,
                EVEN_K,
            )


@triton.jit
def _tile(
    place,
    tensors,
    a_tiles,
    a_short_tiles,
    sizes,
    strides,
    DENSE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SHORT: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """One tile, at the height that its rows need."""
    if SHORT == 0:
        _tile_of(
            place,
            tensors,
            a_tiles,
            sizes,
            strides,
            DENSE,
            PRECISION,
            BLOCK_M,
            BLOCK_N,
            BLOCK_K,
            SWAPPED,
            WIDE,
            EVEN_K,
        )
    else:
        if place[2] - place[1] <= SHORT:
            _tile_of(
                place,
                tensors,
                a_short_tiles,
                sizes,
                strides,
                DENSE,
                PRECISION,
                SHORT,
                BLOCK_N,
                BLOCK_K,
                SWAPPED,
                WIDE,
                EVEN_K,
            )
        else:
            _tile_of(
                place,
                tensors,
                a_tiles,
                sizes,
                strides,
                DENSE,
                PRECISION,
                BLOCK_M,
                BLOCK_N,
                BLOCK_K,
                SWAPPED,
                WIDE,
                EVEN_K,
            )


@triton.jit
def _tile_of(
    place,
    tensors,
    a_tiles,
    sizes,
    strides,
    DENSE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """BLOCK_M rows of an expert by BLOCK_N columns of the output."""
    expert, first_row, last_row, n_block = place
    activation, w_down, partial, w_tiles, sorted_slots = tensors
    hidden, intermediate = sizes
    stride_ar, stride_ai, stride_we, stride_wh, stride_wi = strides
    row = first_row + tl.arange(0, BLOCK_M)
    column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
    # As in gate_up: past the end, the last row and column again.
    read_row = tl.minimum(row, last_row - 1)
    if not WIDE:
        n = tl.minimum(column, hidden - 1).to(tl.int64)[:, None]
        k = tl.arange(0, BLOCK_K)
        k_step = tl.cast(BLOCK_K, tl.int64)
        a_ptrs = activation + read_row.to(tl.int64)[:, None] * stride_ar + k.to(tl.int64)[None, :] * stride_ai
        w_ptrs = (
            w_down + expert.to(tl.int64) * stride_we + n * stride_wh + k.to(tl.int64)[None, :] * stride_wi
        )

    ROWS: tl.constexpr = BLOCK_N if SWAPPED else BLOCK_M
    COLUMNS: tl.constexpr = BLOCK_M if SWAPPED else BLOCK_N
    acc = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for k0 in range(0, intermediate, BLOCK_K):
        if WIDE:
            a = a_tiles.load([first_row, k0])
            w = w_tiles.load([expert, n_block * BLOCK_N, k0]).reshape(BLOCK_N, BLOCK_K)
        else:
            if EVEN_K:
                a = tl.load(a_ptrs)
                w = tl.load(w_ptrs)
            else:
                k_mask = (k < intermediate - k0)[None, :]
                a = tl.load(a_ptrs, mask=k_mask, other=0.0)
                w = tl.load(w_ptrs, mask=k_mask, other=0.0)
            a_ptrs += k_step * stride_ai
            w_ptrs += k_step * stride_wi
        if SWAPPED:
            acc = tl.dot(w, tl.trans(a), acc, input_precision=PRECISION)
        else:
            acc = tl.dot(a, tl.trans(w), acc, input_precision=PRECISION)

    slot = read_row
    if not DENSE:
        slot = tl.load(sorted_slots + read_row)
    result = acc.to(partial.dtype.element_ty)
    if SWAPPED:
        result = tl.trans(result)
    out = partial + slot.to(tl.int64)[:, None] * hidden + column[None, :]
    tl.store(out, result, mask=(row < last_row)[:, None] & (column < hidden)[None, :])
