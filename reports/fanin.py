"""All platforms of one run at once: who must be there, who is, and the verdict on each pair.

The files found are read like any other report; what a file is called decides nothing, its platform does. A
platform that is missing, unknown or there twice is a fault of the run, whatever the pairs say. A record (a
report kept from an earlier run) may stand in for a platform that was not run, and is called a record
everywhere.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from . import markdown
from .model import EVIDENCE, WORTH, Report, ReportError
from .parity import Parity, compare
from .reading import read
from .verdict import today_utc
from .waivers import Waiver
from .wording import count, printable

FORMAT, VERSION = "tritonmoe.fan-in", 1
MAX_FILES = 64
COMPLETE, INCOMPLETE = "COMPLETE", "INCOMPLETE"  # of the set of platforms


@dataclass(frozen=True)
class Member:
    """One platform of the run: its report, the file it is in, and whether it was kept from an earlier run."""

    platform: str
    path: Path
    report: Report
    recorded: bool


@dataclass(frozen=True)
class Pair:
    """Two members and the verdict on them. `name`, such as "cuda-gfx942", names what is written of it."""

    name: str
    left: Member
    right: Member
    result: Parity


@dataclass(frozen=True)
class FanIn:
    """The run: what was expected, what is wrong with the set of reports, and every pair.

    exit_code is 2 where the set is not as expected, else 1 where a pair is DIVERGENT, else 2 where one is
    INCOMPLETE, else 0.
    """

    expected: tuple[str, ...]
    faults: tuple[str, ...]
    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]

    @property
    def exit_code(self) -> int:
        codes = {pair.result.exit_code for pair in self.pairs}
        return 2 if self.faults or not codes else next(code for code in (1, 2, 0) if code in codes)

    @property
    def headline(self) -> str:
        agreeing = sum(pair.result.exit_code == 0 for pair in self.pairs)
        found = f"{agreeing} of {count(len(self.pairs), 'pair')} in PARITY"
        return f"{found}; {count(len(self.faults), 'fault')} of the run" if self.faults else found


def gather(
    folder: str | os.PathLike[str],
    expected: Sequence[str],
    records: Iterable[str | os.PathLike[str]] = (),
    waivers: Iterable[Waiver] = (),
) -> FanIn:
    """Reads every *.xml below `folder` and the records, and compares all pairs of the platforms expected.

    Raises ReportError if `expected` is no list of two platforms or more, or the folder cannot be read.
    """
    _checked(expected)
    found, faults = _members(_files(Path(folder)), recorded=False)
    kept, more = _members(map(Path, records), recorded=True)
    faults += more
    by_platform: dict[str, list[Member]] = {}
    for member in (*kept, *found):
        by_platform.setdefault(member.platform, []).append(member)
    for platform, members in by_platform.items():
        files = ", ".join(_shown(member) for member in members)
        if platform not in expected:
            faults.append(f"unknown: platform {platform} was not expected ({files})")
        elif len(members) > 1:
            faults.append(f"duplicate: platform {platform} is there {len(members)} times ({files})")
    where = printable(str(folder))
    faults += [
        f"missing: no report of platform {platform} below {where}"
        for platform in expected
        if platform not in by_platform
    ]
    unique = [by_platform[platform][0] for platform in expected if len(by_platform.get(platform, ())) == 1]
    excuses, today = tuple(waivers), today_utc()
    pairs = []
    for left, right in combinations(unique, 2):
        if right.recorded and not left.recorded:
            left, right = right, left
        live = left.recorded and not right.recorded
        result = compare(left.report, right.report, excuses, today, live=live)
        pairs.append(Pair(f"{left.platform}-{right.platform}", left, right, result))
    return FanIn(tuple(expected), tuple(faults), tuple(unique), tuple(pairs))


def as_dict(fan_in: FanIn) -> dict[str, Any]:
    """Only JSON's own types. Within a version keys are never renamed or removed."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "exit_code": fan_in.exit_code,
        "headline": fan_in.headline,
        "expected": list(fan_in.expected),
        "faults": list(fan_in.faults),
        "reports": [
            {
                "platform": member.platform,
                "evidence": member.report.environment.evidence,
                "recorded": member.recorded,
                "commit": member.report.environment.commit,
                "path": str(member.path),
                "sha256": member.report.digest,
            }
            for member in fan_in.members
        ],
        "pairs": [
            {
                "name": pair.name,
                "left": pair.left.platform,
                "right": pair.right.platform,
                "verdict": pair.result.verdict,
                "exit_code": pair.result.exit_code,
                "headline": pair.result.headline,
                "reasons": list(pair.result.reasons),
            }
            for pair in fan_in.pairs
        ],
    }


