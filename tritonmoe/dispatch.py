"""Launching kernels again without Triton's look at every argument, most of a call's time on the host."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
import triton
from triton import knobs
from triton.compiler import CompiledKernel

from .launches import Launch

MOST = 4096  # kinds of inputs remembered for a launch configuration: batches of every size that is served


class Code(NamedTuple):
    """Loaded code of a kernel, how Triton launches it, and the arguments that are the same every time."""

    kernel: Any
    run: Any
    function: Any
    packed: Any
    rest: tuple[Any, ...]


class Calls:
    """What was launched before for inputs of one kind on one device, with one configuration."""

    __slots__ = ("_device", "_driver", "_known", "replay")

    def __init__(self, driver: Any, device: int) -> None:
        self._driver, self._device = driver, device
        self._known: dict[str, Code] = {}
        self.replay: Any = None  # of all of them together, if there is one

    def launch(
        self,
        kernel: Any,
        grid: tuple[int, int, int],
        arguments: Sequence[Any],
        meta: Callable[[], dict[str, Any]],
        name: str,
    ) -> None:
        """kernel[grid](*arguments, **meta()), where `name` says which of the calls this is.

        `arguments` come first in the kernel's signature, then meta's parameters; meta's launch options are in
        none. Where the same name was launched before, code and parameters are those of then. Triton's
        interpreter compiles nothing, so there every launch is a first one.
        """
        known = self._known.get(name)
        if known is not None and known.kernel is kernel and not hooked():
            given = [each.data_ptr() if getattr(each, "is_cuda", False) else each for each in arguments]
            packed = known.packed
            known.run(*grid, self.stream(), known.function, packed, None, None, None, *given, *known.rest)
            return
        chosen = meta()
        compiled = kernel[grid](*arguments, **chosen)
        if isinstance(compiled, CompiledKernel):
            rest = tuple(chosen[each] for each in kernel.arg_names[len(arguments) :])
            code = compiled.run, compiled.function, compiled.packed_metadata
            self._known[name] = Code(kernel, *code, rest)

    def known(self, name: str) -> Code | None:
        """What was launched by that name before."""
        return self._known.get(name)

    def stream(self) -> int:
        return self._driver.get_current_stream(self._device)


def calls(launch: Launch, *given: torch.Tensor | None, also: Hashable = None) -> Calls:
    """The calls for tensors like these on the current device; `also`: whatever else the kernels'
    meta-parameters depend on beside `launch`.
    """
    return calls_of(launch, kind_of(*given), also)


def calls_of(launch: Launch, kind: Hashable, also: Hashable) -> Calls:
    """The calls for tensors of one kind, as `kind_of` says it; for no kind, nothing is remembered."""
    if kind is None:
        return Calls(*_where())
    found = launch.calls.get((kind, also))
    if found is None:
        if len(launch.calls) >= MOST:
            launch.calls.clear()
        found = launch.calls[kind, also] = Calls(*_where())
    return found


def kind_of(*given: torch.Tensor | None) -> Hashable:
    """What checks and compiled code depend on: the active driver and device, whether gradients are kept, and
    each tensor's shape, strides, alignment, dtype, device and layout. None if some is no plain tensor.

    Memory from torch.empty needs no mention: it is aligned to at least 16 bytes everywhere.
    """
    try:
        return _where(), torch.is_grad_enabled(), *[each if each is None else _kind(each) for each in given]
    except (AttributeError, RuntimeError):  # no tensor, or one without strides or memory
        return None


def _kind(each: torch.Tensor) -> tuple[Hashable, ...]:
    aligned = each.data_ptr() % 16
    return each.shape, each.stride(), aligned, each.dtype, each.device, each.layout, each.requires_grad


def hooked() -> bool:
    """Whether a profiler wants to be told of launches; Triton tells it on its own way only."""
    return bool(knobs.runtime.launch_enter_hook.calls or knobs.runtime.launch_exit_hook.calls)


def _where() -> tuple[Any, int]:
    """The active driver and its current device; (None, 0) for Triton's interpreter without a GPU."""
    try:
        driver = triton.runtime.driver.active
        return driver, driver.get_current_device()
    except RuntimeError:
        return None, 0
