"""LDS opcodes: reads, writes, two-address forms, atomics, and the lane crossings that use its crossbar (MI300
ISA manual, DS).
"""

import re
from collections.abc import Callable

import numpy as np

from ..flight import LDS, InFlight, issue
from ..operands import Operand, reader
from ..program import Instruction, ProgramError
from ..state import LANES, Group, Step
from .global_memory import ATOMICS, _extended

Array = np.ndarray
_READS = {
    "u8": (1, False),
    "i8": (1, True),
    "u16": (2, False),
    "i16": (2, True),
    "b32": (4, False),
    "b64": (8, False),
    "b96": (12, False),
    "b128": (16, False),
}
_WRITES = {"b8": 1, "b16": 2, "b32": 4, "b64": 8, "b96": 12, "b128": 16}


OPCODES = {
    "ds_swizzle_b32", "ds_bpermute_b32", "ds_permute_b32",
    *(f"ds_read_{kind}" for kind in _READS),
    *(f"ds_read_{kind}_d16{half}" for kind in ("u8", "i8", "u16") for half in ("", "_hi")),
    *(f"ds_write_{kind}" for kind in (*_WRITES, "b8_d16_hi", "b16_d16_hi")),
    *(f"ds_{two}{far}_b{bits}" for two in ("read2", "write2") for far in ("", "st64") for bits in (32, 64)),
    *(
        f"ds_{name}{returns}_{kind}{bits}"
        for names, kind in (
            (("add", "sub", "rsub", "inc", "dec", "min", "max"), "u"), (("min", "max"), "i"),
            (("and", "or", "xor", "cmpst"), "b"), (("add", "min", "max"), "f"),
        )
        for name in names for returns in ("", "_rtn") for bits in (32, 64)
    ),
    *(f"ds_wrxchg_rtn_b{bits}" for bits in (32, 64)),
    *(f"ds_pk_add{returns}_{kind}" for returns in ("", "_rtn") for kind in ("f16", "bf16")),
}  # fmt: skip


def bind(instruction: Instruction, operands: list[Operand]) -> Step | None:
    name = instruction.opcode
    if name not in OPCODES:
        return None
    if name == "ds_swizzle_b32":
        return _swizzle(instruction, operands)
    unknown = set(instruction.modifiers) - {"offset", "offset0", "offset1"}
    if unknown:
        raise ProgramError(f"{', '.join(sorted(unknown))} of `{instruction}` is not implemented")
    if match := re.fullmatch(r"ds_(read|write)2(st64)?_(b32|b64)", name):
        return _two(instruction, operands, match[1], bool(match[2]), 4 if match[3] == "b32" else 8)
    if match := re.fullmatch(r"ds_read_(\w+?)(_d16)?(_hi)?", name):
        half = None if not match[2] else 1 if match[3] else 0
        return _read(instruction, operands, *_READS[match[1]], half)
    if match := re.fullmatch(r"ds_write_(b\d+)(_d16_hi)?", name):
        return _write(instruction, operands, _WRITES[match[1]], bool(match[2]))
    if name in ("ds_bpermute_b32", "ds_permute_b32"):
        return _permute(instruction, operands, backward=name == "ds_bpermute_b32")
    return _atomic(instruction, operands)


def _offset(instruction: Instruction, name: str = "offset") -> np.uint32:
    return np.uint32(int(instruction.modifiers.get(name, "0"), 0))


def _read(
    instruction: Instruction, operands: list[Operand], size: int, signed: bool, half: int | None
) -> Step:
    rows, place, offset, key = (
        list(operands[0].rows),
        reader(operands[1], "u32"),
        _offset(instruction),
        instruction.index,
    )

    def step(g: Group) -> None:
        values, taint = g.machine.read_lds(g, instruction, place(g) + offset, size)
        if signed:
            values = [_extended(values[0], size)]
        issue(g, InFlight(key, (LDS,), rows, values, None if g.full else g.exec, half, taint))

    return step


def _write(instruction: Instruction, operands: list[Operand], size: int, high: bool) -> Step:
    place, rows, offset, key = (
        reader(operands[0], "u32"),
        list(operands[1].rows),
        _offset(instruction),
        instruction.index,
    )

    def step(g: Group) -> None:
        values = [g.v[row] >> np.uint32(16) for row in rows] if high else [g.v[row] for row in rows]
        g.machine.write_lds(g, instruction, place(g) + offset, size, values, rows)
        issue(g, InFlight(key, (LDS,)))

    return step


def _two(instruction: Instruction, operands: list[Operand], action: str, far: bool, size: int) -> Step:
    """Two places an instruction, their offsets counted in units of the size, or of 64 times the size."""
    unit, key, words = np.uint32(size * (64 if far else 1)), instruction.index, size // 4
    offsets = [_offset(instruction, name) * unit for name in ("offset0", "offset1")]
    if action == "read":
        place, rows = reader(operands[1], "u32"), list(operands[0].rows)

        def read(g: Group) -> None:
            base, found, tainted = place(g), [], None
            for offset in offsets:
                values, taint = g.machine.read_lds(g, instruction, base + offset, size)
                found += values
                tainted = taint if tainted is None else tainted | (taint if taint is not None else False)
            issue(g, InFlight(key, (LDS,), rows, found, None if g.full else g.exec, None, tainted))

        return read
    place = reader(operands[0], "u32")
    parts = [list(range(each.row, each.row + words)) for each in operands[1:3]]

    def write(g: Group) -> None:
        base = place(g)
        for offset, rows in zip(offsets, parts, strict=True):
            g.machine.write_lds(g, instruction, base + offset, size, [g.v[row] for row in rows], rows)
        issue(g, InFlight(key, (LDS,)))

    return write


