"""An AMD Instinct MI300X, its machine code executed instruction by instruction on a CPU."""

import os

from . import Description

ARCH = "gfx942"
DEVICE = "cpu"


def obstacle() -> str:
    try:
        import triton.backends.amd  # noqa: F401
    except ImportError:
        return "this triton holds no AMD backend"
    return ""


def activate() -> None:
    os.environ.pop("TRITON_INTERPRET", None)
    from .. import guards
    from ..gfx942 import activate, poison

    activate(ARCH)
    if poison not in guards.on_poison:
        guards.on_poison.append(poison)


def count():
    """Counts, from now on, what is executed; returns where."""
    from triton.runtime import driver

    from ..gfx942 import Counts

    driver.active.counts = Counts()
    return driver.active.counts


def lines():
    """Notes, from now on, which lines of the kernels' source run; returns where."""
    from triton.runtime import driver

    from ..gfx942.lines import Lines

    driver.active.lines = Lines()
    return driver.active.lines


def describe() -> Description:
    from ..gfx942.chips import CHIPS

    return Description(f"{CHIPS[ARCH].name}, emulated", ARCH, "emulator of AMDGCN machine code, NumPy")
