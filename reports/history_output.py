"""A history for a terminal, a program (JSON), a person (HTML)."""

import json
from dataclasses import asdict
from typing import Any

from .document import document
from .history import Change, History, Moved, Step
from .machine import json_number
from .text import section
from .wording import number, printable

FORMAT, VERSION = "tritonmoe.history", 1
MAX_ON_PAGE = 60  # lines of one kind of change in one step


def text(history: History) -> str:
    """Plain text with a newline at its end: the headline, a line a report, then step by step."""
    width = max(map(len, history.labels))
    lines = [history.headline, ""]
    for label, verdict, passed in zip(history.labels, history.verdicts, history.passed, strict=True):
        report = verdict.reports[0]
        environment = report.environment
        lines.append(
            f"  {label:{width}}  {verdict.verdict} {passed}, {environment.evidence}, "
            f"{printable(environment.device_name, 60)}, {environment.commit[:12]}, {report.path}"
        )
    lines += section(
        "Passed before, not now", [f"{each.after:8} {printable(each.name, 160)}" for each in history.lost]
    )
    for step in history.steps:
        lines += ["", f"{history.labels[step.before]} to {history.labels[step.after]}: {step.summary}"]
        lines += [f"  {line}" for part in _parts(step) for line in part]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def machine(history: History) -> str:
    """A JSON object, indented, with a newline at its end. Within a version keys are never renamed or
    removed.
    """
    made = {
        "format": FORMAT,
        "version": VERSION,
        "exit_code": history.exit_code,
        "headline": history.headline,
        "reports": [
            {
                "label": label,
                "path": verdict.reports[0].path,
                "sha256": verdict.reports[0].digest,
                "verdict": verdict.verdict,
                "environment": asdict(verdict.reports[0].environment),
            }
            for label, verdict in zip(history.labels, history.verdicts, strict=True)
        ],
        "lost": [asdict(each) for each in history.lost],
        "steps": [_step(step) for step in history.steps],
    }
    return json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def page(history: History) -> str:
    """One self-contained HTML page in the look of the verdict's."""
    return document("history.html", script=False, history=history, limit=MAX_ON_PAGE, few=12)


def _parts(step: Step) -> list[list[str]]:
    return [
        section("Environment", [_arrow(each) for each in step.environment]),
        section("Cases that changed outcome", [_arrow(each) for each in step.outcomes]),
        section("Worst errors that moved, the largest first", [_moved(each) for each in step.errors]),
        section("Examples", [_arrow(each) for each in step.examples_grouped]),
        section("Ran on other inputs", list(step.inputs)),
        section("Same inputs, other outputs", list(step.outputs)),
        section("Checks that changed, came or went", [_arrow(each) for each in step.checks]),
    ]


def _arrow(each: Change) -> str:
    return f"{printable(each.name, 160)}: {printable(each.before, 100)} -> {printable(each.after, 100)}"


def _moved(each: Moved) -> str:
    return f"{each.id}: {number(each.before)} -> {number(each.after)}"


def _step(step: Step) -> dict[str, Any]:
    return {
        **asdict(step),
        "summary": step.summary,
        "errors": [
            {"id": each.id, "before": json_number(each.before), "after": json_number(each.after)}
            for each in step.errors
        ],
    }
