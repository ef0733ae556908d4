"""Errors as the client sees them: problem details for HTTP APIs (RFC 9457), one short sentence each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..wording import printable

MEDIA_TYPE = "application/problem+json"
_DISK_FULL = "53100"  # PostgreSQL's error code
_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was given, what was expected, what to do."},
        "instance": {"type": "string", "description": "This request, as the service's log names it."},
    },
}


class Problem(Exception):
    """Ends a request with this status and one sentence that says what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def busy(detail: str, seconds: int = 1) -> Problem:
    return Problem(503, detail, {"Retry-After": str(seconds)})


def full() -> Problem:
    return Problem(507, "the disk is full; nothing of this request was kept")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's OpenAPI entry: the problems it answers with."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
        for status in statuses
    }


def install(app: FastAPI, kinds: Mapping[type[Exception], Callable[[Request, Exception], Problem]]) -> None:
    """Makes every error of the application a problem; `kinds` says which problem its own are."""
    for kind, problem in kinds.items():
        app.add_exception_handler(
            kind, lambda request, error, of=problem: response(request, of(request, error))
        )
    app.add_exception_handler(Problem, response)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(PoolTimeout, _database)


def response(request: Request, problem: Problem) -> JSONResponse:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:uuid:{request.scope['state']['request_id']}",
    }
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first parameter that is wrong. FastAPI's own answer repeats what was given, at any length."""
    first = error.errors()[0]
    where = " ".join(printable(str(part), 40) for part in first["loc"])
    return response(request, Problem(422, f"{where}: {printable(first['msg'], 200)}"))


def _http(request: Request, error: Exception) -> JSONResponse:
    details = {
        404: "there is nothing at this address; GET /openapi.json lists what is",
        405: "this address does not answer this method; GET /openapi.json lists what does",
    }
    detail = details.get(error.status_code, printable(str(error.detail), 200))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return response(request, Problem(error.status_code, detail, headers))


def _methods(request: Request) -> list[str]:
    """What the address answers: FastAPI itself names the first of its routes alone."""
    wanted = [part for part in request.url.path.split("/") if part]
    for path, operations in request.app.openapi()["paths"].items():
        parts = [part for part in path.split("/") if part]
        if len(parts) == len(wanted) and all(
            part.startswith("{") or part == given for part, given in zip(parts, wanted, strict=True)
        ):
            return sorted(method.upper() for method in operations)
    return ["GET"]


def _database(request: Request, error: Exception) -> JSONResponse:
    cause = getattr(error, "orig", None)
    if "is full" in str(cause) or getattr(cause, "sqlstate", "") == _DISK_FULL:
        return response(request, full())
    return response(request, busy("the database is busy or cannot be reached; come back"))


@contextmanager
def arriving(seconds: float) -> Iterator[None]:
    """Around the reading of a body: it has so many seconds, and has to be whole."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise Problem(408, "the upload took too long to arrive", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the upload ended before its end") from None
