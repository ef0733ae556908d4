"""The router in float64: scores, which choices are right where two are too close to call, and the weights.

Group-limited choice and the correction bias that chooses but never weighs: DeepSeek-V3 (arXiv 2412.19437,
2.1.2); softmax over all experts, then top-k: Mixtral (arXiv 2401.04088, 2.1).
"""

from dataclasses import dataclass

import torch

from tritonmoe import MoEConfig

from .quantity import DIVISION_ERROR, TINY, U32, Quantity, dot, exp_error, sigmoid


def logits(x: torch.Tensor, router_weight: torch.Tensor, exact: bool) -> Quantity:
    """x @ router_weight.T, products in router_weight's dtype, float32 sums, never rounded to x's dtype."""
    rows = router_weight.double()[None].expand(x.shape[0], -1, -1)
    return dot(Quantity.given(x), rows, router_weight.dtype, exact)


def scores(logit: Quantity, scoring: str, noise: torch.Tensor | None) -> Quantity:
    """Softmax over a row, or sigmoid of each logit, in float32."""
    if scoring == "sigmoid":
        return sigmoid(logit, noise)
    value = torch.softmax(logit.value, dim=1)
    distance = logit.value.max(dim=1, keepdim=True).values - logit.value
    evaluated = exp_error(distance, 2 * logit.bound) + U32 * (distance + 2 * logit.bound)
    summed = U32 * logit.value.shape[1] + U32 + DIVISION_ERROR

    def error(of_logits: torch.Tensor) -> torch.Tensor:
        each = of_logits + evaluated
        relative = each + torch.log((value * torch.exp(each)).sum(dim=1, keepdim=True)) + summed
        return value * torch.expm1(relative) + TINY[torch.float32]

    model = torch.softmax(logit.model, dim=1)
    if noise is not None:
        model = (model * (1 + noise * (evaluated / 2 + 2 * U32))).float().double()
    return Quantity(value, error(logit.bound), error(logit.slack), model)


def weights(score: Quantity, ids: torch.Tensor, config: MoEConfig) -> Quantity:
    """Scores of the chosen experts ids [tokens, top_k], renormalized if the model does, scaled."""
    chosen = Quantity(*(part.gather(1, ids) for part in (score.value, score.bound, score.slack, score.model)))
    if not config.renormalize:
        return _scaled(chosen, config.routed_scaling_factor)
    total = chosen.value.sum(dim=1, keepdim=True) + 1e-20
    value = chosen.value / total
    rest = total - chosen.value

    def error(of_scores: torch.Tensor) -> torch.Tensor:
        """|d(w_i)| <= (rest_i |d s_i| + s_i sum of the others' |d s_j|) / total**2, with the total at its
        least.
        """
        others = of_scores.sum(dim=1, keepdim=True) - of_scores
        least = (total - of_scores.sum(dim=1, keepdim=True)).clamp_min(1e-30)
        moved = (rest * of_scores + chosen.value * others) / (total * least)
        return moved + (config.top_k + 2) * U32 * value

    summed = torch.zeros(ids.shape[0], dtype=torch.float32)
    for j in range(ids.shape[1]):
        summed = summed + chosen.model[:, j].float()
    model = (chosen.model / (summed.double() + 1e-20)[:, None]).float().double()
    made = Quantity(value, error(chosen.bound), error(chosen.slack), model)
    return _scaled(made, config.routed_scaling_factor)


def _scaled(weight: Quantity, scale: float) -> Quantity:
    if scale == 1.0:
        return weight
    scale = float(torch.tensor(scale, dtype=torch.float32))
    value = weight.value * scale
    model = (weight.model * scale).float().double()
    return Quantity(value, weight.bound * scale + U32 * value.abs(), weight.slack * scale, model)


def choose(logit: Quantity, score: Quantity, bias: torch.Tensor | None, config: MoEConfig) -> torch.Tensor:
    """ids [tokens, top_k] int64 as the simulated kernel chooses: by falling value, ties to the lowest
    index.
    """
    basis = (score if bias is not None or config.expert_groups > 1 else logit).model
    if bias is not None:
        basis = (basis + bias.double()).float().double()
    if config.expert_groups > 1:
        grouped = basis.view(basis.shape[0], config.expert_groups, -1)
        best = torch.sort(grouped, dim=2, descending=True).values[:, :, :2].sum(dim=2).float()
        kept = torch.sort(best, dim=1, descending=True, stable=True).indices[:, : config.groups_kept]
        alive = torch.zeros_like(best, dtype=torch.bool).scatter_(1, kept, True)
        basis = grouped.masked_fill(~alive[:, :, None], -torch.inf).view_as(basis)
    return torch.sort(basis, dim=1, descending=True, stable=True).indices[:, : config.top_k]


