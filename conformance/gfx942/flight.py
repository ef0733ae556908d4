"""Memory operations in flight: a loaded register keeps its old value until an s_waitcnt delivers the new one.

VMCNT counts vector memory operations, which finish in order; LGKMCNT counts LDS operations, which finish in
order among themselves, and scalar loads, which do not (MI300 ISA manual, "Data Dependency Resolution").
"""

import re
from collections.abc import Sequence

import numpy as np

from .operands import touch
from .program import Instruction, ProgramError
from .state import Group, Step

Array = np.ndarray
VECTOR, LDS, SCALAR = "vmcnt", "lds", "scalar"
SCALAR_BITS = 1024  # scalar register s is bit SCALAR_BITS + s of a set of registers, vector register v bit v


class InFlight:
    """An issued operation: which counters it holds, and what it will write to which registers (none for a
    store).

    `taint`: which lanes of the values are poisoned, bool[wavefront, lane] or one such for each register (in
    turn, where they are fewer).
    """

    __slots__ = ("bits", "counters", "half", "key", "lanes", "rows", "taint", "values")

    def __init__(
        self,
        key: int,
        counters: Sequence[str],
        rows: Sequence[int] = (),
        values: Sequence[Array] = (),
        lanes: Array | None = None,
        half: int | None = None,
        taint: Array | None = None,
    ) -> None:
        self.key, self.counters, self.rows, self.values = key, counters, rows, values
        self.lanes, self.half = lanes, half
        self.taint = taint[None] if taint is not None and taint.ndim == 2 else taint
        offset = SCALAR_BITS if SCALAR in counters else 0
        self.bits = sum(1 << (row + offset) for row in rows)

    def deliver(self, g: Group) -> None:
        if SCALAR in self.counters:
            for row, value in zip(self.rows, self.values, strict=True):
                g.s[row][...] = value
            if self.rows:
                touch(g, self.rows[0], len(self.rows))
            return
        for place, (row, value) in enumerate(zip(self.rows, self.values, strict=True)):
            target = g.v[row]
            if self.half is not None:
                target, value = target.view(np.uint16)[:, self.half :: 2], value.astype(np.uint16)
            if self.lanes is None:
                target[...] = value
            else:
                np.copyto(target, value, where=self.lanes)
            if self.taint is not None or g.taint:
                self._deliver_taint(g, row, place)

    def _deliver_taint(self, g: Group, row: int, place: int) -> None:
        parts = []
        before = g.taint.pop(row, None)
        if before is not None and (self.half is not None or self.lanes is not None):
            parts.append(before if self.half is not None else before & ~self.lanes)
        if self.taint is not None:
            parts.append(self.taint[place % len(self.taint)])
        if parts and (lanes := np.logical_or.reduce(parts)).any():
            g.taint[row] = lanes

    def take(self, which: Array) -> "InFlight":
        lanes = None if self.lanes is None else self.lanes[which]
        taint = None if self.taint is None else self.taint[:, which]
        return InFlight(
            self.key, self.counters, self.rows, [v[which] for v in self.values], lanes, self.half, taint
        )

    @staticmethod
    def join(parts: "Sequence[InFlight]") -> "InFlight":
        first = parts[0]
        values = [np.concatenate(each) for each in zip(*(part.values for part in parts), strict=True)]
        lanes = taint = None
        if any(part.lanes is not None for part in parts):
            lanes = np.concatenate([_lanes(part) for part in parts])
        if any(part.taint is not None for part in parts):
            words = max(len(part.taint) for part in parts if part.taint is not None)
            clean = [np.zeros((words, part.values[0].shape[0], 64), bool) for part in parts]
            taint = np.concatenate(
                [
                    nothing if part.taint is None else part.taint
                    for part, nothing in zip(parts, clean, strict=True)
                ],
                axis=1,
            )
        return InFlight(first.key, first.counters, first.rows, values, lanes, first.half, taint)


def _lanes(part: InFlight) -> Array:
    return np.ones((part.values[0].shape[0], 64), bool) if part.lanes is None else part.lanes


def issue(g: Group, operation: InFlight) -> None:
    g.queue.append(operation)
    g.pending |= operation.bits


def signature(g: Group) -> tuple:
    """Two groups can join only where this is equal: the same operations in flight, in the same order."""
    return tuple(each.key for each in g.queue)


def wait_step(instruction: Instruction) -> Step:
    """s_waitcnt: delivers every operation that is finished for certain once the counters are as low as it
    says.
    """
    text = (
        " ".join(instruction.operands)
        + " "
        + " ".join(f"{k}:{v}" if v else k for k, v in instruction.modifiers.items())
    )
    limits = {name: int(number) for name, number in re.findall(r"(vmcnt|lgkmcnt|expcnt)\((\d+)\)", text)}
    if not limits and not re.fullmatch(r"\s*(0x)?[0-9a-fA-F]+\s*", text):
        raise ProgramError(f"`{instruction}` is not implemented")
    if not limits:
        limits = {"vmcnt": 0, "lgkmcnt": 0} if int(text, 0) == 0 else _fields(int(text, 0))
    vector, lgkm = limits.get("vmcnt", 63), limits.get("lgkmcnt", 15)

    def step(g: Group) -> None:
        if g.queue:
            wait(g, vector, lgkm)

    return step


def _fields(value: int) -> dict[str, int]:
    """Counters packed into s_waitcnt's immediate: vmcnt bits 3:0 and 15:14, lgkmcnt 11:8."""
    return {"vmcnt": (value & 0xF) | ((value >> 14) & 3) << 4, "lgkmcnt": (value >> 8) & 0xF}


def wait(g: Group, vector: int, lgkm: int) -> None:
    left = {VECTOR: 0, LDS: 0}
    for each in g.queue:
        for counter in each.counters:
            if counter != SCALAR:
                left[counter] += 1
    kept, seen = [], {VECTOR: 0, LDS: 0}
    for each in g.queue:
        finished = True
        for counter in each.counters:
            if counter == SCALAR:
                finished &= lgkm == 0
            else:
                seen[counter] += 1
                finished &= seen[counter] <= left[counter] - (vector if counter == VECTOR else lgkm)
        if finished:
            each.deliver(g)
        else:
            kept.append(each)
    g.queue = kept
    g.pending = 0
    for each in kept:
        g.pending |= each.bits
