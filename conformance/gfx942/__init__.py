"""An AMD Instinct chip on any CPU: `with gfx942(): kernel[grid](x, y, ...)` runs a Triton kernel's own
machine code.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .checker import EmulationError, Finding
from .counts import Counts
from .memory import poison
from .program import ProgramError

__all__ = ["Counts", "EmulationError", "Finding", "ProgramError", "activate", "emulate", "gfx942", "poison"]


@contextmanager
def emulate(
    arch: str = "gfx942",
    *,
    seed: int | None = None,
    plain_matrix: bool = False,
    counts: Counts | None = None,
    raising: bool = True,
    edit: Callable[[str], str] | None = None,
    limit: int | None = None,
) -> Iterator[list[Finding]]:
    """Inside, Triton compiles for `arch` and launches run here, on CPU tensors.

    seed: shuffles workgroups and wavefronts; None is the natural order. plain_matrix: matrix products summed
    in float32 one after another, in place of the chip's own order and rounding. counts: where to add what
    ran. raising: a launch with faults raises EmulationError; otherwise they are in the list that is yielded.
    edit: a function that changes a kernel's assembly before it is read, for experiments. limit: the number of
    basic blocks after which a kernel is given up as endless (Hang). Raises ProgramError for code that is not
    implemented.
    """
    from triton.runtime import driver

    # None where nothing was launched yet: reading `driver.active` would then look for a GPU.
    before = getattr(driver, "_active", None)
    try:
        yield activate(
            arch, seed=seed, plain_matrix=plain_matrix, counts=counts, raising=raising, edit=edit, limit=limit
        )
    finally:
        driver.set_active(before)


def activate(
    arch: str = "gfx942",
    *,
    seed: int | None = None,
    plain_matrix: bool = False,
    counts: Counts | None = None,
    raising: bool = True,
    edit: Callable[[str], str] | None = None,
    limit: int | None = None,
) -> list[Finding]:
    """As `emulate`, until another driver is made active."""
    from triton.runtime import driver

    from .driver import EmulatedDriver
    from .launch import LIMIT, Options

    options = Options(seed, plain_matrix, raising, LIMIT if limit is None else limit)
    made = EmulatedDriver(arch, options, counts, edit)
    driver.set_active(made)
    return made.findings


gfx942 = emulate
