"""Floating-point vector opcodes (MI300 ISA manual, chapter "Instructions", VOP1, VOP2, VOP3 and VOPC).

Arithmetic is NumPy's where IEEE 754 leaves no choice; the rest comes from `arithmetic`.
"""

from collections.abc import Callable

import numpy as np

from .. import arithmetic as fp
from ..circle import trig_preop
from ..vector import Op, op

Array = np.ndarray


def _legacy_mul(a: Array, b: Array) -> Array:
    return np.where((a == 0) | (b == 0), np.float32(0), a * b)


def _unsigned_byte(place: int) -> Callable[[Array], Array]:
    return lambda a: ((a >> np.uint32(8 * place)) & np.uint32(0xFF)).astype(np.float32)


def _narrow(kind: type) -> Callable[[Array], Array]:
    return lambda a: a.astype(kind)


def _pack_rtz(a: Array, b: Array) -> Array:
    low, high = (fp.f16_rtz(each).view(np.uint16).astype(np.uint32) for each in (a, b))
    return low | (high << np.uint32(16))


def _pack_norm(kind: type, scale: float) -> Callable[[Array, Array], Array]:
    unsigned, floor = (np.uint16, 0.0) if kind is np.uint16 else (np.int16, -1.0)

    def pack(a: Array, b: Array) -> Array:
        low, high = (
            np.rint(np.clip(np.nan_to_num(each.astype(np.float64)), floor, 1.0) * scale)
            .astype(unsigned)
            .view(np.uint16)
            for each in (a, b)
        )
        return low.astype(np.uint32) | (high.astype(np.uint32) << np.uint32(16))

    return pack


def _dot2(a: Array, b: Array, c: Array) -> Array:
    """v_dot2_f32_f16: the low pair's product is added first, each sum rounded once to float32; float32
    denormals are flushed, going in and coming out, in every mode (LLVM, SIISelLowering.cpp,
    performFMACombine).
    """
    low = [
        (each & np.uint32(0xFFFF)).astype(np.uint16).view(np.float16).astype(np.float32) for each in (a, b)
    ]
    high = [(each >> np.uint32(16)).astype(np.uint16).view(np.float16).astype(np.float32) for each in (a, b)]
    return fp.flush(fp.fma32(high[0], high[1], fp.flush(fp.fma32(low[0], low[1], fp.flush(c)))))


def _class(kind: str) -> Op:
    return op(lambda a, mask: (fp.classify(a) & mask) != 0, "mask", f"{kind} u32")


TABLE: dict[str, Op] = {
    "v_add_f32": op(np.add, "f32", "f32 f32"),
    "v_sub_f32": op(np.subtract, "f32", "f32 f32"),
    "v_subrev_f32": op(lambda a, b: b - a, "f32", "f32 f32"),
    "v_mul_f32": op(np.multiply, "f32", "f32 f32"),
    "v_mul_legacy_f32": op(_legacy_mul, "f32", "f32 f32"),
    "v_fma_f32": op(fp.fma32, "f32", "f32 f32 f32"),
    "v_fmac_f32": op(fp.fma32, "f32", "f32 f32 f32", accumulate=True),
    "v_fmaak_f32": op(fp.fma32, "f32", "f32 f32 f32"),
    "v_fmamk_f32": op(fp.fma32, "f32", "f32 f32 f32"),
    "v_dot2c_f32_f16": op(_dot2, "f32", "u32 u32 f32", accumulate=True),
    "v_dot2_f32_f16": op(_dot2, "f32", "u32 u32 f32"),
    "v_add_f64": op(np.add, "f64", "f64 f64"),
    "v_mul_f64": op(np.multiply, "f64", "f64 f64"),
    "v_fma_f64": op(fp.fma64, "f64", "f64 f64 f64"),
    "v_fmac_f64": op(fp.fma64, "f64", "f64 f64 f64", accumulate=True),
    "v_add_f16": op(np.add, "f16", "f16 f16"),
    "v_sub_f16": op(np.subtract, "f16", "f16 f16"),
    "v_subrev_f16": op(lambda a, b: b - a, "f16", "f16 f16"),
    "v_mul_f16": op(np.multiply, "f16", "f16 f16"),
    "v_fma_f16": op(fp.fma16, "f16", "f16 f16 f16", preserve=True),
    "v_fma_legacy_f16": op(fp.fma16, "f16", "f16 f16 f16"),
    "v_div_fixup_f16": op(fp.div_fixup16, "f16", "f16 f16 f16", preserve=True),
    "v_div_fixup_legacy_f16": op(fp.div_fixup16, "f16", "f16 f16 f16"),
    "v_div_fixup_f32": op(fp.div_fixup32, "f32", "f32 f32 f32"),
    "v_div_fixup_f64": op(fp.div_fixup64, "f64", "f64 f64 f64"),
    "v_rcp_f32": op(fp.rcp32, "f32", "f32"),
    "v_rcp_iflag_f32": op(fp.rcp32, "f32", "f32"),
    "v_rsq_f32": op(fp.rsq32, "f32", "f32"),
    "v_sqrt_f32": op(fp.sqrt32, "f32", "f32"),
    "v_exp_f32": op(fp.exp2_32, "f32", "f32"),
    "v_log_f32": op(fp.log2_32, "f32", "f32"),
    "v_sin_f32": op(fp.sin32, "f32", "f32"),
    "v_cos_f32": op(fp.cos32, "f32", "f32"),
    "v_rcp_f16": op(fp.rcp16, "f16", "f16"),
    "v_rsq_f16": op(fp.rsq16, "f16", "f16"),
    "v_sqrt_f16": op(fp.sqrt16, "f16", "f16"),
    "v_exp_f16": op(fp.exp2_16, "f16", "f16"),
    "v_log_f16": op(fp.log2_16, "f16", "f16"),
    "v_sin_f16": op(fp.sin16, "f16", "f16"),
    "v_cos_f16": op(fp.cos16, "f16", "f16"),
    "v_rcp_f64": op(fp.rcp64, "f64", "f64"),
    "v_rsq_f64": op(fp.rsq64, "f64", "f64"),
    "v_sqrt_f64": op(fp.sqrt64, "f64", "f64"),
    "v_trig_preop_f64": op(trig_preop, "f64", "f64 u32"),
    "v_cvt_f32_i32": op(_narrow(np.float32), "f32", "i32"),
    "v_cvt_f32_u32": op(_narrow(np.float32), "f32", "u32"),
    "v_cvt_f32_f16": op(_narrow(np.float32), "f32", "f16"),
    "v_cvt_f32_f64": op(_narrow(np.float32), "f32", "f64"),
    "v_cvt_f64_f32": op(_narrow(np.float64), "f64", "f32"),
    "v_cvt_f64_i32": op(_narrow(np.float64), "f64", "i32"),
    "v_cvt_f64_u32": op(_narrow(np.float64), "f64", "u32"),
    "v_cvt_f16_f32": op(_narrow(np.float16), "f16", "f32"),
    "v_cvt_f16_i16": op(_narrow(np.float16), "f16", "i16"),
    "v_cvt_f16_u16": op(_narrow(np.float16), "f16", "u16"),
    "v_cvt_i32_f32": op(fp.to_i32, "i32", "f32"),
    "v_cvt_u32_f32": op(fp.to_u32, "u32", "f32"),
    "v_cvt_i32_f64": op(fp.to_i32, "i32", "f64"),
    "v_cvt_u32_f64": op(fp.to_u32, "u32", "f64"),
    "v_cvt_i16_f16": op(fp.to_i16, "i16", "f16"),
    "v_cvt_u16_f16": op(fp.to_u16, "u16", "f16"),
    "v_cvt_rpi_i32_f32": op(fp.cvt_rpi_i32_f32, "i32", "f32"),
    "v_cvt_flr_i32_f32": op(fp.cvt_flr_i32_f32, "i32", "f32"),
    "v_cvt_pkrtz_f16_f32": op(_pack_rtz, "u32", "f32 f32"),
    "v_cvt_pknorm_i16_f32": op(_pack_norm(np.int16, 32767.0), "u32", "f32 f32"),
    "v_cvt_pknorm_u16_f32": op(_pack_norm(np.uint16, 65535.0), "u32", "f32 f32"),
}
for _kind in ("f16", "f32", "f64"):
    TABLE |= {f"v_cmp_class_{_kind}": _class(_kind), f"v_cmpx_class_{_kind}": _class(_kind)}
