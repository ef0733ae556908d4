"""`python -m conformance.fullsize`: real models' layers at their real sizes, on a GPU, in bfloat16.

Judged against float64 within the reference's bounds, in chunks of one expert on the GPU itself, the one place
where the reference may run there: these sizes take a CPU hours. Then a captured graph must replay the same
bits, and the time stands beside that of torch.nn.functional.grouped_mm doing the same.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import triton

import tritonmoe
from tritonmoe import MoEConfig, SharedExperts, presets

from . import reference
from .reference import Quantity, dot, gamma, product, sigmoid, silu

MODELS = ("mixtral-8x7b", "qwen2-57b-a14b", "deepseek-v3")
DTYPE = torch.bfloat16


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.fullsize", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(presets)}")
    parser.add_argument("--tokens", default="1,128,2048")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("conformance.fullsize: needs a GPU, and torch sees none", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}, {DTYPE}")
    rows = []
    for name in options.models.split(","):
        layer = Layer(presets[name])
        for tokens in map(int, options.tokens.split(",")):
            rows.append({"model": name, **examine(layer, tokens)})
            print(" ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
        del layer
        torch.cuda.empty_cache()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    failed = [
        row for row in rows if not (row["error/bound"] <= 1 and row["graph same"] and not row["wrong rows"])
    ]
    print(f"{len(rows) - len(failed)} of {len(rows)} within the bounds, graphs the same")
    return 1 if failed else 0


class Layer:
    """Random weights of a model's layer, on the GPU."""

    def __init__(self, config: MoEConfig) -> None:
        self.config = config
        generator = torch.Generator("cuda").manual_seed(1)

        def normal(*shape: int, spread: float = 1.0) -> torch.Tensor:
            made = torch.empty(shape, dtype=DTYPE, device="cuda")
            return made.normal_(0, spread / shape[-1] ** 0.5, generator=generator)

        hidden, width = config.hidden, config.shared_intermediate
        self.router_weight = normal(config.experts, hidden, spread=2.0)
        self.w_gate_up = normal(config.experts, 2 * config.intermediate, hidden, spread=2.0)
        self.w_down = normal(config.experts, hidden, config.intermediate)
        self.correction_bias = None
        if config.correction_bias:
            self.correction_bias = normal(config.experts, spread=1.0).float()
        self.shared = None
        if width:
            gate = normal(1, hidden) if config.shared_gate else None
            self.shared = SharedExperts(normal(2 * width, hidden, spread=2.0), normal(hidden, width), gate)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, tritonmoe.Routing]:
        weights = (self.router_weight, self.w_gate_up, self.w_down)
        return tritonmoe.fused_moe(x, *weights, self.config, self.correction_bias, self.shared)


def examine(layer: Layer, tokens: int) -> dict:
    """Error over bound, routing, graph replay and times of one batch size."""
    x = torch.randn(
        tokens, layer.config.hidden, device="cuda", generator=torch.Generator("cuda").manual_seed(2)
    )
    x = x.to(DTYPE)
    y, routing = layer(x)
    expected, wrong, near = _expected(layer, x, routing)
    error = (y.double() - expected.value).abs()
    worst = float((error / expected.bound).max())
    relative = float(error.norm() / expected.value.norm())
    ids, weights = routing.topk_ids, routing.topk_weights

    def ours() -> torch.Tensor:
        return tritonmoe.fused_experts(x, layer.w_gate_up, layer.w_down, ids, weights)

    def grouped() -> torch.Tensor:
        return grouped_experts(x, layer.w_gate_up, layer.w_down, ids, weights)

    return {
        "tokens": tokens,
        "error/bound": round(worst, 4) if worst == worst else float("inf"),
        "relative": f"{relative:.2e}",
        "wrong rows": wrong,
        "near ties": near,
        "graph same": _replays_the_same(layer, x, y),
        "experts ms": round(_time(ours), 4),
        "grouped_mm ms": round(_time(grouped), 4),
        "layer ms": round(_time(lambda: layer(x)), 4),
        "router ms": round(
            _time(lambda: tritonmoe.route(x, layer.router_weight, layer.config, layer.correction_bias)), 4
        ),
    }


