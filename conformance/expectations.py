"""What a stage's outputs must be, and the judgement of what it gave."""

import hashlib
from dataclasses import dataclass

import torch

from . import reference
from .inputs import Inputs
from .judge import Judgement
from .matrix import Case
from .philox import Stream
from .reference import Quantity
from .strategies import Example

Outputs = dict[str, torch.Tensor]
Expected = dict[str, tuple[Quantity | torch.Tensor, torch.dtype]]  # values and dtype by name


@dataclass
class Verdict:
    """Judgement of one example's outputs, and what reports compare across platforms.

    `agreed` are the values that every platform must have bit for bit (rows too close to call left out);
    `compared` is the output that sketches project, with its bound, or None for a stage of integers.
    """

    judgement: Judgement
    agreed: list[torch.Tensor]
    compared: tuple[torch.Tensor, torch.Tensor] | None
    near_ties: int = 0

    def integer_digest(self) -> bytes:
        sha = hashlib.sha256()
        for tensor in self.agreed:
            sha.update((tensor.double() + 0.0).contiguous().numpy().tobytes())
        return sha.digest()


def judge(
    case: Case, example: Example, inputs: Inputs, outputs: Outputs, heights: reference.Heights
) -> Verdict:
    """Judges outputs (CPU tensors by name) of the case's stage."""
    judgement = Judgement()
    ids, clear, scores = None, slice(None), None
    if case.stage in ("router", "layer"):
        scores = router_scores(example, inputs)
        near = _judge_choice(example, inputs, scores, outputs["topk_ids"], judgement)
        if judgement.faults:
            return Verdict(judgement, [], None)
        ids, clear = outputs["topk_ids"].long(), ~near
    expected = expected_outputs(case, example, inputs, ids, heights, scores)
    for name, (values, dtype) in expected.items():
        if isinstance(values, torch.Tensor):
            judgement.equal(name, outputs[name], values, dtype)
        elif inputs.exact:
            judgement.equal(name, outputs[name], values.model, dtype)
        else:
            judgement.real(name, outputs[name], values, dtype)
    if judgement.faults:
        return Verdict(judgement, [], None)
    return _verdict(case, inputs, outputs, expected, judgement, clear)


