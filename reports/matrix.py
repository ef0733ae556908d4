"""The required list: the ids of the 162 cases that a report must account for, in the matrix's order.

A copy of the axes on purpose: what a verdict demands must not come from the suite that is judged, nor from a
report.
"""

from itertools import product

MATRIX_VERSION = "1"

STAGES = {
    "router": "scores, choice and weights of the experts",
    "permute": "slots sorted by expert, all integers",
    "gate_up": "both SwiGLU projections of the gathered rows",
    "down": "the down projection, scattered to its slots",
    "combine": "the weighted sum over a token's experts",
    "layer": "the whole layer, router to output",
}
MODELS = ("mixtral", "deepseek_v3", "qwen2_moe")
DTYPES = ("float32", "float16", "bfloat16")
ROUTINGS = ("balanced", "zipf", "degenerate")

INTEGER_STAGES = frozenset({"permute"})  # their outputs have no error bound and no sketch

REQUIRED = tuple("/".join(axes) for axes in product(STAGES, MODELS, DTYPES, ROUTINGS))
RANK = {case_id: rank for rank, case_id in enumerate(REQUIRED)}


def stage_of(case_id: str) -> str:
    return case_id.split("/", 1)[0]
