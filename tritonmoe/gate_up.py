"""Stage 3, gate and up: one pass over the rows for both projections, SwiGLU in float32 registers."""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .dispatch import Calls, calls
from .launches import Launch
from .pack import pack, packs
from .schedule import Schedule
from .tiles import (
    PER_BATCH,
    describable,
    flattened,
    in_order,
    items_of,
    launches_of,
    load_rows,
    locate_tile,
    programs,
    row_tiles,
    rows_from,
    store,
    tile_meta,
    tile_total,
)


def gate_up(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    plan: Schedule | None,
    launch: Launch,
    precision: str = "ieee",
    seen: Calls | None = None,
) -> torch.Tensor:
    """silu(x @ gate.T) * (x @ up.T) for every scheduled row.

    x [tokens, hidden]; w_gate_up [experts, 2 * intermediate, hidden], gate rows first. Returns the activation
    [rows, intermediate] in x's dtype, rows in the schedule's order. Without a plan there is one expert, and
    row i is token i (the shared experts); of `one_token` row i is slot i. Products as in `project`; SiLU and
    the product are float32; one rounding, at the store. SwiGLU: Shazeer, arXiv 2002.05202.
    """
    rows = x.shape[0] if plan is None else plan.tokens * plan.top_k
    activation = torch.empty(rows, w_gate_up.shape[1] // 2, dtype=x.dtype, device=x.device)
    if rows:
        seen = seen or calls(launch, x, w_gate_up, also=(precision, plan and plan.top_k, in_order(plan)))
        launches = launches_of(launch, plan)
        packed = pack(x, w_gate_up, plan, launches, seen)
        for each, when in launches:
            source = packed if packed is not None and packs(each) else x
            _gate_up(source, w_gate_up, activation, plan, each, when, precision, seen)
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
    (rows, intermediate), hidden = activation.shape, x.shape[1]
    max_tiles = -(-rows // launch.block_m) if plan is None else plan.max_tiles
    tile, wide = launch.gate_up, launch.gate_up.wide and describable(x, w_gate_up)
    ordered = in_order(plan) or (wide and packs(launch))
    tail = 0 if in_order(plan) else launch.tail
    written = wide and flattened(tile, tail) and describable(activation)
    w_tiles = None
    if wide:  # gate and up as one operand: a tile takes the same columns of both
        stride_e, stride_n, _ = w_gate_up.stride()
        shape = [w_gate_up.shape[0], 2, intermediate, hidden]
        strides = [stride_e, intermediate * stride_n, stride_n, 1]
        w_tiles = TensorDescriptor(w_gate_up, shape, strides, [1, 2, tile.block_n, tile.block_k])
    arguments = (
        x,
        w_gate_up,
        activation,
        w_tiles,
        *row_tiles(x if wide and ordered else None, [launch.block_m, tile.short, tail], tile.block_k),
        *row_tiles(activation if written else None, [launch.block_m], tile.block_n),
        *(plan[:5] if plan is not None else (None,) * 5),
        rows,
        max_tiles,
        w_gate_up.shape[0],
        intermediate,
        hidden,
        0 if plan is not None and in_order(plan) else x.stride(0),
        x.stride(1),
        *w_gate_up.stride(),
    )

    def meta() -> dict[str, Any]:
        return dict(
            TOP_K=1 if ordered else plan.top_k,
            IN_ORDER=ordered,
            PRECISION=precision,
            **tile_meta(tile, launch.block_m, tail, hidden, when, wide, plan),
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
    activation_tiles,
    sorted_slots,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    rows,
    max_tiles,
    experts,
    intermediate,
    hidden,
    stride_xt,
    stride_xh,
    stride_we,
    stride_wn,
    stride_wh,
    TOP_K: tl.constexpr,
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
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
    plan = (offsets, tile_expert, tile_row, rows, experts)
    row_tiles = (x_tiles, x_short_tiles, x_tail_tiles, activation_tiles)
    n_blocks = tl.cdiv(intermediate, BLOCK_N)
    work = tile_total(tile_count, max_tiles, DENSE, WHEN) * n_blocks
    program = tl.program_id(0)
    # No loop of one turn: what it keeps in scalar registers is too much for AMD.
    if PERSISTENT:
        programs = tl.num_programs(0)
        first, end, step = items_of(program, programs, work, tile_count, n_blocks, MIXED, True)
        for item in tl.range(first, end, step, flatten=FLATTEN):
            _work(
                item,
                problem,
                plan,
                row_tiles,
                TOP_K,
                DENSE,
                EACH,
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
        if program < work:
            item, _, _ = items_of(program, work, work, tile_count, n_blocks, MIXED, False)
            _work(
                item,
                problem,
                plan,
                row_tiles,
                TOP_K,
                DENSE,
                EACH,
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
    row_tiles,
    TOP_K: tl.constexpr,
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
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
    x_tiles, x_short_tiles, x_tail_tiles, activation_tiles = row_tiles
    place = locate_tile(item, plan, sizes[0], DENSE, EACH, BLOCK_M, TAIL, BLOCK_N, GROUP_M)
    left = place[2] - place[1]
    if (left == 0) if EACH else False:
        pass  # a skipped slot
    elif (left <= SHORT + TAIL) if SHORT else False:
        _tile(
            place,
            problem,
            x_short_tiles,
            x_tail_tiles,
            None,
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
            activation_tiles,
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
            activation_tiles,
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
    activation_tiles,
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
            a = load_rows(x_tiles, first_row, last_row, k0, BLOCK_M, BLOCK_K)
            if TAIL:
                tail = load_rows(x_tail_tiles, first_row + BLOCK_M, last_row, k0, TAIL, BLOCK_K)
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
    made = activation, activation_tiles
    store(made, swiglu(gate, up), place, intermediate, BLOCK_M, BLOCK_N, SWAPPED, 1)
    if TAIL:
        if WIDE:
            tail_gate, tail_up = tl.split(tl.permute(tl.reshape(tail_both, (2, BLOCK_N, TAIL)), (1, 2, 0)))
        place = expert, first_row + BLOCK_M, last_row, n_block
        store((activation, None), swiglu(tail_gate, tail_up), place, intermediate, TAIL, BLOCK_N, True, 1)


@triton.jit
def swiglu(gate, up):
    return gate / (1.0 + tl.exp(-gate)) * up