def grouped_experts(
    x: torch.Tensor, w_gate_up: torch.Tensor, w_down: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The experts in torch: rows sorted by expert, two grouped products, a weighted sum."""
    tokens, top_k = ids.shape
    expert, order = ids.flatten().sort(stable=True)
    ends = torch.searchsorted(
        expert, torch.arange(1, w_down.shape[0] + 1, device=x.device, dtype=expert.dtype)
    ).int()
    grouped_mm = torch.nn.functional.grouped_mm
    gate, up = grouped_mm(x[order // top_k], w_gate_up.transpose(1, 2), offs=ends).chunk(2, dim=1)
    out = grouped_mm(torch.nn.functional.silu(gate) * up, w_down.transpose(1, 2), offs=ends)
    by_slot = torch.empty_like(out)
    by_slot[order] = out * weights.flatten()[order].to(out.dtype)[:, None]
    return by_slot.view(tokens, top_k, -1).sum(dim=1)


def _expected(layer: Layer, x: torch.Tensor, routing: tritonmoe.Routing) -> tuple[Quantity, int, int]:
    """y with its bound by the kernel's choice; rows that chose wrongly; rows too close to call."""
    config, ids = layer.config, routing.topk_ids.long()
    logit = _on_cpu(dot(Quantity.given(x), layer.router_weight.double(), DTYPE, False))
    score = reference.scores(logit, config.scoring, None)
    bias = None if layer.correction_bias is None else layer.correction_bias.cpu()
    check = reference.check_choice(routing.topk_ids.cpu(), logit, score, bias, config)
    weight = reference.weights(score, ids.cpu(), config)
    weight = Quantity(*(part.to(x.device) for part in vars(weight).values()))

    value, bound, size = (torch.zeros(x.shape, dtype=torch.float64, device=x.device) for _ in range(3))
    for expert in ids.unique().tolist():
        token, position = (ids == expert).nonzero(as_tuple=True)
        part = _mlp(Quantity.given(x[token]), layer.w_gate_up[expert], layer.w_down[expert])
        term = product(part, weight[token, position][:, None], rounds=False)
        _add(value, bound, size, token, term)
    if layer.shared is not None:
        rows = torch.arange(len(x), device=x.device)
        part = _mlp(Quantity.given(x), layer.shared.w_gate_up, layer.shared.w_down)
        if layer.shared.gate is not None:
            part = product(
                part, sigmoid(dot(Quantity.given(x), layer.shared.gate.double(), DTYPE, False), None), False
            )
        _add(value, bound, size, rows, part)
    bound += gamma(config.top_k + 2) * size
    return (
        Quantity(value, bound, bound, value).stored(DTYPE),
        sum(map(bool, check.wrong)),
        int(check.near.sum()),
    )


def _mlp(x: Quantity, w_gate_up: torch.Tensor, w_down: torch.Tensor) -> Quantity:
    gate_weight, up_weight = w_gate_up.double().chunk(2)
    gate = silu(dot(x, gate_weight, DTYPE, False), None)
    activation = product(gate, dot(x, up_weight, DTYPE, False)).stored(DTYPE)
    return dot(activation, w_down.double(), DTYPE, False).stored(DTYPE)


def _add(
    value: torch.Tensor, bound: torch.Tensor, size: torch.Tensor, rows: torch.Tensor, term: Quantity
) -> None:
    value.index_add_(0, rows, term.value)
    bound.index_add_(0, rows, term.bound)
    size.index_add_(0, rows, term.value.abs() + term.bound)


def _on_cpu(quantity: Quantity) -> Quantity:
    return Quantity(*(part.cpu() for part in vars(quantity).values()))


def _replays_the_same(layer: Layer, x: torch.Tensor, y: torch.Tensor) -> bool:
    graph, static = torch.cuda.CUDAGraph(), torch.zeros_like(x)
    layer(static)
    with torch.cuda.graph(graph):
        replayed, _ = layer(static)
    static.copy_(x)
    graph.replay()
    return torch.equal(replayed, y)


def _time(call: Callable[[], object]) -> float:
    """Median milliseconds under a graph."""
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return triton.testing.do_bench(graph.replay, warmup=50, rep=200, return_mode="median")


if __name__ == "__main__":
    sys.exit(main())
