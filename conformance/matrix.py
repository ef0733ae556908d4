"""The matrix: 162 cases = 6 stages x 3 models x 3 dtypes x 3 routings. A case's id never changes its
meaning.
"""

from itertools import product
from typing import Any, NamedTuple

import torch

from tritonmoe import MoEConfig

MATRIX_VERSION = "1"

STAGES = {
    "router": "scores, group-limited choice and weights of every token",
    "permute": "slots sorted by expert and the list of tiles, all integers",
    "gate_up": "gathered rows through both SwiGLU projections",
    "down": "activation rows through the down projection, scattered to their slots",
    "combine": "the weighted sum over a token's experts, shared experts included",
    "layer": "the whole fused_moe call, router to output",
}

# True expert counts, top-k and gating of the published models; hidden and intermediate sizes are drawn.
MODELS: dict[str, dict[str, Any]] = {
    "mixtral": dict(experts=8, top_k=2),
    "deepseek_v3": dict(
        experts=256,
        top_k=8,
        scoring="sigmoid",
        expert_groups=8,
        groups_kept=4,
        correction_bias=True,
        routed_scaling_factor=2.5,
        shared_intermediate=32,
    ),
    "qwen2_moe": dict(experts=64, top_k=8, renormalize=False, shared_intermediate=48, shared_gate=True),
}

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

ROUTINGS = {
    "balanced": "every expert is as likely as any other",
    "zipf": "expert popularity falls as rank ** -s, s up to 2.5",
    "degenerate": "one expert takes all, most experts empty, one token, ties, tile edges",
}


class Case(NamedTuple):
    """One cell of the matrix."""

    stage: str
    model: str
    dtype: str
    routing: str

    @property
    def id(self) -> str:
        return "/".join(self)

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    def config(self, hidden: int, intermediate: int) -> MoEConfig:
        """The model's configuration at these sizes."""
        return MoEConfig(hidden=hidden, intermediate=intermediate, **MODELS[self.model])


CASES = tuple(Case(*axes) for axes in product(STAGES, MODELS, DTYPES, ROUTINGS))


def case_of(case_id: str) -> Case:
    """The case with this id; raises ValueError for an unknown one."""
    found = [case for case in CASES if case.id == case_id]
    if not found:
        raise ValueError(
            f"{case_id!r} is no case; expected stage/model/dtype/routing with stage in {list(STAGES)}, "
            f"model in {list(MODELS)}, dtype in {list(DTYPES)}, routing in {list(ROUTINGS)}; "
            "`tritonmoe matrix` lists all"
        )
    return found[0]
