"""Stage 5, combine: the weighted sum over a token's experts, always in the same order."""

from typing import Any

import torch
import triton
import triton.language as tl

from .dispatch import Calls, calls
from .launches import Launch


def combine(
    partial: torch.Tensor,
    topk_ids: torch.Tensor,
    topk_weights: torch.Tensor,
    experts: int,
    launch: Launch,
    shared: torch.Tensor | None = None,
    shared_logit: torch.Tensor | None = None,
    places: torch.Tensor | None = None,
    seen: Calls | None = None,
) -> torch.Tensor:
    """y[t] = sum over j of weight[t, j] * partial[place of slot t * top_k + j], in order of j, then shared.

    partial [tokens * top_k, hidden]; topk_ids and topk_weights [tokens, top_k]; slots whose id is outside [0,
    experts) are not read. places as in `Schedule`, or None where a slot is its own place. shared [tokens,
    hidden] is added last, times sigmoid(shared_logit [tokens, 1]) if given. Returns [tokens, hidden] in
    partial's dtype: float32 fused multiply-adds, one rounding, at the store.
    """
    tokens, top_k = topk_ids.shape
    hidden = partial.shape[1]
    y = torch.empty(tokens, hidden, dtype=partial.dtype, device=partial.device)
    if not tokens:
        return y
    block = min(launch.sum.lanes, 1 << (hidden - 1).bit_length())
    arguments = (
        partial,
        topk_ids,
        topk_weights,
        shared,
        shared_logit,
        places,
        y,
        experts,
        hidden,
        *topk_ids.stride(),
        *topk_weights.stride(),
    )

    def meta() -> dict[str, Any]:
        return dict(
            TOP_K=top_k,
            HAS_SHARED=shared is not None,
            HAS_GATE=shared_logit is not None,
            PLACED=places is not None,
            BLOCK=block,
            **launch.sum.options,
        )

    seen = seen or calls(launch, partial, topk_ids, topk_weights, shared, shared_logit, places)
    seen.launch(combine_kernel, (tokens, -(-hidden // block), 1), arguments, meta, "combine")
    return y


@triton.jit(
    do_not_specialize=["experts", "stride_it", "stride_ik", "stride_wt", "stride_wk"],
    do_not_specialize_on_alignment=["topk_ids", "topk_weights"],
)
def combine_kernel(
    partial,
    topk_ids,
    topk_weights,
    shared,
    shared_logit,
    places,
    y,
    experts,
    hidden,
    stride_it,
    stride_ik,
    stride_wt,
    stride_wk,
    TOP_K: tl.constexpr,
    HAS_SHARED: tl.constexpr,
    HAS_GATE: tl.constexpr,
    PLACED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    h = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = h < hidden
    acc = tl.zeros((BLOCK,), tl.float32)
    for j in tl.static_range(TOP_K):  # unrolled: all loads are on their way before the first is needed
        position = token * 0 + j
        expert = tl.load(topk_ids + token * stride_it + position * stride_ik) + tl.zeros((BLOCK,), tl.int32)
        weight = tl.load(topk_weights + token * stride_wt + position * stride_wk).to(tl.float32)
        served = mask & (expert >= 0) & (expert < experts)
        row = token * TOP_K + j
        if PLACED:
            row = tl.load(places + row).to(tl.int64)
        value = tl.load(partial + row * hidden + h, mask=served, other=0.0).to(tl.float32)
        # A skipped slot's weight may be anything, NaN too, and must not count.
        acc = tl.fma(tl.where(served, weight, 0.0), value, acc)
    if HAS_SHARED:
        extra = tl.load(shared + token * hidden + h, mask=mask, other=0.0).to(tl.float32)
        if HAS_GATE:
            scale = 1.0 / (1.0 + tl.exp(-tl.load(shared_logit + token)))
            acc = tl.fma(scale + tl.zeros((BLOCK,), tl.float32), extra, acc)
        else:
            acc += extra
    tl.store(y + token * hidden + h, acc.to(y.dtype.element_ty), mask=mask)
