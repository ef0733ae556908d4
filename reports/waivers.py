"""Waivers: failures that are known, owned and temporary. A TOML file of entries, every field required:

    [[waiver]]
    cases = ["layer/mixtral/bfloat16/zipf"]
    architectures = ["gfx942"]
    reason = "v_dot2 flushes subnormals"
    issue = "https://example.org/issues/7"
    owner = "Ada Lovelace"
    expires = 2030-01-31

A waived case still runs. While it fails on one of these architectures that does not make a verdict DIVERGENT;
when it passes, that does: remove the waiver. From the day after `expires` the entry counts for nothing.
"""

import datetime
import os
import re
import sys
from dataclasses import dataclass
from typing import Any

from .matrix import RANK
from .model import ReportError
from .untrusted import file_bytes
from .wording import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 2**20
MAX_ENTRIES = 200
MAX_TEXT = 1_000
_FIELDS = ("cases", "architectures", "reason", "issue", "owner", "expires")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")


@dataclass(frozen=True)
class Waiver:
    """One entry. An architecture is a report's device.arch, with or without the features after a colon."""

    cases: tuple[str, ...]
    architectures: tuple[str, ...]
    reason: str
    issue: str
    owner: str
    expires: datetime.date

    def covers(self, case_id: str, arch: str) -> bool:
        return case_id in self.cases and self.concerns(arch)

    def concerns(self, arch: str) -> bool:
        return arch in self.architectures or arch.split(":")[0] in self.architectures

    def expired(self, today: datetime.date) -> bool:
        return today > self.expires


def read_waivers(path: str | os.PathLike[str]) -> tuple[Waiver, ...]:
    """The waivers in this file, in its order. Raises ReportError, naming the entry and the field that is
    wrong.
    """
    return parse_waivers(file_bytes(path, MAX_BYTES), printable(os.fspath(path)))


def parse_waivers(content: bytes, name: str) -> tuple[Waiver, ...]:
    """The same of a file's content, called `name` in errors. Raises ReportError."""
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and TOMLDecodeError among them
        raise ReportError(f"{name}: is no TOML ({printable(str(error))})") from None
    entries = document.get("waiver", [])
    if set(document) - {"waiver"} or not isinstance(entries, list):
        raise ReportError(f"{name}: holds something besides [[waiver]] entries; see reports/README.md")
    if len(entries) > MAX_ENTRIES:
        raise ReportError(f"{name}: has {len(entries)} waivers; at most {MAX_ENTRIES} are accepted")
    waivers = []
    taken: dict[tuple[str, str], int] = {}
    for position, entry in enumerate(entries, 1):
        try:
            waiver = _waiver(entry)
        except ValueError as error:
            raise ReportError(f"{name}: waiver {position}: {error}") from None
        for pair in ((case_id, arch) for case_id in waiver.cases for arch in waiver.architectures):
            if pair in taken:
                raise ReportError(
                    f"{name}: waiver {position}: {' on '.join(pair)} is in waiver {taken[pair]} already"
                )
            taken[pair] = position
        waivers.append(waiver)
    return tuple(waivers)


def _waiver(entry: Any) -> Waiver:
    if not isinstance(entry, dict):
        raise ValueError("is no table; write [[waiver]] and its fields below")
    unknown = sorted(set(entry) - set(_FIELDS))
    missing = [field for field in _FIELDS if field not in entry]
    if unknown or missing:
        wrong = f"missing: {', '.join(missing) or 'none'}; unknown: {printable(', '.join(unknown)) or 'none'}"
        raise ValueError(f"fields: {wrong}; expected {', '.join(_FIELDS)}")
    cases = _texts(entry, "cases")
    for case_id in cases:
        if case_id not in RANK:
            raise ValueError(f"{printable(case_id, 120)!r} is no case; expected stage/model/dtype/routing")
    issue = _text(entry, "issue")
    if not _URL.fullmatch(issue):
        raise ValueError(f"issue is {printable(issue, 80)!r}; expected a link, https://...")
    expires = entry["expires"]
    if type(expires) is not datetime.date:
        raise ValueError(
            f"expires is {printable(str(expires), 80)!r}; expected a date without quotes, as 2030-01-31"
        )
    return Waiver(
        cases, _texts(entry, "architectures"), _text(entry, "reason"), issue, _text(entry, "owner"), expires
    )


def _texts(entry: dict[str, Any], field: str) -> tuple[str, ...]:
    given = entry[field]
    if not isinstance(given, list) or not given:
        raise ValueError(f"{field} must be a list of at least one string")
    texts = tuple(_checked(each, field) for each in given)
    if len(set(texts)) != len(texts):
        raise ValueError(f"{field} names something twice")
    return texts


def _text(entry: dict[str, Any], field: str) -> str:
    return _checked(entry[field], field)


def _checked(given: Any, field: str) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > MAX_TEXT:
        raise ValueError(f"{field} must be text of 1 to {MAX_TEXT} characters")
    return given
