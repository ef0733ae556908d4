"""Small Triton kernels by theme, each with what it must compute; a new case is one row of a table."""

from . import (
    atomics,
    control,
    conversions,
    descriptors,
    dots,
    elementwise,
    functions,
    integers,
    memory,
    randoms,
    reductions,
    scans,
    shapes,
)
from .case import Case, check

THEMES = {
    module.__name__.rpartition(".")[2]: module.CASES
    for module in (
        elementwise,
        functions,
        conversions,
        integers,
        reductions,
        scans,
        shapes,
        dots,
        memory,
        descriptors,
        control,
        atomics,
        randoms,
    )
}

__all__ = ["THEMES", "Case", "check"]
