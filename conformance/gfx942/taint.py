"""Follows poisoned values through registers: from loads to the stores that must not see them.

Poison is followed as data: through arithmetic, moves, lane crossings, LDS and matrix cores, not through
comparisons, so that a value that a mask then drops is no finding. It is known for each lane of a register,
not for each of its bytes. `Group.taint` holds the poisoned lanes of a register; a scalar register has the
same for all lanes, behind SCALAR_BITS.
"""

from collections.abc import Callable

import numpy as np

from . import layouts
from .flight import SCALAR_BITS
from .matrix import SHAPES
from .operands import Operand
from .program import Instruction
from .state import LANES, Group
from .vector import dpp_lanes

Array = np.ndarray


def follow_poison(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    """After an instruction on a group that holds poisoned lanes: which lanes of its result are poisoned."""
    name = instruction.opcode
    if not operands or operands[0].space not in "vs":
        return
    if name in LANE_CROSSINGS:
        LANE_CROSSINGS[name](g, instruction, operands)
    elif name in SHAPES:
        _matrix(g, instruction, operands)
    elif name.startswith("v_"):
        result, *given = operands
        if result.space == "s" or name.startswith("v_cmp"):
            _set(g, result, None)
        else:
            _vector(g, instruction, result, given)
    elif name.startswith("s_") and not name.startswith(
        ("s_load", "s_cmp", "s_bitcmp", "s_buffer", "s_wait", "s_memtime")
    ):
        result, *given = operands
        if result.space == "s":
            _set(g, result, _any(g, given))


def rows_taint(g: Group, rows: list[int]) -> Array:
    """Lanes poisoned in any of these vector registers."""
    found = [g.taint[row] for row in rows if row in g.taint]
    return np.logical_or.reduce(found) if found else np.zeros(g.exec.shape, bool)


def _vector(g: Group, instruction: Instruction, result: Operand, given: list[Operand]) -> None:
    if instruction.opcode == "v_cndmask_b32":
        lanes = _chosen(g, instruction, given)
    elif "dpp" in instruction.encoding:
        lanes = _joined(_moved(g, instruction, _any(g, given[:1])), _any(g, given[1:]))
    else:
        lanes = _any(g, given)
    keeps = (
        instruction.opcode.startswith(("v_fmac", "v_dot", "v_mac"))
        or "UNUSED_PRESERVE" in instruction.modifiers.values()
    )
    for row in result.rows:
        before = g.taint.pop(row, None)
        if before is not None and not keeps:
            before = (
                None if g.full and "dpp" not in instruction.encoding else before & ~_written(g, instruction)
            )
        made = lanes if lanes is None or g.full else lanes & g.exec
        total = _joined(before, made)
        if total is not None and total.any():
            g.taint[row] = total


def _any(g: Group, given: list[Operand]) -> Array | None:
    """Lanes poisoned in any of these operands."""
    found = [g.taint[key] for each in given for key in _keys(each) if key in g.taint]
    return np.logical_or.reduce(found) if found else None


def _keys(operand: Operand) -> list[int]:
    if operand.space not in ("v", "s"):
        return []
    return [row + (SCALAR_BITS if operand.space == "s" else 0) for row in operand.rows]


def _set(g: Group, result: Operand, lanes: Array | None) -> None:
    for key in _keys(result):
        if lanes is not None and lanes.any():
            g.taint[key] = lanes
        else:
            g.taint.pop(key, None)


def _joined(*parts: Array | None) -> Array | None:
    found = [each for each in parts if each is not None]
    return np.logical_or.reduce(found) if found else None


def _chosen(g: Group, instruction: Instruction, given: list[Operand]) -> Array | None:
    first, second = (_any(g, [each]) for each in given[:2])
    if first is None and second is None:
        return None
    if "dpp" in instruction.encoding:
        first = _moved(g, instruction, first)
    nothing = np.zeros(g.exec.shape, bool)
    return np.where(
        g.mask(given[2].row), nothing if second is None else second, nothing if first is None else first
    )


def _moved(g: Group, instruction: Instruction, lanes: Array | None) -> Array | None:
    """As DPP moves the first source."""
    if lanes is None:
        return None
    source, exists = dpp_lanes(instruction)
    return lanes[:, source] & exists & _written(g, instruction)


def _written(g: Group, instruction: Instruction) -> Array:
    """The lanes of EXEC that DPP's row and bank masks leave."""
    lane = np.arange(LANES)
    rows, banks = (int(instruction.modifiers.get(name, "0xf"), 0) for name in ("row_mask", "bank_mask"))
    written = g.exec & (((rows >> lane // 16) & 1) & ((banks >> lane % 16 // 4) & 1)).astype(bool)
    if "dpp" in instruction.encoding and "bound_ctrl" not in instruction.modifiers:
        written &= dpp_lanes(instruction)[1]
    return written


def _first_lane(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    lanes = _any(g, operands[1:2])
    if lanes is not None:
        lanes = np.take_along_axis(lanes, g.exec.argmax(axis=1)[:, None], axis=1)
    _set(g, operands[0], _everywhere(g, lanes))


def _read_lane(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    lanes, which = _any(g, operands[1:2]), operands[2]
    if lanes is not None:
        number = np.array(int(which.value)) if which.space == "c" else g.s[which.row].astype(np.int64)
        lanes = np.take_along_axis(lanes, np.broadcast_to(number & (LANES - 1), (g.width, 1)), axis=1)
    _set(g, operands[0], _everywhere(g, lanes))


def _everywhere(g: Group, lanes: Array | None) -> Array | None:
    return None if lanes is None else np.broadcast_to(lanes, g.exec.shape).copy()


def _write_lane(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    lanes, which = _any(g, operands[1:2]), operands[2]
    number = np.array(int(which.value)) if which.space == "c" else g.s[which.row].astype(np.int64)
    here = np.arange(LANES) == (number & (LANES - 1))
    before = _any(g, operands[:1])
    _set(
        g,
        operands[0],
        _joined(None if before is None else before & ~here, None if lanes is None else lanes & here),
    )


def _permute(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    """ds_bpermute and ds_permute: the value is in flight, and its poison with it."""
    lanes = _any(g, operands[2:3])
    if lanes is None:
        return
    address = g.v[operands[1].row] + np.uint32(int(instruction.modifiers.get("offset", "0"), 0))
    lane = (address >> np.uint32(2)).astype(np.int64) & (LANES - 1)
    lanes = lanes & g.exec
    if instruction.opcode == "ds_bpermute_b32":
        moved = np.take_along_axis(lanes, lane, axis=1)
    else:
        moved = np.zeros_like(lanes)
        wave = np.broadcast_to(np.arange(g.width)[:, None], lanes.shape)
        moved[wave[lanes], lane[lanes]] = True
    _in_flight(g, moved)


def _swizzle(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    from .opcodes.local_share import swizzle_lanes

    lanes = _any(g, operands[1:2])
    if lanes is not None:
        _in_flight(g, (lanes & g.exec)[:, swizzle_lanes(instruction)])


def _in_flight(g: Group, lanes: Array) -> None:
    if lanes.any():
        g.queue[-1].taint = (lanes & g.exec)[None]


def _swap(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    first, second = (_any(g, [each]) for each in operands[:2])
    for target, kept, given in ((operands[0], first, second), (operands[1], second, first)):
        kept = None if kept is None else kept & ~g.exec
        _set(g, target, _joined(kept, None if given is None else given & g.exec))


def _matrix(g: Group, instruction: Instruction, operands: list[Operand]) -> None:
    """A poisoned element spoils its row or column of the product."""
    shape, (result, *given) = SHAPES[instruction.opcode], operands
    if not any(key in g.taint for each in (*given, result) for key in _keys(each)):
        return
    a, b, c = (
        _registers(g, each, number)
        for each, number in zip(given, (shape.a_registers, shape.b_registers, shape.c_registers), strict=True)
    )
    options = {name: int(value, 0) for name, value in instruction.modifiers.items()}
    if options.get("cbsz") and shape.c != "f64":
        a = layouts.broadcast_a(a, options["cbsz"], options.get("abid", 0))
    if options.get("blgp") and shape.c != "f64":
        b = layouts.permute_b(b, options["blgp"])
    left = (layouts.rows(shape, a, False) != 0).any(axis=0)
    right = (layouts.columns(shape, b, False) != 0).any(axis=0)
    before = layouts.addend(shape, c, False) != 0
    spoiled = np.where(left | right | before, np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0))
    made = np.empty_like(c)
    layouts.store(shape, spoiled if shape.c == "f64" else spoiled.astype(np.uint32), made, False)
    for row, lanes in zip(result.rows, made != 0, strict=True):
        g.taint.pop(row, None)
        if lanes.any():
            g.taint[row] = lanes


def _registers(g: Group, operand: Operand, number: int) -> Array:
    """All bits of a poisoned lane set, none of the others."""
    made = np.zeros((number, g.width, LANES), np.uint32)
    for place, key in enumerate(_keys(operand)):
        if key in g.taint:
            made[place] = np.where(g.taint[key], np.uint32(0xFFFFFFFF), np.uint32(0))
    return made


LANE_CROSSINGS: dict[str, Callable[[Group, Instruction, list[Operand]], None]] = {
    "v_readfirstlane_b32": _first_lane,
    "v_readlane_b32": _read_lane,
    "v_writelane_b32": _write_lane,
    "v_swap_b32": _swap,
    "ds_bpermute_b32": _permute,
    "ds_permute_b32": _permute,
    "ds_swizzle_b32": _swizzle,
}
