"""All opcodes. A new one is a row in the table of its family; what has no row is refused when a kernel is
loaded.
"""

from ..operands import Operand
from ..program import Instruction, ProgramError
from ..state import Step
from ..vector import NEUTRAL, Op
from . import floats, global_memory, integers, lanes, local_share, matrix, packed, scalar, scalar_memory

VECTOR: dict[str, Op] = {**integers.TABLE, **floats.TABLE}
SPECIAL = {**lanes.TABLE, **packed.TABLE, **scalar.SPECIAL}
FAMILIES = (global_memory.bind, local_share.bind, scalar_memory.bind, matrix.bind)
DPP = {
    "quad_perm",
    "row_shl",
    "row_shr",
    "row_ror",
    "wave_shl",
    "wave_shr",
    "wave_rol",
    "wave_ror",
    "row_mirror",
    "row_half_mirror",
    "row_newbcast",
    "row_bcast",
} | NEUTRAL
SDWA = {"dst_sel", "dst_unused", "src0_sel", "src1_sel"}
VALU = {"clamp", "mul", "div", "op_sel"} | DPP | SDWA


def bind(instruction: Instruction, operands: list[Operand], scc_read: bool) -> Step:
    """The step of an instruction. Raises ProgramError for an opcode or a modifier without an entry."""
    name = instruction.opcode
    if name in VECTOR:
        _refuse_unknown(instruction, VALU)
        return VECTOR[name].bind(instruction, operands)
    if name in scalar.TABLE:
        return scalar.TABLE[name].bind(instruction, operands, scc_read)
    if name in SPECIAL:
        _refuse_unknown(instruction, _special_modifiers(name))
        return SPECIAL[name](instruction, operands)
    for family in FAMILIES:
        step = family(instruction, operands)
        if step is not None:
            return step
    raise ProgramError(f"`{instruction}` ({instruction.location}) is not implemented")


def _special_modifiers(name: str) -> set[str]:
    if name in packed.TABLE:
        return {"op_sel", "op_sel_hi", "neg_lo", "neg_hi", "clamp"}
    if name.endswith("_co_u32") or name == "v_cndmask_b32":
        return DPP | SDWA
    if name.startswith("v_fma_mix"):
        return {"op_sel", "op_sel_hi", "clamp"}
    if name.startswith("v_cvt_"):
        return {"op_sel", "src0_sel"}
    return {"op_sel", "op_sel_hi"} if name == "v_pk_mov_b32" else set()


def _refuse_unknown(instruction: Instruction, known: set[str]) -> None:
    unknown = set(instruction.modifiers) - known
    if unknown:
        raise ProgramError(f"{', '.join(sorted(unknown))} of `{instruction}` is not implemented")


def implemented() -> set[str]:
    """Names of all opcodes but those of the matrix cores, which `matrix.SHAPES` lists, and of control
    flow.
    """
    return {
        *VECTOR,
        *scalar.TABLE,
        *SPECIAL,
        *global_memory.OPCODES,
        *local_share.OPCODES,
        *scalar_memory.OPCODES,
    }
