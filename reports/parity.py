"""The verdict on two reports. Cases are compared by id against the required list, never by counts.

PARITY (exit 0): all 162 cases in both reports, passed in both, from the same sources, corpus, profile and
inputs; integer digests equal; sketches no further apart than both bounds together allow; no check beside the
matrix failed.

DIVERGENT (exit 1): a case passes on one side only or fails on both, the outputs differ by more than that, a
check beside the matrix fails, or a waived case passes.

INCOMPLETE (exit 2): a case is missing, skipped, stopped by an error or empty, ran on other inputs, or the
reports are of other sources, another corpus or other profiles (smoke against certify), or of profile soak,
which draws afresh; or a check beside the matrix was stopped by an error. Checks may otherwise differ between
the sides.

There is no other outcome. Where both kinds of reason exist: reports of the same sources, corpus and profile
that diverge in a case that could be compared are DIVERGENT, whatever else is missing, because no missing case
can make that good. Reports of different sources, corpora or profiles are INCOMPLETE whatever they contain:
the difference may be of the sources, so it is noted and not counted.

A waiver takes the failure of its cases on its architectures out of the verdict, and nothing else: not a
distance between two that pass, not a missing case.
"""

import datetime
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .matrix import REQUIRED
from .model import ERROR, FAILED, PASSED, Case, Measured, Report
from .verdict import (
    AGREES,
    CASES,
    DIVERGES,
    INCOMPLETE,
    WAIVED,
    CheckRow,
    Result,
    Row,
    check_faults,
    check_rows,
    failure,
    grouped,
    labels_of,
    not_run,
    notes_of,
    recorded_and_live,
    today_utc,
    total_examples,
    unexpected_pass,
    waiver_for,
    waivers_in_force,
    with_evidence,
    worst_first,
)
from .waivers import Waiver
from .wording import count, number, printable

EXIT_CODES = {"PARITY": 0, "DIVERGENT": 1, "INCOMPLETE": 2}


@dataclass(frozen=True)
class Parity(Result):
    """The verdict on two reports, `reports` being (left, right); `verdict` is PARITY, DIVERGENT or
    INCOMPLETE.
    """


def compare(
    left: Report,
    right: Report,
    waivers: Iterable[Waiver] = (),
    today: datetime.date | None = None,
    *,
    live: bool = False,
) -> Parity:
    """Compares two reports by the rules above. `today` decides which waivers have expired (default: now,
    UTC). `live`: the right one was made just now, the left one is a record, and the headline says so.
    """
    reports = (left, right)
    labels = labels_of(reports)
    in_force, expired = waivers_in_force(waivers, reports, today or today_utc())
    rows = worst_first(_row(case_id, reports, labels, in_force) for case_id in REQUIRED)
    checks = check_rows(reports)

    apart = unlike(left, right)
    diverging = grouped(row for row in rows if row.outcome == DIVERGES)
    diverging += check_faults(checks, labels, FAILED, "fails on")
    missing = grouped(row for row in rows if row.outcome == INCOMPLETE)
    missing += check_faults(checks, labels, ERROR, "stopped by an error on")

    if apart:
        verdict, reasons = "INCOMPLETE", apart + missing
    elif diverging:
        verdict, reasons = "DIVERGENT", diverging + missing
    else:
        verdict, reasons = ("INCOMPLETE" if missing else "PARITY"), missing
    notes = [f"not counted, for these reports cannot be compared: {each}" for each in diverging if apart]
    notes += expired + _notes(reports, labels, checks) + notes_of(reports, labels, rows, checks)
    sides = recorded_and_live(reports) if live else with_evidence(reports, labels)
    return Parity(
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        headline=f"{sides} {_headline(verdict, rows, checks, apart)}",
        basis=_basis(verdict, reports, rows),
        reasons=tuple(reasons),
        notes=tuple(notes),
        reports=reports,
        labels=labels,
        rows=rows,
        checks=checks,
        waivers=in_force,
    )