@dataclass(frozen=True)
class ChoiceCheck:
    """wrong [tokens]: why a row's choice cannot be right, "" where it can; near [tokens] bool: rows too close
    to call, where more than one choice is right.
    """

    wrong: list[str]
    near: torch.Tensor


def check_choice(
    ids: torch.Tensor, logit: Quantity, score: Quantity, bias: torch.Tensor | None, config: MoEConfig
) -> ChoiceCheck:
    """Whether ids [tokens, top_k] is a right choice, in its order, of every row.

    Values closer than their bounds may come in either order; equal values without error (exact examples) must
    come in the order of their index.
    """
    by_score = bias is not None or config.expert_groups > 1
    basis = score if by_score else logit
    value, bound = basis.value, basis.bound
    if bias is not None:
        value = value + bias.double()
        bound = torch.where(bound > 0, bound + U32 * (value.abs() + bound), bound)
    tokens = value.shape[0]
    wrong, near = [], torch.zeros(tokens, dtype=torch.bool)
    for t in range(tokens):
        groups = _Groups(value[t], bound[t], config)
        reason, close = _check_row([int(i) for i in ids[t]], value[t], bound[t], groups, config.top_k)
        wrong.append(reason)
        near[t] = close or bool(groups.maybe)
    return ChoiceCheck(wrong, near)


class _Groups:
    """Which expert groups of one row are kept for sure, and which perhaps."""

    def __init__(self, value: torch.Tensor, bound: torch.Tensor, config: MoEConfig) -> None:
        count, kept = config.expert_groups, config.groups_kept
        self.size = config.experts // count
        if count == 1:
            self.sure, self.maybe = {0}, set()
            return
        best = value.view(count, self.size).topk(2, dim=1)
        group_value = best.values.sum(dim=1)
        error = bound.view(count, self.size).max(dim=1).values
        group_error = torch.where(error > 0, 2 * error + U32 * group_value.abs(), error)
        order = sorted(range(count), key=lambda g: (-float(group_value[g]), g))
        last_in, first_out = order[kept - 1], order[kept] if kept < count else None
        self.sure, self.maybe = set(order[:kept]), set()
        if first_out is None:
            return
        low = float(group_value[last_in] - group_error[last_in])
        high = float(group_value[first_out] + group_error[first_out])
        for g in order:
            reaches = float(group_value[g] + group_error[g]) >= low
            falls = float(group_value[g] - group_error[g]) <= high
            if reaches and falls and float(group_error[g]) > 0:
                self.maybe.add(g)
        self.sure -= self.maybe
        if len(self.maybe) == 1:  # nothing to be confused with
            self.sure |= self.maybe & set(order[:kept])
            self.maybe = set()


def _check_row(
    ids: list[int], value: torch.Tensor, bound: torch.Tensor, groups: _Groups, top_k: int
) -> tuple[str, bool]:
    """(what is wrong, whether the order or the set is too close to call) of one row."""
    v, b = value.tolist(), bound.tolist()
    widest = max(b)
    if len(set(ids)) != top_k or not all(0 <= i < len(v) for i in ids):
        return f"ids {ids} are not {top_k} distinct experts", False
    allowed = groups.sure | groups.maybe
    strayed = [i for i in ids if i // groups.size not in allowed]
    if strayed:
        return f"experts {strayed} are in groups that are not kept; kept {sorted(allowed)}", False
    rivals = sorted((i for i in range(len(v)) if i // groups.size in groups.sure), key=lambda i: (-v[i], i))
    near = False
    taken: set[int] = set()
    for i in ids:
        taken_here = taken | {i}
        for r in rivals:
            if r in taken_here:
                continue
            both = b[i] + b[r]
            if v[r] - v[i] > both or (both == 0 and v[r] == v[i] and r < i):
                return (
                    f"expert {i} ({v[i]:.9g} +- {b[i]:.3g}) was chosen before {r} ({v[r]:.9g} +- {b[r]:.3g})",
                    near,
                )
            near = near or (both > 0 and abs(v[r] - v[i]) <= both)
            if v[r] < v[i] - b[i] - widest:
                break
        taken = taken_here
    return "", near
