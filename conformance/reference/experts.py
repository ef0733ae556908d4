"""The expert stages in float64, each with its bound; the layer composes them.

SwiGLU: Shazeer, arXiv 2002.05202. Rounding points are those that `tritonmoe.contract` declares: the
activation, each slot's partial output and y, in x's dtype; everything else is float32.
"""

import torch

from tritonmoe import MoEConfig

from .quantity import TINY, U32, Quantity, dot, gamma, sigmoid, silu


def gate_up(
    x: Quantity,
    w_gate_up: torch.Tensor,
    experts: torch.Tensor,
    dtype: torch.dtype,
    noise: torch.Tensor | None,
) -> Quantity:
    """Activation of each row: x [rows, hidden], experts [rows] int64; noise [rows, intermediate], None if
    exact.
    """
    exact, half = noise is None, w_gate_up.shape[1] // 2
    weight = w_gate_up[experts].double()
    gate = silu(dot(x, weight[:, :half], dtype, exact), noise)
    up = dot(x, weight[:, half:], dtype, exact)
    return product(gate, up).stored(dtype)


def down(
    activation: Quantity, w_down: torch.Tensor, experts: torch.Tensor, dtype: torch.dtype, exact: bool
) -> Quantity:
    """Partial output of each row: activation [rows, intermediate], experts [rows] int64."""
    return dot(activation, w_down[experts].double(), dtype, exact).stored(dtype)


def combine(
    partial: Quantity,
    weight: Quantity,
    served: torch.Tensor,
    dtype: torch.dtype,
    shared: Quantity | None,
    shared_scale: Quantity | None,
) -> Quantity:
    """Weighted sum of partial [tokens, top_k, hidden] over served [tokens, top_k] slots, then the shared
    experts.
    """
    tokens, top_k, hidden = partial.value.shape
    zero = torch.zeros(tokens, hidden, dtype=torch.float64)
    value, bound, slack, model, size = zero, zero, zero, zero, zero
    pairs = [(partial[:, j], weight[:, j, None], served[:, j, None]) for j in range(top_k)]
    if shared is not None:
        one = torch.ones(tokens, 1, dtype=torch.float64)
        pairs.append((shared, shared_scale or Quantity.given(one), one.bool()))
    for part, scale, here in pairs:
        term = product(part, scale, rounds=False)
        value = value + torch.where(here, term.value, zero)
        bound = bound + torch.where(here, term.bound, zero)
        slack = slack + torch.where(here, term.slack, zero)
        size = size + torch.where(here, term.value.abs() + term.bound, zero)
        model = torch.where(here, (model + term.model).float().double(), model)
    return Quantity(value, bound + gamma(top_k + 2) * size, slack, model).stored(dtype)


def layer(
    x: torch.Tensor,
    weight: Quantity,
    ids: torch.Tensor,
    tensors: dict[str, torch.Tensor],
    config: MoEConfig,
    noise: dict[str, torch.Tensor] | None,
) -> Quantity:
    """y of the whole layer, given the choice ids [tokens, top_k] int64 and its weights."""
    dtype, exact = x.dtype, noise is None
    tokens = x.shape[0]
    rows = Quantity.given(x.repeat_interleave(config.top_k, dim=0))
    activation = gate_up(
        rows, tensors["w_gate_up"], ids.flatten(), dtype, None if exact else noise["activation"]
    )
    partial = down(activation, tensors["w_down"], ids.flatten(), dtype, exact)
    shared = shared_scale = None
    if "shared_gate_up" in tensors:
        only = torch.zeros(tokens, dtype=torch.int64)
        given = Quantity.given(x)
        inner = gate_up(
            given, tensors["shared_gate_up"][None], only, dtype, None if exact else noise["shared"]
        )
        shared = down(inner, tensors["shared_down"][None], only, dtype, exact)
    if "shared_gate" in tensors:
        logit = dot(
            Quantity.given(x), tensors["shared_gate"].double()[None].expand(tokens, -1, -1), dtype, exact
        )
        shared_scale = sigmoid(logit, None if exact else noise["gate"])
    by_slot = Quantity(
        *(
            part.view(tokens, config.top_k, -1)
            for part in (partial.value, partial.bound, partial.slack, partial.model)
        )
    )
    return combine(by_slot, weight, torch.ones_like(ids, dtype=torch.bool), dtype, shared, shared_scale)


def product(a: Quantity, b: Quantity, rounds: bool = True) -> Quantity:
    """a * b in float32; without rounding where a fused multiply-add takes it in."""
    value = a.value * b.value
    bound = a.value.abs() * b.bound + b.value.abs() * a.bound + a.bound * b.bound
    slack = a.value.abs() * b.slack + b.value.abs() * a.slack + a.slack * b.slack
    model = a.model * b.model
    if rounds:
        bound = bound + U32 * (value.abs() + bound) + TINY[torch.float32]
        model = model.float().double()
    return Quantity(value, bound, slack, model)
