"""What is timed: a model's expert weights, a batch with its routing, and the least that any code must move
and compute for it.
"""

from typing import NamedTuple

import torch

from ..config import MoEConfig
from ..launches import Launch
from ..pack import packs


class Weights(NamedTuple):
    """router_weight [experts, hidden]; w_gate_up [experts, 2 * intermediate, hidden]; w_down [experts,
    hidden, intermediate]; correction_bias [experts] float32 or None.
    """

    router_weight: torch.Tensor
    w_gate_up: torch.Tensor
    w_down: torch.Tensor
    correction_bias: torch.Tensor | None


class Batch(NamedTuple):
    """x [tokens, hidden]; topk_ids [tokens, top_k] int32; topk_weights [tokens, top_k] float32."""

    x: torch.Tensor
    topk_ids: torch.Tensor
    topk_weights: torch.Tensor


class Ceilings(NamedTuple):
    """What this card was measured to do: bytes a second, read and written, and operations a second."""

    bandwidth: float
    rate: float


def make_weights(config: MoEConfig, dtype: torch.dtype, device: str) -> Weights:
    """Random weights at which SwiGLU is far from linear: gate values with a deviation of 2."""
    generator = torch.Generator(device).manual_seed(1)

    def normal(*shape: int, spread: float) -> torch.Tensor:
        made = torch.empty(shape, dtype=dtype, device=device)
        return made.normal_(0, spread / shape[-1] ** 0.5, generator=generator)

    experts, hidden, intermediate = config.experts, config.hidden, config.intermediate
    return Weights(
        normal(experts, hidden, spread=2.0),
        normal(experts, 2 * intermediate, hidden, spread=2.0),
        normal(experts, hidden, intermediate, spread=1.0),
        torch.zeros(experts, device=device) if config.correction_bias else None,
    )


def make_batch(config: MoEConfig, tokens: int, skew: float, dtype: torch.dtype, device: str) -> Batch:
    """Random rows; ids by Gumbel top-k over probabilities proportional to (id + 1) ** -skew, so that a
    token's experts are distinct (Kool et al., arXiv 1903.06059, 3); weights that sum to 1.
    """
    generator = torch.Generator(device).manual_seed(2)
    x = torch.randn(tokens, config.hidden, device=device, generator=generator).to(dtype)
    uniform = torch.rand(tokens, config.experts, device=device, generator=generator, dtype=torch.float64)
    log_probability = -skew * torch.arange(1, config.experts + 1, device=device).double().log()
    ids = (log_probability - (-uniform.log()).log()).topk(config.top_k).indices
    weights = torch.rand(tokens, config.top_k, device=device, generator=generator) + 0.05
    return Batch(x, ids.int(), weights / weights.sum(dim=1, keepdim=True))


def used_experts(batch: Batch) -> int:
    """How many experts have rows: only their weights must be read."""
    return batch.topk_ids.unique().numel()


def least_bytes(config: MoEConfig, tokens: int, used: int, itemsize: int) -> int:
    """The used experts' weights and x read once, y written once."""
    return itemsize * (used * 3 * config.hidden * config.intermediate + 2 * tokens * config.hidden)


def operations(config: MoEConfig, tokens: int) -> int:
    """Multiplications and additions of the three products of every slot."""
    return 6 * tokens * config.top_k * config.hidden * config.intermediate


def floor_ms(config: MoEConfig, tokens: int, used: int, itemsize: int, ceilings: Ceilings) -> float:
    """Milliseconds that no code on this card can be far under: the longer of moving and computing."""
    moving = least_bytes(config, tokens, used, itemsize) / ceilings.bandwidth
    return 1e3 * max(moving, operations(config, tokens) / ceilings.rate)


def extra_bytes(config: MoEConfig, tokens: int, itemsize: int, launch: Launch) -> int:
    """Most memory of a call of `fused_experts` beyond its inputs and output: the activation and the partial
    outputs, the rows where the configuration packs them, and the int32 schedule with a large batch's counts.
    """
    slots = tokens * config.top_k
    copies = any(packs(each) for each in (launch, launch.skewed or launch))
    width = config.intermediate + config.hidden * (2 if copies else 1)
    counts = 1 << 16 if slots > launch.sort.lanes else 0
    return itemsize * slots * width + 4 * (5 * slots + 4 * config.experts + counts)
