"""What was launched once is launched again without Triton's look at it, for inputs of its kind alone."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from triton import knobs

import tritonmoe
from tritonmoe import dispatch, layer
from tritonmoe.combine import combine
from tritonmoe.launches import Launch, family, select, shipped


@pytest.fixture
def launch() -> Launch:
    """A configuration that has launched nothing yet."""
    return dataclasses.replace(shipped(torch.float32, family())[0][0])


def test_inputs_of_one_kind_share_their_calls(launch: Launch) -> None:
    first, second = torch.zeros(3, 4), torch.ones(3, 4)
    assert dispatch.calls(launch, first, None) is dispatch.calls(launch, second, None)


ANOTHER_KIND = {
    "shape": torch.zeros(4, 4),
    "strides": torch.zeros(4, 3).T,
    "alignment": torch.zeros(13)[1:].view(3, 4),
    "dtype": torch.zeros(3, 4, dtype=torch.float16),
    "gradients": torch.zeros(3, 4, requires_grad=True),
    "absence": None,
}


@pytest.mark.parametrize("what", ANOTHER_KIND)
def test_inputs_of_another_kind_have_calls_of_their_own(what: str, launch: Launch) -> None:
    assert dispatch.calls(launch, torch.zeros(3, 4)) is not dispatch.calls(launch, ANOTHER_KIND[what])


def test_calls_go_by_whether_gradients_are_kept_and_by_what_else_is_named(launch: Launch) -> None:
    x = torch.zeros(3, 4)
    with torch.no_grad():
        without = dispatch.calls(launch, x)
    with torch.enable_grad():
        kept = dispatch.calls(launch, x)
    assert without is not kept
    assert dispatch.calls(launch, x, also=1) is not dispatch.calls(launch, x, also=2)


def test_for_what_is_no_plain_tensor_nothing_is_remembered(launch: Launch) -> None:
    assert dispatch.kind_of(torch.zeros(2).to_sparse()) is None
    assert dispatch.calls_of(launch, None, None) is not dispatch.calls_of(launch, None, None)
    assert not launch.calls


def test_so_many_kinds_are_remembered_and_no_more(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MOST", 3)
    seen = [dispatch.calls_of(launch, kind, None) for kind in "abc"]
    assert [dispatch.calls_of(launch, kind, None) for kind in "abc"] == seen
    assert len(launch.calls) == 3
    dispatch.calls_of(launch, "d", None)
    assert list(launch.calls) == [("d", None)]


def test_a_second_launch_of_a_name_takes_the_code_of_the_first(device: torch.device) -> None:
    """Its parameters are not even asked for."""
    launch = dataclasses.replace(shipped(torch.float32, family())[0][0])
    partial, ids = torch.ones(4, 8, device=device), torch.zeros(2, 2, dtype=torch.int32, device=device)
    weights = torch.ones(2, 2, device=device)
    first = combine(partial, ids, weights, 1, launch)
    [calls] = launch.calls.values()
    known = calls._known["combine"]
    assert torch.equal(combine(partial, ids, weights, 1, launch), first)
    assert calls._known["combine"] is known or not known


@pytest.mark.parametrize("name", ["launch_enter_hook", "launch_exit_hook"])
def test_either_hook_of_a_profiler_is_told_of_every_launch(
    name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, told = getattr(knobs.runtime, name), []
    monkeypatch.setattr(hook, "calls", [])
    launch = dataclasses.replace(shipped(torch.float32, family())[0][0])
    inputs = torch.ones(4, 8, device=device), torch.zeros(2, 2, dtype=torch.int32, device=device)
    weights = torch.ones(2, 2, device=device)
    combine(*inputs, weights, 1, launch)
    hook.add(lambda metadata: told.append(metadata))
    combine(*inputs, weights, 1, launch)
    assert len(told) == 1


def test_a_whole_layer_finds_its_launches_again(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    found = []

    def watched(launch: Launch, kind: object, also: object) -> dispatch.Calls:
        found.append((kind, dispatch.calls_of(launch, kind, also)))
        return found[-1][1]

    monkeypatch.setattr(layer, "calls_of", watched)
    config = tritonmoe.MoEConfig(experts=4, top_k=2, hidden=16, intermediate=16)
    tensors = [torch.ones(shape, device=device) for shape in ((3, 16), (4, 16), (4, 32, 16), (4, 16, 16))]
    for _ in range(2):
        tritonmoe.fused_moe(*tensors, config)
    (kind, calls), again = found
    assert kind is not None
    assert again[1] is calls


def test_a_launch_is_chosen_by_the_rows_that_an_expert_gets(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    """6 tokens of 2 choices each over 4 experts."""
    asked = []
    monkeypatch.setattr(layer, "select", lambda *given: asked.append(given) or select(*given))
    config = tritonmoe.MoEConfig(experts=4, top_k=2, hidden=16, intermediate=16)
    shapes = (6, 16), (4, 16), (4, 32, 16), (4, 16, 16), (6, 2)
    x, router, *experts, weights = (torch.ones(shape, device=device) for shape in shapes)
    tritonmoe.fused_moe(x, router, *experts, config)
    tritonmoe.route(x, router, config)
    tritonmoe.fused_experts(x, *experts, torch.zeros_like(weights).long(), weights)
    assert asked == [(torch.float32, 3.0)] * 3


def test_arguments_of_a_kind_are_checked_once_for_as_long_as_the_kind_is_remembered(
    monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    checked = []
    monkeypatch.setattr(layer, "check_experts", lambda *given: checked.append(len(given[0])))
    monkeypatch.setattr(layer, "_passed", set())
    monkeypatch.setattr(layer, "MOST", 2)
    for tokens in (1, 1, 2, 1, 2, 3, 3, 1):
        shapes = (tokens, 16), (4, 32, 16), (4, 16, 16), (tokens, 2)
        *tensors, weights = (torch.ones(shape, device=device) for shape in shapes)
        tritonmoe.fused_experts(*tensors, torch.zeros_like(weights).long(), weights)
    assert checked == [1, 2, 3, 1]  # the third kind takes the place of the two before
    assert len(layer._passed) == 2


@pytest.mark.parametrize(
    ("where", "current", "changes"), [("cuda:1", 0, True), ("cuda:1", 1, False), ("cpu", 0, False)]
)
def test_a_layer_is_launched_on_the_gpu_where_its_input_lies(
    where: str, current: int, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    context = layer._on_device_of(SimpleNamespace(device=torch.device(where)))
    assert isinstance(context, torch.cuda.device) == changes
    assert not changes or context.idx == 1
