"""The command `fan-in`: all platforms of a run into one folder of verdicts, pages and certificates."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

from . import fanin, machine, markdown
from .command_line import command, guarded
from .executed import read_coverage
from .fanin import FanIn, Member
from .model import EVIDENCE, ReportError
from .power import Power, read_power
from .waivers import read_waivers
from .wording import printable

EPILOG = """\
Every XML file below DIR is read; a file's platform is what its report says, not its name. All pairs are
compared. Written to OUT: summary.md, fan-in.json, test-result.json (a predicate for attestations), reports/
and records/ (the XML files, byte for byte, each with the PLATFORM-coverage.json that lies beside it), and for
each pair LEFT-RIGHT.html, .json and .md; with --key and nothing wrong also LEFT-RIGHT.cert.json and
LEFT-RIGHT.zip, the certificate and the package to hand over.

exit codes:
  0  every platform that was expected is there once, and every pair is in PARITY
  1  a pair is DIVERGENT
  2  a platform is missing, unknown or there twice, a file is no report, a pair is INCOMPLETE, or the
     certificate was refused

examples:
  tritonmoe fan-in out --expect cuda,rocm
  tritonmoe fan-in out --expect cuda,gfx942 --record reports/evidence/cuda-h200.xml --key team.key -o parity
  tritonmoe fan-in out --expect cuda,rocm --format markdown >> "$GITHUB_STEP_SUMMARY"
"""
NAMES = ("fan-in",)


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the dispatcher's subparsers."""
    parser = command(
        subparsers,
        "fan-in",
        "compare all platforms of a run, and fail if one is missing, unknown or there twice",
        EPILOG,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder with the platforms' XML files")
    parser.add_argument(
        "--expect", required=True, metavar="IDS", help="platforms that must be there: cuda,rocm"
    )
    parser.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="XML",
        help="a report kept from an earlier run, in place of a platform that was not run; may be repeated",
    )
    parser.add_argument("--waivers", metavar="FILE", help="a TOML file of known, owned, temporary failures")
    parser.add_argument(
        "--power",
        metavar="FILE",
        help="what `tritonmoe power --json FILE` wrote: on the pages, in the certificates",
    )
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key", metavar="FILE", help="sign a certificate of each pair with this private key")
    key.add_argument("--key-env", metavar="VARIABLE", help="the private key is in this environment variable")
    parser.add_argument("--url", help="a link to the run, to be in the certificates")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("parity"), metavar="OUT", help="default: parity"
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "markdown"),
        default="text",
        help="of standard output (default: text)",
    )
    parser.set_defaults(run=guarded(run))


def run(arguments: argparse.Namespace) -> int:
    """Compares, writes, signs, prints; returns the exit code."""
    expected = [each.strip() for each in arguments.expect.split(",") if each.strip()]
    out, inputs = arguments.output, [arguments.waivers, arguments.power, arguments.key, *arguments.record]
    _keep_apart(out, arguments.folder, [Path(path) for path in inputs if path])
    waivers = read_waivers(arguments.waivers) if arguments.waivers else ()
    power = read_power(arguments.power) if arguments.power else None
    found = fanin.gather(arguments.folder, expected, arguments.record, waivers)
    _write(found, out, power)
    code = found.exit_code
    if arguments.key or arguments.key_env:
        if code == 0:
            code = _sign(found, out, arguments)
        else:
            print("tritonmoe fan-in: nothing is signed, for only PARITY can be", file=sys.stderr)
    sys.stdout.write(_RENDERED[arguments.format](found))
    print(f"written to {out}", file=sys.stderr)
    return code


def _json(found: FanIn) -> str:
    return json.dumps(fanin.as_dict(found), indent=2, ensure_ascii=False) + "\n"


_RENDERED: dict[str, Callable[[FanIn], str]] = {"text": fanin.text, "json": _json, "markdown": fanin.summary}


def _keep_apart(out: Path, folder: Path, inputs: list[Path]) -> None:
    """What is written must not be found as a report of the next run, nor replace what is read."""
    written = out.resolve()
    if written == folder.resolve() or folder.resolve() in written.parents:
        raise ReportError(f"{printable(str(out))}: lies in the folder that is read; write to another with -o")
    for path in (folder, *inputs):
        if written in path.resolve().parents:
            raise ReportError(f"{printable(str(path))}: lies in {printable(str(out))}, which is written anew")


def _write(found: FanIn, out: Path, power: Power | None) -> None:
    from .page import render  # needs jinja2

    try:
        out.mkdir(parents=True, exist_ok=True)
        _forget(out)
        for member in found.members:
            kept = _kept(out, member)
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(member.path, kept)
            if _coverage(member.path, member).exists():
                shutil.copyfile(_coverage(member.path, member), _coverage(kept, member))
        for pair in found.pairs:
            copies = [_coverage(_kept(out, member), member) for member in (pair.left, pair.right)]
            coverage = [read_coverage(path) for path in copies if path.exists()]
            for suffix, text in (
                ("html", render(pair.result, power, coverage)),
                ("json", machine.render(pair.result)),
                ("md", markdown.render(pair.result)),
            ):
                (out / f"{pair.name}.{suffix}").write_text(text, encoding="utf-8")
        (out / "summary.md").write_text(fanin.summary(found), encoding="utf-8")
        (out / "fan-in.json").write_text(_json(found), encoding="utf-8")
        predicate = json.dumps(fanin.test_result(found), indent=2) + "\n"
        (out / "test-result.json").write_text(predicate, encoding="utf-8")
    except OSError as error:
        name = printable(str(error.filename or out))
        raise ReportError(f"{name}: cannot be written ({error.strerror})") from None


def _coverage(report: Path, member: Member) -> Path:
    return report.with_name(f"{member.platform}-coverage.json")


def _forget(out: Path) -> None:
    """Removes what an earlier run wrote: a certificate must not outlive the verdict behind it."""
    for left, right in permutations(EVIDENCE, 2):
        for suffix in ("html", "json", "md", "cert.json", "zip"):
            (out / f"{left}-{right}.{suffix}").unlink(missing_ok=True)
    for platform in EVIDENCE:
        for folder in ("reports", "records"):
            for name in (f"{platform}.xml", f"{platform}-coverage.json"):
                (out / folder / name).unlink(missing_ok=True)


def _kept(out: Path, member: Member) -> Path:
    return out / ("records" if member.recorded else "reports") / f"{member.platform}.xml"


def _sign(found: FanIn, out: Path, arguments: argparse.Namespace) -> int:
    """A certificate and a package a pair, by the commands that anyone would use."""
    options = ["--key", arguments.key] if arguments.key else ["--key-env", arguments.key_env]
    for name in ("waivers", "power", "url"):
        if value := getattr(arguments, name):
            options += [f"--{name}", value]
    for pair in found.pairs:
        sides = [str(_kept(out, member)) for member in (pair.left, pair.right)]
        certificate = str(out / f"{pair.name}.cert.json")
        attest = ["attest", *sides, *options, "-o", certificate]
        bundle = ["bundle", *sides, "--cert", certificate, "-o", str(out / f"{pair.name}.zip")]
        for step in (attest, bundle):
            program = [sys.executable, "-m", "reports", *step]
            made = subprocess.run(program, stdout=subprocess.PIPE, text=True)
            sys.stderr.write(made.stdout)  # standard output is the fan-in's own
            if made.returncode:
                reason = f"tritonmoe {step[0]} failed"
                print(f"tritonmoe fan-in: no certificate of {pair.name}: {reason}", file=sys.stderr)
                return 2
    return 0
