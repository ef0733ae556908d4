"""Sizes that the matrix does not reach: offsets beyond 2**31, rows of several blocks, numbers to pad."""

import dataclasses

import pytest
import torch

import tritonmoe
from conformance.philox import Stream
from conformance.test_edges import check_exact, exact_experts, halves, plain, run, some_skipped, spread
from conformance.test_edges import dtype as dtype
from conformance.test_edges import gigabytes as gigabytes
from conformance.test_tiles import BLOCK_K, BLOCK_M, launch_with
from tritonmoe.combine import combine
from tritonmoe.down import down
from tritonmoe.gate_up import gate_up
from tritonmoe.launches import Lanes, family, shipped
from tritonmoe.pack import pack_kernel
from tritonmoe.router import choose_kernel, project_kernel
from tritonmoe.schedule import Schedule, schedule

FAR = 2**31 + 2**10  # elements; twice as many where a step and what is within it both shall be beyond
TENSORS = ("x", "w_gate_up", "w_down", "ids", "weights")


@pytest.mark.usefixtures("gigabytes")
@pytest.mark.parametrize(
    ("which", "dim"), [(which, dim) for which in TENSORS for dim in range(3 if "w_" in which else 2)]
)
def test_any_tensor_may_stretch_beyond_2_31_elements(which: str, dim: int, device: torch.device) -> None:
    ids, weights = torch.cat((spread(5, 4), torch.full((5, 1), 2)), dim=1), halves(5, 3)
    made = (*exact_experts(5, 4, torch.bfloat16), ids, weights)
    expected = plain(made[:3], ids, weights)
    far = 3 * FAR if which == "w_gate_up" and dim else FAR  # the gate's rows, less than half of them, too
    placed = [
        stretched(each, dim, device, far) if name == which else each.to(device)
        for name, each in zip(TENSORS, made, strict=True)
    ]
    assert torch.equal(tritonmoe.fused_experts(*placed).cpu(), expected)


@pytest.mark.usefixtures("gigabytes")
@pytest.mark.parametrize("which", ["x", "w_gate_up", "w_down"])
def test_the_second_step_of_a_sum_may_lie_beyond_2_31_elements(which: str, device: torch.device) -> None:
    ids, weights = spread(5, 4), halves(5)
    made = exact_experts(5, 4, torch.bfloat16, hidden=BLOCK_K + 1, intermediate=BLOCK_K + 1)
    expected = plain(made, ids, weights)
    placed = [
        stretched(each, -1, device, 2 * FAR) if name == which else each.to(device)
        for name, each in zip(TENSORS[:3], made, strict=True)
    ]
    launch = launch_with("plain", 0, torch.bfloat16)
    y = tritonmoe.fused_experts(*placed, ids.to(device), weights.to(device), launch=launch)
    assert torch.equal(y.cpu(), expected)


ROUTED = [("x", 0), ("x", 1), ("router_weight", 0), ("router_weight", 1), ("correction_bias", 0)]


