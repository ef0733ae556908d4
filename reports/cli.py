"""The command `tritonmoe`: finds what is installed and hands over to it.

A package adds commands by an entry point in the group "tritonmoe.commands": a function register(subparsers)
that adds parsers of its own, each with set_defaults(run=function(args) -> exit code). One that cannot be
imported here, as the suite where there is no torch, becomes a command that says what to install.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import NoReturn

from . import commands
from .wording import printable

GROUP = "tritonmoe.commands"
_EPILOG = """\
examples:
  tritonmoe parity cuda.xml rocm.xml               the verdict on two reports
  tritonmoe parity cuda.xml rocm.xml --page p.html and a page for people
  tritonmoe page cuda.xml -o cuda.html             one report as a page
  tritonmoe parity --help                          all about one command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command in `argv` (default: the process's arguments) and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal without Unicode must not end in a traceback
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(alone=bool(argv) and argv[0] in commands.NAMES)
    args, rest = parser.parse_known_args(argv)
    if rest and not getattr(args, "unavailable", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if not hasattr(args, "run"):
        parser.print_help(sys.stderr)
        return 2
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:
        print(f"tritonmoe: {args.command} needs the module {error.name!r}; {_advice('all')}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has gone, as in `tritonmoe ... | head`: keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Says at an unknown command which packages' commands are not available here."""

    unavailable: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message and self.unavailable:
            message += "; not available here: " + "; ".join(self.unavailable)
        super().error(message)


def _parser(alone: bool) -> argparse.ArgumentParser:
    """All commands; `alone`: those of reports, so that a verdict does not wait until torch is imported."""
    parser = _Parser(
        prog="tritonmoe",
        description="Runs the conformance suite, compares two platforms' reports, gives the verdict.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tritonmoe {_version()}")
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", parser_class=argparse.ArgumentParser
    )
    unavailable = []
    registrars = {"reports": lambda: commands.register} if alone else _registrars()
    for name, load in sorted(registrars.items()):
        try:
            load()(subparsers)
        except (ImportError, AttributeError) as error:
            reason = f"{name} ({printable(str(error), 200)})"
            unavailable.append(f"{reason}, {_advice(name)}")
            _add_unavailable(subparsers, name, f"tritonmoe: the commands of {reason} are not available here")
    parser.unavailable = tuple(unavailable)
    return parser


def _registrars() -> dict[str, Callable[[], Callable]]:
    """By package, how to load its register(). A checkout that is not installed has no entry points: reports
    alone.
    """
    found: dict[str, Callable[[], Callable]] = {each.name: each.load for each in _entry_points()}
    found.setdefault("reports", lambda: commands.register)
    return found


def _entry_points() -> Sequence[EntryPoint]:
    return tuple(entry_points(group=GROUP))


def _add_unavailable(subparsers: argparse._SubParsersAction, name: str, message: str) -> None:
    if name in subparsers.choices:
        return

    def run(_: argparse.Namespace) -> int:
        print(f"{message}; {_advice(name)}", file=sys.stderr)
        return 2

    parser = subparsers.add_parser(name, help=f"not available here; {_advice(name)}", add_help=False)
    parser.set_defaults(run=run, unavailable=True)  # whatever its arguments are


def _advice(name: str) -> str:
    extra = "conformance,reports" if name == "all" else name
    return f"install it with: pip install 'tritonmoe[{extra}]'"


def _version() -> str:
    try:
        return version("tritonmoe")
    except PackageNotFoundError:
        return "(a checkout that is not installed)"
