"""What a judgement of reports consists of: the verdict, why, and every case and check behind it. Made by
`parity` from two reports and by `single` from one; every output format is a rendering of it."""

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .matrix import RANK, REQUIRED
from .model import ERROR, FAILED, MAKERS, PASSED, SKIPPED, Case, Report
from .waivers import Waiver
from .wording import count, printable

CASES = len(REQUIRED)
AGREES, DIVERGES, INCOMPLETE, WAIVED = "agrees", "diverges", "incomplete", "waived"  # of a case
_WORST_FIRST = (DIVERGES, INCOMPLETE, WAIVED, AGREES)


@dataclass(frozen=True)
class Row:
    """A case of the matrix: what became of it and why. `cases` has one entry a side, None where it is
    missing.

    distance is that of the farthest sketches, in units of what both bounds together allow (more than 1 is too
    far); None where there was nothing to compare, like farthest_example and integers_equal.
    """

    id: str
    outcome: str
    reasons: tuple[str, ...]
    cases: tuple[Case | None, ...]
    distance: float | None = None
    farthest_example: int | None = None
    integers_equal: bool | None = None

    @property
    def error_worst(self) -> float | None:
        """The largest |error| / bound of all sides (nan counts as the largest); None if none measured."""
        found = [case.measured.error_worst for case in self.cases if case and case.measured]
        return max(found, key=_badness, default=None)

    @property
    def outputs_differ(self) -> bool:
        """Whether the sides gave different integers, or values further apart than both bounds allow."""
        return self.integers_equal is False or (self.distance or 0.0) > 1

    @property
    def examples(self) -> int | None:
        """How many examples were run, on the side with more; None if none was measured."""
        return max((case.measured.examples for case in self.cases if case and case.measured), default=None)

    @property
    def near_ties(self) -> int:
        return max((case.measured.near_ties for case in self.cases if case and case.measured), default=0)


@dataclass(frozen=True)
class CheckRow:
    """A test beside the matrix: its status on each side (None where it is missing) and the first message."""

    name: str
    statuses: tuple[str | None, ...]
    message: str


@dataclass(frozen=True)
class Result:
    """A verdict and all that it rests on. `rows` are the 162 cases and `reasons` the case against, worst
    first.
    """

    verdict: str
    exit_code: int
    headline: str
    basis: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    reports: tuple[Report, ...]
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    checks: tuple[CheckRow, ...]
    waivers: tuple[Waiver, ...]

    def row(self, case_id: str) -> Row:
        return next(row for row in self.rows if row.id == case_id)

    def outcomes(self, outcome: str) -> list[Row]:
        return [row for row in self.rows if row.outcome == outcome]


def labels_of(reports: Sequence[Report]) -> tuple[str, ...]:
    """What to call each side: its platform, and left or right where both are the same."""
    platforms = [report.environment.platform for report in reports]
    if len(set(platforms)) == len(platforms):
        return tuple(platforms)
    return tuple(f"{side} {platform}" for side, platform in zip(("left", "right"), platforms, strict=True))


def with_evidence(reports: Sequence[Report], labels: Sequence[str]) -> str:
    return " and ".join(
        f"{label} ({report.environment.evidence})" for label, report in zip(labels, reports, strict=True)
    )


def recorded_and_live(reports: Sequence[Report]) -> str:
    """As "NVIDIA (recorded) against AMD (emulated, live):"; a record of hardware is called a record alone."""
    left, right = (report.environment for report in reports)
    worth = "" if left.evidence == "hardware" else f"{left.evidence}, "
    makers = [MAKERS[each.platform] for each in (left, right)]
    return f"{makers[0]} ({worth}recorded) against {makers[1]} ({right.evidence}, live):"


def not_run(case: Case | None, label: str) -> str:
    """Why a case counts as not run on this side; "" if it ran."""
    if case is None:
        return f"missing from {label}"
    if case.status in (SKIPPED, ERROR):
        what = {SKIPPED: "skipped on", ERROR: "stopped by an error on"}[case.status]
        return f"{what} {label}{_because(case.message)}"
    if case.measured is not None and case.measured.examples == 0:
        return f"ran no example on {label}"
    return ""


def failure(case: Case, label: str) -> str:
    return f"fails on {label}{_because(case.message)}"


def _because(message: str) -> str:
    return f": {printable(message, 200)}" if message.strip() else ""


def worst_first(rows: Iterable[Row]) -> tuple[Row, ...]:
    def key(row: Row) -> tuple[int, float, int]:
        badness = 0.0 if row.outcome == INCOMPLETE else _row_badness(row)
        return _WORST_FIRST.index(row.outcome), -badness, RANK[row.id]

    return tuple(sorted(rows, key=key))