def expected_outputs(
    case: Case,
    example: Example,
    inputs: Inputs,
    ids: torch.Tensor | None,
    heights: reference.Heights,
    scores: tuple[Quantity, Quantity] | None = None,
) -> Expected:
    """Every output of the stage by name, with its dtype: integers as they must be, or a Quantity.

    ids [tokens, top_k] int64: the router's choice to follow, for the stages "router" and "layer"; `scores`
    are then what `router_scores` gives, where the caller has them already.
    """
    tensors, config, dtype = inputs.tensors, inputs.config, case.torch_dtype
    if case.stage == "permute":
        plan = reference.plan(tensors["topk_ids"], config.experts, heights)
        return {name: (values, torch.int32) for name, values in plan._asdict().items()}
    if case.stage == "gate_up":
        slots, experts = _served_rows(inputs)
        rows = Quantity.given(tensors["x"][slots // config.top_k])
        noise = _noise(example, "gateup", len(slots), config.intermediate)
        return {"activation": (reference.gate_up(rows, tensors["w_gate_up"], experts, dtype, noise), dtype)}
    if case.stage == "down":
        slots, experts = _served_rows(inputs)
        rows = Quantity.given(tensors["activation"][: len(slots)])
        return {"partial": (reference.down(rows, tensors["w_down"], experts, dtype, inputs.exact), dtype)}
    if case.stage == "combine":
        return {"y": (_combined(example, inputs, dtype), dtype)}
    logit, score = scores or router_scores(example, inputs)
    weight = reference.weights(score, ids, config)
    made = {"logits": (logit, torch.float32), "topk_weights": (weight, torch.float32)}
    if case.stage == "layer":
        made["y"] = (
            reference.layer(tensors["x"], weight, ids, tensors, config, _layer_noise(example, inputs)),
            dtype,
        )
    return made


def router_scores(example: Example, inputs: Inputs) -> tuple[Quantity, Quantity]:
    """Logits and scores of every token and expert."""
    logit = reference.logits(inputs.tensors["x"], inputs.tensors["router_weight"], inputs.exact)
    noise = _noise(example, "scores", example.tokens, inputs.config.experts)
    return logit, reference.scores(logit, inputs.config.scoring, noise)


def _judge_choice(
    example: Example,
    inputs: Inputs,
    scores: tuple[Quantity, Quantity],
    ids: torch.Tensor,
    judgement: Judgement,
) -> torch.Tensor:
    """Judges topk_ids; returns which rows [tokens] bool are too close to call."""
    shape = (example.tokens, inputs.config.top_k)
    if ids.dtype != torch.int32 or tuple(ids.shape) != shape:
        judgement.equal("topk_ids", ids, torch.zeros(shape), torch.int32)
        return torch.zeros(example.tokens, dtype=torch.bool)
    logit, score = scores
    if inputs.exact:
        logit, score = logit.without_error(), score.without_error()
    check = reference.check_choice(ids, logit, score, inputs.tensors.get("correction_bias"), inputs.config)
    for row, reason in enumerate(check.wrong):
        if reason:
            judgement.refuse(f"topk_ids[{row}]: {reason}")
    return check.near


def _verdict(
    case: Case,
    inputs: Inputs,
    outputs: Outputs,
    expected: Expected,
    judgement: Judgement,
    clear: torch.Tensor | slice,
) -> Verdict:
    if case.stage == "permute":
        # Tiles depend on the platform's tile height; what platforms must agree on is the sort.
        return Verdict(judgement, [outputs["sorted_slots"], outputs["offsets"]], None)
    name = "topk_weights" if case.stage == "router" else list(expected)[-1]
    bound = expected[name][0].bound[clear]
    agreed = [outputs["topk_ids"][clear]] if "topk_ids" in outputs else []
    if inputs.exact:
        bound = torch.zeros_like(bound)
        agreed += [outputs[each] for each in expected]
    near_ties = int((~clear).sum()) if isinstance(clear, torch.Tensor) else 0
    return Verdict(judgement, agreed, (outputs[name][clear], bound), near_ties)


def _combined(example: Example, inputs: Inputs, dtype: torch.dtype) -> Quantity:
    tensors, ids = inputs.tensors, inputs.tensors["topk_ids"]
    served = (ids >= 0) & (ids < inputs.config.experts)
    partial = Quantity.given(tensors["partial"].view(*ids.shape, -1))
    weight = Quantity.given(tensors["topk_weights"].masked_fill(~served, 0.0))
    shared = Quantity.given(tensors["shared"]) if "shared" in tensors else None
    scale = None
    if "shared_logit" in tensors:
        scale = reference.sigmoid(
            Quantity.given(tensors["shared_logit"]), _noise(example, "sgate", example.tokens, 1)
        )
    return reference.combine(partial, weight, served, dtype, shared, scale)


def _layer_noise(example: Example, inputs: Inputs) -> dict[str, torch.Tensor] | None:
    if inputs.exact:
        return None
    config, tokens = inputs.config, example.tokens
    return {
        "activation": _noise(example, "gateup", tokens * config.top_k, config.intermediate),
        "shared": _noise(example, "sgateup", tokens, config.shared_intermediate),
        "gate": _noise(example, "sgate", tokens, 1),
    }


def _served_rows(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """(slot, expert) of each row in the schedule's order; the tile height plays no part."""
    flat = inputs.tensors["topk_ids"].flatten().long()
    slots = reference.plan(
        inputs.tensors["topk_ids"], inputs.config.experts, reference.Heights(16)
    ).sorted_slots
    return slots, flat[slots]


def _noise(example: Example, name: str, rows: int, columns: int) -> torch.Tensor | None:
    """How the simulated kernel's elementary functions err, in [-1, 1); None for exact examples, where they do
    not.
    """
    if example.family == "exact":
        return None
    return 2 * Stream(example.seed, "n" + name).uniform((rows, columns)) - 1
