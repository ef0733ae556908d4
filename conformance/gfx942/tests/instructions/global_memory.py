"""Vector memory: buffer, global, flat and scratch, loads, stores and atomics."""

from .row import FULL, MEMORY, PARTIAL, Row, f16, f32, f64, u32, u64

WORDS = [0x03020100 + 0x04040404 * k for k in range(64)]  # byte k holds k
NEGATIVE = [0xF3F2F180, 0x8001FFFE, 0x44332211, 0xDEADBEEF]
DATA = {"v2": 0xAABBCCDD, "v3": 0x11223344, "v4": 0x55667788, "v5": 0x99887766}
FIRST = 1  # EXEC of one lane
BEYOND = "beyond 2 GiB (the hardware drops it)"
LENGTH = 4 * len(WORDS)


def buffer(records: int) -> dict[str, int]:
    """s[12:15], a raw buffer of that many bytes."""
    return {"s[12:13]": MEMORY, "s14": records, "s15": 0x27000}


# An address at byte `at` of the row's memory, in the four ways: (operands behind the data, registers).
def _places(at: int) -> dict[str, tuple[str, dict]]:
    return {
        "buffer": ("v1, s[12:15], 0 offen offset:4", {"v1": at - 4, **buffer(LENGTH)}),
        "global": ("v[10:11], off offset:-4", {"v[10:11]": MEMORY + at + 4}),
        "flat": ("v[10:11]", {"v[10:11]": MEMORY + at}),
    }


LOADS = {  # what is at byte 8 of WORDS, as the registers v2, v3, ... get it
    "ubyte": [0x08], "sbyte": [0x08], "ushort": [0x0908], "sshort": [0x0908], "dword": WORDS[2:3],
        "dwordx2": WORDS[2:4],
    "dwordx3": WORDS[2:5], "dwordx4": WORDS[2:6],
}  # fmt: skip
STORES = {  # the words from byte 8 on, after DATA is stored there
    "byte": [0x0B0A09DD], "byte_d16_hi": [0x0B0A09BB], "short": [0x0B0ACCDD], "short_d16_hi": [0x0B0AAABB],
        "dword": [0xAABBCCDD],
    "dwordx2": [0xAABBCCDD, 0x11223344], "dwordx3": [0xAABBCCDD, 0x11223344, 0x55667788],
    "dwordx4": [0xAABBCCDD, 0x11223344, 0x55667788, 0x99887766],
}  # fmt: skip
SIGNS = {
    "ubyte": (0x80, 0xFE),
    "sbyte": (u32(-128), u32(-2)),
    "ushort": (0xF180, 0xFFFE),
    "sshort": (u32(-0xE80), u32(-2)),
}
HALVES = {"ubyte": 0x0080, "sbyte": 0xFF80, "short": 0xF180}


def _registers(number: int, first: int = 2) -> str:
    return f"v{first}" if number == 1 else f"v[{first}:{first + number - 1}]"


def _loads() -> list[Row]:
    rows = []
    for kind, found in LOADS.items():
        after = {f"v{2 + k}": word for k, word in enumerate(found)}
        for space, (place, before) in _places(8).items():
            rows.append(
                Row(f"{space}_load_{kind} {_registers(len(found))}, {place}", before, after, memory=WORDS)
            )
    for kind, found in SIGNS.items():
        addresses = [MEMORY, MEMORY + 4]
        rows.append(
            Row(
                f"global_load_{kind} v2, v[10:11], off",
                {"v[10:11]": addresses},
                {"v2": found},
                memory=NEGATIVE,
            )
        )
        rows.append(
            Row(
                f"buffer_load_{kind} v2, v1, s[12:15], 0 offen",
                {"v1": [0, 4], **buffer(16)},
                {"v2": found},
                memory=NEGATIVE,
            )
        )
    for kind, found in HALVES.items():
        for half, whole in (("", 0x12340000 | found), ("_hi", found << 16 | 0x5678)):
            for space, (place, before) in _places(8).items():
                memory = [0, 0, *NEGATIVE, *WORDS[6:]]
                rows.append(
                    Row(
                        f"{space}_load_{kind}_d16{half} v2, {place}",
                        {"v2": 0x12345678, **before},
                        {"v2": whole},
                        memory=memory,
                    )
                )
    return rows


