"""The verdict as Markdown, for a summary of a CI run or a comment on a change."""

import html
import re
from collections.abc import Iterable, Sequence

from .model import WORTH, Case
from .verdict import AGREES, Result
from .wording import NOTHING, count, number, printable

MAX_ROWS = 40


def render(result: Result) -> str:
    """GitHub-flavoured Markdown. Strings from a report appear as text: no markup, no mention, no link of
    theirs.
    """
    lines = [f"# {result.verdict}: {safe(result.headline)}", ""]
    lines += _table(
        ("side", "evidence", "device", "what that is worth"),
        [
            (
                label,
                report.environment.evidence,
                f"{report.environment.device_name} ({report.environment.device_arch})",
                WORTH[report.environment.evidence],
            )
            for label, report in zip(result.labels, result.reports, strict=True)
        ],
    )
    lines += [safe(" ".join(result.basis)), ""]
    lines += _list("Because", result.reasons)
    wrong = [row for row in result.rows if row.outcome != AGREES]
    if wrong:
        lines += ["## Cases that do not agree", ""]
        head = ("case", "outcome", *result.labels, "distance")
        lines += _table(
            head,
            [
                (
                    row.id,
                    row.outcome,
                    *(_status(case) for case in row.cases),
                    NOTHING if row.distance is None else number(row.distance),
                )
                for row in wrong[:MAX_ROWS]
            ],
        )
        if wrong[MAX_ROWS:]:
            lines += [f"… and {count(len(wrong) - MAX_ROWS, 'case')} more", ""]
    waivers = [
        f"{', '.join(waiver.cases)} on {', '.join(waiver.architectures)}, until {waiver.expires}: "
        f"{waiver.reason} "
        f"({waiver.owner}, {waiver.issue})"
        for waiver in result.waivers
    ]
    lines += _list("Waivers in force", waivers)
    lines += _list("Notes", result.notes)
    return "\n".join(lines).rstrip() + "\n"


def safe(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(printable(text, 1000), quote=False))
    return escaped.replace("@", "&#64;").replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def _status(case: Case | None) -> str:
    if case is None:
        return "missing"
    return f"{case.status} {number(case.measured.error_worst)}" if case.measured else case.status


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = [[safe(cell) for cell in row] for row in rows]
    return [
        f"| {' | '.join(row)} |" for row in ([safe(cell) for cell in head], ["---"] * len(head), *body)
    ] + [""]


def _list(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    rest = [f"- … and {len(items) - MAX_ROWS} more"] if len(items) > MAX_ROWS else []
    return [f"## {title}", "", *(f"- {safe(item)}" for item in items[:MAX_ROWS]), *rest, ""]
