"""Matrix instructions (MFMA) of CDNA3 with the accumulation order and truncation of its matrix cores.

The rules are those measured and published in MMA-Sim (arXiv 2511.10909):

f16, bf16   k in order, in groups of 8 (or all k if fewer). A product has the exponent ea + eb of its
operands, a denormal having its format's smallest; exact, it is cut toward zero at 24 fraction bits of the
group's largest exponent, and the group summed. With c: the sum rounded down at 31, c rounded down at 24
fraction bits of the larger of both exponents, added, rounded to nearest even. xf32        the same in
groups of 4, the operands cut to 10 fraction bits. fp8, bf8    groups of 16; products of even and of odd k
summed apart as above, both sums rounded down at 24 fraction bits of the larger exponent and added; a c
below 2**-25 of the larger exponent counts as 0. f32, f64    a fused multiply-add each, k in order. i8
exact, wrapped to int32.

A zero never decides an exponent. Operands with NaNs or infinities, and products of 2**128 or more, which
become infinite, give what IEEE addition gives. Denormals are kept. `plain` replaces the rules for float16
and smaller, and xf32, by float32 products and sums, rounded one by one, k in order. gfx950's double-k
shapes are taken to follow the same rules: nothing is published on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .conversions import DECODED, FORMATS
from .fma import add_product, fma64
from .layouts import SHAPES, Array, Registers, Shape, addend, broadcast_a, columns, permute_b, rows, store

__all__ = ["SHAPES", "Shape", "multiply"]

_WIDE = 32  # wavefronts from which on they make the better inner axis
_CHUNK = 128  # wavefronts whose temporaries stay in the cache
_FAR = 60  # exponents from -45 up to this have products, scaled or not, that a float32 holds
_ABSENT = -2000  # exponent of a zero: below all others, even with another one added


# glibc gives freed memory back to the kernel each time, until it has once seen a large block freed.
np.empty(31 << 20, np.uint8)


def multiply(
    shape: Shape,
    a: Registers,
    b: Registers,
    c: Registers | int,
    *,
    plain: bool = False,
    cbsz: int = 0,
    abid: int = 0,
    blgp: int = 0,
) -> Registers:
    """d = a * b + c of a matrix instruction, for W wavefronts at once; all lanes take part whatever EXEC
    is.

    a uint32[a_registers, W, 64], b uint32[b_registers, W, 64], c uint32[c_registers, W, 64] or the bits of
    one element (an inline constant); d uint32[c_registers, W, 64], a new array. For float64, `blgp`
    negates: bit 0 a, bit 1 b, bit 2 c.
    """
    waves = a.shape[1]
    if cbsz and shape.c != "f64":
        a = broadcast_a(a, cbsz, abid)
    if blgp and shape.c != "f64":
        b = permute_b(b, blgp)
    d = np.empty((shape.c_registers, waves, 64), np.uint32)
    wide = waves >= _WIDE
    step = -(-waves // -(-waves // _CHUNK)) if waves else 1
    rule = _rule(shape, plain, blgp)
    for first in range(0, waves, step):
        part = slice(first, first + step)
        left, right = rows(shape, a[:, part], wide), columns(shape, b[:, part], wide)
        total = _constant(shape, c, left, right) if np.ndim(c) == 0 else addend(shape, c[:, part], wide)
        store(shape, rule(left, right, total, wide), d[:, part], wide)
    return d


def _constant(shape: Shape, c: int, left: Array, right: Array) -> Array:
    bits = np.uint64 if shape.c == "f64" else np.uint32
    return np.full(np.broadcast_shapes(left.shape[1:], right.shape[1:]), c, bits)


def _rule(shape: Shape, plain: bool, negations: int) -> Callable[[Array, Array, Array, bool], Array]:
    if shape.c == "f64":
        return lambda a, b, c, wide: _float64(a, b, c, negations)
    if shape.a == "i8":
        return _int8
    if shape.a == "f32":
        return _float32
    left, right = _OPERANDS[shape.a], _OPERANDS[shape.b]
    if plain:
        return lambda a, b, c, wide: _plain(left.values(a), right.values(b), c)
    return lambda a, b, c, wide: _grouped(shape, left, right, a, b, c, wide)


def _float64(a: Array, b: Array, c: Array, negations: int) -> Array:
    signs = [-1.0 if negations >> bit & 1 else 1.0 for bit in range(3)]
    a, b, total = (x.view(np.float64) * sign for x, sign in zip((a, b, c), signs, strict=True))
    for k in range(len(a)):
        total = fma64(a[k], b[k], total)
    return total.view(np.uint64)


def _float32(a: Array, b: Array, c: Array, wide: bool) -> Array:
    a, b, total = (
        a.view(np.float32).astype(np.float64),
        b.view(np.float32).astype(np.float64),
        c.view(np.float32),
    )
    for left, right, part in _tiles(a, b, total, wide):
        for k in range(len(left)):
            part[...] = add_product(np.multiply(left[k], right[k], order="C"), part)
    return c


def _int8(a: Array, b: Array, c: Array, wide: bool) -> Array:
    # A float32 holds the sum of up to 1024 products of int8 exactly.
    a, b = a.view(np.int8).astype(np.float32), b.view(np.int8).astype(np.float32)
    for left, right, part in _tiles(a, b, c, wide):
        total = np.multiply(left[0], right[0], order="C")
        for k in range(1, len(left)):
            total += np.multiply(left[k], right[k], order="C")
        part += total.astype(np.int32).view(np.uint32)
    return c


def _plain(a: Array, b: Array, c: Array) -> Array:
    total = c.view(np.float32)
    for k in range(len(a)):
        total += np.multiply(a[k], b[k], order="C")
    return c


def _tiles(a: Array, b: Array, c: Array, wide: bool) -> list[tuple[Array, Array, Array]]:
    """Views of the same product in pieces that fit the cache: one where there are few wavefronts."""
    if not wide:
        return [(a, b, c)]
    return [(a[:, x, y], b[:, x, 0], c[x, y]) for x, y in product(range(c.shape[0]), range(c.shape[1]))]


# Formats of operands


@dataclass(frozen=True)
class _Operand:
    """How bits become float32 values and int16 exponents; beyond `limit` lie infinities and NaNs, or what
    float32 products might not hold.
    """

    values: Callable[[Array], NDArray[np.float32]]
    exponents: Callable[[Array], NDArray[np.int16]]
    limit: int


def _field(bits: Array, fraction: int, bias: int) -> NDArray[np.int16]:
    size = bits & bits.dtype.type((1 << (8 * bits.dtype.itemsize - 1)) - 1)
    field = np.maximum((size >> bits.dtype.type(fraction)).astype(np.int16), np.int16(1))
    field -= np.int16(bias)
    field[size == 0] = _ABSENT
    return field


def _small(name: str) -> _Operand:
    small = FORMATS[name]
    code = np.arange(256)
    exponent = np.maximum((code & 0x7F) >> small.fraction, 1) - small.bias
    exponent = np.where(DECODED[name] == 0, _ABSENT, np.where(np.isfinite(DECODED[name]), exponent, 99))
    table = exponent.astype(np.int16)
    return _Operand(DECODED[name].take, table.take, 20)


def _bf16(bits: Array) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _xf32(bits: Array) -> NDArray[np.float32]:
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


_OPERANDS = {
    "f16": _Operand(lambda x: x.view(np.float16).astype(np.float32), lambda x: _field(x, 10, 15), 15),
    "bf16": _Operand(_bf16, lambda x: _field(x, 7, 127), _FAR),
    "xf32": _Operand(_xf32, lambda x: _field(x & np.uint32(0xFFFFE000), 23, 127), _FAR),
    "fp8": _small("e4m3fnuz"),
    "bf8": _small("e5m2fnuz"),
}


# Groups of products with a common exponent


def _grouped(
    shape: Shape, left: _Operand, right: _Operand, a: Array, b: Array, c: Array, wide: bool
) -> Array:
    exponents = left.exponents(a), right.exponents(b)
    values = left.values(a), right.values(b)
    moderate = all(
        e.max() <= operand.limit and (operand.limit < _FAR or _none_below(e, -45))
        for e, operand in zip(exponents, (left, right), strict=True)
    )
    eight = shape.a in ("fp8", "bf8")
    size = min(shape.k, 16 if eight else 4 if shape.a == "xf32" else 8)
    tiles = zip(_tiles(*values, c.view(np.float32), wide), _tiles(*exponents, c, wide), strict=True)
    for (x, y, total), (ex, ey, _) in tiles:
        for first in range(0, shape.k, size):
            group = slice(first, first + size)
            if eight:
                parts = [slice(first, first + size, 2), slice(first + 1, first + size, 2)]
            else:
                parts = [group]
            sums = [_sum(x[p], y[p], ex[p], ey[p], moderate, wide) for p in parts]
            after = _finish(*(_joined(*sums) if eight else sums[0]), total, cut=eight)
            if not moderate:
                special = _special(x[group], y[group], total)
                after = np.where(np.isfinite(special), after, special)
            total[...] = after
    return c


def _none_below(exponents: NDArray[np.int16], least: int) -> bool:
    """Whether none but the zeros' lies below `least`: what does, wraps to a number above theirs."""
    wrapped = (exponents - np.int16(least)).view(np.uint16)
    return int(wrapped.max()) <= 2**16 + _ABSENT - least