def _stores() -> list[Row]:
    rows = []
    for kind, found in STORES.items():
        number = int(kind[6:] or 1) if kind.startswith("dword") else 1
        after = {2 + k: word for k, word in enumerate(found)}
        for space, (place, before) in _places(8).items():
            operands = f"{_registers(number)}, {place}"
            if space != "buffer":  # the address comes first
                address, _, rest = place.partition(", ")
                operands = f"{address}, {_registers(number)}" + (f", {rest}" if rest else "")
            rows.append(
                Row(
                    f"{space}_store_{kind} {operands}",
                    {**DATA, **before},
                    {},
                    exec=FIRST,
                    memory=WORDS,
                    memory_after=after,
                )
            )
    return rows


WHOLE = [  # (name, old, given, new)
    ("swap", 7, 9, 9), ("add", -1, 2, 1), ("sub", 1, 2, -1), ("smin", -1, 5, -1), ("smax", -1, 5, 5),
        ("umin", -1, 5, 5), ("umax", -1, 5, -1),
    ("and", 0b1100, 0b1010, 0b1000), ("or", 0b1100, 0b1010, 0b1110), ("xor", 0b1100, 0b1010, 0b0110),
        ("inc", 4, 5, 5), ("inc", 5, 5, 0),
    ("dec", 4, 5, 3), ("dec", 0, 5, 5), ("dec", 7, 5, 5),
]  # fmt: skip
REAL = [
    ("add_f32", f32(1.5), f32(-0.25), f32(1.25), 1),
    ("add_f64", f64(1.5), f64(-0.25), f64(1.25), 2),
    ("min_f64", f64(1.5), f64(-0.25), f64(-0.25), 2),
    ("max_f64", f64(1.5), f64(-0.25), f64(1.5), 2),
    ("pk_add_f16", f16(1.5) | f16(2.0) << 16, f16(0.5) | f16(-3.0) << 16, f16(2.0) | f16(-1.0) << 16, 1),
    ("pk_add_bf16", 0x40003FC0, 0xC0403F00, 0xBF804000, 1),
]


def _atomic(
    space: str, name: str, old: int, given: int, new: int, words: int, compared: int | None = None
) -> list[Row]:
    """At byte 8, without and with the old value returned."""
    place, before = _places(8)[space]
    data = [given] if compared is None else [given, compared]
    source = _registers(len(data) * words)
    before = {**before, **{_registers(words, 2 + k * words): each for k, each in enumerate(data)}}
    memory = [0, 0, old & 0xFFFFFFFF, old >> 32 if words == 2 else 77, 88]
    after = {2: new & 0xFFFFFFFF} | ({3: new >> 32} if words == 2 else {})
    rows = []
    for returns in ("", " sc0"):
        result = _registers(words, 2 if space == "buffer" else 6)
        operands = f"{source}, {place}"
        if space != "buffer":
            address, _, rest = place.partition(", ")
            operands = (
                (f"{result}, " if returns else "") + f"{address}, {source}" + (f", {rest}" if rest else "")
            )
        rows.append(
            Row(
                f"{space}_atomic_{name} {operands}{returns}",
                before,
                {result: old} if returns else {},
                exec=FIRST,
                memory=memory,
                memory_after=after,
            )
        )
    return rows


