"""How often one address, or one token, may ask: a token bucket for each, shared by all workers of a machine.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm), in a table
of fixed size that the workers map: memory does not grow with the number of clients, and two that meet in one
place share it, which a key that is new at every start makes a matter of chance. Time is the machine's
monotonic clock, which setting the date does not move.
"""

import fcntl
import hashlib
import math
import mmap
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BUCKETS = 2**16
_KEY_BYTES = 32
_PLACE = struct.Struct("=d")


@dataclass(frozen=True)
class Rate:
    """Of one bucket: requests a second over time, and how many at once after a rest."""

    per_second: float
    burst: int


class Limiter:
    """Opens the table that `create` made."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._file = path.open("r+b")
        self._table = mmap.mmap(self._file.fileno(), _KEY_BYTES + BUCKETS * _PLACE.size)
        self._key = self._table[:_KEY_BYTES]

    def wait(self, who: str, rate: Rate) -> int:
        """Counts one request. Returns 0, or after how many seconds to come back instead."""
        digest = hashlib.blake2b(who.encode(), digest_size=4, key=self._key).digest()
        place = _KEY_BYTES + int.from_bytes(digest, "big") % BUCKETS * _PLACE.size
        fcntl.lockf(self._file, fcntl.LOCK_EX, _PLACE.size, place)
        try:
            now = self._clock()
            full_at = max(_PLACE.unpack_from(self._table, place)[0], now) + 1 / rate.per_second
            excess = full_at - now - rate.burst / rate.per_second
            if excess > 1e-9:
                return math.ceil(excess)
            _PLACE.pack_into(self._table, place, full_at)
            return 0
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _PLACE.size, place)

    def close(self) -> None:
        self._table.close()
        self._file.close()


def create(path: Path) -> None:
    """Makes the table, with all buckets full and a new key, in place of the last start's."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(os.urandom(_KEY_BYTES) + bytes(BUCKETS * _PLACE.size))
    fresh.chmod(0o600)
    os.replace(fresh, path)
