"""Floating point as a CDNA3 vector unit does it, in NumPy: arrays in, arrays of the named type out.

Functions take arrays of any broadcastable shapes and expect to run inside `np.errstate(all="ignore")`.
Results follow the "AMD Instinct MI300 Instruction Set Architecture Reference Guide"; where it leaves
something open, the docstring says what is taken. Denormals are kept unless a docstring says otherwise: an
instruction's flushing mode is `flush` on its inputs and its result. This module is the one that opcodes
import: it gathers fused multiply-add (fma), division, conversions, special functions and the parts of a
number (parts), and adds minima and modifiers.
"""

import numpy as np

from .conversions import (
    bf16_bits,
    cvt_flr_i32_f32,
    cvt_rpi_i32_f32,
    f16_rtz,
    fp8_decode,
    fp8_encode,
    fp8_encode_stochastic,
    to_i16,
    to_i32,
    to_u16,
    to_u32,
)
from .division import div_fixup16, div_fixup32, div_fixup64, div_fmas32, div_fmas64, div_scale32, div_scale64
from .fma import Array, fma16, fma32, fma64
from .parts import (
    bits_of,
    classify,
    flush,
    fract,
    frexp_exp,
    frexp_mant,
    ldexp,
    quiet,
    rndne,
    signalling,
    trunc,
)
from .special import (
    cos16,
    cos32,
    exp2_16,
    exp2_32,
    log2_16,
    log2_32,
    rcp16,
    rcp32,
    rcp64,
    rsq16,
    rsq32,
    rsq64,
    sin16,
    sin32,
    sqrt16,
    sqrt32,
    sqrt64,
)

__all__ = [
    "bf16_bits",
    "clamp",
    "classify",
    "cos16",
    "cos32",
    "cvt_flr_i32_f32",
    "cvt_rpi_i32_f32",
    "div_fixup16",
    "div_fixup32",
    "div_fixup64",
    "div_fmas32",
    "div_fmas64",
    "div_scale32",
    "div_scale64",
    "exp2_16",
    "exp2_32",
    "f16_rtz",
    "flush",
    "fma16",
    "fma32",
    "fma64",
    "fp8_decode",
    "fp8_encode",
    "fp8_encode_stochastic",
    "fract",
    "frexp_exp",
    "frexp_mant",
    "ldexp",
    "log2_16",
    "log2_32",
    "max3",
    "maximum",
    "med3",
    "min3",
    "minimum",
    "output_modifier",
    "quiet",
    "rcp16",
    "rcp32",
    "rcp64",
    "rndne",
    "rsq16",
    "rsq32",
    "rsq64",
    "sin16",
    "sin32",
    "sqrt16",
    "sqrt32",
    "sqrt64",
    "to_i16",
    "to_i32",
    "to_u16",
    "to_u32",
    "trunc",
]


def minimum(a: Array, b: Array) -> Array:
    """v_min: of a number and a NaN the number, -0 below +0, and (IEEE mode) a signalling NaN made quiet."""
    return _extreme(np.fmin(a, b), a, b, np.bitwise_or)


def maximum(a: Array, b: Array) -> Array:
    """v_max: as `minimum`."""
    return _extreme(np.fmax(a, b), a, b, np.bitwise_and)


def _extreme(result: Array, a: Array, b: Array, of_zeros: np.ufunc) -> Array:
    odd = ~((a < b) | (a > b))
    if odd.any():
        a, b = np.broadcast_to(a, result.shape), np.broadcast_to(b, result.shape)
        a, b, r = a[odd], b[odd], result[odd]
        r = np.where((a == 0) & (b == 0), of_zeros(bits_of(a), bits_of(b)).view(r.dtype), r)
        r = np.where(signalling(b), quiet(b), r)
        result[odd] = np.where(signalling(a), quiet(a), r)
    return result


def min3(a: Array, b: Array, c: Array) -> Array:
    """v_min3."""
    return minimum(minimum(a, b), c)


def max3(a: Array, b: Array, c: Array) -> Array:
    """v_max3."""
    return maximum(maximum(a, b), c)


def med3(a: Array, b: Array, c: Array) -> Array:
    """v_med3: the middle one; with a NaN among them, `min3`."""
    low = minimum(a, b)
    middle = maximum(low, minimum(maximum(a, b), c))
    nan = np.isnan(a) | np.isnan(b) | np.isnan(c)
    return np.where(nan, minimum(low, c), middle) if nan.any() else middle


def clamp(x: Array) -> Array:
    """The clamp modifier: into [0, 1], a NaN (DX10_CLAMP set, as compute shaders have it) becoming 0."""
    return np.fmin(np.fmax(x, x.dtype.type(0)), x.dtype.type(1)) + x.dtype.type(0)


def output_modifier(x: Array, factor: float, denormals: bool = False) -> Array:
    """mul:2, mul:4, div:2 (factor 2, 4, 0.5): result flushed, and ignored where the mode keeps denormals."""
    return x if denormals else flush(x * x.dtype.type(factor))