def _atomics() -> list[Row]:
    rows = []
    for space in ("buffer", "global", "flat"):
        for name, old, given, new in WHOLE:
            rows += _atomic(space, name, u32(old), given, u32(new), 1)
            rows += _atomic(space, f"{name}_x2", u64(old), given, u64(new), 2)
        for name, *values, words in REAL:
            rows += _atomic(space, name, *values, words)
        for compared, new in ((7, 9), (6, 7)):
            rows += _atomic(space, "cmpswap", 7, 9, new, 1, compared)
            rows += _atomic(space, "cmpswap_x2", 7 << 40, 9 << 40, new << 40, 2, compared << 40)
    return rows


SCRATCH = [  # private to a lane: each finds what it put there
    Row(
        f"scratch_store_{stored} off, {_registers(number)}, off offset:16\ns_waitcnt vmcnt(0)\n"
        f"scratch_load_{loaded} {_registers(number, 6)}, off, off offset:16",
        {f"v{2 + k}": lambda lane, k=k: 0x8081F0F0 + 0x10001 * lane + k for k in range(number)},
        {f"v{6 + k}": lambda lane, k=k, change=change: change(0x8081F0F0 + 0x10001 * lane + k)
            for k in range(number)},
        exec=FULL,
    )
    for stored, loaded, number, change in (
        ("byte", "ubyte", 1, lambda x: x & 0xFF),
        ("byte", "sbyte", 1, lambda x: u32((x & 0xFF ^ 0x80) - 0x80)),
        ("short", "ushort", 1, lambda x: x & 0xFFFF),
        ("short", "sshort", 1, lambda x: u32((x & 0xFFFF ^ 0x8000) - 0x8000)),
        ("byte_d16_hi", "ubyte", 1, lambda x: x >> 16 & 0xFF),
        ("short_d16_hi", "ushort", 1, lambda x: x >> 16),
        ("dword", "dword", 1, lambda x: x),
        ("dwordx2", "dwordx2", 2, lambda x: x),
        ("dwordx3", "dwordx3", 3, lambda x: x),
        ("dwordx4", "dwordx4", 4, lambda x: x),
    )
] + [
    Row(
        f"scratch_store_dword off, v2, off\ns_waitcnt vmcnt(0)\nscratch_load_{kind}_d16{half} v6, off, off",
        {"v2": NEGATIVE[0], "v6": 0x12345678},
        {"v6": found << 16 | 0x5678 if half else 0x12340000 | found},
        exec=FULL,
    )
    for kind, found in HALVES.items()
    for half in ("", "_hi")
]  # fmt: skip

