"""What a case is: a small Triton kernel, how it is launched, what it must give and how far it may be off.

References are float64 PyTorch on the CPU, or integers. A tolerance is computed from the case's own inputs:
the number of roundings times the unit roundoff times the magnitudes that were rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch
from triton.runtime.jit import KernelInterface
from triton.tools.tensor_descriptor import TensorDescriptor

Values = torch.Tensor | Mapping[str, torch.Tensor]  # of the one output `out`, or by output's name
Arguments = SimpleNamespace  # a kernel's arguments by name, as they were before the launch


@dataclass(frozen=True)
class Launch:
    """Arguments by parameter name (tensors on the CPU), launch options among them."""

    grid: tuple[int, ...]
    arguments: dict[str, Any]
    outputs: tuple[str, ...] = ("out",)
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, kernel: KernelInterface) -> None:
        kernel[self.grid](**self.arguments, **self.options)


@dataclass(frozen=True)
class Case:
    """One row of a table. `reference` gets the arguments as they were before the launch; `tolerance` gets
    them and the expected values and returns the largest |error| of each element; without one, values are
    equal. Triton takes the kernel, and compiles it right, from version `since` on and before `until`."""

    name: str
    kernel: KernelInterface
    launch: Callable[[], Launch]
    reference: Callable[[Arguments], Values]
    tolerance: Callable[[Arguments, Values], Values] | None = None
    since: tuple[int, int] = (3, 6)
    until: tuple[int, int] | None = None

    def fits(self, version: str) -> bool:
        """Whether this version of Triton takes the kernel."""
        major, minor = (int(part) for part in version.split(".")[:2])
        return self.since <= (major, minor) and (self.until is None or (major, minor) < self.until)


def check(case: Case, run: Callable[[Launch, KernelInterface], None] = Launch.run) -> None:
    """Launches the case's kernel with `run` and compares every output.

    Raises AssertionError saying which element of which output is off, and by how much.
    """
    launch = case.launch()
    before = SimpleNamespace(**{name: _copy(value) for name, value in launch.arguments.items()})
    expected = case.reference(before)
    bounds = case.tolerance(before, expected) if case.tolerance else 0.0
    run(launch, case.kernel)
    for name in launch.outputs:
        wanted, bound = (each[name] if isinstance(each, Mapping) else each for each in (expected, bounds))
        got = launch.arguments[name]
        _compare(f"{case.name}: {name}", getattr(got, "base", got), wanted, bound)


def _compare(what: str, got: torch.Tensor, expected: torch.Tensor, bound: torch.Tensor | float) -> None:
    assert got.shape == expected.shape, f"{what} has shape {got.shape}, the reference {expected.shape}"
    if not got.dtype.is_floating_point:
        wrong = got.to(torch.int64) != expected.to(torch.int64)
    else:
        got, expected = got.double(), _overflowed(expected, got.dtype)
        special = ~torch.isfinite(expected) | ~torch.isfinite(got)
        same = (got == expected) | (got.isnan() & expected.isnan())
        wrong = torch.where(special, ~same, ~((got - expected).abs() <= bound))
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        limit = bound[index].item() if isinstance(bound, torch.Tensor) and bound.ndim else float(bound)
        raise AssertionError(
            f"{what}[{', '.join(map(str, index))}] is {got[index].item()!r},"
            f" expected {expected[index].item()!r} within {limit:.3g};"
            f" {int(wrong.sum())} of {wrong.numel()} elements are off"
        )


def _overflowed(expected: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Float64 values; those that `dtype` has no finite number near become infinite."""
    rounded = expected.to(dtype).double()
    return torch.where(rounded.isinf(), rounded, expected.double())


def _copy(value: Any) -> Any:
    if isinstance(value, TensorDescriptor):
        return replace(value, base=value.base.clone())
    return value.clone() if isinstance(value, torch.Tensor) else value


def normal(
    *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0
) -> torch.Tensor:
    """Random normal values rounded to `dtype`."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values * scale).float().to(dtype) if dtype != torch.float64 else values * scale


def uniform(
    *shape: int, low: float, high: float, dtype: torch.dtype = torch.float32, seed: int = 0
) -> torch.Tensor:
    """Random values between `low` and `high`, rounded to `dtype`."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (low + (high - low) * values).to(dtype)


def integers(
    *shape: int, low: int, high: int, dtype: torch.dtype = torch.int32, seed: int = 0
) -> torch.Tensor:
    """Random integers from `low` up to but not including `high`."""
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def blank(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """An output that no correct kernel leaves as it is: NaN, or 0x55 in every byte of an integer."""
    if dtype.is_floating_point:
        return torch.full(shape, float("nan"), dtype=dtype)
    if dtype == torch.bool:
        return torch.zeros(shape, dtype=dtype)
    size = torch.empty((), dtype=dtype).element_size()
    return torch.full(shape, int("55" * size, 16), dtype=dtype)
