"""What the public calls refuse before any launch: each check names the argument, what it is and what was
expected.
"""

import os
from typing import NamedTuple

import torch
import triton

from .config import MoEConfig

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MOST_SLOTS = 2**31 - 2**16  # slot numbers are int32, and a vector of them may start at the last


class SharedExperts(NamedTuple):
    """Weights of the shared experts, as one wide expert: w_gate_up [2 * shared_intermediate, hidden], gate
    rows first; w_down [hidden, shared_intermediate]; gate [1, hidden], or None for a model without a
    shared-expert gate.
    """

    w_gate_up: torch.Tensor
    w_down: torch.Tensor
    gate: torch.Tensor | None = None


def check_route(
    x: torch.Tensor, router_weight: torch.Tensor, config: MoEConfig, correction_bias: torch.Tensor | None
) -> None:
    """Arguments of `route`. Raises TypeError or ValueError."""
    check_config(config)
    _check_x(x)
    if x.shape[1] != config.hidden:
        raise ValueError(f"x is {tuple(x.shape)}; expected {(x.shape[0], config.hidden)}")
    _check("router_weight", router_weight, (config.experts, config.hidden), (x.dtype, torch.float32), x)
    if (correction_bias is not None) != config.correction_bias:
        raise ValueError(
            f"correction_bias is {_given(correction_bias)}, but config.correction_bias is "
            f"{config.correction_bias}; give it exactly where the model has one"
        )
    if correction_bias is not None:
        _check("correction_bias", correction_bias, (config.experts,), (torch.float32, x.dtype), x)
    _check_slots(x.shape[0], config.top_k)
    check_device(x)


def check_experts(
    x: torch.Tensor,
    w_gate_up: torch.Tensor,
    w_down: torch.Tensor,
    topk_ids: torch.Tensor,
    topk_weights: torch.Tensor,
) -> None:
    """Arguments of `fused_experts`. Raises TypeError or ValueError."""
    _check_x(x)
    tokens, experts = x.shape[0], _check_expert_weights(x, w_gate_up, w_down)
    _check_rank("topk_ids", topk_ids, "[tokens, top_k]", 2)
    top_k = topk_ids.shape[1]
    _check("topk_ids", topk_ids, (tokens, top_k), (torch.int32, torch.int64), x)
    _check("topk_weights", topk_weights, (tokens, top_k), (torch.float32, x.dtype), x)
    if not 1 <= top_k <= experts:
        raise ValueError(
            f"topk_ids is {tuple(topk_ids.shape)}: top_k = {top_k}; expected 1 to experts = {experts}"
        )
    _check_slots(tokens, top_k)
    check_device(x)


def check_layer(
    x: torch.Tensor,
    router_weight: torch.Tensor,
    w_gate_up: torch.Tensor,
    w_down: torch.Tensor,
    config: MoEConfig,
    correction_bias: torch.Tensor | None,
    shared: SharedExperts | None,
) -> None:
    """Arguments of `fused_moe`. Raises TypeError or ValueError."""
    check_route(x, router_weight, config, correction_bias)
    _check("w_gate_up", w_gate_up, (config.experts, 2 * config.intermediate, config.hidden), (x.dtype,), x)
    _check("w_down", w_down, (config.experts, config.hidden, config.intermediate), (x.dtype,), x)
    check_shared(x, shared, config)


def check_shared(x: torch.Tensor, shared: SharedExperts | None, config: MoEConfig) -> None:
    """Weights of the shared experts against the configuration. Raises TypeError or ValueError."""
    width = config.shared_intermediate
    if (shared is not None) != (width > 0):
        raise ValueError(
            f"shared is {_given(shared)}, but config.shared_intermediate is {width}; "
            "give SharedExperts(...) exactly where the model has shared experts"
        )
    if shared is None:
        return
    if not isinstance(shared, SharedExperts):
        raise TypeError(f"shared is a {type(shared).__name__}; expected a tritonmoe.SharedExperts")
    _check("shared.w_gate_up", shared.w_gate_up, (2 * width, config.hidden), (x.dtype,), x)
    _check("shared.w_down", shared.w_down, (config.hidden, width), (x.dtype,), x)
    if (shared.gate is not None) != config.shared_gate:
        raise ValueError(
            f"shared.gate is {_given(shared.gate)}, but config.shared_gate is {config.shared_gate}"
        )
    if shared.gate is not None:
        _check("shared.gate", shared.gate, (1, config.hidden), (x.dtype, torch.float32), x)


