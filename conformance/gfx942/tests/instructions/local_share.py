"""LDS: reads, writes, atomics, and the lane crossings that use its crossbar."""

from .row import FULL, PARTIAL, Row, f16, f32, f64, u32, u64

WORDS = [0x03020100 + 0x04040404 * k for k in range(64)]  # byte k holds k
NEGATIVE = [0xF3F2F180, 0x8001FFFE]
FIRST = 1  # EXEC of one lane


def _lane(lane: int) -> int:
    return 1000 + lane


def _word(place: int) -> int:
    return WORDS[place]


def _read(text: str, found: dict, **before) -> Row:
    return Row(text, {"v1": 8, **before}, found, lds=WORDS)


def _write(text: str, after: dict[int, int], lanes: int = FIRST, **before) -> Row:
    data = {"v2": 0xAABBCCDD, "v3": 0x11223344, "v4": 0x55667788, "v5": 0x99887766}
    return Row(text, {"v1": 8, **data, **before}, {}, exec=lanes, lds=WORDS, lds_after=after)


def _atomic(name: str, kind: str, old: int, given: int, new: int, more: int | None = None) -> list[Row]:
    """Without and with the old value returned; a second source where `more` is given."""
    wide = kind.endswith("64")
    data = (
        "v[2:3], v[4:5]"
        if wide and more is not None
        else "v[2:3]"
        if wide
        else "v2, v3"
        if more is not None
        else "v2"
    )
    before = {"v1": 4, "v[2:3]" if wide else "v2": given}
    if more is not None:
        before["v[4:5]" if wide else "v3"] = more
    words = [0, 0, old & 0xFFFFFFFF, old >> 32]
    after = {2: new & 0xFFFFFFFF, 3: new >> 32}
    result = "v[6:7]" if wide else "v6"
    rows = [
        Row(
            f"ds_{name}_rtn_{kind} {result}, v1, {data} offset:4",
            before,
            {result: old},
            exec=FIRST,
            lds=words,
            lds_after=after,
        )
    ]
    if name != "wrxchg":
        rows.append(
            Row(f"ds_{name}_{kind} v1, {data} offset:4", before, {}, exec=FIRST, lds=words, lds_after=after)
        )
    return rows


def _swizzled(offset: str, source, mask: int = FULL) -> Row:
    return Row(
        f"ds_swizzle_b32 v0, v1 offset:{offset}",
        {"v0": 7, "v1": _lane},
        {
            "v0": lambda lane: (
                7 if not mask >> lane & 1 else _lane(source(lane)) if mask >> source(lane) & 1 else 0
            )
        },
        exec=mask,
    )


INTEGERS = [  # (name, old, given, new, another source)
    ("add", -1, 2, 1), ("sub", 1, 2, -1), ("rsub", 1, 5, 4), ("inc", 4, 5, 5), ("inc", 5, 5, 0),
        ("dec", 4, 5, 3), ("dec", 0, 5, 5),
    ("dec", 7, 5, 5), ("min", -1, 5, 5), ("max", -1, 5, -1),
]  # fmt: skip
SIGNED = [("min", -1, 5, -1), ("max", -1, 5, 5)]
BITS = [
    ("and", 0b1100, 0b1010, 0b1000),
    ("or", 0b1100, 0b1010, 0b1110),
    ("xor", 0b1100, 0b1010, 0b0110),
    ("wrxchg", 7, 9, 9),
]

