"""The commands `serve`, `token` and `push`. What they need to run is imported when they run."""

import argparse
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from ..command_line import command
from ..wording import printable

NAMES = ("serve", "token", "push")
HOST, PORT = "127.0.0.1", 8642
SCOPES = ("read", "write", "admin")
_SERVE_EPILOG = """\
Everything has a default; every setting can also be given as a variable of the environment (TRITONMOE_DATA,
TRITONMOE_DATABASE, TRITONMOE_MAX_BYTES, ...: reports/service/README.md lists them). A database's URL with a
password belongs there, not on a command line that others can see.

exit codes:
  0  stopped as asked; --check found nothing wrong
  1  --check found something wrong
  2  cannot start

examples:
  tritonmoe serve
  tritonmoe serve --host 0.0.0.0 --workers 4 --read-access token
  TRITONMOE_DATABASE=postgresql://tritonmoe@db/reports tritonmoe serve --data /srv/tritonmoe
  tritonmoe serve --check
"""
_TOKEN_EPILOG = """\
The token itself is printed once, alone on standard output, and stored nowhere: only its hash is.

examples:
  tritonmoe token add ci --scope write --days 90
  tritonmoe token list
  tritonmoe token revoke ci
"""
_PUSH_EPILOG = """\
A report is named by its digest, so that sending it again, also after a lost answer, does no harm.

exit codes:
  0  everything is there, sent now or before
  1  the service refused something
  2  a file is no report, or the command is wrong
  3  the service could not be reached, or stayed busy

examples:
  tritonmoe push report.xml --url https://reports.example.org --token-env REPORTS_TOKEN
  tritonmoe push cuda.xml rocm.xml --certificate parity.json --url https://reports.example.org
"""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the commands to the dispatcher's subparsers."""
    serve = command(subparsers, "serve", "start the service that keeps reports", _SERVE_EPILOG)
    _add_data(serve)
    serve.add_argument(
        "--host", default=HOST, help=f"address to listen at (default: {HOST}, this machine alone)"
    )
    serve.add_argument("--port", type=int, default=PORT, help=f"(default: {PORT})")
    serve.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    serve.add_argument("--read-access", choices=("public", "token"), help="who may read (default: public)")
    serve.add_argument(
        "--trusted-keys", metavar="FOLDER", help="only certificates signed with one of its *.pub"
    )
    serve.add_argument(
        "--trusted-proxy", metavar="ADDRESS", help="take clients' addresses from this proxy's X-Forwarded-For"
    )
    serve.add_argument(
        "--check", action="store_true", help="read every stored report again, and serve nothing"
    )
    serve.add_argument(
        "--format", choices=("text", "json"), default="text", help="of --check (default: text)"
    )
    serve.set_defaults(run=_guarded(_serve))

    token = command(subparsers, "token", "make, list and revoke the service's tokens", _TOKEN_EPILOG)
    actions = token.add_subparsers(metavar="ACTION", dest="action", required=True)
    add = actions.add_parser("add", help="make a token and print it")
    add.add_argument("name", metavar="NAME", help="who or what it is for")
    add.add_argument("--scope", choices=SCOPES, default="read", help="each may what those before it may")
    add.add_argument("--days", type=int, default=90, metavar="N", help="until it expires (default: 90)")
    listing = actions.add_parser("list", help="all tokens, without their secrets")
    listing.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    revoke = actions.add_parser("revoke", help="end a token, now")
    revoke.add_argument("token", metavar="ID_OR_NAME", help="as the list has it")
    for each in (add, listing, revoke):
        _add_data(each)
    token.set_defaults(run=_guarded(_token))

    push = command(subparsers, "push", "send reports to a service", _PUSH_EPILOG)
    push.add_argument("files", metavar="FILE", nargs="+", help="a report: the JUnit XML file of one platform")
    push.add_argument("--url", required=True, help="of the service, as https://reports.example.org")
    push.add_argument(
        "--token-env",
        metavar="NAME",
        default="TRITONMOE_TOKEN",
        help="the variable that holds the token (default: TRITONMOE_TOKEN)",
    )
    push.add_argument(
        "--certificate", metavar="FILE", help="what `tritonmoe attest` wrote, sent after the reports"
    )
    push.add_argument(
        "--patience", type=float, default=300, metavar="SECONDS", help="give up after so long (default: 300)"
    )
    push.add_argument(
        "--insecure",
        action="store_true",
        help="send the token over plain HTTP to another machine all the same",
    )
    push.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    push.set_defaults(run=_guarded(_push))


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="FOLDER", help="where reports are kept (default: ~/.local/share/tritonmoe)"
    )


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """What is wrong with the command or its surroundings is one line on standard error and exit code 2."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except ModuleNotFoundError as error:
            advice = "pip install 'tritonmoe[service]'"
            return _say(f"{args.command} needs the module {error.name!r}; install it with: {advice}", 2)
        except OSError as error:
            return _say(f"{error.filename or args.command}: {error.strerror or error}", 2)
        except Exception as error:
            # By name: importing the classes would import what may not be installed.
            if type(error).__name__ in ("SettingsError", "TokenError", "ReportError"):
                return _say(str(error), 2)
            if type(error).__module__.startswith("sqlalchemy"):
                return _say(f"the database: {printable(str(getattr(error, 'orig', error)), 200)}", 2)
            raise

    return guarded


def _serve(args: argparse.Namespace) -> int:
    from . import settings as settings_module
    from .database import migrate

    if not 1 <= args.workers <= 64:
        return _say(f"--workers is {args.workers}; expected 1 to 64", 2)
    settings = _settings(args)
    migrate(settings)
    if args.check:
        from .check import run

        return run(settings, args.format)
    _can_listen(args.host, args.port)
    _prepare(settings)
    os.environ.update(settings_module.to_environment(settings))  # which is how workers get them
    if args.workers > 1:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_empty(settings.data / "metrics"))
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # or each thread keeps what its largest report took
    _welcome(settings, args)

    # Once it has ended what it was doing, uvicorn passes the signal on: to have been stopped is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _run(args)
    return 0


def _run(args: argparse.Namespace) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from .loop import reserved

    config = uvicorn.Config(
        "reports.service.app:create",
        factory=True,
        host=args.host,
        port=args.port,
        workers=args.workers,
        loop="reports.service.loop:OwnSocketLoop",
        http="reports.service.protocol:BoundedProtocol",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=args.trusted_proxy is not None,
        forwarded_allow_ips=args.trusted_proxy,
        limit_concurrency=1000,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=30,
        timeout_worker_healthcheck=60,
    )
    if args.workers == 1:
        uvicorn.Server(config).run()
    else:
        Multiprocess(config, [reserved(args.host, args.port)]).run()


def _settings(args: argparse.Namespace):
    from .settings import from_environment

    given = {
        "data": Path(args.data).expanduser() if args.data else None,
        "read_access": getattr(args, "read_access", None),
        "trusted_keys": getattr(args, "trusted_keys", None),
    }
    settings = replace(
        from_environment(), **{name: value for name, value in given.items() if value is not None}
    )
    return replace(settings, data=settings.data.absolute())


def _can_listen(host: str, port: int) -> None:
    """Raises OSError in words where the address cannot be had: uvicorn would say so in its log alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OSError(
                None, f"cannot listen there ({reason}); choose with --host and --port", f"{host}:{port}"
            ) from None


