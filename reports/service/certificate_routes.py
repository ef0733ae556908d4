"""Certificates over HTTP: upload, list, download."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from ..wording import printable
from .access import May
from .archive import Full
from .certificates import MAX_ENVELOPE, NotVerified
from .problems import Problem, arriving, responses
from .shapes import Before, CertificateEntry, CertificatePage, Digest, DigestFilter, Limit, next_of
from .state import service_of
from .tokens import Holder, Scope

MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
router = APIRouter(tags=["certificates"])
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The DSSE envelope that `tritonmoe attest` wrote, as it is.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            MEDIA_TYPE: {"schema": {"type": "object"}},
        },
    }
}


@router.post(
    "/certificates",
    response_model=CertificateEntry,
    status_code=201,
    responses={200: {"model": CertificateEntry, "description": "It was here already."}}
    | responses(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
    openapi_extra=_BODY,
    summary="Upload a certificate",
)
async def upload(request: Request, who: Annotated[Holder, Depends(May(Scope.WRITE))]) -> Response:
    """Stores a certificate of two reports that are here, once it has been verified against them, and against
    the keys that the service trusts, if it was given any.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in ("application/json", MEDIA_TYPE):
        raise Problem(415, f"the content type is {printable(media, 60)!r}; expected {MEDIA_TYPE}")
    envelope = await _received(request)
    certificates, reading = service_of(request).certificates, request.app.state.reading
    try:
        row, new = await to_thread.run_sync(certificates.keep, envelope, who.name, limiter=reading)
    except NotVerified as error:
        raise Problem(422, printable(str(error))) from None
    except Full:
        raise Problem(
            507, f"there are {certificates.most:,} certificates, the most that are kept here"
        ) from None
    entry = CertificateEntry.of(row).model_dump(mode="json")
    return JSONResponse(entry, 201 if new else 200, {"Location": f"/certificates/{row.digest}"})


@router.get(
    "/certificates",
    response_model=CertificatePage,
    dependencies=[Depends(May(Scope.READ))],
    responses=responses(401, 422, 429, 503),
    summary="List certificates",
)
def listed(
    request: Request,
    left: DigestFilter = None,
    right: DigestFilter = None,
    before: Before = None,
    limit: Limit = 50,
) -> CertificatePage:
    """The newest first; of these reports, if they are given."""
    rows = service_of(request).certificates.listed(left, right, before, limit)
    return CertificatePage(certificates=[CertificateEntry.of(row) for row in rows], next=next_of(rows, limit))


@router.get(
    "/certificates/{digest}",
    response_class=Response,
    dependencies=[Depends(May(Scope.READ))],
    responses={200: {"content": {MEDIA_TYPE: {}}, "description": "The very bytes that were uploaded."}}
    | responses(401, 404, 422, 429, 503),
    summary="Download a certificate",
)
def envelope(request: Request, digest: Digest) -> Response:
    """The DSSE envelope, for `tritonmoe verify`."""
    row = service_of(request).certificates.find(digest)
    if row is None:
        raise Problem(404, f"certificate {digest[:12]}… is not here; GET /certificates lists what is")
    name = f'attachment; filename="certificate-{digest[:12]}.json"'
    return Response(bytes(row.envelope), media_type=MEDIA_TYPE, headers={"Content-Disposition": name})


async def _received(request: Request) -> bytes:
    envelope = bytearray()
    with arriving(service_of(request).settings.upload_seconds):
        async for chunk in request.stream():
            envelope += chunk
            if len(envelope) > MAX_ENVELOPE:
                raise _too_large()
    return bytes(envelope)


def _too_large() -> Problem:
    detail = f"the certificate is larger than {MAX_ENVELOPE:,} bytes, the most that is accepted"
    return Problem(413, detail, {"Connection": "close"})