def _sum(
    x: Array, y: Array, ex: Array, ey: Array, moderate: bool, wide: bool
) -> tuple[Array, NDArray[np.int16]]:
    """Sum of products in units of 2**(exponent - 24), each cut toward zero there, and that exponent."""
    if not moderate:
        return _sum_anywhere(x, y, ex, ey)
    step = 1 if wide else len(x)
    exponent = _over(
        np.maximum, [np.add(ex[k : k + step], ey[k : k + step], order="C") for k in range(0, len(x), step)]
    )
    np.maximum(exponent, np.int16(-126), out=exponent)
    # 2**(24 - exponent) as float32 bits; where that overflows, all products are zero.
    scale = np.subtract(np.int16(151), exponent)
    np.minimum(scale, np.int16(254), out=scale)
    scale = scale.astype(np.int32)
    scale <<= 23
    scale = scale.view(np.float32)
    total = None
    for k in range(0, len(x), step):
        products = np.multiply(x[k : k + step], y[k : k + step], order="C")
        products *= scale
        cut = products.astype(np.int32)
        cut = cut[0] if step == 1 else cut.sum(axis=0, dtype=np.int32)
        total = cut if total is None else np.add(total, cut, out=total)
    return total, exponent


def _over(ufunc: np.ufunc, pieces: list[Array]) -> Array:
    total = pieces[0][0] if len(pieces[0]) == 1 else ufunc.reduce(pieces[0], axis=0)
    for piece in pieces[1:]:
        ufunc(total, piece[0], out=total)
    return total