ROWS = [
    # One address. Lane k's own where it is k * 4.
    _read("ds_read_b32 v0, v1", {"v0": _word}, v1=lambda lane: 4 * lane),
    _read("ds_read_b32 v0, v1 offset:4", {"v0": _word(3)}),
    _read("ds_read_b64 v[4:5], v1", {"v4": _word(2), "v5": _word(3)}),
    _read("ds_read_b64 v[4:5], v1 offset:4", {"v4": _word(3), "v5": _word(4)}),
    _read("ds_read_b96 v[4:6], v1", {"v4": _word(2), "v5": _word(3), "v6": _word(4)}),
    _read("ds_read_b128 v[4:7], v1", {f"v{4 + k}": _word(2 + k) for k in range(4)}),
    _read("ds_read_b128 v[0:3], v0", {f"v{k}": _word(4 + k) for k in range(4)}, v0=16),
    _read("ds_read_b32 a0, v1", {"a0": _word(2)}),
    _read("ds_read_u8 v0, v1 offset:3", {"v0": 11}),
    _read("ds_read_u16 v0, v1 offset:1", {"v0": 0x0A09}),
    *(Row(f"ds_read_i{8 * size} v0, v1", {"v1": [0, 1, 4, 6]}, {"v0": found}, lds=NEGATIVE) for size,
        found in ((1, u32(-128, -15, -2, 1)), (2, [u32(-0xE80), u32(-0xD0F), u32(-2), u32(-0x7FFF)]))),
    *(
        Row(f"ds_read_{kind}_d16{half} v0, v1", {"v0": 0x12345678, "v1": 0},
            {"v0": found << 16 | 0x5678 if half else 0x12340000 | found}, lds=NEGATIVE)
        for kind, found in (("u8", 0x80), ("i8", 0xFF80), ("u16", 0xF180))
        for half in ("", "_hi")
    ),
    _write("ds_write_b32 v1, v2 offset:4", {3: 0xAABBCCDD}),
    _write("ds_write_b32 v1, v2", {k: _lane(k) for k in range(64)}, FULL, v1=lambda lane: 4 * lane, v2=_lane),
    _write("ds_write_b8 v1, v2 offset:1", {2: 0x0B0ADD08}),
    _write("ds_write_b16 v1, v2 offset:2", {2: 0xCCDD0908}),
    _write("ds_write_b8_d16_hi v1, v2", {2: 0x0B0A09BB}),
    _write("ds_write_b16_d16_hi v1, v2", {2: 0x0B0AAABB}),
    _write("ds_write_b64 v1, v[2:3]", {2: 0xAABBCCDD, 3: 0x11223344}),
    _write("ds_write_b96 v1, v[2:4] offset:4", {3: 0xAABBCCDD, 4: 0x11223344, 5: 0x55667788}),
    _write("ds_write_b128 v1, v[2:5]", {2: 0xAABBCCDD, 3: 0x11223344, 4: 0x55667788, 5: 0x99887766}),
    # Two addresses, in units of the size or of 64 times the size.
    _read("ds_read2_b32 v[4:5], v1 offset0:1 offset1:4", {"v4": _word(3), "v5": _word(6)}),
    _read("ds_read2_b32 v[4:5], v1 offset1:4", {"v4": _word(2), "v5": _word(6)}),
    _read("ds_read2_b64 v[4:7], v1 offset0:2 offset1:1",
        {"v4": _word(6), "v5": _word(7), "v6": _word(4), "v7": _word(5)}),
    Row("ds_read2st64_b32 v[4:5], v1 offset0:1", {"v1": 8}, {"v4": 66, "v5": 2}, lds=range(80)),
    Row("ds_read2st64_b64 v[4:7], v1 offset1:1", {"v1": 8}, {"v4": 2, "v5": 3, "v6": 130, "v7": 131},
        lds=range(140)),
    _write("ds_write2_b32 v1, v2, v3 offset1:16", {2: 0xAABBCCDD, 18: 0x11223344}),
    _write("ds_write2_b64 v1, v[2:3], v[4:5] offset0:1 offset1:3",
        {4: 0xAABBCCDD, 5: 0x11223344, 8: 0x55667788, 9: 0x99887766}),
    Row("ds_write2st64_b32 v1, v2, v3 offset1:1", {"v1": 8, "v2": 5, "v3": 6}, {}, exec=FIRST, lds=[0] * 80,
        lds_after={2: 5, 66: 6}),
    Row("ds_write2st64_b64 v1, v[2:3], v[4:5] offset1:1", {"v1": 8, "v2": 5, "v3": 6, "v4": 7, "v5": 8}, {},
        exec=FIRST, lds=[0] * 140, lds_after={2: 5, 3: 6, 130: 7, 131: 8}),
    # Atomics.
    *(row for name, old, given, new in INTEGERS
        for row in (*_atomic(name, "u32", u32(old), given, u32(new)),
        *_atomic(name, "u64", u64(old), given, u64(new)))),
    *(row for name, old, given, new in SIGNED
        for row in (*_atomic(name, "i32", u32(old), given, u32(new)),
        *_atomic(name, "i64", u64(old), given, u64(new)))),
    *(
        row
        for name, old, given, new in BITS
        for row in (*_atomic(name, "b32", old, given, new),
            *_atomic(name, "b64", old << 40, given << 40, new << 40))
    ),
    *(row for given, new in ((7, 9), (6, 7))
        for row in (*_atomic("cmpst", "b32", 7, given, new, more=9),
        *_atomic("cmpst", "b64", 7 << 40, given << 40, new << 40, more=9 << 40))),
    *(row for name, given, new in (("add", 0.5, 2.0), ("min", 0.5, 0.5), ("max", 0.5, 1.5))
        for row in (*_atomic(name, "f32", f32(1.5), f32(given), f32(new)),
        *_atomic(name, "f64", f64(1.5), f64(given), f64(new)))),
    *_atomic("pk_add", "f16", f16(1.5) | f16(2.0) << 16, f16(0.5) | f16(-3.0) << 16,
        f16(2.0) | f16(-1.0) << 16),
    *_atomic("pk_add", "bf16", 0x40003FC0, 0xC0403F00, 0xBF804000),
    # Lanes at the same place, one after the other; each gets what it found.
    Row(
        "ds_add_rtn_u32 v0, v1, v2",
        {"v0": 9, "v1": [0, 4], "v2": lambda lane: lane + 1},
        {"v0": lambda lane: (10, 20, 11, 22, 9)[min(lane, 4)]},
        exec=0b1111,
        lds=[10, 20],
        lds_after={0: 14, 1: 26},
    ),
    # Crossbar.
    Row("ds_bpermute_b32 v0, v1, v2", {"v1": lambda lane: 4 * (63 - lane), "v2": _lane},
        {"v0": lambda lane: _lane(63 - lane)}, exec=FULL),
    Row("ds_bpermute_b32 v0, v1, v2 offset:128", {"v1": lambda lane: 4 * lane + 3, "v2": _lane},
        {"v0": lambda lane: _lane((lane + 32) % 64)}, exec=FULL),
    Row(
        "ds_bpermute_b32 v0, v1, v2",
        {"v0": 7, "v1": lambda lane: 4 * (lane ^ 1), "v2": _lane},
        {"v0": lambda lane: 7 if not PARTIAL >> lane & 1 else _lane(lane ^ 1)
            if PARTIAL >> (lane ^ 1) & 1 else 0},
        exec=PARTIAL,
    ),
    Row("ds_permute_b32 v0, v1, v2", {"v1": lambda lane: 4 * (lane // 2), "v2": _lane},
        {"v0": lambda lane: _lane(2 * lane + 1) if lane < 32 else 0}, exec=FULL),
    Row(
        "ds_permute_b32 v0, v1, v2",
        {"v0": 7, "v1": lambda lane: 4 * (lane ^ 1), "v2": _lane},
        {"v0": lambda lane: 7 if not PARTIAL >> lane & 1 else _lane(lane ^ 1)
            if PARTIAL >> (lane ^ 1) & 1 else 0},
        exec=PARTIAL,
    ),
    _swizzled("swizzle(SWAP,16)", lambda lane: lane ^ 16),
    _swizzled("swizzle(REVERSE,8)", lambda lane: lane ^ 7),
    _swizzled("swizzle(BROADCAST,8,3)", lambda lane: lane // 8 * 8 + 3),
    _swizzled("swizzle(QUAD_PERM,3,2,1,0)", lambda lane: lane ^ 3),
    _swizzled('swizzle(BITMASK_PERM,"0pi1p")', lambda lane: lane & 0b101101 ^ 0b00100 | 0b00010),
    _swizzled("0x401f", lambda lane: lane ^ 16),
    _swizzled("0x801b", lambda lane: lane ^ 3),
    _swizzled("0x7c", lambda lane: lane & 0b111100 | 3),
    _swizzled("swizzle(SWAP,1)", lambda lane: lane ^ 1, PARTIAL),
]  # fmt: skip
