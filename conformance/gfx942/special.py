"""Reciprocals, roots, exponentials, logarithms, sines: the instructions whose results are approximate.

The manual grants v_rcp, v_rsq, v_sqrt, v_exp, v_log, v_sin and v_cos of float32 and float16 1 ulp; here
they are computed in float64 and rounded, within 1/2 ulp. The float32 ones neither take nor give denormals,
whatever the denormal mode: LLVM's AMDGPU backend scales around each of them for that reason
(AMDGPULegalizerInfo.cpp: sqrt, log, exp, rcp at 1 ulp), so code that forgets to scale is seen. The float64
ones are good to about 2**-29 relative (LLVM's AMDGPU backend refines them with Newton steps); here they are
rounded to 29 bits, so that code without the refinement is seen.
"""

import numpy as np
from numpy.typing import NDArray

from .fma import Array
from .parts import flush

_CIRCLE = 2 * np.pi


def rcp32(x: Array) -> NDArray[np.float32]:
    """v_rcp_f32."""
    return _flushed(np.divide(1.0, flush(x), dtype=np.float64))


def rsq32(x: Array) -> NDArray[np.float32]:
    """v_rsq_f32."""
    return _flushed(1.0 / np.sqrt(flush(x), dtype=np.float64))


def sqrt32(x: Array) -> NDArray[np.float32]:
    """v_sqrt_f32."""
    return _flushed(np.sqrt(flush(x), dtype=np.float64))


def exp2_32(x: Array) -> NDArray[np.float32]:
    """v_exp_f32: 2**x."""
    return _flushed(np.exp2(x, dtype=np.float64))


def log2_32(x: Array) -> NDArray[np.float32]:
    """v_log_f32: the logarithm to base 2."""
    return _flushed(np.log2(flush(x), dtype=np.float64))


def sin32(x: Array) -> NDArray[np.float32]:
    """v_sin_f32: sin(2 pi x); 0 where |x| > 256, the end of its domain."""
    return _flushed(_turn(np.sin, x, 0.0))


def cos32(x: Array) -> NDArray[np.float32]:
    """v_cos_f32: cos(2 pi x); 1 where |x| > 256, the end of its domain."""
    return _flushed(_turn(np.cos, x, 1.0))


def rcp16(x: Array) -> NDArray[np.float16]:
    """v_rcp_f16."""
    return np.divide(1.0, x, dtype=np.float64).astype(np.float16)


def rsq16(x: Array) -> NDArray[np.float16]:
    """v_rsq_f16."""
    return (1.0 / np.sqrt(x, dtype=np.float64)).astype(np.float16)


def sqrt16(x: Array) -> NDArray[np.float16]:
    """v_sqrt_f16."""
    return np.sqrt(x, dtype=np.float64).astype(np.float16)


def exp2_16(x: Array) -> NDArray[np.float16]:
    """v_exp_f16."""
    return np.exp2(x, dtype=np.float64).astype(np.float16)


def log2_16(x: Array) -> NDArray[np.float16]:
    """v_log_f16."""
    return np.log2(x, dtype=np.float64).astype(np.float16)


def sin16(x: Array) -> NDArray[np.float16]:
    """v_sin_f16: as `sin32`."""
    return _turn(np.sin, x, 0.0).astype(np.float16)


def cos16(x: Array) -> NDArray[np.float16]:
    """v_cos_f16: as `cos32`."""
    return _turn(np.cos, x, 1.0).astype(np.float16)


def rcp64(x: Array) -> NDArray[np.float64]:
    """v_rcp_f64."""
    return _coarse(1.0 / x)


def rsq64(x: Array) -> NDArray[np.float64]:
    """v_rsq_f64."""
    return _coarse(1.0 / np.sqrt(x))


def sqrt64(x: Array) -> NDArray[np.float64]:
    """v_sqrt_f64."""
    return _coarse(np.sqrt(x))


def _flushed(x: NDArray[np.float64]) -> NDArray[np.float32]:
    return flush(x.astype(np.float32))


def _turn(function: np.ufunc, x: Array, beyond: float) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    value = function((x - np.rint(x)) * _CIRCLE)
    return np.where((np.abs(x) > 256) & np.isfinite(x), beyond, value)


def _coarse(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x rounded to 29 significant bits, ties away."""
    bits = (x.view(np.int64) + (1 << 23)) & -(1 << 24)
    return np.where(np.isfinite(x), bits.view(np.float64), x)
