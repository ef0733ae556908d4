"""Error bounds counted in roundings."""

from __future__ import annotations

from collections.abc import Callable

import torch

ROUNDOFF = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}
SMALLEST = {
    torch.float64: 2.0**-1074,
    torch.float32: 2.0**-149,
    torch.float16: 2.0**-24,
    torch.bfloat16: 2.0**-133,
}
U32 = ROUNDOFF[torch.float32]

Rule = Callable[..., torch.Tensor]


def ulps(count: float, dtype: torch.dtype = torch.float32) -> Rule:
    """`count` units in the last place of the expected value in `dtype`."""
    return lambda arguments, expected: count * spacing(expected, dtype)


def roundings(count: float, dtype: torch.dtype = torch.float32) -> Rule:
    """`count` roundings of values no larger than the expected one."""
    return lambda arguments, expected: count * rounding(expected, dtype)


def spacing(values: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Distance of neighbouring numbers of `dtype` at `values`, in float64."""
    exponent = torch.frexp(values.double().abs())[1].double() - 1
    return (2.0**exponent * 2 * ROUNDOFF[dtype]).clamp(min=SMALLEST[dtype])


def rounding(values: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Largest error of rounding a number of at most this magnitude to `dtype` to nearest."""
    return values.double().abs() * ROUNDOFF[dtype] + SMALLEST[dtype] / 2


def accumulated(
    a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype = torch.float32, terms: int | None = None
) -> torch.Tensor:
    """Of a @ b summed in `dtype` in any order: a term goes through one product and at most K - 1 additions,
    with a spare for the second order: (K + 2) u sum |a||b|. It covers CDNA3's groups too, for K >= 16: in a
    group of g terms each is cut to 24 fraction bits of the group's largest (g u), and joining the running sum
    costs at most 5 u, so g + 5 K / g <= K + 2 units."""
    depth = terms or a.shape[-1]
    return (depth + 2) * ROUNDOFF[dtype] * (a.double().abs() @ b.double().abs())
