"""The registers of wavefronts that stand at the same instruction.

Vector registers are uint32[register, wavefront, lane], accumulation registers behind the architectural ones;
scalar registers are uint32[register, wavefront, 1], so that an instruction is one NumPy expression over all
of them. Register numbers of VCC, M0 and EXEC as in the MI300 ISA manual, section "Operands" (SSRC/SDST
encodings).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

LANES = 64
FLAT_SCRATCH, XNACK_MASK, VCC, M0, EXEC, SCALARS = 102, 104, 106, 124, 126, 128
NAMED = {
    "flat_scratch": FLAT_SCRATCH,
    "flat_scratch_lo": FLAT_SCRATCH,
    "flat_scratch_hi": FLAT_SCRATCH + 1,
    "xnack_mask": XNACK_MASK,
    "xnack_mask_lo": XNACK_MASK,
    "xnack_mask_hi": XNACK_MASK + 1,
    "vcc": VCC,
    "vcc_lo": VCC,
    "vcc_hi": VCC + 1,
    "m0": M0,
    "exec": EXEC,
    "exec_lo": EXEC,
    "exec_hi": EXEC + 1,
}
GARBAGE = 0xFFFF5AA5  # what a register holds before it is written: a NaN, and no sensible integer


class Group:
    """Wavefronts at one program counter. `wave` numbers them in the launch, `slot` within their workgroup.

    v, f, i: rows of the vector registers as uint32, float32, int32; s, sf, si the same of the scalar ones.
    `exec` is EXEC as bool[wavefront, lane], `full` whether all of it is set. `queue` holds issued memory
    operations whose results no s_waitcnt has delivered, `pending` their registers as bits.
    """

    def __init__(
        self, vector: np.ndarray, scalar: np.ndarray, scc: np.ndarray, ids: dict[str, np.ndarray]
    ) -> None:
        self.vector, self.scalar, self.scc = vector, scalar, scc
        self.ids = ids
        self.wave, self.slot, self.lds_base = ids["wave"], ids["slot"], ids["lds_base"]
        self.width = vector.shape[1]
        self.v, self.f, self.i = (list(vector.view(kind)) for kind in (np.uint32, np.float32, np.int32))
        self.s, self.sf, self.si = (list(scalar.view(kind)) for kind in (np.uint32, np.float32, np.int32))
        self.masks: dict[int, np.ndarray] = {}
        self.queue: list[Any] = []
        self.pending = 0
        self.taint: dict[int, np.ndarray] = {}
        self.pc = 0
        self.machine: Any = None
        self.refresh_exec()

    def refresh_exec(self) -> None:
        """After a write to EXEC."""
        self.exec = unpack(self.s[EXEC], self.s[EXEC + 1])
        self.full = bool(self.exec.all())

    def mask(self, register: int) -> np.ndarray:
        """A pair of scalar registers as bool[wavefront, lane]; kept until one of them is written."""
        if register == EXEC:
            return self.exec
        made = self.masks.get(register)
        if made is None:
            made = self.masks[register] = unpack(self.s[register], self.s[register + 1])
        return made

    def set_mask(self, register: int, lanes: np.ndarray) -> None:
        """Writes bool[wavefront, lane] to a pair of scalar registers."""
        words = np.packbits(lanes, axis=1, bitorder="little").view(np.uint32)
        self.s[register][:, 0] = words[:, 0]
        self.s[register + 1][:, 0] = words[:, 1]
        if register == EXEC:
            self.exec, self.full = lanes, bool(lanes.all())
        else:
            self.masks[register] = lanes

    def take(self, which: np.ndarray) -> "Group":
        """The chosen wavefronts as a group of their own."""
        made = Group(
            self.vector[:, which],
            self.scalar[:, which],
            self.scc[which],
            {name: values[which] for name, values in self.ids.items()},
        )
        made.pc, made.pending, made.machine = self.pc, self.pending, self.machine
        made.queue = [each.take(which) for each in self.queue]
        made.taint = {row: lanes[which] for row, lanes in self.taint.items()}
        return made

    @staticmethod
    def join(groups: "list[Group]") -> "Group":
        """Groups at the same instruction, with the same operations in flight, as one."""
        first = groups[0]
        made = Group(
            np.concatenate([each.vector for each in groups], axis=1),
            np.concatenate([each.scalar for each in groups], axis=1),
            np.concatenate([each.scc for each in groups]),
            {name: np.concatenate([each.ids[name] for each in groups]) for name in first.ids},
        )
        made.pc, made.pending, made.machine = first.pc, first.pending, first.machine
        made.queue = [
            type(parts[0]).join(parts) for parts in zip(*(each.queue for each in groups), strict=True)
        ]
        for row in {row for each in groups for row in each.taint}:
            clean = [np.zeros((each.width, LANES), bool) for each in groups]
            made.taint[row] = np.concatenate(
                [each.taint.get(row, nothing) for each, nothing in zip(groups, clean, strict=True)]
            )
        return made


def unpack(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Two uint32[wavefront, 1] as bool[wavefront, 64], bit 0 first."""
    words = np.concatenate([low, high], axis=1)
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").view(bool)


Step = Callable[[Group], Any]
