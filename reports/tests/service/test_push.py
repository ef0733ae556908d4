"""`tritonmoe push` gets reports to a service that stumbles, and says clearly why when it does not."""

import email.utils
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from reports.cli import main
from reports.service import push

TOKEN = "tmoe_0123456789abcdef_" + "A" * 43
STORED = (201, {}, {})


class Script(ThreadingHTTPServer):
    """A service that answers as told, one entry a request: (status, headers, body), or None to hang up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0)
        if answer is None:
            return
        status, headers, problem = answer
        data = json.dumps(problem).encode() if isinstance(problem, dict) else problem
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def script():
    server = Script()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pushed(script, tmp_path, cuda_xml, monkeypatch, capsys):
    """Runs `push` against the script. Gives its exit code, output and errors; it sleeps no time."""
    slept: list[float] = []
    monkeypatch.setenv("TRITONMOE_TOKEN", TOKEN)
    monkeypatch.setattr(push.send, "__defaults__", (slept.append, time.monotonic))
    report = tmp_path / "report.xml"
    report.write_bytes(cuda_xml)

    def run(*arguments: str, answers=(STORED,)):
        script.answers[:] = answers
        url = ["--url", f"http://127.0.0.1:{script.server_port}/"]
        code = main(["push", str(report), *url, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.slept = slept
    return run


def test_a_report_is_sent_with_its_token_and_digest(pushed, script, cuda_xml):
    code, out, _ = pushed()
    ((path, headers, body),) = script.requests
    digest = hashlib.sha256(cuda_xml).hexdigest()
    assert (code, path, body) == (0, "/reports", cuda_xml)
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/xml"
    assert headers["Content-Digest"].startswith("sha-256=:")
    assert out.endswith(f"report.xml: stored: http://127.0.0.1:{script.server_port}/reports/{digest}\n")


def test_what_is_there_already_is_a_success(pushed):
    code, out, _ = pushed("--format", "json", answers=[(200, {}, {})])
    assert code == 0
    assert json.loads(out)["state"] == "known"


AGAIN = {
    "busy": (503, {"Retry-After": "7"}, {"detail": "busy"}),
    "too many": (429, {"Retry-After": "7"}, {"detail": "slow down"}),
    "a gateway": (502, {}, b"<html>"),
    "a fault": (500, {}, {"detail": "oops"}),
    "a lost connection": None,
}


@pytest.mark.parametrize("kind", AGAIN)
def test_it_tries_again_after_what_passes(pushed, script, kind):
    code, _, err = pushed(answers=[AGAIN[kind], AGAIN[kind], STORED])
    assert code == 0
    assert len(script.requests) == 3
    assert err.count("trying again in") == 2
    first, second = pushed.slept
    if "Retry-After" in (AGAIN[kind] or (0, {}))[1]:
        assert (first, second) == (7, 7)
    else:
        assert 0.25 <= first <= 0.75
        assert 0.5 <= second <= 1.5


REFUSED = {
    401: "the token has expired",
    403: "this needs a token with scope write",
    413: "the report is larger",
    422: "is no report",
    507: "the disk is full",
}


@pytest.mark.parametrize("status", REFUSED)
def test_it_says_why_it_was_refused_and_does_not_try_again(pushed, script, status):
    code, out, err = pushed(answers=[(status, {}, {"detail": REFUSED[status]})])
    assert (code, out, len(script.requests)) == (1, "", 1)
    assert f"refused with {status}: {REFUSED[status]}" in err


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"detail": 3}', b'"\xff"'])
def test_an_answer_that_is_no_problem_document_does_no_harm(pushed, body):
    code, _, err = pushed(answers=[(404, {}, body)])
    assert code == 1
    assert "refused with 404" in err


def test_it_gives_up_when_its_patience_is_over(pushed, script):
    code, _, err = pushed("--patience", "5", answers=[AGAIN["busy"]])
    assert (code, len(script.requests)) == (3, 1)
    assert "gave up; the service answered 503: busy" in err


def test_a_service_that_is_not_there_is_told(pushed, script, monkeypatch):
    monkeypatch.setattr(script, "server_port", 1)
    code, _, err = pushed("--patience", "0.1")
    assert code == 3
    assert "gave up" in err


def test_a_date_to_come_back_at_is_understood():
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    for given, least, most in (
        (later, 97, 101),
        ("Tue, 01 Jan 2030 00:00:00 -0000", 0, 1e9),
        ("soon", 0, 0),
        ("", 0, 0),
    ):
        assert least <= push._retry_after(httpx2.Response(503, headers={"Retry-After": given})) <= most, given


WRONG = {
    "no token": ({"token": ""}, [], "is not set"),
    "a token cut off": ({"token": TOKEN[:-1]}, [], "no token of the form"),
    "a URL without a scheme": ({}, ["--url", "reports.example.org"], "expected https://HOST"),
    "another scheme": ({}, ["--url", "file:///etc/passwd"], "expected https://HOST"),
    "plain HTTP elsewhere": ({}, ["--url", "http://reports.example.org"], "others can read the token"),
    "another variable": ({}, ["--token-env", "NOT_THERE"], "NOT_THERE is not set"),
    "a certificate that is not there": ({}, ["--certificate", "nowhere.json"], "nowhere.json"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_command_is_told_before_anything_is_sent(pushed, script, kind, monkeypatch):
    change, arguments, expected = WRONG[kind]
    if "token" in change:
        monkeypatch.setenv("TRITONMOE_TOKEN", change["token"])
    code, out, err = pushed(*arguments)
    assert code == 2
    assert expected in err
    assert (out, script.requests) == ("", [])


def test_what_is_no_report_is_not_sent(pushed, script, tmp_path):
    (tmp_path / "report.xml").write_text("<testsuites/>")
    code, _, err = pushed()
    assert (code, script.requests) == (2, [])
    assert "report.xml" in err


def test_a_certificate_follows_its_reports(pushed, script, tmp_path):
    (tmp_path / "parity.json").write_text("{}")
    code, out, _ = pushed("--certificate", str(tmp_path / "parity.json"), answers=[STORED, STORED])
    assert code == 0
    assert [path for path, _, _ in script.requests] == ["/reports", "/certificates"]
    assert "/certificates/" in out


def test_after_a_report_that_was_refused_nothing_more_is_sent(pushed, script, tmp_path):
    (tmp_path / "parity.json").write_text("{}")
    code, _, _ = pushed("--certificate", str(tmp_path / "parity.json"), answers=[(422, {}, {})])
    assert (code, len(script.requests)) == (1, 1)


def test_to_a_real_service_and_again(tmp_path, site, pushed, cuda_xml):
    """The client of the site stands for the network: what push sends is what the service takes."""
    report = tmp_path / "report.xml"
    digest = hashlib.sha256(cuda_xml).digest()
    import base64

    header = {"Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}
    assert site.post(report.read_bytes(), **header).status_code == 201
    assert site.post(report.read_bytes(), **header).status_code == 200
