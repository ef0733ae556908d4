"""The reports that the service keeps: a file in the store and a row in the database, both or neither."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine, Row

from ..model import Report, ReportError
from ..reading import read
from ..single import assess
from ..wording import printable
from .database import insert_once, is_here, reading, reports, writing
from .store import Spool, Store, disk_full

Clock = Callable[[], int]  # milliseconds since 1970, UTC


class Full(Exception):
    """There are as many as there may be."""


class Damaged(Exception):
    """A stored file is not there, or is not what it was."""


@dataclass(frozen=True)
class Filters:
    """Which reports to list; None is any."""

    platform: str | None = None
    commit: str | None = None
    source_digest: str | None = None
    verdict: str | None = None
    since: int | None = None
    until: int | None = None


class Archive:
    """Keeps, finds and removes reports."""

    def __init__(self, engine: Engine, store: Store, clock: Clock, max_reports: int) -> None:
        self.engine, self.store, self.clock, self.max_reports = engine, store, clock, max_reports
        # Reports that were parsed at once would take turns, and each find the cache full of the others.
        self._one_at_a_time = threading.Lock()

    def keep(self, spool: Spool, uploader: str) -> tuple[Row, bool]:
        """Stores what has arrived. Returns its row, and whether it is new here.

        Raises ReportError if it is no sound report, Full, and store.DiskFull; then nothing of it stays.
        """
        digest = spool.seal()
        known = self.find(digest)
        if known is not None and self.store.sound(digest):
            return known, False
        row = self._row(spool, digest, uploader)
        placed = False
        try:
            # In this order: a database that cannot be written must not leave a file that has its name.
            with writing(self.engine, digest) as connection:
                new = insert_once(connection, reports, row)
                if new and _count(connection) > self.max_reports:
                    raise Full
                # Here, for once the transaction has ended somebody may remove it.
                kept = connection.execute(sa.select(reports).where(reports.c.digest == digest)).one()
                placed = True
                self.store.place(spool, digest)
        except BaseException:
            if placed:
                try:
                    self._drop_file_without_row(digest)
                except Exception:
                    spool.leave()  # only the row can say what is to become of it: the next sweep asks
            raise
        return kept, new

    def find(self, digest: str) -> Row | None:
        with reading(self.engine) as connection:
            return connection.execute(sa.select(reports).where(reports.c.digest == digest)).first()

    def listed(self, filters: Filters, before: int | None, limit: int) -> list[Row]:
        """The newest first; `before` is the seq of the last one that was listed already."""
        query = sa.select(reports).order_by(reports.c.seq.desc()).limit(limit)
        for column in ("platform", "commit", "source_digest", "verdict"):
            wanted = getattr(filters, column)
            if wanted is not None:
                query = query.where(reports.c[column] == wanted)
        if filters.since is not None:
            query = query.where(reports.c.received >= filters.since)
        if filters.until is not None:
            query = query.where(reports.c.received < filters.until)
        if before is not None:
            query = query.where(reports.c.seq < before)
        with reading(self.engine) as connection:
            return list(connection.execute(query))

    def load(self, row: Row) -> Report:
        """The stored report, read again from its file. Raises Damaged if that is not what was uploaded."""
        try:
            with self._one_at_a_time:
                report = read(self.store.path(row.digest))
        except ReportError as error:
            raise Damaged(f"report {row.digest[:12]}… cannot be read again: {error}") from None
        if report.digest != row.digest:
            raise Damaged(
                f"report {row.digest[:12]}… is not what was uploaded: it has the digest {report.digest}"
            )
        return replace(report, path=name_of(row))

    def remove(self, digest: str) -> bool:
        """Removes a report, with its parities and certificates. Returns whether it was there."""
        aside = None
        try:
            with writing(self.engine, digest) as connection:
                gone = connection.execute(reports.delete().where(reports.c.digest == digest)).rowcount == 1
                aside = self.store.withdraw(digest) if gone else None
        except BaseException:
            if aside is not None:
                with contextlib.suppress(Exception):  # the next sweep does what cannot be done now
                    self._settle(aside, digest)
                    aside.unlink(missing_ok=True)
            raise
        if aside is not None:
            aside.unlink(missing_ok=True)
        return gone

    def sweep(self) -> int:
        """Ends what killed processes had begun: uploads undone, removals done. Returns how many files."""
        swept = 0
        for path, digest in self.store.leftovers():
            if digest:
                self._settle(path, digest)
            path.unlink(missing_ok=True)
            swept += 1
        return swept

    def size(self) -> int:
        """How many reports there are."""
        with reading(self.engine) as connection:
            return _count(connection)

    def _row(self, spool: Spool, digest: str, uploader: str) -> dict[str, Any]:
        try:
            with self._one_at_a_time:
                report = read(spool.path)
                judged = assess(report)
        except ReportError as error:
            # The name of the file says nothing to who sent it.
            raise ReportError(str(error).removeprefix(f"{printable(str(spool.path))}: ")) from None
        if report.digest != digest:
            raise Damaged("the upload changed on the disk while it was read")
        environment = report.environment
        columns = ("platform", "evidence", "profile", "device_name", "device_arch", "commit")
        columns += ("source_digest", "corpus_digest")
        return {
            "digest": digest,
            "size": spool.size,
            "received": self.clock(),
            "uploaded_by": uploader,
            "verdict": judged.verdict,
            "headline": judged.headline,
            **{name: getattr(environment, name) for name in columns},
        }

    def _drop_file_without_row(self, digest: str) -> None:
        with writing(self.engine, digest) as connection:
            if not is_here(connection, digest):
                aside = self.store.withdraw(digest)
                if aside is not None:
                    aside.unlink(missing_ok=True)

    def _settle(self, path: Path, digest: str) -> None:
        """Makes file and row agree again; the row says which of the two it is to be."""
        with writing(self.engine, digest) as connection, disk_full():
            there = is_here(connection, digest)
            if there and path.suffix == ".removed" and not self.store.path(digest).exists():
                path.rename(self.store.path(digest))
            elif not there and path.suffix != ".removed":
                self.store.path(digest).unlink(missing_ok=True)


def name_of(row: Row) -> str:
    """What to call a report's file."""
    return f"{row.platform}-{row.digest[:12]}.xml"


def system_clock() -> int:
    return time.time_ns() // 1_000_000


def _count(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(reports))
