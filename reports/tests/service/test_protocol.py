"""The connection itself: what comes besides bodies is bounded, and so is the time that a head may take."""

import asyncio
import time
from collections.abc import Callable

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from reports.service import protocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = 2**16


class Wire(asyncio.Transport):
    """The other end of it is this test."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.closed = b"", False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def echo(scope, receive, send) -> None:
    """Once all of the body is there, answers with its length and the names of the headers; later at /slow."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    told = b"%d %s" % (size, b" ".join(name for name, _ in scope["headers"]))
    length = (b"content-length", b"%d" % len(told))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": told})


def talk(*parts: bytes, until: Callable[[Wire], bool], pause: float = 0.0) -> Wire:
    """Sends the parts one by one, and waits until something is so."""

    async def talking() -> Wire:
        wire = Wire()
        config = Config(echo, ws="none", lifespan="off", log_config=None)
        served = protocol.BoundedProtocol(config, ServerState(), {})
        served.connection_made(wire)
        for part in parts:
            if not wire.closed:
                served.data_received(part)
            await asyncio.sleep(pause)
        deadline = time.monotonic() + 10
        while not until(wire):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        served.connection_lost(None)
        return wire

    return asyncio.run(talking())


ENDLESS = {
    "headers": (GET[:-2], b"X: %s\r\n" % (b"a" * PIECE)),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: %s\r\n" % (b"a" * PIECE)),
    "the extension of a chunk": (CHUNKED + b"1;", b"a" * PIECE),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_no_body_is_refused_once_there_is_too_much_of_it(kind):
    start, piece = ENDLESS[kind]
    wire = talk(start, *[piece] * (protocol.MAX_HEAD // PIECE), until=lambda wire: wire.closed)
    assert wire.sent.startswith(b"HTTP/1.1 400")


def test_a_body_may_be_larger_and_its_trailers_are_not_taken_for_headers():
    chunk = b"%x\r\n%s\r\n" % (PIECE, b"a" * PIECE)
    count = 3 * protocol.MAX_HEAD // PIECE
    parts = CHUNKED, *[chunk] * count, b"0\r\nAuthorization: x\r\n\r\n"
    wire = talk(*parts, until=lambda wire: wire.sent)
    assert wire.sent.endswith(b"\r\n\r\n%d host transfer-encoding" % (count * PIECE))


SILENT = {
    "nothing": (),
    "half a head": (GET[:-2],),
    "nothing after an answer": (GET,),
    "empty lines after an answer": (GET, b"\r\n"),
}


@pytest.mark.parametrize("kind", SILENT)
def test_a_connection_on_which_no_head_comes_is_closed(kind, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    parts = SILENT[kind]
    wire = talk(*parts, until=lambda wire: wire.closed, pause=0.02)
    assert wire.sent.count(b"HTTP/1.1 200") == parts.count(GET)


SLOW = {
    "a body": (CHUNKED, *[b"1\r\nx\r\n"] * 8, b"0\r\n\r\n"),
    "an answer": (GET.replace(b"/", b"/slow", 1),),
    "an answer, with half a head behind the request": (GET.replace(b"/", b"/slow", 1) + b"GET /",),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_body_and_its_answer_may_take_longer_than_a_head(kind, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    wire = talk(*SLOW[kind], until=lambda wire: wire.sent, pause=0.05)
    assert wire.sent.startswith(b"HTTP/1.1 200")
