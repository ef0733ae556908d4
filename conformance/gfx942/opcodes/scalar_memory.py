"""Scalar loads (MI300 ISA manual, SMEM): the same bytes for all lanes, into consecutive scalar registers."""

import re

import numpy as np

from ..flight import SCALAR, InFlight, issue
from ..operands import Operand, Read, reader
from ..program import Instruction, ProgramError
from ..state import Group, Step

OPCODES = {"s_memtime", "s_memrealtime"} | {
    f"s_{action}_dword{width}"
    for action in ("load", "buffer_load")
    for width in ("", "x2", "x4", "x8", "x16")
}


def bind(instruction: Instruction, operands: list[Operand]) -> Step | None:
    if instruction.opcode not in OPCODES:
        return None
    if instruction.opcode in ("s_memtime", "s_memrealtime"):
        return _time(instruction, operands)
    match = re.fullmatch(r"s_(load|buffer_load)_dword(?:x(\d+))?", instruction.opcode)
    assert match
    unknown = set(instruction.modifiers) - {"glc", "offset"}
    if unknown:
        raise ProgramError(f"{', '.join(sorted(unknown))} of `{instruction}` is not implemented")
    number, rows, key = int(match[2] or 1), list(operands[0].rows), instruction.index
    base, place = operands[1].row, _offset(operands[2])
    fixed = np.uint64(int(instruction.modifiers.get("offset", "0"), 0) % (1 << 64))
    buffer = match[1] == "buffer_load"

    def step(g: Group) -> None:
        high = g.s[base + 1] & np.uint32(0xFFFF if buffer else 0xFFFFFFFF)
        address = (g.s[base].astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))) + fixed
        inside = place(g)
        values = []
        for word in range(number):
            at = inside + np.uint64(4 * word)
            lanes = at + np.uint64(4) <= g.s[base + 2] if buffer else None
            found, _ = g.machine.load(g, instruction, (address + at) & ~np.uint64(3), 4, lanes)
            values.append(found[0])
        issue(g, InFlight(key, (SCALAR,), rows, values))

    return step


def _offset(operand: Operand) -> Read:
    """An offset in bytes: a register unsigned, an immediate signed (two's complement in 64 bits)."""
    if operand.space == "c":
        return reader(operand, "u64")
    read = reader(operand, "u32")
    return lambda g: read(g).astype(np.uint64)


def _time(instruction: Instruction, operands: list[Operand]) -> Step:
    """A clock that counts instructions: something that grows, the same in every run."""
    rows, key = list(operands[0].rows), instruction.index

    def step(g: Group) -> None:
        now = g.machine.clock()
        values = [np.full((g.width, 1), (now >> shift) & 0xFFFFFFFF, np.uint32) for shift in (0, 32)]
        issue(g, InFlight(key, (SCALAR,), rows, values))

    return step
