"""Scalar instructions: how a short function becomes a step; SCC is computed only where something reads it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .operands import Operand, Read, Write, pair_reader, pair_writer, reader, scalar_writer
from .program import Instruction, ProgramError
from .state import EXEC, Group, Step

Array = np.ndarray
PAIR = "pair"  # 64 bits as uint32[2, wavefront, 1], for what works bit by bit


@dataclass(frozen=True)
class ScalarOp:
    """`function` of the sources gives the result; `scc` of (result, *sources) gives SCC, None leaves it
    alone.

    result "" writes SCC only. `uses_scc`: the function's last argument is SCC. `tied`: the destination is a
    source.
    """

    function: Callable[..., Array]
    result: str
    sources: tuple[str, ...]
    scc: Callable[..., Array] | None = None
    uses_scc: bool = False
    tied: bool = False

    @property
    def writes_scc(self) -> bool:
        return self.scc is not None or not self.result

    def bind(self, instruction: Instruction, operands: list[Operand], scc_read: bool) -> Step:
        if instruction.modifiers:
            raise ProgramError(
                f"{', '.join(sorted(instruction.modifiers))} of `{instruction}` is not implemented"
            )
        given = operands[1:] if self.result else operands
        if self.tied:
            given = [operands[0], *given]
        if len(given) != len(self.sources):
            raise ProgramError(f"`{instruction}` has {len(given)} sources; expected {len(self.sources)}")
        reads = [_reader(operand, kind) for operand, kind in zip(given, self.sources, strict=True)]
        function = self.function
        if self.uses_scc:
            reads.append(lambda g: g.scc)
        if not self.result:
            return lambda g: _set_scc(g, function(*[read(g) for read in reads]))
        write, scc = _writer(operands[0], self.result), self.scc
        if scc is not None and scc_read:
            return _with_scc(function, reads, write, scc)
        if len(reads) == 1:
            only = reads[0]
            return lambda g: write(g, function(only(g)))
        if len(reads) == 2:
            first, second = reads
            return lambda g: write(g, function(first(g), second(g)))
        return lambda g: write(g, function(*[read(g) for read in reads]))


def sop(
    function: Callable[..., Array],
    result: str,
    given: str,
    scc: Callable[..., Array] | None = None,
    **options: bool,
) -> ScalarOp:
    return ScalarOp(function, result, tuple(given.split()), scc, **options)


def _reader(operand: Operand, kind: str) -> Read:
    return pair_reader(operand) if kind == PAIR else reader(operand, kind)


def _writer(operand: Operand, kind: str) -> Write:
    return pair_writer(operand) if kind == PAIR else scalar_writer(operand, kind)


def _with_scc(
    function: Callable[..., Array], reads: list[Read], write: Write, scc: Callable[..., Array]
) -> Step:
    def step(g: Group) -> None:
        values = [read(g) for read in reads]
        result = function(*values)
        flag = scc(result, *values)
        write(g, result)
        _set_scc(g, flag)

    return step


def _set_scc(g: Group, flag: Array) -> None:
    g.scc = flag if flag.shape == (g.width, 1) else np.broadcast_to(flag, (g.width, 1))


def exec_operation(
    combine: Callable[[Array, Array], Array], saves: bool
) -> Callable[[Instruction, list[Operand]], Step]:
    """s_*_saveexec_b64: EXEC takes the combination of the source and EXEC, the destination the old EXEC;
    s_*_wrexec_b64: both take the combination. SCC: whether any lane is left."""

    def bind(instruction: Instruction, operands: list[Operand]) -> Step:
        read, write = pair_reader(operands[1]), pair_writer(operands[0])
        write_exec = pair_writer(Operand("s", EXEC, 2))

        def step(g: Group) -> None:
            old = g.scalar[EXEC : EXEC + 2].copy()
            new = combine(read(g), old)
            write(g, old if saves else new)
            write_exec(g, new)
            _set_scc(g, (new != 0).any(axis=0))

        return step

    return bind
