"""An example's tensors, made on the CPU from its seed alone: the same bits on every platform.

Two families. *Exact*: small integers and powers of two, gates where SiLU is the identity (sigmoid(g) is 1 in
float32 for g >= 32, and exp overflows to give 0 for g <= -128), routers whose scores are 0, 1/2 or 1/m: every
sum is exact in float32 in any order, so every correct kernel gives the same bits. *Real*: random values at
several scales.
"""

import hashlib
from dataclasses import dataclass

import torch

from tritonmoe import MoEConfig

from .matrix import Case
from .philox import Stream
from .strategies import Example

CLASSES = 8  # distinct rows of an exact router: tokens are one-hot over them


@dataclass(frozen=True)
class Inputs:
    """What a stage is given; `tensors` by the name of the argument, in the order of the digest."""

    config: MoEConfig
    exact: bool
    tensors: dict[str, torch.Tensor]

    def digest(self) -> bytes:
        """SHA-256 over names, shapes, dtypes and all bits."""
        sha = hashlib.sha256()
        for name, tensor in self.tensors.items():
            sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            sha.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return sha.digest()


def build(case: Case, example: Example) -> Inputs:
    """The inputs of the case's stage for this example."""
    config = case.config(example.hidden, example.intermediate)
    maker = _Exact(case, example, config) if example.family == "exact" else _Real(case, example, config)
    return Inputs(config, example.family == "exact", getattr(maker, case.stage)())


