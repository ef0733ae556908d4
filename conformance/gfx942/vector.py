"""Vector instructions: how a short function on arrays becomes a step that reads, computes and writes
registers.

A row of an opcode table is `op(function, result type, source types)`. What the encodings add is done here:
EXEC, source signs, op_sel, DPP lane movement, SDWA selections, clamp and output modifiers (MI300 ISA manual,
sections "Vector ALU Operations", "Data Parallel Processing" and "Sub-Dword Addressing").
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arithmetic import clamp
from .operands import KINDS, Operand, Read, Write, reader, vector_writer
from .program import Instruction, ProgramError
from .state import EXEC, LANES, Group, Step

WORDS = ("u32", "i32", "f32")
NEUTRAL = {"row_mask", "bank_mask", "bound_ctrl"}


@dataclass(frozen=True)
class Op:
    """An opcode: `function` of the sources' arrays gives the result's.

    result "mask" is one bit a lane in a pair of scalar registers. `preserve`: a 16-bit result keeps the other
    half. `accumulate`: the destination is the last source too (v_fmac).
    """

    function: Callable[..., np.ndarray]
    result: str
    sources: tuple[str, ...]
    preserve: bool = False
    accumulate: bool = False

    def bind(self, instruction: Instruction, operands: list[Operand]) -> Step:
        destination, *given = operands
        if self.accumulate:
            given = [*given[: len(self.sources) - 1], replace(destination)]
        if len(given) != len(self.sources):
            raise ProgramError(f"`{instruction}` has {len(given)} sources; expected {len(self.sources)}")
        reads = sources(instruction, given, self.sources)
        if self.result == "mask":
            return _compare(self.function, reads, destination, instruction)
        allowed = lanes_written(instruction)
        if self._direct(instruction, allowed):
            return _direct(
                self.function, reads, destination.row, {"u32": "v", "i32": "i", "f32": "f"}[self.result]
            )
        write = _result_writer(instruction, destination, self.result, self.preserve)
        function = _modified(self.function, self.result, instruction)
        return _computed(function, reads, write, allowed)

    def _direct(self, instruction: Instruction, allowed: Any) -> bool:
        plain = not {"clamp", "mul", "div", "dst_sel"} & set(instruction.modifiers)
        same = self.result in WORDS and all(KINDS[each].itemsize == 4 for each in self.sources)
        return isinstance(self.function, np.ufunc) and plain and same and allowed is None


def op(function: Callable[..., np.ndarray], result: str, given: str, **options: bool) -> Op:
    return Op(function, result, tuple(given.split()), **options)


def _direct(function: np.ufunc, reads: list[Read], row: int, name: str) -> Step:
    """The quick way: the operation writes where the result belongs."""
    first, second = reads[0], reads[-1]
    if name == "v":

        def target(g: Group) -> np.ndarray:
            return g.v[row]
    elif name == "i":

        def target(g: Group) -> np.ndarray:
            return g.i[row]
    else:

        def target(g: Group) -> np.ndarray:
            return g.f[row]

    def one(g: Group) -> None:
        if g.full:
            function(first(g), out=target(g))
        else:
            function(first(g), out=target(g), where=g.exec)

    def two(g: Group) -> None:
        if g.full:
            function(first(g), second(g), out=target(g))
        else:
            function(first(g), second(g), out=target(g), where=g.exec)

    return one if len(reads) == 1 else two


def _computed(function: Callable[..., np.ndarray], reads: list[Read], write: Write, allowed: Any) -> Step:
    if allowed is None and len(reads) == 2:
        first, second = reads
        return lambda g: write(g, function(first(g), second(g)), None if g.full else g.exec)
    if allowed is None:
        return lambda g: write(g, function(*[read(g) for read in reads]), None if g.full else g.exec)
    return lambda g: write(g, function(*[read(g) for read in reads]), allowed(g))


def _compare(
    function: Callable[..., np.ndarray], reads: list[Read], destination: Operand, instruction: Instruction
) -> Step:
    """One bit a lane; lanes outside EXEC give 0. v_cmpx writes EXEC too."""
    if {"clamp", "mul", "div"} & set(instruction.modifiers):
        raise ProgramError(f"the modifiers of `{instruction}` are not implemented")
    row, narrows = destination.row, instruction.opcode.startswith("v_cmpx")
    first, second = reads

    def step(g: Group) -> None:
        lanes = function(first(g), second(g))
        if lanes.shape != g.exec.shape:
            lanes = np.broadcast_to(lanes, g.exec.shape)
        lanes = np.logical_and(lanes, g.exec)
        g.set_mask(row, lanes)
        if narrows:
            g.set_mask(EXEC, lanes)

    return step


def sources(instruction: Instruction, given: list[Operand], kinds: tuple[str, ...]) -> list[Read]:
    """Readers of the sources, with what the encoding does to them."""
    select = _bits(instruction.modifiers.get("op_sel"), len(given) + 1)
    reads = []
    for number, (operand, kind) in enumerate(zip(given, kinds, strict=True)):
        signed = operand.negate or operand.absolute
        bare = replace(operand, negate=False, absolute=False) if signed else operand
        if select[number] and (KINDS[kind].itemsize != 2 or operand.space == "c"):
            raise ProgramError(f"op_sel of source {number + 1} of `{instruction}` is not implemented")
        if instruction.encoding == "_sdwa" and number < 2:
            read = _sdwa_reader(bare, kind, instruction.modifiers.get(f"src{number}_sel", "DWORD"))
        elif "dpp" in instruction.encoding and number == 0:
            read = _dpp_reader(bare, kind, dpp_lanes(instruction), "bound_ctrl" in instruction.modifiers)
        else:
            read = reader(bare, kind, select[number])
        reads.append(_signed(read, operand, kind) if signed else read)
    return reads


def _signed(read: Read, operand: Operand, kind: str) -> Read:
    if (operand.absolute or operand.negate) and kind[0] != "f":
        # Sign modifiers belong to floating-point sources: v_cndmask_b32 and moves take them on the bits.
        read, back = _as_float(read, kind), KINDS[kind]
        return lambda g: _apply_sign(read(g), operand).view(back)
    if operand.absolute or operand.negate:
        return lambda g: _apply_sign(read(g), operand)
    return read


def _as_float(read: Read, kind: str) -> Read:
    floating = np.dtype(f"f{KINDS[kind].itemsize}")
    return lambda g: read(g).view(floating)


def _apply_sign(values: np.ndarray, operand: Operand) -> np.ndarray:
    if operand.absolute:
        values = np.abs(values)
    return np.negative(values) if operand.negate else values


def _result_writer(instruction: Instruction, destination: Operand, kind: str, preserve: bool) -> Write:
    if instruction.encoding == "_sdwa":
        return _sdwa_writer(
            destination,
            kind,
            instruction.modifiers.get("dst_sel", "DWORD"),
            instruction.modifiers.get("dst_unused", "UNUSED_PAD"),
        )
    select = 0
    if KINDS[kind].itemsize == 2 and "op_sel" in instruction.modifiers:
        chosen = instruction.modifiers["op_sel"].strip("[]").split(",")
        count = len(instruction.operands)
        select, preserve = int(len(chosen) == count and chosen[-1].strip() == "1"), True
    return vector_writer(destination, kind, select=select, preserve=preserve)


def _modified(
    function: Callable[..., np.ndarray], kind: str, instruction: Instruction
) -> Callable[..., np.ndarray]:
    """Output modifier, then clamp."""
    made, modifiers = function, instruction.modifiers
    factor = {"2": 2.0, "4": 4.0}.get(modifiers.get("mul", "")) or (
        0.5 if modifiers.get("div") == "2" else None
    )
    if factor is not None:
        # Denormals are kept, so the hardware ignores the factor: whoever wrote it meant another mode.
        raise ProgramError(f"`{instruction}`: an output modifier does nothing where denormals are kept")
    return clamped(made, kind, instruction) if "clamp" in modifiers else made


def clamped(
    function: Callable[..., np.ndarray], kind: str, instruction: Instruction
) -> Callable[..., np.ndarray]:
    """The function with its result clamped: real numbers into 0..1, a NaN to 0; integers to their type's
    range.
    """
    if kind[0] == "f":
        return lambda *given: clamp(function(*given))
    if not re.fullmatch(r"v_(pk_)?(add|sub|subrev|mad)_[ui](16|32)(_[ui](16|24))?", instruction.opcode):
        raise ProgramError(f"clamp of the integer result of `{instruction}` is not implemented")
    dtype = KINDS[kind]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max

    def saturated(*given: np.ndarray) -> np.ndarray:
        return np.clip(function(*[each.astype(np.int64) for each in given]), low, high).astype(dtype)

    return saturated


def _bits(text: str | None, number: int) -> list[int]:
    given = [int(each) for each in text.strip("[]").split(",")] if text else []
    return (given + [0] * number)[:number]


# Sub-dword addressing.
_SELECTIONS = {
    **{f"BYTE_{n}": (8 * n, 0xFF, 8) for n in range(4)},
    "WORD_0": (0, 0xFFFF, 16),
    "WORD_1": (16, 0xFFFF, 16),
    "DWORD": (0, 0xFFFFFFFF, 32),
}


def _sdwa_reader(operand: Operand, kind: str, selection: str) -> Read:
    shift, mask, width = _SELECTIONS[selection]
    raw = reader(replace(operand, extend=False), "u32")
    dtype, small = KINDS[kind], np.dtype(f"i{width // 8}")

    def read(g: Group) -> np.ndarray:
        values = (raw(g) >> np.uint32(shift)) & np.uint32(mask)
        if operand.extend:
            values = values.astype(small).astype(np.int32).view(np.uint32)
        return values.view(dtype) if dtype.itemsize == 4 else values.astype(np.uint16).view(dtype)

    return read


def _sdwa_writer(destination: Operand, kind: str, selection: str, unused: str) -> Write:
    shift, mask, width = _SELECTIONS[selection]
    whole = vector_writer(destination, "u32")
    row, unsigned = destination.row, np.dtype(f"u{KINDS[kind].itemsize}")

    def write(g: Group, values: np.ndarray, lanes: np.ndarray | None) -> None:
        field = (
            np.ascontiguousarray(values).view(unsigned).astype(np.uint32) & np.uint32(mask)
        ) << np.uint32(shift)
        if unused == "UNUSED_PRESERVE":
            field = field | (g.v[row] & np.uint32(~(mask << shift) & 0xFFFFFFFF))
        elif unused == "UNUSED_SEXT" and width < 32:
            top = 32 - width - shift
            signed = (field << np.uint32(top)).view(np.int32) >> np.int32(top)
            field = signed.view(np.uint32)
        whole(g, field, lanes)

    return write


# Data parallel processing: lanes read from other lanes of their row.
def dpp_lanes(instruction: Instruction) -> tuple[np.ndarray, np.ndarray]:
    """(the lane each lane reads, whether there is one), from the control written in the instruction."""
    lane = np.arange(LANES)
    row, place = lane // 16 * 16, lane % 16
    for name, value in instruction.modifiers.items():
        if name == "quad_perm":
            chosen = np.array(_bits(value, 4))
            return lane // 4 * 4 + chosen[lane % 4], np.ones(LANES, bool)
        if name == "row_shl":
            return row + (place + int(value)) % 16, place + int(value) < 16
        if name == "row_shr":
            return row + (place - int(value)) % 16, place >= int(value)
        if name == "row_ror":
            return row + (place - int(value)) % 16, np.ones(LANES, bool)
        if name == "wave_shl":
            return (lane + 1) % LANES, lane + 1 < LANES
        if name == "wave_shr":
            return (lane - 1) % LANES, lane >= 1
        if name == "wave_rol":
            return (lane + 1) % LANES, np.ones(LANES, bool)
        if name == "wave_ror":
            return (lane - 1) % LANES, np.ones(LANES, bool)
        if name == "row_mirror":
            return row + 15 - place, np.ones(LANES, bool)
        if name == "row_half_mirror":
            return row + place // 8 * 8 + 7 - place % 8, np.ones(LANES, bool)
        if name == "row_newbcast":
            return row + int(value), np.ones(LANES, bool)
        if name == "row_bcast" and value == "15":
            return np.maximum(row - 1, 0), lane >= 16
        if name == "row_bcast" and value == "31":
            return np.where(lane >= 32, 31, 0), lane >= 32
    raise ProgramError(f"the DPP control of `{instruction}` is not implemented")


def _dpp_reader(operand: Operand, kind: str, lanes: tuple[np.ndarray, np.ndarray], bounded: bool) -> Read:
    """Values moved between lanes; `bounded`: 0 where the source does not exist, otherwise anything (it is not
    used).
    """
    if operand.space != "v":
        raise ProgramError(f"a DPP source must be a vector register, not {operand}")
    plain = reader(operand, kind)
    source, exists = lanes
    everywhere, zero = bool(exists.all()), KINDS[kind].type(0)

    def move(g: Group) -> np.ndarray:
        return np.take(plain(g), source, axis=1, mode="wrap")

    def move_or_zero(g: Group) -> np.ndarray:
        values = np.take(plain(g), source, axis=1, mode="wrap")
        if g.full:
            return values if everywhere else np.where(exists, values, zero)
        return np.where(exists & g.exec[:, source], values, zero)

    return move_or_zero if bounded else move


def lanes_written(instruction: Instruction) -> Callable[[Group], np.ndarray | None] | None:
    """None: those of EXEC. Otherwise a function: DPP's row and bank masks, and lanes whose source does not
    exist.

    With bound_ctrl such a lane takes 0, otherwise it keeps its old value; the source of a lane outside EXEC
    does not exist either.
    """
    if "dpp" not in instruction.encoding:
        return None
    source, exists = dpp_lanes(instruction)
    lane = np.arange(LANES)
    rows, banks = (int(instruction.modifiers.get(name, "0xf"), 0) for name in ("row_mask", "bank_mask"))
    masked = ((rows >> lane // 16) & 1).astype(bool) & ((banks >> lane % 16 // 4) & 1).astype(bool)
    if "bound_ctrl" in instruction.modifiers:
        wanted = None if masked.all() else masked[None]
        return lambda g: wanted if g.full else g.exec & masked
    whole = (masked & exists)[None]
    always = None if whole.all() else whole
    return lambda g: always if g.full else g.exec & whole & g.exec[:, source]
