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


def test_it_computes_what_fused_moe_does_on_any_leading_dimensions(device: torch.device) -> None:
    torch.manual_seed(0)
    module = FusedMoE(FULL, device=device)
    x = torch.randn(2, 3, 32, device=device)
    shared = SharedExperts(module.shared_gate_up, module.shared_down, module.shared_gate)
    y, _ = fused_moe(
        x.view(6, 32),
        module.router_weight,
        module.w_gate_up,
        module.w_down,
        FULL,
        module.correction_bias,
        shared,
    )
    assert torch.equal(module(x), y.view(2, 3, 32))


def test_the_correction_bias_stays_float32_bit_for_bit() -> None:
    module = FusedMoE(FULL)
    module.correction_bias.data += torch.arange(8) + 2.0**-12
    before = module.correction_bias.clone()
    module.to(torch.bfloat16)
    assert module.w_down.dtype == torch.bfloat16
    assert torch.equal(module.correction_bias, before)


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


def test_its_repr_shows_the_sizes() -> None:
    assert repr(FusedMoE(PLAIN)) == "FusedMoE(experts=4, top_k=2, hidden=32, intermediate=16)"


def test_an_input_that_requires_grad_is_refused(device: torch.device) -> None:
    with pytest.raises(ValueError, match="inference only"):
        FusedMoE(PLAIN, device=device)(torch.zeros(1, 32, device=device, requires_grad=True))
