"""What a certificate rests on, read and judged the same way when it is made and when it is verified."""

import datetime
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import power
from ..model import Report, ReportError
from ..parity import Parity, compare
from ..power import MAX_BYTES as MAX_POWER
from ..untrusted import file_bytes
from ..verdict import AGREES
from ..waivers import Waiver
from ..wording import printable
from . import sources
from .refused import Refused, short

KINDS = ("operators", "named")
COUNTS = ("faults", "killed", "equivalent", "survived")
_WHEEL_NAME = re.compile(r"tritonmoe-[0-9A-Za-z_.!+]+-[0-9A-Za-z_.]+-[0-9A-Za-z_.]+-[0-9A-Za-z_.]+\.whl")


@dataclass(frozen=True)
class Wheel:
    """A wheel of tritonmoe that was certified with its sources."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Power:
    """What `tritonmoe power` found on these sources: counts of faults, by kind, and the file's SHA-256."""

    sha256: str
    counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Claims:
    """What a statement says that does not follow from the two reports. `waivers` is the file's content."""

    made: datetime.datetime
    url: str | None = None
    wheel: Wheel | None = None
    waivers: bytes | None = None
    power: Power | None = None


@dataclass(frozen=True)
class Certificate:
    """A certificate that has just been made or has just been verified, and the verdict behind it.

    `checked` says what was compared with what the certificate names, in words, besides the reports.
    """

    envelope: bytes
    payload: bytes
    key_id: str
    claims: Claims
    parity: Parity
    checked: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        """PASSED, or WARNED where a waiver excuses a case."""
        return result_of(self.parity)


def result_of(parity: Parity) -> str:
    return "WARNED" if parity.waivers else "PASSED"


def judge(left: Report, right: Report, waivers: tuple[Waiver, ...], today: datetime.date) -> Parity:
    """The verdict, which is PARITY. Raises Refused for any other, and for a report compared with itself."""
    parity = compare(left, right, waivers, today)
    if parity.verdict != "PARITY":
        raise Refused(f"the reports give {parity.verdict}, and only PARITY is certified: {parity.reasons[0]}")
    if left.digest == right.digest:
        raise Refused("both reports are the same file, byte for byte: nothing was compared")
    if not parity.outcomes(AGREES):
        raise Refused("no case agrees: waivers excuse all of them, and nothing is left to certify")
    return parity


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def other(name: str, given: str, certified: str) -> Refused:
    return Refused(
        f"{name} is not the file that was certified: its SHA-256 is {short(given)}, not {short(certified)}"
    )


def read_wheel(path: str | os.PathLike[str], source_digest: str) -> Wheel:
    """The wheel in this file. Raises ReportError, and Refused if it does not hold the sources of the
    reports.
    """
    shown_path, name = printable(os.fspath(path)), Path(path).name
    if not _WHEEL_NAME.fullmatch(name):
        raise ReportError(
            f"{shown_path}: is no wheel of tritonmoe by its name; expected tritonmoe-VERSION-….whl"
        )
    data = file_bytes(path, sources.MAX_WHEEL)
    found = sources.digest_of(sources.of_wheel(data, shown_path))
    if found != source_digest:
        raise Refused(
            f"the wheel {name} holds other sources than the reports are of: their digest is "
            f"{short(found)}, not {short(source_digest)}"
        )
    return Wheel(name, sha256(data))


def read_power(path: str | os.PathLike[str], source_digest: str) -> Power:
    """What a file of `tritonmoe power --json` counts, fault by fault. Raises ReportError, and Refused if it
    is of other sources.
    """
    run = power.read_power(path)
    if run.source_digest != source_digest:
        theirs = short(run.source_digest) if run.source_digest else "it does not say which"
        raise Refused(
            f"{run.path}: the suite's power was measured on other sources: {theirs}; the reports are of "
            f"{short(source_digest)}"
        )
    counts = {
        tally.name: dict(
            zip(COUNTS, (tally.faults, tally.killed, tally.equivalent, tally.survived), strict=True)
        )
        for tally in (run.operators, run.named)
    }
    return Power(sha256(file_bytes(path, MAX_POWER)), counts)


def is_wheel_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= 200 and _WHEEL_NAME.fullmatch(name) is not None