def check_config(config: MoEConfig) -> None:
    """Raises TypeError for what is no MoEConfig, such as a preset's name."""
    if not isinstance(config, MoEConfig):
        raise TypeError(f"config is a {type(config).__name__}; expected a MoEConfig, as in tritonmoe.presets")


def check_leading(x: torch.Tensor, hidden: int) -> None:
    """An input [..., hidden] before its leading dimensions are joined. Raises TypeError or ValueError."""
    _check_kind("x", x, f"[..., {hidden}]")
    if x.ndim < 1 or x.shape[-1] != hidden:
        raise ValueError(f"x is {tuple(x.shape)}; expected [..., {hidden}], the last dimension config.hidden")


def check_device(x: torch.Tensor) -> None:
    """Whether Triton launches on x's kind of device here. Raises ValueError."""
    if _interpreted():
        return
    try:
        kind = triton.runtime.driver.active.get_active_torch_device().type
    except RuntimeError as error:
        raise ValueError(
            f"x is on {x.device}, and Triton finds no GPU here ({error}); install a GPU driver, or set "
            "TRITON_INTERPRET=1 before importing tritonmoe to debug on the CPU"
        ) from error
    if x.device.type != kind:
        raise ValueError(f"x is on {x.device}; Triton launches on {kind} here, move all tensors there")


def _check_x(x: torch.Tensor) -> None:
    _check_rank("x", x, "[tokens, hidden]", 2)
    if x.dtype not in DTYPES:
        raise TypeError(f"x is {x.dtype}; expected one of {_names(DTYPES)}")
    if x.shape[1] < 1:
        raise ValueError(f"x is {tuple(x.shape)}; expected [tokens, hidden] with hidden at least 1")
    _check_usable("x", x, x)


def _check_expert_weights(x: torch.Tensor, w_gate_up: torch.Tensor, w_down: torch.Tensor) -> int:
    """How many experts there are, read off w_down."""
    _check_rank("w_down", w_down, "[experts, hidden, intermediate]", 3)
    experts, _, intermediate = w_down.shape
    if experts < 1 or intermediate < 1:
        raise ValueError(
            f"w_down is {tuple(w_down.shape)}; expected at least one expert and intermediate of at least 1"
        )
    _check("w_down", w_down, (experts, x.shape[1], intermediate), (x.dtype,), x)
    _check("w_gate_up", w_gate_up, (experts, 2 * intermediate, x.shape[1]), (x.dtype,), x)
    return experts


def _check_slots(tokens: int, top_k: int) -> None:
    if tokens * top_k > MOST_SLOTS:
        raise ValueError(
            f"x has {tokens} tokens: tokens * top_k = {tokens * top_k} is above {MOST_SLOTS}; split the batch"
        )


def _check_rank(name: str, tensor: torch.Tensor, shape: str, rank: int) -> None:
    _check_kind(name, tensor, shape)
    if tensor.ndim != rank:
        raise ValueError(f"{name} is {tuple(tensor.shape)}; expected {rank} dimensions, {shape}")


def _check(
    name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...], x: torch.Tensor
) -> None:
    _check_kind(name, tensor, shape)
    if tensor.shape != shape:
        raise ValueError(f"{name} is {tuple(tensor.shape)}; expected {shape}")
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name} is {tensor.dtype}; expected {_names(dtypes)}")
    _check_usable(name, tensor, x)


def _check_kind(name: str, tensor: torch.Tensor, shape: str | tuple[int, ...]) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}; expected a torch.Tensor {shape}")
    if tensor.is_nested:  # has no shape to speak of
        raise ValueError(f"{name} is a nested tensor; expected a dense one, call .to_padded_tensor(0)")


def _check_usable(name: str, tensor: torch.Tensor, x: torch.Tensor) -> None:
    if tensor.layout is not torch.strided:
        raise ValueError(f"{name} is a {tensor.layout} tensor; expected a dense one, call .to_dense()")
    if tensor.device != x.device:
        raise ValueError(f"{name} is on {tensor.device} and x on {x.device}; expected one device")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} requires grad, and there is no backward: inference only, call under torch.no_grad()"
        )


def _given(argument: object) -> str:
    return "missing" if argument is None else "given"


def _names(dtypes: tuple[torch.dtype, ...]) -> str:
    return " or ".join(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype in dtypes))


def _interpreted() -> bool:
    knobs = getattr(triton, "knobs", None)
    return knobs.runtime.interpret if knobs is not None else os.environ.get("TRITON_INTERPRET") == "1"