def _row_badness(row: Row) -> float:
    unmeasured = any(case and case.status == FAILED and not case.measured for case in row.cases)
    unmeasured = unmeasured or row.integers_equal is False  # no bound measures that either
    worst = row.error_worst
    figures = [0.0 if worst is None else worst, row.distance or 0.0]
    return math.inf if unmeasured else max(map(_badness, figures))


def _badness(figure: float) -> float:
    return math.inf if math.isnan(figure) else figure


def grouped(rows: Iterable[Row]) -> list[str]:
    """One line a reason, naming its cases."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        for reason in row.reasons:
            by_reason.setdefault(reason, []).append(row.id)
    lines = []
    for reason, ids in by_reason.items():
        if len(ids) == 1:
            lines.append(f"{ids[0]}: {reason}")
        else:
            rest = f" and {len(ids) - 12} more" if len(ids) > 12 else ""
            lines.append(f"{count(len(ids), 'case')}, {reason}: {', '.join(ids[:12])}{rest}")
    return lines


def check_rows(reports: Sequence[Report]) -> tuple[CheckRow, ...]:
    """The tests beside the matrix, those that failed first."""
    sides = [{check.name: check for check in report.checks} for report in reports]
    rows = []
    for name in sorted(set().union(*sides)):
        found = [side.get(name) for side in sides]
        message = next((check.message for check in found if check and check.message), "")
        rows.append(CheckRow(name, tuple(check.status if check else None for check in found), message))
    order = {FAILED: 0, ERROR: 1, SKIPPED: 2, PASSED: 3, None: 4}
    return tuple(sorted(rows, key=lambda row: (min(map(order.__getitem__, row.statuses)), row.name)))


def check_faults(rows: Iterable[CheckRow], labels: Sequence[str], status: str, verb: str) -> list[str]:
    """One line for each side on which a check beside the matrix has this status."""
    return [
        f"check {printable(row.name, 160)}: {verb} {label}{_because(row.message)}"
        for row in rows
        for label, found in zip(labels, row.statuses, strict=True)
        if found == status
    ]


def notes_of(
    reports: Sequence[Report], labels: Sequence[str], rows: Sequence[Row], checks: Sequence[CheckRow]
) -> list[str]:
    """What a reader should know and what changes no verdict."""
    notes = []
    for report, label in zip(reports, labels, strict=True):
        commit = report.environment.commit
        if commit == "unknown":
            notes.append(f"{label}: the commit is unknown; only the source digest says what ran")
        elif commit.endswith("+dirty"):
            notes.append(
                f"{label}: the tree had changes that are not in commit {commit.removesuffix('+dirty')[:12]}"
            )
    if any(report.environment.profile == "smoke" for report in reports):
        notes.append("profile smoke replays a few examples a case; certify replays the whole corpus")
    ties = sum(row.near_ties for row in rows)
    if ties:
        notes.append(
            f"{count(ties, 'row')} with router logits closer than their bound: either choice is right"
        )
    for row in sorted(rows, key=lambda row: RANK[row.id]):
        counts = {case.measured.near_ties for case in row.cases if case and case.measured}
        if len(counts) > 1:
            notes.append(
                f"{row.id}: the sides count different near ties ({', '.join(map(str, sorted(counts)))})"
            )
    skipped = [row.name for row in checks if SKIPPED in row.statuses]
    if skipped:
        shown = ", ".join(printable(name, 100) for name in skipped[:8])
        notes.append(
            f"{count(len(skipped), 'check')} beside the matrix skipped: {shown}{' …' if skipped[8:] else ''}"
        )
    return notes


def waivers_in_force(
    waivers: Iterable[Waiver], reports: Sequence[Report], today: datetime.date
) -> tuple[tuple[Waiver, ...], list[str]]:
    """The waivers that concern these reports' architectures today, and a note for each that has expired."""
    archs = [report.environment.device_arch for report in reports]
    ours = [waiver for waiver in waivers if any(map(waiver.concerns, archs))]
    expired = [
        f"waiver expired on {waiver.expires} and counts for nothing: {printable(', '.join(waiver.cases))} "
        f"on {printable(', '.join(waiver.architectures))} "
        f"({printable(waiver.owner, 60)}, {printable(waiver.issue, 120)})"
        for waiver in ours
        if waiver.expired(today)
    ]
    return tuple(waiver for waiver in ours if not waiver.expired(today)), expired


def waiver_for(waivers: Iterable[Waiver], case_id: str, report: Report) -> Waiver | None:
    return next((each for each in waivers if each.covers(case_id, report.environment.device_arch)), None)


def unexpected_pass(waiver: Waiver, label: str) -> str:
    return f"passes on {label} although it is waived: remove the waiver ({printable(waiver.issue, 120)})"


def today_utc() -> datetime.date:
    return datetime.datetime.now(datetime.timezone.utc).date()


def total_examples(report: Report) -> int:
    return sum(case.measured.examples for case in report.cases.values() if case.measured)
