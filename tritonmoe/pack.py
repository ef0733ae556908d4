"""Rows of x copied into the schedule's order, where reading them as whole tiles pays for the copy."""

from typing import Any

import torch
import triton
import triton.language as tl

from .dispatch import Calls
from .launches import Launch
from .schedule import Schedule
from .tiles import tile_total


def pack(x: torch.Tensor, plan: Schedule, launch: Launch, when: int, seen: Calls) -> torch.Tensor:
    """x[sorted_slots[r] // top_k] for every scheduled row r; x [tokens, hidden], result [tokens * top_k,
    hidden].
    """
    rows, hidden = plan.tokens * plan.top_k, x.shape[1]
    packed = torch.empty(rows, hidden, dtype=x.dtype, device=x.device)
    block = min(launch.sum.lanes, 1 << (hidden - 1).bit_length())
    experts = plan.offsets.numel() - 1
    arguments = (x, packed, plan.sorted_slots, plan.offsets, plan.tile_count, experts, hidden, *x.stride())

    def meta() -> dict[str, Any]:
        return dict(TOP_K=plan.top_k, WHEN=when, BLOCK=block, **launch.sum.options)

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
    if row >= tl.load(offsets + experts) or tile_total(tile_count, 0, False, WHEN) == 0:
        return
    token = (tl.load(sorted_slots + row) // TOP_K).to(tl.int64)
    h = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + token * stride_xt + h.to(tl.int64) * stride_xh, mask=h < hidden)
    tl.store(packed + row.to(tl.int64) * hidden + h, value, mask=h < hidden)
