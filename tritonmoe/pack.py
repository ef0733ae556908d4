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
    block = min(8 * lanes.lanes, 1 << (hidden - 1).bit_length())
    experts = plan.offsets.numel() - 1
    arguments = (x, packed, plan.sorted_slots, plan.offsets, plan.tile_count, experts, hidden, *x.stride())

    def meta() -> dict[str, Any]:
        return dict(TOP_K=plan.top_k, WHEN=when, BLOCK=block, **lanes.options)

    seen.launch(pack_kernel, (rows, -(-hidden // block), 1), arguments, meta, f"pack{when}")
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
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    if row < tl.load(offsets + experts) and tile_total(tile_count, 0, False, WHEN) > 0:
        token = (tl.load(sorted_slots + row) // TOP_K).to(tl.int64)
        h = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + token * stride_xt + h.to(tl.int64) * stride_xh, mask=h < hidden)
        tl.store(packed + row.to(tl.int64) * hidden + h, value, mask=h < hidden)
