"""Configurations refuse what no layer can have; presets are the published values."""

import dataclasses
import pickle

import pytest

from tritonmoe import MoEConfig, preset_sources, presets

GOOD = dict(experts=16, top_k=4, hidden=64, intermediate=32)

REFUSED = [
    (dict(top_k=17), ValueError, "top_k is 17; expected at most experts"),
    (dict(top_k=0), ValueError, "top_k is 0"),
    (dict(experts=-8), ValueError, "experts is -8"),
    (dict(experts=2**17), ValueError, "experts is 131072"),
    (dict(experts=16.0), TypeError, "experts is 16.0"),
    (dict(experts=True), TypeError, "experts is True"),
    (dict(hidden=0), ValueError, "hidden is 0"),
    (dict(hidden="64"), TypeError, "hidden is '64'"),
    (dict(intermediate=-1), ValueError, "intermediate is -1"),
    (dict(shared_intermediate=-1), ValueError, "shared_intermediate is -1"),
    (dict(expert_groups=3), ValueError, "does not divide experts"),
    (dict(expert_groups=4, groups_kept=5), ValueError, "groups_kept is 5; expected at most"),
    (dict(expert_groups=8, groups_kept=1), ValueError, "hold fewer than top_k"),
    (dict(expert_groups=16, groups_kept=8), ValueError, "have no two best scores"),
    (dict(expert_groups=0), ValueError, "expert_groups is 0"),
    (dict(groups_kept=-1), ValueError, "groups_kept is -1"),
    (dict(scoring=None), ValueError, "scoring is None; expected one of softmax, sigmoid"),
    (dict(scoring="relu"), ValueError, "scoring is 'relu'"),
    (dict(renormalize=1), TypeError, "renormalize is 1"),
    (dict(correction_bias=None), TypeError, "correction_bias is None"),
    (dict(routed_scaling_factor=0.0), ValueError, "routed_scaling_factor is 0.0"),
    (dict(routed_scaling_factor=float("nan")), ValueError, "routed_scaling_factor is nan"),
    (dict(routed_scaling_factor=-1.0), ValueError, "routed_scaling_factor is -1.0"),
    (dict(routed_scaling_factor=float("inf")), ValueError, "routed_scaling_factor is inf"),
    (dict(routed_scaling_factor=10**400), ValueError, "routed_scaling_factor is 1000"),
    (dict(routed_scaling_factor=True), TypeError, "routed_scaling_factor is True"),
    (dict(routed_scaling_factor="2.5"), TypeError, "routed_scaling_factor is '2.5'"),
    (dict(shared_gate=True), ValueError, "shared_gate is set but shared_intermediate is 0"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_layer_that_cannot_be_is_refused(changes: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        MoEConfig(**{**GOOD, **changes})


def test_a_configuration_is_a_value() -> None:
    config = MoEConfig(**GOOD)
    assert config == MoEConfig(**GOOD)
    assert hash(config) == hash(MoEConfig(**GOOD))
    assert pickle.loads(pickle.dumps(config)) == config
    assert dataclasses.replace(config, top_k=2) == MoEConfig(**{**GOOD, "top_k": 2})
    with pytest.raises(ValueError, match="top_k is 17"):
        dataclasses.replace(config, top_k=17)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.top_k = 2


# hidden, intermediate, experts, top_k, shared width, groups, factor, scoring: a second listing, by hand
PUBLISHED = {
    "mixtral-8x7b": (4096, 14336, 8, 2, 0, (1, 1), 1.0, "softmax"),
    "mixtral-8x22b": (6144, 16384, 8, 2, 0, (1, 1), 1.0, "softmax"),
    "deepseek-v3": (7168, 2048, 256, 8, 2048, (8, 4), 2.5, "sigmoid"),
    "kimi-k2": (7168, 2048, 384, 8, 2048, (1, 1), 2.827, "sigmoid"),
    "kimi-linear-48b": (2304, 1024, 256, 8, 1024, (1, 1), 2.446, "sigmoid"),
    "moonlight-16b-a3b": (2048, 1408, 64, 6, 2816, (1, 1), 2.446, "sigmoid"),
    "minimax-m2": (3072, 1536, 256, 8, 0, (1, 1), 1.0, "sigmoid"),
    "glm-4.5-air": (4096, 1408, 128, 8, 1408, (1, 1), 1.0, "sigmoid"),
    "glm-4.5": (5120, 1536, 160, 8, 1536, (1, 1), 2.5, "sigmoid"),
    "qwen1.5-moe-a2.7b": (2048, 1408, 60, 4, 5632, (1, 1), 1.0, "softmax"),
    "qwen2-57b-a14b": (3584, 2560, 64, 8, 20480, (1, 1), 1.0, "softmax"),
    "qwen3-30b-a3b": (2048, 768, 128, 8, 0, (1, 1), 1.0, "softmax"),
    "qwen3-235b-a22b": (4096, 1536, 128, 8, 0, (1, 1), 1.0, "softmax"),
    "qwen3-coder-480b": (6144, 2560, 160, 8, 0, (1, 1), 1.0, "softmax"),
    "qwen3-next-80b-a3b": (2048, 512, 512, 10, 512, (1, 1), 1.0, "softmax"),
    "olmoe-1b-7b": (2048, 1024, 64, 8, 0, (1, 1), 1.0, "softmax"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_published_values(name: str) -> None:
    c = presets[name]
    groups = (c.expert_groups, c.groups_kept)
    sizes = (c.hidden, c.intermediate, c.experts, c.top_k, c.shared_intermediate)
    assert (*sizes, groups, c.routed_scaling_factor, c.scoring) == PUBLISHED[name]


def test_every_preset_is_in_the_second_listing() -> None:
    assert set(PUBLISHED) == set(presets)


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        presets["mixtral-8x7b"] = MoEConfig(**GOOD)


def test_which_presets_renormalize_and_gate_their_shared_experts() -> None:
    assert {name for name, c in presets.items() if not c.renormalize} == {
        "qwen1.5-moe-a2.7b",
        "qwen2-57b-a14b",
        "olmoe-1b-7b",
    }
    assert {name for name, c in presets.items() if c.shared_gate} == {
        "qwen1.5-moe-a2.7b",
        "qwen2-57b-a14b",
        "qwen3-next-80b-a3b",
    }
    assert all(c.correction_bias == (c.scoring == "sigmoid") for c in presets.values())


def test_every_preset_says_where_its_values_were_published() -> None:
    assert set(preset_sources) == set(presets)
    assert all("config.json of " in source for source in preset_sources.values())
