"""Fused multiply-add in NumPy, which has none: a * b + c, rounded once to nearest even, denormals kept.

Expects to run inside `np.errstate(all="ignore")`.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def fma32(a: Array, b: Array, c: Array) -> NDArray[np.float32]:
    """a * b + c in float32, rounded once."""
    return add_product(np.multiply(a, b, dtype=np.float64), c)


def add_product(product: NDArray[np.float64], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """product + c rounded once to float32, where `product` is that of two float32: exact.

    The sum in float64 is rounded already; that matters only where it falls on a tie of float32 or below its
    normal range.
    """
    total = np.add(product, c)
    result = total.astype(np.float32)
    ties = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    ties |= ((result.view(np.uint32) << np.uint32(1)) - np.uint32(1)) < np.uint32(0xFFFFFF)
    if ties.any():
        where = np.nonzero(ties)
        product, c = np.broadcast_to(product, total.shape)[where], np.broadcast_to(c, total.shape)[where]
        result[where] = to_odd(product, c.astype(np.float64)).astype(np.float32)
    return result


def fma64(a: Array, b: Array, c: Array) -> NDArray[np.float64]:
    """a * b + c, rounded once: product and sums as unevaluated pairs, their rest rounded to odd (Boldo and
    Melquiond, "Emulation of FMA and correctly rounded sums", 2008); integers where a pair could over- or
    underflow.
    """
    a, b, c = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (a, b, c)))
    high, low = _two_product(a, b)
    rest, rest_low = _two_sum(c, low)
    top, top_low = _two_sum(high, rest)
    result = top + to_odd(rest_low, top_low)
    # An exact product of zero, an infinity or a NaN: the ordinary sum is right, the pairs are not.
    plain = np.where(np.isinf(c) & np.isfinite(a) & np.isfinite(b), c, high + c)
    result = np.where((high == 0) | ~np.isfinite(plain), plain, result)
    sizes = np.abs(high)
    edge = (sizes < 2.0**-900) | ~(
        np.maximum(np.maximum(sizes, np.abs(c)), np.maximum(np.abs(a), np.abs(b))) < 2.0**990
    )
    if edge.any():
        edge &= np.isfinite(a) & np.isfinite(b) & np.isfinite(c) & (a != 0) & (b != 0)
        for where in zip(*np.nonzero(edge), strict=True):
            result[where] = exact(a[where], b[where], c[where], 0)
    return result


def fma16(a: Array, b: Array, c: Array) -> NDArray[np.float16]:
    """a * b + c, rounded once: float64 holds every sum that is near a tie of float16 exactly."""
    return np.add(np.multiply(a, b, dtype=np.float64), c, dtype=np.float64).astype(np.float16)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Array) -> tuple[Array, Array]:
    scaled = a * 134217729.0
    high = scaled - (scaled - a)
    return high, a - high


def to_odd(a: Array, b: Array) -> Array:
    """a + b in float64, rounded to odd: rounding it again to fewer bits is then as good as rounding once."""
    total, rest = _two_sum(a, b)
    even = (total.view(np.int64) & 1) == 0
    return np.where(even & (rest != 0), np.nextafter(total, np.copysign(np.inf, rest)), total)


def exact(a: float, b: float, c: float, exponent: int) -> float:
    """(a * b + c) * 2**exponent for finite numbers, rounded once to nearest even."""
    value = (Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))) * Fraction(2) ** exponent
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
