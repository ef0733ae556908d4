"""Packed opcodes: two results an instruction, of 16 bits in one register or of 32 bits in a pair (MI300 ISA
manual, VOP3P).

op_sel and op_sel_hi pick which half of a source feeds the low and the high result, neg_lo and neg_hi their
signs.
"""

from collections.abc import Callable

import numpy as np

from .. import arithmetic as fp
from ..operands import KINDS, Operand, Read, constant, reader, vector_writer
from ..program import Instruction, ProgramError
from ..state import Group, Step
from ..vector import clamped

Array = np.ndarray
Bind = Callable[[Instruction, list[Operand]], Step]


def _packed(function: Callable[..., Array], kind: str, given: str, accumulate: bool = False) -> Bind:
    kinds = given.split()

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        result, *rest = operands
        if accumulate:
            rest = [*rest, result]
        count = len(kinds)
        low, high, minus_low, minus_high = (
            _list(instruction.modifiers.get(name), count, default)
            for name, default in (("op_sel", 0), ("op_sel_hi", 1), ("neg_lo", 0), ("neg_hi", 0))
        )
        if kind[0] != "f" and any(minus_low + minus_high):
            raise ProgramError(f"the signs of `{instruction}` are not implemented")
        made = clamped(function, kind, instruction) if "clamp" in instruction.modifiers else function
        halves = [
            [_half(*each, instruction) for each in zip(rest, kinds, select, minus, strict=True)]
            for select, minus in ((low, minus_low), (high, minus_high))
        ]
        return (_words if KINDS[kind].itemsize == 4 else _halves)(made, halves, result.row, kind)

    return bind


def _words(function: Callable[..., Array], halves: list[list[Read]], row: int, kind: str) -> Step:
    first, second = halves
    write_low, write_high = (vector_writer(Operand("v", row + place), kind) for place in range(2))

    def step(g: Group) -> None:
        lanes = None if g.full else g.exec
        low, high = function(*[read(g) for read in first]), function(*[read(g) for read in second])
        write_low(g, low, lanes)
        write_high(g, high, lanes)

    return step


def _halves(function: Callable[..., Array], halves: list[list[Read]], row: int, kind: str) -> Step:
    first, second = halves
    write = vector_writer(Operand("v", row), "u32")

    def step(g: Group) -> None:
        both = np.empty((*g.exec.shape, 2), KINDS[kind])
        both[..., 0], both[..., 1] = (
            function(*[read(g) for read in first]),
            function(*[read(g) for read in second]),
        )
        write(g, both.view(np.uint32)[..., 0], None if g.full else g.exec)

    return step


def _half(operand: Operand, kind: str, place: int, negate: int, instruction: Instruction) -> Read:
    if operand.space == "c":
        value = _constant_half(operand, kind, place, instruction)
        value = np.negative(value) if negate else value
        return lambda g: value
    if KINDS[kind].itemsize == 4:
        if place and operand.dwords == 1:
            raise ProgramError(f"`{instruction}` takes the second of a single register")
        read = reader(Operand(operand.space, operand.row + place), kind)
    else:
        read = reader(Operand(operand.space, operand.row), kind, place)
    return (lambda g: np.negative(read(g))) if negate else read


def _constant_half(operand: Operand, kind: str, place: int, instruction: Instruction) -> Array:
    """Half of a 32-bit constant: an integer is sign-extended, a real number is a float16 with zeros above or,
    for integer opcodes, a float32 (LLVM, AMDGPUBaseInfo.cpp, getInlineEncodingV216). Of a constant beside
    pairs of float32 the manual defines the low half only; LLVM never asks for the other one."""
    dtype = KINDS[kind]
    if dtype.itemsize == 4:
        if place:
            raise ProgramError(f"`{instruction}` takes the high half of a constant, which is undefined")
        return constant(operand, kind)
    if isinstance(operand.value, float):
        word = (
            constant(operand, "f16").view(np.uint16)
            if kind == "f16"
            else constant(operand, "f32").view(np.uint32)
        )
    else:
        word = constant(operand, "u32")
    return np.array((int(word) >> (16 * place)) & 0xFFFF, np.uint16).view(dtype)


def _list(text: str | None, count: int, default: int) -> list[int]:
    given = [int(each) for each in text.strip("[]").split(",")] if text else []
    return (given + [default] * count)[:count]


TABLE: dict[str, Bind] = {
    "v_pk_add_f32": _packed(np.add, "f32", "f32 f32"),
    "v_pk_mul_f32": _packed(np.multiply, "f32", "f32 f32"),
    "v_pk_fma_f32": _packed(fp.fma32, "f32", "f32 f32 f32"),
    "v_pk_add_f16": _packed(np.add, "f16", "f16 f16"),
    "v_pk_mul_f16": _packed(np.multiply, "f16", "f16 f16"),
    "v_pk_fma_f16": _packed(fp.fma16, "f16", "f16 f16 f16"),
    "v_pk_fmac_f16": _packed(fp.fma16, "f16", "f16 f16 f16", accumulate=True),
    "v_pk_min_f16": _packed(fp.minimum, "f16", "f16 f16"),
    "v_pk_max_f16": _packed(fp.maximum, "f16", "f16 f16"),
    "v_pk_add_u16": _packed(np.add, "u16", "u16 u16"),
    "v_pk_add_i16": _packed(np.add, "i16", "i16 i16"),
    "v_pk_sub_u16": _packed(np.subtract, "u16", "u16 u16"),
    "v_pk_sub_i16": _packed(np.subtract, "i16", "i16 i16"),
    "v_pk_mul_lo_u16": _packed(np.multiply, "u16", "u16 u16"),
    "v_pk_mad_u16": _packed(lambda a, b, c: a * b + c, "u16", "u16 u16 u16"),
    "v_pk_mad_i16": _packed(lambda a, b, c: a * b + c, "i16", "i16 i16 i16"),
    "v_pk_min_u16": _packed(np.minimum, "u16", "u16 u16"),
    "v_pk_max_u16": _packed(np.maximum, "u16", "u16 u16"),
    "v_pk_min_i16": _packed(np.minimum, "i16", "i16 i16"),
    "v_pk_max_i16": _packed(np.maximum, "i16", "i16 i16"),
    "v_pk_lshlrev_b16": _packed(lambda n, a: a << (n & np.uint16(15)), "u16", "u16 u16"),
    "v_pk_lshrrev_b16": _packed(lambda n, a: a >> (n & np.uint16(15)), "u16", "u16 u16"),
    "v_pk_ashrrev_i16": _packed(lambda n, a: a >> (n & np.uint16(15)).astype(np.int16), "i16", "u16 i16"),
}
