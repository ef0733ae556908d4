"""How each stage of the layer is called on a platform: inputs placed and guarded, outputs brought back to the
CPU.
"""

from dataclasses import dataclass

import torch

import tritonmoe
from tritonmoe import combine as combine_stage
from tritonmoe import down as down_stage
from tritonmoe import gate_up as gate_up_stage
from tritonmoe import schedule as schedule_stage
from tritonmoe.launches import Launch

from . import reference
from .guards import Guards
from .inputs import Inputs
from .matrix import Case

Tensors = dict[str, torch.Tensor]
FAR = 2**30  # no row of any buffer

LAID_OUT = {"x", "router_weight", "w_gate_up", "w_down", "topk_ids", "topk_weights", "activation"} | {
    "shared_gate_up",
    "shared_down",
    "shared_gate",
}


@dataclass(frozen=True)
class Outputs:
    """A stage's outputs by name, on the CPU, and what was written where nothing may be written."""

    tensors: Tensors
    violations: list[str]


def run(case: Case, inputs: Inputs, layout: str, launch: Launch, device: torch.device) -> Outputs:
    """The case's stage under test, with poisoned outputs and guard bands."""
    guards = Guards(device)
    placed = {
        name: guards.place(name, tensor, layout if name in LAID_OUT else "plain")
        for name, tensor in inputs.tensors.items()
    }
    made = _STAGES[case.stage](placed, inputs, launch, guards)
    outputs = {name: tensor.cpu() for name, tensor in made.items()}
    return Outputs(outputs, guards.violations())


def _router(placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards) -> Tensors:
    bias = placed.get("correction_bias")
    with guards.watching():
        routing = tritonmoe.route(placed["x"], placed["router_weight"], inputs.config, bias, launch=launch)
    return routing._asdict()


def _permute(placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards) -> Tensors:
    with guards.watching():
        made = schedule_stage.schedule(placed["topk_ids"], inputs.config.experts, launch)
    served, tiles = int(made.offsets[-1]), int(made.tile_count[0])
    return {
        "sorted_slots": made.sorted_slots[:served],
        "offsets": made.offsets,
        "tile_expert": made.tile_expert[:tiles],
        "tile_row": made.tile_row[:tiles],
        "places": made.places[made.sorted_slots[:served].long().sort().values],
    }


def _gate_up(placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards) -> Tensors:
    plan = _reference_schedule(placed, inputs, launch, guards)
    with guards.watching():
        made = gate_up_stage.gate_up(placed["x"], placed["w_gate_up"], plan, launch)
    return {"activation": made[: int(plan.offsets[-1])]}


def _down(placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards) -> Tensors:
    plan = _reference_schedule(placed, inputs, launch, guards)
    with guards.watching():
        made = down_stage.down(placed["activation"], placed["w_down"], plan, launch)
    return {"partial": made[: int(plan.offsets[-1])]}


def _combine(placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards) -> Tensors:
    plan = _reference_schedule(placed, inputs, launch, guards)
    by_slot, served = inputs.tensors["partial"], plan.sorted_slots[: int(plan.offsets[-1])].cpu().long()
    in_order = torch.full_like(by_slot, float("nan"))
    in_order[: len(served)] = by_slot[served]
    partial = guards.place("partial", in_order, "plain")
    with guards.watching():
        y = combine_stage.combine(
            partial,
            placed["topk_ids"],
            placed["topk_weights"],
            inputs.config.experts,
            launch,
            placed.get("shared"),
            placed.get("shared_logit"),
            plan.places,
        )
    return {"y": y}


def _layer(placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards) -> Tensors:
    shared = None
    if "shared_gate_up" in placed:
        shared = tritonmoe.SharedExperts(
            placed["shared_gate_up"], placed["shared_down"], placed.get("shared_gate")
        )
    with guards.watching():
        y, routing = tritonmoe.fused_moe(
            placed["x"],
            placed["router_weight"],
            placed["w_gate_up"],
            placed["w_down"],
            inputs.config,
            placed.get("correction_bias"),
            shared,
            launch=launch,
        )
    return {"y": y, **routing._asdict()}


def _reference_schedule(
    placed: Tensors, inputs: Inputs, launch: Launch, guards: Guards
) -> schedule_stage.Schedule:
    """The schedule as the reference makes it, so that a GEMM is judged apart from the sort."""
    tokens, top_k = inputs.tensors["topk_ids"].shape
    plan = reference.plan(inputs.tensors["topk_ids"], inputs.config.experts, heights_of(launch))
    lowest = min(launch.block_m, launch.skewed.block_m) if launch.skewed else launch.block_m
    max_tiles = tokens * top_k // lowest + min(inputs.config.experts, tokens * top_k)

    skewed = reference.is_skewed(plan.offsets.diff().tolist())
    counts = [len(plan.tile_expert), reference.busy_tiles(plan), int(skewed)]
    by_slot = torch.full((tokens * top_k,), FAR, dtype=torch.int64)
    by_slot[plan.sorted_slots.sort().values] = plan.places

    def place(name: str, values: torch.Tensor, size: int) -> torch.Tensor:
        padded = torch.full((size,), -1, dtype=torch.int32)
        padded[: len(values)] = values
        return guards.place(name, padded, "plain")

    return schedule_stage.Schedule(
        place("sorted_slots", plan.sorted_slots, tokens * top_k),
        place("offsets", plan.offsets, inputs.config.experts + 1),
        place("tile_expert", plan.tile_expert, max_tiles),
        place("tile_row", plan.tile_row, max_tiles),
        place("tile_count", torch.tensor(counts), 3),
        place("places", by_slot, tokens * top_k),
        tokens,
        top_k,
        max_tiles,
    )


def heights_of(launch: Launch) -> reference.Heights:
    """What the schedule depends on of a launch configuration."""
    skewed = (launch.skewed.block_m, launch.skewed.tail) if launch.skewed else ()
    return reference.Heights(launch.block_m, launch.tail, *skewed)


_STAGES = {
    "router": _router,
    "permute": _permute,
    "gate_up": _gate_up,
    "down": _down,
    "combine": _combine,
    "layer": _layer,
}
