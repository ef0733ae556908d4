"""What stands outside the matrix: routing at its edges, the ends of dtypes' ranges, flags, size."""

import fcntl
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

import tritonmoe
from conformance import reference
from conformance.judge import Judgement
from conformance.matrix import DTYPES
from conformance.philox import Stream
from conformance.reference import Quantity
from tritonmoe.launches import Launch, family, shipped

HIDDEN, INTERMEDIATE = 24, 20
NAN, INF = float("nan"), float("inf")
Experts = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(params=DTYPES.values(), ids=DTYPES.keys())
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def gigabytes(device: torch.device) -> Iterator[None]:
    """Processes that share a GPU take turns in what fills much of it, and give it back."""
    if device.type == "cpu":  # where memory that is never touched costs nothing
        yield
        return
    with (Path(tempfile.gettempdir()) / "tritonmoe-gigabytes").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
        torch.cuda.empty_cache()


# Routing


def same_expert(expert: int, tokens: int, top_k: int = 1) -> torch.Tensor:
    return torch.full((tokens, top_k), expert)


def some_skipped(*absent: int) -> torch.Tensor:
    """Rows whose first, last or only served slots are skipped, and one that is skipped altogether."""
    rows = [[ids[j] if j not in gone else next(far) for j in range(2)] for ids, gone, far in _skips(absent)]
    return torch.tensor(rows)


def _skips(absent: Sequence[int]):
    far = itertools.cycle(absent)
    return [
        ((3, 5), (0,), far),
        ((3, 5), (1,), far),
        ((6, 0), (), far),
        ((0, 0), (0, 1), far),
        ((7, 3), (0,), far),
    ]


BEYOND_INT32 = (
    2**32,
    2**32 + 3,
    -(2**63),
    2**63 - 1,
    -(2**32) + 3,
)  # cut to 32 bits some of these are experts
ROUTINGS = {  # name: (experts, topk_ids)
    "no token": (8, torch.empty(0, 2)),
    "one token": (8, torch.tensor([[6, 1]])),
    "one token, some of it skipped": (8, torch.tensor([[-1, 7, 8, 0]])),
    "one token, one expert twice": (8, torch.tensor([[5, 2, 5]])),
    "one token, skipped by what int32 cannot hold": (8, torch.tensor([[2**32 + 1, 2, -(2**32) + 3]])),
    "one expert": (1, same_expert(0, 7)),
    "every expert chosen": (8, torch.stack([torch.arange(8).roll(t) for t in range(5)])),
    "one expert takes all": (64, same_expert(63, 40)),
    "the first expert takes all": (64, same_expert(0, 40)),
    "one expert twice in a token": (8, same_expert(3, 5, 2)),
    "every second expert empty": (8, torch.arange(12)[:, None] * 2 % 8),
    "only the last expert of an odd number": (33, same_expert(32, 3, 2)),
    "all slots skipped": (8, same_expert(-1, 5, 2)),
    "skipped by minus one": (8, some_skipped(-1)),
    "skipped by the number of experts": (8, some_skipped(8)),
    "skipped by the ends of int32": (8, some_skipped(2**31 - 1, -(2**31))),
    "skipped by what int32 cannot hold": (8, some_skipped(*BEYOND_INT32)),
}
COUNTS = (1, 2, 3, 7, 31, 33, 63, 64, 65, 127, 129, 255, 256, 257)


@pytest.mark.parametrize("name", ROUTINGS)
def test_experts_compute_what_is_routed_to_them(name: str, dtype: torch.dtype, device: torch.device) -> None:
    experts, ids = ROUTINGS[name]
    check_exact(experts, ids.long(), dtype, device)


@pytest.mark.parametrize("name", [name for name in ROUTINGS if "cannot hold" not in name])
def test_ids_may_be_int32(name: str, device: torch.device) -> None:
    experts, ids = ROUTINGS[name]
    check_exact(experts, ids.int(), torch.bfloat16, device)


