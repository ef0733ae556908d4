"""Experts and groups in the order of their scores: ties, neighbours, both zeros, ends of the range."""

from importlib import import_module

import pytest
import torch

import tritonmoe
from conformance.philox import Stream
from conformance.test_edges import COUNTS

HIDDEN = 24


@pytest.mark.parametrize("experts", COUNTS)
def test_any_number_of_experts_is_ranked(experts: int, device: torch.device) -> None:
    values = Stream(experts, "rank").permutation(experts).float()
    top_k = min(8, experts)
    found = route(values, device, experts=experts, top_k=top_k)
    expected = torch.argsort(values, descending=True)[:top_k]
    assert found.topk_ids[0].tolist() == expected.tolist()
    assert found.logits[0].tolist() == values.tolist()


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("value", [0.0, 1.0, 200.0, -200.0], ids=str)
def test_equal_scores_go_to_the_lowest_experts(value: float, scoring: str, device: torch.device) -> None:
    found = route(torch.full((33,), value), device, experts=33, top_k=5, scoring=scoring)
    assert found.topk_ids[0].tolist() == [0, 1, 2, 3, 4]


def test_zero_of_either_sign_is_one_score(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a product underflows to differs by GPU; given as logits, for no input makes both everywhere."""
    logits = torch.tensor([[-0.0, 0.0, -0.0, -1.0, 0.0, -2.0]], device=device)
    monkeypatch.setattr(import_module("tritonmoe.router"), "project", lambda *_: logits)
    config = tritonmoe.MoEConfig(experts=6, top_k=4, hidden=16, intermediate=16, renormalize=False)
    found = tritonmoe.route(torch.zeros(1, 16, device=device), torch.zeros(6, 16, device=device), config)
    assert found.topk_ids[0].tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    ("experts", "groups", "kept", "top_k"), [(60, 6, 3, 6), (20, 5, 2, 3), (27, 3, 1, 5), (96, 12, 5, 7)]
)
def test_groups_of_any_number_and_size_are_ranked(
    experts: int, groups: int, kept: int, top_k: int, scoring: str, device: torch.device
) -> None:
    logits = Stream(experts, "groups").permutation(experts).float() / 16
    found = route(
        logits, device, experts=experts, top_k=top_k, scoring=scoring, expert_groups=groups, groups_kept=kept
    )
    score = torch.sigmoid(logits.double()) if scoring == "sigmoid" else logits.double().softmax(0)
    best = score.view(groups, -1).topk(2, dim=1).values.sum(1).topk(kept).indices
    allowed = torch.isin(torch.arange(experts) // (experts // groups), best)
    expected = torch.where(allowed, score, -1).topk(top_k).indices
    assert found.topk_ids[0].tolist() == expected.tolist()
    assert torch.allclose(found.topk_weights[0].double(), score[expected], rtol=2e-6, atol=0)


@pytest.mark.parametrize(
    ("experts", "groups", "kept", "top_k"), [(60, 6, 3, 6), (27, 3, 1, 5), (20, 1, 1, 3), (16, 4, 2, 4)]
)
def test_choices_below_zero_are_ranked_like_others(
    experts: int, groups: int, kept: int, top_k: int, device: torch.device
) -> None:
    """A correction may put every choice below zero, also below what stands for experts that are not there."""
    config = tritonmoe.MoEConfig(
        experts=experts,
        top_k=top_k,
        hidden=experts,
        intermediate=16,
        scoring="sigmoid",
        renormalize=False,
        expert_groups=groups,
        groups_kept=kept,
        correction_bias=True,
    )
    logits = Stream(experts, "below zero").permutation(experts).float() / 16
    bias = -2 - torch.arange(experts).float() % 3 / 8
    x, weight = torch.zeros(1, experts), torch.zeros(experts, experts)
    x[0, 0], weight[:, 0] = 1, logits
    found = tritonmoe.route(x.to(device), weight.to(device), config, bias.to(device))
    score = torch.sigmoid(logits.double())
    choice = score + bias.double()
    best = choice.view(groups, -1).topk(2, dim=1).values.sum(1).topk(kept).indices
    allowed = torch.isin(torch.arange(experts) // (experts // groups), best)
    expected = torch.where(allowed, choice, -10).topk(top_k).indices
    assert found.topk_ids[0].tolist() == expected.tolist()
    assert torch.allclose(found.topk_weights[0].cpu().double(), score[expected], rtol=2e-6, atol=0)


@pytest.mark.parametrize("top", [200.0, 3e4], ids=str)
def test_softmax_of_large_logits_is_finite(top: float, device: torch.device) -> None:
    logits = top - torch.arange(16).float()
    found = route(logits, device, experts=16, top_k=4, scoring="softmax")
    expected = logits.double().softmax(0)[:4]
    assert torch.allclose(found.topk_weights[0].double(), expected, rtol=2e-6, atol=0)


def test_scores_one_step_apart_are_ranked_whatever_their_sign(device: torch.device) -> None:
    ends = torch.tensor([1.0, -1.0, 1.5, -1.5])
    above, below = (torch.nextafter(ends, torch.full_like(ends, end)) for end in (9.0, -9.0))
    found = route(torch.cat((below, ends, above)), device, experts=12, top_k=12)
    logits = found.logits[0]
    assert logits[found.topk_ids[0].long()].tolist() == logits.sort(descending=True).values.tolist()


def test_equal_groups_go_to_the_lowest(device: torch.device) -> None:
    found = route(torch.zeros(24), device, experts=24, top_k=8, expert_groups=4, groups_kept=2)
    assert found.topk_ids[0].tolist() == list(range(8))


CORRECTED = {  # what is added to scores of a half, groups of two: the group that is best
    "zero above what is less": ([-0.75, -0.75, -0.5, -0.5, -0.625, -0.625], 1),
    "zero above a sum that is less": ([-0.25, -1.0, -0.5, -0.5, -2.0, 0.5], 1),
    "sums below zero one step apart": ([-2.5 - 2**-22] * 2 + [-2.5] * 2 + [-2.5 - 2**-21] * 2, 1),
}


@pytest.mark.parametrize("name", CORRECTED)
def test_groups_are_ranked_by_the_sum_of_their_best_corrected_scores(name: str, device: torch.device) -> None:
    values, best = CORRECTED[name]
    bias = torch.tensor(values)
    config = dict(scoring="sigmoid", expert_groups=3, groups_kept=1, correction_bias=True)
    found = route(torch.zeros(6), device, bias, experts=6, top_k=2, **config)
    assert sorted(found.topk_ids[0].tolist()) == [2 * best, 2 * best + 1]


@pytest.mark.parametrize("logit", [-44.0, -46.0, -200.0], ids=str)
def test_weights_of_scores_near_nothing_are_divided_by_their_sum_and_1e_20(
    logit: float, device: torch.device
) -> None:
    """As DeepSeek-V3's modeling code does it: scores that are 0 get weights of 0, and not NaN."""
    logits = logit - torch.arange(4).float() / 2
    found = route(logits, device, experts=4, top_k=2, scoring="sigmoid", renormalize=True)
    score = torch.sigmoid(logits.double())[:2] * (logit > -100)
    expected = score / (score.sum() + 1e-20)
    assert torch.allclose(found.topk_weights[0].double(), expected, rtol=2e-6, atol=0)
    assert not found.topk_weights.signbit().any()


def route(
    logits: torch.Tensor, device: torch.device, bias: torch.Tensor | None = None, **config
) -> tritonmoe.Routing:
    """One token that has these logits, in float32."""
    given = dict(hidden=HIDDEN, intermediate=16, renormalize=False) | config
    x, weight = torch.zeros(1, HIDDEN), torch.zeros(len(logits), HIDDEN)
    x[0, 0], weight[:, 0] = 1, logits
    placed = bias if bias is None else bias.to(device)
    found = tritonmoe.route(x.to(device), weight.to(device), tritonmoe.MoEConfig(**given), placed)
    return type(found)(*(each.cpu() for each in found))
