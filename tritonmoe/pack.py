"""Rows of x copied into the schedule's order, where reading them as whole tiles pays for the copy."""

import torch
import triton
import triton.language as tl

from .launches import Launch
from .schedule import Schedule


def pack(x: torch.Tensor, plan: Schedule, launch: Launch) -> torch.Tensor:
    """x[sorted_slots[r] // top_k] for every scheduled row r; x [tokens, hidden], result [tokens * top_k,
    hidden].
    """
    rows, hidden = plan.tokens * plan.top_k, x.shape[1]
    packed = torch.empty(rows, hidden, dtype=x.dtype, device=x.device)
    block = min(launch.sum.lanes, triton.next_power_of_2(hidden))
    experts = plan.offsets.numel() - 1
    pack_kernel[(rows, triton.cdiv(hidden, block))](
        x,
        packed,
        plan.sorted_slots,
        plan.offsets,
        experts,
        hidden,
        x.stride(0),
        x.stride(1),
        TOP_K=plan.top_k,
        BLOCK=block,
        **launch.sum.options,
    )
    return packed


@triton.jit(do_not_specialize=["experts"])
def pack_kernel(
    x,
    packed,
    sorted_slots,
    offsets,
    experts,
    hidden,
    stride_xt,
    stride_xh,
    TOP_K: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    if row >= tl.load(offsets + experts):
        return
    token = (tl.load(sorted_slots + row) // TOP_K).to(tl.int64)
    h = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + token * stride_xt + h.to(tl.int64) * stride_xh, mask=h < hidden)
    tl.store(packed + row.to(tl.int64) * hidden + h, value, mask=h < hidden)
