"""Verdicts over HTTP: on any two reports, and the newest of two platforms, each in four forms."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from ..document import policy
from .access import May
from .parities import FORMATS, Pair, Rendering
from .problems import Problem, responses
from .recent import Recent
from .shapes import CommitFilter, Digest, Form, ParityEntry, Platform, ReportEntry
from .state import service_of
from .tokens import Scope

router = APIRouter(tags=["parity"], dependencies=[Depends(May(Scope.READ))])
_FORMS = {
    200: {
        "description": "A page for people, JSON for programs, Markdown for a summary, or a badge.",
        "content": {media.split(";")[0]: {} for media in FORMATS.values()},
    },
    304: {"description": "As If-None-Match has it."},
}


@router.get(
    "/parity/{left}/{right}/{form}",
    response_class=Response,
    responses=_FORMS | responses(401, 404, 422, 429, 503),
    summary="The verdict on two reports",
)
async def parity(request: Request, left: Digest, right: Digest, form: Form) -> Response:
    """Compares two stored reports, by the rules of `tritonmoe parity`, without waivers."""
    # What many ask for is answered without a thread or the database, for a few seconds.
    recent: Recent[Rendering] = request.app.state.recent
    rendering = recent.get((left, right, form))
    if rendering is None:
        rendering = await run_in_threadpool(service_of(request).parities.rendering, left, right, form.value)
        recent.put((left, right, form), len(rendering.data), rendering)
    return _answer(request, rendering, form.value)


@router.get(
    "/newest",
    response_model=list[ParityEntry],
    responses=responses(401, 422, 429, 503),
    summary="The newest verdicts of a commit",
)
def of_commit(request: Request, commit: Annotated[str, Query(pattern=r"^[0-9a-f]{7,64}(\+dirty)?$")]):
    """One for each two platforms that ran this commit: on the last reports of the same sources, corpus and
    profile.
    """
    service = service_of(request)
    entries = []
    for pair in service.parities.pairs(commit):
        left, right = pair.left.digest, pair.right.digest
        verdict, headline = service.parities.verdict(left, right)
        entries.append(
            ParityEntry(
                left=ReportEntry.of(pair.left),
                right=ReportEntry.of(pair.right),
                verdict=verdict,
                headline=headline,
                page=_address(pair, "page"),
            )
        )
    return entries


@router.get(
    "/newest/{left}/{right}/{form}",
    response_class=Response,
    responses=_FORMS | responses(401, 404, 422, 429, 503),
    summary="The newest verdict of two platforms",
)
def newest(
    request: Request, left: Platform, right: Platform, form: Form, commit: CommitFilter = None
) -> Response:
    """Of the last state of the sources that both platforms ran, with the last report of each: an address that
    a README can show. Content-Location says which two reports these are.
    """
    if left is right:
        raise Problem(422, "left and right are the same platform; name two")
    service = service_of(request)
    pair = service.parities.newest(left.value, right.value, commit)
    if pair is None:
        where = f" of commit {commit[:12]}" if commit else ""
        raise Problem(
            404, f"there are no reports{where} of both {left.value} and {right.value} on the same sources"
        )
    rendering = service.parities.rendering(pair.left.digest, pair.right.digest, form.value)
    answer = _answer(request, rendering, form.value)
    answer.headers["Content-Location"] = _address(pair, form.value)
    return answer


def _address(pair: Pair, form: str) -> str:
    return f"/parity/{pair.left.digest}/{pair.right.digest}/{form}"


def _answer(request: Request, rendering: Rendering, form: str) -> Response:
    headers = {"ETag": rendering.tag, "Vary": "Accept-Encoding", "X-Verdict": rendering.verdict}
    if form == "page":
        headers["Content-Security-Policy"] = f"{policy()}; frame-ancestors 'none'"
    if form == "badge":
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # it is made to be shown elsewhere
    if rendering.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(_body(request, rendering, headers), media_type=FORMATS[form], headers=headers)


def _body(request: Request, rendering: Rendering, headers: dict[str, str]) -> bytes:
    """As it is kept where the client takes gzip, which it says without giving it a weight of its own."""
    codings = request.headers.get("accept-encoding", "").replace(" ", "").lower().split(",")
    if "gzip" in codings:
        headers["Content-Encoding"] = "gzip"
        return rendering.data
    return rendering.text()
