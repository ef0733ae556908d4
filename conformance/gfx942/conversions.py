"""Conversions between number formats as v_cvt instructions do them.

Integers: truncated, clamped to the target's range, a NaN becoming 0. Small floats: nearest even unless the
name says otherwise.

8-bit formats by their names in ml_dtypes; gfx942 has the fnuz ones (fp8 = e4m3fnuz, bf8 = e5m2fnuz), gfx950
the OCP ones. What lies beyond the largest number becomes the format's infinity or else its NaN; with
`saturate`, which is to follow bit 23 of the MODE register (FP16_OVFL), the largest number. Triton sets that
bit with s_setreg before it converts to fp8; AMD's HIP headers leave it and clamp with v_med3_f32 instead.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fma import Array


def to_u32(x: Array) -> NDArray[np.uint32]:
    """v_cvt_u32_f32, v_cvt_u32_f64."""
    return np.fmin(np.fmax(x, x.dtype.type(0)), 4294967295.0, dtype=np.float64).astype(np.uint32)


def to_i32(x: Array) -> NDArray[np.int32]:
    """v_cvt_i32_f32, v_cvt_i32_f64."""
    return _signed(x, -(2.0**31), 2.0**31 - 1, np.int32)


def to_u16(x: Array) -> NDArray[np.uint16]:
    """v_cvt_u16_f16."""
    return np.fmin(np.fmax(x, x.dtype.type(0)), 65535.0, dtype=np.float32).astype(np.uint16)


def to_i16(x: Array) -> NDArray[np.int16]:
    """v_cvt_i16_f16."""
    return _signed(x, -32768.0, 32767.0, np.int16)


def cvt_rpi_i32_f32(x: Array) -> NDArray[np.int32]:
    """v_cvt_rpi_i32_f32: floor(x + 0.5), the sum not rounded."""
    return to_i32(np.floor(np.add(x, 0.5, dtype=np.float64)))


def cvt_flr_i32_f32(x: Array) -> NDArray[np.int32]:
    """v_cvt_flr_i32_f32: floor(x)."""
    return to_i32(np.floor(x))


def _signed(x: Array, low: float, high: float, dtype: type) -> Array:
    bounded = np.minimum(np.maximum(x, low, dtype=np.float64), high)
    nan = np.isnan(bounded)
    if nan.any():
        bounded[nan] = 0
    return bounded.astype(dtype)


def f16_rtz(x: Array) -> NDArray[np.float16]:
    """One half of v_cvt_pkrtz_f16_f32: float32 to float16 toward zero; what overflows becomes 65504."""
    nearest = x.astype(np.float16)
    away = np.abs(nearest.astype(np.float32)) > np.abs(x)
    return (nearest.view(np.uint16) - away).view(np.float16)


def bf16_bits(x: Array) -> NDArray[np.uint16]:
    """float32 to the bits of bfloat16, nearest even; a NaN stays one, made quiet."""
    bits = x.view(np.uint32)
    rounded = (bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(16)
    nan = np.isnan(x)
    if nan.any():
        rounded = np.where(nan, (bits >> np.uint32(16)) | np.uint32(0x40), rounded)
    return rounded.astype(np.uint16)


@dataclass(frozen=True)
class Small:
    """An 8-bit format: fraction bits, exponent bias, code of the largest number, of what lies beyond it, of
    NaN.
    """

    fraction: int
    bias: int
    largest: int
    beyond: int
    nan: int
    signed_zero: bool


FORMATS = {
    "e4m3fnuz": Small(3, 8, 0x7F, 0x80, 0x80, False),
    "e5m2fnuz": Small(2, 16, 0x7F, 0x80, 0x80, False),
    "e4m3fn": Small(3, 7, 0x7E, 0x7F, 0x7F, True),
    "e5m2": Small(2, 15, 0x7B, 0x7C, 0x7F, True),
}


def _table(small: Small) -> NDArray[np.float32]:
    codes = np.arange(256)
    size = codes & 0x7F
    exponent, fraction = size >> small.fraction, size & ((1 << small.fraction) - 1)
    value = np.ldexp(
        fraction + (exponent > 0) * float(1 << small.fraction),
        np.maximum(exponent, 1) - small.bias - small.fraction,
    )
    value = np.where(size > small.largest, np.inf if small.beyond < small.nan else np.nan, value)
    value = np.where(size > small.beyond, np.nan, value)
    value = np.where(codes > 0x7F, -value, value)
    return np.where(codes == small.nan, np.nan, value).astype(np.float32)


DECODED = {name: _table(small) for name, small in FORMATS.items()}


def fp8_decode(codes: Array, name: str) -> NDArray[np.float32]:
    """v_cvt_f32_fp8, v_cvt_f32_bf8: uint8 codes to their values, exactly."""
    return DECODED[name][codes]


def fp8_encode(x: Array, name: str, saturate: bool = False) -> NDArray[np.uint8]:
    """v_cvt_pk_fp8_f32, v_cvt_pk_bf8_f32: float32 to codes, nearest even."""
    small = FORMATS[name]
    bits = x.view(np.uint32) & np.uint32(0x7FFFFFFF)
    shift = np.uint32(23 - small.fraction)
    halfway = np.uint32((1 << (22 - small.fraction)) - 1)
    rounded = bits + (halfway + ((bits >> shift) & np.uint32(1)))
    tiny = np.rint(np.abs(x) * np.float32(2.0 ** (small.bias - 1 + small.fraction)))
    return _pack(x, bits, rounded, tiny, small, saturate)


def fp8_encode_stochastic(x: Array, random: Array, name: str, saturate: bool = False) -> NDArray[np.uint8]:
    """v_cvt_sr_fp8_f32, v_cvt_sr_bf8_f32: the top bits of `random` (uint32) are added to the fraction bits
    that will be dropped, with carry, then those are cut. Below the normal range, where the manual's text
    says nothing, the sum is cut at the denormals' spacing.
    """
    small = FORMATS[name]
    bits = x.view(np.uint32) & np.uint32(0x7FFFFFFF)
    rounded = bits + (random >> np.uint32(9 + small.fraction))
    tiny = np.floor(rounded.view(np.float32) * np.float32(2.0 ** (small.bias - 1 + small.fraction)))
    return _pack(x, bits, rounded, tiny, small, saturate)


def _pack(
    x: Array, bits: Array, rounded: Array, tiny: Array, small: Small, saturate: bool
) -> NDArray[np.uint8]:
    """Codes from magnitudes rounded in place (`rounded`) and, below the normal range, counted in steps
    (`tiny`).
    """
    code = (rounded >> np.uint32(23 - small.fraction)).astype(np.int32) - (
        (127 - small.bias) << small.fraction
    )
    code = np.where(bits < np.uint32((128 - small.bias) << 23), np.minimum(tiny, 256).astype(np.int32), code)
    sign = (x.view(np.int32) >> 24) & 0x80
    if not small.signed_zero:
        sign = np.where(code == 0, 0, sign)
    over = code > small.largest
    code = np.where(over, small.largest if saturate else small.beyond, code) | sign
    return np.where(bits > np.uint32(0x7F800000), small.nan, code).astype(np.uint8)
