"""What the commands share: errors in one line, files that are written and never over what was read."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .model import ReportError
from .wording import printable


def command(
    subparsers: argparse._SubParsersAction, name: str, summary: str, epilog: str
) -> argparse.ArgumentParser:
    """A parser whose help begins with the summary and ends with the epilog: examples, exit codes."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command, for which bad input is one line on standard error and exit code 2."""

    def made(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except ReportError as error:
            print(f"tritonmoe: {error}", file=sys.stderr)
            return 2

    return made


def write(path: str | None, content: str, inputs: Sequence[str]) -> None:
    """To the file, or to standard output. A file that was read is evidence and is never written over. Raises
    ReportError.
    """
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
