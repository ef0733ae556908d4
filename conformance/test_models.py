"""Against models nobody here wrote: transformers' own blocks, in small configurations with random weights."""

import importlib
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import tritonmoe
from conformance import reference
from conformance.judge import Judgement
from conformance.philox import Stream
from conformance.reference import Quantity, product, silu

TOKENS, HIDDEN, INTERMEDIATE = 13, 48, 32


@dataclass(frozen=True)
class Family:
    """A block of transformers: its module, class, configuration, and the MoEConfig that says the same."""

    module: str
    block: str
    settings: dict[str, Any]
    ours: dict[str, Any]


_GROUPED = dict(n_routed_experts=32, num_local_experts=32, num_experts_per_tok=4, n_group=4, topk_group=2)
_GROUPED |= dict(
    n_shared_experts=1, routed_scaling_factor=2.5, norm_topk_prob=True, moe_intermediate_size=INTERMEDIATE
)
_SIGMOID = dict(experts=32, top_k=4, scoring="sigmoid", expert_groups=4, groups_kept=2, correction_bias=True)
_SIGMOID |= dict(routed_scaling_factor=2.5, shared_intermediate=INTERMEDIATE)
_QWEN = dict(num_experts=16, num_local_experts=16, num_experts_per_tok=4, moe_intermediate_size=INTERMEDIATE)

FAMILIES = {
    "mixtral": Family(
        *("mixtral", "MixtralSparseMoeBlock"),
        dict(num_local_experts=8, num_experts_per_tok=2, intermediate_size=INTERMEDIATE),
        dict(experts=8, top_k=2),
    ),
    "qwen2_moe": Family(
        *("qwen2_moe", "Qwen2MoeSparseMoeBlock"),
        dict(**_QWEN, shared_expert_intermediate_size=40, norm_topk_prob=False),
        dict(experts=16, top_k=4, renormalize=False, shared_intermediate=40, shared_gate=True),
    ),
    "qwen3_moe": Family(
        *("qwen3_moe", "Qwen3MoeSparseMoeBlock"),
        dict(**_QWEN, norm_topk_prob=True),
        dict(experts=16, top_k=4),
    ),
    "deepseek_v3": Family("deepseek_v3", "DeepseekV3MoE", _GROUPED, _SIGMOID),
    "glm4_moe": Family("glm4_moe", "Glm4MoeMoE", _GROUPED, _SIGMOID),
}


@dataclass
class Pair:
    """The same layer twice: transformers' block and our arguments, on the device; x [tokens, hidden]."""

    block: nn.Module
    config: tritonmoe.MoEConfig
    x: torch.Tensor

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Our arguments by name: the block's own tensors, as they lie in memory."""
        block, made = self.block, {}
        made["router_weight"] = block.gate.weight
        made["w_gate_up"], made["w_down"] = block.experts.gate_up_proj, block.experts.down_proj
        if self.config.correction_bias:
            made["correction_bias"] = block.gate.e_score_correction_bias
        mlp = getattr(block, "shared_experts", None) or getattr(block, "shared_expert", None)
        if mlp is not None:
            made["shared_gate_up"] = torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight))
            made["shared_down"] = mlp.down_proj.weight
        if self.config.shared_gate:
            made["shared_gate"] = block.shared_expert_gate.weight
        return made

    def ours(self) -> tuple[torch.Tensor, tritonmoe.Routing]:
        t = self.tensors
        shared = None
        if "shared_down" in t:
            shared = tritonmoe.SharedExperts(t["shared_gate_up"], t["shared_down"], t.get("shared_gate"))
        return tritonmoe.fused_moe(
            self.x,
            t["router_weight"],
            t["w_gate_up"],
            t["w_down"],
            self.config,
            t.get("correction_bias"),
            shared,
        )


@pytest.fixture(params=[(f, d) for f in FAMILIES for d in ("float32", "bfloat16")], ids="-".join)
def pair(request: pytest.FixtureRequest, device: torch.device) -> Pair:
    family, dtype = FAMILIES[request.param[0]], getattr(torch, request.param[1])
    package = f"transformers.models.{family.module}"
    code = importlib.import_module(f"{package}.modeling_{family.module}")
    configs = vars(importlib.import_module(f"{package}.configuration_{family.module}"))
    config_class = next(
        v for name, v in configs.items() if name.lower() == family.module.replace("_", "") + "config"
    )
    config = config_class(hidden_size=HIDDEN, **family.settings)
    config._experts_implementation = "eager"
    block = getattr(code, family.block)(config).eval()
    stream = Stream(1, "block")
    with torch.no_grad():
        for name, tensor in sorted([*block.named_parameters(), *block.named_buffers()]):
            spread = (
                0.1 if "bias" in name else (4.0 if name == "gate.weight" else 1.5) / tensor.shape[-1] ** 0.5
            )
            tensor.copy_(stream.normal(tuple(tensor.shape)) * spread)
    block = block.to(device, dtype)
    x = stream.normal((TOKENS, HIDDEN)).to(dtype).to(device)
    return Pair(block, tritonmoe.MoEConfig(hidden=HIDDEN, intermediate=INTERMEDIATE, **family.ours), x)


