"""Rows of instruction tests, a module for each family. A new opcode is one row."""

from . import (
    comparisons,
    conversions,
    encodings,
    floats,
    global_memory,
    integers,
    lanes,
    local_share,
    packed,
    scalar,
    scalar_memory,
)
from .row import Row

FAMILIES: dict[str, list[Row]] = {
    "integers": integers.ROWS,
    "comparisons": comparisons.ROWS,
    "floats": floats.ROWS,
    "conversions": conversions.ROWS,
    "lanes": lanes.ROWS,
    "encodings": encodings.ROWS,
    "packed": packed.ROWS,
    "scalar": scalar.ROWS,
    "local share": local_share.ROWS,
    "global memory": global_memory.ROWS,
    "scalar memory": scalar_memory.ROWS,
}
