"""Who may do what: nothing without the right token, nothing told by a wrong one, nothing too often."""

import hashlib
import re
import statistics
import time

import pytest

from reports.service import tokens
from reports.service.database import reading, writing
from reports.service.limits import Limiter, Rate, create

OPEN = {"/healthz", "/openapi.json"}  # they tell nothing of any report
DIGEST = "0" * 64
FILLED = {"digest": DIGEST, "left": DIGEST, "right": DIGEST, "form": "json"}


def every_route(site):
    """(method, path) of all that the application answers, by its own description."""
    for path, methods in site.app.openapi()["paths"].items():
        platforms = {"left": "cuda", "right": "rocm"} if path.startswith("/newest") else {}
        for method in methods:
            yield method.upper(), path.format(**FILLED | platforms)
    yield "GET", "/openapi.json"


def test_when_private_nothing_is_read_or_written_without_a_token(make_site, cuda_xml):
    site = make_site(read_access="token")
    site.stored(cuda_xml)
    routes = list(every_route(site))
    assert len(routes) > 12
    for method, path in routes:
        answer = site.client.request(
            method, path, content=cuda_xml, headers={"Content-Type": "application/xml"}
        )
        assert answer.status_code == (200 if path in OPEN else 401), (method, path)
        assert answer.headers["Cache-Control"] == "no-store"
        if path not in OPEN:
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tritonmoe"'
    assert site.get("/reports", "read").json()["reports"]


def test_when_public_anybody_reads_and_nobody_writes(site, cuda_xml):
    site.stored(cuda_xml)
    assert site.get("/reports").status_code == 200
    for method, path in every_route(site):
        if method != "GET":
            assert site.client.request(method, path, content=b"x").status_code == 401, (method, path)


NEEDS = {"/reports": ("write", "admin"), "/certificates": ("write", "admin")}


@pytest.mark.parametrize("path", NEEDS)
@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_a_token_does_what_its_scope_says_and_no_more(make_site, path, scope):
    answer = make_site(read_access="token").post(b"", scope, path, **{"Content-Type": "application/xml"})
    assert (answer.status_code != 403) == (scope in NEEDS[path])


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("write", 403), ("admin", 404)])
def test_only_admin_removes(site, scope, status):
    assert site.client.delete(f"/reports/{DIGEST}", headers=site.authorization(scope)).status_code == status


def flipped(token: str) -> str:
    return token[:-1] + ("A" if token[-1] != "A" else "B")


WRONG_TOKENS = {
    "none of the form": (lambda t: "secret", "not of the form"),
    "empty": (lambda t: "", "not of the form"),
    "another scheme": (lambda t: None, "not of the form"),
    "cut off": (lambda t: t[:-5], "cut off"),
    "with more at its end": (lambda t: t + "A", "cut off"),
    "forged secret": (flipped, "not known"),
    "forged id": (lambda t: "tmoe_" + "0" * 16 + t[21:], "not known"),
    "two of them": (lambda t: f"{t}, {t}", "not of the form"),
    "letters of other scripts": (lambda t: t.replace("tmoe", "tm\u00f6e"), "not of the form"),
    "sql": (lambda t: "tmoe_' OR 1=1 --", "not of the form"),
    "very long": (lambda t: "tmoe_" + "a" * 50_000, "not of the form"),
}


@pytest.mark.parametrize("kind", WRONG_TOKENS)
def test_a_wrong_token_is_refused_and_not_repeated(make_site, kind, capsys):
    site = make_site(read_access="token")
    spoil, expected = WRONG_TOKENS[kind]
    wrong = spoil(site.tokens["admin"])
    header = "Basic dXNlcjpwYXNz" if wrong is None else f"Bearer {wrong}"
    answer = site.client.get("/reports", headers={"Authorization": header.encode()})
    assert answer.status_code == 401
    assert expected in answer.json()["detail"]
    logged = capsys.readouterr().err
    assert '"status": 401' in logged
    if wrong:
        assert wrong not in answer.text
        assert wrong not in logged


def test_a_token_that_is_right_is_not_logged_and_its_id_is(capsys, site, cuda_xml):
    site.stored(cuda_xml)
    logged = capsys.readouterr().err
    _, token_id, secret = site.tokens["write"].split("_", 2)
    assert f'"token": "{token_id}"' in logged
    assert secret not in logged


def test_a_token_ends_when_it_expires_and_with_the_clock_set_back_lives_again(site):
    site.now += 10 * tokens.DAY - 1
    assert site.post(b"", "write").status_code == 422
    site.now += 1
    assert "expired" in site.post(b"", "write").json()["detail"]
    site.now -= 1
    assert site.post(b"", "write").status_code == 422


def test_a_revoked_token_ends_at_once(either):
    with writing(either.service.engine) as connection:
        assert tokens.revoke(connection, "write", either.now) == 1
        assert tokens.revoke(connection, "write", either.now) == 0
    assert "revoked" in either.post(b"", "write").json()["detail"]


