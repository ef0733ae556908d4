"""The commands that need reports alone: `parity` and `page`."""

import argparse
import sys
from typing import Any

from . import fanin_command, history_command, machine, markdown, text
from .certificate import commands as certificate_commands
from .command_line import command, guarded, write
from .executed import read_coverage
from .model import ReportError
from .parity import compare
from .power import read_power
from .reading import read
from .service import commands as service_commands
from .single import assess
from .verdict import Result
from .waivers import Waiver, read_waivers

NAMES = (
    "parity",
    "page",
    *history_command.NAMES,
    *fanin_command.NAMES,
    *certificate_commands.NAMES,
    *service_commands.NAMES,
)
_PARITY_EPILOG = """\
exit codes:
  0  PARITY      all 162 cases passed on both sides, and the outputs agree
  1  DIVERGENT   a case passes on one side only, fails on both, or the outputs differ
  2  INCOMPLETE  something is missing or not comparable, or a file is no such report

examples:
  tritonmoe parity cuda.xml rocm.xml
  tritonmoe parity cuda.xml gfx942.xml --page parity.html
  tritonmoe parity cuda.xml gfx942.xml --page parity.html --power power.json --coverage gfx942-coverage.json
  tritonmoe parity cuda.xml rocm.xml --format json -o verdict.json
  tritonmoe parity cuda.xml rocm.xml --waivers waivers.toml
"""
_PAGE_EPILOG = """\
Exits with 0 when the page is written, whatever the verdict on it; with 2 when the file is no report.

examples:
  tritonmoe page cuda.xml -o cuda.html
  tritonmoe page cuda.xml > cuda.html
  tritonmoe page gfx942.xml --power power.json --coverage gfx942-coverage.json -o gfx942.html
"""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the commands to the dispatcher's subparsers."""
    parity = command(subparsers, "parity", "compare two reports and give the verdict", _PARITY_EPILOG)
    parity.add_argument("left", metavar="LEFT", help="a report: the JUnit XML file of one platform")
    parity.add_argument("right", metavar="RIGHT", help="the report to compare it with")
    parity.add_argument(
        "--format",
        choices=("text", "json", "markdown", "html"),
        default="text",
        help="of the output (default: text)",
    )
    parity.add_argument("-o", "--output", metavar="FILE", help="write there (default: standard output)")
    parity.add_argument("--page", metavar="FILE", help="write the HTML page there as well")
    parity.add_argument(
        "--live", action="store_true", help="say that LEFT is a record and RIGHT was made just now"
    )
    parity.add_argument("--waivers", metavar="FILE", help="a TOML file of known, owned, temporary failures")
    _of_the_suite(parity)
    parity.set_defaults(run=guarded(_parity))

    page = command(subparsers, "page", "one report as an HTML page", _PAGE_EPILOG)
    page.add_argument("report", metavar="REPORT", help="the JUnit XML file of one platform")
    page.add_argument("-o", "--output", metavar="FILE", help="write there (default: standard output)")
    page.add_argument("--waivers", metavar="FILE", help="a TOML file of known, owned, temporary failures")
    _of_the_suite(page)
    page.set_defaults(run=guarded(_page))

    history_command.register(subparsers)
    fanin_command.register(subparsers)
    service_commands.register(subparsers)
    certificate_commands.register(subparsers)


def _of_the_suite(parser: argparse.ArgumentParser) -> None:
    """Options for what the page says of the suite itself."""
    parser.add_argument(
        "--power", metavar="FILE", help="on the page: what `tritonmoe power --json FILE` wrote"
    )
    parser.add_argument(
        "--coverage",
        metavar="FILE",
        action="append",
        default=[],
        help="on the page: a PLATFORM-coverage.json that certify wrote; may be repeated",
    )


def _parity(args: argparse.Namespace) -> int:
    suite = _suite(args)
    if suite and args.page is None and args.format != "html":
        raise ReportError("--power and --coverage are shown on the page: add --page FILE or --format html")
    inputs = _inputs(args, args.left, args.right)
    result = compare(read(args.left), read(args.right), _waivers(args.waivers), live=args.live)
    if args.page is not None:
        write(args.page, _html(result, suite), inputs)
    colour = args.output is None and text.wants_colour(sys.stdout)
    made = {
        "text": lambda: text.render(result, colour),
        "json": lambda: machine.render(result),
        "markdown": lambda: markdown.render(result),
        "html": lambda: _html(result, suite),
    }[args.format]()
    write(args.output, made, inputs)
    return result.exit_code


def _page(args: argparse.Namespace) -> int:
    suite, inputs = _suite(args), _inputs(args, args.report)
    result = assess(read(args.report), _waivers(args.waivers))
    write(args.output, _html(result, suite), inputs)
    print(f"{result.verdict}: {result.headline}", file=sys.stderr)
    return 0


def _html(result: Result, suite: dict[str, Any]) -> str:
    from .page import render  # the one output that needs jinja2

    return render(result, **suite)


def _suite(args: argparse.Namespace) -> dict[str, Any]:
    """What is known of the suite itself, as the page takes it; empty if nothing was given."""
    made: dict[str, Any] = {}
    if args.power is not None:
        made["power"] = read_power(args.power)
    if args.coverage:
        made["coverage"] = [read_coverage(path) for path in args.coverage]
    return made


def _inputs(args: argparse.Namespace, *reports: str) -> list[str]:
    return [path for path in (*reports, args.waivers, args.power, *args.coverage) if path is not None]


def _waivers(path: str | None) -> tuple[Waiver, ...]:
    return () if path is None else read_waivers(path)
