"""Device memory: the bytes of the tensors that a launch was given, and nothing else.

Addresses are the tensors' real ones. A read outside of them gives 0 and is reported, a write is dropped and
reported. Bytes marked as poisoned stay so until a kernel writes them; a load tells which lanes read such
bytes.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Array = np.ndarray
Report = Callable[[Array, Array, str], None]  # (lanes, addresses, what happened)
Note = Callable[["Region", int, "Array | slice", list[Array], Array | None], None]
# (where, bytes a unit, units' indices, their values and those of the units behind them, lanes)
UNITS = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}  # the last only moved, as it is
_POISON: dict[int, Array] = {}  # per byte of a storage, by its address: 1 where poisoned
PATTERN = 0xFF  # a byte that no longer holds it was written by the host


def poison(tensor: torch.Tensor, holes: torch.Tensor | None = None) -> None:
    """Marks a tensor's whole storage as not to be used before a kernel writes it.

    `holes`: bool, one a byte of the storage, where only some of it is. The bytes must hold 0xFF.
    """
    address = tensor.untyped_storage().data_ptr()
    size = tensor.untyped_storage().nbytes()
    _POISON[address] = np.ones(size, np.uint8) if holes is None else holes.numpy().view(np.uint8).copy()
    weakref.finalize(tensor.untyped_storage(), _POISON.pop, address, None)


@dataclass
class Region:
    """The bytes first..end of memory that kernels may touch, inside `store`, which begins at address
    `origin`.
    """

    name: str
    first: int
    end: int
    origin: int
    store: Array
    poisoned: Array | None
    views: dict[int, Array]

    @classmethod
    def of_tensor(cls, name: str, tensor: torch.Tensor) -> "Region":
        storage = tensor.untyped_storage()
        store = torch.tensor([], dtype=torch.uint8).set_(storage).numpy()
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        first = tensor.data_ptr()
        end = first + (last + 1) * tensor.element_size() if tensor.numel() else first
        return cls(name, first, end, storage.data_ptr(), store, _POISON.get(storage.data_ptr()), {})

    @classmethod
    def of_bytes(cls, name: str, address: int, store: Array) -> "Region":
        return cls(name, address, address + store.size, address, store, None, {})

    def view(self, size: int) -> Array:
        made = self.views.get(size)
        if made is None:
            made = self.views[size] = _as_units(self.store, size)
        return made


class Memory:
    """All regions of a launch."""

    def __init__(self, regions: list[Region]) -> None:
        self.regions = list(regions)

    def load(
        self, address: Array, size: int, lanes: Array | None, report: Report
    ) -> tuple[list[Array], Array | None]:
        """`size` bytes at each address: (uint32 arrays, low first, 0 outside `lanes`; which lanes read
        poison, for each of these arrays).
        """
        unit = min(size, 4)
        active = address if lanes is None else address[lanes]
        if not active.size:
            return [np.zeros(address.shape, np.uint32) for _ in range(max(size // 4, 1))], None
        region = self._holding(int(active.min()), int(active.max()) + size)
        if region is None or (unit > 1 and int(np.bitwise_or.reduce(active, axis=None)) & (unit - 1)):
            return self._load_slowly(address, size, lanes, report)
        index = (active - np.uint64(region.origin)).view(np.int64)
        if unit > 1:
            index >>= unit.bit_length() - 1
        found = [np.take(region.view(unit), index if k == 0 else index + k) for k in range(max(size // 4, 1))]
        tainted = None
        if region.poisoned is not None:
            dirty = [self._poisoned(region, active + np.uint64(4 * k), unit) for k in range(len(found))]
            if any(each.any() for each in dirty):
                tainted = np.stack([spread(each, lanes, address.shape) for each in dirty])
        return [
            spread(each if unit == 4 else each.astype(np.uint32), lanes, address.shape) for each in found
        ], tainted

    def store(
        self,
        address: Array,
        size: int,
        values: list[Array],
        lanes: Array | None,
        report: Report,
        note: Note | None = None,
    ) -> None:
        """Writes the low `size` bytes of `values` (uint32 arrays, low first) at each address; tells `note` of
        it.
        """
        active = address if lanes is None else address[lanes]
        if not active.size:
            return
        low, high = int(active.min()), int(active.max()) + size
        region = self._holding(low, high)
        odd = int(np.bitwise_or.reduce(active, axis=None))
        if region is None or odd & (min(size, 4) - 1):
            self._store_slowly(address, size, values, lanes, report, note)
            return
        unit = size if size in UNITS and not (odd | region.origin) & (size - 1) else 4
        given = [np.broadcast_to(each, address.shape) for each in values]
        if lanes is not None:
            given = [each[lanes] for each in given]
        written = _in_units(given, unit)
        index: Array | slice
        if unit == size and _consecutive(active, low, high, size):
            index = slice((low - region.origin) // unit, (high - region.origin) // unit)
            written = [each.reshape(-1) for each in written]
            if region.poisoned is not None:
                region.poisoned[low - region.origin : high - region.origin] = 0
        else:
            index = (active - np.uint64(region.origin)).view(np.int64)
            if region.poisoned is not None:
                for byte in range(size):
                    region.poisoned[index + byte] = 0
            if unit > 1:
                index >>= unit.bit_length() - 1
        view = region.view(unit)
        for k, each in enumerate(written):
            view[index if k == 0 else index + k] = each
        if note is not None:
            note(region, unit, index, written, lanes)

    def update(
        self,
        address: Array,
        size: int,
        change: Callable[[Array, Array], Array],
        lanes: Array,
        report: Report,
        replaces: bool = False,
    ) -> Array:
        """Atomic read-modify-write, lane after lane: `change(old, which)` gives the new values of the lanes
        numbered `which`. Returns the old values, unsigned integers of `size` bytes. Poison is reported
        unless the new value `replaces` the old one.
        """
        unsigned = np.dtype(f"u{size}")
        old = np.zeros(address.shape, unsigned)
        flat = np.flatnonzero(lanes)
        chosen = address.reshape(-1)[flat]
        for turn in turns(chosen):
            which = flat[turn]
            where = np.zeros(address.size, bool)
            where[which] = True
            where = where.reshape(address.shape)
            parts, tainted = self.load(address, size, where, report)
            if tainted is not None and not replaces:
                report(tainted.any(axis=0), address, "an atomic changes poisoned memory")
            before = parts[0].reshape(-1)[which].astype(unsigned)
            if size == 8:
                before |= parts[1].reshape(-1)[which].astype(unsigned) << unsigned.type(32)
            after = change(before, which).astype(unsigned)
            old.reshape(-1)[which] = before
            words = []
            for shift in range(0, 8 * size, 32):
                word = np.zeros(address.size, np.uint32)
                word[which] = (after >> unsigned.type(shift)).astype(np.uint32)
                words.append(word.reshape(address.shape))
            self.store(address, size, words, where, report)
        return old

    def _holding(self, low: int, high: int) -> Region | None:
        for region in self.regions:
            if region.first <= low and high <= region.end:
                return region
        return None

    def _poisoned(self, region: Region, active: Array, size: int) -> Array:
        index = (active - np.uint64(region.origin)).view(np.int64)
        assert region.poisoned is not None
        dirty = np.zeros(active.shape, bool)
        for byte in range(size):
            dirty |= (region.poisoned[index + byte] == 1) & (region.store[index + byte] == PATTERN)
        return dirty

    def _load_slowly(
        self, address: Array, size: int, lanes: Array | None, report: Report
    ) -> tuple[list[Array], Array | None]:
        """Byte by byte: lanes in several tensors, unaligned, or outside of all."""
        lanes = np.ones(address.shape, bool) if lanes is None else lanes
        bytes_read = np.zeros((size, *address.shape), np.uint32)
        tainted = np.zeros((max(size // 4, 1), *address.shape), bool)
        for region, inside in self._shares(address, size, lanes, "a read", report):
            active = address[inside]
            index = (active - np.uint64(region.origin)).view(np.int64)
            for byte in range(size):
                bytes_read[byte][inside] = region.store[index + byte]
            if region.poisoned is not None:
                for k, word in enumerate(tainted):
                    word[inside] |= self._poisoned(region, active + np.uint64(4 * k), min(size, 4))
        words = [
            sum(
                (bytes_read[4 * k + b] << np.uint32(8 * b) for b in range(min(size, 4))),
                np.zeros(address.shape, np.uint32),
            )
            for k in range(max(size // 4, 1))
        ]
        return words, tainted if tainted.any() else None

    def _store_slowly(
        self,
        address: Array,
        size: int,
        values: list[Array],
        lanes: Array | None,
        report: Report,
        note: Note | None,
    ) -> None:
        lanes = np.ones(address.shape, bool) if lanes is None else lanes
        for region, inside in self._shares(address, size, lanes, "a write", report):
            index = (address[inside] - np.uint64(region.origin)).view(np.int64)
            for byte in range(size):
                word = np.broadcast_to(values[byte // 4], address.shape)[inside]
                chosen = (word >> np.uint32(8 * (byte % 4))).astype(np.uint8)
                region.store[index + byte] = chosen
                if note is not None:
                    note(region, 1, index + byte, [chosen], inside)
                if region.poisoned is not None:
                    region.poisoned[index + byte] = 0

    def _shares(
        self, address: Array, size: int, lanes: Array, what: str, report: Report
    ) -> list[tuple[Region, Array]]:
        """Which lanes lie in which region; lanes in none are reported."""
        left, found = lanes.copy(), []
        for region in self.regions:
            first, end = np.uint64(region.first), np.uint64(max(region.end - size, 0))
            inside = left & (address >= first) & (address <= end) & (region.end - region.first >= size)
            if inside.any():
                found.append((region, inside))
                left &= ~inside
        if left.any():
            report(
                left,
                address,
                f"{what} of {size} bytes outside of every tensor{self._nearest(int(address[left][0]))}",
            )
        return found

    def _nearest(self, address: int) -> str:
        """Where the address lies beside the tensor nearest to it."""
        named = [region for region in self.regions if region.end > region.first]
        if not named:
            return ""
        near = min(named, key=lambda r: r.first - address if address < r.first else address - r.end)
        if address < near.first:
            return f": {near.first - address} bytes before {near.name}"
        return f": {address - near.end} bytes behind {near.name}"


def turns(keys: Array) -> list[Array]:
    """Positions of `keys` in groups without a repeated key; of equal keys the earlier comes in an earlier
    group.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    start = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if keys.size else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(start, np.arange(keys.size), 0))
    rank = np.arange(keys.size) - first
    return [order[rank == turn] for turn in range(int(rank.max()) + 1)] if keys.size else []


def spread(values: Array, lanes: Array | None, shape: tuple[int, ...]) -> Array:
    if lanes is None:
        return values
    made = np.zeros(shape, values.dtype)
    made[lanes] = values
    return made


def _as_units(store: Array, size: int) -> Any:
    return store[: store.size // size * size].view(UNITS[size])


def _in_units(words: list[Array], unit: int) -> list[Array]:
    """32-bit words, low first, as fresh arrays of units of 1 to 16 bytes."""
    if unit <= 4:
        return [each.astype(UNITS[unit]) for each in words]
    together = np.empty((*words[0].shape, unit // 4), np.uint32)
    for k, each in enumerate(words):
        together[..., k] = each
    return [together.view(UNITS[unit])[..., 0]]


def _consecutive(active: Array, low: int, high: int, size: int) -> bool:
    """Whether these addresses, the lowest `low`, lie one behind the other in order."""
    if high - low != size * active.size:
        return False
    flat = active.reshape(-1)
    return bool((flat[1:] - flat[:-1] == np.uint64(size)).all())
