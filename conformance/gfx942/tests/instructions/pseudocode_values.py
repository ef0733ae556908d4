"""What functions translated from the manual's pseudocode call: typed reads and writes, casts, arithmetic."""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np


class Unsupported(Exception):
    """Something that the translation does not know."""


class Real(float):
    """A float that remembers the bits it was read from, for what asks about them."""

    bits = 0
    width = 0


class Zero(Real):
    """Equal to the zero of its sign only."""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, float)
            and float(other) == 0.0
            and math.copysign(1, other) == math.copysign(1, self)
        )

    __hash__ = float.__hash__


FRACTION = {16: 10, 32: 23, 64: 52}


def typed(value: Any, kind: str, width: int) -> Any:
    if isinstance(value, (float, Fraction)):
        return value if kind == "f" else encoded(value, width)
    value &= (1 << width) - 1
    if kind == "f":
        made = Real(np.array(value, f"u{width // 8}").view(f"f{width // 8}").item())
        made.bits, made.width = value, width
        return made
    return value - (1 << width) if kind == "i" and value >> (width - 1) else value


def bits(value: int, first: int, width: int) -> int:
    return (value >> first) & ((1 << width) - 1)


def part(value: int, first: int, last: int) -> int:
    """Bits first down to last; up to it, the other way round."""
    if first >= last:
        return bits(value, last, first - last + 1)
    return sum(bits(value, last - place, 1) << place for place in range(last - first + 1))


def put(old: int, first: int, width: int, value: Any) -> int:
    if isinstance(value, (float, Fraction)):
        value = encoded(value, width)
    mask = ((1 << width) - 1) << first
    return (int(old) & ~mask) | ((int(value) << first) & mask)


def encoded(value: Any, width: int) -> int:
    """The bits of a number rounded once, to nearest even."""
    if isinstance(value, Real) and value.width == width:
        return value.bits
    if isinstance(value, Fraction):
        try:
            near = float(value)
        except OverflowError:
            near = math.inf if value > 0 else -math.inf
        if (
            width < 64
            and math.isfinite(near)
            and Fraction(near) != value
            and not np.array(near).view("u8") & 1
        ):
            near = math.nextafter(
                near, math.inf if value > near else -math.inf
            )  # rounded to odd: rounds again safely
        value = near
    with np.errstate(all="ignore"):
        return int(np.array(float(value)).astype(f"f{width // 8}").view(f"u{width // 8}"))


def cast(value: Any, letter: str, width: int) -> Any:
    if letter == "F":
        return value
    if isinstance(value, float):
        raise Unsupported("a number cast to an integer")
    return typed(value, "i" if letter == "I" else "u", width)


def times(a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) or isinstance(b, Fraction):
        number, factor = (b, a) if isinstance(a, Fraction) else (a, b)
        return Fraction(number) * factor if math.isfinite(number) and number else number
    return a * b


def fma(a: float, b: float, c: float) -> Any:
    if not all(map(math.isfinite, (a, b, c))):
        return a * b + c if not (math.isfinite(a) and math.isfinite(b)) else c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return exact or math.copysign(1, a) * math.copysign(1, b) * 0.0 + (c if not (a and b) else 0.0)


def _limits(width: int, signed: bool) -> tuple[int, int]:
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)


def _clipped(width: int, signed: bool) -> Callable[[Any], int]:
    low, high = _limits(width, signed)

    def convert(x: Any) -> int:
        if isinstance(x, float) and math.isnan(x):
            return 0
        return int(min(max(x, low), high))

    return convert


def type_of(text: str) -> tuple[str, int]:
    """ "u32" as ("u", 32)."""
    match = re.fullmatch(r"([uibf])(\d+)", text)
    if not match:
        raise Unsupported(f".{text}")
    return match[1], int(match[2])


def call(function: Callable[..., dict[str, Any]], name: str, given: tuple[Any, ...]) -> Any:
    """The result of an opcode of that name, with the type that ends the name."""
    kind, width = type_of(name.rsplit("_", 1)[1])
    raw = [encoded(each, width) if isinstance(each, float) else each & ((1 << width) - 1) for each in given]
    return typed(function(**{f"S{k}": each for k, each in enumerate(raw)})["D0"], kind, width)


def _known(function: Callable[[float], float]) -> Callable[[float], float]:
    """For infinities and NaNs the number itself."""
    return lambda x: float(function(x)) if math.isfinite(x) else x


_FROM_WHOLE = ("u32", "i32", "u16", "i16", "u8", "i8", "u4", "i4")
_FROM_ANY = ("u32", "i32", "u16", "i16", "f16", "f32", "f64")
HELPERS: dict[str, Any] = {
    "typed": typed,
    "bits": bits,
    "part": part,
    "ZERO": Zero(0.0),
    "MINUS_ZERO": Zero(-0.0),
    "put": put,
    "cast": cast,
    "times": times,
    "fma": fma,
    "INF": math.inf,
    "NAN": math.nan,
    "OPSEL": 0,
    "differ": lambda a, b: a < b or a > b,
    "power": lambda base, exponent: Fraction(base) ** max(min(int(exponent), 5000), -5000),
    "signext": lambda x: x,
    "signext_from_bit": lambda x, n: typed(x, "i", n) if n else 0,
    "isNAN": lambda x: isinstance(x, float) and math.isnan(x),
    "isSignalNAN": lambda x: math.isnan(x) and not x.bits >> (FRACTION[x.width] - 1) & 1,
    "isQuietNAN": lambda x: math.isnan(x) and bool(x.bits >> (FRACTION[x.width] - 1) & 1),
    "cvtToQuietNAN": lambda x: typed(x.bits | 1 << (FRACTION[x.width] - 1), "f", x.width),
    "sign": lambda x: x.bits >> (x.width - 1),
    "exponent": lambda x: x.bits >> FRACTION[x.width] & ((1 << (x.width - 1 - FRACTION[x.width])) - 1),
    "abs": lambda x: (
        typed(x.bits & ((1 << (x.width - 1)) - 1), "f", x.width) if isinstance(x, Real) else abs(x)
    ),
    "trunc": _known(np.trunc),
    "floor": _known(np.floor),
    "fract": lambda x: x - float(np.floor(x)) if math.isfinite(x) else math.nan,
    "isEven": lambda x: math.isfinite(x) and x % 2 == 0,
    **{f"{source}_to_{target}": lambda x: x for source in _FROM_WHOLE for target in ("i32", "u32")},
    **{f"{source}_to_{target}": float for source in _FROM_ANY for target in ("f16", "f32", "f64")},
    **{
        f"f{a}_to_{kind}{b}": _clipped(b, kind == "i")
        for a in (16, 32, 64)
        for kind in "ui"
        for b in (16, 32)
    },
    "u32_to_u16": _clipped(16, False),
    "i32_to_i16": _clipped(16, True),
}