TABLE |= {f"v_cvt_f32_ubyte{place}": op(_unsigned_byte(place), "f32", "u32") for place in range(4)}

for _kind in ("f16", "f32", "f64"):
    _two, _three = f"{_kind} {_kind}", f"{_kind} {_kind} {_kind}"
    if _kind != "f64":
        TABLE |= {
            f"v_min3_{_kind}": op(fp.min3, _kind, _three, preserve=True),
            f"v_max3_{_kind}": op(fp.max3, _kind, _three, preserve=True),
            f"v_med3_{_kind}": op(fp.med3, _kind, _three, preserve=True),
        }
    TABLE |= {
        f"v_min_{_kind}": op(fp.minimum, _kind, _two),
        f"v_max_{_kind}": op(fp.maximum, _kind, _two),
        f"v_trunc_{_kind}": op(np.trunc, _kind, _kind),
        f"v_ceil_{_kind}": op(np.ceil, _kind, _kind),
        f"v_floor_{_kind}": op(np.floor, _kind, _kind),
        f"v_rndne_{_kind}": op(np.rint, _kind, _kind),
        f"v_fract_{_kind}": op(fp.fract, _kind, _kind),
        f"v_frexp_mant_{_kind}": op(fp.frexp_mant, _kind, _kind),
        f"v_ldexp_{_kind}": op(fp.ldexp, _kind, f"{_kind} i16" if _kind == "f16" else f"{_kind} i32"),
    }
TABLE |= {
    "v_frexp_exp_i16_f16": op(lambda a: fp.frexp_exp(a).astype(np.int16), "i16", "f16"),
    "v_frexp_exp_i32_f32": op(fp.frexp_exp, "i32", "f32"),
    "v_frexp_exp_i32_f64": op(fp.frexp_exp, "i32", "f64"),
}

_ORDERED = {"lt": np.less, "eq": np.equal, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
_TESTS: dict[str, Callable[[Array, Array], Array]] = {
    **_ORDERED,
    "lg": lambda a, b: (a < b) | (a > b),
    "o": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    "u": lambda a, b: np.isnan(a) | np.isnan(b),
    "nlg": lambda a, b: ~((a < b) | (a > b)),
    "neq": np.not_equal,
    "f": lambda a, b: np.zeros(np.broadcast_shapes(a.shape, b.shape), bool),
    "tru": lambda a, b: np.ones(np.broadcast_shapes(a.shape, b.shape), bool),
}
for _name, _function in _ORDERED.items():
    if _name != "eq":
        _TESTS[f"n{_name}"] = lambda a, b, f=_function: ~f(a, b)
for _kind in ("f16", "f32", "f64"):
    for _name, _test in _TESTS.items():
        TABLE[f"v_cmp_{_name}_{_kind}"] = op(_test, "mask", f"{_kind} {_kind}")
        TABLE[f"v_cmpx_{_name}_{_kind}"] = op(_test, "mask", f"{_kind} {_kind}")
