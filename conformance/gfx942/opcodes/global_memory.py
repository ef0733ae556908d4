"""Vector memory opcodes: buffer, global, flat and scratch, loads, stores and atomics (MI300 ISA manual,
MUBUF, FLAT).

Sizes in bytes; a load narrower than a register is extended, or put into one half of it (d16).
"""

import re
from collections.abc import Callable

import numpy as np

from ..flight import LDS, VECTOR, InFlight, issue
from ..operands import Operand, Read, reader
from ..program import Instruction, ProgramError
from ..state import Group, Step

Array = np.ndarray
Address = Callable[[Group], tuple[Array, Array | None]]  # (uint64 addresses, lanes that take part; None: all)

WORDS = {"dword": 4, "dwordx2": 8, "dwordx3": 12, "dwordx4": 16}
SIZES = {"ubyte": 1, "sbyte": 1, "byte": 1, "ushort": 2, "sshort": 2, "short": 2} | WORDS
_ACTIONS = {
    *(f"load_{kind}" for kind in ("ubyte", "sbyte", "ushort", "sshort", *WORDS)),
    *(f"load_{kind}_d16{half}" for kind in ("ubyte", "sbyte", "short") for half in ("", "_hi")),
    *(f"store_{kind}" for kind in ("byte", "short", "byte_d16_hi", "short_d16_hi", *WORDS)),
}
_WHOLE = ("swap", "cmpswap", "add", "sub", "umin", "umax", "smin", "smax", "and", "or", "xor", "inc", "dec")
_ATOMICS = {
    *(f"atomic_{name}{wide}" for name in _WHOLE for wide in ("", "_x2")),
    *(f"atomic_{name}" for name in ("add_f32", "add_f64", "min_f64", "max_f64", "pk_add_f16", "pk_add_bf16")),
}
OPCODES = {
    f"{space}_{action}" for space in ("buffer", "global", "flat", "scratch") for action in _ACTIONS
} | {f"{space}_{action}" for space in ("buffer", "global", "flat") for action in _ATOMICS}
CACHE = {"sc0", "sc1", "nt", "glc", "slc"}  # where data is cached does not matter to one chip in order
PLACE = {"offset", "offen", "idxen", "off"}


def bind(instruction: Instruction, operands: list[Operand]) -> Step | None:
    """A step for a vector memory instruction; None for another opcode."""
    if instruction.opcode not in OPCODES:
        return None
    space, action, kind = instruction.opcode.split("_", 2)
    unknown = set(instruction.modifiers) - CACHE - PLACE
    if unknown:
        raise ProgramError(f"{', '.join(sorted(unknown))} of `{instruction}` is not implemented")
    if action == "atomic":
        return _atomic(instruction, operands, space, kind)
    size, signed, half = _kind(kind)
    counters = (VECTOR, LDS) if space == "flat" else (VECTOR,)
    if action == "load":
        data, *place = operands
        return _load(instruction, data, _address(instruction, space, place), size, signed, half, counters)
    data = operands[0] if space == "buffer" else operands[1]
    place = operands[1:] if space == "buffer" else [operands[0], *operands[2:]]
    return _store(instruction, data, _address(instruction, space, place), size, half, counters)


def _kind(kind: str) -> tuple[int, bool, int | None]:
    """(bytes, sign-extended, the half of the register that a d16 form concerns)."""
    half = None
    if match := re.fullmatch(r"(\w+)_d16(_hi)?", kind):
        kind, half = match[1], 1 if match[2] else 0
    return SIZES[kind], kind[0] == "s" and kind != "short", half


def _load(
    instruction: Instruction,
    data: Operand,
    address: Address,
    size: int,
    signed: bool,
    half: int | None,
    counters: tuple[str, ...],
) -> Step:
    rows, key = list(data.rows), instruction.index

    def step(g: Group) -> None:
        where, lanes = address(g)
        values, taint = g.machine.load(g, instruction, where, size, lanes)
        if signed:
            values = [_extended(values[0], size)]
        issue(g, InFlight(key, counters, rows, values, None if g.full else g.exec, half, taint))

    return step


def _extended(values: Array, size: int) -> Array:
    small = values.astype(np.uint8 if size == 1 else np.uint16).view(np.int8 if size == 1 else np.int16)
    return small.astype(np.int32).view(np.uint32)


def _store(
    instruction: Instruction,
    data: Operand,
    address: Address,
    size: int,
    half: int | None,
    counters: tuple[str, ...],
) -> Step:
    rows, key = list(data.rows), instruction.index

    def step(g: Group) -> None:
        where, lanes = address(g)
        values = [g.v[row] >> np.uint32(16) for row in rows] if half == 1 else [g.v[row] for row in rows]
        g.machine.store(g, instruction, where, size, values, lanes, rows)
        issue(g, InFlight(key, counters))

    return step


def _address(instruction: Instruction, space: str, place: list[Operand]) -> Address:
    offset = int(instruction.modifiers.get("offset", "0"), 0)
    if space == "buffer":
        return _buffer_address(instruction, place, offset)
    vector, scalar = place[0], place[1] if len(place) > 1 else None
    if space == "scratch":
        return _scratch_address(vector, scalar, offset)
    if scalar is not None and scalar.space == "s":
        base, lane = reader(scalar, "u64"), reader(vector, "u32")
        return lambda g: (lane(g) + (base(g) + np.uint64(offset % (1 << 64))), None if g.full else g.exec)
    whole = reader(vector, "u64")
    return lambda g: (whole(g) + np.uint64(offset % (1 << 64)), None if g.full else g.exec)


