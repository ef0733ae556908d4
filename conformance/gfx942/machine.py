"""What wavefronts of one batch share: device memory, LDS, scratch, the checker and the counts."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np

from .checker import Findings
from .counts import Counts
from .lds import LocalShare
from .memory import Memory, Region, spread
from .program import Instruction
from .state import LANES, NAMED, Group
from .taint import rows_taint

Array = np.ndarray
MASKED = np.uint64(0x80000000)  # the buffer offset of a lane that a mask drops (Triton, AMD BufferOpsEmitter)


class Machine:
    """Memory operations as opcodes call them: each takes the group, so that faults can say who did what."""

    def __init__(
        self,
        memory: Memory,
        lds: LocalShare,
        findings: Findings,
        scratch: Region | None,
        scratch_size: int,
        *,
        plain_matrix: bool = False,
        counts: Counts | None = None,
    ) -> None:
        self.memory, self.lds, self.findings = memory, lds, findings
        self.scratch, self.scratch_size = scratch, scratch_size
        self.plain_matrix, self.counts = plain_matrix, counts
        self.saturate_fp8 = False
        self.symbols: dict[str, int] = {}
        self.ticks = 0
        self.atomics = 0  # instructions so far

    def clock(self) -> int:
        self.ticks += 1
        return self.ticks

    def barrier(self, workgroups: Array | None, lds_bases: Array | None) -> None:
        """The wavefronts of these workgroups, whose LDS begins at `lds_bases`, have met; None: of all."""
        self.lds.barrier(lds_bases)
        self.findings.stores.barrier(workgroups)

    def load(
        self, g: Group, instruction: Instruction, address: Array, size: int, lanes: Array | None
    ) -> tuple[list[Array], Array | None]:
        if self.counts is not None:
            self.counts.moved(instruction, "read", size, address, lanes)
        if lanes is not None and lanes is not g.exec:
            self._out_of_range(g, instruction, "a read", address, lanes)
        return self.memory.load(address, size, lanes, partial(self._report, g, instruction))

    def store(
        self,
        g: Group,
        instruction: Instruction,
        address: Array,
        size: int,
        values: list[Array],
        lanes: Array | None,
        rows: list[int],
    ) -> None:
        if self.counts is not None:
            self.counts.moved(instruction, "write", size, address, lanes)
        if lanes is not None and lanes is not g.exec:
            self._out_of_range(g, instruction, "a write", address, lanes)
        if g.taint:
            self._store_poison(g, instruction, address, lanes, rows)
        note = (
            partial(self.findings.stores.note, instruction, g.wave)
            if "scratch" not in instruction.opcode
            else None
        )
        self.memory.store(address, size, values, lanes, partial(self._report, g, instruction), note)

    def update(
        self,
        g: Group,
        instruction: Instruction,
        address: Array,
        size: int,
        change: Callable,
        lanes: Array,
        rows: list[int],
    ) -> Array:
        if self.counts is not None:
            self.counts.moved(instruction, "atomic", size, address, lanes)
        if g.taint:
            self._store_poison(g, instruction, address, lanes, rows)
        if lanes is not g.exec:
            self._out_of_range(g, instruction, "an atomic", address, lanes)
        self.atomics += 1
        self.findings.stores.atomic(g.wave)
        report = partial(self._report, g, instruction)
        return self.memory.update(address, size, change, lanes, report, "_swap" in instruction.opcode)

    def read_lds(
        self, g: Group, instruction: Instruction, place: Array, size: int
    ) -> tuple[list[Array], Array | None]:
        """`size` bytes for each lane of EXEC: (uint32 arrays, low first; which lanes read poison)."""
        place = np.broadcast_to(place, g.exec.shape)
        units, unit, lanes, address, slot, report = self._lds(g, instruction, place, size, "a read")
        if self.counts is not None:
            self.counts.moved(instruction, "read", size, place, g.exec)
        found = [self.lds.read(address + k * unit, unit, slot, report) for k in range(units)]
        words = [spread(each, lanes, place.shape) for each in _words(found, unit)]
        return words, self._lds_poison(address, size, lanes)

    def write_lds(
        self,
        g: Group,
        instruction: Instruction,
        place: Array,
        size: int,
        values: list[Array],
        rows: list[int],
    ) -> None:
        place = np.broadcast_to(place, g.exec.shape)
        units, unit, lanes, address, slot, report = self._lds(g, instruction, place, size, "a write")
        if self.counts is not None:
            self.counts.moved(instruction, "write", size, place, g.exec)
        chosen = [each if lanes is None else each[lanes] for each in values]
        for k in range(units):
            self.lds.write(address + k * unit, unit, _unit(chosen, k, unit), slot, report)
        if g.taint or self.lds.poisoned is not None:
            for k, row in enumerate(rows):
                taint = rows_taint(g, [row])
                self.lds.mark(address + 4 * k, min(size, 4), taint if lanes is None else taint[lanes])

    def update_lds(
        self, g: Group, instruction: Instruction, place: Array, size: int, change: Callable
    ) -> Array:
        """Atomics: lane after lane, without a race between wavefronts."""
        place = np.broadcast_to(place, g.exec.shape)
        _, _, _, _, _, report = self._lds(g, instruction, place, size, "an atomic")
        if self.counts is not None:
            self.counts.moved(instruction, "atomic", size, place, g.exec)
        inside = g.exec & (place <= max(self.lds.size - size, -1))
        address = place.astype(np.int64) + g.lds_base
        return self.lds.update(address, size, change, inside, report)

    def _lds(self, g: Group, instruction: Instruction, place: Array, size: int, what: str) -> tuple:
        """(units, bytes a unit, lanes or None for all, their addresses in all LDS, their slots, report)."""
        lanes = None if g.full else g.exec
        limit = self.lds.size - size
        active = place if lanes is None else place[lanes]
        if active.size and int(active.max()) > limit:
            outside = (place > max(limit, 0)) if limit >= 0 else np.ones(place.shape, bool)
            outside = outside & g.exec
            self.findings.add(
                g,
                instruction,
                f"{what} of {size} bytes outside the {self.lds.size} bytes of LDS",
                outside,
                place,
            )
            lanes = g.exec & ~outside
            active = place[lanes]
        unit = min(size, 8) if size != 12 else 4
        low_bits = int(np.bitwise_or.reduce(active, axis=None)) if active.size else 0
        while unit > 1 and low_bits & (unit - 1):
            unit //= 2
        base = np.broadcast_to(g.lds_base, g.exec.shape)
        slot = np.broadcast_to(g.slot, g.exec.shape)
        if lanes is not None:
            base, slot = base[lanes], slot[lanes]
            report = partial(self._report_some, g, instruction, lanes)
        else:
            report = partial(self._report, g, instruction)
        return size // unit, unit, lanes, active.astype(np.int64) + base, slot, report

    def _lds_poison(self, address: Array, size: int, lanes: Array | None) -> Array | None:
        if self.lds.poisoned is None:
            return None
        words = max(size // 4, 1)
        dirty = np.zeros((words, *address.shape), bool)
        for byte in range(size):
            dirty[byte // 4] |= self.lds.poisoned[address + byte]
        if not dirty.any():
            return None
        return dirty if lanes is None else np.stack([spread(each, lanes, lanes.shape) for each in dirty])

    def scratch_address(self, g: Group, inside: Array) -> Array:
        """Private memory: each lane its own bytes."""
        assert self.scratch is not None, "the kernel uses scratch that its descriptor does not ask for"
        lane = g.ids["local"].astype(np.int64) * LANES + np.arange(LANES)
        good = (inside >= 0) & (inside < self.scratch_size)
        address = np.uint64(self.scratch.first) + (lane * self.scratch_size + inside).view(np.uint64)
        return np.where(good, address, np.uint64(8))

    def _out_of_range(
        self, g: Group, instruction: Instruction, what: str, address: Array, lanes: Array
    ) -> None:
        """Lanes whose buffer offset is out of range and not the one that Triton gives to masked lanes."""
        left = g.exec & ~lanes
        if not left.any():
            return
        resource = re.fullmatch(r"s\[(\d+):\d+\]", instruction.operands[-2])
        assert resource is not None, instruction
        row, scalar = int(resource[1]), instruction.operands[-1]
        base = g.s[row].astype(np.uint64) | (
            (g.s[row + 1] & np.uint32(0xFFFF)).astype(np.uint64) << np.uint64(32)
        )
        start = _scalar(g, scalar) + np.uint64(int(instruction.modifiers.get("offset", "0"), 0))
        strange = left & (address - base - start != MASKED)
        if strange.any():
            self.findings.add(
                g,
                instruction,
                f"{what} at a negative offset or one beyond 2 GiB (the hardware drops it)",
                strange,
                address,
            )

    def _report(self, g: Group, instruction: Instruction, lanes: Array, address: Array, what: str) -> None:
        self.findings.add(g, instruction, what, lanes, address)

    def _report_some(
        self, g: Group, instruction: Instruction, active: Array, lanes: Array, address: Array, what: str
    ) -> None:
        if lanes.shape == active.shape:
            self.findings.add(g, instruction, what, lanes, address)
            return
        everywhere, places = np.zeros(active.shape, bool), np.zeros(active.shape, address.dtype)
        everywhere[active], places[active] = lanes, address
        self.findings.add(g, instruction, what, everywhere, places)

    def _store_poison(
        self, g: Group, instruction: Instruction, address: Array, lanes: Array | None, rows: list[int]
    ) -> None:
        taint = rows_taint(g, rows) & (g.exec if lanes is None else lanes)
        if taint.any():
            self.findings.add(g, instruction, "a value from poisoned memory is stored", taint, address)


def _scalar(g: Group, text: str) -> Array:
    """A scalar operand, a register or a number, as uint64[wavefront, 1] or of no dimensions."""
    if match := re.fullmatch(r"s(\d+)", text):
        return g.s[int(match[1])].astype(np.uint64)
    return g.s[NAMED[text]].astype(np.uint64) if text in NAMED else np.array(int(text, 0), np.uint64)


def _words(units: list[Array], unit: int) -> list[Array]:
    """Units of bytes in order as 32-bit words, low first."""
    if unit == 8:
        halves = [each.view(np.uint32).reshape(*each.shape, 2) for each in units]
        return [each[..., word] for each in halves for word in range(2)]
    if unit == 4:
        return units
    together = 4 // unit
    words = []
    for start in range(0, len(units), together):
        word = units[start].astype(np.uint32)
        for place, each in enumerate(units[start + 1 : start + together], 1):
            word |= each.astype(np.uint32) << np.uint32(8 * unit * place)
        words.append(word)
    return words


def _unit(values: list[Array], k: int, unit: int) -> Array:
    """The k-th unit of bytes of a row of 32-bit words."""
    if unit == 8:
        made = np.empty((*values[0].shape, 2), np.uint32)
        made[..., 0], made[..., 1] = values[2 * k], values[2 * k + 1]
        return made.view(np.uint64)[..., 0]
    if unit == 4:
        return values[k]
    byte = k * unit
    return (values[byte // 4] >> np.uint32(8 * (byte % 4))).astype(f"u{unit}")
