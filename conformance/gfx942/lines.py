"""Which source lines of which kernels ran: program counters, through the line table of the code."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .code import Code

Line = tuple[str, int]  # a file's name without its folder, and a line of it


class Lines:
    """By kernel and its constants: the lines that have code, and of those the ones that ran.

    A line has code if an instruction comes from it or from a call on it. The compiler may leave a line
    without any: what it computes is known beforehand, or merged into another line.
    """

    def __init__(self) -> None:
        self.kernels: dict[tuple[str, str], tuple[set[Line], set[Line]]] = {}
        self._known: dict[str, int] = {}

    def add(self, key: str, kernel: str, constants: Mapping[str, Any], code: Code) -> None:
        """Notes what ran of a kernel since it was loaded; `key` is Triton's, of the compiled one."""
        ran = int(np.count_nonzero(code.reached))
        if self._known.get(key) == ran:
            return
        self._known[key] = ran
        has, reached = self._of(kernel, json.dumps(constants, sort_keys=True))
        for start, end in code.block_end.items():
            places = {id(each.location): each.location for each in code.instructions[start : end + 1]}
            lines = {
                (file.rpartition("/")[2], line)
                for place in places.values()
                for file, line in place.lines
                if line
            }
            has |= lines
            if code.reached[start]:
                reached |= lines

    def to_json(self) -> str:
        return json.dumps(
            [
                [kernel, constants, sorted(has), sorted(ran)]
                for (kernel, constants), (has, ran) in self.kernels.items()
            ]
        )

    def merge(self, text: str) -> None:
        """Adds what another process noted, as its `to_json` gave it."""
        for kernel, constants, *parts in json.loads(text):
            for known, more in zip(self._of(kernel, constants), parts, strict=True):
                known.update((file, line) for file, line in more)

    def _of(self, kernel: str, constants: str) -> tuple[set[Line], set[Line]]:
        return self.kernels.setdefault((kernel, constants), (set(), set()))


@contextmanager
def untraced() -> Iterator[None]:
    """A tracer that watches the host's code rests while the emulator runs, which would take twice as long."""
    tracer = sys.gettrace()
    if tracer is None:
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