def test_result(fan_in: FanIn) -> dict[str, Any]:
    """The predicate of an attestation of the whole run, for those who sign it by means of their own.

    Format: https://github.com/in-toto/attestation, spec/predicates/test-result.md, version 0.1.
    """
    passed = [f"parity/{pair.name}" for pair in fan_in.pairs if pair.result.exit_code == 0]
    failed = [f"parity/{pair.name}" for pair in fan_in.pairs if pair.result.exit_code]
    waived = any(pair.result.waivers for pair in fan_in.pairs)
    return {
        "result": "FAILED" if fan_in.exit_code else "WARNED" if waived else "PASSED",
        "configuration": [
            {
                "name": f"{member.platform}.xml",
                "digest": {"sha256": member.report.digest},
                "annotations": {
                    "platform": member.platform,
                    "evidence": member.report.environment.evidence,
                    "recorded": member.recorded,
                    "source.digest": member.report.environment.source_digest,
                },
            }
            for member in fan_in.members
        ],
        "passedTests": passed,
        "failedTests": failed,
    }


def summary(fan_in: FanIn) -> str:
    """GitHub-flavoured Markdown: the run in two tables, then each pair's own verdict."""
    safe = markdown.safe
    lines = [f"# {safe(fan_in.headline)}", ""]
    if fan_in.faults:
        lines += ["## Faults of the run", "", *(f"- {safe(fault)}" for fault in fan_in.faults), ""]
    lines += _table(
        ("platform", "evidence", "run", "device", "commit", "what that is worth"),
        map(_described, fan_in.members),
    )
    verdicts = [(pair.name, pair.result.verdict, pair.result.headline) for pair in fan_in.pairs]
    lines += _table(("pair", "verdict", ""), verdicts)
    return "\n".join(lines) + "\n" + "\n".join(markdown.render(pair.result) for pair in fan_in.pairs)


def _described(member: Member) -> tuple[str, ...]:
    environment = member.report.environment
    run = "a record" if member.recorded else "now"
    worth = WORTH[environment.evidence]
    return member.platform, environment.evidence, run, environment.device_name, environment.commit[:12], worth


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    if not (body := list(rows)):
        return []
    cells = [head, ["---"] * len(head), *([markdown.safe(cell) for cell in row] for row in body)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


def text(fan_in: FanIn) -> str:
    """The run for a terminal: a line a report, a line a pair, then what is wrong."""
    lines = []
    for member in fan_in.members:
        kind = "a record" if member.recorded else "run now"
        evidence = member.report.environment.evidence
        lines.append(f"  {member.platform:12} {evidence:12} {kind:9} {printable(str(member.path))}")
    lines += [f"{pair.result.verdict}: {pair.result.headline}" for pair in fan_in.pairs]
    lines += [
        f"  {printable(reason)}"
        for pair in fan_in.pairs
        for reason in pair.result.reasons[:5]
        if pair.result.exit_code
    ]
    return "\n".join([*lines, *fan_in.faults, fan_in.headline]) + "\n"


def _checked(expected: Sequence[str]) -> None:
    known = ", ".join(EVIDENCE)
    for platform in expected:
        if platform not in EVIDENCE:
            raise ReportError(f"--expect names {printable(platform, 80)!r}; expected platforms among {known}")
        if expected.count(platform) > 1:
            raise ReportError(f"--expect names {platform} twice; expected each platform once")
    if len(expected) < 2:
        found = count(len(expected), "platform")
        raise ReportError(f"--expect names {found}; expected two or more, as in cuda,rocm")


def _files(folder: Path) -> list[Path]:
    name = printable(str(folder))
    if not folder.is_dir():
        raise ReportError(f"{name}: is no folder; expected one with the platforms' XML files")
    # Not through links: what is compared must be in the folder that was handed over.
    found = sorted(path for path in folder.rglob("*.xml") if path.is_file() and not path.is_symlink())
    if len(found) > MAX_FILES:
        raise ReportError(f"{name}: holds {len(found)} XML files; expected {MAX_FILES} at most")
    return found


def _members(paths: Iterable[Path], recorded: bool) -> tuple[list[Member], list[str]]:
    """The reports in these files, and a fault for each file that is none."""
    members, faults = [], []
    for path in paths:
        try:
            report = read(path)
        except ReportError as error:
            faults.append(f"no report: {error}")
        else:
            members.append(Member(report.environment.platform, path, report, recorded))
    return members, faults


def _shown(member: Member) -> str:
    return printable(str(member.path)) + (", a record" if member.recorded else "")
