"""Transcendental functions within the precision documented for what AMD's compiler emits."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from .bounds import U32, spacing, ulps
from .case import Arguments, Case, normal, uniform
from .elementwise import COUNT, F64, binary, over, sqrt, unary


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def exp2(x):
    return tl.exp2(x)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def log2(x):
    return tl.log2(x)


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def erf(x):
    return tl.erf(x)


@triton.jit
def rsqrt(x):
    return tl.rsqrt(x)


@triton.jit
def sigmoid(x):
    return tl.sigmoid(x)


@triton.jit
def tanh(x):
    return libdevice.tanh(x)


@triton.jit
def tanh_by_sigmoid(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def power(x, y):
    return libdevice.pow(x, y)


def powers(a: Arguments) -> torch.Tensor:
    return a.x.double() ** a.y.double()


POSITIVE = uniform(COUNT, low=1e-6, high=1e4)
ANGLES = uniform(COUNT, low=-math.pi, high=math.pi)
WIDE = uniform(COUNT, low=-80, high=80)
BASES, EXPONENTS = uniform(COUNT, low=0, high=4), uniform(COUNT, low=-2, high=2, seed=1)
PLAIN = normal(COUNT)

CASES = [
    # v_sqrt_f32 and v_rsq_f32: 1 ulp (MI300 ISA reference, VOP1).
    Case("sqrt f32", unary, over(unary, sqrt, POSITIVE), lambda a: a.x.double().sqrt(), ulps(1)),
    Case("rsqrt f32", unary, over(unary, rsqrt, POSITIVE), lambda a: a.x.double().rsqrt(), ulps(1)),
    # v_exp_f32: 1 ulp; exp is v_exp of x log2 e: two roundings of the exponent, each at most |x| u relative.
    Case("exp2 f32", unary, over(unary, exp2, WIDE), lambda a: a.x.double().exp2(), ulps(1)),
    Case(
        "exp f32",
        unary,
        over(unary, exp, WIDE),
        lambda a: a.x.double().exp(),
        lambda a, y: spacing(y) + 2 * U32 * a.x.double().abs() * y,
    ),
    Case("exp f64", unary, over(unary, exp, WIDE.double()), lambda a: a.x.exp(), ulps(2, F64)),
    # OCML, as the HIP math API's table gives it, in ulp of the C library's result, which adds a half: log 2,
    # log2, sin, cos and pow 1, erf 4, tanh 2; exp and log of float64 1, and as much for the reference.
    Case("log f32", unary, over(unary, log, POSITIVE), lambda a: a.x.double().log(), ulps(2.5)),
    Case("log2 f32", unary, over(unary, log2, POSITIVE), lambda a: a.x.double().log2(), ulps(1.5)),
    Case("log f64", unary, over(unary, log, POSITIVE.double()), lambda a: a.x.log(), ulps(2, F64)),
    Case("sin f32", unary, over(unary, sin, ANGLES), lambda a: a.x.double().sin(), ulps(1.5)),
    Case("cos f32", unary, over(unary, cos, ANGLES), lambda a: a.x.double().cos(), ulps(1.5)),
    Case("erf f32", unary, over(unary, erf, PLAIN), lambda a: torch.erf(a.x.double()), ulps(4.5)),
    Case("tanh f32", unary, over(unary, tanh, PLAIN), lambda a: a.x.double().tanh(), ulps(2.5)),
    # Beyond the table's range, and where fusion undoes OCML's exact splitting of products: as OpenCL 3.0
    # asks.
    Case("sin f32 far away", unary, over(unary, sin, ANGLES * 1e6), lambda a: a.x.double().sin(), ulps(4)),
    Case("pow f32", binary, over(binary, power, BASES, EXPONENTS), powers, ulps(16)),
    Case("pow f32 unfused", binary, over(binary, power, BASES, EXPONENTS, fusion=False), powers, ulps(1.5)),
    # 1 / (1 + exp(-x)): exp as above, one addition, a division of 2.5 ulp; errors of exp weigh at most 1 -
    # sigmoid.
    Case(
        "sigmoid f32",
        unary,
        over(unary, sigmoid, WIDE / 8),
        lambda a: a.x.double().sigmoid(),
        lambda a, y: (2 * U32 * a.x.double().abs() + 2 * U32 + U32 + 5 * U32) * y,
    ),
    # 2 s(2x) - 1: twice the error of s(2x), which is at most 1, and one rounding.
    Case(
        "tanh by sigmoid f32",
        unary,
        over(unary, tanh_by_sigmoid, PLAIN),
        lambda a: a.x.double().tanh(),
        lambda a, y: 2 * (4 * U32 * a.x.double().abs() + 8 * U32) + U32,
    ),
]