def _sum_anywhere(x: Array, y: Array, ex: Array, ey: Array) -> tuple[Array, NDArray[np.int16]]:
    """As `_sum`, in float64, for exponents anywhere; infinities, NaNs and what overflows float32 count as
    zero.
    """
    exponent = np.maximum((ex + ey).max(axis=0), np.int16(-300))
    products = np.multiply(x, y, dtype=np.float64)
    products[~(np.abs(products) < 2.0**128)] = 0
    return np.trunc(products * np.ldexp(1.0, 24 - exponent.astype(np.int32))).sum(axis=0), exponent


def _special(x: Array, y: Array, c: Array) -> NDArray[np.float64]:
    """Infinite or NaN where the result has to be that."""
    products = np.multiply(x, y, dtype=np.float64)
    products = np.where(np.abs(products) >= 2.0**128, np.copysign(np.inf, products), products)
    return products.sum(axis=0) + c


def _joined(
    even: tuple[Array, Array], odd: tuple[Array, Array]
) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    (one, e_one), (two, e_two) = even, odd
    exponent = np.maximum(e_one, e_two)
    one, two = one.astype(np.int32), two.astype(np.int32)
    return (one >> np.minimum(exponent - e_one, 31)) + (two >> np.minimum(exponent - e_two, 31)), exponent


def _finish(
    total: Array, exponent: NDArray[np.int16], c: NDArray[np.float32], cut: bool
) -> NDArray[np.float32]:
    """total * 2**(exponent - 24) + c: both rounded down at their number of bits, added, rounded to nearest
    even.
    """
    own = (c.view(np.uint32) >> np.uint32(23)).astype(np.int16)
    own &= np.int16(0xFF)
    np.maximum(own, np.int16(1), out=own)
    own -= np.int16(127)
    top = np.maximum(own, exponent)
    # The sum in steps of 2**(top - 31): where it lies 60 bits lower, only its sign is left anyhow.
    shift = np.subtract(exponent, top)
    np.maximum(shift, np.int16(-60), out=shift)
    steps = total * _power(shift + np.int16(7))
    np.floor(steps, out=steps)
    unit = _power(np.int16(24) - top)
    old = c * unit
    np.floor(old, out=old)
    if cut:
        old[own < top - np.int16(25)] = 0
    steps *= 2.0**-7
    steps += old
    steps /= unit
    result = steps.astype(np.float32)
    return np.where(own == 128, c, result) if own.max() == 128 else result


def _power(exponent: NDArray[np.int16]) -> NDArray[np.float64]:
    """2**exponent, by its bits."""
    bits = (exponent + np.int16(1023)).astype(np.int64)
    bits <<= 52
    return bits.view(np.float64)
