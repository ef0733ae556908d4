"""Verifies a certificate: the signature first, then everything once more from the two reports.

Nothing in a statement is believed. The verdict is computed again from the XML files, the statement is built
again from it, and the two must be the same. What reports cannot say (the time, a wheel, waivers, the suite's
power, a link) is held to its form, and to the file itself where that is given.
"""

import datetime
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..model import Report, ReportError
from ..parity import Parity
from ..reading import read
from ..untrusted import MAX_BYTES as MAX_REPORT
from ..untrusted import file_bytes
from ..waivers import parse_waivers
from ..wording import printable
from .against import NOTHING, Against, compare_files
from .envelope import unseal
from .evidence import Certificate, Claims, judge, other, sha256
from .jsontext import canonical, strict
from .refused import Refused, shown
from .statement import SIDES, build, claims_of, digest_in

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

Path = str | os.PathLike[str]
CLOCKS_DIFFER = datetime.timedelta(minutes=10)


def verify(
    envelope: bytes,
    keys: Sequence["SSlibKey"],
    left: Path,
    right: Path,
    against: Against = NOTHING,
    now: datetime.datetime | None = None,
) -> Certificate:
    """The certificate in these bytes, if it was signed with one of the keys and follows from the two reports.

    Raises Refused with the reason why it does not, and ReportError for what cannot be read.
    """
    payload, key_id = unseal(envelope, keys)
    claims, parity, checked = check(payload, left, right, against, now)
    return Certificate(envelope, payload, key_id, claims, parity, checked)


def check(
    payload: bytes, left: Path, right: Path, against: Against, now: datetime.datetime | None = None
) -> tuple[Claims, Parity, tuple[str, ...]]:
    """What a statement claims, the verdict, and what it was compared with, whoever signed it. Raises as
    `verify` does.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    try:
        statement = strict(payload, "the statement")
    except ReportError as error:
        raise Refused(str(error)) from None
    claims = claims_of(statement)
    if claims.made > now + CLOCKS_DIFFER:
        raise Refused(
            f"it was made in the future, {claims.made:%Y-%m-%d %H:%M:%S} UTC; now is {now:%Y-%m-%d %H:%M:%S}"
        )
    reports = _reports(statement, (left, right))
    try:
        excuses = (
            () if claims.waivers is None else parse_waivers(claims.waivers, "the content of waivers.toml")
        )
    except ReportError as error:
        raise Refused(str(error)) from None
    parity = judge(*reports, excuses, claims.made.date())
    for waiver in parity.waivers:
        if waiver.expired(now.date()):
            cases, archs = (printable(", ".join(each)) for each in (waiver.cases, waiver.architectures))
            raise Refused(f"a waiver that it needs expired on {waiver.expires}: {cases} on {archs}")
    expected = build(parity, claims)
    found = difference(statement, expected)
    if found:
        raise Refused(f"the statement does not follow from the reports: {found}")
    if payload != canonical(expected):
        raise Refused("the statement is not in its canonical form")
    return claims, parity, compare_files(claims, parity.reports[0].environment.source_digest, against)


def _reports(statement: dict[str, Any], paths: tuple[Path, Path]) -> list[Report]:
    """Both reports, once each file is known to be the one that was certified."""
    certified = [digest_in(statement, f"{side}.xml") for side in SIDES]
    given = [sha256(file_bytes(path, MAX_REPORT)) for path in paths]
    if given != certified and given == certified[::-1]:
        raise Refused("the two reports are swapped: left is the one that was certified as right")
    for side, ours, theirs in zip(SIDES, given, certified, strict=True):
        if ours != theirs:
            raise other(f"the {side} report", ours, theirs)
    try:
        reports = [read(path) for path in paths]
    except ReportError as error:
        raise Refused(f"what was certified is no report: {error}") from None
    if [report.digest for report in reports] != certified:
        raise Refused("a report was changed while it was being verified")
    return reports


def difference(given: Any, expected: Any, path: str = "") -> str:
    """The first place where a JSON value is not the expected one, in words; "" if there is none."""
    if isinstance(given, dict) and isinstance(expected, dict):
        for name in expected:
            if name not in given:
                return f"{path}{name} is missing"
            found = difference(given[name], expected[name], f"{path}{name}.")
            if found:
                return found
        unknown = [name for name in given if name not in expected]
        return f"{path}{printable(unknown[0], 80)} is no field of it" if unknown else ""
    if isinstance(given, list) and isinstance(expected, list):
        for index, (ours, theirs) in enumerate(zip(given, expected, strict=False)):
            name = theirs.get("name", index) if isinstance(theirs, dict) else index
            found = difference(ours, theirs, f"{path.removesuffix('.')}[{name}].")
            if found:
                return found
        if len(given) != len(expected):
            return f"{path.removesuffix('.')} has {len(given)} entries; expected {len(expected)}"
        return ""
    if type(given) is not type(expected) or given != expected:
        return f"{path.removesuffix('.')} is {shown(given)}; expected {shown(expected)}"
    return ""