def _permute(instruction: Instruction, operands: list[Operand], backward: bool) -> Step:
    """ds_bpermute: each lane takes the value of the lane its address names; ds_permute: it sends its own
    there.

    The source of a lane outside EXEC gives 0; addresses are in bytes and wrap.
    """
    row, place, data = operands[0].row, reader(operands[1], "u32"), reader(operands[2], "u32")
    offset, key = _offset(instruction), instruction.index

    def step(g: Group) -> None:
        lane = ((place(g) + offset) >> np.uint32(2)).astype(np.int64) & (LANES - 1)
        values = np.broadcast_to(data(g), g.exec.shape)
        live = values if g.full else np.where(g.exec, values, np.uint32(0))
        if backward:
            made = np.take_along_axis(live, np.broadcast_to(lane, g.exec.shape), axis=1)
        else:
            made = np.zeros(g.exec.shape, np.uint32)
            wave = np.broadcast_to(np.arange(g.width)[:, None], g.exec.shape)
            lane = np.broadcast_to(lane, g.exec.shape)
            made[wave[g.exec], lane[g.exec]] = values[g.exec]
        issue(g, InFlight(key, (LDS,), [row], [made], None if g.full else g.exec))

    return step


def _swizzle(instruction: Instruction, operands: list[Operand]) -> Step:
    source, row, key = swizzle_lanes(instruction), operands[0].row, instruction.index
    data = reader(operands[1], "u32")

    def step(g: Group) -> None:
        values = np.broadcast_to(data(g), g.exec.shape)
        live = values if g.full else np.where(g.exec, values, np.uint32(0))
        issue(g, InFlight(key, (LDS,), [row], [np.take(live, source, axis=1)], None if g.full else g.exec))

    return step


def swizzle_lanes(instruction: Instruction) -> Array:
    """Which lane each lane reads, from ds_swizzle's offset (within 32 lanes, or within 4 for QUAD_PERM)."""
    lane, text = np.arange(LANES), instruction.modifiers.get("offset", "")
    inside, group = lane % 32, lane // 32 * 32
    if match := re.fullmatch(r"swizzle\((\w+),\s*(.*)\)", text):
        mode, given = match[1], match[2].split(",")
        if mode == "SWAP":
            return group + (inside ^ int(given[0]))
        if mode == "REVERSE":
            return group + (inside ^ (int(given[0]) - 1))
        if mode == "BROADCAST":
            size, chosen = int(given[0]), int(given[1])
            return group + inside // size * size + chosen
        if mode == "QUAD_PERM":
            return lane // 4 * 4 + np.array([int(each) for each in given])[lane % 4]
        if mode == "BITMASK_PERM":
            return group + _bit_mask(inside, given[0].strip().strip("\"'"))
    if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", text):
        value = int(text, 0)
        if value >= 0xC000:
            raise ProgramError(f"the rotation of `{instruction}` is not implemented")
        if value & 0x8000:
            return lane // 4 * 4 + np.array([(value >> (2 * place)) & 3 for place in range(4)])[lane % 4]
        return group + ((inside & (value & 31)) | ((value >> 5) & 31)) ^ ((value >> 10) & 31)
    raise ProgramError(f"the swizzle of `{instruction}` is not implemented")


def _bit_mask(inside: Array, pattern: str) -> Array:
    made = np.zeros_like(inside)
    for character, bit in zip(pattern, range(4, -1, -1), strict=True):
        own = (inside >> bit) & 1
        made |= {"0": own * 0, "1": own * 0 + 1, "p": own, "i": 1 - own}[character] << bit
    return made


def _atomic(instruction: Instruction, operands: list[Operand]) -> Step:
    match = re.fullmatch(r"ds_(\w+?)(_rtn)?_(u32|i32|b32|u64|i64|b64|f32|f64|f16|bf16)", instruction.opcode)
    assert match
    returns, kind = bool(match[2]), match[3]
    name = _name(match[1], kind)
    size = 8 if kind.endswith("64") else 4
    result = operands[0] if returns else None
    place, data, *more = operands[1:] if returns else operands
    address, offset, key, words = reader(place, "u32"), _offset(instruction), instruction.index, size // 4
    unsigned = "u64" if size == 8 else "u32"
    given_read = reader(data, unsigned)
    other_read = reader(more[0], unsigned) if more else None
    function = ATOMICS[name]
    rows = list(range(result.row, result.row + words)) if result else []

    def step(g: Group) -> None:
        given = np.ascontiguousarray(np.broadcast_to(given_read(g), g.exec.shape)).reshape(-1)
        change: Callable[[Array, Array], Array]
        if name == "cmpswap":
            assert other_read is not None
            new = np.ascontiguousarray(np.broadcast_to(other_read(g), g.exec.shape)).reshape(-1)
            change = lambda old, which: np.where(old == given[which], new[which], old)  # noqa: E731
        else:
            change = lambda old, which: function(old, given[which])  # noqa: E731
        old = g.machine.update_lds(g, instruction, address(g) + offset, size, change)
        values = (
            [old.astype(np.uint32)]
            if size == 4
            else [old.astype(np.uint32), (old >> np.uint64(32)).astype(np.uint32)]
        )
        issue(g, InFlight(key, (LDS,), rows, values if rows else (), None if g.full else g.exec))

    return step


def _name(action: str, kind: str) -> str:
    if action in ("min", "max") and kind[0] in "ui":
        return {"u": "u", "i": "s"}[kind[0]] + action
    if action in ("wrxchg", "cmpst"):
        return {"wrxchg": "swap", "cmpst": "cmpswap"}[action]
    if action == "pk_add":
        return f"pk_add_{kind}"
    return f"{action}_float" if kind[0] == "f" else action
