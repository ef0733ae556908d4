"""What goes wrong around the service costs nothing that was acknowledged, and leaves nothing that was not."""

import errno
import hashlib
import os
import random
import re
import secrets
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from reports.service import scratch, store
from reports.service.archive import Archive
from reports.service.check import check
from reports.service.settings import Settings
from reports.service.store import Spool, Store

from .conftest import NOON, fresh_database

EVIDENCE = Path(__file__).parents[2] / "evidence"
UNLIMITED = {"TRITONMOE_WRITE_RATE": "1e6", "TRITONMOE_WRITE_BURST": "1000000"}


def test_a_killed_service_has_all_that_it_acknowledged_and_nothing_half(tmp_path, cuda_xml):
    kill_at_random_points(tmp_path, cuda_xml, "", uploads=16, kills=2, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_200_uploads_and_as_many_kills_as_a_service_survives(tmp_path, cuda_xml, database, request):
    url = fresh_database(request.getfixturevalue("postgres_url")) if database == "postgresql" else ""
    kill_at_random_points(tmp_path, cuda_xml, url, uploads=200, kills=40, seed=11)


def kill_at_random_points(
    data: Path, template: bytes, database: str, uploads: int, kills: int, seed: int
) -> None:
    """Four clients upload reports, each a new one; from time to time all of the service is killed at once."""
    environment = {**UNLIMITED, "TRITONMOE_DATABASE": database}
    token = scratch.make_token(data, database, "write")
    chance = random.Random(seed)
    todo = [varied(template) for _ in range(uploads)]
    acknowledged: dict[str, bytes] = {}
    while todo:
        server = scratch.Server(data, environment)
        verify(data, database, server.url, acknowledged)
        batch = todo[: max(1, len(todo) // kills)] if kills else todo
        clients = [
            threading.Thread(target=upload_all, args=(server.url, token, batch[number::4], acknowledged))
            for number in range(4)
        ]
        for client in clients:
            client.start()
        if kills:
            time.sleep(chance.uniform(0.0, 0.06) + 0.012 * chance.randrange(len(batch) + 1))
            server.kill()
        for client in clients:
            client.join()
        todo = [body for body in todo if digest_of(body) not in acknowledged]
        if kills and not todo:
            todo = [varied(template)]  # so that the last start is looked at as well
        kills = max(0, kills - 1)
    assert len(acknowledged) >= uploads
    verify(data, database, server.url, acknowledged)
    assert server.stop() == 0


def upload_all(url: str, token: str, bodies: list[bytes], acknowledged: dict[str, bytes]) -> None:
    for body in bodies:
        try:
            answer = urllib.request.urlopen(upload_request(url, token, body), timeout=30)
        except (urllib.error.URLError, OSError):
            continue  # killed meanwhile: not acknowledged, so it may be there or not
        with answer:
            if answer.status in (200, 201):
                acknowledged[digest_of(body)] = body


def upload_request(url: str, token: str, body: bytes) -> urllib.request.Request:
    headers = {"Content-Type": "application/xml", "Authorization": f"Bearer {token}"}
    return urllib.request.Request(f"{url}/reports", body, headers)


def verify(data: Path, database: str, url: str, acknowledged: dict[str, bytes]) -> None:
    """Each acknowledged report is there byte for byte, and files and rows agree."""
    assert list((data / "incoming").iterdir()) == []
    findings, _ = check(Settings(data, database))
    assert findings == []
    for digest, body in acknowledged.items():
        with urllib.request.urlopen(f"{url}/reports/{digest}", timeout=30) as answer:
            assert answer.status == 200
        assert Store(data).path(digest).read_bytes() == body


def varied(template: bytes) -> bytes:
    """The same report of another commit."""
    return re.sub(
        rb'(name="commit" value=")[0-9a-f]{40}', rb"\g<1>" + secrets.token_hex(20).encode(), template
    )


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Killed(BaseException):
    """Stands for the end of the process: nothing after it is run that a killed process would not run."""


# Where a killed process may have been: (function of os, whether that was done already).
POINTS = {
    "before it synced the upload": ("fsync", False),
    "before it linked it": ("link", False),
    "after it linked it": ("link", True),
    "before it gave it its name": ("replace", False),
    "after it gave it its name": ("replace", True),
}


@pytest.mark.parametrize("point", POINTS)
def test_an_upload_killed_at_any_point_is_undone_at_the_next_start(either, cuda_xml, monkeypatch, point):
    name, done = POINTS[point]
    real = getattr(os, name)

    def killed(*args):
        if done:
            real(*args)
        raise Killed

    archive = either.service.archive
    spool = Spool(archive.store.incoming)
    spool.write(cuda_xml)
    monkeypatch.setattr(Archive, "_drop_file_without_row", lambda *_: None)  # what the dead do not do
    monkeypatch.setattr(os, name, killed)
    with pytest.raises(Killed):
        archive.keep(spool, "ci")
    monkeypatch.undo()
    spool._file.close()  # and so its lock is gone
    assert either.files()
    assert archive.sweep() >= 1
    assert either.files() == []
    assert either.post(cuda_xml).status_code == 201


@pytest.mark.parametrize("gone", [True, False])
def test_a_removal_that_was_killed_is_done_or_undone_at_the_next_start(either, cuda_xml, gone):
    archive = either.service.archive
    digest = either.stored(cuda_xml)
    archive.store.withdraw(digest)
    if gone:
        with either.service.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM reports")
    archive.sweep()
    assert [path.stem for path in either.files()] == ([] if gone else [digest])


def test_a_sweep_leaves_alone_what_is_arriving(site, cuda_xml):
    spool = Spool(site.service.archive.store.incoming)
    spool.write(cuda_xml)
    assert site.service.archive.sweep() == 0
    row, new = site.service.archive.keep(spool, "ci")
    assert new
    assert row.digest == digest_of(cuda_xml)
    spool.close()


def test_a_new_file_that_a_sweep_or_a_check_took_for_a_leftover_is_begun_again(site, monkeypatch):
    incoming = site.service.archive.store.incoming
    real, turns = store.fcntl.flock, iter(("locked", "unlinked"))

    def flock(file, how):
        turn = next(turns, None)
        if turn == "locked":
            raise BlockingIOError
        if turn == "unlinked":
            Path(file.name).unlink()
        real(file, how)

    monkeypatch.setattr(store.fcntl, "flock", flock)
    spool = Spool(incoming)
    assert list(incoming.iterdir()) == [spool.path]
    assert next(turns, None) is None
    spool.close()


def test_when_the_commit_fails_the_file_loses_its_name(site, cuda_xml, monkeypatch):
    real = Store.place

    def place(self, spool, digest):
        real(self, spool, digest)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "place", place)
    assert site.post(cuda_xml).status_code == 500
    assert site.files() == []
    monkeypatch.undo()
    assert site.post(cuda_xml).status_code == 201


def fail_next_commit(site) -> None:
    def fail(_connection):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    sa.event.listen(site.service.engine, "commit", fail, once=True)


def test_a_file_that_cannot_lose_its_name_then_loses_it_at_the_next_sweep(either, cuda_xml, monkeypatch):
    monkeypatch.setattr(Archive, "_drop_file_without_row", lambda *_: 1 / 0)
    fail_next_commit(either)
    assert either.post(cuda_xml).status_code == 500
    assert [path.suffix for path in either.files()] == [".part", ".xml"]
    assert either.service.archive.sweep() == 1
    assert either.files() == []


def test_when_the_commit_of_a_removal_fails_the_file_is_put_back(either, cuda_xml):
    digest = either.stored(cuda_xml)
    fail_next_commit(either)
    answer = either.client.delete(f"/reports/{digest}", headers=either.authorization("admin"))
    assert answer.status_code == 500
    assert [path.stem for path in either.files()] == [digest]
    assert either.get(f"/reports/{digest}/xml").content == cuda_xml


FULL = {
    "it is synced": ("fsync", errno.ENOSPC),
    "it is linked": ("link", errno.EDQUOT),
    "its folder is made": ("mkdir", errno.ENOSPC),
    "it is given its name": ("replace", errno.ENOSPC),
}


@pytest.mark.parametrize("when", FULL)
def test_on_a_full_disk_an_upload_is_refused_and_leaves_nothing(site, cuda_xml, monkeypatch, when):
    name, code = FULL[when]
    real, first = getattr(os, name), iter([True])

    def full(*arguments, **options):
        if next(first, False):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, full)
    answer = site.post(cuda_xml)
    monkeypatch.undo()
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
    assert site.files() == []
    assert site.post(cuda_xml).status_code == 201


def test_what_does_not_fit_while_it_arrives_leaves_nothing(tmp_path):
    """No file of this service may have more than 800 KiB, and the report has a MB."""
    token = scratch.make_token(tmp_path, "", "write")
    report = (EVIDENCE / "cuda-h200.xml").read_bytes()
    server = scratch.Server(tmp_path, UNLIMITED, limits="ulimit -f 800")
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(upload_request(server.url, token, report), timeout=30)
        with refused.value as answer:
            assert answer.code == 507
            assert b"disk is full" in answer.read()
        assert [path for path in tmp_path.rglob("*") if path.suffix in (".xml", ".part", ".link")] == []
        with urllib.request.urlopen(f"{server.url}/healthz", timeout=30) as answer:
            assert answer.status == 200
    finally:
        server.stop()


def test_a_full_database_is_told_as_a_full_disk(site, cuda_xml):
    def small(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    site.service.engine.dispose()
    sa.event.listen(site.service.engine, "connect", small)
    answers = []
    while not answers or answers[-1].status_code == 201:
        answers.append(site.post(varied(cuda_xml)))
    sa.event.remove(site.service.engine, "connect", small)
    assert answers[-1].status_code == 507
    assert "disk is full" in answers[-1].json()["detail"]
    assert len(site.files()) == len(answers) - 1


def test_a_locked_database_is_503_and_nothing_of_the_upload_stays(make_site, cuda_xml):
    site = make_site(busy_seconds=0.1)
    blocker = sqlite3.connect(site.settings.data / "service.sqlite3", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    answer = site.post(cuda_xml)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert site.files() == []
    assert site.get("/reports").status_code == 200, "who reads does not wait for who writes"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert site.post(cuda_xml).status_code == 201


def test_on_postgresql_as_well(make_site, cuda_xml, postgres_url):
    site = make_site(database=fresh_database(postgres_url), busy_seconds=0.1)
    with psycopg.connect(site.settings.database) as blocker:
        blocker.execute("LOCK TABLE reports IN EXCLUSIVE MODE")
        assert site.post(cuda_xml).status_code == 503
        assert site.files() == []
    assert site.post(cuda_xml).status_code == 201


def test_a_database_that_is_away_is_503(make_site, postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE away")
        site = make_site(database=postgres_url.replace("/postgres?", "/away?"), busy_seconds=0.1)
        site.service.engine.dispose()
        connection.execute("ALTER DATABASE away ALLOW_CONNECTIONS false")
    for path in ("/healthz", "/reports"):
        assert site.get(path).status_code == 503


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_was_moved_changes_no_order(site, cuda_xml, gfx942_xml, days):
    first = site.stored(cuda_xml)
    site.now += days * 24 * 3600 * 1000
    with site.service.engine.begin() as connection:  # the token's own time is another test's matter
        connection.exec_driver_sql("UPDATE tokens SET expires = 9000000000000")
    second = site.stored(gfx942_xml)
    assert [entry["digest"] for entry in site.get("/reports").json()["reports"]] == [second, first]
    assert site.get("/newest/cuda/gfx942/json").headers["X-Verdict"] == "PARITY"
    before = site.get("/reports?until=2030-03-17T17:46:40Z").json()["reports"]
    assert [entry["digest"] for entry in before] == ([second] if days < 0 else [])
    assert site.now != NOON


def test_as_many_uploads_as_can_be_received_at_once_and_no_more(make_site, cuda_xml):
    site = make_site(uploads_at_once=1)
    site.app.state.arriving += 1
    busy = site.post(cuda_xml)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    site.app.state.arriving -= 1
    assert site.post(cuda_xml).status_code == 201
    assert site.app.state.arriving == 0


def test_a_fault_in_the_code_is_a_500_that_says_nothing_and_a_line_in_the_log(
    capsys, site, cuda_xml, monkeypatch
):
    monkeypatch.setattr(Archive, "find", lambda *_: 1 / 0)
    answer = site.post(cuda_xml)
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    logged = capsys.readouterr().err
    assert "ZeroDivisionError" in logged
    assert answer.headers["X-Request-Id"] in logged
    assert site.files() == []
