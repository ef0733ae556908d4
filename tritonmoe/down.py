"""Stage 4, down: each activation row through its expert's second projection, scattered back to its slot."""

import torch
import triton
import triton.language as tl

from .launches import Launch
from .schedule import Schedule
from .tiles import PER_BATCH, locate_tile


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
    if rows:
        down_kernel[(max_tiles * triton.cdiv(hidden, tile.block_n),)](
            activation,
            w_down,
            partial,
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
            EVEN_K=intermediate % tile.block_k == 0,
            **tile.options,
        )
    return partial


@triton.jit(do_not_specialize=PER_BATCH)
def down_kernel(
    activation,
    w_down,
    partial,
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
    EVEN_K: tl.constexpr,
):
    expert, first_row, last_row, n_block, active = locate_tile(
        offsets, tile_expert, tile_row, tile_count, rows, max_tiles, hidden, DENSE, BLOCK_M, BLOCK_N, GROUP_M
    )
    if not active:
        return
    row = first_row + tl.arange(0, BLOCK_M)
    # As in gate_up: past the end, the last row and column again.
    read_row = tl.minimum(row, last_row - 1)
    column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
    n = tl.minimum(column, hidden - 1)
    k = tl.arange(0, BLOCK_K)
    k_step = tl.cast(BLOCK_K, tl.int64)
    a_ptrs = activation + read_row.to(tl.int64)[:, None] * stride_ar + k.to(tl.int64)[None, :] * stride_ai
    w_tile = w_down + expert.to(tl.int64) * stride_we
    w_ptrs = w_tile + n.to(tl.int64)[None, :] * stride_wh + k.to(tl.int64)[:, None] * stride_wi

    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k0 in range(0, intermediate, BLOCK_K):
        if EVEN_K:
            a = tl.load(a_ptrs)
            b = tl.load(w_ptrs)
        else:
            k_mask = k < intermediate - k0
            a = tl.load(a_ptrs, mask=k_mask[None, :], other=0.0)
            b = tl.load(w_ptrs, mask=k_mask[:, None], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)
        a_ptrs += k_step * stride_ai
        w_ptrs += k_step * stride_wi

    slot = read_row
    if not DENSE:
        slot = tl.load(sorted_slots + read_row)
    out = partial + slot.to(tl.int64)[:, None] * hidden + column[None, :]
    tl.store(
        out, acc.to(partial.dtype.element_ty), mask=(row < last_row)[:, None] & (column < hidden)[None, :]
    )
