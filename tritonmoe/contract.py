"""What each stage promises about its arithmetic: the kernels keep it, the suite judges by it, reports may
quote it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contract:
    """`rounds`: outputs rounded to x's dtype, to nearest even, once; all else stays float32."""

    products: str
    accumulates: str
    rounds: tuple[str, ...]
    order: str
    rules: tuple[str, ...] = ()


_GEMM = dict(
    products="x's dtype, exact in float32 for 16-bit inputs; float32: IEEE, or tf32 when asked for",
    accumulates="float32",
    order="K ascending; the same bits for the same launch configuration, whatever else is in the batch",
)

CONTRACTS: dict[str, Contract] = {
    "router": Contract(
        products="router_weight's dtype, exact in float32 for 16-bit inputs, IEEE for float32",
        accumulates="float32",
        rounds=(),
        order="weights in the order of choice: falling score, ties to the lowest expert index",
        rules=(
            "logits, scores and weights are float32, never rounded to x's dtype",
            "the correction bias chooses and never weighs; a group scores the sum of its two best",
            "renormalized weights are divided by their sum + 1e-20, then scaled",
            "NaN ranks below everything: ids stay valid and distinct, the token's weights become NaN",
        ),
    ),
    "permute": Contract(
        products="integers",
        accumulates="int32",
        rounds=(),
        order="slots by expert, within one in token order; tiles by expert, then by row",
        rules=("ids outside [0, experts) are skipped",),
    ),
    "gate_up": Contract(
        rounds=("activation",), rules=("silu(g) = g / (1 + exp(-g)) and the product in float32",), **_GEMM
    ),
    "down": Contract(rounds=("partial",), **_GEMM),
    "combine": Contract(
        products="float32 fused multiply-add of weight and partial",
        accumulates="float32",
        rounds=("y",),
        order="position in the token's choice ascending, shared experts last",
        rules=("skipped slots are not read, nor do their weights count",),
    ),
    "layer": Contract(
        products="as in the stages",
        accumulates="float32",
        rounds=("activation", "partial", "y"),
        order="as in the stages",
        rules=("no floating-point atomics: the same inputs give the same bits on the same platform",),
    ),
}
