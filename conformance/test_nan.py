"""NaN and infinity: a test for each sentence of the policy in README.md."""

import pytest
import torch

from conformance.test_edges import (
    INF,
    INTERMEDIATE,
    NAN,
    exact_experts,
    halves,
    run,
    some_skipped,
    spread,
)
from conformance.test_edges import dtype as dtype
from conformance.test_properties import same
from conformance.test_ranking import route


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=str)
def test_what_a_token_holds_stays_in_its_row(value: float, dtype: torch.dtype, device: torch.device) -> None:
    experts, ids, weights = exact_experts(21, 8, dtype), spread(21, 8), halves(21)
    before = run(experts, ids, weights, device)
    experts[0][4, 2] = value
    after = run(experts, ids, weights, device)
    others = [row for row in range(21) if row != 4]
    assert same(after[others], before[others])
    assert torch.isnan(after[4]).all()  # an infinity too: times the weights that are zero


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=str)
@pytest.mark.parametrize("which", ["w_gate", "w_up", "w_down"])
def test_what_an_expert_holds_reaches_exactly_its_tokens(
    value: float, which: str, dtype: torch.dtype, device: torch.device
) -> None:
    experts, ids, weights = exact_experts(21, 8, dtype), spread(21, 8), halves(21)
    before = run(experts, ids, weights, device)
    w_gate_up, w_down = experts[1:]
    if which == "w_down":
        w_down[3, 5, :] = value
    else:
        w_gate_up[3, 7 if which == "w_gate" else INTERMEDIATE + 7, 0] = value  # x is 1 there
        w_down[3, :, 7] = 1
    after = run(experts, ids, weights, device)
    there = (ids == 3).any(dim=1)
    assert same(after[~there], before[~there])
    if which == "w_down":
        assert not torch.isfinite(after[there, 5]).any()
        assert same(after[there][:, 6:], before[there][:, 6:])
        assert same(after[there][:, :5], before[there][:, :5])
    elif which == "w_gate" and value == -INF:
        assert torch.isnan(after[there]).all()  # -inf / (1 + inf), as in torch.nn.functional.silu
    else:
        assert not torch.isfinite(after[there]).any()


def test_a_served_weight_of_nan_reaches_its_token_alone(dtype: torch.dtype, device: torch.device) -> None:
    experts, ids, weights = exact_experts(21, 8, dtype), spread(21, 8), halves(21)
    before = run(experts, ids, weights, device)
    weights[4, 1] = NAN
    after = run(experts, ids, weights, device)
    others = [row for row in range(21) if row != 4]
    assert torch.isnan(after[4]).all()
    assert same(after[others], before[others])


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=str)
def test_a_skipped_slots_weight_and_expert_do_not_count(
    value: float, dtype: torch.dtype, device: torch.device
) -> None:
    ids, weights = some_skipped(-1, 8), halves(5)
    weights[(ids < 0) | (ids > 7)] = value
    experts = exact_experts(5, 8, dtype)
    experts[1][4], experts[2][4] = NAN, NAN  # nobody is routed there
    assert torch.isfinite(run(experts, ids, weights, device)).all()


def test_a_weight_of_zero_does_not_hide_a_nan(dtype: torch.dtype, device: torch.device) -> None:
    experts = exact_experts(3, 8, dtype)
    experts[2][5] = NAN
    assert torch.isnan(run(experts, torch.tensor([[5]] * 3), torch.zeros(3, 1), device)).all()


NAN_LOGITS = {  # name: (logits, top_k, ids)
    "one of them": ([1, NAN, 3, 2], 2, [2, 3]),
    "the first": ([NAN, 1, 2, 3], 3, [3, 2, 1]),
    "beside minus infinity": ([NAN, -INF, 2, -INF], 3, [2, 1, 3]),
    "more than are left": ([NAN, NAN, 3, NAN], 3, [2, 0, 1]),
    "all": ([NAN] * 4, 2, [0, 1]),
    "beside infinity": ([1, NAN, INF, 2], 2, [2, 3]),
}


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", NAN_LOGITS)
def test_nan_is_chosen_where_nothing_else_is_left(name: str, scoring: str, device: torch.device) -> None:
    logits, top_k, expected = NAN_LOGITS[name]
    found = route(torch.tensor(logits, dtype=torch.float32), device, experts=4, top_k=top_k, scoring=scoring)
    assert found.topk_ids[0].tolist() == expected
    scores = torch.sigmoid(found.logits[0]) if scoring == "sigmoid" else torch.softmax(found.logits[0], dim=0)
    assert torch.equal(torch.isnan(found.topk_weights[0]), torch.isnan(scores[expected]))


def test_a_group_ranks_by_its_two_best_numbers_and_below_all_with_one_left(device: torch.device) -> None:
    logits = torch.tensor([NAN, 5.0, NAN, NAN, NAN, 1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0, NAN, NAN, NAN, NAN])
    config = dict(scoring="sigmoid", expert_groups=4, groups_kept=2, correction_bias=True)
    found = route(logits, device, torch.zeros(16), experts=16, top_k=4, **config)
    # The first group has one number left and the last none: the two others are kept.
    assert found.topk_ids[0].tolist() == [8, 5, 6, 7]
    assert torch.isfinite(found.topk_weights).all()


def test_infinite_logits_are_ranked_as_numbers(device: torch.device) -> None:
    found = route(torch.tensor([1.0, -INF, INF, 2.0]), device, experts=4, top_k=4, scoring="sigmoid")
    assert found.topk_ids[0].tolist() == [2, 3, 0, 1]
    assert found.topk_weights[0, [0, 3]].tolist() == [1.0, 0.0]
