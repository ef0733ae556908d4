"""Matrix-core opcodes: registers in and out; the arithmetic and the layouts are in `matrix`."""

from ..matrix import SHAPES, multiply
from ..operands import Operand, constant
from ..program import Instruction, ProgramError
from ..state import Group, Step


def bind(instruction: Instruction, operands: list[Operand]) -> Step | None:
    if not instruction.opcode.startswith(("v_mfma_", "v_smfmac_")):
        return None
    shape = SHAPES.get(instruction.opcode)
    if shape is None:
        raise ProgramError(f"`{instruction}` is not implemented")
    unknown = set(instruction.modifiers) - {"cbsz", "abid", "blgp", "neg"}
    if unknown:
        raise ProgramError(f"{', '.join(sorted(unknown))} of `{instruction}` is not implemented")
    options = {name: int(value, 0) for name, value in instruction.modifiers.items() if name != "neg"}
    if "neg" in instruction.modifiers:  # how double-precision forms spell blgp: a sign for a, b and c
        signs = instruction.modifiers["neg"].strip("[]").split(",")
        options["blgp"] = sum(int(sign) << place for place, sign in enumerate(signs))
    result, a, b, c = operands
    kind = {"f64": "f64", "i8": "u32"}.get(shape.a, "f32")
    fixed = constant(c, kind) if c.space == "c" else None

    def step(g: Group) -> None:
        before = fixed if fixed is not None else g.vector[c.row : c.row + c.dwords]
        made = multiply(
            shape,
            g.vector[a.row : a.row + a.dwords],
            g.vector[b.row : b.row + b.dwords],
            before,
            plain=g.machine.plain_matrix,
            **options,
        )
        g.vector[result.row : result.row + result.dwords] = made

    return step
