"""Stage 3, gate and up: one pass over the rows for both projections, SwiGLU in float32 registers."""

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .launches import Launch
from .pack import pack
from .schedule import Schedule
from .tiles import PER_BATCH, describable, has_work, is_skewed, locate_tile, programs, tile_total, turn_of


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
    tile, top_k = launch.gate_up, 1 if plan is None else plan.top_k
    if not rows:
        return activation
    wide = tile.wide and describable(x, w_gate_up)
    in_order = plan is None
    if wide and tile.packed and not in_order:
        x, top_k, in_order = pack(x, plan, launch), 1, True
    stride_e, stride_n, stride_h = w_gate_up.stride()
    w_tiles = x_tiles = x_short = None
    if wide:
        # Gate and up as one operand: a tile takes the same columns of both.
        halves = (
            [w_gate_up.shape[0], 2, intermediate, hidden],
            [stride_e, intermediate * stride_n, stride_n, 1],
        )
        w_tiles = TensorDescriptor(w_gate_up, *halves, [1, 2, tile.block_n, tile.block_k])
    if wide and in_order:
        x_tiles = TensorDescriptor.from_tensor(x, [launch.block_m, tile.block_k])
        x_short = TensorDescriptor.from_tensor(x, [tile.short, tile.block_k]) if tile.short else None
    gate_up_kernel[programs(tile, max_tiles * triton.cdiv(intermediate, tile.block_n))](
        x,
        w_gate_up,
        activation,
        w_tiles,
        x_tiles,
        x_short,
        *(plan[:5] if plan is not None else (None,) * 5),
        rows,
        max_tiles,
        intermediate,
        hidden,
        x.stride(0),
        x.stride(1),
        stride_e,
        stride_n,
        stride_h,
        TOP_K=top_k,
        DENSE=plan is None,
        IN_ORDER=in_order,
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
        EVEN_K=hidden % tile.block_k == 0,
        **tile.options,
    )
    return activation