ROWS = [
    *_loads(),
    *_stores(),
    *_atomics(),
    *SCRATCH,
    Row("scratch_store_dword v1, v2, off\ns_waitcnt vmcnt(0)\nscratch_load_dword v3, off, s1",
        {"v1": 12, "v2": 5, "s1": 12}, {"v3": 5}, exec=FULL),
    # Places.
    Row("global_load_dword v2, v1, s[2:3] offset:8", {"v1": lambda lane: 4 * (lane % 8), "s[2:3]": MEMORY},
        {"v2": lambda lane: WORDS[2 + lane % 8]}, memory=WORDS),
    Row("buffer_load_dword v2, off, s[12:15], s1 offset:8", {"s1": 12, **buffer(LENGTH)}, {"v2": WORDS[5]},
        memory=WORDS),
    Row("buffer_load_dword v2, v1, s[12:15], s1 offen offset:8", {"v1": [0, 4], "s1": 12, **buffer(LENGTH)},
        {"v2": WORDS[5:7]}, memory=WORDS),
    Row("global_load_dword v2, v[10:11], off offset:1", {"v[10:11]": MEMORY}, {"v2": 0x04030201},
        memory=WORDS),
    Row("buffer_load_dwordx4 a[0:3], v1, s[12:15], 0 offen", {"v1": 8, **buffer(LENGTH)},
        {f"a{k}": WORDS[2 + k] for k in range(4)}, memory=WORDS),
    Row("global_load_dwordx2 v[0:1], v[0:1], off", {"v[0:1]": MEMORY + 8}, {"v0": WORDS[2], "v1": WORDS[3]},
        memory=WORDS),
    # Out of a buffer's range: reads give 0, writes and atomics are dropped. Offset 1 << 31 is Triton's for
    # masked lanes; others are told.
    Row("buffer_load_dword v2, v1, s[12:15], 0 offen", {"v1": [8, 0x80000000], **buffer(16)},
        {"v2": [WORDS[2], 0]}, memory=WORDS),
    Row("buffer_load_dword v2, v1, s[12:15], 0 offen", {"v1": [8, 16, 20, u32(-4)], **buffer(16)},
        {"v2": [WORDS[2], 0, 0, 0]}, memory=WORDS, reported=BEYOND),
    Row("buffer_load_ushort v2, v1, s[12:15], 0 offen", {"v1": [14, 16], **buffer(16)}, {"v2": [0x0F0E, 0]},
        memory=WORDS, reported=BEYOND),
    Row("buffer_load_short_d16_hi v2, v1, s[12:15], 0 offen",
        {"v1": 0x80000000, "v2": 0x12345678, **buffer(16)}, {"v2": 0x5678}, memory=WORDS),
    Row("buffer_load_dwordx2 v[2:3], v1, s[12:15], s1 offen offset:4",
        {"v1": [4, 0x80000000], "s1": 4, **buffer(20)}, {"v2": [WORDS[3], 0], "v3": [WORDS[4], 0]},
        memory=WORDS),
    Row("buffer_load_dword v2, v1, s[12:15], s1 offen offset:4", {"v1": [4, 12], "s1": 4, **buffer(20)},
        {"v2": [WORDS[3], 0]}, memory=WORDS, reported=BEYOND),
    Row("buffer_store_dword v2, v1, s[12:15], 0 offen",
        {"v1": lambda lane: 4 * lane if lane < 2 else 0x80000000, "v2": 5, **buffer(4)}, {}, exec=FULL,
        memory=WORDS, memory_after={0: 5}, reported=BEYOND),
    Row("buffer_atomic_add v2, v1, s[12:15], 0 offen sc0", {"v1": [0, 0x80000000], "v2": 1, **buffer(4)},
        {"v2": [0, 0]}, exec=0b11, memory=[0, 9], memory_after={0: 1}),
    # Lanes outside EXEC neither read nor write, wherever they point.
    Row("global_load_dword v2, v[10:11], off",
        {"v[10:11]": lambda lane: MEMORY if PARTIAL >> lane & 1 else 0}, {"v2": WORDS[0]}, exec=PARTIAL,
        memory=WORDS),
    Row("global_store_dword v[10:11], v2, off",
        {"v[10:11]": lambda lane: MEMORY + 4 * lane, "v2": lambda lane: lane}, {}, exec=PARTIAL,
        memory=[9] * 64, memory_after={k: k for k in range(64) if PARTIAL >> k & 1}),
    # Several lanes at one place, one after the other: each gets what the one before left.
    Row(
        "global_atomic_add v6, v[10:11], v2, off sc0",
        {"v[10:11]": [MEMORY, MEMORY + 4], "v2": lambda lane: lane + 1},
        {"v6": lambda lane: 10 * (1 + lane % 2) + sum(range(1 + lane % 2, lane + 1, 2))},
        exec=FULL, memory=[10, 20], memory_after={0: 10 + sum(range(1, 64, 2)), 1: 20 + sum(range(2, 65, 2))},
    ),
    Row(
        "buffer_atomic_cmpswap v[2:3], v1, s[12:15], 0 offen sc0",
        {"v1": 0, "v2": lambda lane: lane + 1, "v3": lambda lane: lane, **buffer(4)},
        {"v2": lambda lane: lane},
        exec=FULL, memory=[0], memory_after={0: 64},
    ),
]  # fmt: skip
