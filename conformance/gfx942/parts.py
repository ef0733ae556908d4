"""Parts and classes of floating-point numbers: fields, frexp and ldexp, rounding to integers, denormals.

Each function takes float16, float32 or float64 and returns the same type unless its annotation says
otherwise.
"""

import numpy as np
from numpy.typing import NDArray

from .fma import Array

_BITS = {2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}
_FRACTION = {2: 10, 4: 23, 8: 52}


def exponent_field(x: Array) -> NDArray[np.int32]:
    """The biased exponent as it stands in x's bits: 0 for zeros and denormals."""
    fraction = _FRACTION[x.dtype.itemsize]
    field = (1 << (8 * x.dtype.itemsize - 1 - fraction)) - 1
    return ((bits_of(x) >> fraction) & field).astype(np.int32)


def bits_of(x: Array) -> Array:
    """x's bits as an unsigned integer of its size."""
    return x.view(_BITS[x.dtype.itemsize])


def quiet(x: Array) -> Array:
    """x with signalling NaNs made quiet."""
    bit = 1 << (_FRACTION[x.dtype.itemsize] - 1)
    bits = bits_of(x)
    return np.where(np.isnan(x), bits | bits.dtype.type(bit), bits).view(x.dtype)


def signalling(x: Array) -> NDArray[np.bool_]:
    """Where x is a signalling NaN."""
    return np.isnan(x) & (((bits_of(x) >> (_FRACTION[x.dtype.itemsize] - 1)) & 1) == 0)


def classify(x: Array) -> NDArray[np.uint32]:
    """The one bit of v_cmp_class's mask that x answers to: 0 signalling NaN, 1 quiet NaN, 2 -inf, 3 -normal,
    4 -denormal, 5 -0, 6 +0, 7 +denormal, 8 +normal, 9 +inf."""
    size = np.abs(x)
    kind = np.select([size == 0, size < np.finfo(x.dtype).tiny, np.isfinite(x)], [6, 7, 8], 9)
    kind = np.where(np.signbit(x), 11 - kind, kind)
    is_quiet = (bits_of(x) >> (_FRACTION[x.dtype.itemsize] - 1)) & 1
    return np.uint32(1) << np.where(np.isnan(x), is_quiet, kind).astype(np.uint32)


def frexp_mant(x: Array) -> Array:
    """v_frexp_mant: significand in [0.5, 1); x itself if it is an infinity or a NaN."""
    return np.where(np.isfinite(x), np.frexp(x)[0], x)


def frexp_exp(x: Array) -> NDArray[np.int32]:
    """v_frexp_exp: x = frexp_mant(x) * 2**frexp_exp(x), denormals included; 0 for an infinity or a NaN."""
    return np.where(np.isfinite(x), np.frexp(x)[1], 0).astype(np.int32)


def ldexp(x: Array, exponent: Array) -> Array:
    """x * 2**exponent in x's type, rounded once."""
    return np.ldexp(x, np.clip(exponent, -5000, 5000).astype(np.int32))


def trunc(x: Array) -> Array:
    """v_trunc."""
    return np.trunc(x)


def rndne(x: Array) -> Array:
    """v_rndne: to the nearest integer, ties to even."""
    return np.rint(x)


def fract(x: Array) -> Array:
    """v_fract: x - floor(x), kept below 1 (a tiny negative x would round to it)."""
    one = np.asarray(1, x.dtype)
    return np.minimum(x - np.floor(x), np.nextafter(one, np.zeros_like(one)))


def flush(x: Array) -> Array:
    """Denormals made zeros of the same sign: a flushing denormal mode."""
    small = np.abs(x) < np.finfo(x.dtype).tiny
    return np.where(small, np.copysign(x.dtype.type(0), x), x) if small.any() else x
