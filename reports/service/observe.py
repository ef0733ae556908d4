"""Around every request: an id, safe headers, a line in the log, the counters, no traceback for the client."""

import json
import logging
import re
import sys
import time
import traceback
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..wording import printable
from .metrics import Metrics
from .problems import Problem, response

_PLAIN = re.compile(r"[0-9A-Za-z/_.+-]{0,200}")
_METHODS = {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-cache",
}


class Observed:
    """Wraps an application. `private`: no answer may be kept by anybody on the way."""

    def __init__(self, app: ASGIApp, metrics: Metrics, private: bool) -> None:
        self.app, self.metrics, self.private = app, metrics, private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        answer = {"status": 0, "bytes": 0}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                self._add_headers(MutableHeaders(scope=message), request_id)
            else:
                answer["bytes"] += len(message.get("body", b""))
            await send(message)

        failure = ""
        try:
            await self.app(scope, receive, sending)
        except Exception:
            failure = traceback.format_exc()
            if not answer["status"]:
                problem = Problem(500, "something went wrong here; the log has this request's instance")
                await response(Request(scope), problem)(scope, receive, sending)
        finally:
            self._record(scope, request_id, answer, time.perf_counter() - started, failure)

    def _add_headers(self, headers: MutableHeaders, request_id: str) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self.private:
            headers["Cache-Control"] = "no-store"
        headers["X-Request-Id"] = request_id

    def _record(
        self, scope: Scope, request_id: str, answer: dict[str, int], seconds: float, failure: str
    ) -> None:
        route = getattr(scope.get("route"), "path", "none")  # never the path itself: anybody can make up many
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(route, method, answer["status"]).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        client = scope.get("client")
        line: dict[str, Any] = {
            "event": "request",
            "id": request_id,
            "method": method,
            "path": scope["path"] if _PLAIN.fullmatch(scope["path"]) else printable(scope["path"], 200),
            "status": answer["status"],
            "milliseconds": round(seconds * 1000, 1),
            "bytes": answer["bytes"],
            "address": client[0] if client else None,
            "token": scope["state"].get("token_id"),
        }
        if failure:
            line["failure"] = failure
        log("error" if failure else "info", **line)


def log(level: str, **fields: Any) -> None:
    """One line of JSON on standard error. Nothing that is logged may hold a token."""
    print(json.dumps({"time": _now(), "level": level, **fields}), file=sys.stderr, flush=True)


def log_uvicorn() -> None:
    """What uvicorn has to say comes as lines of the same kind."""
    logger = logging.getLogger("uvicorn")
    logger.handlers[:] = [_Lines()]
    logger.setLevel(logging.WARNING)
    logger.propagate = False


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        fields = {"event": "server", "message": record.getMessage()}
        if record.exc_info:
            fields["failure"] = logging.Formatter().formatException(record.exc_info)
        log(record.levelname.lower(), **fields)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
