"""The float64 reference and its error bounds, on the CPU, written from the papers; it shares no code with the
kernels.
"""

from .experts import combine, down, gate_up, layer, product
from .quantity import U32, Quantity, dot, gamma, sigmoid, silu
from .router import ChoiceCheck, check_choice, choose, logits, scores, weights
from .schedule import Heights, Plan, busy_tiles, is_skewed, plan

__all__ = [
    "U32",
    "ChoiceCheck",
    "Heights",
    "Plan",
    "Quantity",
    "busy_tiles",
    "check_choice",
    "choose",
    "combine",
    "dot",
    "down",
    "gamma",
    "gate_up",
    "is_skewed",
    "layer",
    "logits",
    "plan",
    "product",
    "scores",
    "sigmoid",
    "silu",
    "weights",
]
