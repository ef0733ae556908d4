"""Scalar loads."""

from .row import MEMORY, Row

WORDS = [100 + k for k in range(64)]


def _load(number: int) -> Row:
    width = f"x{number}" if number > 1 else ""
    registers = f"s[16:{15 + number}]" if number > 1 else "s16"
    after = {f"s{16 + k}": WORDS[4 + k] for k in range(number)}
    return Row(f"s_load_dword{width} {registers}, s[2:3], 0x10", {"s[2:3]": MEMORY}, after, memory=WORDS)


def _buffer_load(number: int) -> Row:
    width = f"x{number}" if number > 1 else ""
    registers = f"s[16:{15 + number}]" if number > 1 else "s16"
    after = {f"s{16 + k}": WORDS[4 + k] for k in range(number)}
    before = {"s[4:5]": MEMORY, "s6": 256, "s7": 0x27000}
    return Row(f"s_buffer_load_dword{width} {registers}, s[4:7], 0x10", before, after, memory=WORDS)


ROWS = [
    *(_load(number) for number in (1, 2, 4, 8, 16)),
    *(_buffer_load(number) for number in (1, 2, 4, 8, 16)),
    Row("s_load_dword s16, s[2:3], -0x8", {"s[2:3]": MEMORY + 16}, {"s16": WORDS[2]}, memory=WORDS),
    Row("s_load_dword s16, s[2:3], s4 offset:0x8", {"s[2:3]": MEMORY, "s4": 12}, {"s16": WORDS[5]},
        memory=WORDS),
    Row("s_load_dwordx2 s[2:3], s[2:3], 0x0", {"s[2:3]": MEMORY}, {"s2": WORDS[0], "s3": WORDS[1]},
        memory=WORDS),
    Row("s_load_dwordx2 vcc, s[2:3], 0x4", {"s[2:3]": MEMORY}, {"vcc": WORDS[1] | WORDS[2] << 32},
        memory=WORDS),
    # Beyond the end of a buffer: 0.
    Row("s_buffer_load_dwordx2 s[16:17], s[4:7], s8", {"s[4:5]": MEMORY, "s6": 16, "s7": 0x27000, "s8": 12},
        {"s16": WORDS[3], "s17": 0}, memory=WORDS, reported="the hardware drops it"),
    # The old value stays until it is waited for.
    Row("s_load_dword s16, s[2:3], 0x0\ns_waitcnt lgkmcnt(0)\ns_add_i32 s17, s16, 1", {"s[2:3]": MEMORY},
        {"s16": 100, "s17": 101, "scc": 0}, memory=WORDS),
    Row(
        "s_memtime s[16:17]\ns_waitcnt lgkmcnt(0)\ns_memtime s[18:19]\ns_waitcnt lgkmcnt(0)\n"
        "s_cmp_lg_u64 s[16:17], s[18:19]\ns_mov_b64 s[16:17], 0\ns_mov_b64 s[18:19], 0",
        {}, {"s[16:17]": 0, "s[18:19]": 0, "scc": 1}),
    Row("s_memrealtime s[16:17]\ns_waitcnt lgkmcnt(0)\ns_cmp_eq_u64 s[16:17], 0\ns_mov_b64 s[16:17], 0", {},
        {"s[16:17]": 0, "scc": 0}),
]  # fmt: skip
