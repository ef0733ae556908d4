"""The commands `keygen`, `attest`, `verify` and `bundle`."""

import argparse
import datetime
import os
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from ..command_line import command
from ..model import ReportError
from ..untrusted import file_bytes
from ..wording import printable
from . import keys, sources, summary
from .against import Against
from .bundle import CERTIFICATE, MAX_PACKAGE, pack, verify_bundle
from .envelope import MAX_BYTES
from .evidence import Certificate
from .jsontext import canonical, readable, strict
from .making import attest
from .refused import Refused
from .statement import parse_time
from .verifying import verify

NAMES = ("keygen", "attest", "verify", "bundle")
_CODES = """\
exit codes:
  0  {done}
  1  refused, with the reason in one line
  2  something cannot be read or written
"""
_KEYGEN = """\
Keep NAME.key secret and give NAME.pub to whoever is to verify. Nothing is ever written over.

examples:
  tritonmoe keygen -o team
"""
_ATTEST = (
    _CODES.format(done="the certificate is written")
    + """
Only PARITY is certified: as PASSED, or as WARNED where a waiver excuses a case.

examples:
  tritonmoe attest cuda.xml rocm.xml --key team.key
  tritonmoe attest cuda.xml rocm.xml --key-env SIGNING_KEY -o parity.json --markdown >> summary.md
  tritonmoe attest cuda.xml rocm.xml --key team.key --wheel dist/tritonmoe-0.1.0-py3-none-any.whl
"""
)
_VERIFY = (
    _CODES.format(done="the certificate holds")
    + """
Everything is computed again from the reports. The sources are compared with a checkout: the one that the
working directory is in, or --tree.

examples:
  tritonmoe verify parity.zip --key team.pub
  tritonmoe verify certificate.json --key team.pub --left cuda.xml --right rocm.xml
  tritonmoe verify parity.zip --key team.pub --tree ~/src/tritonmoe --json
"""
)
_BUNDLE = (
    _CODES.format(done="the package is written")
    + """
The package holds both reports, their environments, the state of the sources, the statement and the
certificate, and nothing else. `tritonmoe verify` takes it whole.

examples:
  tritonmoe bundle cuda.xml rocm.xml --cert certificate.json -o parity.zip
  tritonmoe bundle cuda.xml rocm.xml --cert certificate.json --tree . -o parity.zip
"""
)


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the commands to the dispatcher's subparsers."""
    made = _command(
        subparsers, "keygen", "make an Ed25519 key pair to sign certificates with", _KEYGEN, _keygen
    )
    made.add_argument("-o", "--output", metavar="NAME", required=True, help="writes NAME.key and NAME.pub")
    _outputs(made, "json")

    made = _command(subparsers, "attest", "certify that two reports are in PARITY", _ATTEST, _attest)
    _reports(made)
    key = made.add_mutually_exclusive_group(required=True)
    key.add_argument("--key", metavar="FILE", help="the private key, NAME.key")
    key.add_argument("--key-env", metavar="VARIABLE", help="the private key is in this environment variable")
    made.add_argument("-o", "--output", metavar="FILE", default=CERTIFICATE, help=f"default: {CERTIFICATE}")
    _files(made, "certify")
    made.add_argument("--url", help="a link to the run, to be in the certificate")
    made.add_argument("--made", metavar="TIME", help="as 2030-01-31T12:00:00Z (default: now)")
    made.add_argument("--predicate", metavar="FILE", help="write the predicate alone there as well")
    _outputs(made, "json", "markdown")

    made = _command(subparsers, "verify", "verify a certificate against its reports", _VERIFY, _verify)
    made.add_argument(
        "certificate", metavar="CERT", help="a certificate, or a whole package: a zip or folder"
    )
    made.add_argument(
        "--key", metavar="FILE", action="append", required=True, help="a trusted public key; may be repeated"
    )
    made.add_argument("--left", metavar="FILE", help="the report that was certified as the left one")
    made.add_argument("--right", metavar="FILE", help="and the right one")
    made.add_argument("--bundle", metavar="PATH", help="take the reports from this package")
    tree = made.add_mutually_exclusive_group()
    tree.add_argument("--tree", metavar="DIR", help="the checkout to compare the sources with")
    tree.add_argument("--no-tree", action="store_true", help="compare the sources with no checkout")
    _files(made, "compare")
    _outputs(made, "json", "markdown")

    made = _command(subparsers, "bundle", "pack reports and certificate into one file", _BUNDLE, _bundle)
    _reports(made)
    made.add_argument("--cert", metavar="FILE", required=True, help="the certificate of these reports")
    made.add_argument("--key", metavar="FILE", action="append", help="verify the signature with it, too")
    made.add_argument("--tree", metavar="DIR", help="list the sources of this checkout in the package")
    made.add_argument("-o", "--output", metavar="FILE", required=True, help="the zip file to write")


def _command(subparsers, name: str, help_: str, epilog: str, run: Callable) -> argparse.ArgumentParser:
    parser = command(subparsers, name, help_, epilog)
    parser.set_defaults(run=_guarded(run), json=False, markdown=False)
    return parser


def _reports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("left", metavar="LEFT", help="a report: the JUnit XML file of one platform")
    parser.add_argument("right", metavar="RIGHT", help="the report of the other platform")


def _files(parser: argparse.ArgumentParser, verb: str) -> None:
    """The files that a certificate may name besides the reports."""
    parser.add_argument("--wheel", metavar="FILE", help=f"{verb} this wheel of tritonmoe as well")
    parser.add_argument("--waivers", metavar="FILE", help=f"{verb} this file of waivers as well")
    parser.add_argument("--power", metavar="FILE", help=f"{verb} what `tritonmoe power --json` wrote as well")


