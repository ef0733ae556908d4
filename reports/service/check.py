"""`tritonmoe serve --check`: every stored report is hashed again, and files and rows are compared."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .database import certificates, connect, is_here, reading, reports, writing
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
    """(what is wrong, how many reports were hashed). Nothing is changed; may run beside the service, whose
    uploads and removals are waited for where one would look like a fault.
    """
    store, engine = Store(settings.data), connect(settings)
    before = {path for path, _ in store.leftovers()}
    with reading(engine) as connection:
        rows = {
            row.digest: row.size for row in connection.execute(sa.select(reports.c.digest, reports.c.size))
        }
        envelopes = connection.execute(sa.select(certificates.c.digest, certificates.c.envelope)).all()
    findings, progress = [], _Progress(sum(rows.values()))
    for digest in sorted(rows):
        if _wrong(store, digest, progress):
            with writing(engine, digest) as connection:  # it may have been removed or healed since
                wrong = _wrong(store, digest) if is_here(connection, digest) else ""
            if wrong:
                findings.append(Finding(digest, wrong))
    for digest in store.digests():
        if digest not in rows:
            path = store.path(digest)
            with writing(engine, digest) as connection:  # its row may be about to be committed
                astray = path.exists() and not is_here(connection, digest)
            if astray:
                findings.append(Finding(str(path), "a file without a row: upload it again, or delete it"))
    for row in envelopes:
        if hashlib.sha256(bytes(row.envelope)).hexdigest() != row.digest:
            findings.append(Finding(row.digest, "the certificate is damaged"))
    for path, _ in store.leftovers():
        if path not in before:
            continue  # of a removal that is under way
        findings.append(Finding(str(path), "left by an upload that was interrupted: goes at the next start"))
    engine.dispose()
    return findings, len(rows)


def _wrong(store: Store, digest: str, progress: Callable[[int], None] = lambda _: None) -> str:
    """What is wrong with the file of a report that has a row; "" if nothing is."""
    try:
        if digest_of(store.path(digest), progress) == digest:
            return ""
    except FileNotFoundError:
        return "has a row and no file: restore it, or remove the report"
    return "its file is damaged: upload the report again"


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
