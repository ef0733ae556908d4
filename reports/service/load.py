"""Puts a service of its own under load, and says what it bore: python -m reports.service.load --help

Requests are sent when the plan says, whether earlier ones have been answered or not, as long as a connection
is free; a request's time counts from when it should have been sent, so that a service that stalls looks no
better for it.
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .scratch import Server, make_token, postgres

EVIDENCE = Path(__file__).parent.parent / "evidence"
SIDES = ("cuda-h200.xml", "gfx942-emulated.xml")
FORMS = ("json", "page", "markdown", "badge")
READERS, UPLOADERS = 32, 12  # connections
NEW_PAIR_EVERY = 1000  # reads: how often one is of a pair that nobody has asked for
_EPILOG = """\
exit codes: 0 the rates were reached, every answer was right and memory was flat; 1 not so

examples:
  python -m reports.service.load
  python -m reports.service.load --database postgresql --seconds 60 --json load.json
"""


@dataclass
class Tally:
    """What became of one kind of request: latencies in seconds, and answers that were not as expected."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    bytes: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Puts a service of its own under load: parity reads and uploads of new, real reports.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--reads", type=float, default=310, help="a second (default: 310)")
    parser.add_argument("--uploads", type=float, default=20.5, help="a second (default: 20.5)")
    parser.add_argument("--pairs", type=int, default=40, help="that are read over and over (default: 40)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    args = parser.parse_args()
    with postgres() if args.database == "postgresql" else nullcontext("") as database, _folder() as data:
        figures = _measured(args, database, data)
    for name, value in figures.items():
        print(f"{name:28} {value}")
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["sound"] else 1


def _measured(args: argparse.Namespace, database: str, data: Path) -> dict[str, object]:
    environment = {
        "TRITONMOE_DATABASE": database,
        "TRITONMOE_READ_RATE": "1e6",
        "TRITONMOE_READ_BURST": "1000000",
        "TRITONMOE_WRITE_RATE": "1e6",
        "TRITONMOE_WRITE_BURST": "1000000",
    }
    token = make_token(data, database, "write")
    server = Server(data, environment, ["--workers", str(args.workers)])
    try:
        load = Load(server.port, token, args.pairs)
        print(f"seeding {args.pairs} pairs", file=sys.stderr)
        asyncio.run(load.seed())
        print(f"{args.seconds} s of load on {args.database}", file=sys.stderr)
        memory = asyncio.run(load.run(args, server.process.pid))
    finally:
        server.stop()
    return _figures(args, load, memory)


def _figures(args: argparse.Namespace, load: "Load", memory: list[float]) -> dict[str, object]:
    reads, uploads = load.reads, load.uploads
    third = max(1, len(memory) // 3)
    early, late = (sum(part) / len(part) for part in (memory[third : 2 * third], memory[-third:]))
    figures: dict[str, object] = {
        "database": args.database,
        "workers": args.workers,
        "cores": os.cpu_count(),
        "seconds": round(load.took, 1),
        "reads per second": round(len(reads.seconds) / load.took, 1),
        "uploads per second": round(len(uploads.seconds) / load.took, 1),
        "upload MB per second": round(uploads.bytes / load.took / 1e6, 1),
        "new pairs computed": load.new_pairs,
        "cores used, service": round(load.cores[0] / load.took, 2),
        "cores used, these clients": round(load.cores[1] / load.took, 2),
        "memory MiB, middle third": round(early),
        "memory MiB, last third": round(late),
        "memory MiB, every 5 s": " ".join(f"{each:.0f}" for each in memory[::5]),
        "wrong answers": len(reads.wrong) + len(uploads.wrong),
    }
    for name, tally in (("read", reads), ("upload", uploads)):
        for percent in (50, 95, 99, 100):
            figures[f"{name} ms, p{percent}"] = round(_percentile(tally.seconds, percent) * 1000, 1)
    for each in (reads.wrong + uploads.wrong)[:5]:
        print(each, file=sys.stderr)
    figures["sound"] = (
        not (reads.wrong or uploads.wrong)
        and figures["reads per second"] >= 300
        and figures["uploads per second"] >= 20
        and late < 1.1 * early
    )
    return figures


class Load:
    """The clients."""

    def __init__(self, port: int, token: str, count: int) -> None:
        self.port, self.token, self.count = port, token, count
        self.reads, self.uploads = Tally(), Tally()
        self.pairs: list[tuple[str, str]] = []
        self.fresh: list[str] = []
        self.new_pairs, self.took, self.cores = 0, 0.0, (0.0, 0.0)
        self._templates = [_template(EVIDENCE / name) for name in SIDES]

    async def seed(self) -> None:
        """Uploads the pairs that will be read, and asks for each once."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for _ in range(self.count):
            digests = []
            for side in range(2):
                _, body = await self._exchange(reader, writer, *self._upload(side))
                digests.append(json.loads(body)["digest"])
            self.pairs.append((digests[0], digests[1]))
            await self._exchange(reader, writer, self._get(*digests, "badge"))
        writer.close()

    async def run(self, args: argparse.Namespace, process: int) -> list[float]:
        """Sends what the plan says. Returns the service's memory, in MiB, once a second."""
        start = time.perf_counter()
        self.end = start + args.seconds
        memory: list[float] = []
        service, clients = _cpu(process), time.process_time()
        tasks = [
            *self._clients(READERS, start, args.reads, self._read),
            *self._clients(UPLOADERS, start, args.uploads, self._send),
        ]
        while time.perf_counter() < self.end:
            await asyncio.sleep(1)
            memory.append(_memory(process))
        await asyncio.gather(*tasks)
        self.took = time.perf_counter() - start
        self.cores = (_cpu(process) - service, time.process_time() - clients)
        return memory

    def _clients(
        self, count: int, start: float, rate: float, work: Callable[..., Awaitable[None]]
    ) -> list[asyncio.Task]:
        plan = iter(range(10**9))

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for number in plan:
                due = start + number / rate
                if due >= self.end:
                    break
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await work(reader, writer, number, due)
            writer.close()

        return [asyncio.create_task(client()) for _ in range(count)]

    async def _read(self, reader, writer, number: int, due: float) -> None:
        left, right = self.pairs[number % self.count]
        if number % NEW_PAIR_EVERY == 0 and self.fresh:
            left, self.new_pairs = self.fresh.pop(), self.new_pairs + 1
        form = FORMS[number // self.count % len(FORMS)]
        status, body = await self._exchange(reader, writer, self._get(left, right, form))
        self.reads.seconds.append(time.perf_counter() - due)
        if status != 200 or not body:
            self.reads.wrong.append(f"read: {status} {body[:200]!r}")

    async def _send(self, reader, writer, number: int, due: float) -> None:
        parts = self._upload(number % 2)
        status, body = await self._exchange(reader, writer, *parts)
        self.uploads.seconds.append(time.perf_counter() - due)
        self.uploads.bytes += sum(map(len, parts[1:]))
        if status != 201:
            self.uploads.wrong.append(f"upload: {status} {body[:200]!r}")
        elif number % 2 == 0:
            self.fresh = [json.loads(body)["digest"]]

    def _upload(self, side: int) -> tuple[bytes, ...]:
        """A request for a report that was never sent before: its commit is new."""
        before, after = self._templates[side]
        commit = secrets.token_hex(20).encode()
        head = (
            f"POST /reports HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/xml\r\nContent-Length: {len(before) + 40 + len(after)}\r\n\r\n"
        )
        return head.encode(), before, commit, after

    def _get(self, left: str, right: str, form: str) -> bytes:
        line = f"GET /parity/{left}/{right}/{form} HTTP/1.1"
        return f"{line}\r\nHost: load\r\nAccept-Encoding: gzip\r\n\r\n".encode()

    async def _exchange(self, reader, writer, *parts: bytes) -> tuple[int, bytes]:
        """One request and its answer, over a connection that stays open."""
        writer.writelines(parts)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        return int(head[9:12]), body


def _template(path: Path) -> tuple[bytes, bytes]:
    """A report's bytes before and after the 40 digits of its commit."""
    data = path.read_bytes()
    found = re.search(rb'name="commit" value="([0-9a-f]{40})(?:\+dirty)?"', data)
    if found is None:
        raise SystemExit(f"{path} has no commit of 40 digits to vary")
    return data[: found.start(1)], data[found.end(1) :]


def _memory(process: int) -> float:
    """Of a process and all that came from it, in MiB, shared pages counted once."""
    total = 0
    for each in _family(process):
        with suppress(OSError):  # it ended just now
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1])
    return total / 1024


def _cpu(process: int) -> float:
    """Seconds of processor time of a process and all that came from it."""
    ticks = 0
    for each in _family(process):
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(process: int) -> Iterator[int]:
    todo = [process]
    while todo:
        each = todo.pop()
        with suppress(OSError):
            todo += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
        yield each


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("nan")


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tritonmoe-load-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
