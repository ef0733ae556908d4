"""Properties of the layer beside the matrix: what a user may rely on, bit for bit."""

from dataclasses import dataclass

import pytest
import torch

import tritonmoe
from conformance.guards import Guards
from conformance.matrix import DTYPES, MODELS
from conformance.philox import Stream
from tritonmoe.launches import family, shipped

TOKENS, HIDDEN, INTERMEDIATE = 19, 48, 40


@dataclass
class Layer:
    """A small layer of one of the matrix's models, on the device."""

    config: tritonmoe.MoEConfig
    x: torch.Tensor
    router_weight: torch.Tensor
    w_gate_up: torch.Tensor
    w_down: torch.Tensor
    correction_bias: torch.Tensor | None
    shared: tritonmoe.SharedExperts | None
    launch: object

    def __call__(self, **changes) -> torch.Tensor:
        names = ("x", "router_weight", "w_gate_up", "w_down", "config", "correction_bias", "shared")
        arguments = [changes.get(name, getattr(self, name)) for name in names]
        return tritonmoe.fused_moe(*arguments, launch=self.launch)[0]


@pytest.fixture(params=[(model, dtype) for model in MODELS for dtype in DTYPES], ids="-".join)
def layer(request: pytest.FixtureRequest, device: torch.device) -> Layer:
    model, dtype = request.param[0], DTYPES[request.param[1]]
    config = tritonmoe.MoEConfig(hidden=HIDDEN, intermediate=INTERMEDIATE, **MODELS[model])
    stream, width = Stream(7, "layer"), config.shared_intermediate

    def normal(*shape: int, of: torch.dtype = dtype) -> torch.Tensor:
        return (stream.normal(shape) / shape[-1] ** 0.5).to(of).to(device)

    return Layer(
        config,
        (stream.normal((TOKENS, HIDDEN))).to(dtype).to(device),
        normal(config.experts, HIDDEN) * 4,
        normal(config.experts, 2 * INTERMEDIATE, HIDDEN),
        normal(config.experts, HIDDEN, INTERMEDIATE),
        normal(config.experts, of=torch.float32) if config.correction_bias else None,
        tritonmoe.SharedExperts(
            normal(2 * width, HIDDEN),
            normal(HIDDEN, width),
            normal(1, HIDDEN) if config.shared_gate else None,
        )
        if width
        else None,
        shipped(dtype, family())[0][0],
    )


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bits, NaN included."""
    return a.dtype == b.dtype and torch.equal(
        a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)
    )


def test_permuting_tokens_permutes_the_output(layer: Layer) -> None:
    order = Stream(3, "order").permutation(TOKENS).to(layer.x.device)
    assert same(layer(x=layer.x[order]), layer()[order])


def test_splitting_a_batch_changes_nothing(layer: Layer) -> None:
    parts = [layer(x=part) for part in (layer.x[:1], layer.x[1:8], layer.x[8:])]
    assert same(torch.cat(parts), layer())


def test_every_run_gives_the_same_bits(layer: Layer) -> None:
    first = layer()
    assert all(same(layer(), first) for _ in range(3))


def test_zero_tokens_give_an_empty_output(layer: Layer) -> None:
    y = layer(x=layer.x[:0])
    assert tuple(y.shape) == (0, HIDDEN)
    assert y.dtype == layer.x.dtype


def test_a_nan_row_stays_in_its_row(layer: Layer) -> None:
    x = layer.x.clone()
    x[4] = float("nan")
    y, whole = layer(x=x), layer()
    others = [row for row in range(TOKENS) if row != 4]
    assert torch.isnan(y[4]).all()
    assert same(y[others], whole[others])


def test_a_nan_row_still_gets_valid_distinct_experts(layer: Layer) -> None:
    x = layer.x.clone()
    x[4] = float("nan")
    ids = tritonmoe.route(x, layer.router_weight, layer.config, layer.correction_bias).topk_ids[4].tolist()
    assert len(set(ids)) == layer.config.top_k
    assert all(0 <= i < layer.config.experts for i in ids)


def test_relabelling_experts_with_their_weights_changes_nothing(layer: Layer) -> None:
    """Through fused_experts: the router's own order of experts decides ties and groups."""
    ids, weights, _ = tritonmoe.route(layer.x, layer.router_weight, layer.config, layer.correction_bias)
    relabel = Stream(5, "label").permutation(layer.config.experts).to(layer.x.device)
    moved = torch.empty_like(relabel)
    moved[relabel] = torch.arange(layer.config.experts, device=layer.x.device)
    plain = tritonmoe.fused_experts(layer.x, layer.w_gate_up, layer.w_down, ids, weights, launch=layer.launch)
    other = tritonmoe.fused_experts(
        layer.x,
        layer.w_gate_up[relabel],
        layer.w_down[relabel],
        moved[ids.long()],
        weights,
        launch=layer.launch,
    )
    assert same(plain, other)


