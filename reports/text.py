"""The verdict for a terminal: the word first, then what it rests on, then what is wrong, worst first."""

import os
import textwrap
from typing import TextIO

from .matrix import RANK
from .model import WORTH, Report
from .verdict import AGREES, Result, Row
from .wording import count, number, printable

MAX_LINES = 20  # of reasons and of cases; the JSON and the page have all
_COLOURS = {0: "32;1", 1: "31;1", 2: "33;1"}


def wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def render(result: Result, colour: bool = False) -> str:
    """Plain text with a newline at its end; escape codes only with `colour`."""
    lines = [f"{_painted(result.verdict, result.exit_code, colour)}: {result.headline}", ""]
    width = max(map(len, result.labels))
    for report, label in zip(result.reports, result.labels, strict=True):
        lines.append(f"  {label:{width}}  {_side(report)}")
        indent = " " * (width + 4)
        worth = WORTH[report.environment.evidence]
        lines.append(textwrap.fill(worth, 100, initial_indent=indent, subsequent_indent=indent))
    lines += ["", *(f"  {sentence}" for sentence in result.basis)]
    lines += section("Because", result.reasons)
    lines += section("Cases (error/bound of each side, distance in what both bounds allow)", _cases(result))
    lines += section("Waivers in force", _waivers(result))
    lines += section("Notes", result.notes)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _painted(word: str, exit_code: int, colour: bool) -> str:
    return f"\033[{_COLOURS[exit_code]}m{word}\033[0m" if colour else word


def _side(report: Report) -> str:
    environment = report.environment
    device = f"{printable(environment.device_name, 80)} ({printable(environment.device_arch, 60)})"
    return f"{environment.evidence}, {device}, profile {environment.profile}, {report.path}"


def section(title: str, lines: list[str] | tuple[str, ...]) -> list[str]:
    if not lines:
        return []
    rest = [f"  … and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return ["", f"{title}:", *(f"  {line}" for line in lines[:MAX_LINES]), *rest]


def _cases(result: Result) -> list[str]:
    """Every case that is not in agreement; where all are, the three with the largest errors."""
    wrong = [row for row in result.rows if row.outcome != AGREES]
    shown = wrong or list(result.rows[:3])
    width = max(len(row.id) for row in shown)
    return [f"{row.outcome:10}  {row.id:{width}}  {figures(row)}" for row in shown]


def figures(row: Row) -> str:
    """A row's numbers, one side after the other: `passed 0.42 | failed 3.1 | distance 0.21`."""
    parts = []
    for case in row.cases:
        status = case.status if case else "missing"
        parts.append(f"{status} {number(case.measured.error_worst)}" if case and case.measured else status)
    if row.distance is not None:
        parts.append(f"distance {number(row.distance)}")
    if row.integers_equal is False:
        parts.append("integers differ")
    if row.near_ties:
        parts.append(count(row.near_ties, "near tie"))
    return " | ".join(parts)


def _waivers(result: Result) -> list[str]:
    lines = []
    for waiver in result.waivers:
        cases = ", ".join(sorted(waiver.cases, key=RANK.__getitem__))
        architectures = ", ".join(printable(arch, 60) for arch in waiver.architectures)
        lines.append(f"{cases} on {architectures}, until {waiver.expires}: {printable(waiver.reason)}")
        lines.append(f"  {printable(waiver.owner, 80)}, {printable(waiver.issue)}")
    return lines
