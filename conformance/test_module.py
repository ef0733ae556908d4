"""FusedMoE is an ordinary torch module, for inference."""

import copy
import pickle

import pytest
import torch

from tritonmoe import FusedMoE, MoEConfig, SharedExperts, fused_moe

PLAIN = MoEConfig(experts=4, top_k=2, hidden=32, intermediate=16)
FULL = MoEConfig(
    experts=8,
    top_k=2,
    hidden=32,
    intermediate=16,
    scoring="sigmoid",
    correction_bias=True,
    shared_intermediate=24,
    shared_gate=True,
)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (PLAIN, ["router_weight", "w_gate_up", "w_down"]),
        (
            FULL,
            [
                "router_weight",
                "w_gate_up",
                "w_down",
                "correction_bias",
                "shared_gate_up",
                "shared_down",
                "shared_gate",
            ],
        ),
    ],
    ids=["plain", "full"],
)
def test_state_dict_names_are_the_arguments(config: MoEConfig, names: list[str]) -> None:
    assert list(FusedMoE(config).state_dict()) == names


@pytest.mark.parametrize("leading", [(), (1,), (0,), (6,), (2, 3), (2, 0), (3, 1, 2)], ids=str)
def test_it_computes_what_fused_moe_does_on_any_leading_dimensions(
    leading: tuple[int, ...], device: torch.device
) -> None:
    torch.manual_seed(0)
    module = FusedMoE(FULL, device=device)
    x = torch.randn(*leading, 32, device=device)
    shared = SharedExperts(module.shared_gate_up, module.shared_down, module.shared_gate)
    y, _ = fused_moe(
        x.view(-1, 32),
        module.router_weight,
        module.w_gate_up,
        module.w_down,
        FULL,
        module.correction_bias,
        shared,
    )
    assert torch.equal(module(x), y.view(x.shape))


def test_leading_dimensions_that_cannot_be_joined_in_place_are_fine(device: torch.device) -> None:
    module = FusedMoE(PLAIN, device=device)
    x = torch.randn(3, 2, 32, device=device).transpose(0, 1)
    assert torch.equal(module(x), module(x.contiguous()))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (None, TypeError, "x is a NoneType; expected a torch.Tensor"),
        ([[1.0] * 32], TypeError, "x is a list; expected a torch.Tensor"),
        (torch.ones(()), ValueError, r"x is \(\); expected \[\.\.\., 32\]"),
        (torch.ones(3, 0), ValueError, r"x is \(3, 0\); expected \[\.\.\., 32\]"),
        (torch.ones(2, 3, 31), ValueError, r"x is \(2, 3, 31\); expected \[\.\.\., 32\]"),
        (torch.ones(3, 32, device="meta").double(), TypeError, "x is torch.float64"),
    ],
    ids=["none", "list", "scalar", "no width", "other width", "double"],
)
def test_other_inputs_are_refused_by_name(x, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        FusedMoE(PLAIN)(x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(config="mixtral-8x7b"), TypeError, "config is a str; expected a MoEConfig"),
        (dict(config=PLAIN, dtype=torch.int32), TypeError, "dtype is torch.int32"),
        (dict(config=PLAIN, dtype=torch.float64), TypeError, "dtype is torch.float64"),
    ],
    ids=["a preset's name", "int32", "float64"],
)
def test_what_no_module_can_be_is_refused(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        FusedMoE(**arguments)


CONVERSIONS = {
    "bfloat16": lambda m: m.to(torch.bfloat16),
    "half": lambda m: m.half(),
    "half and back": lambda m: m.half().float(),
    "device and dtype": lambda m: m.to("cpu", torch.float16),
    "inside another module": lambda m: torch.nn.Sequential(m).bfloat16()[0],
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_the_correction_bias_stays_float32_bit_for_bit(convert) -> None:
    module = FusedMoE(FULL)
    module.correction_bias.data += torch.arange(8) + 2.0**-12
    before = module.correction_bias.clone()
    converted = convert(module)
    assert converted.correction_bias.dtype == torch.float32
    assert torch.equal(converted.correction_bias, before)


def test_the_other_parameters_are_converted() -> None:
    module = FusedMoE(FULL).to(torch.bfloat16)
    assert {name for name, p in module.named_parameters() if p.dtype != torch.bfloat16} == {"correction_bias"}


def test_no_parameter_requires_grad() -> None:
    assert not any(p.requires_grad for p in FusedMoE(FULL).half().parameters())


def _pickled(module: FusedMoE) -> FusedMoE:
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("copied", [copy.deepcopy, _pickled])
def test_it_can_be_copied(copied) -> None:
    module = FusedMoE(FULL)
    other = copied(module)
    assert other.config == module.config
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_it_can_be_made_without_memory() -> None:
    assert all(p.is_meta for p in FusedMoE(FULL, device="meta").parameters())


def test_it_can_be_made_without_memory_and_loaded_later() -> None:
    trained = FusedMoE(FULL, dtype=torch.bfloat16)
    module = FusedMoE(FULL, dtype=torch.bfloat16, device="meta").to_empty(device="cpu")
    module.load_state_dict(trained.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), trained.parameters(), strict=True))


def test_its_repr_shows_the_sizes() -> None:
    assert repr(FusedMoE(PLAIN)) == "FusedMoE(experts=4, top_k=2, hidden=32, intermediate=16)"


def test_an_input_that_requires_grad_is_refused(device: torch.device) -> None:
    with pytest.raises(ValueError, match="inference only"):
        FusedMoE(PLAIN, device=device)(torch.zeros(1, 32, device=device, requires_grad=True))
