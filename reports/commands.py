"""The commands that need reports alone: `parity` and `page`."""

import argparse
import os
import sys
from pathlib import Path

from . import machine, markdown, text
from .model import ReportError
from .parity import compare
from .reading import read
from .single import assess
from .verdict import Result
from .waivers import Waiver, read_waivers
from .wording import printable

NAMES = ("parity", "page")
_PARITY_EPILOG = """\
exit codes:
  0  PARITY      all 162 cases passed on both sides, and the outputs agree
  1  DIVERGENT   a case passes on one side only, fails on both, or the outputs differ
  2  INCOMPLETE  something is missing or not comparable, or a file is no such report

examples:
  tritonmoe parity cuda.xml rocm.xml
  tritonmoe parity cuda.xml gfx942.xml --page parity.html
  tritonmoe parity cuda.xml rocm.xml --format json -o verdict.json
  tritonmoe parity cuda.xml rocm.xml --waivers waivers.toml
"""
_PAGE_EPILOG = """\
Exits with 0 when the page is written, whatever the verdict on it; with 2 when the file is no report.

examples:
  tritonmoe page cuda.xml -o cuda.html
  tritonmoe page cuda.xml > cuda.html
"""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the commands to the dispatcher's subparsers."""
    parity = _command(subparsers, "parity", "compare two reports and give the verdict", _PARITY_EPILOG)
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
    parity.set_defaults(run=_guarded(_parity))

    page = _command(subparsers, "page", "one report as an HTML page", _PAGE_EPILOG)
    page.add_argument("report", metavar="REPORT", help="the JUnit XML file of one platform")
    page.add_argument("-o", "--output", metavar="FILE", help="write there (default: standard output)")
    page.add_argument("--waivers", metavar="FILE", help="a TOML file of known, owned, temporary failures")
    page.set_defaults(run=_guarded(_page))


def _command(subparsers, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _guarded(run):
    """Bad input is one line on standard error and exit code 2."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except ReportError as error:
            print(f"tritonmoe: {error}", file=sys.stderr)
            return 2

    return guarded


def _parity(args: argparse.Namespace) -> int:
    inputs = [path for path in (args.left, args.right, args.waivers) if path is not None]
    result = compare(read(args.left), read(args.right), _waivers(args.waivers), live=args.live)
    if args.page is not None:
        _write(args.page, _html(result), inputs)
    colour = args.output is None and text.wants_colour(sys.stdout)
    made = {
        "text": lambda: text.render(result, colour),
        "json": lambda: machine.render(result),
        "markdown": lambda: markdown.render(result),
        "html": lambda: _html(result),
    }[args.format]()
    _write(args.output, made, inputs)
    return result.exit_code


def _page(args: argparse.Namespace) -> int:
    inputs = [path for path in (args.report, args.waivers) if path is not None]
    result = assess(read(args.report), _waivers(args.waivers))
    _write(args.output, _html(result), inputs)
    print(f"{result.verdict}: {result.headline}", file=sys.stderr)
    return 0


def _html(result: Result) -> str:
    from .page import render  # the one output that needs jinja2

    return render(result)


def _waivers(path: str | None) -> tuple[Waiver, ...]:
    return () if path is None else read_waivers(path)


def _write(path: str | None, content: str, inputs: list[str]) -> None:
    """To the file, or to standard output. A file that was read is evidence and is never written over."""
    if path is None:
        sys.stdout.write(content)
        return
    try:
        if any(os.path.exists(path) and os.path.samefile(path, each) for each in inputs):
            raise ReportError(f"{printable(path)}: is one of the files just read; write to another")
        Path(path).write_text(content, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReportError(f"{printable(path)}: cannot be written ({printable(reason)})") from None
