"""Controls: wrong outputs that the judgement of every case must refuse, made from right ones.

The right ones are the reference's simulated kernel, so this needs no kernel and no GPU.
"""

from collections.abc import Callable

import torch

from . import reference
from .expectations import Outputs, expected_outputs, router_scores
from .inputs import Inputs
from .matrix import Case
from .strategies import Example

MAIN = {  # the output that carries what a stage is for
    "router": "topk_weights",
    "permute": "sorted_slots",
    "gate_up": "activation",
    "down": "partial",
    "combine": "y",
    "layer": "y",
}


def right_outputs(case: Case, example: Example, inputs: Inputs, heights: reference.Heights) -> Outputs:
    """What the simulated kernel gives: outputs that the judgement must accept."""
    ids = None
    if case.stage in ("router", "layer"):
        ids = reference.choose(
            *router_scores(example, inputs), inputs.tensors.get("correction_bias"), inputs.config
        )
    expected = expected_outputs(case, example, inputs, ids, heights)
    outputs = {
        name: (values if isinstance(values, torch.Tensor) else values.model).to(dtype)
        for name, (values, dtype) in expected.items()
    }
    return outputs if ids is None else {**outputs, "topk_ids": ids.int()}


def wrong_outputs(case: Case, example: Example, inputs: Inputs, right: Outputs) -> dict[str, Outputs]:
    """The right outputs spoilt in each of five ways; an example too small for one of them lacks it."""
    made = {}
    for name, spoil in _SPOILERS.items():
        outputs = {key: value.clone() for key, value in right.items()}
        spoil(case, example, inputs, outputs)
        if any(not torch.equal(outputs[key], right[key]) for key in right):
            made[name] = outputs
    return made


def _zeros(case: Case, example: Example, inputs: Inputs, outputs: Outputs) -> None:
    outputs[MAIN[case.stage]].zero_()


def _half_scale(case: Case, example: Example, inputs: Inputs, outputs: Outputs) -> None:
    main = outputs[MAIN[case.stage]]
    main.copy_(main // 2 if case.stage == "permute" else main / 2)


def _dropped_token(case: Case, example: Example, inputs: Inputs, outputs: Outputs) -> None:
    """The last row was never computed; in the sort, its slot gives way to a repeated one."""
    main = outputs[MAIN[case.stage]]
    if not len(main):
        return
    main[-1] = main[0] if case.stage == "permute" else 0


def _wrong_expert(case: Case, example: Example, inputs: Inputs, outputs: Outputs) -> None:
    """One row is its neighbour's, as if another expert had made it."""
    if case.stage == "permute":
        outputs["tile_expert"][-1:] = (outputs["tile_expert"][-1:] + 1) % inputs.config.experts
    elif case.stage == "router":
        ids = outputs["topk_ids"]
        others = [e for e in range(inputs.config.experts) if e not in ids[0].tolist()]
        ids[0, -1] = others[-1]
    else:
        changed = _other_expert(case, example, inputs)
        outputs[MAIN[case.stage]][:1] = changed[:1]


def _other_expert(case: Case, example: Example, inputs: Inputs) -> torch.Tensor:
    """The stage's output where every slot went to the next expert."""
    tensors = dict(inputs.tensors)
    rolled = {"gate_up": "w_gate_up", "down": "w_down", "layer": "w_down"}
    if case.stage == "combine":  # there an expert is a row of partial outputs
        tensors["partial"] = (
            tensors["partial"].roll(1, 0) if example.tokens > 1 else tensors["partial"].flip(1)
        )
    else:
        tensors[rolled[case.stage]] = tensors[rolled[case.stage]].roll(1, 0)
    return right_outputs(case, example, Inputs(inputs.config, inputs.exact, tensors), reference.Heights(16))[
        MAIN[case.stage]
    ]


def _one_nan(case: Case, example: Example, inputs: Inputs, outputs: Outputs) -> None:
    """A NaN where a number belongs; integers have none, there it is the poison of unwritten memory."""
    main = outputs[MAIN[case.stage]]
    if main.numel():
        main.view(-1)[-1] = -1 if case.stage == "permute" else float("nan")


_SPOILERS: dict[str, Callable[[Case, Example, Inputs, Outputs], None]] = {
    "zeros": _zeros,
    "half scale": _half_scale,
    "dropped token": _dropped_token,
    "wrong expert": _wrong_expert,
    "one NaN": _one_nan,
}
SPOILT = tuple(_SPOILERS)
