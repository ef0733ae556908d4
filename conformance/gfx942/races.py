"""Races in device memory: wavefronts of one launch that leave different bytes at one address.

Every store is noted: where, what, and by whom. Of two different values at an address at most one is there
when the launch ends, so a launch whose stores all read back as they were written holds no race; that is one
comparison a store. Only what does not read back is looked at closer. Values that are equal are no race: a
store of a broadcast layout is made by several wavefronts. What one wavefront reads while another writes it
is not looked at, nor a store beside an atomic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .memory import Region
from .program import Instruction

Array = np.ndarray
BUDGET = 128 << 20  # bytes of notes; beyond it they are checked and dropped, and earlier stores forgotten
SHOWN = 4096  # addresses looked at closer
DEEP = 32  # stores to one of them


@dataclass(slots=True, eq=False)
class Store:
    """An instruction's store by the wavefronts `wave` [wavefront, 1], in `lanes` (None: all).

    `unit` bytes at each of `index`, in units from the region's origin; further `values` lie behind the first.
    """

    instruction: Instruction
    time: int
    wave: Array
    lanes: Array | None
    region: Region
    unit: int
    index: Array | slice
    values: list[Array]

    def reads_back(self) -> bool:
        """Whether memory still holds what was written."""
        view = self.region.view(self.unit)
        if isinstance(self.index, slice):
            return np.array_equal(_plain(view[self.index]), _plain(self.values[0]))
        return all(
            np.array_equal(_plain(np.take(view, self.index + k if k else self.index)), _plain(values))
            for k, values in enumerate(self.values)
        )

    def changed(self) -> Array:
        """Numbers of the elements that memory no longer holds as they were written."""
        every = np.arange(self.values[0].size)
        now = np.take(self.region.store, self.addresses(every) - self.region.origin)
        return np.flatnonzero((now != self.contents(every)).any(axis=1))

    def first_bytes(self) -> Array:
        """Each element's address."""
        index = np.arange(self.index.start, self.index.stop) if isinstance(self.index, slice) else self.index
        return index.reshape(-1) * self.unit + self.region.origin

    def addresses(self, which: Array) -> Array:
        """The bytes of the chosen elements: [element, byte]."""
        return self.first_bytes()[which][:, None] + np.arange(self.unit * len(self.values))

    def contents(self, which: Array) -> Array:
        rows = [np.ascontiguousarray(each.reshape(-1)[which]) for each in self.values]
        return np.concatenate([each.view(np.uint8).reshape(-1, self.unit) for each in rows], axis=1)

    def authors(self, which: Array) -> tuple[Array, Array]:
        """(wavefront, lane) of the chosen elements."""
        width = len(self.wave)
        wave, lane = np.broadcast_to(self.wave, (width, 64)), np.broadcast_to(np.arange(64), (width, 64))
        if self.lanes is not None:
            wave, lane = wave[self.lanes], lane[self.lanes]
        return wave.reshape(-1)[which], lane.reshape(-1)[which]


def _plain(values: Array) -> Array:
    return values.view(np.uint64) if values.dtype.kind == "c" else values


@dataclass(frozen=True)
class Race:
    """Two stores of different values to an address, the later one second: (store, wavefront, lane) each."""

    address: int
    stores: tuple[tuple[Store, int, int], tuple[Store, int, int]]


class Stores:
    """The stores of a launch, and what may order them: atomics and barriers. `wavefronts`: of a workgroup."""

    def __init__(self, wavefronts: int) -> None:
        self.wavefronts = wavefronts
        self.time = 0
        self._notes: list[Store] = []
        self._size = 0
        self._atomics: list[tuple[int, Array]] = []
        self._barriers: list[tuple[int, Array | None]] = []
        self._found: list[Race] = []

    def note(
        self,
        instruction: Instruction,
        wave: Array,
        region: Region,
        unit: int,
        index: Array | slice,
        values: list[Array],
        lanes: Array | None,
    ) -> None:
        self.time += 1
        self._notes.append(Store(instruction, self.time, wave, lanes, region, unit, index, values))
        self._size += len(values) * values[0].nbytes + (0 if isinstance(index, slice) else index.nbytes)
        if self._size > BUDGET:
            self._found += self._check()

    def atomic(self, wave: Array) -> None:
        """Orders what these wavefronts' workgroups stored before with what others store behind theirs."""
        self.time += 1
        self._atomics.append((self.time, np.unique(wave // self.wavefronts)))

    def barrier(self, workgroups: Array | None) -> None:
        """Wavefronts of these workgroups (None: of all that run) have met."""
        if self._notes:
            self.time += 1
            self._barriers.append((self.time, workgroups))

    def races(self) -> list[Race]:
        """One for each store and lane that another store's value was lost to, or that lost its own."""
        return self._found + self._check()

    def _check(self) -> list[Race]:
        suspects: Array = np.zeros(0, np.int64)
        for each in self._notes:
            if suspects.size < SHOWN and not each.reads_back():
                bytes_of = each.addresses(each.changed()[:SHOWN])
                suspects = np.union1d(suspects, bytes_of.reshape(-1))[:SHOWN]
        found = list(self._close_look(suspects)) if suspects.size else []
        self._notes, self._size = [], 0
        return found

    def _close_look(self, suspects: Array) -> Iterator[Race]:
        """Looks at every store to the suspected bytes, in order of time."""
        touched: dict[int, list[tuple[Store, int, int, int, int]]] = {}
        told: set[tuple[int, int, int]] = set()
        for each in self._notes:
            width = each.unit * len(each.values)
            first = each.first_bytes()
            near = np.searchsorted(suspects, first)
            inside = (near < suspects.size) & (suspects[np.minimum(near, suspects.size - 1)] < first + width)
            which = np.flatnonzero(inside)
            for row, bytes_of, wave, lane in zip(
                each.addresses(which), each.contents(which), *each.authors(which), strict=True
            ):
                for address, byte in zip(row.tolist(), bytes_of.tolist(), strict=True):
                    stores = touched.setdefault(address, [])
                    if len(stores) < DEEP:
                        stores.append((each, int(wave), int(lane), byte, int(row[0])))
        for address in suspects.tolist():
            for one, other in combinations(touched.get(address, ()), 2):
                if one[3] == other[3] or self._ordered(one[0].time, one[1], other[0].time, other[1]):
                    continue
                author = (other[0].time, other[1], other[2])
                if author not in told:
                    told.add(author)
                    yield Race(other[4], (one[:3], other[:3]))

    def _ordered(self, before: int, first: int, after: int, second: int) -> bool:
        """Whether `first`'s store at time `before` surely comes before `second`'s at time `after`."""
        if before == after:
            return False
        if first == second:
            return True
        first, second = first // self.wavefronts, second // self.wavefronts
        if first == second:
            return any(
                before < time < after and (who is None or first in who) for time, who in self._barriers
            )
        released = next((time for time, who in self._atomics if time > before and first in who), after)
        return any(released <= time < after and second in who for time, who in self._atomics)
