"""Counts of what ran: instructions by class, matrix operations, bytes by space and width, LDS bank conflicts.

They are facts about the code, not times: nothing here says how long a chip takes.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from .lds import bank_conflicts
from .matrix import SHAPES
from .program import Instruction

_CLASSES = (
    ("matrix", r"v_mfma|v_smfmac"),
    ("vector ALU", r"v_"),
    ("LDS", r"ds_"),
    ("global memory", r"buffer_(load|store|atomic)|global_|flat_"),
    ("scratch", r"scratch_"),
    ("scalar memory", r"s_load|s_buffer|s_mem"),
    ("barrier", r"s_barrier"),
    ("wait", r"s_waitcnt|s_nop|s_sleep"),
    ("branch", r"s_branch|s_cbranch|s_endpgm"),
    ("scalar ALU", r"s_"),
)


@dataclass
class Counts:
    """Sums over launches. Instructions are counted once a wavefront, bytes for the lanes that take part."""

    launches: int = 0
    wavefronts: int = 0
    instructions: Counter[str] = field(default_factory=Counter)
    opcodes: Counter[str] = field(default_factory=Counter)
    matrix_operations: int = 0
    bytes: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    bank_conflicts: int = 0

    def ran(self, instruction: Instruction, wavefronts: int) -> None:
        self.instructions[class_of(instruction)] += wavefronts
        self.opcodes[instruction.opcode] += wavefronts
        shape = SHAPES.get(instruction.opcode)
        if shape is not None:
            self.matrix_operations += 2 * shape.m * shape.n * shape.k * shape.blocks * wavefronts

    def moved(
        self, instruction: Instruction, way: str, size: int, address: np.ndarray, lanes: np.ndarray | None
    ) -> None:
        space = class_of(instruction)
        number = (
            address.size if lanes is None else int(np.count_nonzero(np.broadcast_to(lanes, address.shape)))
        )
        self.bytes[space, way, size] += number * size
        if space == "LDS" and size in (1, 2, 4, 8, 16):
            every = np.ones(address.shape, bool) if lanes is None else lanes
            self.bank_conflicts += bank_conflicts(address.astype(np.int64), every, size)

    def add(self, text: str) -> None:
        """Adds what another process counted, as its `to_json` gave it."""
        other = json.loads(text)
        self.launches += other["launches"]
        self.wavefronts += other["wavefronts"]
        self.instructions.update(other["instructions"])
        self.opcodes.update(other["opcodes"])
        self.matrix_operations += other["matrix_operations"]
        self.bank_conflicts += other["lds_bank_conflicts"]
        for each in other["bytes"]:
            self.bytes[each["space"], each["way"], each["width"]] += each["bytes"]

    def to_json(self) -> str:
        return json.dumps(
            {
                "launches": self.launches,
                "wavefronts": self.wavefronts,
                "instructions": dict(self.instructions),
                "opcodes": dict(self.opcodes),
                "matrix_operations": self.matrix_operations,
                "bytes": [
                    {"space": space, "way": way, "width": size, "bytes": number}
                    for (space, way, size), number in sorted(self.bytes.items())
                ],
                "lds_bank_conflicts": self.bank_conflicts,
            }
        )

    def __str__(self) -> str:
        total = sum(self.instructions.values())
        lines = [f"{self.launches} launches, {self.wavefronts} wavefronts, {total} instructions (no times)"]
        lines += [f"  {name:<16}{number:>14}" for name, number in self.instructions.most_common()]
        lines.append(f"  matrix operations (multiply or add): {self.matrix_operations}")
        for (space, way, size), number in sorted(self.bytes.items()):
            lines.append(f"  {space + ' ' + way:<24}{size:>3} bytes a lane {number:>14} bytes")
        lines.append(f"  LDS bank conflicts (extra cycles): {self.bank_conflicts}")
        return "\n".join(lines)


def class_of(instruction: Instruction) -> str:
    return next(name for name, pattern in (*_CLASSES, ("other", "")) if re.match(pattern, instruction.opcode))
