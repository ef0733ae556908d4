"""What a report says, once it has been read and found sound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

PASSED, FAILED, ERROR, SKIPPED = "passed", "failed", "error", "skipped"

# A platform fixes what its word is worth: a report cannot choose.
EVIDENCE = {
    "cuda": "hardware",
    "rocm": "hardware",
    "gfx942": "emulated",
    "gfx950": "emulated",
    "gfx90a": "emulated",
    "interpreter": "interpreted",
}
MAKERS = {
    "cuda": "NVIDIA",
    "rocm": "AMD",
    "gfx942": "AMD",
    "gfx950": "AMD",
    "gfx90a": "AMD",
    "interpreter": "no chip",
}
WORTH = {
    "hardware": "Ran on the chip itself. What it says holds for this device.",
    "emulated": "The machine code for this chip, executed instruction by instruction on a CPU. It says that "
    "the code is right; nothing of this ran on the chip.",
    "interpreted": "Triton's interpreter on a CPU, a debugging aid. It says that the source is right, and "
    "nothing about any chip.",
}
PROFILES = ("smoke", "certify", "soak")


class ReportError(Exception):
    """The file is no sound report. The message is one line: which file, what is wrong, what was expected."""


@dataclass(frozen=True)
class Environment:
    """The suite's properties: where a report comes from. All strings, as written."""

    contract_version: str
    matrix_version: str
    platform: str
    evidence: str
    profile: str
    device_name: str
    device_arch: str
    driver: str
    torch: str
    triton: str
    hypothesis: str
    python: str
    source_digest: str
    corpus_digest: str
    commit: str


class Sketch(NamedTuple):
    """One example's output projected on 8 seeded vectors of signs, and its bound projected alike; () for
    integers. A report has thousands, and a tuple is the quickest to make.
    """

    values: tuple[float, ...]
    bounds: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """What a case's examples added up to.

    error_worst is the largest |error| / bound, noise the worst rms(error) / rms(error of the model); of a
    passed case all figures are finite, of a failed one they may be inf or nan and sketches may be empty.
    """

    examples: int
    near_ties: int
    inputs_digest: str
    integer_digest: str
    error_worst: float
    error_where: str
    signs_z: float
    noise: float
    sketch: tuple[Sketch, ...]


@dataclass(frozen=True)
class Case:
    """A case of the matrix as one report has it; measured is None if it broke before it could measure."""

    id: str
    status: str
    message: str
    measured: Measured | None
    failing_example: str
    replay: str


@dataclass(frozen=True)
class Check:
    """A test beside the matrix."""

    name: str
    status: str
    message: str


@dataclass(frozen=True)
class Report:
    """One file, read and found sound; `digest` is the SHA-256 of its bytes, `cases` those present."""

    path: str
    digest: str
    environment: Environment
    cases: Mapping[str, Case]
    checks: tuple[Check, ...]