def _prepare(settings) -> None:
    """What must be done before the first worker starts, and only once."""
    from .archive import Archive, system_clock
    from .certificates import load_keys
    from .database import connect
    from .limits import create
    from .parities import Parities
    from .store import Store

    load_keys(settings.trusted_keys)
    create(settings.data / "limits")
    engine = connect(settings)
    archive = Archive(engine, Store(settings.data), system_clock, settings.max_reports)
    swept = archive.sweep()
    if swept:
        _say(f"swept {swept} files of uploads that were interrupted", 0)
    Parities(archive, settings.max_parities, settings.busy_seconds).forget_other_rules()
    engine.dispose()


def _welcome(settings, args: argparse.Namespace) -> None:
    host = "localhost" if args.host in ("0.0.0.0", "::", "127.0.0.1") else args.host
    data = "" if args.data is None else f" --data {settings.data}"
    readers = "anybody may read" if settings.read_access == "public" else "reading needs a token"
    _say(f"serving http://{host}:{args.port} from {settings.data}; {readers}", 0)
    _say(f"uploads need a token: tritonmoe token add NAME --scope write{data}", 0)


def _empty(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def _token(args: argparse.Namespace) -> int:
    from . import tokens
    from .archive import system_clock
    from .database import connect, migrate, writing

    settings = _settings(args)
    migrate(settings)
    engine = connect(settings)
    try:
        with writing(engine) as connection:
            if args.action == "list":
                return _list_tokens(tokens.every(connection), args.format)
            if args.action == "revoke":
                ended = tokens.revoke(connection, args.token, system_clock())
                if not ended:
                    return _say(
                        f"there is no token {printable(args.token, 80)!r} to revoke; see token list", 2
                    )
                return _say(f"revoked {ended}", 0)
            scope = tokens.Scope(args.scope)
            made = tokens.make(connection, args.name, scope, args.days, system_clock())
    finally:
        engine.dispose()
    print(made)
    return _say(f"{args.scope} for {args.days} days; it is not shown again", 0)


def _list_tokens(rows, form: str) -> int:
    now = datetime.now(timezone.utc).timestamp() * 1000
    table = [
        {
            "id": row.id,
            "name": row.name,
            "scope": row.scope,
            "created": _date(row.created),
            "expires": _date(row.expires),
            "state": "revoked" if row.revoked is not None else "expired" if row.expires <= now else "valid",
        }
        for row in rows
    ]
    if form == "json":
        print(json.dumps(table, indent=2))
        return 0
    heads = ("id", "name", "scope", "created", "expires", "state")
    lines = [heads, *(tuple(entry[head] for head in heads) for entry in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _push(args: argparse.Namespace) -> int:
    from .push import run

    return run(
        args.files, args.certificate, args.url, args.token_env, args.patience, args.insecure, args.format
    )


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d")


def _say(message: str, code: int) -> int:
    print(f"tritonmoe: {message}", file=sys.stderr, flush=True)
    return code
