"""Triton's own interpreter on a CPU: a debugging aid that says nothing about any chip.

In Triton 3.6 to 3.9 it keeps bfloat16 as 16-bit integers and gets three things wrong, which are mended here:
a dot multiplies the integers, a conversion from float32 cuts instead of rounding to nearest even, and one to
float32 gives subnormals another value.
"""

import os
import platform

import numpy as np

from . import Description

DEVICE = "cpu"


def obstacle() -> str:
    return ""


def activate() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    _mend_bfloat16()


def describe() -> Description:
    return Description(
        platform.processor() or platform.machine(), platform.machine(), "Triton interpreter, bfloat16 mended"
    )


def _mend_bfloat16() -> None:
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    if getattr(builder, "bfloat16_mended", False):
        return
    builder.bfloat16_mended = True
    plain_dot, plain_convert = builder.create_dot, interpreter._convert_float

    def dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        a, b = (
            self.cast_impl(each, tl.float32) if each.dtype.scalar == tl.bfloat16 else each for each in (a, b)
        )
        return plain_dot(self, a, b, d, input_precision, max_num_imprecise_acc)

    def convert(values, source, target, rounding_mode):
        if (source, target) == (tl.float32, tl.bfloat16):
            return _to_bfloat16(values)
        if (source, target) == (tl.bfloat16, tl.float32):
            return np.ascontiguousarray(values).view(np.uint16).astype(np.uint32) << 16
        return plain_convert(values, source, target, rounding_mode)

    builder.create_dot, interpreter._convert_float = dot, convert


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Bits of float32 values rounded to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16).reshape(values.shape)
