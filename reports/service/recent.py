"""What was asked for just now, in memory: for a few seconds, and never more than so many bytes."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
SECONDS = 5.0
BYTES = 32 * 2**20


class Recent(Generic[T]):
    """Values by key, the oldest forgotten first. For one thread."""

    def __init__(
        self,
        seconds: float = SECONDS,
        most_bytes: int = BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most_bytes, clock
        self._values: OrderedDict[Hashable, tuple[float, int, T]] = OrderedDict()
        self.bytes = 0

    def get(self, key: Hashable) -> T | None:
        """The value, unless it is too old; None if there is none."""
        found = self._values.get(key)
        if found is None or found[0] < self._clock():
            return None
        return found[2]

    def put(self, key: Hashable, size: int, value: T) -> None:
        if key in self._values:
            self._forget(key)
        self._values[key] = self._clock() + self._seconds, size, value
        self.bytes += size
        while self.bytes > self._most:
            self._forget(next(iter(self._values)))

    def clear(self) -> None:
        self._values.clear()
        self.bytes = 0

    def _forget(self, key: Hashable) -> None:
        self.bytes -= self._values.pop(key)[1]
