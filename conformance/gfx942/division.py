"""The three helpers that surround v_rcp and fused multiply-adds in a division: v_div_scale, v_div_fmas,
v_div_fixup.

Scale keeps the intermediate steps clear of overflow and denormals, fmas takes the scale back with one
rounding, fixup gives signs, zeros, infinities and NaNs (AMD Instinct MI300 ISA manual, the instructions'
pseudocode).
"""

import numpy as np
from numpy.typing import NDArray

from .fma import Array, exact, fma64, to_odd
from .parts import exponent_field, quiet

_TWO64, _TWO128 = 2.0**64, 2.0**128


def div_scale32(
    value: Array, divisor: Array, dividend: Array
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """v_div_scale_f32 and its VCC flag; `value` is the operand to scale, one of the other two."""
    return _div_scale(np.float32, value, divisor, dividend, far=96, tiny=23, step=64)


def div_scale64(
    value: Array, divisor: Array, dividend: Array
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """v_div_scale_f64 and its VCC flag."""
    return _div_scale(np.float64, value, divisor, dividend, far=768, tiny=53, step=128)


def _div_scale(
    dtype: type, value: Array, divisor: Array, dividend: Array, far: int, tiny: int, step: int
) -> tuple[Array, NDArray[np.bool_]]:
    """The manual's cases in its order, with two readings of ours: 1/divisor is denormal in the
    instruction's own type (its text says float64, never true of a float32), and a divisor scaled alone
    because it is huge is scaled down (scaled up, as printed, it would overflow).
    """
    value, divisor, dividend = (np.asarray(x, dtype) for x in (value, divisor, dividend))
    least = float(np.finfo(dtype).tiny)
    bottom, top = exponent_field(divisor), exponent_field(dividend)
    quotient = np.abs(np.divide(dividend, divisor, dtype=np.float64))
    small = quotient < least
    huge = np.abs(np.divide(1.0, divisor, dtype=np.float64)) < least
    distant = top - bottom >= far
    denormal = (bottom == 0) & ~distant
    is_divisor, is_dividend = value == divisor, value == dividend
    open_ = ~(distant | denormal)
    flag = distant | (open_ & small)
    shift = np.select(
        [distant, denormal, huge & small, huge, small, top <= tiny],
        [step * is_divisor, step, -step * is_divisor, -step, step * is_dividend, step],
        0,
    )
    zero = (divisor == 0) | (dividend == 0)
    scaled = np.where(zero, dtype(np.nan), np.ldexp(value, shift.astype(np.int32)))
    return scaled, flag & ~zero


def div_fmas32(a: Array, b: Array, c: Array, flag: Array) -> NDArray[np.float32]:
    """v_div_fmas_f32: fma, and where `flag` (VCC) is set the quotient's scale taken back, rounded once.

    The factor is 2**64 for a quotient estimate c of 2 or more, else 2**-64: what undoes v_div_scale_f32."""
    total = to_odd(np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64))
    factor = np.where(flag, np.where(np.abs(c) >= 2, _TWO64, 1 / _TWO64), 1.0)
    return (total * factor).astype(np.float32)


def div_fmas64(a: Array, b: Array, c: Array, flag: Array) -> NDArray[np.float64]:
    """v_div_fmas_f64: as `div_fmas32`, the factor being 2**128 or 2**-128."""
    a, b, c, flag = np.broadcast_arrays(a, b, c, flag)
    up = np.abs(c) >= 2
    result = fma64(a, b, c) * np.where(flag, np.where(up, _TWO128, 1 / _TWO128), 1.0)
    low = flag & ~up & (np.abs(result) < 2.0**-1000) & np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    for where in zip(*np.nonzero(low), strict=True):
        result[where] = np.copysign(exact(a[where], b[where], c[where], -128), result[where])
    return result


def div_fixup32(quotient: Array, divisor: Array, dividend: Array) -> NDArray[np.float32]:
    """v_div_fixup_f32: signs, zeros, infinities and NaNs of a division whose finite quotient is given."""
    return _div_fixup(np.float32, quotient, divisor, dividend, -150, overflows=True)


def div_fixup64(quotient: Array, divisor: Array, dividend: Array) -> NDArray[np.float64]:
    """v_div_fixup_f64."""
    return _div_fixup(np.float64, quotient, divisor, dividend, -1075, overflows=True)


def div_fixup16(quotient: Array, divisor: Array, dividend: Array) -> NDArray[np.float16]:
    """v_div_fixup_f16, which knows no underflow of its own."""
    return _div_fixup(np.float16, quotient, divisor, dividend, -1000, overflows=False)


def _div_fixup(
    dtype: type, quotient: Array, divisor: Array, dividend: Array, least: int, overflows: bool
) -> Array:
    """The manual's cases, with a reading of ours: it lets a divisor with the largest exponent overflow,
    which is infinite or NaN and dealt with before; taken is a quotient with that exponent, what overflowing
    steps leave.
    """
    quotient, divisor, dividend = (np.asarray(x, dtype) for x in (quotient, divisor, dividend))
    below, above = np.abs(divisor), np.abs(dividend)
    size = np.abs(quotient)
    size = np.where(np.isnan(size) & overflows, dtype(np.inf), size)
    size = np.where(exponent_field(dividend) - exponent_field(divisor) < least, dtype(0), size)
    size = np.where(np.isinf(below) | (above == 0), dtype(0), size)
    size = np.where((below == 0) | np.isinf(above), dtype(np.inf), size)
    negative = np.signbit(divisor) ^ np.signbit(dividend)
    result = np.where(negative, -size, size)
    invalid = ((below == 0) & (above == 0)) | (np.isinf(below) & np.isinf(above))
    result = np.where(invalid, dtype(-np.nan), result)
    result = np.where(np.isnan(divisor), quiet(divisor), result)
    return np.where(np.isnan(dividend), quiet(dividend), result)