@torch.no_grad()
def test_the_router_chooses_the_same_experts(pair: Pair) -> None:
    _, _, their_ids = pair.block.gate(pair.x)
    _, routing = pair.ours()
    logit, score, bias = _scores(pair)
    rounds = pair.block.gate(pair.x)[0].dtype != torch.float32
    basis = score if pair.config.correction_bias else logit
    value = basis.value + (0 if bias is None else bias.double())
    # Mixtral and Qwen round logits to the model's dtype before they choose; ours never do.
    bound = 2 * basis.bound + (2.0**-8 * value.abs() if rounds else 0) + 2.0**-23 * value.abs()
    assert (
        reference.check_choice(routing.topk_ids.cpu(), logit, score, bias, pair.config).wrong == [""] * TOKENS
    )
    same = 0
    for row, (mine, theirs) in enumerate(zip(routing.topk_ids.tolist(), their_ids.tolist(), strict=True)):
        same += set(mine) == set(theirs)
        for i in set(mine) - set(theirs):
            for j in set(theirs) - set(mine):
                assert abs(value[row, i] - value[row, j]) <= bound[row, i] + bound[row, j], (
                    row,
                    mine,
                    theirs,
                )
    assert same >= TOKENS - 3  # ties are rare enough that most rows must agree


@torch.no_grad()
def test_our_output_is_within_its_bound(pair: Pair) -> None:
    y, routing = pair.ours()
    expected = _reference(pair, routing.topk_ids.long().cpu())
    judgement = Judgement()
    judgement.real("y", y.cpu(), expected, pair.x.dtype)
    assert judgement.faults == []


@torch.no_grad()
def test_their_output_is_within_the_bound_of_their_rounding_points(pair: Pair) -> None:
    _, _, their_ids = pair.block.gate(pair.x)
    theirs = pair.block(pair.x[None])[0].double().cpu()
    expected = _reference(pair, their_ids.cpu())
    error = (theirs - expected.value).abs()
    assert (error <= _their_bound(pair, their_ids.cpu())).all()


@torch.no_grad()
def test_given_their_routing_our_experts_agree_with_theirs(pair: Pair) -> None:
    _, weights, ids = pair.block.gate(pair.x)
    theirs = pair.block.experts(pair.x, ids, weights).double().cpu()
    ours = tritonmoe.fused_experts(
        pair.x, pair.block.experts.gate_up_proj, pair.block.experts.down_proj, ids, weights
    )
    bound = _their_bound(pair, ids.cpu()) + _reference(pair, ids.cpu()).bound
    assert ((ours.double().cpu() - theirs).abs() <= bound).all()


def _scores(pair: Pair) -> tuple[Quantity, Quantity, torch.Tensor | None]:
    tensors = pair.tensors
    logit = reference.logits(pair.x.cpu(), tensors["router_weight"].cpu(), exact=False)
    score = reference.scores(logit, pair.config.scoring, None)
    bias = tensors.get("correction_bias")
    return logit, score, None if bias is None else bias.cpu()


def _reference(pair: Pair, ids: torch.Tensor) -> Quantity:
    _, score, _ = _scores(pair)
    weight = reference.weights(score, ids, pair.config)
    noise = {
        "activation": torch.zeros(ids.numel(), INTERMEDIATE),
        "shared": torch.zeros(TOKENS, pair.config.shared_intermediate),
        "gate": torch.zeros(TOKENS, 1),
    }
    tensors = {name: tensor.cpu() for name, tensor in pair.tensors.items()}
    return reference.layer(pair.x.cpu(), weight, ids, tensors, pair.config, noise)


def _their_bound(pair: Pair, ids: torch.Tensor) -> torch.Tensor:
    """As ours, with every operation's result rounded to the model's dtype, and logits too."""
    dtype, k = pair.x.dtype, pair.config.top_k
    x = Quantity.given(pair.x.cpu())
    tensors = {name: tensor.cpu() for name, tensor in pair.tensors.items()}

    def mlp(rows: Quantity, gate_up: torch.Tensor, down: torch.Tensor) -> Quantity:
        half = gate_up.shape[1] // 2
        gate = reference.dot(rows, gate_up[:, :half], dtype, False).stored(dtype)
        up = reference.dot(rows, gate_up[:, half:], dtype, False).stored(dtype)
        inner = product(silu(gate, torch.zeros_like(gate.value)).stored(dtype), up).stored(dtype)
        return reference.dot(inner, down, dtype, False).stored(dtype)

    flat = ids.flatten()
    rows = x[torch.arange(TOKENS).repeat_interleave(k)]
    out = mlp(rows, tensors["w_gate_up"].double()[flat], tensors["w_down"].double()[flat])
    logit, _, _ = _scores(pair)
    logit = logit.stored(dtype) if dtype != torch.float32 else logit
    weight = reference.weights(reference.scores(logit, pair.config.scoring, None), ids, pair.config).stored(
        dtype
    )
    terms = [product(out[j::k], weight[:, j, None]).stored(dtype) for j in range(k)]
    if "shared_down" in tensors:
        one = torch.zeros(TOKENS, dtype=torch.int64)
        shared = mlp(
            x, tensors["shared_gate_up"].double()[None][one], tensors["shared_down"].double()[None][one]
        )
        if "shared_gate" in tensors:
            gate = tensors["shared_gate"].double()[None].expand(TOKENS, -1, -1)
            scale = reference.sigmoid(reference.dot(x, gate, dtype, False).stored(dtype), None).stored(dtype)
            shared = product(shared, scale).stored(dtype)
        terms.append(shared)
    unit = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}[dtype]
    bound = sum(term.bound for term in terms)
    return bound + (k + 2) * unit * (sum(term.value.abs() for term in terms) + bound)