def test_the_database_holds_no_secret(site):
    with reading(site.service.engine) as connection:
        rows = tokens.every(connection)
    secrets = [token.split("_", 2)[2] for token in site.tokens.values()]
    assert {row.secret_hash for row in rows} == {
        hashlib.sha256(secret.encode()).hexdigest() for secret in secrets
    }
    for path in site.settings.data.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


def test_every_token_is_checked_in_constant_time(site, monkeypatch):
    """The same work whatever is wrong: one digest, one comparison of equal lengths, by hmac."""
    compared = []
    real = tokens.hmac.compare_digest
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: (compared.append((a, b)), real(a, b))[1])
    right = site.tokens["read"]
    for token in (
        right,
        flipped(right),
        right[:22] + flipped(right[22:])[::-1],
        "tmoe_" + "0" * 16 + right[21:],
    ):
        site.client.get("/reports", headers={"Authorization": f"Bearer {token}"})
    assert len(compared) == 4
    assert all(len(a) == len(b) == 64 for a, b in compared)


@pytest.mark.slow
def test_a_check_takes_no_longer_the_more_of_a_secret_is_right(site):
    right = site.tokens["read"]
    wrong = {
        "first character": right[:22] + ("A" if right[22] != "A" else "B") + right[23:],
        "last character": flipped(right),
        "unknown id": "tmoe_" + "0" * 16 + right[21:],
    }
    times: dict[str, list[float]] = {name: [] for name in wrong}
    with reading(site.service.engine) as connection:
        for _ in range(4000):
            for name, token in wrong.items():
                start = time.perf_counter()
                with pytest.raises(tokens.TokenError):
                    tokens.holder(connection, token, site.now)
                times[name].append(time.perf_counter() - start)
    medians = [statistics.median(each) for each in times.values()]
    assert max(medians[:2]) < 1.05 * min(medians[:2]), times.keys()
    assert max(medians) < 1.3 * min(medians)  # a row that is there is a row to fetch


BAD_TOKENS = {
    "": "a token's name", "-x": "a token's name", "a" * 81: "a token's name", "a\nb": "a token's name",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_token_needs_a_name_that_can_be_shown(site, name):
    with writing(site.service.engine) as connection, pytest.raises(tokens.TokenError, match=BAD_TOKENS[name]):
        tokens.make(connection, name, tokens.Scope.READ, 1, 0)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_token_lives_for_some_days_and_not_for_ever(site, days):
    with writing(site.service.engine) as connection, pytest.raises(tokens.TokenError, match="1 to 3650 days"):
        tokens.make(connection, "x", tokens.Scope.READ, days, 0)


def test_who_asks_too_often_is_told_when_to_come_back(make_site):
    site = make_site(read_rate=0.5, read_burst=3)
    answers = [site.get("/reports") for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert answers[3].headers["Retry-After"] == "2"
    assert "come back after 2 s" in answers[3].json()["detail"]
    assert site.get("/healthz").status_code == 200


def test_guessing_tokens_is_limited_by_address_and_a_token_by_itself(make_site):
    site = make_site(write_rate=0.01, write_burst=2)
    wrong = {"Authorization": "Bearer " + flipped(site.tokens["write"]), "Content-Type": "application/xml"}
    assert [site.client.post("/reports", headers=wrong).status_code for _ in range(3)] == [401, 401, 429]
    token = f"write token {site.tokens['write'].split('_')[1]}"
    rate = Rate(0.01, 2)
    assert [site.service.limiter.wait(token, rate) > 0 for _ in range(3)] == [False, False, True]


def test_a_bucket_fills_with_time_and_is_shared_by_all_who_map_the_table(tmp_path):
    now = [1000.0]
    create(tmp_path / "limits")
    first, second = (Limiter(tmp_path / "limits", lambda: now[0]) for _ in range(2))
    rate = Rate(2.0, 4)
    assert [limiter.wait("a", rate) for limiter in (first, second) * 2] == [0, 0, 0, 0]
    assert (first.wait("a", rate), second.wait("a", rate), first.wait("b", rate)) == (1, 1, 0)
    now[0] += 0.5
    assert (second.wait("a", rate), second.wait("a", rate)) == (0, 1)
    now[0] += 1000
    assert [first.wait("a", rate) for _ in range(5)] == [0, 0, 0, 0, 1]
    first.close(), second.close()


def test_the_log_has_one_line_of_json_for_each_request_with_the_id_that_the_client_got(capsys, site):
    answer = site.get("/reports/nothing?token=abc")
    (line,) = capsys.readouterr().err.splitlines()
    request_id = answer.headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", request_id)
    assert answer.json()["instance"] == f"urn:uuid:{request_id}"
    assert f'"id": "{request_id}"' in line
    assert "token=abc" not in line
