"""Rows of x copied into the schedule's order, where reading them as whole tiles pays for the copy."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from .dispatch import Calls
from .launches import Launch
from .schedule import Schedule
from .tiles import describable, in_order, tile_total

ROWS = 16  # that a program copies


def packs(launch: Launch) -> bool:
    """Whether rows are read from a copy where descriptors can read them at all."""
    return launch.gate_up.wide and launch.gate_up.packed


def pack(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    plan: Schedule | None,
    launches: Sequence[tuple[Launch, int]],
    seen: Calls,
) -> torch.Tensor | None:
    """x[sorted_slots[r] // top_k] for every scheduled row r, copied once for all launches that pack; None if
    none does. x [tokens, hidden], result [tokens * top_k, hidden].
    """
    whens = [when for each, when in launches if packs(each)]
    if not whens or in_order(plan) or not describable(x, w_gate_up):
        return None
    rows, hidden = plan.tokens * plan.top_k, x.shape[1]
    packed = torch.empty(rows, hidden, dtype=x.dtype, device=x.device)
    lanes, when = launches[0][0].sum, whens[0] if len(whens) == 1 else 2
    # Few programs: of two launches that read rows otherwise, one finds that there is nothing to copy.
    block = min(lanes.lanes // 2, triton.next_power_of_2(hidden))
    experts = plan.offsets.numel() - 1
    arguments = (x, packed, plan.sorted_slots, plan.offsets, plan.tile_count, experts, hidden, *x.stride())

    def meta() -> dict[str, Any]:
        return dict(TOP_K=plan.top_k, WHEN=when, ROWS=ROWS, BLOCK=block, **lanes.options)

    grid = (-(-rows // ROWS), -(-hidden // block), 1)
    seen.launch(pack_kernel, grid, arguments, meta, f"pack{when}")
    return packed


@triton.jit(do_not_specialize=["experts"])
def pack_kernel(
    x,
    packed,
    sorted_slots,
    offsets,
    tile_count,
    experts,
    hidden,
    stride_xt,
    stride_xh,
    TOP_K: tl.constexpr,
    WHEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # A few columns of all rows first: those of x stay in the cache until each of a token's copies is made.
    first = tl.program_id(0) * ROWS
    end = tl.load(offsets + experts)
    if first < end and tile_total(tile_count, 0, False, WHEN) > 0:
        row = first + tl.arange(0, ROWS)
        token = (tl.load(sorted_slots + row, mask=row < end, other=0) // TOP_K).to(tl.int64)
        h = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        mask = (row < end)[:, None] & (h < hidden)[None, :]
        value = tl.load(x + token[:, None] * stride_xt + h.to(tl.int64)[None, :] * stride_xh, mask=mask)
        tl.store(packed + row.to(tl.int64)[:, None] * hidden + h[None, :], value, mask=mask)
