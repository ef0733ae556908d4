"""Stage 3, gate and up: one pass over the rows for both projections, SwiGLU in float32 registers."""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .dispatch import Calls, calls
from .launches import Launch
from .pack import pack
from .schedule import Schedule
from .tiles import (
    PER_BATCH,
    describable,
    launches_of,
    locate_tile,
    programs,
    rows_from,
    tile_meta,
    tile_total,
    turn_of,
)


def gate_up(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    plan: Schedule | None,
    launch: Launch,
    precision: str = "ieee",
    seen: Calls | None = None,
) -> torch.Tensor:
    """silu(x @ gate.T) * (x @ up.T) for every scheduled row; rows of x are gathered here, never copied.

    x [tokens, hidden]; w_gate_up [experts, 2 * intermediate, hidden], gate rows first. Returns the activation
    [rows, intermediate] in x's dtype, rows in the schedule's order. Without a plan there is one expert, and
    row i is token i (the shared experts). Products as in `project`; SiLU and the product are float32; one
    rounding, at the store. SwiGLU: Shazeer, arXiv 2002.05202.
    """
    rows = x.shape[0] if plan is None else plan.tokens * plan.top_k
    activation = torch.empty(rows, w_gate_up.shape[1] // 2, dtype=x.dtype, device=x.device)
    if rows:
        seen = seen or calls(launch, x, w_gate_up, also=(precision, plan and plan.top_k))
        for each, when in launches_of(launch, plan):
            _gate_up(x, w_gate_up, activation, plan, each, when, precision, seen)
    return activation


def _gate_up(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    activation: torch.Tensor,
    plan: Schedule | None,
    launch: Launch,
    when: int,
    precision: str,
    seen: Calls,
) -> None:
    rows, intermediate = activation.shape
    hidden = x.shape[1]
    max_tiles = -(-rows // launch.block_m) if plan is None else plan.max_tiles
    tile, top_k = launch.gate_up, 1 if plan is None else plan.top_k
    wide = tile.wide and describable(x, w_gate_up)
    in_order = plan is None
    if wide and tile.packed and not in_order:
        x, top_k, in_order = pack(x, plan, launch, when, seen), 1, True
    tail = 0 if plan is None else launch.tail
    w_tiles = x_tiles = x_short = x_tail = None
    if wide:
        # Gate and up as one operand: a tile takes the same columns of both.
        stride_e, stride_n, _ = w_gate_up.stride()
        shape = [w_gate_up.shape[0], 2, intermediate, hidden]
        strides = [stride_e, intermediate * stride_n, stride_n, 1]
        w_tiles = TensorDescriptor(w_gate_up, shape, strides, [1, 2, tile.block_n, tile.block_k])
    if wide and in_order:
        x_tiles = TensorDescriptor.from_tensor(x, [launch.block_m, tile.block_k])
        x_short = TensorDescriptor.from_tensor(x, [tile.short, tile.block_k]) if tile.short else None
        x_tail = TensorDescriptor.from_tensor(x, [tail, tile.block_k]) if tail else None
    arguments = (
        x,
        w_gate_up,
        activation,
        w_tiles,
        x_tiles,
        x_short,
        x_tail,
        *(plan[:5] if plan is not None else (None,) * 5),
        rows,
        max_tiles,
        intermediate,
        hidden,
        *x.stride(),
        *w_gate_up.stride(),
    )

    def meta() -> dict[str, Any]:
        return dict(
            TOP_K=top_k,
            IN_ORDER=in_order,
            PRECISION=precision,
            **tile_meta(tile, launch.block_m, tail, hidden, when, wide, plan is None),
        )

    work = max_tiles * -(-intermediate // tile.block_n)
    seen.launch(gate_up_kernel, programs(tile, work), arguments, meta, f"gate_up{when}")


@triton.jit(do_not_specialize=PER_BATCH)
def gate_up_kernel(
    x,
    w_gate_up,
    activation,
    w_tiles,
    x_tiles,
    x_short_tiles,
    x_tail_tiles,
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
    WHEN: tl.constexpr,
    IN_ORDER: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    SHORT: tl.constexpr,
    TAIL: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    PERSISTENT: tl.constexpr,
    MIXED: tl.constexpr,
    FLATTEN: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    problem = (
        (x, w_gate_up, activation, w_tiles, sorted_slots),
        (intermediate, hidden),
        (stride_xt, stride_xh, stride_we, stride_wn, stride_wh),
    )
    plan = (offsets, tile_expert, tile_row, tile_count)
    row_tiles = (x_tiles, x_short_tiles, x_tail_tiles)
    n_blocks = tl.cdiv(intermediate, BLOCK_N)
    work = tile_total(tile_count, max_tiles, DENSE, WHEN) * n_blocks
    # No loop of one turn: what it keeps in scalar registers is too much for AMD.
    if PERSISTENT:
        for item in tl.range(tl.program_id(0), work, tl.num_programs(0), flatten=FLATTEN):
            turn = turn_of(item, work, tile_count, n_blocks) if MIXED else item
            _work(
                turn,
                problem,
                plan,
                rows,
                row_tiles,
                TOP_K,
                DENSE,
                IN_ORDER,
                PRECISION,
                BLOCK_M,
                BLOCK_N,
                BLOCK_K,
                GROUP_M,
                SHORT,
                TAIL,
                SWAPPED,
                WIDE,
                EVEN_K,
            )
    else:
        item = tl.program_id(0)
        if item < work:
            turn = turn_of(item, work, tile_count, n_blocks) if MIXED else item
            _work(
                turn,
                problem,
                plan,
                rows,
                row_tiles,
                TOP_K,
                DENSE,
                IN_ORDER,
                PRECISION,
                BLOCK_M,
                BLOCK_N,
                BLOCK_K,
                GROUP_M,
                SHORT,
                TAIL,
                SWAPPED,
                WIDE,
                EVEN_K,
            )


@triton.jit
def _work(
    item,
    problem,
    plan,
    rows,
    row_tiles,
    TOP_K: tl.constexpr,
    DENSE: tl.constexpr,
    IN_ORDER: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    SHORT: tl.constexpr,
    TAIL: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """An item of work, at the height that its rows need."""
    _, sizes, _ = problem
    x_tiles, x_short_tiles, x_tail_tiles = row_tiles
    place = locate_tile(item, plan, rows, sizes[0], DENSE, BLOCK_M, TAIL, BLOCK_N, GROUP_M)
    left = place[2] - place[1]
    if (left <= SHORT + TAIL) if SHORT else False:
        _tile(
            place,
            problem,
            x_short_tiles,
            x_tail_tiles,
            TOP_K,
            IN_ORDER,
            PRECISION,
            SHORT,
            TAIL,
            BLOCK_N,
            BLOCK_K,
            SWAPPED,
            WIDE,
            EVEN_K,
        )
    elif (left > BLOCK_M and left <= BLOCK_M + TAIL) if TAIL else False:
        _tile(
            place,
            problem,
            x_tiles,
            x_tail_tiles,
            TOP_K,
            IN_ORDER,
            PRECISION,
            BLOCK_M,
            TAIL,
            BLOCK_N,
            BLOCK_K,
            SWAPPED,
            WIDE,
            EVEN_K,
        )
    else:
        _tile(
            place,
            problem,
            x_tiles,
            None,
            TOP_K,
            IN_ORDER,
            PRECISION,
            BLOCK_M,
            0,
            BLOCK_N,
            BLOCK_K,
            SWAPPED,
            WIDE,
            EVEN_K,
        )


@triton.jit
def _tile(
    place,
    problem,
    x_tiles,
    x_tail_tiles,
    TOP_K: tl.constexpr,
    IN_ORDER: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """BLOCK_M rows of an expert, and TAIL more, by BLOCK_N columns of the activation."""
    expert, first_row, last_row, n_block = place
    tensors, sizes, strides = problem
    x, w_gate_up, activation, w_tiles, sorted_slots = tensors
    intermediate, hidden = sizes
    stride_xt, stride_xh, stride_we, stride_wn, stride_wh = strides
    column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    k_step = tl.cast(BLOCK_K, tl.int64)
    if not (WIDE and IN_ORDER):
        token = rows_from(first_row, last_row, sorted_slots, TOP_K, IN_ORDER, BLOCK_M)
        x_ptrs = x + token[:, None] * stride_xt + k.to(tl.int64)[None, :] * stride_xh
        if TAIL:
            token = rows_from(first_row + BLOCK_M, last_row, sorted_slots, TOP_K, IN_ORDER, TAIL)
            tail_ptrs = x + token[:, None] * stride_xt + k.to(tl.int64)[None, :] * stride_xh
    if WIDE:
        both = tl.zeros((BLOCK_M, 2 * BLOCK_N), dtype=tl.float32)
        if TAIL:
            tail_both = tl.zeros((2 * BLOCK_N, TAIL), dtype=tl.float32)
    else:
        # Past the end, the last column is read again: no mask in the loop, and nothing of it is stored.
        n = tl.minimum(column, intermediate - 1).to(tl.int64)[:, None]
        w_ptrs = w_gate_up + expert.to(tl.int64) * stride_we
        gate_ptrs = w_ptrs + n * stride_wn + k.to(tl.int64)[None, :] * stride_wh
        up_ptrs = gate_ptrs + tl.cast(intermediate, tl.int64) * stride_wn
        ROWS: tl.constexpr = BLOCK_N if SWAPPED else BLOCK_M
        COLUMNS: tl.constexpr = BLOCK_M if SWAPPED else BLOCK_N
        gate = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        up = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        if TAIL:
            tail_gate = tl.zeros((BLOCK_N, TAIL), dtype=tl.float32)
            tail_up = tl.zeros((BLOCK_N, TAIL), dtype=tl.float32)

    for k0 in range(0, hidden, BLOCK_K):
        k_mask = (k < hidden - k0)[None, :]
        if WIDE and IN_ORDER:
            a = x_tiles.load([first_row, k0])
            if TAIL:
                tail = x_tail_tiles.load([first_row + BLOCK_M, k0])
        else:
            a = tl.load(x_ptrs) if EVEN_K else tl.load(x_ptrs, mask=k_mask, other=0.0)
            x_ptrs += k_step * stride_xh
            if TAIL:
                tail = tl.load(tail_ptrs) if EVEN_K else tl.load(tail_ptrs, mask=k_mask, other=0.0)
                tail_ptrs += k_step * stride_xh
        if WIDE:
            w = w_tiles.load([expert, 0, n_block * BLOCK_N, k0]).reshape(2 * BLOCK_N, BLOCK_K)
            both = tl.dot(a, tl.trans(w), both, input_precision=PRECISION)
            if TAIL:
                tail_both = tl.dot(w, tl.trans(tail), tail_both, input_precision=PRECISION)
        else:
            w_gate = tl.load(gate_ptrs) if EVEN_K else tl.load(gate_ptrs, mask=k_mask, other=0.0)
            w_up = tl.load(up_ptrs) if EVEN_K else tl.load(up_ptrs, mask=k_mask, other=0.0)
            gate_ptrs += k_step * stride_wh
            up_ptrs += k_step * stride_wh
            if SWAPPED:
                gate = tl.dot(w_gate, tl.trans(a), gate, input_precision=PRECISION)
                up = tl.dot(w_up, tl.trans(a), up, input_precision=PRECISION)
            else:
                gate = tl.dot(a, tl.trans(w_gate), gate, input_precision=PRECISION)
                up = tl.dot(a, tl.trans(w_up), up, input_precision=PRECISION)
            if TAIL:
                tail_gate = tl.dot(w_gate, tl.trans(tail), tail_gate, input_precision=PRECISION)
                tail_up = tl.dot(w_up, tl.trans(tail), tail_up, input_precision=PRECISION)

    if WIDE:
        gate, up = tl.split(tl.permute(tl.reshape(both, (BLOCK_M, 2, BLOCK_N)), (0, 2, 1)))
    _store(activation, gate, up, first_row, last_row, column, intermediate, BLOCK_M, SWAPPED)
    if TAIL:
        if WIDE:
            tail_gate, tail_up = tl.split(tl.permute(tl.reshape(tail_both, (2, BLOCK_N, TAIL)), (1, 2, 0)))
        first_tail = first_row + BLOCK_M
        _store(activation, tail_gate, tail_up, first_tail, last_row, column, intermediate, TAIL, True)


@triton.jit
def _store(
    activation,
    gate,
    up,
    first_row,
    last_row,
    column,
    intermediate,
    HEIGHT: tl.constexpr,
    SWAPPED: tl.constexpr,
):
    """SwiGLU of HEIGHT rows, rounded once; gate and up are [HEIGHT, columns], turned if SWAPPED."""
    row = first_row + tl.arange(0, HEIGHT)
    swiglu = (gate / (1.0 + tl.exp(-gate)) * up).to(activation.dtype.element_ty)
    if SWAPPED:
        swiglu = tl.trans(swiglu)
    out = activation + row.to(tl.int64)[:, None] * intermediate + column[None, :]
    tl.store(out, swiglu, mask=(row < last_row)[:, None] & (column < intermediate)[None, :])
