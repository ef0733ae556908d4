"""A repeated call launches what the first one did, with its own inputs' addresses, and nothing else of it.

And what any call leaves out where nothing needs it.
"""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton
from triton import knobs
from triton.tools.tensor_descriptor import TensorDescriptor

import tritonmoe
from conformance.philox import Stream
from conformance.test_edges import dtype as dtype
from conformance.test_tiles import launch_with
from tritonmoe import dispatch, layer, replay, tiles
from tritonmoe.dispatch import Calls, Code
from tritonmoe.launches import Launch, select
from tritonmoe.pack import pack_kernel
from tritonmoe.replay import ALIGNED, Recording, Replay, ready
from tritonmoe.schedule import plan_of

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
@pytest.mark.parametrize("rows", [1, 64, 128, 256, 1024])
@pytest.mark.parametrize("tokens", TOKENS)
def test_on_a_gpu_a_repeated_call_passes_no_stage(
    tokens: int, rows: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And has the bits of one that does, whatever the launch for so many rows an expert reads by."""
    again, first = (dataclasses.replace(select(torch.bfloat16, rows)) for _ in range(2))
    expected = called(first, tokens, 2, torch.bfloat16, device)
    called(again, tokens, 1, torch.bfloat16, device)
    monkeypatch.setattr(tritonmoe.layer, "plan_of", None)
    assert torch.equal(called(again, tokens, 2, torch.bfloat16, device), expected)


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


def test_a_descriptor_is_of_what_is_there_now_and_else_as_it_was(told: Told) -> None:
    w, between, y = torch.zeros(4, 8), torch.zeros(4, 8), torch.zeros(2, 8)
    recording = Recording(told.calls)
    described = [TensorDescriptor(each, [4, 8], [8, 1], [2, 4], "nan") for each in (w, between)]
    recording.launch(None, (1, 1, 1), (*described, w, y), None, "first")
    made = recording.replay((w,), y)
    assert made.size == ALIGNED
    now = torch.ones(4, 8)
    result = made((now,))
    first, second, at_w, at_y, *_ = told.launched[0][9:]
    assert first.base.data_ptr() == at_w == now.data_ptr()
    assert len({each.base.data_ptr() for each in (first, second)} | {at_y}) == 3
    assert at_y == result.data_ptr()
    for each in (first, second):
        assert (each.shape, each.strides, each.block_shape) == ([4, 8], [8, 1], [2, 4])
        assert (each.padding, each.round_f32_to_tf32) == ("nan", False)


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
    "neither number nor tensor": [
        ("first", (torch.zeros(2),)),
        ("second", (SimpleNamespace(),)),
    ],
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


# What a call leaves out

CONFIG = tritonmoe.MoEConfig(experts=4, top_k=2, hidden=16, intermediate=16)
WITH_SHARED = dataclasses.replace(CONFIG, shared_intermediate=16)


@pytest.fixture
def tensors(device: torch.device) -> list[torch.Tensor]:
    """x, the router's weight, and the experts'."""
    return [torch.ones(shape, device=device) for shape in ((3, 16), (4, 16), (4, 32, 16), (4, 16, 16))]


@pytest.fixture
def shared(device: torch.device) -> tritonmoe.SharedExperts:
    return tritonmoe.SharedExperts(torch.ones(32, 16, device=device), torch.ones(16, 16, device=device))


def test_a_replay_is_kept_of_calls_without_shared_experts_alone(
    tensors: list[torch.Tensor], shared: tritonmoe.SharedExperts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of shared experts is an input more, which a replay knows nothing of."""
    monkeypatch.setattr(replay.Recording, "replay", lambda *_: "kept")
    launch = launch_with("plain", 0, torch.float32)
    tritonmoe.fused_moe(*tensors, WITH_SHARED, shared=shared, launch=launch)
    assert {calls.replay for calls in launch.calls.values()} == {None}
    tritonmoe.fused_moe(*tensors, CONFIG, launch=launch)
    assert {calls.replay for calls in launch.calls.values()} == {None, "kept"}


def test_a_replay_serves_calls_without_shared_experts_alone(
    tensors: list[torch.Tensor], shared: tritonmoe.SharedExperts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_replay(launch: Launch, kind: object, also: object) -> Calls:
        found = dispatch.calls_of(launch, kind, also)
        found.replay = lambda given: torch.full_like(given[0], 7)
        return found

    monkeypatch.setattr(layer, "calls_of", with_replay)
    y, _ = tritonmoe.fused_moe(*tensors, CONFIG, launch=launch_with("plain", 0, torch.float32))
    assert (y == 7).all()
    y, _ = tritonmoe.fused_moe(
        *tensors, WITH_SHARED, shared=shared, launch=launch_with("plain", 0, torch.float32)
    )
    assert not (y == 7).any()


@pytest.mark.parametrize("wide", ["gate_up", "down"])
def test_one_token_is_scheduled_if_either_product_reads_by_descriptors(
    wide: str, device: torch.device
) -> None:
    launch, other = (launch_with(flags, 0, torch.bfloat16) for flags in ("plain", "wide"))
    ids = torch.tensor([[2, 0]], device=device)
    assert plan_of(ids, 4, launch).sorted_slots is None
    launch = dataclasses.replace(launch, **{wide: getattr(other, wide)})
    assert plan_of(ids, 4, launch).sorted_slots.tolist() == [1, 0]


@pytest.mark.parametrize(("when", "copied"), [(0, False), (1, True), (2, True)])
def test_rows_are_not_copied_for_a_launch_that_is_not_meant(
    when: int, copied: bool, device: torch.device
) -> None:
    """The schedule is skewed."""
    x = torch.ones(3, 32, device=device)
    slots, offsets, counts = (
        torch.tensor(values, dtype=torch.int32, device=device) for values in ([2, 1, 0], [0, 3], [1, 0, 1])
    )
    packed = torch.zeros(3, 32, device=device)
    given = (x, packed, slots, offsets, counts, 1, 32, 32, 1)
    pack_kernel[(2, 1)](*given, TOP_K=1, WHEN=when, ROWS=2, BLOCK=32)
    assert (packed == copied).all()


# Where there is no GPU to ask


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Triton's interpreter on a machine without a GPU."""

    class Nothing:
        @property
        def active(self) -> None:
            raise RuntimeError("0 active drivers")

    monkeypatch.setattr(triton, "runtime", SimpleNamespace(driver=Nothing()))


@pytest.mark.usefixtures("no_driver")
def test_all_calls_are_of_one_device_where_there_is_none() -> None:
    assert dispatch._where() == (None, 0)


@pytest.mark.usefixtures("no_driver")
def test_four_multiprocessors_share_the_work_where_there_are_none() -> None:
    assert tiles.multiprocessors.__wrapped__() == 4
