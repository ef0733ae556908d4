"""Carries, choices, and what reaches across lanes."""

from .row import FULL, PARTIAL, Lanes, Row, f32, f64, u32, u64

FIRST = (PARTIAL & -PARTIAL).bit_length() - 1  # the first lane of PARTIAL
TWO64, TWO_64 = 2.0**64, 2.0**-64

ROWS = [
    Row("v_add_co_u32_e32 v0, vcc, v1, v2", {"v1": [u32(-1), 1], "v2": [1, 1]},
        {"v0": [0, 2], "vcc": Lanes([1, 0])}),
    Row("v_sub_co_u32_e64 v0, s[0:1], v1, v2", {"v1": [1, 2, 2], "v2": [2, 1, 2]},
        {"v0": [u32(-1), 1, 0], "s[0:1]": Lanes([1, 0, 0])}),
    Row("v_subrev_co_u32_e32 v0, vcc, v1, v2", {"v1": [1, 2], "v2": [2, 1]},
        {"v0": [1, u32(-1)], "vcc": Lanes([0, 1])}),
    Row(
        "v_addc_co_u32_e64 v0, s[4:5], v1, v2, vcc",
        {"v1": [u32(-1), u32(-1), 1], "v2": [0, 0, 1], "vcc": Lanes([1, 0, 1])},
        {"v0": [0, u32(-1), 3], "s[4:5]": Lanes([1, 0, 0])},
    ),
    Row(
        "v_subb_co_u32_e32 v0, vcc, v1, v2, vcc",
        {"v1": [1, 1, 0], "v2": [1, 0, u32(-1)], "vcc": Lanes([1, 1, 0])},
        {"v0": [u32(-1), 0, 1], "vcc": Lanes([1, 0, 1])},
    ),
    Row("v_subbrev_co_u32_e64 v0, s[0:1], 0, v1, s[0:1]", {"v1": [0, 1, 0], "s[0:1]": Lanes([1, 1, 0])},
        {"v0": [u32(-1), 0, 0], "s[0:1]": Lanes([1, 0, 0])}),
    Row(
        "v_mad_u64_u32 v[0:1], s[0:1], v2, v3, v[4:5]",
        {"v2": [u32(-1), 3], "v3": [u32(-1), 5], "v[4:5]": [u64(-1), 7]},
        {"v[0:1]": [(u32(-1) ** 2 - 1) & u64(-1), 22], "s[0:1]": Lanes([1, 0])},
    ),
    Row("v_mad_u64_u32 v[0:1], s[0:1], v2, v3, 3", {"v2": 1 << 31, "v3": 4},
        {"v[0:1]": (1 << 33) + 3, "s[0:1]": 0}),
    # Bit 64 of the exact sum: its sign.
    Row(
        "v_mad_i64_i32 v[0:1], vcc, v2, v3, v[4:5]",
        {"v2": [u32(-1), 2, 0x7FFFFFFF, 0x80000000], "v3": [1, 3, 0x7FFFFFFF, 0x7FFFFFFF],
            "v[4:5]": [0, 4, (1 << 63) - 1, 1 << 63]},
        {
            "v[0:1]": [u64(-1), 10, u64(0x7FFFFFFF**2 + (1 << 63) - 1),
                u64(-(1 << 31) * 0x7FFFFFFF - (1 << 63))],
            "vcc": Lanes([1, 0, 0, 1]),
        },
    ),
    Row("v_cndmask_b32_e32 v0, v1, v2, vcc", {"v1": 1, "v2": 2, "vcc": Lanes([0, 1, 1])}, {"v0": [1, 2, 2]}),
    Row("v_cndmask_b32_e64 v0, 0, -1, s[0:1]", {"s[0:1]": Lanes([0, 1])}, {"v0": [0, u32(-1)]}),
    Row("v_cndmask_b32_e64 v0, -v1, |v2|, s[0:1]", {"v1": f32(1.0), "v2": f32(-2.0), "s[0:1]": Lanes([0, 1])},
        {"v0": f32(-1.0, 2.0)}),
    Row(
        "v_cndmask_b32_sdwa v0, v1, v2, vcc dst_sel:DWORD dst_unused:UNUSED_PAD"
        " src0_sel:DWORD src1_sel:WORD_1",
        {"v1": 0x12345678, "v2": 0x9ABCDEF0, "vcc": Lanes([0, 1])},
        {"v0": [0x12345678, 0x9ABC]},
    ),
    Row("v_swap_b32 v0, v1", {"v0": 1, "v1": [2, 3]}, {"v0": [2, 3], "v1": 1}),
    # One lane.
    Row("v_readfirstlane_b32 s0, v1", {"v1": lambda lane: 100 + lane}, {"s0": 100}, exec=FULL),
    Row("v_readfirstlane_b32 s0, v1", {"v1": lambda lane: 100 + lane}, {"s0": 100 + FIRST}, exec=PARTIAL),
    Row("v_readfirstlane_b32 s0, v1", {"v1": lambda lane: 100 + lane}, {"s0": 100}, exec=0),
    Row("v_readlane_b32 s0, v1, 63", {"v1": lambda lane: 100 + lane}, {"s0": 163}, exec=PARTIAL),
    Row("v_readlane_b32 s0, v1, s2", {"v1": lambda lane: 100 + lane, "s2": 64 + 7}, {"s0": 107},
        exec=PARTIAL),
    Row("v_readlane_b32 s0, v1, m0", {"v1": lambda lane: 100 + lane, "m0": 5}, {"s0": 105}, exec=FULL),
    Row("v_writelane_b32 v0, s1, 3", {"v0": 9, "s1": 5}, {"v0": lambda lane: 5 if lane == 3 else 9}, exec=0),
    Row("v_writelane_b32 v0, 7, s1", {"v0": 9, "s1": 66}, {"v0": lambda lane: 7 if lane == 2 else 9},
        exec=FULL),
    Row("v_mbcnt_lo_u32_b32 v0, -1, 0", {}, {"v0": lambda lane: min(lane, 32)}),
    Row("v_mbcnt_hi_u32_b32 v0, -1, v1", {"v1": 5}, {"v0": lambda lane: max(lane - 32, 0) + 5}),
    Row("v_mbcnt_lo_u32_b32 v0, s1, v1", {"s1": 0b1011, "v1": 10},
        {"v0": lambda lane: 10 + (0, 1, 2, 2, 3)[min(lane, 4)]}),
    # Division. Plain numbers pass; a quotient beyond 2**96 scales the divisor up and sets the flag; so does a
    # denormal quotient, which scales the dividend; a denormal divisor scales all, without flag; zeros give
    # NaN.
    Row(
        "v_div_scale_f32 v0, vcc, v1, v1, v2",
        {"v1": f32(3.0, 2.0**-60, 2.0**100, 2.0**-130), "v2": f32(1.0, 2.0**60, 2.0**-40, 2.0**-120)},
        {"v0": f32(3.0, 2.0**-60 * TWO64, 2.0**100, 2.0**-66), "vcc": Lanes([0, 1, 1, 0])},
    ),
    Row(
        "v_div_scale_f32 v0, s[2:3], v2, v1, v2",
        {"v1": f32(3.0, 2.0**-60, 2.0**100, 2.0**-130), "v2": f32(1.0, 2.0**60, 2.0**-40, 2.0**-120)},
        {"v0": f32(1.0, 2.0**60, 2.0**24, 2.0**-56), "s[2:3]": Lanes([0, 1, 1, 0])},
    ),
    Row(
        "v_div_scale_f64 v[0:1], vcc, v[2:3], v[2:3], v[4:5]",
        {"v[2:3]": f64(3.0, 2.0**-400), "v[4:5]": f64(1.0, 2.0**400)},
        {"v[0:1]": f64(3.0, 2.0**-272), "vcc": Lanes([0, 1])},
    ),
    Row("v_div_fmas_f32 v0, v1, v2, v3",
        {"v1": f32(0.5), "v2": f32(2.0), "v3": f32(3.0, 3.0, 0.5), "vcc": Lanes([0, 1, 1])},
        {"v0": f32(4.0, 4 * TWO64, 1.5 * TWO_64)}),
    Row("v_div_fmas_f64 v[0:1], v[2:3], v[4:5], v[6:7]",
        {"v[2:3]": f64(0.5), "v[4:5]": f64(2.0), "v[6:7]": f64(3.0), "vcc": Lanes([0, 1])},
        {"v[0:1]": f64(4.0, 4 * 2.0**128)}),
]  # fmt: skip
