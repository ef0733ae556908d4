"""`tritonmoe serve --check` finds what is wrong, and nothing where the service is only at work."""

import json
import threading

import pytest

from reports.cli import main
from reports.service.check import _Progress, check
from reports.service.store import Spool, Store, digest_of


def test_the_check_finds_nothing_where_nothing_is_wrong(either, cuda_xml):
    either.stored(cuda_xml)
    assert check(either.settings) == ([], 1)


def damage(site, digest: str) -> None:
    path = site.service.archive.store.path(digest)
    path.write_bytes(path.read_bytes()[:-1] + b" ")


def lose(site, digest: str) -> None:
    site.service.archive.store.path(digest).unlink()


def forget(site, digest: str) -> None:
    with site.service.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM reports")


def leave(site, digest: str) -> None:
    (site.service.archive.store.incoming / "x.part").write_bytes(b"")


def forge(site, digest: str) -> None:
    with site.service.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO certificates (digest, left, right, received, uploaded_by, envelope) "
            f"VALUES ('{'0' * 64}', '{digest}', '{digest}', 1, 'x', x'00')"
        )


FINDINGS = {
    damage: "its file is damaged",
    lose: "has a row and no file",
    forget: "a file without a row",
    leave: "left by an upload",
    forge: "the certificate is damaged",
}


@pytest.mark.parametrize("spoil", FINDINGS, ids=lambda spoil: spoil.__name__)
def test_the_check_finds_what_is_wrong(site, cuda_xml, spoil, capsys):
    spoil(site, site.stored(cuda_xml))
    data = ["--data", str(site.settings.data)]
    assert main(["serve", "--check", *data]) == 1
    assert FINDINGS[spoil] in capsys.readouterr().out
    assert main(["serve", "--check", "--format", "json", *data]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert FINDINGS[spoil] in finding["wrong"]


def test_a_check_that_takes_long_says_how_far_it_is(capsys):
    progress = _Progress(4 * 2**20)
    progress(2**20)
    progress.next = 0.0
    progress(2**20)
    assert capsys.readouterr().err == "checked 2 MiB, 50%\n"


@pytest.mark.parametrize("step", ["place", "withdraw"])
def test_the_check_waits_for_an_upload_or_a_removal_that_is_under_way(either, cuda_xml, monkeypatch, step):
    archive, real = either.service.archive, getattr(Store, step)
    done, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        result = real(*arguments)
        done.set()
        assert go_on.wait(30)
        return result

    spool = Spool(archive.store.incoming)
    spool.write(cuda_xml)
    digest = spool.seal()
    work = {"place": lambda: archive.keep(spool, "ci"), "withdraw": lambda: archive.remove(digest)}
    if step == "withdraw":
        archive.keep(spool, "ci")
        spool.close()
    monkeypatch.setattr(Store, step, slow)
    at_work = threading.Thread(target=work[step])
    at_work.start()
    assert done.wait(30)
    later = threading.Timer(0.2, go_on.set)
    later.start()
    findings, _ = check(either.settings)
    assert findings == []
    for thread in (at_work, later):
        thread.join()
    spool.close()


def test_a_report_that_is_removed_during_the_check_is_no_finding(either, cuda_xml, monkeypatch):
    digest = either.stored(cuda_xml)

    def removed(*arguments):
        either.service.archive.remove(digest)
        return digest_of(*arguments)

    monkeypatch.setattr("reports.service.check.digest_of", removed)
    assert check(either.settings) == ([], 1)


def test_a_report_that_is_healed_during_the_check_is_no_finding(either, cuda_xml, monkeypatch):
    digest = either.stored(cuda_xml)
    lose(either, digest)

    def healed(*arguments):
        try:
            return digest_of(*arguments)
        finally:
            assert either.post(cuda_xml).status_code == 200

    monkeypatch.setattr("reports.service.check.digest_of", healed)
    assert check(either.settings) == ([], 1)
