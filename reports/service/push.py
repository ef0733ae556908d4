"""`tritonmoe push`: sends reports to a service, and again until they are there or will clearly not be."""

import base64
import email.utils
import hashlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2

from ..model import ReportError
from ..reading import read
from ..untrusted import file_bytes
from ..wording import printable

STORED, REFUSED, WRONG, UNREACHABLE = 0, 1, 2, 3
MAX_CERTIFICATE = 4 * 2**20
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_TOKEN = re.compile(r"tmoe_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")
_HERE = {"localhost", "127.0.0.1", "::1"}


class _GaveUp(Exception):
    pass


def run(
    files: list[str],
    certificate: str | None,
    url: str,
    variable: str,
    patience: float,
    insecure: bool,
    form: str,
) -> int:
    """Sends all, in order, and prints a line for each. Returns the exit code; the first failure ends it."""
    token = _token(variable)
    base = _base(url, insecure)
    for path in files:
        read(path)  # what is no report need not travel
    if certificate is not None:
        file_bytes(certificate, MAX_CERTIFICATE)
    deadline = time.monotonic() + patience
    with httpx2.Client(timeout=_TIMEOUT, headers={"Authorization": f"Bearer {token}"}) as client:
        for path in files:
            code = _send_one(client, f"{base}/reports", path, "application/xml", deadline, form)
            if code:
                return code
        if certificate is not None:
            return _send_one(client, f"{base}/certificates", certificate, "application/json", deadline, form)
    return STORED


def _send_one(client: httpx2.Client, address: str, path: str, media: str, deadline: float, form: str) -> int:
    content = file_bytes(path, 2**30 if media == "application/xml" else MAX_CERTIFICATE)
    digest = hashlib.sha256(content).digest()
    headers = {"Content-Type": media, "Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}
    shown = printable(path)
    try:
        answer = send(lambda: client.post(address, content=content, headers=headers), deadline)
    except _GaveUp as error:
        print(f"tritonmoe: {shown}: {error}", file=sys.stderr)
        return UNREACHABLE
    if answer.status_code not in (200, 201):
        print(f"tritonmoe: {shown}: refused with {answer.status_code}: {_detail(answer)}", file=sys.stderr)
        return REFUSED
    told = f"{address}/{digest.hex()}"
    state = "stored" if answer.status_code == 201 else "known"
    if form == "json":
        print(json.dumps({"file": path, "digest": digest.hex(), "state": state, "url": told}))
    else:
        print(f"{shown}: {'stored' if state == 'stored' else 'there already'}: {told}")
    return STORED


def send(
    request: Callable[[], httpx2.Response],
    deadline: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> httpx2.Response:
    """The first answer that trying again would not change. Raises _GaveUp when the time is over.

    Waits longer from try to try, by chance somewhat less or more, so that many who were turned away do not
    come back together, and never shorter than the service asks for.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            answer = request()
            if answer.status_code not in _AGAIN:
                return answer
            reason, asked = f"answered {answer.status_code}: {_detail(answer)}", _retry_after(answer)
        except httpx2.TransportError as error:
            reason, asked = printable(str(error) or type(error).__name__, 120), 0.0
        wait = max(asked, pause * random.uniform(0.5, 1.5))
        if clock() + wait >= deadline:
            raise _GaveUp(f"gave up; the service {reason}" if asked else f"gave up: {reason}")
        print(f"tritonmoe: {reason}; trying again in {wait:.1f} s", file=sys.stderr)
        sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _retry_after(answer: httpx2.Response) -> float:
    """Seconds, from a Retry-After header in either of its forms (RFC 9110, 10.2.3); 0 without one."""
    given = answer.headers.get("retry-after", "")
    if given.isdigit():
        return float(given[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return 0.0


def _detail(answer: httpx2.Response) -> str:
    try:
        return printable(str(answer.json()["detail"]), 300)
    except (ValueError, KeyError, TypeError):
        return printable(answer.reason_phrase, 80)


def _token(variable: str) -> str:
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ReportError(
            f"the variable {printable(variable, 80)} is not set; it should hold a token with scope write"
        )
    if not _TOKEN.fullmatch(token):
        raise ReportError(f"the variable {printable(variable, 80)} holds no token of the form tmoe_ID_SECRET")
    return token


def _base(url: str, insecure: bool) -> str:
    """The URL without a slash at its end. Raises ReportError if the token should not travel there."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ReportError(f"the URL is {printable(url, 100)!r}; expected https://HOST")
    if parts.scheme == "http" and parts.hostname not in _HERE and not insecure:
        raise ReportError(
            "the URL is plain HTTP to another machine, where others can read the token; use https://"
        )
    return url.rstrip("/")