def _outputs(parser: argparse.ArgumentParser, *forms: str) -> None:
    group = parser.add_mutually_exclusive_group()
    for form in forms:
        group.add_argument(
            f"--{form}",
            action="store_true",
            help=f"say what was done in {form.upper() if form == 'json' else 'Markdown'}",
        )


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A refusal is exit code 1, what cannot be read is 2; either is one line on standard error, or JSON."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return _told(run, args)
        except (Refused, ReportError) as error:
            code, outcome = (1, "refused") if isinstance(error, Refused) else (2, "unreadable")
            if args.json:
                sys.stdout.write(summary.machine_refusal(outcome, str(error)))
            else:
                print(f"REFUSED: {error}" if code == 1 else f"tritonmoe: {error}", file=sys.stderr)
            return code

    return guarded


def _told(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """A disk that is full is no refusal; whoever closes the pipe is main's affair."""
    try:
        return run(args)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ReportError(printable(str(error))) from None


def _keygen(args: argparse.Namespace) -> int:
    private, public, key_id = keys.generate(args.output)
    if args.json:
        told = {"private": str(private), "public": str(public), "key_id": key_id}
        sys.stdout.write(readable(told).decode())
    else:
        print(f"{private}  keep it secret: whoever has it can sign\n{public}  give it to those who verify")
        print(f"key id {key_id}")
    return 0


def _attest(args: argparse.Namespace) -> int:
    signer = keys.load_signer(args.key) if args.key else _signer_in(args.key_env)
    certificate = attest(
        args.left,
        args.right,
        signer,
        waivers=args.waivers,
        wheel=args.wheel,
        power=args.power,
        url=args.url,
        made=_time(args.made),
    )
    read = [args.left, args.right, args.key, args.waivers, args.wheel, args.power]
    _write(args.output, certificate.envelope, read)
    if args.predicate:
        predicate = strict(certificate.payload, "the statement")["predicate"]
        _write(args.predicate, canonical(predicate), [*read, args.output])
    _say(args, "CERTIFIED", certificate)
    return 0


def _verify(args: argparse.Namespace) -> int:
    trusted = [keys.load_public(path) for path in args.key]
    tree = None if args.no_tree else args.tree or sources.current_checkout()
    against = Against(tree, args.wheel, args.waivers, args.power)
    given = [name for name in ("left", "right", "bundle") if getattr(args, name) is not None]
    if _is_package(args.certificate):
        if given:
            raise ReportError(f"{printable(args.certificate)}: is a package; leave out --{given[0]}")
        certificate = verify_bundle(args.certificate, trusted, against)
    elif given == ["bundle"]:
        certificate = verify_bundle(args.bundle, trusted, against)
        if certificate.envelope != file_bytes(args.certificate, MAX_BYTES):
            raise Refused("the package holds another certificate than this one")
    elif given == ["left", "right"]:
        envelope = file_bytes(args.certificate, MAX_BYTES)
        certificate = verify(envelope, trusted, args.left, args.right, against)
    else:
        raise ReportError(
            "a certificate is verified against its reports: give --left and --right, or --bundle"
        )
    _say(args, "VERIFIED", certificate)
    return 0


def _bundle(args: argparse.Namespace) -> int:
    trusted = None if args.key is None else [keys.load_public(path) for path in args.key]
    package = pack(args.left, args.right, args.cert, tree=args.tree, keys=trusted)
    _write(args.output, package, [args.left, args.right, args.cert, *(args.key or ())])
    state = "ready for tritonmoe verify" if trusted else "its signature not verified: no --key"
    print(f"{printable(args.output)}: {len(package):,} bytes, {state}")
    return 0


def _say(args: argparse.Namespace, word: str, certificate: Certificate) -> None:
    if args.json:
        sys.stdout.write(summary.machine(word.lower(), certificate))
    else:
        sys.stdout.write((summary.markdown if args.markdown else summary.text)(word, certificate))


def _signer_in(variable: str):
    content = os.environ.get(variable, "")
    if not content.strip():
        raise ReportError(
            f"the environment variable {printable(variable, 80)} is empty; expected a private key"
        )
    return keys.signer_of(
        content.strip().encode() + b"\n", f"the environment variable {printable(variable, 80)}"
    )


def _time(text: str | None) -> datetime.datetime | None:
    """The time given, or that of SOURCE_DATE_EPOCH (reproducible-builds.org), or None for now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None and epoch:
        if not (epoch.isascii() and epoch.isdigit()) or len(epoch) > 11:
            raise ReportError(f"SOURCE_DATE_EPOCH is {printable(epoch, 80)!r}; expected seconds since 1970")
        return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    found = parse_time(text)
    if text is not None and found is None:
        raise ReportError(f"--made is {printable(text, 80)!r}; expected a time as 2030-01-31T12:00:00Z")
    return found


def _is_package(path: str) -> bool:
    return os.path.isdir(path) or file_bytes(path, MAX_PACKAGE)[:2] == b"PK"


def _write(path: str, content: bytes, inputs: list[str | None]) -> None:
    """Whole or not at all; never over a file that was read."""
    target = Path(path)
    try:
        if any(each and os.path.exists(path) and os.path.samefile(path, each) for each in inputs):
            raise ReportError(f"{printable(path)}: is one of the files just read; write to another")
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a device or a pipe
            return
        temporary = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            with open(temporary, "xb") as file:
                file.write(content)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        reason = printable(getattr(error, "strerror", None) or str(error))
        raise ReportError(f"{printable(path)}: cannot be written ({reason})") from None
