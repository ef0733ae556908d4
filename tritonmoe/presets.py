"""Published configurations of real models, each with where its figures were published."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .config import MoEConfig

_SIGMOID = dict(scoring="sigmoid", correction_bias=True)
_PLAIN = dict(renormalize=False)

# name: (hidden, intermediate, experts, top_k, the rest, source)
_ROWS: dict[str, tuple[int, int, int, int, dict[str, Any], str]] = {
    "mixtral-8x7b": (
        *(4096, 14336, 8, 2),
        {},
        "arXiv 2401.04088, table 1; config.json of mistralai/Mixtral-8x7B-v0.1",
    ),
    "mixtral-8x22b": (6144, 16384, 8, 2, {}, "config.json of mistralai/Mixtral-8x22B-v0.1"),
    "deepseek-v3": (
        *(7168, 2048, 256, 8),
        dict(**_SIGMOID, expert_groups=8, groups_kept=4, routed_scaling_factor=2.5, shared_intermediate=2048),
        "arXiv 2412.19437, 4.2; config.json of deepseek-ai/DeepSeek-V3 (R1 and V3.2 are the same)",
    ),
    "kimi-k2": (
        *(7168, 2048, 384, 8),
        dict(**_SIGMOID, routed_scaling_factor=2.827, shared_intermediate=2048),
        "arXiv 2507.20534, table 2; config.json of moonshotai/Kimi-K2-Instruct",
    ),
    "kimi-linear-48b": (
        *(2304, 1024, 256, 8),
        dict(**_SIGMOID, routed_scaling_factor=2.446, shared_intermediate=1024),
        "config.json of moonshotai/Kimi-Linear-48B-A3B-Instruct",
    ),
    "moonlight-16b-a3b": (
        *(2048, 1408, 64, 6),
        dict(**_SIGMOID, routed_scaling_factor=2.446, shared_intermediate=2816),
        "config.json of moonshotai/Moonlight-16B-A3B",
    ),
    "glm-4.5": (
        *(5120, 1536, 160, 8),
        dict(**_SIGMOID, routed_scaling_factor=2.5, shared_intermediate=1536),
        "arXiv 2508.06471, table 1; config.json of zai-org/GLM-4.5 (GLM-4.7 is the same)",
    ),
    "glm-4.5-air": (
        *(4096, 1408, 128, 8),
        dict(**_SIGMOID, shared_intermediate=1408),
        "arXiv 2508.06471, table 1; config.json of zai-org/GLM-4.5-Air",
    ),
    "minimax-m2": (3072, 1536, 256, 8, _SIGMOID, "config.json of MiniMaxAI/MiniMax-M2"),
    "qwen1.5-moe-a2.7b": (
        *(2048, 1408, 60, 4),
        dict(**_PLAIN, shared_intermediate=5632, shared_gate=True),
        "config.json of Qwen/Qwen1.5-MoE-A2.7B",
    ),
    "qwen2-57b-a14b": (
        *(3584, 2560, 64, 8),
        dict(**_PLAIN, shared_intermediate=20480, shared_gate=True),
        "arXiv 2407.10671, table 1; config.json of Qwen/Qwen2-57B-A14B",
    ),
    "qwen3-30b-a3b": (2048, 768, 128, 8, {}, "arXiv 2505.09388, table 2; config.json of Qwen/Qwen3-30B-A3B"),
    "qwen3-235b-a22b": (
        *(4096, 1536, 128, 8),
        {},
        "arXiv 2505.09388, table 2; config.json of Qwen/Qwen3-235B-A22B",
    ),
    "qwen3-coder-480b": (6144, 2560, 160, 8, {}, "config.json of Qwen/Qwen3-Coder-480B-A35B-Instruct"),
    "qwen3-next-80b-a3b": (
        *(2048, 512, 512, 10),
        dict(shared_intermediate=512, shared_gate=True),
        "config.json of Qwen/Qwen3-Next-80B-A3B-Instruct",
    ),
    "olmoe-1b-7b": (
        *(2048, 1024, 64, 8),
        _PLAIN,
        "arXiv 2409.02060, table 1; config.json of allenai/OLMoE-1B-7B-0924",
    ),
}

presets: Mapping[str, MoEConfig] = MappingProxyType(
    {
        name: MoEConfig(hidden=hidden, intermediate=intermediate, experts=experts, top_k=top_k, **rest)
        for name, (hidden, intermediate, experts, top_k, rest, _) in _ROWS.items()
    }
)
preset_sources: Mapping[str, str] = MappingProxyType({name: row[-1] for name, row in _ROWS.items()})