def unlike(left: Report, right: Report) -> list[str]:
    """Why the two reports as a whole cannot be compared; empty if they can."""
    ours, theirs = left.environment, right.environment
    found = []
    if "soak" in (ours.profile, theirs.profile):
        found.append("profile soak draws its own examples; compare reports of profile certify")
    elif ours.profile != theirs.profile:
        found.append(f"the profiles differ: {ours.profile} and {theirs.profile}")
    for what, a, b in (
        ("sources (source.digest), so one is stale evidence", ours.source_digest, theirs.source_digest),
        ("corpus (corpus.digest)", ours.corpus_digest, theirs.corpus_digest),
    ):
        if a != b:
            found.append(f"not the same {what}: {a[:12]}… and {b[:12]}…")
    return found


def _row(
    case_id: str, reports: tuple[Report, ...], labels: tuple[str, ...], waivers: tuple[Waiver, ...]
) -> Row:
    cases = tuple(report.cases.get(case_id) for report in reports)
    absent = [reason for case, label in zip(cases, labels, strict=True) if (reason := not_run(case, label))]
    failing = [side for side, case in enumerate(cases) if case and case.status == FAILED]
    failures = [failure(cases[side], labels[side]) for side in failing]
    measured = [case.measured for case in cases if case and case.measured and case.measured.examples]
    if len(measured) == 2 and not absent:
        absent = _other_inputs(*measured)
    if absent:
        return Row(case_id, INCOMPLETE, (*absent, *failures), cases)

    distance, farthest, equal = _compare_outputs(*measured) if len(measured) == 2 else (None, None, None)
    covered = [waiver_for(waivers, case_id, report) for report in reports]
    reasons = [
        unexpected_pass(waiver, label)
        for waiver, label, case in zip(covered, labels, cases, strict=True)
        if waiver and case and case.status == PASSED
    ]
    if failing:
        excused = not reasons and all(covered[side] for side in failing)
        outcome = WAIVED if excused else DIVERGES
        reasons.append(_failing_sides(failing, labels, cases))
    else:
        reasons += _apart(distance, farthest, equal)
        outcome = DIVERGES if reasons else AGREES
    return Row(case_id, outcome, tuple(reasons), cases, distance, farthest, equal)


def _failing_sides(failing: list[int], labels: tuple[str, ...], cases: tuple[Case | None, ...]) -> str:
    if len(failing) == 2:
        messages = "; ".join(failure(case, label) for case, label in zip(cases, labels, strict=True))
        return f"fails on both sides: {messages}"
    side = failing[0]
    return f"passes on {labels[1 - side]}, {failure(cases[side], labels[side])}"


def _other_inputs(left: Measured, right: Measured) -> list[str]:
    if left.inputs_digest != right.inputs_digest:
        return ["ran on other inputs (inputs.digest differs)"]
    if left.examples != right.examples:
        return [f"ran {left.examples} examples on one side and {right.examples} on the other"]
    return []


def _compare_outputs(left: Measured, right: Measured) -> tuple[float | None, int | None, bool]:
    """(distance of the farthest sketches, their example, whether the integer digests are equal)."""
    distance, farthest = None, None
    for index, (ours, theirs) in enumerate(zip(left.sketch, right.sketch, strict=True)):
        for values in zip(ours.values, theirs.values, ours.bounds, theirs.bounds, strict=False):
            apart = distance_in_bounds(*values)
            if distance is None or apart > distance:
                distance, farthest = apart, index
    return distance, farthest, left.integer_digest == right.integer_digest


def distance_in_bounds(left: float, right: float, left_bound: float, right_bound: float) -> float:
    """|left - right| / (left_bound + right_bound): more than 1 exactly where the bounds do not allow the
    difference.

    Where nothing is allowed, 0 if equal and else inf; inf also where a value is nan or infinite, as of a
    failed case.
    """
    apart, allowed = abs(left - right), left_bound + right_bound
    if not (math.isfinite(left) and math.isfinite(right)) or math.isnan(allowed):
        return math.inf
    if apart == 0:
        return 0.0
    if allowed == 0:
        return math.inf
    if math.isinf(apart) or math.isinf(allowed):  # by overflow: take halves
        apart, allowed = abs(left / 2 - right / 2), left_bound / 2 + right_bound / 2
    ratio = apart / allowed
    return max(ratio, math.nextafter(1, 2)) if apart > allowed else min(ratio, 1.0)


