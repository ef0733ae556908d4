"""Stage 4, down: each activation row through its expert's second projection."""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .dispatch import Calls, calls
from .launches import Launch
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


def down(
    activation: torch.Tensor,
    w_down: torch.Tensor,
    plan: Schedule | None,
    launch: Launch,
    precision: str = "ieee",
    seen: Calls | None = None,
) -> torch.Tensor:
    """activation @ w_down.T, row by row with the row's expert.

    activation [rows, intermediate] in the schedule's order; w_down [experts, hidden, intermediate]. Returns
    [rows, hidden] in the same order, in activation's dtype; what is no expert's row is left unwritten.
    Without a plan: one expert. Float32 accumulation, one rounding, at the store.
    """
    rows = activation.shape[0]
    partial = torch.empty(rows, w_down.shape[1], dtype=activation.dtype, device=activation.device)
    if rows:
        seen = seen or calls(launch, activation, w_down, also=(precision, plan is None, in_order(plan)))
        for each, when in launches_of(launch, plan):
            _down(activation, w_down, partial, plan, each, when, precision, seen)
    return partial


def _down(
    activation: torch.Tensor,
    w_down: torch.Tensor,
    partial: torch.Tensor,
    plan: Schedule | None,
    launch: Launch,
    when: int,
    precision: str,
    seen: Calls,
) -> None:
    rows, intermediate = activation.shape
    hidden = w_down.shape[1]
    max_tiles = -(-rows // launch.block_m) if plan is None else plan.max_tiles
    tile = launch.down
    wide = tile.wide and describable(activation, w_down)
    tail = 0 if in_order(plan) else launch.tail
    written = wide and flattened(tile, tail) and describable(partial)
    w_tiles = TensorDescriptor.from_tensor(w_down, [1, tile.block_n, tile.block_k]) if wide else None
    arguments = (
        activation,
        w_down,
        partial,
        w_tiles,
        *row_tiles(activation if wide else None, [launch.block_m, tile.short, tail], tile.block_k),
        *row_tiles(partial if written else None, [launch.block_m], tile.block_n // 2),
        *(plan[1:5] if plan is not None else (None,) * 4),
        rows,
        max_tiles,
        w_down.shape[0],
        hidden,
        intermediate,
        *activation.stride(),
        *w_down.stride(),
    )

    def meta() -> dict[str, Any]:
        return dict(
            PRECISION=precision,
            **tile_meta(tile, launch.block_m, tail, intermediate, when, wide, plan),
        )

    work = max_tiles * -(-hidden // tile.block_n)
    seen.launch(down_kernel, programs(tile, work), arguments, meta, f"down{when}")


@triton.jit(do_not_specialize=PER_BATCH)
def down_kernel(
    activation,
    w_down,
    partial,
    w_tiles,
    a_tiles,
    a_short_tiles,
    a_tail_tiles,
    partial_tiles,
    offsets,
    tile_expert,
    tile_row,
    tile_count,
    rows,
    max_tiles,
    experts,
    hidden,
    intermediate,
    stride_ar,
    stride_ai,
    stride_we,
    stride_wh,
    stride_wi,
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
    WHEN: tl.constexpr,
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
        (activation, w_down, partial, w_tiles),
        (hidden, intermediate),
        (stride_ar, stride_ai, stride_we, stride_wh, stride_wi),
    )
    plan = (offsets, tile_expert, tile_row, rows, experts)
    row_tiles = (a_tiles, a_short_tiles, a_tail_tiles, partial_tiles)
    n_blocks = tl.cdiv(hidden, BLOCK_N)
    work = tile_total(tile_count, max_tiles, DENSE, WHEN) * n_blocks
    program = tl.program_id(0)
    # As in gate_up.
    if PERSISTENT:
        programs = tl.num_programs(0)
        first, end, step = items_of(program, programs, work, tile_count, n_blocks, MIXED, True)
        for item in tl.range(first, end, step, flatten=FLATTEN):
            _work(
                item,
                problem,
                plan,
                row_tiles,
                DENSE,
                EACH,
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
                DENSE,
                EACH,
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
    DENSE: tl.constexpr,
    EACH: tl.constexpr,
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
    a_tiles, a_short_tiles, a_tail_tiles, partial_tiles = row_tiles
    place = locate_tile(item, plan, sizes[0], DENSE, EACH, BLOCK_M, TAIL, BLOCK_N, GROUP_M)
    left = place[2] - place[1]
    if (left == 0) if EACH else False:
        pass  # a skipped slot
    elif (left <= SHORT + TAIL) if SHORT else False:
        _tile(
            place,
            problem,
            a_short_tiles,
            a_tail_tiles,
            None,
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
            a_tiles,
            a_tail_tiles,
            partial_tiles,
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
            a_tiles,
            None,
            partial_tiles,
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
    a_tiles,
    a_tail_tiles,
    partial_tiles,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """BLOCK_M rows of an expert, and TAIL more, by BLOCK_N columns of the output."""
    expert, first_row, last_row, n_block = place
    tensors, sizes, strides = problem
    activation, w_down, partial, w_tiles = tensors
    hidden, intermediate = sizes
    stride_ar, stride_ai, stride_we, stride_wh, stride_wi = strides
    column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    k_step = tl.cast(BLOCK_K, tl.int64)
    if not WIDE:
        # As in gate_up: past the end, the last row and column again.
        n = tl.minimum(column, hidden - 1).to(tl.int64)[:, None]
        w_ptrs = (
            w_down + expert.to(tl.int64) * stride_we + n * stride_wh + k.to(tl.int64)[None, :] * stride_wi
        )
        row = rows_from(first_row, last_row, None, 1, True, BLOCK_M)
        a_ptrs = activation + row[:, None] * stride_ar + k.to(tl.int64)[None, :] * stride_ai
        if TAIL:
            row = rows_from(first_row + BLOCK_M, last_row, None, 1, True, TAIL)
            tail_ptrs = activation + row[:, None] * stride_ar + k.to(tl.int64)[None, :] * stride_ai

    ROWS: tl.constexpr = BLOCK_N if SWAPPED else BLOCK_M
    COLUMNS: tl.constexpr = BLOCK_M if SWAPPED else BLOCK_N
    acc = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    if TAIL:
        tail_acc = tl.zeros((BLOCK_N, TAIL), dtype=tl.float32)
    for k0 in range(0, intermediate, BLOCK_K):
        k_mask = (k < intermediate - k0)[None, :]
        if WIDE:
            a = load_rows(a_tiles, first_row, last_row, k0, BLOCK_M, BLOCK_K)
            w = w_tiles.load([expert, n_block * BLOCK_N, k0]).reshape(BLOCK_N, BLOCK_K)
            if TAIL:
                tail = load_rows(a_tail_tiles, first_row + BLOCK_M, last_row, k0, TAIL, BLOCK_K)
        else:
            a = tl.load(a_ptrs) if EVEN_K else tl.load(a_ptrs, mask=k_mask, other=0.0)
            w = tl.load(w_ptrs) if EVEN_K else tl.load(w_ptrs, mask=k_mask, other=0.0)
            a_ptrs += k_step * stride_ai
            w_ptrs += k_step * stride_wi
            if TAIL:
                tail = tl.load(tail_ptrs) if EVEN_K else tl.load(tail_ptrs, mask=k_mask, other=0.0)
                tail_ptrs += k_step * stride_ai
        if SWAPPED:
            acc = tl.dot(w, tl.trans(a), acc, input_precision=PRECISION)
        else:
            acc = tl.dot(a, tl.trans(w), acc, input_precision=PRECISION)
        if TAIL:
            tail_acc = tl.dot(w, tl.trans(tail), tail_acc, input_precision=PRECISION)

    store((partial, partial_tiles), acc, place, hidden, BLOCK_M, BLOCK_N, SWAPPED, 2)
    if TAIL:
        place = expert, first_row + BLOCK_M, last_row, n_block
        store((partial, None), tail_acc, place, hidden, TAIL, BLOCK_N, True, 2)