def _buffer_address(instruction: Instruction, place: list[Operand], offset: int) -> Address:
    """Raw buffers only: base + soffset + voffset + offset, out of range where the part without soffset does
    not fit.
    """
    vector, resource, scalar = place
    if "idxen" in instruction.modifiers:
        raise ProgramError(f"idxen of `{instruction}` is not implemented: only raw buffers are")
    row = resource.row
    lane = reader(vector, "u32") if "offen" in instruction.modifiers else None
    start = reader(scalar, "u32")

    def address(g: Group) -> tuple[Array, Array | None]:
        if (g.s[row + 1] & np.uint32(0x3FFF0000)).any():
            raise ProgramError(
                f"`{instruction}` uses a buffer with a stride: only raw buffers are implemented"
            )
        base = g.s[row].astype(np.uint64) | (
            (g.s[row + 1] & np.uint32(0xFFFF)).astype(np.uint64) << np.uint64(32)
        )
        inside = np.uint64(offset) + (
            np.broadcast_to(np.uint32(0), g.exec.shape) if lane is None else lane(g)
        )
        start_at = start(g)
        in_range = inside < (g.s[row + 2] - start_at)
        if in_range.all():
            lanes = None if g.full else g.exec
        else:
            lanes = in_range if g.full else in_range & g.exec
        return inside + (base + start_at), lanes

    return address


def _scratch_address(vector: Operand, scalar: Operand | None, offset: int) -> Address:
    lane = reader(vector, "u32") if vector.space == "v" else None
    start = reader(scalar, "u32") if scalar is not None and scalar.space == "s" else None

    def address(g: Group) -> tuple[Array, Array | None]:
        inside = np.full(g.exec.shape, offset, np.int64)
        for read in (lane, start):
            if read is not None:
                inside = inside + read(g).view(np.int32)
        return g.machine.scratch_address(g, inside), None if g.full else g.exec

    return address


def _atomic(instruction: Instruction, operands: list[Operand], space: str, kind: str) -> Step:
    size = 8 if kind.endswith(("_x2", "_f64")) else 4
    name, wide = kind.removesuffix("_x2").replace("_f64", "_float").replace("_f32", "_float"), size == 8
    returns = bool({"sc0", "glc"} & set(instruction.modifiers))
    if space == "buffer":
        result, data, place = operands[0], operands[0], operands[1:]
    else:
        result = operands[0] if returns else None
        rest = operands[1:] if returns else operands
        data, place = rest[1], [rest[0], *rest[2:]]
    address, function = _address(instruction, space, place), ATOMICS[name]
    key, words = instruction.index, size // 4
    kind_read: Read = reader(Operand("v", data.row, words), "u64" if wide else "u32")
    other = (
        reader(Operand("v", data.row + words, words), "u64" if wide else "u32") if name == "cmpswap" else None
    )
    rows = list(range(result.row, result.row + words)) if returns and result else []
    counters = (VECTOR, LDS) if space == "flat" else (VECTOR,)

    def step(g: Group) -> None:
        where, lanes = address(g)
        given = np.ascontiguousarray(np.broadcast_to(kind_read(g), where.shape)).reshape(-1)
        if other is not None:
            expected = np.ascontiguousarray(other(g)).reshape(-1)
            change = lambda old, which: np.where(old == expected[which], given[which], old)  # noqa: E731
        else:
            change = lambda old, which: function(old, given[which])  # noqa: E731
        taken = g.exec if lanes is None else lanes
        old = g.machine.update(g, instruction, where, size, change, taken, list(data.rows))
        values = (
            [old.astype(np.uint32)]
            if size == 4
            else [old.astype(np.uint32), (old >> np.uint64(32)).astype(np.uint32)]
        )
        issue(g, InFlight(key, counters, rows, values if rows else (), None if g.full else g.exec))

    return step


def _signed(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def apply(old: Array, given: Array) -> Array:
        kind = f"i{old.dtype.itemsize}"
        return function(old.view(kind), given.view(kind)).view(old.dtype)

    return apply


def _float(function: Callable[[Array, Array], Array], width: str = "") -> Callable[[Array, Array], Array]:
    def apply(old: Array, given: Array) -> Array:
        kind = width or f"f{old.dtype.itemsize}"
        return function(old.view(kind), given.view(kind)).view(old.dtype)

    return apply


def _add_pairs_bf16(old: Array, given: Array) -> Array:
    from ..arithmetic import bf16_bits

    parts = []
    for shift in (np.uint32(0), np.uint32(16)):
        left, right = (((each >> shift) << np.uint32(16)).view(np.float32) for each in (old, given))
        parts.append(bf16_bits(left + right).astype(np.uint32) << shift)
    return parts[0] | parts[1]


ATOMICS: dict[str, Callable[[Array, Array], Array]] = {
    "swap": lambda old, given: given,
    "cmpswap": lambda old, given: given,
    "add": np.add,
    "sub": np.subtract,
    "umin": np.minimum,
    "umax": np.maximum,
    "smin": _signed(np.minimum),
    "smax": _signed(np.maximum),
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "inc": lambda old, given: np.where(old >= given, old.dtype.type(0), old + old.dtype.type(1)),
    "dec": lambda old, given: np.where((old == 0) | (old > given), given, old - old.dtype.type(1)),
    "rsub": lambda old, given: given - old,
    "add_float": _float(np.add),
    "min_float": _float(lambda old, given: np.where(given < old, given, old)),
    "max_float": _float(lambda old, given: np.where(given > old, given, old)),
    "pk_add_f16": _float(np.add, "f2"),
    "pk_add_bf16": _add_pairs_bf16,
}
