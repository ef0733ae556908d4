"""Conversions between number formats."""

from .row import NaN, Row, f16, f32, f64, u32

INF = float("inf")
NAN16, NAN32, NAN64 = 0x7E00, 0x7FC00000, 0x7FF8 << 48

ROWS = [
    Row("v_cvt_f32_i32_e32 v0, v1", {"v1": [u32(-3), 0x1000001, 0x80000000]},
        {"v0": f32(-3.0, 16777216.0, -(2.0**31))}),
    Row("v_cvt_f32_u32_e32 v0, v1", {"v1": [3, 0x1000003, u32(-1)]}, {"v0": f32(3.0, 16777220.0, 2.0**32)}),
    Row("v_cvt_f32_f16_e32 v0, v1", {"v1": [0xABCD0000 | f16(-1.5), f16(2.0**-24), f16(INF)]},
        {"v0": f32(-1.5, 2.0**-24, INF)}),
    Row("v_cvt_f32_f64_e32 v0, v[2:3]", {"v[2:3]": f64(1.5, 1 + 2.0**-24, 2.0**-149, 1e300)},
        {"v0": f32(1.5, 1.0, 2.0**-149, INF)}),
    Row("v_cvt_f64_f32_e32 v[0:1], v2", {"v2": f32(-1.5, 2.0**-149, INF)},
        {"v[0:1]": f64(-1.5, 2.0**-149, INF)}),
    Row("v_cvt_f64_i32_e32 v[0:1], v2", {"v2": [u32(-3), 0x7FFFFFFF]}, {"v[0:1]": f64(-3.0, 2.0**31 - 1)}),
    Row("v_cvt_f64_u32_e32 v[0:1], v2", {"v2": [3, u32(-1)]}, {"v[0:1]": f64(3.0, 2.0**32 - 1)}),
    # Ties to even, into denormals and over the edge.
    Row(
        "v_cvt_f16_f32_e32 v0, v1",
        {"v1": [*f32(-1.5, 2049.0, 2051.0, 2.0**-25, 1.5 * 2.0**-24, 65519.0, 65520.0), NAN32]},
        {"v0": [*f16(-1.5, 2048.0, 2052.0, 0.0, 2 * 2.0**-24, 65504.0, INF), NaN(16)]},
    ),
    Row("v_cvt_f16_i16_e32 v0, v1", {"v1": [0xABCD0000 | 0xFFFD, 2049]}, {"v0": f16(-3.0, 2048.0)}),
    Row("v_cvt_f16_u16_e32 v0, v1", {"v1": [0xABCD0003, 0xFFFF]}, {"v0": f16(3.0, INF)}),
    # To integers: truncated, clamped, NaN to 0.
    Row(
        "v_cvt_i32_f32_e32 v0, v1",
        {"v1": [*f32(-1.9, 2.9, 3e9, -3e9, -INF), NAN32]},
        {"v0": [u32(-1), 2, 0x7FFFFFFF, 0x80000000, 0x80000000, 0]},
    ),
    Row("v_cvt_u32_f32_e32 v0, v1", {"v1": [*f32(2.9, -1.0, 3e9, 5e9), NAN32]},
        {"v0": [2, 0, 3_000_000_000, u32(-1), 0]}),
    Row("v_cvt_i32_f64_e32 v0, v[2:3]", {"v[2:3]": [*f64(-1.9, 2147483647.5, -1e10), NAN64]},
        {"v0": [u32(-1), 0x7FFFFFFF, 0x80000000, 0]}),
    Row("v_cvt_u32_f64_e32 v0, v[2:3]", {"v[2:3]": [*f64(4294967295.5, -1.0), NAN64]},
        {"v0": [u32(-1), 0, 0]}),
    Row("v_cvt_i16_f16_e32 v0, v1", {"v1": [*f16(-1.9, 40000.0, -INF), NAN16]},
        {"v0": [0xFFFF, 0x7FFF, 0x8000, 0]}),
    Row("v_cvt_u16_f16_e32 v0, v1", {"v1": [*f16(2.9, -1.0, INF), NAN16]}, {"v0": [2, 0, 0xFFFF, 0]}),
    Row("v_cvt_rpi_i32_f32_e32 v0, v1", {"v1": f32(1.5, -1.5, 0.49999997, 2.4)}, {"v0": [2, u32(-1), 0, 2]}),
    Row("v_cvt_flr_i32_f32_e32 v0, v1", {"v1": f32(1.5, -1.5)}, {"v0": [1, u32(-2)]}),
    *(Row(f"v_cvt_f32_ubyte{n}_e32 v0, v1", {"v1": 0xFF804001}, {"v0": f32([1.0, 64.0, 128.0, 255.0][n])})
        for n in range(4)),
    # Pairs in one register.
    Row(
        "v_cvt_pkrtz_f16_f32 v0, v1, v2",
        {"v1": f32(2049.9, 1e6), "v2": f32(-2051.9, 2.0**-25)},
        {"v0": [f16(2048.0) | f16(-2050.0) << 16, f16(65504.0)]},
    ),
    Row("v_cvt_pknorm_i16_f32 v0, v1, v2", {"v1": f32(1.0, -2.0), "v2": [f32(-1.0), NAN32]},
        {"v0": [0x80017FFF, 0x00008001]}),
    Row("v_cvt_pknorm_u16_f32 v0, v1, v2", {"v1": f32(1.0, -2.0), "v2": f32(0.0, 7.0)},
        {"v0": [0xFFFF, 0xFFFF0000]}),
    # 8-bit floats: e4m3 has bias 8, e5m2 bias 16, and 0x80 is their NaN.
    Row("v_cvt_f32_fp8_e32 v0, v1", {"v1": [0xABCDEF40, 0x01, 0x7F, 0xC8, 0x80]},
        {"v0": [*f32(1.0, 2.0**-10, 240.0, -2.0), NaN(32)]}),
    Row("v_cvt_f32_bf8_e32 v0, v1", {"v1": [0x40, 0x01, 0x7F, 0xC4, 0x80]},
        {"v0": [*f32(1.0, 2.0**-17, 57344.0, -2.0), NaN(32)]}),
    *(Row(f"v_cvt_f32_fp8_sdwa v0, v1 src0_sel:BYTE_{n}", {"v1": 0x7F01C840},
        {"v0": f32([1.0, -2.0, 2.0**-10, 240.0][n])}) for n in range(4)),
    Row("v_cvt_f32_bf8_sdwa v0, v1 src0_sel:BYTE_1", {"v1": 0xC400}, {"v0": f32(-2.0)}),
    Row("v_cvt_pk_f32_fp8_e32 v[0:1], v2", {"v2": 0xFFFFC840}, {"v0": f32(1.0), "v1": f32(-2.0)}),
    Row("v_cvt_pk_f32_fp8_sdwa v[0:1], v2 src0_sel:WORD_1", {"v2": 0xC840FFFF},
        {"v0": f32(1.0), "v1": f32(-2.0)}),
    Row("v_cvt_pk_f32_fp8_e32 v[0:1], v0", {"v0": 0xC840}, {"v0": f32(1.0), "v1": f32(-2.0)}),
    Row("v_cvt_pk_f32_bf8_e32 v[0:1], v2", {"v2": 0xC440}, {"v0": f32(1.0), "v1": f32(-2.0)}),
    Row("v_cvt_pk_fp8_f32 v0, v1, v2",
        {"v0": 0xABCD0000, "v1": f32(1.0625, 240.0), "v2": f32(-1.1875, 1000.0)},
        {"v0": [0xABCDC240, 0xABCD807F]}),
    Row("v_cvt_pk_fp8_f32 v0, v1, v2 op_sel:[0,0,1]", {"v0": 0xABCD, "v1": f32(1.0), "v2": f32(-2.0)},
        {"v0": 0xC840ABCD}),
    Row("v_cvt_pk_bf8_f32 v0, v1, v2", {"v0": 0xABCD0000, "v1": f32(1.125), "v2": f32(-1.375)},
        {"v0": 0xABCDC240}),
    # Stochastic: 0 cuts, all ones round up what is not exact.
    *(
        Row(
            f"v_cvt_sr_fp8_f32 v0, v1, v2{select}",
            {"v0": 0x11111111, "v1": f32(1.1, 1.1, 1.0), "v2": [0, u32(-1), u32(-1)]},
            {"v0": [0x11111111 & ~(0xFF << place) | code << place for code in (0x40, 0x41, 0x40)]},
        )
        for place,
            select in ((0, ""), (8, " op_sel:[0,0,1,0]"), (16, " op_sel:[0,0,0,1]"),
            (24, " op_sel:[0,0,1,1]"))
    ),
    Row("v_cvt_sr_bf8_f32 v0, v1, v2", {"v0": 0, "v1": f32(1.1), "v2": [0, u32(-1)]}, {"v0": [0x40, 0x41]}),
    # A mixture of float32 and halves of registers.
    Row(
        "v_fma_mix_f32 v0, v1, -v2, |v3| op_sel:[0,1,0] op_sel_hi:[0,1,0]",
        {"v1": f32(1.5), "v2": f16(2.0) << 16, "v3": f32(-0.25)},
        {"v0": f32(-2.75)},
    ),
    Row("v_fma_mixlo_f16 v0, s10, v3, 0", {"v0": 0xABCD0000, "s10": f32(0.5), "v3": f32(3.0)},
        {"v0": 0xABCD0000 | f16(1.5)}),
    Row("v_fma_mixhi_f16 v0, v1, v3, 1.0 op_sel_hi:[1,0,1]", {"v0": 0xABCD, "v1": f16(0.5), "v3": f32(3.0)},
        {"v0": 0xABCD | f16(2.5) << 16}),
    Row("v_fma_mixlo_f16 v0, v1, v3, 0 clamp", {"v0": 0, "v1": f32(2.0, -1.0), "v3": f32(3.0)},
        {"v0": f16(1.0, 0.0)}),
]  # fmt: skip
