"""A whole call again, for inputs of its kind: the same launches with other addresses, and two allocations.

The host's time is then that of the launches. On an emulated GPU, which wants to know of every tensor, each
call goes through all stages.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

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
            changing, described = [], []
            values = list(arguments)
            for index, each in enumerate(arguments):
                if each is None or isinstance(each, int):
                    continue
                tensor = each.base if isinstance(each, TensorDescriptor) else each
                if not (isinstance(tensor, torch.Tensor) and on_gpu(tensor)):
                    return None
                if id(tensor) not in places:
                    places[id(tensor)] = len(given) + 1 + len(offsets)
                    offsets.append(size)
                    size += -(-tensor.nbytes // ALIGNED) * ALIGNED
                values[index] = None
                if tensor is each:
                    changing.append((index, places[id(tensor)]))
                else:
                    described.append((index, places[id(tensor)], rest_of(each)))
            arguments = [*values, *code.rest]
            steps.append(Step(code.run, grid, code.function, code.packed, arguments, changing, described))
        return Replay(self._calls, tuple(result.shape), offsets, size, steps)


class Step(NamedTuple):
    """A launch: Triton's launcher, its grid, loaded code, all arguments, and which of them are addresses or
    descriptors of what is there: (index, place) and (index, place, the rest of the descriptor).
    """

    run: Any
    grid: tuple[int, int, int]
    function: Any
    packed: Any
    values: list[Any]
    changing: list[tuple[int, int]]
    described: list[tuple[int, int, tuple[Any, ...]]]


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
        for run, grid, function, packed, values, changing, described in self.steps:
            arguments = values.copy()
            for index, place in changing:
                arguments[index] = addresses[place]
            for index, place, rest in described:
                arguments[index] = Described(Address(addresses[place]), *rest)
            run(*grid, stream, function, packed, None, None, None, *arguments)
        return result


class Described(NamedTuple):
    """What a launcher asks of a tensor descriptor, without the checks that the first one passed."""

    base: "Address"
    shape: Sequence[int]
    strides: Sequence[int]
    block_shape: Sequence[int]
    padding: str
    round_f32_to_tf32: bool


class Address(NamedTuple):
    """What a launcher asks of a descriptor's tensor."""

    value: int

    def data_ptr(self) -> int:
        return self.value


def rest_of(descriptor: TensorDescriptor) -> tuple[Any, ...]:
    """Of `Described`, all but the base. Triton 3.6 knows of no rounding to tf32."""
    return tuple(getattr(descriptor, name, False) for name in Described._fields[1:])


def ready(replay: Replay | None) -> bool:
    """Whether to take it: a profiler is told of launches on Triton's own way only."""
    return replay is not None and not hooked()


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether its address is all that a launch needs; asking here, tests can say so of the CPU's."""
    return tensor.is_cuda
