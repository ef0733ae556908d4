"""A program made ready to run: one step for each instruction, the blocks between branches, and who uses what.

Every opcode and modifier is looked up here, once, so that a kernel with an unknown one is refused before it
runs.
"""

import re
from dataclasses import dataclass

import numpy as np

from .flight import SCALAR_BITS, wait_step
from .opcodes import bind
from .operands import Operand, operands
from .program import Instruction, Program, ProgramError
from .scalar import ScalarOp
from .state import Group, Step

BRANCHES = {
    "s_branch",
    "s_cbranch_scc0",
    "s_cbranch_scc1",
    "s_cbranch_vccz",
    "s_cbranch_vccnz",
    "s_cbranch_execz",
    "s_cbranch_execnz",
}
JUMPS = {"s_setpc_b64", "s_swappc_b64"}  # to an address in registers: calls of functions, and the way back
ENDS = {"s_endpgm", "s_barrier"} | BRANCHES | JUMPS
CODE = 1 << 32  # the address of the first instruction; each takes 4
# What matters to timing, caches, power or a debugger only.
NOTHING = {
    "s_nop",
    "s_sleep",
    "s_setprio",
    "s_icache_inv",
    "s_dcache_inv",
    "s_dcache_wb",
    "s_inst_prefetch",
    "s_set_gpr_idx_off",
    "s_ttracedata",
    "s_incperflevel",
    "s_decperflevel",
    "s_sethalt",
    "buffer_wbl2",
    "buffer_inv",
    "buffer_wbinvl1",
    "buffer_wbinvl1_vol",
    "v_nop",
    "s_clause",
    "s_waitcnt_depctr",
    "s_code_end",
    "sched_barrier",
    "s_sched_barrier",
}


MODE = {
    "float_denorm_mode_32": 3,
    "float_denorm_mode_16_64": 3,
    "float_round_mode_32": 0,
    "float_round_mode_16_64": 0,
    "dx10_clamp": 1,
    "ieee_mode": 1,
    "fp16_overflow": 0,
}
SMALL_FLOATS = re.compile(r"_(fp8|bf8|f8f6f4)")


@dataclass
class Code:
    """steps[i] executes instruction i (None: it ends a block); uses[i] are the registers it touches, as bits.

    block_end[i], for the first instruction i of a block, is the index of its last one; reached[i] tells
    whether any launch ran through it.
    """

    program: Program
    steps: list[Step | None]
    uses: list[int]
    operands: list[list[Operand]]
    block_end: dict[int, int]
    accumulators: int
    rows: int

    def __post_init__(self) -> None:
        self.reached = np.zeros(len(self.steps), bool)  # block starts that a wavefront ever ran through

    @property
    def instructions(self) -> list[Instruction]:
        return self.program.instructions


def compile_program(program: Program) -> Code:
    """Raises ProgramError naming every opcode or modifier that is not implemented."""
    _check_mode(program)
    accumulators, rows = _registers(program)
    leaders = _leaders(program)
    flags = _scc_read(program, leaders)
    steps: list[Step | None] = []
    parsed: list[list[Operand]] = []
    faults: dict[str, None] = {}
    for instruction in program.instructions:
        step, given = None, []
        try:
            if SMALL_FLOATS.search(instruction.opcode) and program.target == "gfx950":
                raise ProgramError(f"`{instruction}`: the 8-bit formats of gfx950 are not implemented")
            if instruction.opcode in JUMPS:
                given = operands(instruction, accumulators)
            elif instruction.opcode not in ENDS:
                step, given = _step(instruction, accumulators, flags[instruction.index])
        except ProgramError as error:
            faults[str(error)] = None
        steps.append(step)
        parsed.append(given)
    if faults:
        raise ProgramError(f"{program.name} for {program.target} cannot run here:\n  " + "\n  ".join(faults))
    uses = [registers(given) for given in parsed]
    return Code(program, steps, uses, parsed, _block_ends(program, leaders), accumulators, rows)


def _check_mode(program: Program) -> None:
    """Raises ProgramError for a floating-point mode that opcodes do not follow."""
    for name, value in MODE.items():
        if program.flag(name, value) != value:
            raise ProgramError(
                f"{program.name} asks for {name} {program.flag(name)}; only {value} is implemented"
                " (denormals kept, to nearest even, IEEE minima): compile without allow_flush_denorm"
            )


def _step(instruction: Instruction, accumulators: int, scc_read: bool) -> tuple[Step, list[Operand]]:
    if instruction.opcode in NOTHING:
        return lambda g: None, []
    if instruction.opcode == "s_waitcnt":
        return wait_step(instruction), []
    if instruction.opcode.startswith("s_setreg"):
        return _set_mode(instruction), []
    given = operands(instruction, accumulators)
    return bind(instruction, given, scc_read), given


def _set_mode(instruction: Instruction) -> Step:
    """s_setreg_imm32_b32 of the one mode bit that Triton sets: FP16_OVFL, which makes conversions to fp8
    saturate.
    """
    if instruction.opcode == "s_setreg_imm32_b32" and re.fullmatch(
        r"hwreg\(HW_REG_MODE,\s*23,\s*1\)", instruction.operands[0]
    ):
        saturate = bool(int(instruction.operands[1], 0))

        def step(g: Group) -> None:
            g.machine.saturate_fp8 = saturate

        return step
    raise ProgramError(f"`{instruction}` is not implemented")


def _registers(program: Program) -> tuple[int, int]:
    """(row of the first accumulation register, number of rows)."""
    total = program.flag("next_free_vgpr", 256)
    accumulators = program.flag("accum_offset", total)
    return accumulators, max(total, accumulators) + 4


def _leaders(program: Program) -> list[int]:
    found = {program.entry, *program.labels.values()}
    found |= {each.index + 1 for each in program.instructions if each.opcode in ENDS}
    return sorted(each for each in found if each < len(program.instructions))


def _block_ends(program: Program, leaders: list[int]) -> dict[int, int]:
    following = [*leaders[1:], len(program.instructions)]
    return {start: end - 1 for start, end in zip(leaders, following, strict=True)}


def _scc_read(program: Program, leaders: list[int]) -> list[bool]:
    """Whether the SCC that an instruction writes may be read: before the next write in its block, or after
    its end.
    """
    starts, needed = set(leaders), True
    made = [True] * len(program.instructions)
    for instruction in reversed(program.instructions):
        index = instruction.index
        if index + 1 in starts:
            needed = True
        made[index] = needed
        op = scalar_op(instruction.opcode)
        if op is not None and op.writes_scc:
            needed = False
        if instruction.opcode in ("s_endpgm",):
            needed = False
        if (
            (op is not None and op.uses_scc)
            or "scc" in instruction.opcode
            or "saveexec" in instruction.opcode
        ):
            needed = True
        if any("scc" in each for each in instruction.operands):
            needed = True
    return made


def scalar_op(opcode: str) -> ScalarOp | None:
    from .opcodes.scalar import TABLE

    return TABLE.get(opcode)


def registers(given: list[Operand]) -> int:
    """The registers of operands, as bits."""
    bits = 0
    for each in given:
        if each.space in ("v", "s"):
            bits |= ((1 << each.dwords) - 1) << (each.row + (SCALAR_BITS if each.space == "s" else 0))
    return bits
