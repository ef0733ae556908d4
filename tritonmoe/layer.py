"""The whole forward: five stages in their order, nothing in between that waits for the device."""

from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext

import torch

from .arguments import SharedExperts, check_experts, check_layer, check_route
from .combine import combine
from .config import MoEConfig
from .dispatch import MOST, calls_of, kind_of
from .down import down
from .gate_up import gate_up
from .launches import Launch, select
from .replay import Recording, ready
from .router import Routing, project, router
from .schedule import plan_of

_passed: set[Hashable] = set()  # kinds of arguments that passed the checks


def fused_moe(
    x: torch.Tensor,
    router_weight: torch.Tensor,
    w_gate_up: torch.Tensor,
    w_down: torch.Tensor,
    config: MoEConfig,
    correction_bias: torch.Tensor | None = None,
    shared: SharedExperts | None = None,
    *,
    precision: str = "ieee",
    launch: Launch | None = None,
) -> tuple[torch.Tensor, Routing]:
    """The whole Mixture-of-Experts layer: route, experts, shared experts, weighted sum.

    x [tokens, hidden] float32, float16 or bfloat16; router_weight [experts, hidden] in x's dtype or float32;
    w_gate_up [experts, 2 * intermediate, hidden], gate rows first; w_down [experts, hidden, intermediate];
    correction_bias [experts] if `config.correction_bias`; shared if `config.shared_intermediate`.
    Any strides. Returns y [tokens, hidden] in x's dtype and the `Routing` that was used.

    `precision` is that of float32 products in the experts: "ieee", or "tf32" where the GPU has it.
    `launch` forces a launch configuration; by default the shipped table for this GPU chooses.
    Raises ValueError or TypeError before any launch for what cannot work. Inference only.
    """
    check_layer(x, router_weight, w_gate_up, w_down, config, correction_bias, shared)
    _check_precision(precision)
    with _on_device_of(x):
        launch = launch or _select(x, config.top_k, config.experts)
        routing = router(x, router_weight, config, correction_bias, launch)
        extra, extra_gate = _shared_experts(x, shared, precision, launch)
        y = _experts(
            x, w_gate_up, w_down, routing.topk_ids, routing.topk_weights, precision, launch, extra, extra_gate
        )
    return y, routing


def fused_experts(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    w_down: torch.Tensor,
    topk_ids: torch.Tensor,
    topk_weights: torch.Tensor,
    *,
    precision: str = "ieee",
    launch: Launch | None = None,
) -> torch.Tensor:
    """The experts alone, for an engine that routes by itself.

    topk_ids [tokens, top_k] int32 or int64, where -1 or an id >= experts is a slot to skip;
    topk_weights [tokens, top_k] float32 or x's dtype. The rest as in `fused_moe`. Returns [tokens, hidden].
    """
    given = x, w_gate_up, w_down, topk_ids, topk_weights
    kind = kind_of(*given)
    if kind not in _passed:
        check_experts(*given)
        if kind is not None:
            _remember(kind)
    _check_precision(precision)
    with _on_device_of(x):
        launch = launch or _select(x, topk_ids.shape[1], w_gate_up.shape[0])
        return _experts(*given, precision, launch, None, None, kind)


def route(
    x: torch.Tensor,
    router_weight: torch.Tensor,
    config: MoEConfig,
    correction_bias: torch.Tensor | None = None,
    *,
    launch: Launch | None = None,
) -> Routing:
    """The router alone: topk_ids [tokens, top_k] int32, topk_weights float32, logits [tokens, experts]
    float32.
    """
    check_route(x, router_weight, config, correction_bias)
    with _on_device_of(x):
        return router(
            x, router_weight, config, correction_bias, launch or _select(x, config.top_k, config.experts)
        )


def _experts(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    w_down: torch.Tensor,
    topk_ids: torch.Tensor,
    topk_weights: torch.Tensor,
    precision: str,
    launch: Launch,
    extra: torch.Tensor | None,
    extra_gate: torch.Tensor | None,
    kind: Hashable = None,
) -> torch.Tensor:
    experts, given = w_gate_up.shape[0], (x, w_gate_up, w_down, topk_ids, topk_weights)
    also = precision, extra is None, extra_gate is None
    seen = calls_of(launch, kind or kind_of(*given), also)
    if extra is None and ready(seen.replay):
        return seen.replay(given)
    calls = Recording(seen)
    plan = plan_of(topk_ids, experts, launch, calls)
    activation = gate_up(x, w_gate_up, plan, launch, precision, calls)
    partial = down(activation, w_down, plan, launch, precision, calls)
    y = combine(partial, topk_ids, topk_weights, experts, launch, extra, extra_gate, plan.places, calls)
    if extra is None:
        seen.replay = calls.replay(given, y)
    return y


def _shared_experts(
    x: torch.Tensor, shared: SharedExperts | None, precision: str, launch: Launch
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Output [tokens, hidden] and gate logits [tokens, 1]: one dense expert for all rows."""
    if shared is None:
        return None, None
    activation = gate_up(x, shared.w_gate_up[None], None, launch, precision)
    extra = down(activation, shared.w_down[None], None, launch, precision)
    return extra, None if shared.gate is None else project(x, shared.gate, launch)


def _remember(kind: Hashable) -> None:
    if len(_passed) >= MOST:
        _passed.clear()
    _passed.add(kind)


def _select(x: torch.Tensor, top_k: int, experts: int) -> Launch:
    return select(x.dtype, x.shape[0] * top_k / experts)


def _check_precision(precision: str) -> None:
    if precision not in ("ieee", "tf32"):
        raise ValueError(
            f'precision is {precision!r}; expected "ieee" or "tf32" (products of float32 inputs only)'
        )


def _on_device_of(x: torch.Tensor) -> AbstractContextManager:
    """Triton launches on the current device, which need not be x's."""
    if x.device.type != "cuda" or x.device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(x.device)
