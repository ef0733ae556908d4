"""Verdicts on pairs of stored reports: computed once for a pair and a version of the rules, then kept as they
are sent, compressed.
"""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .. import machine, markdown
from ..model import EVIDENCE
from ..parity import compare
from . import badge
from .archive import Archive
from .database import THREADS, insert_once, is_here, parities, reading, reports, writing

FORMATS = {
    "page": "text/html; charset=utf-8",
    "json": "application/json",
    "markdown": "text/markdown; charset=utf-8",
    "badge": "image/svg+xml",
}


AT_ONCE = 2  # that one worker computes: so many pairs of the largest reports fit its memory
WAITING = THREADS // 2  # of its threads, for verdicts: the others answer what is kept, and take uploads


class Busy(Exception):
    """Too many verdicts are being computed."""


class Unknown(Exception):
    """A report that is asked for is not here; its digest is the message."""


@dataclass(frozen=True)
class Rendering:
    """One form of a verdict: gzip data, and a tag that changes when the data may."""

    data: bytes
    tag: str
    verdict: str

    def text(self) -> bytes:
        return gzip.decompress(self.data)


@dataclass(frozen=True)
class Pair:
    """Two reports of the same sources, corpus and profile, from two platforms."""

    left: Row
    right: Row


class Parities:
    """Gives the verdict on any two reports of an archive, and keeps the last `most` of them."""

    def __init__(self, archive: Archive, most: int, patience: float) -> None:
        self.archive, self.most, self.patience = archive, most, patience
        self.computed = 0
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._turns: dict[tuple[str, str], tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()

    def rendering(self, left: str, right: str, form: str) -> Rendering:
        """Raises Unknown for a report that is not here, archive.Damaged for one whose file is not what it
        was, and Busy.
        """
        found = self._kept(left, right, form)
        if found is None:
            found = self._awaited(left, right, form)
        if found is None:
            raise Unknown(left)  # removed in between
        return Rendering(found[0], f'"{rules()}-{left[:16]}-{right[:16]}-{form}"', found[1])

    def verdict(self, left: str, right: str) -> tuple[str, str]:
        """(verdict, headline). Raises as `rendering` does."""
        self.rendering(left, right, "badge")
        with reading(self.archive.engine) as connection:
            row = connection.execute(
                sa.select(parities.c.verdict, parities.c.headline).where(*_key(left, right))
            ).first()
        if row is None:
            raise Unknown(left)
        return row.verdict, row.headline

    def newest(self, left: str, right: str, commit: str | None = None) -> Pair | None:
        """The pair of these platforms, of one state of the sources, of which a part arrived last."""
        ours, theirs = (_latest(platform, commit) for platform in (left, right))
        same = [ours.c[name] == theirs.c[name] for name in _STATE]
        later = sa.case((ours.c.seq > theirs.c.seq, ours.c.seq), else_=theirs.c.seq)
        query = sa.select(ours.c.seq, theirs.c.seq).join_from(ours, theirs, sa.and_(*same))
        with reading(self.archive.engine) as connection:
            pair = connection.execute(query.order_by(later.desc()).limit(1)).first()
            if pair is None:
                return None
            found = connection.execute(sa.select(reports).where(reports.c.seq.in_(pair)))
            rows = {row.seq: row for row in found}
        return Pair(*(rows[seq] for seq in pair)) if len(rows) == 2 else None  # removed just now

    def pairs(self, commit: str) -> Iterator[Pair]:
        """The newest pair of every two platforms that ran this commit."""
        with reading(self.archive.engine) as connection:
            ran = set(
                connection.scalars(sa.select(reports.c.platform).where(reports.c.commit == commit).distinct())
            )
        platforms = [platform for platform in EVIDENCE if platform in ran]
        for place, left in enumerate(platforms):
            for right in platforms[place + 1 :]:
                pair = self.newest(left, right, commit)
                if pair is not None:
                    yield pair

    def forget_other_rules(self) -> None:
        """Removes what was computed by other versions of the rules."""
        with writing(self.archive.engine) as connection:
            connection.execute(parities.delete().where(parities.c.rules != rules()))

    def _kept(self, left: str, right: str, form: str) -> tuple[bytes, str] | None:
        query = sa.select(parities.c[form], parities.c.verdict).where(*_key(left, right))
        with reading(self.archive.engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else (bytes(row[0]), row.verdict)

    def _awaited(self, left: str, right: str, form: str) -> tuple[bytes, str] | None:
        if not self._waiting.acquire(blocking=False):
            raise Busy
        try:
            with self._turn(left, right):  # of many who ask at once, one computes
                found = self._kept(left, right, form)
                if found is None:
                    self._compute(left, right)
                    found = self._kept(left, right, form)
                return found
        finally:
            self._waiting.release()

    def _compute(self, left: str, right: str) -> None:
        rows = [self._row(digest) for digest in (left, right)]
        if not self._room.acquire(timeout=self.patience):
            raise Busy
        try:
            row = self._computed(*rows)
        finally:
            self._room.release()
        with writing(self.archive.engine, left, right) as connection:
            if all(is_here(connection, digest) for digest in (left, right)):
                insert_once(connection, parities, row)
                self._make_room(connection)

    def _computed(self, left: Row, right: Row) -> dict[str, Any]:
        result = compare(self.archive.load(left), self.archive.load(right))
        self.computed += 1
        return {
            "left": left.digest,
            "right": right.digest,
            "rules": rules(),
            "verdict": result.verdict,
            "headline": result.headline,
            "computed": self.archive.clock(),
            "badge": _packed(badge.render(left.platform, right.platform, result.verdict)),
            "markdown": _packed(markdown.render(result)),
            "json": _packed(machine.render(result)),
            "page": _packed(_page(result)),
        }

    def _make_room(self, connection: Connection) -> None:
        """Once there are too many, a tenth goes, the oldest: not one at every request from then on."""
        if connection.scalar(sa.select(sa.func.count()).select_from(parities)) > self.most:
            oldest = sa.select(parities.c.computed).order_by(parities.c.computed)
            last = connection.scalar(oldest.offset(self.most // 10).limit(1))
            connection.execute(parities.delete().where(parities.c.computed <= last))

    def _row(self, digest: str) -> Row:
        row = self.archive.find(digest)
        if row is None:
            raise Unknown(digest)
        return row

    @contextmanager
    def _turn(self, *pair: str) -> Iterator[None]:
        """One at a time for each pair, and nothing kept of pairs that nobody waits for."""
        with self._guard:
            lock, waiting = self._turns.get(pair, (threading.Lock(), 0))
            self._turns[pair] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._turns[pair]
                if waiting == 1:
                    del self._turns[pair]
                else:
                    self._turns[pair] = lock, waiting - 1


@cache
def rules() -> str:
    """The version of what makes a verdict and its forms: a digest of the code itself, so that no change of it
    leaves old verdicts behind.
    """
    folder = Path(__file__).parent.parent
    digest = hashlib.sha256()
    files = [*folder.glob("*.py"), *folder.glob("templates/*"), Path(badge.__file__)]
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


_STATE = ("source_digest", "corpus_digest", "profile")


def _latest(platform: str, commit: str | None) -> sa.Subquery:
    """For each state of the sources, the platform's last report."""
    columns = [reports.c[name] for name in _STATE]
    query = sa.select(*columns, sa.func.max(reports.c.seq).label("seq")).group_by(*columns)
    query = query.where(reports.c.platform == platform)
    if commit is not None:
        query = query.where(reports.c.commit == commit)
    return query.subquery()


def _key(left: str, right: str) -> tuple[sa.ColumnElement[bool], ...]:
    return parities.c.left == left, parities.c.right == right, parities.c.rules == rules()


def _page(result) -> str:
    from ..page import render

    return render(result)


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)
