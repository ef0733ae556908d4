"""The verdict on any two reports, in four forms; computed once, newest first, never out of date."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from defusedxml.ElementTree import fromstring

import reports.service.parities as parities
from reports import compare, machine, markdown, read
from reports.document import policy
from reports.service.archive import name_of
from reports.service.recent import Recent

from ..build import Draft

FORMS = {
    "page": "text/html",
    "json": "application/json",
    "markdown": "text/markdown",
    "badge": "image/svg+xml",
}


@pytest.fixture
def stored(either, cuda_xml, gfx942_xml):
    """A site, and the digests of two reports in it."""
    return either, either.stored(cuda_xml), either.stored(gfx942_xml)


def test_the_verdict_is_that_of_the_command_line_in_every_form(stored, tmp_path, cuda_xml, gfx942_xml):
    site, left, right = stored
    files = []
    for digest, data in ((left, cuda_xml), (right, gfx942_xml)):
        files.append(tmp_path / name_of(site.service.archive.find(digest)))
        files[-1].write_bytes(data)
    expected = machine.as_dict(compare(*map(read, files)))
    answers = {form: site.get(f"/parity/{left}/{right}/{form}") for form in FORMS}
    for form, media in FORMS.items():
        assert answers[form].status_code == 200
        assert answers[form].headers["Content-Type"].startswith(media)
        assert answers[form].headers["X-Verdict"] == "PARITY"
    told = answers["json"].json()
    for side in expected["sides"]:
        side["path"] = side["path"].rpartition("/")[2]
    assert told == expected
    assert "<h1" in answers["page"].text
    assert "162 of 162" in answers["page"].text
    assert answers["markdown"].text.startswith("# PARITY")
    assert fromstring(answers["badge"].text).attrib["aria-label"] == "cuda ↔ gfx942: PARITY"
    assert "site0" not in "".join(answer.text for answer in answers.values()), "no path of the server is told"


def test_the_page_keeps_its_own_policy_and_everything_else_may_do_nothing(stored):
    site, left, right = stored
    page = site.get(f"/parity/{left}/{right}/page").headers["Content-Security-Policy"]
    assert page == f"{policy()}; frame-ancestors 'none'"
    for path in ("/reports", f"/reports/{left}/xml", f"/parity/{left}/{right}/json", "/nowhere"):
        headers = site.get(path).headers
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_each_side_keeps_its_place(stored):
    site, left, right = stored
    labels = [side["label"] for side in site.get(f"/parity/{right}/{left}/json").json()["sides"]]
    assert labels == ["gfx942", "cuda"]


def test_reports_that_disagree_are_divergent(site, cuda_xml, written):
    left = site.stored(cuda_xml)
    right = site.stored(written(Draft("rocm").fail("layer/mixtral/float32/zipf")))
    answer = site.get(f"/parity/{left}/{right}/badge")
    assert answer.headers["X-Verdict"] == "DIVERGENT"
    assert "#b0261c" in answer.text


def test_a_report_that_is_not_here_is_404(site, cuda_xml):
    left = site.stored(cuda_xml)
    answer = site.get(f"/parity/{left}/{'0' * 64}/json")
    assert answer.status_code == 404
    assert "000000000000…" in answer.json()["detail"]


def test_many_who_ask_at_once_have_it_computed_once(stored):
    site, left, right = stored
    ask = site.service.parities.rendering
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda form: ask(left, right, form), list(FORMS) * 4))
    assert len({each.data for each in found}) == len(FORMS)
    assert site.service.parities.computed == 1
    assert not site.service.parities._turns


def test_what_is_kept_is_used_again_and_not_across_versions_of_the_rules(stored, monkeypatch):
    site, left, right = stored
    site.get(f"/parity/{left}/{right}/json")
    site.get(f"/parity/{left}/{right}/page")
    assert site.service.parities.computed == 1
    monkeypatch.setattr(parities, "rules", lambda: "other")
    site.app.state.recent.clear()
    site.get(f"/parity/{left}/{right}/page")
    assert site.service.parities.computed == 2
    site.service.parities.forget_other_rules()
    monkeypatch.undo()
    site.app.state.recent.clear()
    site.get(f"/parity/{left}/{right}/page")
    assert site.service.parities.computed == 3


def test_what_was_asked_for_just_now_is_in_memory_for_some_seconds_and_within_bounds():
    now = [0.0]
    recent = Recent(5.0, 100, lambda: now[0])
    for key in "abc":
        recent.put(key, 40, key.upper())
    assert (recent.get("a"), recent.get("b"), recent.get("c"), recent.bytes) == (None, "B", "C", 80)
    recent.put("b", 10, "again")
    assert (recent.get("b"), recent.bytes) == ("again", 50)
    now[0] = 5.1
    assert recent.get("b") is None
    recent.put("b", 1000, "too large")
    assert (recent.get("b"), recent.bytes) == (None, 0)


def test_a_client_that_has_it_already_gets_nothing(stored):
    site, left, right = stored
    first = site.get(f"/parity/{left}/{right}/json")
    second = site.get(f"/parity/{left}/{right}/json", **{"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.content) == (304, b"")


def test_it_comes_compressed_only_to_who_takes_that(stored):
    site, left, right = stored
    path = f"/parity/{left}/{right}/json"
    plain = site.get(path, **{"Accept-Encoding": "identity"})
    packed = site.get(path, **{"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.content == packed.content
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])


def test_only_so_many_are_kept(make_site, written):
    site = make_site(max_parities=3)
    digests = [site.stored(written(Draft("cuda").claim(driver=f"driver {n}"))) for n in range(2)]
    for left in digests:
        for right in digests:
            site.now += 1
            assert site.get(f"/parity/{left}/{right}/badge").status_code == 200
    assert site.service.parities.computed == 4
    with site.service.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM parities").scalar() == 3


@pytest.mark.parametrize(("room", "most"), [("_room", parities.AT_ONCE), ("_waiting", parities.WAITING)])
def test_when_too_many_are_computed_or_waited_for_the_client_is_told_to_come_back(
    make_site, cuda_xml, gfx942_xml, room, most
):
    site = make_site(busy_seconds=0.05)
    left, right = site.stored(cuda_xml), site.stored(gfx942_xml)
    room: threading.BoundedSemaphore = getattr(site.service.parities, room)
    for _ in range(most):
        room.acquire()
    busy = site.get(f"/parity/{left}/{right}/json")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    room.release()
    assert site.get(f"/parity/{left}/{right}/json").status_code == 200


def test_a_stored_file_that_was_changed_gives_no_verdict(stored, cuda_xml):
    site, left, right = stored
    path = site.service.archive.store.path(left)
    for damaged in (cuda_xml.replace(b"2.13.0", b"2.13.1"), b"<testsuites/>"):
        path.write_bytes(damaged)
        answer = site.get(f"/parity/{left}/{right}/json")
        assert answer.status_code == 500
        assert "damaged" in answer.json()["detail"]
        assert str(path) not in answer.text


NEW, OLD = "b" * 40, "a" * 40


@pytest.fixture
def history(either, written):
    """Both platforms ran the old commit, one of them twice; only cuda ran the new one yet."""
    drafts = {
        "old cuda": Draft("cuda").claim(commit=OLD),
        "old gfx942": Draft("gfx942").claim(commit=OLD),
        "old gfx942 again": Draft("gfx942").claim(commit=OLD, driver="another"),
        "old smoke": Draft("rocm", "smoke").claim(commit=OLD),
        "new cuda": Draft("cuda").claim(commit=NEW, source__digest="c" * 64),
    }
    return either, {name: either.stored(written(draft)) for name, draft in drafts.items()}, written


def test_the_newest_verdict_is_on_the_last_sources_that_both_ran(history):
    site, digests, written = history
    path = "/newest/cuda/gfx942/json"
    found = site.get(path)
    assert (
        found.headers["Content-Location"]
        == f"/parity/{digests['old cuda']}/{digests['old gfx942 again']}/json"
    )
    assert [side["sha256"] for side in found.json()["sides"]] == [
        digests["old cuda"],
        digests["old gfx942 again"],
    ]
    new = site.stored(written(Draft("gfx942").claim(commit=NEW, source__digest="c" * 64)))
    assert site.get(path).headers["Content-Location"] == f"/parity/{digests['new cuda']}/{new}/json"
    of_old = site.get(f"{path}?commit={OLD}").headers["Content-Location"]
    assert of_old == f"/parity/{digests['old cuda']}/{digests['old gfx942 again']}/json"


def test_there_is_no_newest_verdict_of_what_only_one_ran(history):
    site, _, _ = history
    for query in (
        f"/newest/cuda/gfx942/json?commit={NEW}",
        "/newest/cuda/rocm/badge",
        "/newest/gfx950/rocm/json",
    ):
        assert site.get(query).status_code == 404, query
    assert site.get("/newest/cuda/cuda/json").status_code == 422


def test_a_commit_has_a_verdict_for_every_two_platforms_that_ran_it(history):
    site, digests, _ = history
    (entry,) = site.get(f"/newest?commit={OLD}").json()
    assert (entry["verdict"], entry["left"]["platform"], entry["right"]["platform"]) == (
        "PARITY",
        "cuda",
        "gfx942",
    )
    assert entry["right"]["digest"] == digests["old gfx942 again"]
    assert "agree on 162 of 162" in entry["headline"]
    assert site.get(entry["page"]).status_code == 200
    assert site.get(f"/newest?commit={NEW}").json() == []


def test_the_markdown_and_json_are_those_of_the_renderers(site, cuda_xml, gfx942_xml):
    left, right = site.stored(cuda_xml), site.stored(gfx942_xml)
    archive = site.service.archive
    result = compare(*(archive.load(archive.find(digest)) for digest in (left, right)))
    assert site.get(f"/parity/{left}/{right}/markdown").text == markdown.render(result)
    assert json.dumps(site.get(f"/parity/{left}/{right}/json").json()) == json.dumps(
        json.loads(machine.render(result))
    )
