"""A service, and a PostgreSQL, of one's own for as long as a test or a load takes."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from . import tokens
from .archive import system_clock
from .database import connect, migrate, writing
from .settings import Settings

START_SECONDS = 120  # where much else runs


class Missing(Exception):
    """A program is not installed. The message says which, and how to get it."""


@contextmanager
def postgres(durable: bool = True) -> Iterator[str]:
    """A new PostgreSQL on a socket in a temporary folder. Gives its URL. Raises Missing.

    One that is not `durable` would not survive the machine, and is faster.
    """
    careless = [] if durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
    folder = Path(tempfile.mkdtemp(prefix="tritonmoe-postgres-"))
    user = None
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        user = _unprivileged()
        os.chown(folder, user.pw_uid, user.pw_gid)
    options = {"user": user.pw_name, "group": user.pw_gid, "extra_groups": []} if user else {}
    data = folder / "data"
    server = None
    try:
        subprocess.run(
            [_program("initdb"), "-D", data, "-U", "tritonmoe", "-A", "trust", "-E", "UTF8", "--no-locale"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **options,
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [_program("postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", *careless],
                stderr=log,
                cwd=folder,
                **options,
            )
        url = f"postgresql://tritonmoe@/postgres?host={folder}"
        until(lambda: _answers(url))
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # at once: nobody needs what is in it
            server.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """`tritonmoe serve` in processes of its own, ended with `stop` or `kill`."""

    def __init__(
        self, data: Path, environment: Mapping[str, str], arguments: Sequence[str] = (), limits: str = "true"
    ) -> None:
        """`limits` is a shell command that sets its limits, as `ulimit -f 100`."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data / "log"
        serve = [sys.executable, "-m", "reports", "serve", "--data", str(data), "--port", str(self.port)]
        command = ["bash", "-c", f'{limits} && exec "$@"', "limited", *serve, *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stderr=log,
                env={**os.environ, **environment},
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
        self._await_answer()

    def kill(self) -> None:
        """Ends all its processes without a word to any of them."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Asks it to end. Returns its exit code."""
        self.process.terminate()
        return self.process.wait(START_SECONDS)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=1).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the service did not start; see {self.log}")


def make_token(data: Path, database: str, scope: str) -> str:
    """Makes the folder and the database if they are not there, and in it a token."""
    settings = Settings(data, database)
    migrate(settings)
    engine = connect(settings)
    with writing(engine) as connection:
        token = tokens.make(connection, f"scratch {scope}", tokens.Scope(scope), 1, system_clock())
    engine.dispose()
    return token


def until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Waits for something that will be true. Raises RuntimeError if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds} s in vain")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _program(name: str) -> str:
    found = [
        shutil.which(name),
        *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)),
    ]
    program = next((each for each in found if each), None)
    if program is None:
        raise Missing(f"{name} is not installed; get it with: apt-get install postgresql")
    return program


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Missing("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
        return True
    except psycopg.OperationalError:
        return False
