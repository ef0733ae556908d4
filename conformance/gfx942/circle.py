"""2 / pi in pieces of 53 bits: what v_trig_preop_f64 gives to the reduction of large angles."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .fma import Array
from .parts import exponent_field

BITS = 1201  # that the hardware holds, behind the point
_LONGEST = 31 * 53 + 2047 - 1077


def trig_preop(x: Array, segment: Array) -> NDArray[np.float64]:
    """v_trig_preop_f64: the 53 bits of 2 / pi behind its first 53 * segment ones, more for an x beyond 2**54,
    in their place; scaled up by 2**128 for the largest x (MI300 ISA manual, the instruction's pseudocode)."""
    exponent = exponent_field(x)
    shift = (segment & np.uint32(31)).astype(np.int32) * 53 + np.maximum(exponent - 1077, 0)
    scale = -53 - shift + np.where(exponent >= 1968, 128, 0)
    return np.ldexp(_pieces()[shift], scale.astype(np.int32))


@cache
def _pieces() -> NDArray[np.float64]:
    """The 53 bits behind each number of bits."""
    whole = two_over_pi(BITS) << _LONGEST
    return np.array(
        [(whole >> (BITS + _LONGEST - 53 - shift)) & ((1 << 53) - 1) for shift in range(_LONGEST)], np.float64
    )


def two_over_pi(bits: int) -> int:
    """floor(2**bits * 2 / pi), pi by Machin's formula: 16 atan(1/5) - 4 atan(1/239)."""
    guard = bits + 64
    pi = 16 * _arctangent(5, guard) - 4 * _arctangent(239, guard)
    return (1 << (guard + bits + 1)) // pi


def _arctangent(inverse: int, bits: int) -> int:
    """2**bits * atan(1 / inverse), its last digits aside."""
    power, total, odd, sign = (1 << bits) // inverse, 0, 1, 1
    while power:
        total += sign * (power // odd)
        power, odd, sign = power // (inverse * inverse), odd + 2, -sign
    return total
