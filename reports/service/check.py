"""`tritonmoe serve --check`: every stored report is hashed again, and files and rows are compared."""

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .database import certificates, connect, reading, reports
from .settings import Settings
from .store import Store, digest_of

PATIENCE = 2.0  # seconds, before it says how far it is


@dataclass(frozen=True)
class Finding:
    """Something wrong: with what (a digest or a file), and what it is."""

    what: str
    wrong: str


def run(settings: Settings, form: str) -> int:
    """Prints what is wrong. Returns 0 if nothing is, else 1."""
    findings, checked = check(settings)
    if form == "json":
        document: dict[str, Any] = {"checked": checked, "findings": [vars(each) for each in findings]}
        print(json.dumps(document, indent=2))
    else:
        for each in findings:
            print(f"{each.what}: {each.wrong}")
        print(f"{checked} reports checked, {len(findings)} findings")
    return 1 if findings else 0


def check(settings: Settings) -> tuple[list[Finding], int]:
    """(what is wrong, how many reports were hashed). Nothing is changed; may run beside the service."""
    store, engine = Store(settings.data), connect(settings)
    with reading(engine) as connection:
        rows = {
            row.digest: row.size for row in connection.execute(sa.select(reports.c.digest, reports.c.size))
        }
        envelopes = connection.execute(sa.select(certificates.c.digest, certificates.c.envelope)).all()
    findings, progress = [], _Progress(sum(rows.values()))
    for digest in sorted(rows):
        path = store.path(digest)
        if not path.exists():
            findings.append(Finding(digest, "has a row and no file: restore it, or remove the report"))
        elif digest_of(path, progress) != digest:
            findings.append(Finding(digest, "its file is damaged: upload the report again"))
    for digest in store.digests():
        if digest not in rows and _row_is_missing(engine, digest):
            findings.append(
                Finding(str(store.path(digest)), "a file without a row: upload it again, or delete it")
            )
    for row in envelopes:
        if hashlib.sha256(bytes(row.envelope)).hexdigest() != row.digest:
            findings.append(Finding(row.digest, "the certificate is damaged"))
    for path, _ in store.leftovers():
        findings.append(Finding(str(path), "left by an upload that was interrupted: goes at the next start"))
    engine.dispose()
    return findings, len(rows)


def _row_is_missing(engine: sa.Engine, digest: str) -> bool:
    """Asked again, for the service may have stored it since."""
    with reading(engine) as connection:
        return connection.scalar(sa.select(reports.c.seq).where(reports.c.digest == digest)) is None


class _Progress:
    """Says on a terminal how much has been read, once that takes long."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.next = total, 0, time.monotonic() + PATIENCE

    def __call__(self, size: int) -> None:
        self.done += size
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + PATIENCE
            share = f"{self.done / max(self.total, 1):.0%}"
            print(f"checked {self.done / 2**20:,.0f} MiB, {share}", file=sys.stderr, flush=True)