@pytest.mark.parametrize("rank", range(8))
@pytest.mark.parametrize("extra", [-1, 0, 1], ids=["one less", "full", "one more"])
def test_tiles_that_are_full_or_one_row_off(
    rank: int, extra: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Two experts with such tiles, an empty one between them."""
    choices = shipped(dtype, family())
    launch = choices[rank % len(choices)][0]
    rows = launch.block_m + extra
    check_exact(4, torch.tensor([[1]] * rows + [[3]] * rows), dtype, device, launch)


@pytest.mark.parametrize("experts", COUNTS)
def test_any_number_of_experts_is_scheduled_and_served(experts: int, device: torch.device) -> None:
    check_exact(
        experts, torch.arange(0, experts, max(1, experts // 9))[:, None].flip(0), torch.bfloat16, device
    )


# The ends of the range


def test_rounding_goes_to_infinity_where_ieee_does(dtype: torch.dtype, device: torch.device) -> None:
    """Activations and outputs at the largest value, less and just half a step above it, and far beyond."""
    finfo = torch.finfo(dtype)
    step = finfo.max * finfo.eps / (2 - finfo.eps)  # between the two largest values
    wanted = [finfo.max, finfo.max - step, -finfo.max]
    if dtype != torch.float32:
        wanted += [finfo.max + step / 4, finfo.max + step / 2, -finfo.max - step / 4, -finfo.max - step / 2]
    values = torch.tensor(wanted, dtype=torch.float64)
    first = values.to(dtype).clamp(-finfo.max, finfo.max).double()
    assert same_values(chain(first, values - first, 0.25, 1.0, dtype, device), values.to(dtype))
    small = values / 2  # then it is the output that overflows
    first = small.to(dtype).double()
    assert same_values(chain(first, small - first, 0.25, 2.0, dtype, device), (first * 2).to(dtype))
    assert same_values(chain(first, small - first, 0.25, 4.0, dtype, device), values.sign() * INF)


def test_subnormals_are_kept_in_float16_and_at_most_flushed_elsewhere(
    dtype: torch.dtype, device: torch.device
) -> None:
    tiny, smallest = torch.finfo(dtype).tiny, torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    values = torch.tensor(
        [tiny, tiny - smallest, tiny / 2, 3 * smallest, smallest, -smallest], dtype=torch.float64
    )
    up = 2.0**10 if dtype == torch.float16 else 2.0**64  # so that all before the partial output is normal
    got = chain(values * up, torch.zeros_like(values), 1.0, 1 / up, dtype, device).double()
    if dtype == torch.float16:
        assert torch.equal(got, values)
    else:
        assert ((got == values) | ((got == 0) & (values.abs() < tiny))).all()


@pytest.mark.parametrize("where", ["x", "w_gate_up", "w_down"])
def test_subnormal_inputs_have_their_value_in_float16(where: str, device: torch.device) -> None:
    """Times a large number, so that flushing shows in a normal output."""
    ids, weights = torch.zeros(3, 1, dtype=torch.int64), torch.ones(3, 1)
    x, w_gate_up, w_down = exact_experts(3, 1, torch.float16)
    small = 2.0**-24
    if where == "x":
        x[:, 1], w_gate_up[:, INTERMEDIATE:, 1] = 3 * small, 2.0**12
    elif where == "w_gate_up":
        x[:, 1], w_gate_up[:, INTERMEDIATE:, 1] = 2.0**12, 3 * small
    else:
        w_down *= 8 * small
    y = run((x, w_gate_up, w_down), ids, weights, device)
    expected = plain((x, w_gate_up, w_down), ids, weights)
    assert expected.abs().max() > 0
    assert torch.equal(y, expected)


# Tensors beyond 2**31 elements


@pytest.mark.hardware
@pytest.mark.usefixtures("gigabytes")
@pytest.mark.parametrize("rank", [0, -1], ids=["lowest tiles", "highest tiles"])
def test_tensors_of_more_than_2_31_elements(rank: int, device: torch.device) -> None:
    """x, w_gate_up, the activation and y, 26 GB in all; rows from all over are compared with float64."""
    dtype, experts, hidden, intermediate, tokens = torch.float16, 256, 2048, 2056, 2**20 + 64
    launch = shipped(dtype, family())[rank][0]
    draw = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        made = torch.empty(shape, dtype=dtype, device=device)
        return made.normal_(generator=draw).mul_(shape[-1] ** -0.5)

    x, w_gate_up, w_down = (
        normal(tokens, hidden),
        normal(experts, 2 * intermediate, hidden),
        normal(experts, hidden, intermediate),
    )
    assert min(x.numel(), w_gate_up.numel(), tokens * intermediate) > 2**31
    x.mul_(hidden**0.5)
    ids = (torch.arange(tokens, device=device) * 37 % experts)[:, None]
    weights = torch.rand(tokens, 1, device=device, generator=draw)
    y = tritonmoe.fused_experts(x, w_gate_up, w_down, ids, weights, launch=launch)
    picked = torch.tensor(
        [0, 1, 255, 2**19, 2**31 // hidden - 1, 2**31 // hidden, tokens - 65, tokens - 2, tokens - 1]
    )
    there = picked.to(device)
    chosen = ids[there, 0]
    only = torch.arange(len(picked))
    rows = Quantity.given(x[there].cpu())
    activation = reference.gate_up(
        rows, w_gate_up[chosen].cpu(), only, dtype, torch.zeros(len(picked), intermediate)
    )
    partial = reference.down(activation, w_down[chosen].cpu(), only, dtype, False)
    part = Quantity(*(each[:, None] for each in (partial.value, partial.bound, partial.slack, partial.model)))
    weight, served = Quantity.given(weights[there].cpu()), torch.ones(len(picked), 1, dtype=torch.bool)
    expected = reference.combine(part, weight, served, dtype, None, None)
    judgement = Judgement()
    judgement.real("y", y[there].cpu(), expected, dtype)
    assert judgement.faults == []


# Small layers whose every correct kernel gives the same bits


def check_exact(
    experts: int,
    ids: torch.Tensor,
    dtype: torch.dtype,
    device: torch.device,
    launch: Launch | None = None,
    **sizes: int,
) -> None:
    weights = halves(*ids.shape)
    weights[(ids < 0) | (ids >= experts)] = NAN
    made = exact_experts(len(ids), experts, dtype, **sizes)
    y = run(made, ids, weights, device, launch)
    expected = plain(made, ids, weights)
    assert y.dtype == dtype
    assert torch.equal(y, expected)


def exact_experts(
    tokens: int, experts: int, dtype: torch.dtype, hidden: int = HIDDEN, intermediate: int = INTERMEDIATE
) -> Experts:
    """x is 1 in its first column, where gates are 64; small integers else: sums are exact in float32."""
    stream = Stream(experts, "edges")
    x = stream.integers((tokens, hidden), -1, 2)
    x[:, 0] = 1
    gate = torch.zeros(experts, intermediate, hidden)
    gate[:, :, 0] = 64
    up = stream.integers((experts, intermediate, hidden), -2, 3)
    w_down = stream.integers((experts, hidden, intermediate), -2, 3) / 8
    return x.to(dtype), torch.cat((gate, up), dim=1).to(dtype), w_down.to(dtype)


def spread(tokens: int, experts: int) -> torch.Tensor:
    token = torch.arange(tokens)
    return torch.stack((token % experts, (token * 3 + 1) % experts), dim=1)


def halves(tokens: int, top_k: int = 2) -> torch.Tensor:
    return 2.0 ** -Stream(tokens, "weights").integers((tokens, top_k), 0, 4).float()


def run(
    experts: Experts,
    ids: torch.Tensor,
    weights: torch.Tensor,
    device: torch.device,
    launch: Launch | None = None,
) -> torch.Tensor:
    placed = [each.to(device) for each in (*experts, ids, weights)]
    return tritonmoe.fused_experts(*placed, launch=launch).cpu()


def plain(experts: Experts, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The experts in float64 with the contract's three rounding points, slot by slot."""
    x, w_gate_up, w_down = experts
    y = torch.zeros(len(ids), x.shape[1], dtype=torch.float64)
    for token, slot in itertools.product(range(len(ids)), range(ids.shape[1])):
        expert = int(ids[token, slot])
        if 0 <= expert < len(w_down):
            gate, up = (w_gate_up[expert].double() @ x[token].double()).chunk(2)
            activation = (gate * torch.sigmoid(gate) * up).to(x.dtype).double()
            partial = (w_down[expert].double() @ activation).to(x.dtype).double()
            y[token] += float(weights[token, slot]) * partial
    return y.to(x.dtype)


def chain(
    first: torch.Tensor,
    rest: torch.Tensor,
    factor: float,
    scale: float,
    dtype: torch.dtype,
    device: torch.device,
) -> torch.Tensor:
    """round(scale * round(first + rest)) of each value: an activation and an output, by an expert of its own.

    The gate is 32, where SiLU is the identity, and up is (first + rest) / 32 as a sum of two products, of
    weights first * factor and rest * factor.
    """
    experts = len(first)
    x = torch.zeros(experts, HIDDEN, dtype=torch.float64)
    x[:, 0], x[:, 1:3] = 32, 1 / (32 * factor)
    w_gate_up = torch.zeros(experts, 2 * INTERMEDIATE, HIDDEN, dtype=torch.float64)
    w_gate_up[:, 0, 0] = 1
    w_gate_up[:, INTERMEDIATE, 1], w_gate_up[:, INTERMEDIATE, 2] = first * factor, rest * factor
    w_down = torch.zeros(experts, HIDDEN, INTERMEDIATE, dtype=torch.float64)
    w_down[:, 0, 0] = scale
    made = (x.to(dtype), w_gate_up.to(dtype), w_down.to(dtype))
    return run(made, torch.arange(experts)[:, None], torch.ones(experts, 1), device)[:, 0]


def same_values(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.equal(got.double(), expected.double())