def _apart(distance: float | None, farthest: int | None, integers_equal: bool | None) -> list[str]:
    """Why two outputs that both passed are not the same."""
    found = []
    if integers_equal is False:
        found.append("integer outputs differ (outputs.integer_digest)")
    if distance is not None and distance > 1:
        found.append(
            f"outputs are {number(distance)} times as far apart as both bounds allow (example {farthest})"
        )
    return found


def _headline(verdict: str, rows: tuple[Row, ...], checks: tuple[CheckRow, ...], apart: list[str]) -> str:
    diverging, missing, waived = (
        [row for row in rows if row.outcome == outcome] for outcome in (DIVERGES, INCOMPLETE, WAIVED)
    )
    if verdict == "PARITY":
        return f"agree on {CASES - len(waived)} of {CASES} cases" + (
            f"; {count(len(waived), 'failure')} waived" if waived else ""
        )
    if verdict == "DIVERGENT":
        if diverging:
            return f"diverge in {len(diverging)} of {CASES} cases, worst in {diverging[0].id}"
        return f"agree on the matrix, but {_broken(checks, FAILED)} fails"
    if apart:
        return "cannot be compared: they are not the same run of the same code"
    if missing:
        return f"could not be compared in {len(missing)} of {CASES} cases"
    return f"agree on the matrix, but {_broken(checks, ERROR)} was stopped by an error"


def _broken(checks: tuple[CheckRow, ...], status: str) -> str:
    names = [row.name for row in checks if status in row.statuses]
    return "the check " + printable(names[0], 120) + (f" (and {len(names) - 1} more)" if names[1:] else "")


def _basis(verdict: str, reports: tuple[Report, ...], rows: tuple[Row, ...]) -> tuple[str, ...]:
    """What the verdict rests on, in sentences."""
    sentences = []
    if verdict == "PARITY":
        agreeing = [row for row in rows if row.outcome == AGREES]
        distance, farthest = _largest(agreeing, lambda row: row.distance)
        error, worst = _largest(agreeing, lambda row: row.error_worst)
        sentences = [
            f"{count(total_examples(reports[0]), 'example')} on each side, the same inputs bit for bit.",
            "Every integer output is equal.",
            f"The farthest outputs are at {number(distance)} of what both bounds allow ({farthest}).",
            f"The largest error is {number(error)} of its bound ({worst}).",
        ]
    worths = {report.environment.evidence for report in reports}
    if "interpreted" in worths:
        sentences.append("One side or both are interpreted, which says nothing about a chip.")
    elif worths == {"hardware"}:
        sentences.append("Both sides ran on hardware.")
    elif worths == {"emulated"}:
        sentences.append("Neither side ran on hardware.")
    else:
        sentences.append("One side ran on hardware; the other is emulated and did not run on its chip.")
    return tuple(sentences)


def _largest(rows: list[Row], figure: Callable[[Row], float | None]) -> tuple[float, str]:
    found = [(value, row.id) for row in rows if (value := figure(row)) is not None]
    return max(found, key=lambda pair: pair[0], default=(0.0, "none"))


def _notes(reports: tuple[Report, ...], labels: tuple[str, ...], checks: tuple[CheckRow, ...]) -> list[str]:
    left, right = reports
    notes = []
    if left.digest == right.digest:
        notes.append("both files are the same, byte for byte: this compares a report with itself")
    elif (left.environment.platform, left.environment.device_arch) == (
        right.environment.platform,
        right.environment.device_arch,
    ):
        notes.append(
            "both reports are of the same platform and architecture: this is repeatability, not portability"
        )
    for side, label in enumerate(labels):
        only = [row.name for row in checks if row.statuses[1 - side] is None]
        if only:
            modules = Counter(name.split("::")[0] for name in only).most_common()
            shown = ", ".join(f"{printable(name, 100)} ({size})" for name, size in modules[:5])
            notes.append(f"{count(len(only), 'check')} only on {label}: {shown}{' …' if modules[5:] else ''}")
    return notes
