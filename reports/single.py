"""The verdict on one report: PASSED (exit 0), FAILED (1) or INCOMPLETE (2), by the rules of `parity` for one
side.
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from .matrix import REQUIRED
from .model import ERROR, FAILED, Report
from .verdict import (
    AGREES,
    CASES,
    DIVERGES,
    INCOMPLETE,
    WAIVED,
    Result,
    Row,
    check_faults,
    check_rows,
    failure,
    grouped,
    labels_of,
    not_run,
    notes_of,
    today_utc,
    total_examples,
    unexpected_pass,
    waiver_for,
    waivers_in_force,
    with_evidence,
    worst_first,
)
from .waivers import Waiver
from .wording import count, number

EXIT_CODES = {"PASSED": 0, "FAILED": 1, "INCOMPLETE": 2}


@dataclass(frozen=True)
class Assessment(Result):
    """The verdict on one report; `verdict` is PASSED, FAILED or INCOMPLETE."""


def assess(report: Report, waivers: Iterable[Waiver] = (), today: datetime.date | None = None) -> Assessment:
    """Judges one report. A failure outweighs a missing case; less than the 162 cases never passes."""
    reports = (report,)
    labels = labels_of(reports)
    in_force, expired = waivers_in_force(waivers, reports, today or today_utc())
    rows = worst_first(_row(case_id, report, labels[0], in_force) for case_id in REQUIRED)
    checks = check_rows(reports)
    failing = [row for row in rows if row.outcome == DIVERGES]
    absent = [row for row in rows if row.outcome == INCOMPLETE]
    waived = [row for row in rows if row.outcome == WAIVED]
    failures = grouped(failing) + check_faults(checks, labels, FAILED, "fails on")
    missing = grouped(absent) + check_faults(checks, labels, ERROR, "stopped by an error on")
    verdict = "FAILED" if failures else "INCOMPLETE" if missing else "PASSED"
    if failing:
        headline = f"fails {len(failing)} of {CASES} cases, worst {failing[0].id}"
    elif absent and not failures:
        headline = f"did not run {len(absent)} of {CASES} cases"
    else:
        headline = f"passes {CASES - len(absent) - len(waived)} of {CASES} cases"
        headline += f"; {count(len(waived), 'failure')} waived" if waived else ""
        headline += ", but not every check beside the matrix" if failures or missing else ""
    return Assessment(
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        headline=f"{with_evidence(reports, labels)} {headline}",
        basis=_basis(report, rows),
        reasons=tuple(failures + missing),
        notes=tuple(expired + notes_of(reports, labels, rows, checks)),
        reports=reports,
        labels=labels,
        rows=rows,
        checks=checks,
        waivers=in_force,
    )


def _row(case_id: str, report: Report, label: str, waivers: tuple[Waiver, ...]) -> Row:
    case = report.cases.get(case_id)
    absent = not_run(case, label)
    if absent or case is None:
        return Row(case_id, INCOMPLETE, (absent,), (case,))
    waiver = waiver_for(waivers, case_id, report)
    if case.status == FAILED:
        return Row(case_id, WAIVED if waiver else DIVERGES, (failure(case, label),), (case,))
    if waiver:
        return Row(case_id, DIVERGES, (unexpected_pass(waiver, label),), (case,))
    return Row(case_id, AGREES, (), (case,))


def _basis(report: Report, rows: tuple[Row, ...]) -> tuple[str, ...]:
    measured = [
        (worst, row.id) for row in rows if row.outcome == AGREES and (worst := row.error_worst) is not None
    ]
    error, where = max(measured, default=(0.0, "none"))
    return (
        f"{count(total_examples(report), 'example')}, each element judged by its own bound around float64.",
        f"The largest error of a passed case is {number(error)} of its bound ({where}).",
    )