@pytest.mark.parametrize("absent", [-1, 10**6], ids=["minus one", "beyond the last expert"])
def test_skipped_slots_do_not_count_whatever_their_weight(layer: Layer, absent: int) -> None:
    ids, weights, _ = tritonmoe.route(layer.x, layer.router_weight, layer.config, layer.correction_bias)
    ids, weights, served, zeroed = ids.clone(), weights.clone(), ids.clone(), weights.clone()
    for skipped in ((slice(None), 0), (3, slice(None))):
        ids[skipped], weights[skipped] = absent, float("nan")
        served[skipped], zeroed[skipped] = 0, 0.0
    arguments = (layer.x, layer.w_gate_up, layer.w_down)
    y = tritonmoe.fused_experts(*arguments, ids, weights, launch=layer.launch)
    assert torch.equal(y, tritonmoe.fused_experts(*arguments, served, zeroed, launch=layer.launch))
    assert not torch.isnan(y).any()
    assert (y[3] == 0).all()


def test_inputs_may_lie_anywhere_and_nothing_else_is_written(layer: Layer) -> None:
    for layout in ("offset", "padded", "transposed", "stepped"):
        guards = Guards(layer.x.device)
        placed = {
            name: guards.place(name, getattr(layer, name).cpu(), layout)
            for name in ("x", "router_weight", "w_gate_up", "w_down")
        }
        with guards.watching():
            y = layer(**placed)
        assert same(y, layer()), layout
        assert guards.violations() == [], layout


def test_ids_and_weights_of_any_dtype_and_stride_mean_the_same(layer: Layer) -> None:
    ids, weights, _ = tritonmoe.route(layer.x, layer.router_weight, layer.config, layer.correction_bias)
    arguments = (layer.x, layer.w_gate_up, layer.w_down)
    plain = tritonmoe.fused_experts(*arguments, ids, weights, launch=layer.launch)
    wide = torch.stack((ids.long(), ids.long() * 0 - 7), dim=2)[:, :, 0]
    turned = weights.t().contiguous().t()
    assert same(plain, tritonmoe.fused_experts(*arguments, wide, turned, launch=layer.launch))


def test_one_expert_of_one_is_a_plain_mlp(device: torch.device) -> None:
    stream = Stream(11, "mlp")
    x = stream.normal((5, 24)).float().to(device)
    gate_up, down = (
        stream.normal((1, 2 * 20, 24)).float().to(device),
        stream.normal((1, 24, 20)).float().to(device),
    )
    ids, weights = torch.zeros(5, 1, dtype=torch.int64, device=device), torch.ones(5, 1, device=device)
    plan = tritonmoe.MoEConfig(experts=1, top_k=1, hidden=24, intermediate=20)
    shared = tritonmoe.MoEConfig(
        experts=1, top_k=1, hidden=24, intermediate=20, shared_intermediate=20, renormalize=False
    )
    alone = tritonmoe.fused_experts(x, gate_up, down, ids, weights)
    routed = tritonmoe.fused_moe(x, torch.zeros(1, 24, device=device), gate_up, down, plan)[0]
    twice = tritonmoe.fused_moe(
        x,
        torch.zeros(1, 24, device=device),
        gate_up,
        down,
        shared,
        None,
        tritonmoe.SharedExperts(gate_up[0], down[0]),
    )[0]
    assert same(alone, routed)
    assert same(2 * alone, twice)


@pytest.mark.hardware
def test_a_captured_graph_replays_the_same_bits(layer: Layer) -> None:
    x, fresh = layer.x.clone(), layer.x.flip(0).contiguous()
    wanted = layer(x=fresh)
    layer(x=x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = layer(x=x)
    x.copy_(fresh)
    graph.replay()
    assert same(y, wanted)


@pytest.mark.hardware
def test_nothing_waits_for_the_device(layer: Layer) -> None:
    layer()
    torch.cuda.set_sync_debug_mode("error")
    try:
        layer()
    finally:
        torch.cuda.set_sync_debug_mode("default")
