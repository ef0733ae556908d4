"""What is uploaded is kept under its digest, found by what it says, given back byte for byte, once."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from reports.service.store import Spool

from ..build import Draft
from .conftest import emptied_after


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_report_is_kept_under_its_digest_and_given_back_byte_for_byte(either, cuda_xml):
    answer = either.post(cuda_xml)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/reports/{sha(cuda_xml)}"
    told = answer.json()
    assert (told["digest"], told["size"]) == (sha(cuda_xml), len(cuda_xml))
    assert (told["platform"], told["verdict"], told["uploaded_by"]) == ("cuda", "PASSED", "write")
    assert told["received"] == "2030-03-17T17:46:40Z"
    assert either.get(f"/reports/{sha(cuda_xml)}").json() == told
    stored = either.get(f"/reports/{sha(cuda_xml)}/xml")
    assert stored.content == cuda_xml
    assert stored.headers["Content-Disposition"].startswith("attachment")
    assert (
        stored.headers["Repr-Digest"]
        == f"sha-256=:{base64.b64encode(hashlib.sha256(cuda_xml).digest()).decode()}:"
    )


def test_the_same_bytes_again_are_the_same_report(either, cuda_xml):
    first, second = either.post(cuda_xml), either.post(cuda_xml)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert len(either.get("/reports").json()["reports"]) == 1
    assert len(either.files()) == 1


def test_two_identical_uploads_at_once_are_one_report_and_both_are_acknowledged(either, cuda_xml):
    archive = either.service.archive
    spools = [Spool(archive.store.incoming) for _ in range(6)]
    for spool in spools:
        spool.write(cuda_xml)
    with ThreadPoolExecutor(len(spools)) as pool:
        kept = list(pool.map(lambda spool: archive.keep(spool, "ci"), spools))
    for spool in spools:
        spool.close()
    assert sorted(new for _, new in kept) == [False] * 5 + [True]
    assert {row.digest for row, _ in kept} == {sha(cuda_xml)}
    assert [path.name for path in either.files()] == [f"{sha(cuda_xml)}.xml"]
    assert either.files()[0].read_bytes() == cuda_xml


def test_a_file_that_was_lost_or_damaged_is_healed_by_the_same_upload(either, cuda_xml):
    path = either.service.archive.store.path(either.stored(cuda_xml))
    for damaged in (None, cuda_xml[:-1], cuda_xml[:-1] + b" "):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        assert either.post(cuda_xml).status_code == 200
        assert path.read_bytes() == cuda_xml


def test_an_upload_is_acknowledged_whatever_becomes_of_the_report_then(either, cuda_xml, monkeypatch):
    either.service.archive.store.path(either.stored(cuda_xml)).unlink()
    monkeypatch.setattr("reports.service.archive.writing", emptied_after)
    assert either.post(cuda_xml).status_code == 200


COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
FILTERS = {
    "": {"cuda", "rocm", "failed"},
    "?platform=rocm": {"rocm"},
    "?platform=interpreter": set(),
    f"?commit={COMMIT}": {"failed"},
    "?commit=0123456789abcdef0123456789abcdef01234567": {"cuda", "rocm"},
    "?verdict=FAILED": {"failed"},
    "?verdict=PASSED&platform=cuda": {"cuda"},
    "?since=2030-03-17T17:46:41Z": {"rocm", "failed"},
    "?until=2030-03-17T17:46:41Z": {"cuda"},
    "?since=2030-03-17T19:46:41%2B02:00&until=2030-03-17T17:46:42Z": {"rocm"},
    f"?source_digest={sha(b'other')}": {"failed"},
    f"?source_digest={sha(b'none')}": set(),
}


@pytest.fixture
def three(either, written):
    """A site with three reports, one a second, and which is which."""
    names = {}
    for name, draft in {
        "cuda": Draft("cuda"),
        "rocm": Draft("rocm"),
        "failed": Draft("cuda")
        .claim(commit=COMMIT, source__digest=sha(b"other"))
        .fail("layer/mixtral/float32/zipf"),
    }.items():
        names[either.stored(written(draft))] = name
        either.now += 1000
    return either, names


def test_reports_are_found_by_what_they_say(three):
    site, names = three
    for query, expected in FILTERS.items():
        listed = site.get(f"/reports{query}").json()["reports"]
        assert {names[entry["digest"]] for entry in listed} == expected, query


def test_lists_come_in_pages_the_newest_first(three):
    site, names = three
    seen, query = [], "?limit=2"
    while query:
        page = site.get(f"/reports{query}").json()
        seen += [names[entry["digest"]] for entry in page["reports"]]
        query = page["next"] and f"?limit=2&before={page['next']}"
    assert seen == ["failed", "rocm", "cuda"]


def test_a_removed_report_is_gone_with_all_that_rests_on_it(either, cuda_xml, gfx942_xml):
    left, right = either.stored(cuda_xml), either.stored(gfx942_xml)
    assert either.get(f"/parity/{left}/{right}/json").status_code == 200
    gone = either.client.delete(f"/reports/{left}", headers=either.authorization("admin"))
    assert gone.status_code == 204
    for path in (f"/reports/{left}", f"/reports/{left}/xml", f"/parity/{left}/{right}/json"):
        assert either.get(path).status_code == 404
    assert [path.stem for path in either.files()] == [right]
    assert either.client.delete(f"/reports/{left}", headers=either.authorization("admin")).status_code == 404
    assert either.post(cuda_xml).status_code == 201


def test_no_more_reports_are_kept_than_the_limit(make_site, cuda_xml, gfx942_xml):
    site = make_site(max_reports=1)
    site.stored(cuda_xml)
    refused = site.post(gfx942_xml)
    assert refused.status_code == 507
    assert "1 reports" in refused.json()["detail"]
    assert len(site.files()) == 1
    assert site.post(cuda_xml).status_code == 200


def test_a_body_that_was_damaged_on_the_way_is_refused(site, cuda_xml):
    right = base64.b64encode(hashlib.sha256(cuda_xml).digest()).decode()
    for header, status in (
        (f"sha-256=:{right}:", 201),
        (f"md5=:AAAA:, sha-256=:{right}:", 200),
        (f"sha-256=:{base64.b64encode(bytes(32)).decode()}:", 400),
        ("sha-256=:AAA:", 400),
    ):
        assert site.post(cuda_xml, **{"Content-Digest": header}).status_code == status, header


def test_a_report_whose_file_is_lost_is_not_given_and_that_is_told(site, cuda_xml):
    digest = site.stored(cuda_xml)
    site.service.archive.store.path(digest).unlink()
    answer = site.get(f"/reports/{digest}/xml")
    assert answer.status_code == 500
    assert "serve --check" in answer.json()["detail"]
