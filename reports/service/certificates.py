"""Certificates: signed statements that two stored reports are at PARITY. All that are kept were verified."""

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from ..certificate import Refused, load_public, verify
from ..certificate.against import NOTHING
from ..certificate.envelope import MAX_BYTES as MAX_ENVELOPE
from ..certificate.envelope import parse
from ..certificate.jsontext import strict
from ..certificate.statement import SIDES, claims_of, digest_in
from ..certificate.verifying import check
from ..model import ReportError
from .archive import Archive, Full
from .database import certificates, insert_once, reading, reports, writing
from .settings import SettingsError

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

__all__ = ["MAX_ENVELOPE", "Certificates", "NotVerified", "load_keys"]


class NotVerified(Exception):
    """The certificate does not hold for reports that are here. The message is one short sentence."""


class Certificates:
    """Keeps and finds certificates. With no `keys`, whoever signed one is not asked; all else is."""

    def __init__(self, archive: Archive, keys: Mapping[str, "SSlibKey"], most: int) -> None:
        self.archive, self.keys, self.most = archive, dict(keys), most

    def keep(self, envelope: bytes, uploader: str) -> tuple[Row, bool]:
        """Returns the certificate's row, and whether it is new here. Raises NotVerified, and archive.Full."""
        digest = hashlib.sha256(envelope).hexdigest()
        known = self.find(digest)
        if known is not None:
            return known, False
        left, right, signer = self._verified(envelope)
        row = {
            "digest": digest,
            "left": left,
            "right": right,
            "received": self.archive.clock(),
            "uploaded_by": uploader,
            "verified_by": signer,
            "envelope": envelope,
        }
        with writing(self.archive.engine, left, right) as connection:
            here = sa.select(reports.c.digest).where(reports.c.digest.in_((left, right)))
            if len(connection.scalars(here).all()) < len({left, right}):
                raise NotVerified("a report that it names was removed just now")
            new = insert_once(connection, certificates, row)
            count = connection.scalar(sa.select(sa.func.count()).select_from(certificates))
            if new and count > self.most:
                raise Full
            # Here, for once the transaction has ended somebody may remove a report, and this with it.
            kept = connection.execute(sa.select(certificates).where(certificates.c.digest == digest)).one()
        return kept, new

    def find(self, digest: str) -> Row | None:
        with reading(self.archive.engine) as connection:
            return connection.execute(sa.select(certificates).where(certificates.c.digest == digest)).first()

    def listed(self, left: str | None, right: str | None, before: int | None, limit: int) -> list[Row]:
        """The newest first, without their envelopes; `before` is the seq of the last one listed already."""
        columns = [column for column in certificates.c if column.name != "envelope"]
        query = sa.select(*columns).order_by(certificates.c.seq.desc()).limit(limit)
        for name, wanted in (("left", left), ("right", right)):
            if wanted is not None:
                query = query.where(certificates.c[name] == wanted)
        if before is not None:
            query = query.where(certificates.c.seq < before)
        with reading(self.archive.engine) as connection:
            return list(connection.execute(query))

    def _verified(self, envelope: bytes) -> tuple[str, str, str | None]:
        """(left digest, right digest, name of the trusted key that signed, None if none is asked for)."""
        try:
            payload, key_id, _ = parse(envelope)
            digests = _certified(payload)
            paths = [self._path(digest) for digest in digests]
            now = datetime.datetime.fromtimestamp(self.archive.clock() / 1000, datetime.timezone.utc)
            if not self.keys:
                check(payload, *paths, NOTHING, now)
                return *digests, None
            verify(envelope, list(self.keys.values()), *paths, now=now)
            return *digests, next(name for name, key in self.keys.items() if key.keyid == key_id)
        except (Refused, ReportError) as error:
            # Where the files are is nobody's business.
            raise NotVerified(str(error).replace(str(self.archive.store.reports), "")) from None

    def _path(self, digest: str) -> Path:
        if self.archive.find(digest) is None:
            raise NotVerified(f"report {digest[:12]}… is not here; upload both reports first")
        return self.archive.store.path(digest)


def load_keys(folder: str) -> dict[str, Any]:
    """The public keys NAME.pub in this folder, by name; none if the folder is "". Raises SettingsError."""
    if not folder:
        return {}
    files = sorted(Path(folder).glob("*.pub"))
    if not files:
        raise SettingsError(f"TRITONMOE_TRUSTED_KEYS: there is no NAME.pub in {folder}")
    try:
        return {path.stem: load_public(path) for path in files}
    except ReportError as error:
        raise SettingsError(f"TRITONMOE_TRUSTED_KEYS: {error}") from None


def _certified(payload: bytes) -> tuple[str, str]:
    """The digests of both reports that a statement names. Raises Refused and ReportError."""
    statement = strict(payload, "the statement")
    claims_of(statement)  # refuses what is no statement of this kind
    left, right = (digest_in(statement, f"{side}.xml") for side in SIDES)
    return left, right