class _Maker:
    def __init__(self, case: Case, example: Example, config: MoEConfig) -> None:
        self.case, self.example, self.config = case, example, config
        self.dtype = case.torch_dtype
        self.tokens, self.slots = example.tokens, example.tokens * config.top_k

    def stream(self, name: str) -> Stream:
        return Stream(self.example.seed, name)

    def permute(self) -> dict[str, torch.Tensor]:
        return {"topk_ids": self.ids()}

    def gate_up(self) -> dict[str, torch.Tensor]:
        return {"x": self.x(), "w_gate_up": self.w_gate_up(self.config.experts), "topk_ids": self.ids()}

    def down(self) -> dict[str, torch.Tensor]:
        return {
            "activation": self.activation(),
            "w_down": self.w_down(self.config.experts),
            "topk_ids": self.ids(),
        }

    def combine(self) -> dict[str, torch.Tensor]:
        ids = self.ids()
        made = {"partial": self.partial(), "topk_ids": ids, "topk_weights": self.topk_weights(ids)}
        if self.config.shared_intermediate:
            made["shared"] = self.shared_output()
        if self.config.shared_gate:
            made["shared_logit"] = self.shared_logit()
        return made

    def router(self) -> dict[str, torch.Tensor]:
        made = {"x": self.x(), "router_weight": self.router_weight()}
        if self.config.correction_bias:
            made["correction_bias"] = self.correction_bias()
        return made

    def layer(self) -> dict[str, torch.Tensor]:
        width = self.config.shared_intermediate
        made = self.router()
        made["w_gate_up"] = self.w_gate_up(self.config.experts)
        made["w_down"] = self.w_down(self.config.experts)
        if width:
            made["shared_gate_up"] = self.w_gate_up(1, width, "sgateup")[0]
            made["shared_down"] = self.w_down(1, width, "sdown")[0]
        if self.config.shared_gate:
            made["shared_gate"] = self.shared_gate()
        return made

    def ids(self) -> torch.Tensor:
        ids = self.example.routing.ids(
            self.stream("ids"), self.tokens, self.config.experts, self.config.top_k
        )
        return ids.to(torch.int32 if self.example.ids_dtype == "int32" else torch.int64)

    def as_weights(self, weights: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """In the drawn dtype, with NaN where a skipped slot's weight must not count."""
        weights = weights.to(torch.float32 if self.example.weights_dtype == "float32" else self.dtype)
        return weights.masked_fill((ids < 0) | (ids >= self.config.experts), float("nan"))


class _Real(_Maker):
    def x(self) -> torch.Tensor:
        x = self.stream("x").normal((self.tokens, self.config.hidden)) * 2.0**self.example.scale
        x[:, 0] = 2.0**self.example.scale  # carries the popularity of experts in router_weight
        return x.to(self.dtype)

    def router_weight(self) -> torch.Tensor:
        experts, hidden = self.config.experts, self.config.hidden
        weight = 2.0 * self.stream("router").normal((experts, hidden)) / hidden**0.5
        weight[:, 0] = self.example.routing.popularity(self.stream("popular"), experts)
        if self.example.routing.pattern == "ties":
            weight[1::2] = weight[::2][: experts // 2]
        return (weight * 2.0**-self.example.scale).to(self.dtype)

    def correction_bias(self) -> torch.Tensor:
        return (0.1 * self.stream("bias").normal((self.config.experts,))).float()

    def w_gate_up(self, experts: int, intermediate: int | None = None, name: str = "gateup") -> torch.Tensor:
        hidden = self.config.hidden
        weight = self.stream(name).normal((experts, 2 * (intermediate or self.config.intermediate), hidden))
        return (weight * (2.0 / hidden**0.5)).to(self.dtype)

    def w_down(self, experts: int, intermediate: int | None = None, name: str = "down") -> torch.Tensor:
        width = intermediate or self.config.intermediate
        return (self.stream(name).normal((experts, self.config.hidden, width)) / width**0.5).to(self.dtype)

    def activation(self) -> torch.Tensor:
        scale = 2.0**self.example.scale
        return (self.stream("act").normal((self.slots, self.config.intermediate)) * scale).to(self.dtype)

    def partial(self) -> torch.Tensor:
        scale = 2.0**self.example.scale
        return (self.stream("partial").normal((self.slots, self.config.hidden)) * scale).to(self.dtype)

    def topk_weights(self, ids: torch.Tensor) -> torch.Tensor:
        return self.as_weights(self.stream("weights").uniform(tuple(ids.shape)) + 2.0**-10, ids)

    def shared_output(self) -> torch.Tensor:
        scale = 2.0**self.example.scale
        return (self.stream("shared").normal((self.tokens, self.config.hidden)) * scale).to(self.dtype)

    def shared_logit(self) -> torch.Tensor:
        return (2.0 * self.stream("slogit").normal((self.tokens, 1))).float()

    def shared_gate(self) -> torch.Tensor:
        weight = self.stream("sgate").normal((1, self.config.hidden)) / self.config.hidden**0.5
        return (weight * 2.0**-self.example.scale).to(self.dtype)


class _Exact(_Maker):
    def x(self) -> torch.Tensor:
        """Column 0 is 1, the next CLASSES are one-hot for the router, the rest are -1, 0 or 1."""
        x = self.stream("x").integers((self.tokens, self.config.hidden), -1, 2).double()
        x[:, 0] = 1.0
        x[:, 1 : 1 + CLASSES] = 0.0
        x[torch.arange(self.tokens), 1 + self.stream("class").integers((self.tokens,), 0, CLASSES)] = 1.0
        return x.to(self.dtype)

    def router_weight(self) -> torch.Tensor:
        """Logit 0 for the experts of a token's class, -200 for all others; a power of two of experts a
        class.
        """
        experts, top_k = self.config.experts, self.config.top_k
        stream = self.stream("table")
        popularity = self.example.routing.popularity(stream, experts)
        weight = torch.zeros(experts, self.config.hidden, dtype=torch.float64)
        weight[:, 1 : 1 + CLASSES] = -200.0
        for column in range(1, 1 + CLASSES):
            noise = -torch.log(-torch.log(stream.uniform((experts,)).clamp(2.0**-60, 1 - 2.0**-53)))
            order = torch.argsort(popularity + noise, descending=True, stable=True)
            members = min(experts, top_k * (2 if self.example.routing.pattern == "ties" else 1))
            weight[self._members(order, members), column] = 0.0
        return weight.to(self.dtype)

    def _members(self, order: torch.Tensor, members: int) -> torch.Tensor:
        """The first of `order`, spread evenly over half the kept groups so that group-limited choice keeps
        them all.
        """
        groups = self.config.expert_groups
        if groups == 1:
            return order[:members]
        group = order // (self.config.experts // groups)
        first_seen = list(dict.fromkeys(group.tolist()))[: self.config.groups_kept // 2]
        share = members // len(first_seen)
        return torch.cat([order[group == g][:share] for g in first_seen])

    def correction_bias(self) -> torch.Tensor:
        return (self.stream("bias").integers((self.config.experts,), 0, 2) / 8.0).float()

    def w_gate_up(self, experts: int, intermediate: int | None = None, name: str = "gateup") -> torch.Tensor:
        width, hidden = intermediate or self.config.intermediate, self.config.hidden
        stream = self.stream(name)
        gate = torch.zeros(experts, width, hidden, dtype=torch.float64)
        level = torch.where(stream.integers((experts, width), 0, 2) == 0, 32.0, 64.0)
        slope = stream.signs((experts, width)) * torch.where(level == 64.0, 3.0, 1.0)
        column = stream.integers((experts, width, 1), 1 + CLASSES - 2, hidden)
        gate[:, :, 0] = level  # the sum is level * (1 + slope * x): 0, 32, 64, 256 or -128
        gate.scatter_(2, column, (level * slope)[:, :, None])
        up = self._sparse(stream, (experts, width, hidden), 3)
        return torch.cat((gate, up), dim=1).to(self.dtype)

    def w_down(self, experts: int, intermediate: int | None = None, name: str = "down") -> torch.Tensor:
        width = intermediate or self.config.intermediate
        return (self._sparse(self.stream(name), (experts, self.config.hidden, width), 3) / 8.0).to(self.dtype)

    def _sparse(self, stream: Stream, shape: tuple[int, ...], magnitude: int) -> torch.Tensor:
        values = stream.integers(shape, 1 - magnitude, magnitude).double()
        return values * (stream.integers(shape, 0, 8) < 3)

    def activation(self) -> torch.Tensor:
        return self._small((self.slots, self.config.intermediate), "act")

    def partial(self) -> torch.Tensor:
        return self._small((self.slots, self.config.hidden), "partial")

    def shared_output(self) -> torch.Tensor:
        return self._small((self.tokens, self.config.hidden), "shared")

    def _small(self, shape: tuple[int, ...], name: str) -> torch.Tensor:
        return self.stream(name).integers(shape, -128, 129).to(self.dtype)

    def topk_weights(self, ids: torch.Tensor) -> torch.Tensor:
        return self.as_weights(2.0 ** -self.stream("weights").integers(tuple(ids.shape), 0, 4).double(), ids)

    def shared_logit(self) -> torch.Tensor:
        return torch.tensor([0.0, 64.0, -128.0])[self.stream("slogit").integers((self.tokens, 1), 0, 3)]

    def shared_gate(self) -> torch.Tensor:
        """Gate logits of 64 * x: -64 has no exact sigmoid, so only columns that are 0 or 1 take part."""
        gate = torch.zeros(1, self.config.hidden, dtype=torch.float64)
        gate[0, 1 : 1 + CLASSES] = torch.tensor([0.0, 64.0, -128.0, 0.0] * (CLASSES // 4))
        return gate.to(self.dtype)
