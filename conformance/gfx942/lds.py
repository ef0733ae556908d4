"""The local data share: each workgroup's own bytes, and what the checker knows about them.

`writer` and `reader` hold, per byte, who touched it since the last barrier: slot + 1 of a wavefront, SEVERAL
of them, or OLD for bytes written before the barrier; 0 is never. They are read in words as wide as the
access. Wavefronts that write what is there already are no race: values of a broadcast layout are written by
several.
"""

from collections.abc import Callable

import numpy as np

from .memory import turns

Array = np.ndarray
Report = Callable[[Array, Array, str], None]
OLD, SEVERAL = 0xFF, 0xFE
BANKS = 32  # of 4 bytes each (MI300 ISA manual, "Data Share")


class LocalShare:
    """LDS of the workgroups that run together: `size` bytes each, one after another.

    Races are looked for where a workgroup has more than one wavefront.
    """

    def __init__(self, workgroups: int, size: int, wavefronts: int) -> None:
        self.size = size
        self.stride = -(-size // 16) * 16
        self.bytes = np.full(workgroups * self.stride + 16, 0xA5, np.uint8)
        self.writer = np.zeros(self.bytes.size, np.uint8)
        self.shared = wavefronts > 1
        self.reader = np.zeros(self.bytes.size if self.shared else 0, np.uint8)
        self.touched = False
        self.poisoned: Array | None = None
        self._views: dict[tuple[str, int], Array] = {}

    def view(self, name: str, unit: int) -> Array:
        made = self._views.get((name, unit))
        if made is None:
            store = getattr(self, name)
            made = self._views[name, unit] = store[: store.size // unit * unit].view(f"u{unit}")
        return made

    def barrier(self, bases: Array | None) -> None:
        """All wavefronts of the workgroups at `bases` (None: of all) have met."""
        if not (self.shared and self.touched):
            return
        if bases is None:
            np.multiply(self.writer != 0, np.uint8(OLD), out=self.writer)
            self.reader.fill(0)
            self.touched = False
            return
        for base in np.unique(bases):
            mine = slice(int(base), int(base) + self.stride)
            self.writer[mine] = np.where(self.writer[mine] != 0, OLD, 0)
            self.reader[mine] = 0

    def read(self, address: Array, unit: int, slot: Array, report: Report) -> Array:
        """One unit of 1, 2, 4 or 8 bytes for each lane's address within all LDS (already in range and
        aligned).
        """
        index = address >> (unit.bit_length() - 1)
        values = np.take(self.view("bytes", unit), index)
        writer = np.take(self.view("writer", unit), index)
        old = _repeat(OLD, unit)
        if not self.shared:
            if not (writer == old).all():
                self._unwritten(address, writer, unit, report)
            return values
        me = _repeated(slot, unit)
        fine = (writer == old) | (writer == me)
        if not fine.all():
            self._read_faults(address, writer, slot, unit, report)
        self._note_readers(index, me, slot, unit)
        self.touched = True
        return values

    def write(self, address: Array, unit: int, values: Array, slot: Array, report: Report) -> None:
        index = address >> (unit.bit_length() - 1)
        if self.shared:
            me = _repeated(slot, unit)
            self._write_faults(address, index, me, slot, unit, values, report)
            writers = self.view("writer", unit)
            writers[index] = me
            self.view("bytes", unit)[index] = values
            clash = np.take(writers, index) != me
            if clash.any():
                self._clash(address, index, clash, unit, values, report)
            self.touched = True
        else:
            self.view("writer", unit)[index] = _repeat(OLD, unit)
            self.view("bytes", unit)[index] = values

    def update(
        self, address: Array, size: int, change: Callable[[Array, Array], Array], lanes: Array, report: Report
    ) -> Array:
        """Atomic read-modify-write, lane after lane; atomics of several wavefronts are no race."""
        unsigned = np.dtype(f"u{size}")
        old = np.zeros(address.shape, unsigned)
        flat = np.flatnonzero(lanes)
        chosen = address.reshape(-1)[flat]
        writer, store = self.view("writer", 1), self.view("bytes", size)
        never = np.zeros(address.size, bool)
        for byte in range(size):
            never[flat] |= writer[chosen + byte] == 0
            writer[chosen + byte] = OLD
        if never.any():
            report(never.reshape(address.shape), address, "a read of LDS bytes that were never written")
        for turn in turns(chosen):
            index = chosen[turn] // size
            before = store[index]
            old.reshape(-1)[flat[turn]] = before
            store[index] = change(before, flat[turn]).astype(unsigned)
        return old

    def mark(self, address: Array, size: int, poisoned: Array) -> None:
        """Notes which written bytes hold poisoned values."""
        if self.poisoned is None:
            if not poisoned.any():
                return
            self.poisoned = np.zeros(self.bytes.size, bool)
        for byte in range(size):
            self.poisoned[address + byte] = poisoned

    def _unwritten(self, address: Array, writer: Array, unit: int, report: Report) -> None:
        never = (_split(writer, unit) == 0).any(-1)
        if never.any():
            report(never, address, "a read of LDS bytes that were never written")

    def _read_faults(self, address: Array, writer: Array, slot: Array, unit: int, report: Report) -> None:
        self._unwritten(address, writer, unit, report)
        each, mine = _split(writer, unit), (slot + 1)[..., None]
        foreign = ((each != 0) & (each != OLD) & (each != SEVERAL) & (each != mine)).any(-1)
        if foreign.any():
            report(
                foreign,
                address,
                "a read of LDS bytes that another wavefront wrote since the last barrier (a race)",
            )

    def _note_readers(self, index: Array, me: Array, slot: Array, unit: int) -> None:
        readers = self.view("reader", unit)
        before = np.take(readers, index)
        strangers = (before != 0) & (before != me)
        if strangers.any():
            each, mine = _split(before, unit), (slot + 1)[..., None]
            mixed = np.where((each == 0) | (each == mine), mine, SEVERAL).astype(np.uint8)
            readers[index] = np.where(strangers, _joined(mixed, unit), me)
        else:
            readers[index] = me
        after = np.take(readers, index)
        clash = (after != me) & ~strangers
        if clash.any():
            readers[index[clash]] = _repeat(SEVERAL, unit)

    def _clash(
        self, address: Array, index: Array, clash: Array, unit: int, values: Array, report: Report
    ) -> None:
        """Several wavefronts have just written the same bytes; of different values one is lost."""
        lost = np.take(self.view("bytes", unit), index) != values
        if lost.any():
            report(lost, address, "several wavefronts write the same LDS bytes between barriers (a race)")
        self.view("writer", unit)[index[clash]] = _repeat(SEVERAL, unit)

    def _write_faults(
        self, address: Array, index: Array, me: Array, slot: Array, unit: int, values: Array, report: Report
    ) -> None:
        reader, writer = np.take(self.view("reader", unit), index), np.take(self.view("writer", unit), index)
        if ((reader != 0) & (reader != me)).any():
            each, new = _split(reader, unit), self._new(index, unit, values)
            foreign = ((each != 0) & (each != (slot + 1)[..., None]) & new).any(-1)
            if foreign.any():
                report(
                    foreign,
                    address,
                    "a write to LDS bytes that another wavefront read since the last barrier (a race)",
                )
        if ((writer != 0) & (writer != me) & (writer != _repeat(OLD, unit))).any():
            each, new = _split(writer, unit), self._new(index, unit, values)
            foreign = ((each != 0) & (each != OLD) & (each != (slot + 1)[..., None]) & new).any(-1)
            if foreign.any():
                report(
                    foreign,
                    address,
                    "a write to LDS bytes that another wavefront wrote since the last barrier (a race)",
                )

    def _new(self, index: Array, unit: int, values: Array) -> Array:
        """Which bytes of each value are not there already."""
        return _split(np.take(self.view("bytes", unit), index), unit) != _split(values, unit)


def bank_conflicts(address: Array, lanes: Array, unit: int) -> int:
    """Cycles beyond the first that the accesses of each wavefront need: most different words in one bank,
    less one.

    Lanes are taken in halves of 32 (quarters of 16 for 8 bytes, eighths for 16), as many as one cycle serves.
    """
    together = {1: 32, 2: 32, 4: 32, 8: 16, 16: 8}[unit]
    extra = 0
    for wave, active in zip(
        address.reshape(-1, 64), np.broadcast_to(lanes, address.shape).reshape(-1, 64), strict=True
    ):
        for start in range(0, 64, together):
            part = wave[start : start + together][active[start : start + together]] // 4
            if part.size:
                words = np.unique(part)
                extra += int(np.bincount(words % BANKS).max()) - 1
    return extra


def _repeat(byte: int, unit: int) -> np.integer:
    return np.dtype(f"u{unit}").type(int.from_bytes(bytes([byte]) * unit, "little"))


def _repeated(slot: Array, unit: int) -> Array:
    dtype = np.dtype(f"u{unit}")
    return (slot + 1).astype(dtype) * dtype.type(int.from_bytes(b"\1" * unit, "little"))


def _split(words: Array, unit: int) -> Array:
    return np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, unit)


def _joined(parts: Array, unit: int) -> Array:
    return np.ascontiguousarray(parts).view(f"u{unit}").reshape(parts.shape[:-1])
