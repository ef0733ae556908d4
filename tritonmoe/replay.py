"""A whole call again, for inputs of its kind: the same launches with other addresses, and two allocations.

The host's time is then that of the launches. Where tensor descriptors take part, and on an emulated GPU,
which wants to know of every tensor, each call goes through all stages.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from .dispatch import Calls, hooked

ALIGNED = 256  # bytes: more than any kernel is compiled for


class Recording:
    """Takes the place of calls while the stages of one call are launched."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._launched: list[tuple[str, tuple[int, int, int], Sequence[Any]]] = []

    def launch(self, kernel: Any, grid: Any, arguments: Sequence[Any], meta: Any, name: str) -> None:
        self._calls.launch(kernel, grid, arguments, meta, name)
        self._launched.append((name, grid, arguments))

    def replay(self, given: Sequence[torch.Tensor], result: torch.Tensor) -> "Replay | None":
        """What makes `result` of tensors like `given`; None where it takes more than addresses to do so."""
        known = [self._calls.known(name) for name, _, _ in self._launched]
        if not known or None in known:
            return None
        places = {id(each): index for index, each in enumerate((*given, result))}
        offsets, size, steps = [], 0, []
        for code, (_, grid, arguments) in zip(known, self._launched, strict=True):
            changing = []
            for index, each in enumerate(arguments):
                if each is None or isinstance(each, int):
                    continue
                if not (isinstance(each, torch.Tensor) and on_gpu(each)):
                    return None
                if id(each) not in places:
                    places[id(each)] = len(given) + 1 + len(offsets)
                    offsets.append(size)
                    size += -(-each.nbytes // ALIGNED) * ALIGNED
                changing.append((index, places[id(each)]))
            values = [None if isinstance(each, torch.Tensor) else each for each in arguments]
            steps.append(Step(code.run, grid, code.function, code.packed, [*values, *code.rest], changing))
        return Replay(self._calls, tuple(result.shape), offsets, size, steps)


class Step(NamedTuple):
    """A launch: Triton's launcher, its grid, loaded code, all arguments, and which of them are addresses."""

    run: Any
    grid: tuple[int, int, int]
    function: Any
    packed: Any
    values: list[Any]
    changing: list[tuple[int, int]]


class Replay(NamedTuple):
    """The launches of a call, the shape of its result, and the memory between them, as offsets in bytes."""

    calls: Calls
    shape: tuple[int, ...]
    offsets: list[int]
    size: int
    steps: list[Step]

    def __call__(self, given: Sequence[torch.Tensor]) -> torch.Tensor:
        x = given[0]
        between = torch.empty(self.size, dtype=torch.uint8, device=x.device)
        result = torch.empty(self.shape, dtype=x.dtype, device=x.device)
        first = between.data_ptr()
        addresses = [each.data_ptr() for each in given]
        addresses += [result.data_ptr(), *[first + offset for offset in self.offsets]]
        stream = self.calls.stream()
        for run, grid, function, packed, values, changing in self.steps:
            arguments = values.copy()
            for index, place in changing:
                arguments[index] = addresses[place]
            run(*grid, stream, function, packed, None, None, None, *arguments)
        return result


def ready(replay: Replay | None) -> bool:
    """Whether to take it: a profiler is told of launches on Triton's own way only."""
    return replay is not None and not hooked()


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether its address is all that a launch needs; asking here, tests can say so of the CPU's."""
    return tensor.is_cuda
