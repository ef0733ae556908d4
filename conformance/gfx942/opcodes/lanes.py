"""Vector opcodes that carry, choose, or reach across lanes: those that are not one function of their sources.

Each entry takes (instruction, operands) and gives the step (MI300 ISA manual, VOP2, VOP3 and "Data Parallel
Processing").
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .. import arithmetic as fp
from ..operands import KINDS, Operand, reader, scalar_writer, vector_writer
from ..program import Instruction, ProgramError
from ..state import LANES, VCC, Group, Step
from ..vector import _result_writer, lanes_written, sources

Array = np.ndarray
Bind = Callable[[Instruction, list[Operand]], Step]


def _carried(compute: Callable[[Array, Array], Array], out: Callable[..., Array], with_carry: bool) -> Bind:
    """Addition or subtraction in 64 bits of its two sources and the carry: `compute` the exact sum, `out` its
    carry.
    """

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        result, carry, *given = operands
        reads = sources(instruction, given[:2], ("u32", "u32"))
        row = given[2].row if with_carry else None
        write = _result_writer(instruction, result, "u32", False)
        allowed = lanes_written(instruction)

        def step(g: Group) -> None:
            exact = compute(reads[0](g).astype(np.int64), reads[1](g).astype(np.int64))
            if row is not None:
                exact = out(exact, g.mask(row))
            exact = np.broadcast_to(exact, g.exec.shape)
            lanes = (exact < 0) | (exact > 0xFFFFFFFF)
            write(g, exact.astype(np.uint32), (None if g.full else g.exec) if allowed is None else allowed(g))
            g.set_mask(carry.row, lanes & g.exec)

        return step

    return bind


def _plus(exact: Array, carry: Array) -> Array:
    return exact + carry


def _minus(exact: Array, borrow: Array) -> Array:
    return exact - borrow


def _cndmask(instruction: Instruction, operands: list[Operand]) -> Step:
    result, first, second, mask = operands
    reads, row = sources(instruction, [first, second], ("u32", "u32")), mask.row
    write, allowed = _result_writer(instruction, result, "u32", False), lanes_written(instruction)
    plain = instruction.encoding in ("_e32", "_e64", "") and allowed is None
    target = result.row

    def step(g: Group) -> None:
        chosen = g.mask(row)
        if plain and g.full:
            np.copyto(g.v[target], np.where(chosen, reads[1](g), reads[0](g)))
        else:
            lanes = (None if g.full else g.exec) if allowed is None else allowed(g)
            write(g, np.where(chosen, reads[1](g), reads[0](g)), lanes)

    return step


def _first_lane(instruction: Instruction, operands: list[Operand]) -> Step:
    """v_readfirstlane_b32: of the lanes in EXEC, or lane 0 where there is none."""
    read, write = reader(operands[1], "u32"), scalar_writer(operands[0], "u32")

    def step(g: Group) -> None:
        values = np.broadcast_to(read(g), g.exec.shape)
        if g.full:
            write(g, values[:, :1])
        else:
            write(g, np.take_along_axis(values, g.exec.argmax(axis=1)[:, None], axis=1))

    return step


def _read_lane(instruction: Instruction, operands: list[Operand]) -> Step:
    read, write = reader(operands[1], "u32"), scalar_writer(operands[0], "u32")
    lane = reader(operands[2], "u32")

    def step(g: Group) -> None:
        which = np.broadcast_to(lane(g) & np.uint32(LANES - 1), (g.width, 1)).astype(np.int64)
        write(g, np.take_along_axis(np.broadcast_to(read(g), g.exec.shape), which, axis=1))

    return step


def _write_lane(instruction: Instruction, operands: list[Operand]) -> Step:
    row, value, lane = operands[0].row, reader(operands[1], "u32"), reader(operands[2], "u32")

    def step(g: Group) -> None:
        which = np.broadcast_to(lane(g) & np.uint32(LANES - 1), (g.width, 1)).astype(np.int64)
        np.put_along_axis(g.v[row], which, np.broadcast_to(value(g), (g.width, 1)), axis=1)

    return step


def _count_below(high: bool) -> Bind:
    """v_mbcnt: set bits of the mask in lanes below this one, in the low or high half, plus a number."""

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        mask, number = reader(operands[1], "u32"), reader(operands[2], "u32")
        write = vector_writer(operands[0], "u32")
        lane = np.arange(LANES)
        below = np.clip(lane - 32, 0, 32) if high else np.clip(lane, 0, 32)
        bits = ((np.uint64(1) << below.astype(np.uint64)) - np.uint64(1)).astype(np.uint32)

        def step(g: Group) -> None:
            count = np.bitwise_count(mask(g) & bits).astype(np.uint32)
            write(g, np.broadcast_to(count + number(g), g.exec.shape), None if g.full else g.exec)

        return step

    return bind


def _swap(instruction: Instruction, operands: list[Operand]) -> Step:
    first, second = operands[0].row, operands[1].row

    def step(g: Group) -> None:
        old = g.v[first].copy()
        np.copyto(g.v[first], g.v[second], where=g.exec)
        np.copyto(g.v[second], old, where=g.exec)

    return step


def _mad64(kind: str, wide: type) -> Bind:
    """v_mad_u64_u32 and v_mad_i64_i32: 32 by 32 bits plus 64, with bit 64 of the exact sum."""

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        result, carry, first, second, third = operands
        reads = [reader(first, f"{kind}32"), reader(second, f"{kind}32"), reader(third, f"{kind}64")]
        write = vector_writer(result, f"{kind}64")

        def step(g: Group) -> None:
            product = np.multiply(reads[0](g), reads[1](g), dtype=wide)
            addend = reads[2](g)
            total = product + addend
            if kind == "u":
                over = total < product
            else:  # the sign of the exact sum: its overflow turned the sign of the sum in 64 bits around
                over = (((product ^ total) & (addend ^ total)) ^ total) < 0
            write(g, total, None if g.full else g.exec)
            if carry.space == "s":
                g.set_mask(carry.row, over & g.exec)

        return step

    return bind


def _div_scale(kind: str, function: Callable[..., tuple[Array, Array]]) -> Bind:
    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        result, flag, *given = operands
        reads, write = sources(instruction, given, (kind, kind, kind)), vector_writer(result, kind)

        def step(g: Group) -> None:
            values, lanes = function(*[read(g) for read in reads])
            write(g, np.broadcast_to(values, g.exec.shape), None if g.full else g.exec)
            g.set_mask(flag.row, np.broadcast_to(lanes, g.exec.shape) & g.exec)

        return step

    return bind


def _div_fmas(kind: str, function: Callable[..., Array]) -> Bind:
    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        reads, write = (
            sources(instruction, operands[1:4], (kind, kind, kind)),
            vector_writer(operands[0], kind),
        )
        return lambda g: write(
            g, function(*[read(g) for read in reads], g.mask(VCC)), None if g.full else g.exec
        )

    return bind


def _mix(half: int | None) -> Bind:
    """v_fma_mix: float32 fma of sources that are float32 or, where op_sel_hi says so, one half of a
    register.
    """

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        select, narrow = (
            [int(each) for each in instruction.modifiers.get(name, "[0,0,0]").strip("[]").split(",")]
            for name in ("op_sel", "op_sel_hi")
        )
        reads = []
        for operand, place, is_half in zip(operands[1:4], select, narrow, strict=True):
            bare = replace(operand, negate=False, absolute=False)
            read = reader(bare, "f16", place) if is_half else reader(bare, "f32")
            reads.append(_widened(read, operand))
        clamp = "clamp" in instruction.modifiers
        kind = "f32" if half is None else "f16"
        write = vector_writer(operands[0], kind, select=half or 0, preserve=half is not None)

        def step(g: Group) -> None:
            total = fp.fma32(*[read(g) for read in reads])
            total = fp.clamp(total) if clamp else total
            write(g, total.astype(KINDS[kind], copy=False), None if g.full else g.exec)

        return step

    return bind


def _widened(read: Callable[[Group], Array], operand: Operand) -> Callable[[Group], Array]:
    def wide(g: Group) -> Array:
        values = read(g).astype(np.float32)
        values = np.abs(values) if operand.absolute else values
        return np.negative(values) if operand.negate else values

    return wide


def _unpack_fp8(name: str, both: bool) -> Bind:
    """v_cvt_f32_fp8 and v_cvt_pk_f32_fp8: a byte, or the two bytes of a half, as float32."""

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        chosen = instruction.modifiers.get("src0_sel", "WORD_0" if both else "BYTE_0")
        if "op_sel" in instruction.modifiers:
            first, second = (instruction.modifiers["op_sel"].strip("[]") + ",0").split(",")[:2]
            chosen = f"WORD_{first}" if both else f"BYTE_{int(first) + 2 * int(second)}"
        if chosen == "DWORD":
            chosen = "WORD_0" if both else "BYTE_0"
        start = int(chosen[-1]) * (16 if chosen.startswith("WORD") else 8)
        read, writes = reader(operands[1], "u32"), []
        for place in range(2 if both else 1):
            target = Operand("v", operands[0].row + place)
            writes.append((vector_writer(target, "f32"), np.uint32(start + 8 * place)))

        def step(g: Group) -> None:
            source = read(g).copy()
            for write, shift in writes:
                values = fp.fp8_decode(((source >> shift) & np.uint32(0xFF)).astype(np.uint8), name)
                write(g, values, None if g.full else g.exec)

        return step

    return bind


def _pack_fp8(name: str) -> Bind:
    """v_cvt_pk_fp8_f32: two float32 into the half of the register that op_sel names; the other half stays."""

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        chosen = [int(each) for each in instruction.modifiers.get("op_sel", "[0,0,0]").strip("[]").split(",")]
        reads = sources(replace_modifiers(instruction), operands[1:3], ("f32", "f32"))
        write = vector_writer(operands[0], "u16", select=chosen[-1], preserve=True)

        def step(g: Group) -> None:
            low, high = (
                fp.fp8_encode(read(g), name, g.machine.saturate_fp8).astype(np.uint16) for read in reads
            )
            write(g, np.broadcast_to(low | (high << np.uint16(8)), g.exec.shape), None if g.full else g.exec)

        return step

    return bind


def _stochastic_fp8(name: str) -> Bind:
    """v_cvt_sr_fp8_f32: one float32, rounded by the random bits of the second source, into a byte."""

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        chosen = [
            int(each) for each in instruction.modifiers.get("op_sel", "[0,0,0,0]").strip("[]").split(",")
        ]
        place = np.uint32(8 * (chosen[-2] + 2 * chosen[-1]))
        value, random = sources(replace_modifiers(instruction), operands[1:3], ("f32", "u32"))
        write, row = vector_writer(operands[0], "u32"), operands[0].row

        def step(g: Group) -> None:
            made = fp.fp8_encode_stochastic(value(g), random(g), name, g.machine.saturate_fp8).astype(
                np.uint32
            )
            kept = g.v[row] & ~(np.uint32(0xFF) << place)
            write(g, kept | (made << place), None if g.full else g.exec)

        return step

    return bind


def replace_modifiers(instruction: Instruction) -> Instruction:
    """The instruction without op_sel, where that names halves of the result only."""
    return replace(instruction, modifiers={k: v for k, v in instruction.modifiers.items() if k != "op_sel"})


def _packed_move(instruction: Instruction, operands: list[Operand]) -> Step:
    """v_pk_mov_b32: the low result from the first source, the high one from the second; op_sel picks which
    half.
    """
    select = [int(each) for each in instruction.modifiers.get("op_sel", "[0,0]").strip("[]").split(",")]
    if any(each.space == "c" and chosen for each, chosen in zip(operands[1:], select, strict=True)):
        raise ProgramError(f"`{instruction}` takes the high half of a constant, which is undefined")
    reads = [reader(replace(o, row=o.row + s), "u32") for o, s in zip(operands[1:3], select, strict=True)]
    low, high = operands[0].row, operands[0].row + 1

    def step(g: Group) -> None:
        first, second = (np.array(np.broadcast_to(read(g), g.exec.shape)) for read in reads)
        np.copyto(g.v[low], first, where=g.exec)
        np.copyto(g.v[high], second, where=g.exec)

    return step


TABLE: dict[str, Bind] = {
    "v_add_co_u32": _carried(np.add, _plus, False),
    "v_addc_co_u32": _carried(np.add, _plus, True),
    "v_sub_co_u32": _carried(np.subtract, _minus, False),
    "v_subb_co_u32": _carried(np.subtract, _minus, True),
    "v_subrev_co_u32": _carried(lambda a, b: b - a, _minus, False),
    "v_subbrev_co_u32": _carried(lambda a, b: b - a, _minus, True),
    "v_cndmask_b32": _cndmask,
    "v_readfirstlane_b32": _first_lane,
    "v_readlane_b32": _read_lane,
    "v_writelane_b32": _write_lane,
    "v_mbcnt_lo_u32_b32": _count_below(False),
    "v_mbcnt_hi_u32_b32": _count_below(True),
    "v_swap_b32": _swap,
    "v_mad_u64_u32": _mad64("u", np.uint64),
    "v_mad_i64_i32": _mad64("i", np.int64),
    "v_div_scale_f32": _div_scale("f32", fp.div_scale32),
    "v_div_scale_f64": _div_scale("f64", fp.div_scale64),
    "v_div_fmas_f32": _div_fmas("f32", fp.div_fmas32),
    "v_div_fmas_f64": _div_fmas("f64", fp.div_fmas64),
    "v_fma_mix_f32": _mix(None),
    "v_fma_mixlo_f16": _mix(0),
    "v_fma_mixhi_f16": _mix(1),
    "v_pk_mov_b32": _packed_move,
    "v_cvt_f32_fp8": _unpack_fp8("e4m3fnuz", False),
    "v_cvt_f32_bf8": _unpack_fp8("e5m2fnuz", False),
    "v_cvt_pk_f32_fp8": _unpack_fp8("e4m3fnuz", True),
    "v_cvt_pk_f32_bf8": _unpack_fp8("e5m2fnuz", True),
    "v_cvt_pk_fp8_f32": _pack_fp8("e4m3fnuz"),
    "v_cvt_pk_bf8_f32": _pack_fp8("e5m2fnuz"),
    "v_cvt_sr_fp8_f32": _stochastic_fp8("e4m3fnuz"),
    "v_cvt_sr_bf8_f32": _stochastic_fp8("e5m2fnuz"),
}
