"""Faults that real projects shipped, put into this layer: each models an issue or a published measurement.

`old` is the smallest text that says where; a fault whose text moved is anchored anew here, nowhere else.
"""

from . import combining, products, routing
from .fault import Fault

FAULTS: tuple[Fault, ...] = (*products.FAULTS, *combining.FAULTS, *routing.FAULTS)

__all__ = ["FAULTS", "Fault"]