@pytest.mark.usefixtures("gigabytes")
@pytest.mark.parametrize(("which", "dim"), ROUTED)
def test_the_router_reads_beyond_2_31_elements(which: str, dim: int, device: torch.device) -> None:
    """In its sum's second step, too."""
    hidden = shipped(torch.bfloat16, family())[0][0].project.block_k + 1
    config = tritonmoe.MoEConfig(experts=8, top_k=2, hidden=hidden, intermediate=16, correction_bias=True)
    stream = Stream(8, "far")
    shapes = {"x": (3, hidden), "router_weight": (8, hidden), "correction_bias": (8,)}
    tensors = {name: stream.integers(shape, -2, 3).bfloat16() for name, shape in shapes.items()}
    near = {name: each.to(device) for name, each in tensors.items()}
    far = {**near, which: stretched(tensors[which], dim, device, (1 + dim) * FAR)}
    made, expected = (
        tritonmoe.route(each["x"], each["router_weight"], config, each["correction_bias"])
        for each in (far, near)
    )
    for found, wanted in zip(made, expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.usefixtures("gigabytes")
def test_logits_may_be_written_beyond_2_31_elements(device: torch.device) -> None:
    """The kernel alone: the logits of 16 experts of 2**30."""
    stream, rows = Stream(16, "logits"), 2**30
    x, weight = (stream.integers((tokens, 24), -2, 3) for tokens in (4, 16))
    out = torch.empty(3 * rows + 16, dtype=torch.float32, device=device)
    given = (x.bfloat16().to(device), weight.bfloat16().to(device), out, 4, rows, 24, 24, 1, 24, 1)
    project_kernel[(1, 1)](*given, BLOCK_M=16, BLOCK_N=16, BLOCK_K=32, EVEN_K=False)
    made = out.as_strided((4, 16), (rows, 1)).cpu()
    assert torch.equal(made, (x.double() @ weight.double().T).float())


@pytest.mark.usefixtures("gigabytes")
def test_a_tokens_logits_may_begin_beyond_2_31_elements(device: torch.device) -> None:
    """The kernel alone: the router's own logits would need millions of tokens."""
    logits = stretched(Stream(4, "logits").permutation(32).view(4, 8).float(), 0, device, 3 * 2**30)
    ids, weights = (torch.zeros(4, 2, dtype=dtype, device=device) for dtype in (torch.int32, torch.float32))
    groups = dict(GROUPS=1, GROUPS_PAD=1, GROUPS_KEPT=1, GROUP_SIZE=8, GROUP_SIZE_PAD=8)
    flags = dict(SIGMOID=False, RENORMALIZE=False, HAS_BIAS=False)
    given = (logits, None, ids, weights, 4, logits.stride(0), 0, 1.0)
    choose_kernel[(2,)](*given, TOP_K=2, TOP_K_PAD=2, **groups, **flags, BLOCK_T=2)
    assert torch.equal(ids.cpu().long(), logits.cpu().topk(2, dim=1).indices)


@pytest.mark.usefixtures("gigabytes")
def test_rows_are_copied_into_order_beyond_2_31_elements(device: torch.device) -> None:
    """The kernel alone, and the first columns of each row."""
    x = stretched(Stream(3, "pack").normal((3, 32)).bfloat16(), 0, device)
    slots, offsets, counts = (
        torch.tensor(values, dtype=torch.int32, device=device) for values in ([2, 1, 0], [0, 3], [1, 0, 0])
    )
    hidden = x.stride(0)
    packed = torch.empty(3, hidden, dtype=x.dtype, device=device)
    given = (x, packed, slots, offsets, counts, 1, hidden, *x.stride())
    pack_kernel[(2,)](*given, TOP_K=1, WHEN=2, ROWS=2, BLOCK=32)
    assert torch.equal(packed[:, :32], x.flip(0))


@pytest.mark.parametrize("tokens", [1, 3])
def test_a_batch_of_one_tile_is_copied_into_order(
    tokens: int, dtype: torch.dtype, device: torch.device
) -> None:
    launch = launch_with("wide and packed", 0, dtype)
    check_exact(4, torch.full((tokens, 1), 2), dtype, device, launch, hidden=32, intermediate=16)


@pytest.mark.usefixtures("gigabytes")
def test_rows_of_the_schedule_may_lie_beyond_2_31_elements(device: torch.device) -> None:
    """The last rows of an activation and of a partial output that are both larger than that."""
    launch = shipped(torch.bfloat16, family())[0][0]
    wide, rows = 2**16, 2**15 + 40
    stream = Stream(3, "rows")
    x = stream.integers((4, 16), -1, 2)
    x[:, 0] = 1
    weight = stream.integers((1, 2 * wide, 16), -2, 3)
    weight[:, :wide], weight[:, :wide, 0] = 0, 64
    plan = last_rows(torch.arange(4), rows, device)
    made = gate_up(x.bfloat16().to(device), weight.bfloat16().to(device), plan, launch)
    up = x.double() @ weight[0, wide:].double().T
    assert torch.equal(made[-4:].cpu(), (64 * up).bfloat16())

    activation, w_down = stream.integers((rows, 16), -2, 3), stream.integers((1, wide, 16), -2, 3)
    plan = last_rows(torch.arange(rows - 4, rows), rows, device)
    partial = down(activation.bfloat16().to(device), w_down.bfloat16().to(device), plan, launch)
    expected = activation[-4:].double() @ w_down[0].double().T
    assert torch.equal(partial[-4:].cpu(), expected.bfloat16())


@pytest.mark.usefixtures("gigabytes")
def test_a_slots_row_may_lie_beyond_2_31_elements(device: torch.device) -> None:
    """Two tokens, whose partial outputs are the last of so many."""
    wide, rows = 2**16, 2**15 + 40
    places = torch.tensor([rows - 1, rows - 4, rows - 2, rows - 3], dtype=torch.int32)
    last = Stream(5, "places").integers((4, wide), -4, 5).bfloat16()
    partial = torch.empty(rows, wide, dtype=torch.bfloat16, device=device)
    partial[-4:] = last.to(device)
    ids, weights = spread(2, 5), halves(2)
    launch = shipped(torch.bfloat16, family())[0][0]
    given = (each.to(device) for each in (ids, weights))
    made = combine(partial, *given, 5, launch, places=places.to(device))
    expected = (last[places - rows + 4].view(2, 2, wide).double() * weights[..., None]).sum(1)
    assert torch.equal(made.cpu(), expected.bfloat16())


@pytest.mark.usefixtures("gigabytes")
@pytest.mark.parametrize("dim", [0, 1])
def test_rows_that_ride_along_may_lie_beyond_2_31_elements(dim: int, device: torch.device) -> None:
    """One expert, whose last rows share the tile before: of x, then of the activation."""
    launch, tokens = launch_with("plain", 16, torch.bfloat16), BLOCK_M + 16
    ids, weights = torch.zeros(tokens, 1, dtype=torch.int64), torch.ones(tokens, 1)
    made = exact_experts(tokens, 1, torch.bfloat16, hidden=BLOCK_K + 1, intermediate=BLOCK_K + 1)
    x, w_gate_up, w_down = (each.to(device) for each in made)
    far = stretched(made[0], dim, device, 2 * FAR)
    y = tritonmoe.fused_experts(far, w_gate_up, w_down, ids.to(device), weights.to(device), launch=launch)
    assert torch.equal(y.cpu(), plain(made, ids, weights))

    plan = schedule(ids.to(device), 1, launch)
    activation = gate_up(x, w_gate_up, plan, launch)
    far = stretched(activation.cpu(), dim, device, 2 * FAR)
    assert torch.equal(down(far, w_down, plan, launch), down(activation, w_down, plan, launch))


@pytest.mark.parametrize("packed", [False, True], ids=["gathered", "packed"])
def test_rows_of_several_blocks_are_summed_and_copied_whole(
    packed: bool, dtype: torch.dtype, device: torch.device
) -> None:
    base = shipped(dtype, family())[-1][0]
    tile = dataclasses.replace(base.gate_up, wide=packed, packed=packed, swapped=False, persistent=0, short=0)
    launch = dataclasses.replace(base, sum=Lanes(16, base.sum.options), gate_up=tile, tail=0, skewed=None)
    for ids in (spread(9, 4), some_skipped(-1, 8)):
        check_exact(8, ids, dtype, device, launch, hidden=144, intermediate=48)


@pytest.mark.parametrize("hidden", [1, 31, 1024, 1025, 2500])
def test_combine_takes_any_width(hidden: int, dtype: torch.dtype, device: torch.device) -> None:
    launch = shipped(dtype, family())[0][0]
    ids, weights = spread(3, 5), halves(3)
    partial = Stream(hidden, "combine").integers((6, hidden), -4, 5)
    made = combine(partial.to(dtype).to(device), ids.to(device), weights.to(device), 5, launch)
    expected = (partial.view(3, 2, hidden).double() * weights[..., None]).sum(1)
    assert torch.equal(made.cpu(), expected.to(dtype))


def test_a_batch_of_another_size_uses_no_code_of_the_last_one(
    dtype: torch.dtype, device: torch.device
) -> None:
    """What was compiled for one kind of arguments is found again for that kind only."""
    for tokens in (3, 40, 3, 41, 40):
        ids, weights = spread(tokens, 8), halves(tokens)
        for hidden in (24, 32):
            made = exact_experts(tokens, 8, dtype, hidden=hidden)
            for _ in range(2):
                assert torch.equal(run(made, ids, weights, device), plain(made, ids, weights))


def stretched(tensor: torch.Tensor, dim: int, device: torch.device, far: int = FAR) -> torch.Tensor:
    """The same values, the last of a dimension beyond 2**31 elements; what lies between is never touched."""
    strides = list(tensor.contiguous().stride())
    strides[dim] = -(-far // (tensor.shape[dim] - 1))
    size = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, strides, strict=True))
    view = torch.empty(size, dtype=tensor.dtype, device=device).as_strided(tensor.shape, strides)
    return view.copy_(tensor)


def last_rows(slots: torch.Tensor, rows: int, device: torch.device) -> Schedule:
    """A schedule of so many rows and one expert, which has but the last ones, of these slots."""
    sorted_slots = torch.zeros(rows, dtype=torch.int32)
    sorted_slots[-len(slots) :] = slots
    first = rows - len(slots)
    offsets, expert, row, counts = (
        torch.tensor(values, dtype=torch.int32, device=device)
        for values in ([first, rows], [0], [first], [1, 0, 0])
    )
    return Schedule(sorted_slots.to(device), offsets, expert, row, counts, None, rows, 1, 1)
