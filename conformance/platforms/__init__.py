"""Where the suite runs, and what that is worth. A platform is a Triton driver and a device string, nothing
more.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

EVIDENCE = {
    "cuda": "hardware",
    "rocm": "hardware",
    "gfx942": "emulated",
    "interpreter": "interpreted",
}
PREFERRED = ("cuda", "rocm", "gfx942")  # what "auto" takes, first that can run


@dataclass(frozen=True)
class Description:
    """What a report says of the device: name, architecture, driver."""

    name: str
    arch: str
    driver: str


class PlatformError(RuntimeError):
    """The platform asked for cannot run here; the message says why and what can."""


def activate(name: str) -> tuple[str, ModuleType]:
    """Makes a platform ("auto" or one of EVIDENCE) the one that Triton launches on: (its name, its module).

    Must come before the first import of triton. Raises PlatformError where it cannot run.
    """
    name = resolve(name)
    module = _module(name)
    module.activate()
    return name, module


def resolve(name: str) -> str:
    """The platform that a name stands for here. Raises PlatformError for one unknown or unable to run."""
    if name == "auto":
        return next((each for each in PREFERRED if not _module(each).obstacle()), "interpreter")
    if name not in EVIDENCE:
        raise PlatformError(f"platform {name!r} is unknown; expected auto or one of {', '.join(EVIDENCE)}")
    obstacle = _module(name).obstacle()
    if obstacle:
        raise PlatformError(f"platform {name} cannot run here: {obstacle}; --platform auto takes what can")
    return name


def obstacles() -> dict[str, str]:
    """Why each platform cannot run here; "" where it can."""
    return {name: _module(name).obstacle() for name in EVIDENCE}


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
