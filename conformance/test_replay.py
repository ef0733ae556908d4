"""A repeated call launches what the first one did, with its own inputs' addresses, and nothing else of it."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from triton import knobs

import tritonmoe
from conformance.philox import Stream
from conformance.test_edges import dtype as dtype
from tritonmoe import dispatch, replay
from tritonmoe.dispatch import Calls, Code
from tritonmoe.launches import Launch, select
from tritonmoe.replay import ALIGNED, Recording, Replay, ready

TOKENS = [1, 3, 70]
HIDDEN, INTERMEDIATE, EXPERTS, TOP_K = 48, 32, 8, 2


@pytest.mark.parametrize("tokens", TOKENS)
def test_a_repeated_call_has_the_bits_of_a_first_one(
    tokens: int, dtype: torch.dtype, device: torch.device
) -> None:
    """For other inputs, whose first call with another configuration of the same values is compared."""
    launch = select(dtype, tokens * TOP_K / EXPERTS)
    again, first = dataclasses.replace(launch), dataclasses.replace(launch)
    results = [called(again, tokens, seed, dtype, device) for seed in (1, 2, 3)]
    assert torch.equal(results[2], called(first, tokens, 3, dtype, device))
    assert torch.equal(results[1], called(first, tokens, 2, dtype, device))
    assert not torch.equal(results[1], results[2])
    assert len({each.data_ptr() for each in results}) == 3


@pytest.mark.hardware
@pytest.mark.parametrize("tokens", [1, 3])
def test_on_a_gpu_a_repeated_call_of_few_tokens_passes_no_stage(
    tokens: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = dataclasses.replace(select(torch.bfloat16, 1.0))
    called(launch, tokens, 1, torch.bfloat16, device)
    monkeypatch.setattr(tritonmoe.layer, "plan_of", None)
    called(launch, tokens, 2, torch.bfloat16, device)


def called(launch: Launch, tokens: int, seed: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    stream = Stream(seed, "replay")
    x = stream.normal((tokens, HIDDEN))
    w_gate_up = stream.normal((EXPERTS, 2 * INTERMEDIATE, HIDDEN)) * HIDDEN**-0.5
    w_down = stream.normal((EXPERTS, HIDDEN, INTERMEDIATE)) * INTERMEDIATE**-0.5
    weights = stream.normal((tokens, TOP_K)).float().to(device)
    ids = (torch.arange(tokens * TOP_K).view(tokens, TOP_K) * 3 + seed) % EXPERTS
    tensors = [each.to(dtype).to(device) for each in (x, w_gate_up, w_down)]
    return tritonmoe.fused_experts(*tensors, ids.to(device), weights, launch=launch)


# What is kept of the first call


class Told:
    """Calls of two kernels that only say how they were launched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.launched: list[tuple[Any, ...]] = []
        driver = SimpleNamespace(get_current_stream=lambda device: 70 + device)
        self.calls = Calls(driver, 3)
        for name in ("first", "second"):
            code = Code(None, self._run, f"{name} code", f"{name} packed", (f"{name} rest", 5))
            self.calls._known[name] = code
        monkeypatch.setattr(Calls, "launch", lambda *_: None)

    def _run(self, *given: Any) -> None:
        self.launched.append(given)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(replay, "on_gpu", lambda _: True)
    return Told(monkeypatch)


def test_addresses_are_of_what_is_given_and_made_now_and_all_else_of_then(told: Told) -> None:
    """Between the launches there is room for what lay there: 10 bytes, 257 and 256, each aligned."""
    x, ids, y = torch.zeros(2, 3), torch.zeros(4, dtype=torch.int32), torch.zeros(2, 5)
    small, large, last = (torch.zeros(size, dtype=torch.uint8) for size in (10, ALIGNED + 1, ALIGNED))
    recording = Recording(told.calls)
    recording.launch(None, (7, 1, 1), (ids, small, None, 9, last), None, "first")
    recording.launch(None, (8, 2, 1), (x, small, large, y, ids, True), None, "second")
    made = recording.replay((x, ids), y)
    assert made.size == 4 * ALIGNED

    now = torch.ones(2, 3), torch.ones(4, dtype=torch.int32)
    result = made(now)
    assert (result.shape, result.dtype, result.device) == (y.shape, x.dtype, x.device)
    at_x, at_ids, at_y = (each.data_ptr() for each in (*now, result))
    (one, two), no_hooks = told.launched, (None, None, None)
    between = one[10]
    expected = (at_ids, between, None, 9, between + ALIGNED, "first rest", 5)
    assert one == (7, 1, 1, 73, "first code", "first packed", *no_hooks, *expected)
    expected = (at_x, between, between + 2 * ALIGNED, at_y, at_ids, True, "second rest", 5)
    assert two == (8, 2, 1, 73, "second code", "second packed", *no_hooks, *expected)
    assert x.data_ptr() != at_x


def test_a_replay_leaves_what_it_was_made_of_as_it_is(told: Told) -> None:
    x, y = torch.zeros(2, 3), torch.zeros(2, 3)
    recording = Recording(told.calls)
    recording.launch(None, (1, 1, 1), (x, y), None, "first")
    made = recording.replay((x,), y)
    made((torch.ones(2, 3),))
    made((x,))
    assert told.launched[1][9] == x.data_ptr() != told.launched[0][9]
    assert made.steps[0].values == [None, None, "first rest", 5]


NOT_AGAIN = {
    "nothing was launched": [],
    "Triton's interpreter compiled nothing": [("third", (torch.zeros(2),))],
    "a descriptor is no address": [("first", (torch.zeros(2),)), ("second", (SimpleNamespace(),))],
}


@pytest.mark.parametrize("why", NOT_AGAIN)
def test_there_is_no_replay_where(why: str, told: Told) -> None:
    recording = Recording(told.calls)
    for name, arguments in NOT_AGAIN[why]:
        recording.launch(None, (1, 1, 1), arguments, None, name)
    assert recording.replay((torch.zeros(2),), torch.zeros(2)) is None


def test_there_is_no_replay_on_the_cpu(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(2)
    recording = Recording(told.calls)
    recording.launch(None, (1, 1, 1), (x,), None, "first")
    assert recording.replay((x,), x) is not None
    monkeypatch.undo()
    assert recording.replay((x,), x) is None


@pytest.mark.parametrize("name", ["launch_enter_hook", "launch_exit_hook"])
def test_a_profiler_sees_every_launch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Replay(Calls(None, 0), (1,), [], 0, [])
    assert ready(made)
    assert not ready(None)
    monkeypatch.setattr(getattr(knobs.runtime, name), "calls", [print])
    assert not ready(made)


def test_launches_are_recorded_and_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(Calls, "launch", lambda _, *given: made.append(given))
    given = (None, (1, 1, 1), (1, 2), dict, "first")
    Recording(dispatch.Calls(None, 0)).launch(*given)
    assert made == [given]
