"""What goes over the wire: the parameters that routes take and the objects that they give."""

import re
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Annotated

from fastapi import Path, Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from sqlalchemy.engine import Row

from ..model import EVIDENCE
from .parities import FORMATS

DIGEST = r"^[0-9a-f]{64}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_SEQ = 2**63 - 1
_EXAMPLE = "c0ffee" + "0" * 58

Platform = Enum("Platform", {name: name for name in EVIDENCE}, type=str)
Form = Enum("Form", {name: name for name in FORMATS}, type=str)


class Verdict(str, Enum):
    """On one report."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCOMPLETE = "INCOMPLETE"


class Access(str, Enum):
    """Who may read."""

    PUBLIC = "public"
    TOKEN = "token"


Digest = Annotated[
    str, Path(pattern=DIGEST, description="SHA-256 of the report's bytes.", examples=[_EXAMPLE])
]
DigestFilter = Annotated[str | None, Query(pattern=DIGEST)]
CommitFilter = Annotated[
    str | None,
    Query(pattern=r"^([0-9a-f]{7,64}(\+dirty)?|unknown)$", description="As the report has it, in full."),
]
Before = Annotated[
    int | None,
    Query(ge=1, le=_MAX_SEQ, description="The `next` of the page before this one; without it, the first."),
]
Limit = Annotated[int, Query(ge=1, le=200, description="At most so many.")]


def _written_out(given: object) -> object:
    """Refuses numbers, which would be taken for seconds, or for milliseconds where they are large."""
    if isinstance(given, str) and not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", given):
        raise ValueError("expected a date, a time and a time zone, as 2030-01-31T12:00:00Z")
    return given


Moment = Annotated[
    AwareDatetime | None,
    BeforeValidator(_written_out),
    Query(description="With a time zone, as 2030-01-31T12:00:00Z."),
]


class ReportEntry(BaseModel):
    """A stored report."""

    digest: str = Field(description="SHA-256 of its bytes: its name.")
    size: int = Field(description="In bytes.")
    received: datetime
    uploaded_by: str = Field(description="The name of the token.")
    platform: Platform
    evidence: str = Field(description="What its word is worth: hardware, emulated or interpreted.")
    profile: str
    device_name: str
    device_arch: str
    commit: str
    source_digest: str
    corpus_digest: str
    verdict: Verdict = Field(description="On this report alone.")
    headline: str

    @classmethod
    def of(cls, row: Row) -> "ReportEntry":
        values = {name: getattr(row, name) for name in cls.model_fields}
        return cls(**values | {"received": moment(row.received)})


class ReportPage(BaseModel):
    """Reports, the newest first."""

    reports: list[ReportEntry]
    next: int | None = Field(description="Give it as `before` for the next page; null on the last.")


class ParityEntry(BaseModel):
    """The verdict on two reports."""

    left: ReportEntry
    right: ReportEntry
    verdict: str = Field(description="PARITY, DIVERGENT or INCOMPLETE.")
    headline: str
    page: str = Field(description="Where the page for people is.")


class CertificateEntry(BaseModel):
    """A stored certificate."""

    digest: str = Field(description="SHA-256 of the envelope's bytes: its name.")
    left: str = Field(description="Digest of the left report.")
    right: str
    received: datetime
    uploaded_by: str
    verified_by: str | None = Field(
        description="The trusted key that signed it; null where the service trusts no keys, so that what it "
        "says was verified, and not who says it."
    )

    @classmethod
    def of(cls, row: Row) -> "CertificateEntry":
        values = {name: getattr(row, name) for name in cls.model_fields}
        return cls(**values | {"received": moment(row.received)})


class CertificatePage(BaseModel):
    """Certificates, the newest first."""

    certificates: list[CertificateEntry]
    next: int | None = Field(description="Give it as `before` for the next page; null on the last.")


class Health(BaseModel):
    """That the service can answer."""

    status: str = "ok"


def moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def milliseconds(given: datetime | None) -> int | None:
    return None if given is None else (given - _EPOCH) // timedelta(milliseconds=1)


def next_of(rows: list[Row], limit: int) -> int | None:
    return rows[-1].seq if len(rows) == limit else None
