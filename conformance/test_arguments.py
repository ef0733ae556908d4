"""Bad input is refused before any launch, with the argument's name, what it is and what was expected."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import triton

import tritonmoe
from tritonmoe import MoEConfig, SharedExperts, layer
from tritonmoe import arguments as checks
from tritonmoe.dispatch import Calls, calls_of, kind_of
from tritonmoe.launches import shipped

TOKENS, EXPERTS, TOP_K, HIDDEN, INTERMEDIATE = 5, 4, 2, 16, 8

Change = Callable[[torch.Tensor], Any]
half: Change = lambda t: t.half()  # noqa: E731
double: Change = lambda t: t.double()  # noqa: E731
meta: Change = lambda t: t.to("meta")  # noqa: E731
grad: Change = lambda t: t.clone().requires_grad_()  # noqa: E731
none: Change = lambda t: None  # noqa: E731
listed: Change = lambda t: t.tolist()  # noqa: E731
flat: Change = lambda t: t[0]  # noqa: E731
fewer: Change = lambda t: t[:-1]  # noqa: E731
narrower: Change = lambda t: t[..., :-1]  # noqa: E731
floats: Change = lambda t: t.float()  # noqa: E731
sparse: Change = lambda t: t.to_sparse()  # noqa: E731
empty_rows: Change = lambda t: t[..., :0]  # noqa: E731
no_rows: Change = lambda t: t[:0]  # noqa: E731
repeated: Change = lambda t: t.repeat(1, 3)  # noqa: E731
nested: Change = lambda t: torch.nested.nested_tensor([t[0]], layout=torch.jagged)  # noqa: E731
complex_: Change = lambda t: t.to(torch.complex64)  # noqa: E731
integers: Change = lambda t: t.long()  # noqa: E731
named: Change = lambda config: "mixtral-8x7b"  # noqa: E731
without_bias: Change = lambda config: replace(config, correction_bias=False)  # noqa: E731
without_gate: Change = lambda config: replace(config, shared_gate=False)  # noqa: E731
without_shared: Change = lambda c: replace(c, shared_intermediate=0, shared_gate=False)  # noqa: E731

# call, argument or arguments, what is done to each, error, part of the message
REFUSED = [
    ("experts", "x", listed, TypeError, "x is a list; expected a torch.Tensor"),
    ("experts", "x", flat, ValueError, r"x is \(16,\); expected 2 dimensions, \[tokens, hidden\]"),
    ("experts", "x", double, TypeError, "x is torch.float64; expected one of float32 or float16 or bfloat16"),
    ("experts", "x", empty_rows, ValueError, "hidden at least 1"),
    ("experts", "x", half, TypeError, "w_down is torch.float32; expected float16"),
    ("experts", "x", grad, ValueError, "x requires grad, and there is no backward: inference only"),
    ("experts", "x", sparse, ValueError, "x is a torch.sparse_coo tensor; expected a dense one"),
    ("experts", "w_down", none, TypeError, "w_down is a NoneType"),
    ("experts", "w_down", flat, ValueError, "w_down is .* expected 3 dimensions"),
    ("experts", "w_down", narrower, ValueError, r"w_gate_up is \(4, 16, 16\); expected \(4, 14, 16\)"),
    ("experts", "w_down", meta, ValueError, "w_down is on meta and x on"),
    ("experts", "w_down", empty_rows, ValueError, "at least one expert and intermediate of at least 1"),
    ("experts", "w_down", no_rows, ValueError, "at least one expert and intermediate of at least 1"),
    ("experts", "w_gate_up", sparse, ValueError, "w_gate_up is a torch.sparse_coo tensor; expected a dense"),
    ("experts", "w_gate_up", nested, ValueError, "w_gate_up is a nested tensor; expected a dense one"),
    ("experts", "x", nested, ValueError, "x is a nested tensor; expected a dense one"),
    ("experts", "x", complex_, TypeError, "x is torch.complex64; expected one of float32"),
    ("experts", "x", integers, TypeError, "x is torch.int64; expected one of float32"),
    ("experts", "w_gate_up", fewer, ValueError, r"w_gate_up is \(3, 16, 16\); expected \(4, 16, 16\)"),
    ("experts", "w_gate_up", half, TypeError, "w_gate_up is torch.float16; expected float32"),
    ("experts", "w_gate_up", grad, ValueError, "w_gate_up requires grad"),
    ("experts", "topk_ids", floats, TypeError, "topk_ids is torch.float32; expected int32 or int64"),
    ("experts", "topk_ids", flat, ValueError, r"topk_ids is \(2,\); expected 2 dimensions"),
    ("experts", "topk_ids", fewer, ValueError, r"topk_ids is \(4, 2\); expected \(5, 2\)"),
    ("experts", "topk_ids", repeated, ValueError, r"topk_weights is \(5, 2\); expected \(5, 6\)"),
    ("experts", "topk_ids", meta, ValueError, "topk_ids is on meta"),
    ("experts", "topk_ids", listed, TypeError, "topk_ids is a list; expected a torch.Tensor"),
    ("experts", "topk_ids", none, TypeError, "topk_ids is a NoneType"),
    ("experts", "topk_ids", sparse, ValueError, "topk_ids is a torch.sparse_coo tensor; expected a dense"),
    ("experts", "topk_ids topk_weights", repeated, ValueError, "top_k = 6; expected 1 to experts = 4"),
    ("experts", "topk_ids topk_weights", empty_rows, ValueError, "top_k = 0; expected 1 to experts = 4"),
    ("experts", "topk_weights", grad, ValueError, "topk_weights requires grad"),
    ("experts", "topk_weights", half, TypeError, "topk_weights is torch.float16; expected float32"),
    ("experts", "topk_weights", narrower, ValueError, "topk_weights is"),
    ("route", "x", narrower, ValueError, r"x is \(5, 15\); expected \(5, 16\)"),
    ("route", "router_weight", fewer, ValueError, r"router_weight is \(3, 16\); expected \(4, 16\)"),
    ("route", "router_weight", half, TypeError, "router_weight is torch.float16; expected float32"),
    ("route", "router_weight", meta, ValueError, "router_weight is on meta"),
    ("route", "router_weight", grad, ValueError, "router_weight requires grad"),
    ("route", "correction_bias", none, ValueError, "correction_bias is missing, but config"),
    ("route", "config", without_bias, ValueError, "correction_bias is given, but config"),
    ("route", "config", named, TypeError, "config is a str; expected a MoEConfig"),
    ("route", "correction_bias", fewer, ValueError, r"correction_bias is \(3,\); expected \(4,\)"),
    ("route", "correction_bias", half, TypeError, "correction_bias is torch.float16"),
    ("route", "config", none, TypeError, "config is a NoneType; expected a MoEConfig"),
    ("layer", "w_gate_up", narrower, ValueError, r"w_gate_up is \(4, 16, 15\); expected \(4, 16, 16\)"),
    ("layer", "w_down", half, TypeError, "w_down is torch.float16"),
    ("layer", "shared", none, ValueError, "shared is missing, but config.shared_intermediate is 6"),
    ("layer", "shared", tuple, TypeError, "shared is a tuple; expected a tritonmoe.SharedExperts"),
    ("layer", "shared", lambda s: s._replace(gate=None), ValueError, "shared.gate is missing"),
    ("layer", "shared", lambda s: s._replace(w_down=s.w_down[1:]), ValueError, r"shared.w_down is \(15, 6\)"),
    ("layer", "shared", lambda s: s._replace(gate=s.gate.half()), TypeError, "shared.gate is torch.float16"),
    ("layer", "config", without_shared, ValueError, "shared is given, but config.shared_intermediate is 0"),
    ("layer", "config", without_gate, ValueError, "shared.gate is given, but config.shared_gate is False"),
]


@pytest.fixture
def arguments(device: torch.device) -> dict[str, Any]:
    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=device)

    return {
        "x": ones(TOKENS, HIDDEN),
        "router_weight": ones(EXPERTS, HIDDEN),
        "w_gate_up": ones(EXPERTS, 2 * INTERMEDIATE, HIDDEN),
        "w_down": ones(EXPERTS, HIDDEN, INTERMEDIATE),
        "topk_ids": torch.zeros(TOKENS, TOP_K, dtype=torch.int64, device=device),
        "topk_weights": ones(TOKENS, TOP_K),
        "config": MoEConfig(
            experts=EXPERTS,
            top_k=TOP_K,
            hidden=HIDDEN,
            intermediate=INTERMEDIATE,
            correction_bias=True,
            shared_intermediate=6,
            shared_gate=True,
        ),
        "correction_bias": ones(EXPERTS),
        "shared": SharedExperts(ones(12, HIDDEN), ones(HIDDEN, 6), ones(1, HIDDEN)),
    }


# call: the public function, the check behind it, their arguments
_CALLS = {
    "experts": (
        *(tritonmoe.fused_experts, checks.check_experts),
        ("x", "w_gate_up", "w_down", "topk_ids", "topk_weights"),
    ),
    "route": (
        *(tritonmoe.route, checks.check_route),
        ("x", "router_weight", "config", "correction_bias"),
    ),
    "layer": (
        *(tritonmoe.fused_moe, checks.check_layer),
        ("x", "router_weight", "w_gate_up", "w_down", "config", "correction_bias", "shared"),
    ),
}


def _call(name: str, arguments: dict[str, Any], **options: Any) -> Any:
    function, _, names = _CALLS[name]
    return function(**{each: arguments[each] for each in names}, **options)


def _check(name: str, arguments: dict[str, Any]) -> None:
    _, check, names = _CALLS[name]
    check(**{each: arguments[each] for each in names})


@pytest.fixture
def no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    def launched(*args, **options):
        raise AssertionError("a kernel was launched")

    monkeypatch.setattr(triton.runtime.jit.KernelInterface, "__getitem__", launched)
    monkeypatch.setattr(Calls, "launch", launched)  # those that were launched before go another way


@pytest.mark.usefixtures("no_launch")
@pytest.mark.parametrize("through", [_call, _check], ids=["public", "check"])
@pytest.mark.parametrize(("call", "names", "change", "error", "message"), REFUSED)
def test_bad_input_is_refused_before_any_launch(
    arguments, through, call: str, names: str, change: Change, error: type, message: str
) -> None:
    changed = {name: change(arguments[name]) for name in names.split()}
    with pytest.raises(error, match=message):
        through(call, {**arguments, **changed})


@pytest.mark.usefixtures("no_launch")
@pytest.mark.parametrize("call", _CALLS)
def test_a_launch_would_be_noticed(arguments, call: str) -> None:
    with pytest.raises(AssertionError, match="a kernel was launched"):
        _call(call, arguments)


@pytest.mark.usefixtures("no_launch")
@pytest.mark.parametrize("call", ["experts", "layer"])
def test_an_unknown_precision_is_refused_before_any_launch(arguments, call: str) -> None:
    with pytest.raises(ValueError, match=r"precision is 'tf64'; expected \"ieee\" or \"tf32\""):
        _call(call, arguments, precision="tf64")


@pytest.mark.parametrize("call", _CALLS)
def test_the_unchanged_arguments_are_accepted(arguments, call: str) -> None:
    _call(call, arguments)


def _expanded(t: torch.Tensor) -> torch.Tensor:
    return t[:1].expand(t.shape)


def _offset(t: torch.Tensor) -> torch.Tensor:
    return torch.cat([t, t])[t.shape[0] :]


def _halves(t: torch.Tensor | SharedExperts) -> torch.Tensor | SharedExperts:
    return SharedExperts(*map(half, t)) if isinstance(t, SharedExperts) else half(t)


def _column_major(t: torch.Tensor) -> torch.Tensor:
    return t.mT.contiguous().mT


# call, argument or arguments, what is done to each
ACCEPTED = [
    ("experts", "x w_gate_up w_down topk_ids topk_weights", _expanded),
    ("experts", "x w_gate_up w_down topk_ids topk_weights", _offset),
    ("experts", "x w_gate_up w_down topk_ids topk_weights", _column_major),
    ("experts", "x topk_ids topk_weights", no_rows),
    ("experts", "topk_ids", torch.Tensor.int),
    ("experts", "x w_gate_up w_down", half),
    ("experts", "x w_gate_up w_down topk_weights", half),
    ("route", "x", no_rows),
    ("route", "x", half),
    ("route", "x router_weight correction_bias", half),
    ("layer", "x w_gate_up w_down shared", _halves),
]


@pytest.mark.parametrize(("call", "names", "change"), ACCEPTED)
def test_what_the_layer_can_do_is_accepted(arguments, call: str, names: str, change: Change) -> None:
    _check(call, {**arguments, **{name: change(arguments[name]) for name in names.split()}})


def test_parameters_that_require_grad_are_fine_without_grad_mode(arguments) -> None:
    weights = {name: grad(arguments[name]) for name in ("router_weight", "w_gate_up", "w_down")}
    with torch.no_grad():
        _call("layer", {**arguments, **weights})


def test_a_device_that_triton_does_not_launch_on_is_refused() -> None:
    with triton.knobs.runtime.scope():
        triton.knobs.runtime.interpret = False
        with pytest.raises(ValueError, match=r"x is on meta.*(Triton launches on|Triton finds no GPU)"):
            checks.check_device(torch.ones(1, device="meta"))


def test_too_many_slots_are_refused_without_allocating_them(arguments, device: torch.device) -> None:
    x = torch.ones(1, HIDDEN, device=device).expand(2**31, HIDDEN)
    with pytest.raises(ValueError, match="split the batch"):
        _call("route", {**arguments, "x": x})


@pytest.mark.usefixtures("no_launch")
def test_what_is_no_plain_tensor_is_checked_every_time_and_remembered_nowhere(arguments, monkeypatch) -> None:
    checked = []
    monkeypatch.setattr(layer, "check_experts", lambda *given: checked.append(given))
    monkeypatch.setattr(layer, "kind_of", lambda *given: None)
    for _ in range(2):
        with pytest.raises(AssertionError, match="a kernel was launched"):
            _call("experts", arguments)
    assert len(checked) == 2
    launch = shipped(torch.bfloat16, "default")[0][0]
    assert kind_of("x") is None
    assert calls_of(launch, None, ()) is not calls_of(launch, None, ())
