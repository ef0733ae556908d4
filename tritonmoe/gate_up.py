"""Stage 3, gate and up: one pass over the gathered rows for both projections, SwiGLU in float32 registers."""

import torch
import triton
import triton.language as tl

from .launches import Launch
from .schedule import Schedule
from .tiles import PER_BATCH, locate_tile


def gate_up(
    x: torch.Tensor, w_gate_up: torch.Tensor, plan: Schedule | None, launch: Launch, precision: str = "ieee"
) -> torch.Tensor:
    """silu(x @ gate.T) * (x @ up.T) for every scheduled row; rows of x are gathered here, never copied.

    x [tokens, hidden]; w_gate_up [experts, 2 * intermediate, hidden], gate rows first. Returns the activation
    [rows, intermediate] in x's dtype, rows in the schedule's order. Without a plan there is one expert, and
    row i is token i (the shared experts). Products as in `project`; SiLU and the product are float32; one
    rounding, at the store. SwiGLU: Shazeer, arXiv 2002.05202.
    """
    hidden = x.shape[1]
    intermediate = w_gate_up.shape[1] // 2
    rows = x.shape[0] if plan is None else plan.tokens * plan.top_k
    max_tiles = triton.cdiv(rows, launch.block_m) if plan is None else plan.max_tiles
    activation = torch.empty(rows, intermediate, dtype=x.dtype, device=x.device)
    tile = launch.gate_up
    if rows:
        gate_up_kernel[(max_tiles * triton.cdiv(intermediate, tile.block_n),)](
            x,
            w_gate_up,
            activation,
            *(plan[:5] if plan is not None else (None,) * 5),
            rows,
            max_tiles,
            intermediate,
            hidden,
            x.stride(0),
            x.stride(1),
            w_gate_up.stride(0),
            w_gate_up.stride(1),
            w_gate_up.stride(2),
            TOP_K=1 if plan is None else plan.top_k,
            DENSE=plan is None,
            PRECISION=precision,
            BLOCK_M=launch.block_m,
            BLOCK_N=tile.block_n,
            BLOCK_K=tile.block_k,
            GROUP_M=tile.group_m,
            EVEN_K=hidden % tile.block_k == 0,
            **tile.options,
        )
    return activation


@triton.jit(do_not_specialize=PER_BATCH)
def gate_up_kernel(
    x,
    w_gate_up,
    activation,
    sorted_slots,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    rows,
    max_tiles,
    intermediate,
    hidden,
    stride_xt,
    stride_xh,
    stride_we,
    stride_wn,
    stride_wh,
    TOP_K: tl.constexpr,
    DENSE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    expert, first_row, last_row, n_block, active = locate_tile(
        offsets,
        tile_expert,
        tile_row,
        tile_count,
        rows,
        max_tiles,
        intermediate,
        DENSE,
        BLOCK_M,
        BLOCK_N,
        GROUP_M,
    )
    if not active:
        return
    row = first_row + tl.arange(0, BLOCK_M)
    # Past the end, the last row and column are read again: no masks in the loop, and nothing of it is stored.
    token = tl.minimum(row, last_row - 1)
    if not DENSE:
        token = tl.load(sorted_slots + token) // TOP_K
    column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
    n = tl.minimum(column, intermediate - 1)
    k = tl.arange(0, BLOCK_K)
    k_step = tl.cast(BLOCK_K, tl.int64)
    x_ptrs = x + token.to(tl.int64)[:, None] * stride_xt + k.to(tl.int64)[None, :] * stride_xh
    w_tile = w_gate_up + expert.to(tl.int64) * stride_we
    gate_ptrs = w_tile + n.to(tl.int64)[None, :] * stride_wn + k.to(tl.int64)[:, None] * stride_wh
    up_ptrs = gate_ptrs + tl.cast(intermediate, tl.int64) * stride_wn

    gate = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k0 in range(0, hidden, BLOCK_K):
        if EVEN_K:
            a = tl.load(x_ptrs)
            b_gate = tl.load(gate_ptrs)
            b_up = tl.load(up_ptrs)
        else:
            k_mask = k < hidden - k0
            a = tl.load(x_ptrs, mask=k_mask[None, :], other=0.0)
            b_gate = tl.load(gate_ptrs, mask=k_mask[:, None], other=0.0)
            b_up = tl.load(up_ptrs, mask=k_mask[:, None], other=0.0)
        gate = tl.dot(a, b_gate, gate, input_precision=PRECISION)
        up = tl.dot(a, b_up, up, input_precision=PRECISION)
        x_ptrs += k_step * stride_xh
        gate_ptrs += k_step * stride_wh
        up_ptrs += k_step * stride_wh

    swiglu = gate / (1.0 + tl.exp(-gate)) * up
    out = activation + row.to(tl.int64)[:, None] * intermediate + column[None, :]
    tl.store(
        out,
        swiglu.to(activation.dtype.element_ty),
        mask=(row < last_row)[:, None] & (column < intermediate)[None, :],
    )