@triton.jit(do_not_specialize=PER_BATCH)
def gate_up_kernel(
    x,
    w_gate_up,
    activation,
    w_tiles,
    x_tiles,
    x_short_tiles,
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
    IN_ORDER: tl.constexpr,
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
    tensors = (x, w_gate_up, activation, w_tiles, sorted_slots)
    sizes = (intermediate, hidden)
    strides = (stride_xt, stride_xh, stride_we, stride_wn, stride_wh)
    plan = (offsets, tile_expert, tile_row, tile_count)
    if PERSISTENT:
        tiles = tile_total(tile_count, max_tiles, DENSE)
        work = tiles * tl.cdiv(intermediate, BLOCK_N)
        skewed = is_skewed(tile_count, DENSE) if MIXED else False
        for item in tl.range(tl.program_id(0), work, tl.num_programs(0), flatten=FLATTEN):
            turn = turn_of(item, work, skewed) if MIXED else item
            place = locate_tile(turn, plan, rows, tiles, intermediate, DENSE, BLOCK_M, BLOCK_N, GROUP_M)
            _tile(
                place,
                tensors,
                x_tiles,
                x_short_tiles,
                sizes,
                strides,
                TOP_K,
                IN_ORDER,
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
        if has_work(item, tile_count, max_tiles, intermediate, DENSE, BLOCK_N, GROUP_M):
            place = locate_tile(item, plan, rows, max_tiles, intermediate, DENSE, BLOCK_M, BLOCK_N, GROUP_M)
            _tile(
                place,
                tensors,
                x_tiles,
                x_short_tiles,
                sizes,
                strides,
                TOP_K,
                IN_ORDER,
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
    x_tiles,
    x_short_tiles,
    sizes,
    strides,
    TOP_K: tl.constexpr,
    IN_ORDER: tl.constexpr,
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
            x_tiles,
            sizes,
            strides,
            TOP_K,
            IN_ORDER,
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
                x_short_tiles,
                sizes,
                strides,
                TOP_K,
                IN_ORDER,
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
                x_tiles,
                sizes,
                strides,
                TOP_K,
                IN_ORDER,
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
    x_tiles,
    sizes,
    strides,
    TOP_K: tl.constexpr,
    IN_ORDER: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """BLOCK_M rows of an expert by BLOCK_N columns of the activation."""
    expert, first_row, last_row, n_block = place
    x, w_gate_up, activation, w_tiles, sorted_slots = tensors
    intermediate, hidden = sizes
    stride_xt, stride_xh, stride_we, stride_wn, stride_wh = strides
    row = first_row + tl.arange(0, BLOCK_M)
    column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    k_step = tl.cast(BLOCK_K, tl.int64)
    # Past the end, the last row and column are read again: no masks in the loop, and nothing of it is stored.
    if not (WIDE and IN_ORDER):
        token = tl.minimum(row, last_row - 1)
        if not IN_ORDER:
            token = tl.load(sorted_slots + token) // TOP_K
        x_ptrs = x + token.to(tl.int64)[:, None] * stride_xt + k.to(tl.int64)[None, :] * stride_xh
    if not WIDE:
        n = tl.minimum(column, intermediate - 1).to(tl.int64)[:, None]
        w_ptrs = w_gate_up + expert.to(tl.int64) * stride_we
        gate_ptrs = w_ptrs + n * stride_wn + k.to(tl.int64)[None, :] * stride_wh
        up_ptrs = gate_ptrs + tl.cast(intermediate, tl.int64) * stride_wn

    if WIDE:
        both = tl.zeros((BLOCK_M, 2 * BLOCK_N), dtype=tl.float32)
    else:
        ROWS: tl.constexpr = BLOCK_N if SWAPPED else BLOCK_M
        COLUMNS: tl.constexpr = BLOCK_M if SWAPPED else BLOCK_N
        gate = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        up = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for k0 in range(0, hidden, BLOCK_K):
        k_mask = k < hidden - k0
        if WIDE and IN_ORDER:
            a = x_tiles.load([first_row, k0])
        else:
            a = tl.load(x_ptrs) if EVEN_K else tl.load(x_ptrs, mask=k_mask[None, :], other=0.0)
            x_ptrs += k_step * stride_xh
        if WIDE:
            w = w_tiles.load([expert, 0, n_block * BLOCK_N, k0]).reshape(2 * BLOCK_N, BLOCK_K)
            both = tl.dot(a, tl.trans(w), both, input_precision=PRECISION)
        else:
            if EVEN_K:
                w_gate = tl.load(gate_ptrs)
                w_up = tl.load(up_ptrs)
            else:
                w_gate = tl.load(gate_ptrs, mask=k_mask[None, :], other=0.0)
                w_up = tl.load(up_ptrs, mask=k_mask[None, :], other=0.0)
            gate_ptrs += k_step * stride_wh
            up_ptrs += k_step * stride_wh
            if SWAPPED:
                gate = tl.dot(w_gate, tl.trans(a), gate, input_precision=PRECISION)
                up = tl.dot(w_up, tl.trans(a), up, input_precision=PRECISION)
            else:
                gate = tl.dot(a, tl.trans(w_gate), gate, input_precision=PRECISION)
                up = tl.dot(a, tl.trans(w_up), up, input_precision=PRECISION)

    if WIDE:
        gate, up = tl.split(tl.permute(tl.reshape(both, (BLOCK_M, 2, BLOCK_N)), (0, 2, 1)))
    swiglu = (gate / (1.0 + tl.exp(-gate)) * up).to(activation.dtype.element_ty)
    if SWAPPED:
        swiglu = tl.trans(swiglu)
    out = activation + row.to(tl.int64)[:, None] * intermediate + column[None, :]
    tl.store(out, swiglu, mask=(row < last_row)[:, None] & (column < intermediate)[None, :])
