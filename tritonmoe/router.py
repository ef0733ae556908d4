"""Stage 1, the router: scores, the choice of experts and their weights, one token at a time."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from .config import MoEConfig
from .dispatch import Calls, calls
from .launches import Launch


class Routing(NamedTuple):
    """What the router decided: topk_ids [tokens, top_k] int32 in order of falling score, topk_weights
    [tokens, top_k] float32, logits [tokens, experts] float32."""

    topk_ids: torch.Tensor
    topk_weights: torch.Tensor
    logits: torch.Tensor


def router(
    x: torch.Tensor,
    router_weight: torch.Tensor,
    config: MoEConfig,
    correction_bias: torch.Tensor | None,
    launch: Launch,
) -> Routing:
    """Logits, scores, choice and weights of every token, all in float32.

    x [tokens, hidden]; router_weight [experts, hidden]; correction_bias [experts] or None. Scores and
    group-limited choice as in DeepSeek-V3 (arXiv 2412.19437, 2.1.2) and Mixtral (arXiv 2401.04088, 2.1).
    Equal scores go to the lowest expert index. A NaN ranks below everything, so ids stay valid and distinct,
    and the weights of that token become NaN.
    """
    tokens, device = x.shape[0], x.device
    seen = calls(launch, x, router_weight, correction_bias, also=config)
    logits = project(x, router_weight, launch, seen)
    ids = torch.empty(tokens, config.top_k, dtype=torch.int32, device=device)
    weights = torch.empty(tokens, config.top_k, dtype=torch.float32, device=device)
    if tokens == 0:
        return Routing(ids, weights, logits)
    group_size = config.experts // config.expert_groups
    groups_pad, size_pad = triton.next_power_of_2(config.expert_groups), triton.next_power_of_2(group_size)
    block_t = max(1, launch.choose.lanes // (groups_pad * size_pad))
    bias_stride = correction_bias.stride(0) if correction_bias is not None else 0
    arguments = (
        logits,
        correction_bias,
        ids,
        weights,
        tokens,
        config.experts,
        bias_stride,
        config.routed_scaling_factor,
    )

    def meta() -> dict[str, Any]:
        return dict(
            TOP_K=config.top_k,
            TOP_K_PAD=triton.next_power_of_2(config.top_k),
            GROUPS=config.expert_groups,
            GROUPS_PAD=groups_pad,
            GROUPS_KEPT=config.groups_kept,
            GROUP_SIZE=group_size,
            GROUP_SIZE_PAD=size_pad,
            SIGMOID=config.scoring == "sigmoid",
            RENORMALIZE=config.renormalize,
            HAS_BIAS=correction_bias is not None,
            BLOCK_T=block_t,
            **launch.choose.options,
        )

    seen.launch(choose_kernel, (-(-tokens // block_t), 1, 1), arguments, meta, "choose")
    return Routing(ids, weights, logits)


def project(x: torch.Tensor, weight: torch.Tensor, launch: Launch, seen: Calls | None = None) -> torch.Tensor:
    """x [tokens, hidden] times weight [rows, hidden] transposed: [tokens, rows] float32, never rounded to x's
    dtype.

    Products in weight's dtype (exact in float32 for 16-bit inputs, IEEE for float32), accumulated in float32.
    """
    tokens, hidden = x.shape
    rows = weight.shape[0]
    out = torch.empty(tokens, rows, dtype=torch.float32, device=x.device)
    tile = launch.project
    if not tokens:
        return out
    arguments = (x, weight, out, tokens, rows, hidden, *x.stride(), *weight.stride())

    def meta() -> dict[str, Any]:
        return dict(
            BLOCK_M=tile.block_m,
            BLOCK_N=tile.block_n,
            BLOCK_K=tile.block_k,
            EVEN_K=hidden % tile.block_k == 0,
            **tile.options,
        )

    seen = seen or calls(launch, x, weight, also="project")
    grid = (-(-tokens // tile.block_m), -(-rows // tile.block_n), 1)
    seen.launch(project_kernel, grid, arguments, meta, "project")
    return out


@triton.jit(do_not_specialize=["tokens"])
def project_kernel(
    x,
    weight,
    out,
    tokens,
    rows,
    hidden,
    stride_xt,
    stride_xh,
    stride_wr,
    stride_wh,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    read_m, read_n = tl.minimum(m, tokens - 1), tl.minimum(n, rows - 1)
    x_ptrs = x + read_m.to(tl.int64)[:, None] * stride_xt + k.to(tl.int64)[None, :] * stride_xh
    w_ptrs = weight + read_n.to(tl.int64)[None, :] * stride_wr + k.to(tl.int64)[:, None] * stride_wh
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k0 in range(0, hidden, BLOCK_K):
        if EVEN_K:
            a = tl.load(x_ptrs)
            b = tl.load(w_ptrs)
        else:
            a = tl.load(x_ptrs, mask=(k < hidden - k0)[None, :], other=0.0)
            b = tl.load(w_ptrs, mask=(k < hidden - k0)[:, None], other=0.0)
        acc = tl.dot(a.to(b.dtype), b, acc, input_precision="ieee")
        x_ptrs += tl.cast(BLOCK_K, tl.int64) * stride_xh
        w_ptrs += tl.cast(BLOCK_K, tl.int64) * stride_wh
    tl.store(
        out + m.to(tl.int64)[:, None] * rows + n[None, :],
        acc,
        mask=(m < tokens)[:, None] & (n < rows)[None, :],
    )


@triton.jit(do_not_specialize=["tokens"])
def choose_kernel(
    logits,
    bias,
    ids,
    weights,
    tokens,
    experts,
    stride_b,
    scale,
    TOP_K: tl.constexpr,
    TOP_K_PAD: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUPS_PAD: tl.constexpr,
    GROUPS_KEPT: tl.constexpr,
    GROUP_SIZE: tl.constexpr,
    GROUP_SIZE_PAD: tl.constexpr,
    SIGMOID: tl.constexpr,
    RENORMALIZE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    LANES: tl.constexpr = GROUPS_PAD * GROUP_SIZE_PAD
    DEAD: tl.constexpr = -(2**31)
    lane = tl.arange(0, LANES)
    expert = (
        lane // GROUP_SIZE_PAD * GROUP_SIZE + lane % GROUP_SIZE_PAD
    )  # rises with the lane: ties keep their order
    valid = (lane // GROUP_SIZE_PAD < GROUPS) & (lane % GROUP_SIZE_PAD < GROUP_SIZE)
    token = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    here = token < tokens
    row = token.to(tl.int64)[:, None]

    logit = tl.load(
        logits + row * experts + expert[None, :], mask=here[:, None] & valid[None, :], other=float("-inf")
    )
    if SIGMOID:
        score = tl.div_rn(tl.full((BLOCK_T, LANES), 1.0, tl.float32), 1.0 + tl.exp(-logit))
    else:
        power = tl.exp(logit - tl.max(logit, axis=1)[:, None])
        score = tl.div_rn(power, tl.sum(power, axis=1)[:, None] + tl.zeros((BLOCK_T, LANES), tl.float32))
    # Without a bias or groups the score only rises with the logit, which the exponential cannot blur.
    choice = logit
    if HAS_BIAS or GROUPS > 1:
        choice = score
    if HAS_BIAS:
        choice += tl.load(bias + expert.to(tl.int64) * stride_b, mask=valid, other=0.0).to(tl.float32)[
            None, :
        ]

    key = tl.where(valid[None, :], _ordered(choice), DEAD)
    if GROUPS > 1:
        key = _keep_best_groups(key, BLOCK_T, GROUPS, GROUPS_PAD, GROUPS_KEPT, GROUP_SIZE_PAD, DEAD)

    column = tl.arange(0, TOP_K_PAD)
    weight = tl.zeros((BLOCK_T, TOP_K_PAD), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    for j in range(TOP_K):
        best = tl.max(key, axis=1)[:, None]
        winner = tl.min(tl.where(key == best, lane[None, :], LANES), axis=1)
        chosen = lane[None, :] == winner[:, None]
        w = tl.sum(tl.where(chosen, score, 0.0), axis=1)
        key = tl.where(chosen, DEAD, key)
        weight = tl.where(column[None, :] == j, w[:, None], weight)
        total += w
        winner_expert = winner // GROUP_SIZE_PAD * GROUP_SIZE + winner % GROUP_SIZE_PAD
        tl.store(ids + token.to(tl.int64) * TOP_K + j, winner_expert, mask=here)
    if RENORMALIZE:
        weight = tl.div_rn(weight, (total + 1e-20)[:, None] + tl.zeros((BLOCK_T, TOP_K_PAD), tl.float32))
    mask = here[:, None] & (column < TOP_K)[None, :]
    tl.store(weights + row * TOP_K + column[None, :], weight * scale, mask=mask)


@triton.jit
def _ordered(value):
    """float32 to int32 with the same order on every GPU, whatever it does with NaN, zero's sign or
    subnormals.
    """
    bits = tl.where(value == 0.0, 0.0, value).to(tl.int32, bitcast=True)
    key = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return tl.where(value != value, -(2**31) + 1, key)


@triton.jit
def _unordered(key):
    return tl.where(key < 0, key ^ 0x7FFFFFFF, key).to(tl.float32, bitcast=True)


@triton.jit
def _keep_best_groups(
    key,
    BLOCK_T: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUPS_PAD: tl.constexpr,
    GROUPS_KEPT: tl.constexpr,
    GROUP_SIZE_PAD: tl.constexpr,
    DEAD: tl.constexpr,
):
    """Marks all experts dead but those of the groups whose two best scores have the largest sums."""
    member = tl.arange(0, GROUP_SIZE_PAD)[None, None, :]
    group = tl.arange(0, GROUPS_PAD)[None, :]
    grouped = tl.reshape(key, (BLOCK_T, GROUPS_PAD, GROUP_SIZE_PAD))
    first = tl.max(grouped, axis=2)
    where_first = tl.min(tl.where(grouped == first[:, :, None], member, GROUP_SIZE_PAD), axis=2)
    second = tl.max(tl.where(member == where_first[:, :, None], DEAD, grouped), axis=2)
    group_key = tl.where(group < GROUPS, _ordered(_unordered(first) + _unordered(second)), DEAD)
    kept = tl.zeros((BLOCK_T, GROUPS_PAD), tl.int32)
    for _ in range(GROUPS_KEPT):
        best = tl.max(group_key, axis=1)[:, None]
        winner = tl.min(tl.where(group_key == best, group, GROUPS_PAD), axis=1)[:, None]
        kept = tl.where(group == winner, 1, kept)
        group_key = tl.where(group == winner, DEAD, group_key)
    alive = tl.where(kept[:, :, None] != 0, grouped, DEAD)
    return tl.reshape(alive, (BLOCK_T, GROUPS_PAD * GROUP_SIZE_PAD))
