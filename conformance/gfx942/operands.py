"""Operands: from text to functions that read them from a group's registers, or write them, as arrays of a
type.

Types are "u32 i32 f32 u16 i16 f16 u64 i64 f64"; a pair of registers holds a 64-bit value, low half first.
Inline constants and literals take the operation's type (MI300 ISA manual, "Operands"; LLVM prints 32-bit
literals in hexadecimal).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .program import Instruction, ProgramError
from .state import EXEC, NAMED, Group

Read = Callable[[Group], np.ndarray]
Write = Callable[..., None]
KINDS = {f"{name}{bits}": np.dtype(f"{name}{bits // 8}") for name in "uif" for bits in (16, 32, 64)}
_LISTS = {"u32": "v", "i32": "i", "f32": "f"}


@dataclass(frozen=True)
class Operand:
    """space "v": vector register (accumulation registers behind them), "s": scalar, "c": constant, "scc",
    "off", "symbol": the low (row 0) or high (row 1) half of a function's or a table's address."""

    space: str
    row: int = 0
    dwords: int = 1
    value: int | float = 0
    negate: bool = False
    absolute: bool = False
    extend: bool = False
    symbol: str = ""

    @property
    def rows(self) -> range:
        return range(self.row, self.row + self.dwords)


@lru_cache(maxsize=1 << 14)
def parse(text: str, accumulators: int) -> Operand:
    """An operand's text; accumulation registers start at row `accumulators`. Raises ProgramError if
    unknown.
    """
    negate = absolute = extend = False
    body = text
    if match := re.fullmatch(r"-(\D.*)|neg\((.*)\)", body):
        negate, body = True, match[1] or match[2]
    if match := re.fullmatch(r"\|(.*)\||abs\((.*)\)", body):
        absolute, body = True, match[1] or match[2]
    if match := re.fullmatch(r"sext\((.*)\)", body):
        extend, body = True, match[1]
    if match := re.fullmatch(r"(\S+)@rel32@(lo|hi)([+-]\d+)", body):
        high = match[2] == "hi"
        return Operand(
            "symbol", int(high), value=int(match[3]) - (12 if high else 4), symbol=match[1].strip('"')
        )
    space, row, dwords, value = _locate(body, accumulators)
    return Operand(space, row, dwords, value, negate, absolute, extend)


def _locate(body: str, accumulators: int) -> tuple[str, int, int, int | float]:
    if match := re.fullmatch(r"([vas])(?:(\d+)|\[(\d+)(?::(\d+))?\])", body):
        first = int(match[2] or match[3])
        last = int(match[4] or first)
        offset = accumulators if match[1] == "a" else 0
        return "s" if match[1] == "s" else "v", first + offset, last - first + 1, 0
    if body in NAMED:
        return "s", NAMED[body], 1 if body.endswith(("_lo", "_hi")) or body == "m0" else 2, 0
    if body in ("off", "null"):
        return "off", 0, 0, 0
    if body in ("scc", "src_scc"):
        return "scc", 0, 1, 0
    if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", body):
        return "c", 0, 0, int(body, 0)
    if re.fullmatch(r"-?\d+\.\d*(e[+-]?\d+)?", body):
        return "c", 0, 0, float(body)
    raise ProgramError(f"operand {body!r} is not implemented")


_TURN = {2: 0x3118, 4: 0x3E22F983, 8: 0x3FC45F306DC9C882}  # 1 / (2 pi), by the size of its type


def constant(operand: Operand, kind: str) -> np.ndarray:
    """A constant operand as an array of no dimensions.

    Integers are sign-extended. Real numbers take the instruction's format; a 16-bit integer instruction sees
    the low half of a float32 (LLVM, AMDGPUBaseInfo.cpp, on inline constants of 16-bit operands).
    """
    value, dtype = operand.value, KINDS[kind]
    size = dtype.itemsize
    if isinstance(value, float):
        real = np.dtype("f4") if kind in ("u16", "i16") else np.dtype(f"f{size}")
        made = np.array(value, real)
        if abs(value - 0.15915494) < 1e-8:
            made = np.array(_TURN[real.itemsize], f"u{real.itemsize}").view(real)
        return made.view(f"u{real.itemsize}").astype(f"u{size}").view(dtype)
    if kind == "f64" and not -16 <= value <= 64:
        value <<= 32  # a literal is the high half of a double
    if kind == "i64" and value >= 1 << 31:
        value -= 1 << 32
    return np.array(value & ((1 << 8 * size) - 1), f"u{size}").view(dtype)


def reader(operand: Operand, kind: str, select: int | str = 0) -> Read:
    """Reads an operand with its own sign modifiers. `select` 1 takes the high half of a register for 16-bit
    types.
    """
    read = _plain_reader(operand, kind, select)
    if operand.absolute:
        read = _absolute(read, kind)
    if operand.negate:
        read = _negative(read)
    return read


def _absolute(read: Read, kind: str) -> Read:
    if kind[0] != "f":
        raise ProgramError(f"|...| on a source of type {kind} is not implemented")
    return lambda g: np.abs(read(g))


def _negative(read: Read) -> Read:
    return lambda g: np.negative(read(g))


def _plain_reader(operand: Operand, kind: str, select: int | str) -> Read:
    if operand.space == "c":
        value = constant(operand, kind)
        return lambda g: value
    if operand.space == "symbol":
        return _symbol_reader(operand)
    if operand.space == "scc":
        dtype = KINDS[kind]
        return lambda g: g.scc.astype(dtype)
    if operand.space not in "vs":
        raise ProgramError(f"operand {operand} cannot be read as {kind}")
    return register_reader(operand.space, operand.row, kind, select)


def register_reader(space: str, row: int, kind: str, select: int | str = 0) -> Read:
    """Reads register `row` (and the next one for 64-bit types)."""
    if kind in _LISTS:
        return _word_reader(space + kind[0], row)
    dtype = KINDS[kind]
    if dtype.itemsize == 2:
        start = int(select)
        if space == "v":
            return lambda g: g.v[row].view(dtype)[:, start::2]
        return lambda g: g.s[row].view(dtype)[:, start::2]
    if space == "v":
        return lambda g: _wide(g.v[row], g.v[row + 1]).view(dtype)
    return lambda g: _wide(g.s[row], g.s[row + 1]).view(dtype)


@lru_cache(maxsize=1 << 13)
def _word_reader(name: str, row: int) -> Read:
    if name == "vu":
        return lambda g: g.v[row]
    if name == "vi":
        return lambda g: g.i[row]
    if name == "vf":
        return lambda g: g.f[row]
    if name == "su":
        return lambda g: g.s[row]
    if name == "si":
        return lambda g: g.si[row]
    return lambda g: g.sf[row]


def _wide(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    made = np.empty((*low.shape, 2), np.uint32)
    made[..., 0], made[..., 1] = low, high
    return made.view(np.uint64)[..., 0]


def _symbol_reader(operand: Operand) -> Read:
    """Relative to a program counter of 0, which is what s_getpc_b64 gives: the address itself.

    The assembly counts from the constant in the instruction, 4 bytes behind that counter for the low half, 12
    for the high one, and says so in the number it adds.
    """
    name, more, shift = operand.symbol, int(operand.value), 32 * operand.row
    return lambda g: np.array(((g.machine.symbols[name] + more) >> shift) & 0xFFFFFFFF, np.uint32)


def pair_reader(operand: Operand) -> Read:
    """Reads two scalar registers, or a 64-bit constant, as uint32[2, wavefront, 1]: all that bitwise
    operations need.
    """
    if operand.space == "c":
        value = constant(operand, "u64").reshape(1).view(np.uint32).reshape(2, 1, 1)
        return lambda g: value
    if operand.space != "s":
        raise ProgramError(f"operand {operand} cannot be read as 64 bits")
    rows = slice(operand.row, operand.row + 2)
    return lambda g: g.scalar[rows]


def pair_writer(operand: Operand) -> Write:
    """write(g, uint32[2, wavefront, 1])."""
    if operand.space != "s":
        raise ProgramError(f"a scalar result cannot be written to {operand}")
    row, rows = operand.row, slice(operand.row, operand.row + 2)

    def write(g: Group, values: np.ndarray) -> None:
        g.scalar[rows] = values
        touch(g, row, 2)

    return write


def vector_writer(operand: Operand, kind: str, *, select: int = 0, preserve: bool = False) -> Write:
    """write(g, values, mask): to the lanes of `mask`, or to all where it is None.

    A 16-bit result clears the other half of its register, unless `preserve` (LLVM, SIInstrInfo,
    "zeroesHigh16BitsOfDest").
    """
    if operand.space != "v":
        raise ProgramError(f"a vector result cannot be written to {operand}")
    row, dtype = operand.row, KINDS[kind]
    if kind in _LISTS:
        return _word_writer(row, _LISTS[kind])
    if dtype.itemsize == 2:
        return _half_writer(row, select, preserve or select == 1)
    return _wide_writer(row, dtype)


def _word_writer(row: int, name: str) -> Write:
    def write(g: Group, values: np.ndarray, mask: np.ndarray | None) -> None:
        target = getattr(g, name)[row]
        if mask is None:
            target[...] = values
        else:
            np.copyto(target, values, where=mask)

    return write


def _half_writer(row: int, select: int, preserve: bool) -> Write:
    def write(g: Group, values: np.ndarray, mask: np.ndarray | None) -> None:
        bits = values.view(np.uint16)
        if preserve:
            np.copyto(g.v[row].view(np.uint16)[:, select::2], bits, where=True if mask is None else mask)
        elif mask is None:
            g.v[row][...] = bits
        else:
            np.copyto(g.v[row], bits, where=mask)

    return write


def _wide_writer(row: int, dtype: np.dtype) -> Write:
    def write(g: Group, values: np.ndarray, mask: np.ndarray | None) -> None:
        if not values.shape:
            values = values.reshape(1, 1)
        halves = np.ascontiguousarray(values, dtype).view(np.uint32).reshape(*values.shape, 2)
        where = True if mask is None else mask
        np.copyto(g.v[row], halves[..., 0], where=where)
        np.copyto(g.v[row + 1], halves[..., 1], where=where)

    return write


def scalar_writer(operand: Operand, kind: str) -> Write:
    """write(g, values) to scalar registers; keeps EXEC and the masks made of the registers true to them."""
    if operand.space == "off":
        return lambda g, values: None
    if operand.space != "s":
        raise ProgramError(f"a scalar result cannot be written to {operand}")
    row, dtype, wide = operand.row, KINDS[kind], KINDS[kind].itemsize == 8

    def write(g: Group, values: np.ndarray) -> None:
        if wide:
            halves = np.ascontiguousarray(np.broadcast_to(values, (g.width, 1)), dtype).view(np.uint32)
            g.s[row][:, 0], g.s[row + 1][:, 0] = halves[:, 0], halves[:, 1]
        else:
            g.s[row].view(dtype)[...] = values
        touch(g, row, 2 if wide else 1)

    return write


def touch(g: Group, row: int, number: int) -> None:
    """Forgets what was derived from scalar registers that were just written."""
    if g.masks:
        for each in range(row - 1, row + number):
            g.masks.pop(each, None)
    if row + number > EXEC and row < EXEC + 2:
        g.refresh_exec()


def operands(instruction: Instruction, accumulators: int) -> list[Operand]:
    try:
        return [parse(each, accumulators) for each in instruction.operands]
    except ProgramError as error:
        raise ProgramError(f"{error} in `{instruction}` ({instruction.location})") from None
