"""What anybody may send: each thing is refused with the right 4xx and a short sentence, and nothing stays."""

import html.parser
import json
import socket
from pathlib import Path

import pytest

from reports.matrix import REQUIRED
from reports.service import scratch

from ..build import Draft

CASE = "layer/mixtral/float32/zipf"
SUITE = '<testsuites><testsuite name="tritonmoe.conformance">%s</testsuite></testsuites>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
MANY = " ".join(f'a{n}=""' for n in range(1000))
BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "no XML": (b"\x89PNG\r\n\x1a\n", "not well-formed"),
    "no report": (b"<html/>", "testsuites"),
    "a billion laughs": (
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><testsuites>&l9;</testsuites>'.encode(),
        "document type",
    ),
    "quadratic blow-up": (
        f'<!DOCTYPE a [<!ENTITY a "{"a" * 50_000}">]><testsuites>{"&a;" * 5_000}</testsuites>'.encode(),
        "document type",
    ),
    "an external entity": (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuites>&x;</testsuites>',
        "document type",
    ),
    "an external document type": (
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><testsuites/>',
        "document type",
    ),
    "a parameter entity": (
        b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;]><testsuites/>',
        "document type",
    ),
    "200,000 levels": (
        b"<testsuites>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</testsuites>",
        "12 levels",
    ),
    "300,000 elements": ((SUITE % ("<a/>" * 300_000)).encode(), "200,000 elements"),
    "6,000 testcases": ((SUITE % ('<testcase name="a"/>' * 6_000)).encode(), "5,000 testcases"),
    "an attribute of 2 MB": ((SUITE % f'<a b="{"c" * 2 * 2**20}"/>').encode(), "characters in an attribute"),
    "a tag that never ends": (b"<testsuites " + b"a" * 6 * 2**20, "bytes in one tag"),
    "1,000 attributes": ((SUITE % f"<a {MANY}/>").encode(), "32 attributes"),
    "a truncated file": (b"<testsuites><testsuite", "truncated"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><testsuites/>', "not"),
    "bytes that are not of their encoding": (
        b'<?xml version="1.0" encoding="utf-8"?><testsuites a="\xff"/>',
        "not",
    ),
    "UTF-16 that says it is UTF-8": ('<?xml version="1.0" encoding="utf-8"?><a/>'.encode("utf-16"), "not"),
    "UTF-7": (b'<?xml version="1.0" encoding="utf-7"?>+ADw-testsuites/+AD4-', "not"),
    "a NUL": (b"<testsuites>\0</testsuites>", "not well-formed"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(100), "not well-formed"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_hostile_upload_is_refused_in_a_short_sentence_and_leaves_nothing(hostile_site, kind):
    body, expected = BODIES[kind]
    answer = hostile_site.post(body)
    assert answer.status_code == 422
    assert_short_problem(answer, expected)
    assert hostile_site.files() == []
    assert hostile_site.get("/reports").json()["reports"] == []


HEADERS = {
    "JSON": ({"Content-Type": "application/json"}, 415, "expected application/xml"),
    "a form": ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "expected application/xml"),
    "compressed": ({"Content-Encoding": "gzip"}, 415, "send the file as it is"),
    "a digest of something else": ({"Content-Digest": f"sha-256=:{'A' * 43}=:"}, 400, "damaged on the way"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_an_upload_that_is_not_what_it_should_be_is_refused_by_its_headers(hostile_site, kind, cuda_xml):
    headers, status, expected = HEADERS[kind]
    answer = hostile_site.post(cuda_xml, **headers)
    assert answer.status_code == status
    assert_short_problem(answer, expected)
    assert hostile_site.files() == []


PATHS = {
    "traversal": ("/reports/..%2F..%2F..%2Fetc%2Fpasswd/xml", 404),
    "traversal, encoded twice": ("/reports/..%252F..%252Fetc%252Fpasswd/xml", 404),
    "traversal with backslashes": ("/reports/..%5C..%5Cservice.sqlite3/xml", 422),
    "an absolute path": ("/reports/%2Fetc%2Fpasswd", 404),
    "a NUL in a digest": ("/reports/" + "0" * 63 + "%00", 422),
    "a newline after a digest": ("/reports/" + "0" * 64 + "%0A", 422),
    "a digest in capitals": ("/reports/" + "A" * 64, 422),
    "a digest in other digits": ("/reports/" + "%D9%A3" * 64, 422),
    "a digest cut off": ("/reports/" + "0" * 12, 422),
    "no UTF-8": ("/reports/%FF%FE", 422),
    "SQL for a digest": ("/reports/'%20OR%201=1--", 422),
    "SQL for a platform": ("/reports?platform=cuda'%20OR%20'1'='1", 422),
    "SQL for a commit": ("/reports?commit='%3B%20DROP%20TABLE%20reports%3B--", 422),
    "SQL for a source": ("/reports?source_digest=%25", 422),
    "SQL for a verdict": ("/reports?verdict=PASSED%22%20OR%201", 422),
    "SQL for a page": ("/reports?before=1%20UNION%20SELECT%20secret_hash%20FROM%20tokens", 422),
    "a page below 1": ("/reports?before=0", 422),
    "a page beyond 64 bits": ("/reports?before=9223372036854775808", 422),
    "a page beyond counting": ("/reports?before=" + "9" * 5000, 422),
    "no entries": ("/reports?limit=0", 422),
    "too many entries": ("/reports?limit=201", 422),
    "no time": ("/reports?since=yesterday", 422),
    "a time in numbers": ("/reports?since=1.5", 422),
    "a time without a zone": ("/reports?since=2030-01-01T00:00:00", 422),
    "a time before all time": ("/reports?since=-9999-01-01T00:00:00Z", 422),
    "an unknown form": (f"/parity/{'0' * 64}/{'0' * 64}/exe", 422),
    "an unknown platform": ("/newest/cuda/tpu/badge", 422),
    "script for a commit": ("/newest?commit=%3Cscript%3E", 422),
    "no commit": ("/newest", 422),
    "a certificate that is not here": ("/certificates/" + "0" * 64, 404),
    "nowhere": ("/admin", 404),
    "a path of 50,000 characters": ("/" + "a" * 50_000, 404),
}


@pytest.mark.parametrize("kind", PATHS)
def test_a_hostile_address_is_refused_in_a_short_sentence(hostile_site, kind):
    path, status = PATHS[kind]
    answer = hostile_site.get(path)
    assert answer.status_code == status
    assert_short_problem(answer, "")


def test_the_first_and_last_moments_that_can_be_written_are_no_error(hostile_site):
    for moment in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"):
        assert hostile_site.get(f"/reports?since={moment}&until={moment}").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_405(hostile_site, method):
    answer = hostile_site.client.request(method, "/reports")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"
    assert_short_problem(answer, "does not answer this method")


SCRIPT = "</p>\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
FREE = ("device.name", "device.arch", "driver", "torch", "triton", "hypothesis", "python")


def test_script_in_every_string_of_a_report_is_text_on_the_page(site, written):
    drafts = [Draft("cuda"), Draft("rocm")]
    for draft in drafts:
        draft.suite |= dict.fromkeys(FREE, SCRIPT)
        for case_id in REQUIRED:
            draft.fail(case_id, SCRIPT)
            draft.cases[case_id] |= dict.fromkeys(
                ("error.where", "failure.example", "failure.replay"), SCRIPT
            )
        draft.check(f"test{SCRIPT}", "failed", SCRIPT).check(f"other{SCRIPT}", "skipped", SCRIPT)
    left, right = (site.stored(written(draft)) for draft in drafts)
    found = _Elements()
    found.feed(site.get(f"/parity/{left}/{right}/page").text)
    assert found.scripts == 1, "its own"
    assert found.images == 0
    assert found.handlers == []
    marked = site.get(f"/parity/{left}/{right}/markdown").text
    assert "<script" not in marked
    assert "<img" not in marked
    for path in ("/reports", f"/parity/{left}/{right}/json"):
        assert site.get(path).headers["Content-Type"] == "application/json"
    assert "<script" not in site.get(f"/parity/{left}/{right}/badge").text


class _Elements(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts = self.images = 0
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


@pytest.fixture
def hostile_site(shared_site):
    """One site for all: nothing that these tests send may change anything in it."""
    yield shared_site
    assert shared_site.get("/healthz").status_code == 200


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory):
    """A service in a process of its own, and a token for it."""
    data = tmp_path_factory.mktemp("real")
    environment = {"TRITONMOE_MAX_BYTES": str(2**20), "TRITONMOE_UPLOAD_SECONDS": "1"}
    token = scratch.make_token(data, "", "write")
    server = scratch.Server(data, environment)
    yield server, token, data
    assert server.stop() == 0


def start_of_upload(
    token: str, *headers: str, path: str = "/reports", media: str = "application/xml"
) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        f"Content-Type: {media}",
    )
    return "\r\n".join((*lines, *headers, "", "")).encode()


def answer_of(connection: socket.socket) -> tuple[int, dict]:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head[9:12]), json.loads(body)


def leftovers(data: Path) -> list[Path]:
    return [*(data / "incoming").iterdir(), *(data / "reports").rglob("*.xml")]


def memory(server: scratch.Server) -> int:
    """The most that it ever had, in KiB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_a_body_of_1_gb_is_refused_by_its_length_before_it_is_sent(real):
    server, token, data = real
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(start_of_upload(token, f"Content-Length: {2**30}"))
        status, problem = answer_of(connection)
    assert (status, problem["detail"][:30]) == (413, "the report is larger than 1,04")
    assert leftovers(data) == []


def test_a_body_of_1_gb_of_unknown_length_is_refused_at_the_limit(real):
    server, token, data = real
    before, sent = memory(server), 0
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(start_of_upload(token, "Transfer-Encoding: chunked"))
        try:
            while sent < 2**30:
                connection.sendall(chunk)
                sent += 65536
        except OSError:
            pass  # it hung up
    assert 2**20 <= sent < 64 * 2**20, "it stopped reading near the limit, not at the end"
    assert memory(server) - before < 32 * 1024
    assert leftovers(data) == []


UPLOADS = [("/reports", "application/xml"), ("/certificates", "application/json")]


@pytest.mark.parametrize(("path", "media"), UPLOADS)
def test_an_upload_that_stalls_is_ended(real, path, media):
    server, token, data = real
    start = start_of_upload(token, "Content-Length: 1000", path=path, media=media)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(start + b"<testsuites>")
        assert answer_of(connection)[0] == 408
    assert leftovers(data) == []


@pytest.mark.parametrize(("path", "media"), UPLOADS)
def test_an_upload_that_breaks_off_leaves_nothing(real, path, media):
    server, token, data = real
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        start = start_of_upload(token, "Content-Length: 1000", path=path, media=media)
        connection.sendall(start + b"<testsuites>")
    scratch.until(lambda: f'"path": "{path}", "status": 400' in (data / "log").read_text())
    assert leftovers(data) == []


def test_headers_without_end_are_refused(real):
    server, _, _ = real
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 2**20)
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_a_path_is_not_resolved_and_what_comes_after_is_not_a_second_request(real):
    server, _, _ = real
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"GET /reports/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert answer_of(connection)[0] == 404


def assert_short_problem(answer, expected: str) -> None:
    """Problem details: one short sentence, that says what is expected of it and nothing of the machine."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == answer.status_code
    assert expected in problem["detail"]
    assert 0 < len(problem["detail"]) <= 300
    assert "\n" not in problem["detail"]
    for told in ("/tmp", "incoming", "Traceback", "sqlalchemy", "site-packages"):
        assert told not in answer.text
