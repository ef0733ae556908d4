"""Reports over HTTP: upload, list, look at, download, remove."""

import base64
import binascii
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from ..model import ReportError
from ..wording import printable
from .access import May
from .archive import Damaged, Filters, Full, name_of
from .problems import Problem, arriving, busy, full, responses
from .shapes import (
    Before,
    CommitFilter,
    Digest,
    DigestFilter,
    Limit,
    Moment,
    Platform,
    ReportEntry,
    ReportPage,
    Verdict,
    milliseconds,
    next_of,
)
from .state import Service, service_of
from .store import DiskFull, Spool
from .tokens import Holder, Scope

router = APIRouter(tags=["reports"])
_XML = ("application/xml", "text/xml", "application/octet-stream")
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The JUnit XML file that the suite wrote, as it is.",
        "content": {"application/xml": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [
        {
            "name": "Content-Digest",
            "in": "header",
            "required": False,
            "description": "sha-256 of the body (RFC 9530); what arrives with another is refused.",
            "schema": {
                "type": "string",
                "examples": ["sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:"],
            },
        }
    ],
}
_CONTENT_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{1,100}):\s*(?:,|$)")


@router.post(
    "/reports",
    response_model=ReportEntry,
    status_code=201,
    responses={200: {"model": ReportEntry, "description": "It was here already."}}
    | responses(400, 401, 403, 408, 411, 413, 415, 422, 429, 503, 507),
    openapi_extra=_BODY,
    summary="Upload a report",
)
async def upload(request: Request, who: Annotated[Holder, Depends(May(Scope.WRITE))]) -> Response:
    """Stores a report under the SHA-256 of its bytes. The same bytes again are the same report: 200, not 201.
    Once this answers, the report is on disk; before, nothing of it is.
    """
    service = service_of(request)
    _acceptable(request, service.settings.max_bytes)
    promised = _content_digest(request.headers.get("content-digest"))
    async with _spooled(request, service) as spool:
        try:
            reading = request.app.state.reading
            row, new = await to_thread.run_sync(_keep, service, spool, promised, who.name, limiter=reading)
        except (Problem, ReportError):
            service.metrics.uploads.labels("refused").inc()
            raise
    service.metrics.uploads.labels("stored" if new else "known").inc()
    entry = ReportEntry.of(row).model_dump(mode="json")
    return JSONResponse(entry, 201 if new else 200, {"Location": f"/reports/{row.digest}"})


@router.get(
    "/reports",
    response_model=ReportPage,
    dependencies=[Depends(May(Scope.READ))],
    responses=responses(401, 422, 429, 503),
    summary="List and filter reports",
)
def listed(
    request: Request,
    platform: Platform | None = None,
    commit: CommitFilter = None,
    source_digest: DigestFilter = None,
    verdict: Verdict | None = None,
    since: Moment = None,
    until: Moment = None,
    before: Before = None,
    limit: Limit = 50,
) -> ReportPage:
    """The newest first, by the order in which they arrived. `since` and `until` are about `received`."""
    filters = Filters(
        platform=platform and platform.value,
        commit=commit,
        source_digest=source_digest,
        verdict=verdict and verdict.value,
        since=milliseconds(since),
        until=milliseconds(until),
    )
    rows = service_of(request).archive.listed(filters, before, limit)
    return ReportPage(reports=[ReportEntry.of(row) for row in rows], next=next_of(rows, limit))


@router.get(
    "/reports/{digest}",
    response_model=ReportEntry,
    dependencies=[Depends(May(Scope.READ))],
    responses=responses(401, 404, 422, 429, 503),
    summary="What a report is",
)
def entry(request: Request, digest: Digest) -> ReportEntry:
    return ReportEntry.of(_found(service_of(request), digest))


@router.get(
    "/reports/{digest}/xml",
    response_class=Response,
    dependencies=[Depends(May(Scope.READ))],
    responses={200: {"content": {"application/xml": {}}, "description": "The very bytes that were uploaded."}}
    | responses(401, 404, 422, 429, 503),
    summary="Download a report",
)
def xml(request: Request, digest: Digest) -> FileResponse:
    """The file as it was uploaded: the SHA-256 of the body is the digest."""
    service = service_of(request)
    row = _found(service, digest)
    if not service.archive.store.intact(digest, row.size):
        raise Damaged(f"the file of report {digest[:12]}… is lost or cut off")
    headers = {
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:",
        "ETag": f'"{digest}"',
        "Cache-Control": "public, max-age=86400, immutable",
    }
    return FileResponse(
        service.archive.store.path(digest),
        media_type="application/xml",
        filename=name_of(row),  # as an attachment: XML from anybody is not to be shown by a browser
        headers=headers,
    )


@router.delete(
    "/reports/{digest}",
    status_code=204,
    dependencies=[Depends(May(Scope.ADMIN))],
    responses=responses(401, 403, 404, 422, 429, 503),
    summary="Remove a report",
)
async def remove(request: Request, digest: Digest) -> None:
    """Removes the report, and the verdicts and certificates that rest on it. Another worker may answer with
    such a verdict for some seconds more.
    """
    gone = await to_thread.run_sync(service_of(request).archive.remove, digest)
    request.app.state.recent.clear()
    if not gone:
        raise missing(digest)


def missing(digest: str) -> Problem:
    return Problem(404, f"report {digest[:12]}… is not here; GET /reports lists what is")


def _found(service: Service, digest: str):
    row = service.archive.find(digest)
    if row is None:
        raise missing(digest)
    return row


def _acceptable(request: Request, limit: int) -> None:
    """Refuses by the headers alone what need not be received."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in _XML:
        raise Problem(415, f"the content type is {printable(media, 60)!r}; expected application/xml")
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise Problem(415, f"the content encoding is {printable(coding, 60)!r}; send the file as it is")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    return Problem(
        413, f"the report is larger than {limit:,} bytes, the most that is accepted", {"Connection": "close"}
    )


def _content_digest(header: str | None) -> str | None:
    """The SHA-256, in hexadecimal, of a Content-Digest header; None if it gives none."""
    found = _CONTENT_DIGEST.search(header or "")
    if found is None:
        return None
    try:
        return base64.b64decode(found[1], validate=True).hex()
    except binascii.Error:
        raise Problem(400, "the Content-Digest header is no base64; expected sha-256=:…:") from None


@asynccontextmanager
async def _spooled(request: Request, service: Service) -> AsyncIterator[Spool]:
    """The body in a file of its own, gone when the context ends."""
    state = request.app.state
    if state.arriving >= service.settings.uploads_at_once:
        raise busy("as many uploads as can be received at once are under way; come back")
    state.arriving += 1
    spool = None
    try:
        spool = Spool(service.archive.store.incoming)
        with arriving(service.settings.upload_seconds):
            async for chunk in request.stream():
                if spool.size + len(chunk) > service.settings.max_bytes:
                    raise _too_large(service.settings.max_bytes)
                spool.write(chunk)
        service.metrics.bytes.inc(spool.size)
        yield spool
    except DiskFull:
        raise full() from None
    finally:
        if spool is not None:
            spool.close()
        state.arriving -= 1


def _keep(service: Service, spool: Spool, promised: str | None, uploader: str):
    if promised is not None and spool.seal() != promised:
        raise Problem(400, "the body is not what its Content-Digest says; it was damaged on the way")
    try:
        return service.archive.keep(spool, uploader)
    except Full:
        limit = service.archive.max_reports
        raise Problem(
            507, f"there are {limit:,} reports, the most that are kept here; ask who runs this"
        ) from None
