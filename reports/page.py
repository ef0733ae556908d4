"""The verdict as one self-contained HTML page: nothing fetched, nothing run, every string escaped."""

from dataclasses import dataclass, fields
from functools import cache
from itertools import groupby
from typing import Any

import jinja2
from markupsafe import Markup, escape

from .matrix import DTYPES, MODELS, RANK, ROUTINGS, STAGES
from .model import ERROR, FAILED, PASSED, SKIPPED, WORTH, Environment
from .verdict import AGREES, DIVERGES, INCOMPLETE, WAIVED, CheckRow, Result, Row, total_examples
from .wording import NOTHING, count, number, printable

BANDS = (
    ("b0", 0.0, "0"),
    ("b1", 0.25, "to 0.25"),
    ("b2", 0.5, "to 0.5"),
    ("b3", 0.75, "to 0.75"),
    ("b4", 1.0, "to 1"),
)
MAX_FINDINGS = 40
MAX_CHECKS = 500


@dataclass(frozen=True)
class Cell:
    """A case in the grid: how it is coloured, its number, and a mark that needs no colour."""

    style: str
    text: str
    mark: str
    spoken: str


def render(result: Result) -> str:
    """The page for a verdict on two reports (`parity.compare`) or on one (`single.assess`)."""
    findings = [row for row in result.rows if row.outcome != AGREES]
    return _template().render(
        result=result,
        pair=len(result.reports) == 2,
        sides=list(zip(result.labels, result.reports, strict=True)),
        worth=WORTH,
        stages=STAGES,
        models=MODELS,
        dtypes=DTYPES,
        routings=ROUTINGS,
        cells={row.id: _cell(row) for row in result.rows},
        bands=BANDS,
        findings=findings[:MAX_FINDINGS],
        findings_left_out=len(findings[MAX_FINDINGS:]),
        environment=_environment(result),
        checks=result.checks[:MAX_CHECKS],
        checks_left_out=len(result.checks[MAX_CHECKS:]),
        check_counts=_check_counts(result.checks),
        checks_broken=any(status in (FAILED, ERROR) for row in result.checks for status in row.statuses),
        profiles=" and ".join(sorted({report.environment.profile for report in result.reports})),
        passed=[sum(case.status == PASSED for case in report.cases.values()) for report in result.reports],
        examples=[count(total_examples(report), "example") for report in result.reports],
        by_stage=[
            (stage, list(rows))
            for stage, rows in groupby(_in_order(result), lambda row: row.id.split("/")[0])
        ],
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["line"] = printable
    environment.filters["number"] = lambda value: NOTHING if value is None else number(value)
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html")


def _breakable(name: str) -> Markup:
    """A name that a narrow column may break after a slash or an underscore."""
    return Markup(str(escape(name)).replace("/", "/<wbr>").replace("_", "_<wbr>"))


def _in_order(result: Result) -> list[Row]:
    return sorted(result.rows, key=lambda row: RANK[row.id])


def _cell(row: Row) -> Cell:
    error = row.error_worst
    text = NOTHING if error is None else number(error)
    spoken = (
        f"{row.id}: {row.outcome}, error {text} of its bound"
        if error is not None
        else f"{row.id}: {row.outcome}"
    )
    failed = any(case and case.status == FAILED for case in row.cases)
    if row.outcome == DIVERGES:
        return Cell("bad", text, "✕" if failed else "≠" if row.outputs_differ else "!", spoken)
    if row.outcome == INCOMPLETE:
        return Cell("gap", text, "?", spoken)
    if row.outcome == WAIVED:
        return Cell("excused", text, "w", spoken)
    style = next((name for name, limit, _ in BANDS if error is not None and error <= limit), "gap")
    return Cell(style, text, "", spoken)


def _environment(result: Result) -> list[dict[str, Any]]:
    """One entry a property: its name, its value on each side, and whether the sides differ."""
    table = [
        _property(
            each.name.replace("_", " "), [getattr(report.environment, each.name) for report in result.reports]
        )
        for each in fields(Environment)
    ]
    table.append(_property("file", [report.path for report in result.reports], False))
    table.append(_property("file digest", [report.digest for report in result.reports], False))
    return table


def _property(name: str, values: list[str], may_differ: bool = True) -> dict[str, Any]:
    code = name in ("file", "commit") or name.endswith("digest")
    return {"name": name, "values_": values, "differs": may_differ and len(set(values)) > 1, "code": code}


def _check_counts(checks: tuple[CheckRow, ...]) -> str:
    """Such as `41 passed, 2 skipped`; a check counts as the worst that happened to it on any side."""
    statuses = [next((s for s in (FAILED, ERROR, SKIPPED) if s in row.statuses), PASSED) for row in checks]
    counts = [(statuses.count(s), s) for s in (FAILED, ERROR, SKIPPED, PASSED)]
    return ", ".join(f"{amount} {status}" for amount, status in counts if amount)
