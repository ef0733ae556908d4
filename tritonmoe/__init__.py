"""TritonMoE: a fused Mixture-of-Experts layer in portable Triton, one source for NVIDIA and AMD GPUs."""

from importlib.util import find_spec

if find_spec("triton") is None:
    raise ImportError(
        "tritonmoe needs Triton, which comes with the GPU builds of torch and was not found; "
        "install it with: pip install 'tritonmoe[cpu]' (or pip install triton)"
    )

from .arguments import SharedExperts
from .config import MoEConfig
from .layer import fused_experts, fused_moe, route
from .module import FusedMoE
from .presets import preset_sources, presets
from .router import Routing

__all__ = [
    "FusedMoE",
    "MoEConfig",
    "Routing",
    "SharedExperts",
    "fused_experts",
    "fused_moe",
    "preset_sources",
    "presets",
    "route",
]
