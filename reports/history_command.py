"""The command `history`: what changed between reports."""

import argparse

from .command_line import command, guarded, write
from .history import trace
from .model import ReportError
from .reading import read

NAMES = ("history",)
_EPILOG = """\
Reports are taken in the order given, the oldest first: they carry no time of their own.

exit codes:
  0  everything that passed in an earlier report passes in the newest
  1  a case or a check that passed before does not now, or is missing
  2  a file is no report

examples:
  tritonmoe history monday.xml tuesday.xml wednesday.xml
  tritonmoe history runs/*.xml --by-platform --page history.html
  tritonmoe history old.xml new.xml --format json -o changes.json
"""
MAX_REPORTS = 50


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the dispatcher's subparsers."""
    summary = "what changed between several reports: outcomes, errors, examples, environments, checks"
    parser = command(subparsers, "history", summary, _EPILOG)
    parser.add_argument("reports", metavar="REPORT", nargs="+", help="JUnit XML files, the oldest first")
    parser.add_argument(
        "--by-platform",
        action="store_true",
        help="compare each with the one before it of its own platform (default: with the one before it)",
    )
    parser.add_argument("--format", choices=("text", "json", "html"), default="text", help="default: text")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there (default: standard output)")
    parser.add_argument("--page", metavar="FILE", help="write the HTML page there as well")
    parser.set_defaults(run=guarded(_history))


def _history(args: argparse.Namespace) -> int:
    from . import history_output  # needs jinja2

    if not 2 <= len(args.reports) <= MAX_REPORTS:
        given = f"{len(args.reports)} {'report' if len(args.reports) == 1 else 'reports'}"
        raise ReportError(f"history: {given} given; expected 2 to {MAX_REPORTS}, the oldest first")
    found = trace([read(path) for path in args.reports], args.by_platform)
    if args.page is not None:
        write(args.page, history_output.page(found), args.reports)
    render = {"text": history_output.text, "json": history_output.machine, "html": history_output.page}
    write(args.output, render[args.format](found), args.reports)
    return found.exit_code
