"""Certificates: only what holds for two reports that are here is kept, and given back byte for byte."""

import base64
import hashlib
import json
import time
from contextlib import ExitStack

import pytest

from reports.certificate import attest, generate, load_signer
from reports.service.certificates import MAX_ENVELOPE, Certificates, load_keys
from reports.service.settings import SettingsError

from .conftest import Site, emptied_after

MEDIA = {"Content-Type": "application/vnd.dsse.envelope.v1+json"}


@pytest.fixture(scope="module")
def signed(tmp_path_factory, cuda_xml, gfx942_xml):
    """A folder with two key pairs, both reports, and the certificate of the first key."""
    folder = tmp_path_factory.mktemp("signed")
    for name in ("team", "foreign"):
        (folder / name).mkdir()
        generate(folder / name / name)
    (folder / "left.xml").write_bytes(cuda_xml)
    (folder / "right.xml").write_bytes(gfx942_xml)
    return folder


@pytest.fixture(scope="module")
def envelope(signed) -> bytes:
    return certificate(signed, "team")


def certificate(folder, name: str) -> bytes:
    signer = load_signer(folder / name / f"{name}.key")
    return attest(folder / "left.xml", folder / "right.xml", signer).envelope


def real_time(site) -> None:
    """The certificate was made now: so it is now for the service as well, and the tokens hold."""
    site.now = time.time_ns() // 1_000_000
    with site.service.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tokens SET expires = 9000000000000")


def sent(site, envelope: bytes):
    return site.post(envelope, "write", "/certificates", **MEDIA)


@pytest.fixture
def trusting(make_site, signed, cuda_xml, gfx942_xml):
    """A site that trusts the team's key and has both reports."""
    site = make_site(trusted_keys=str(signed / "team"))
    real_time(site)
    site.stored(cuda_xml), site.stored(gfx942_xml)
    return site


def test_a_certificate_is_verified_kept_listed_and_given_back(either, signed, envelope, cuda_xml, gfx942_xml):
    real_time(either)
    left, right = either.stored(cuda_xml), either.stored(gfx942_xml)
    first = sent(either, envelope)
    assert (first.status_code, sent(either, envelope).status_code) == (201, 200)
    told = first.json()
    assert told["digest"] == hashlib.sha256(envelope).hexdigest()
    assert (told["left"], told["right"], told["uploaded_by"]) == (left, right, "write")
    assert told["verified_by"] is None, "no keys are trusted here, so nobody can say who signed"
    given = either.get(first.headers["Location"])
    assert given.content == envelope
    assert given.headers["Content-Type"] == MEDIA["Content-Type"]
    for query, count in (
        (f"?left={left}&right={right}", 1),
        (f"?left={right}", 0),
        ("", 1),
        ("?before=1", 0),
    ):
        assert len(either.get(f"/certificates{query}").json()["certificates"]) == count, query


def test_the_trusted_key_that_signed_is_named(trusting, envelope):
    assert sent(trusting, envelope).json()["verified_by"] == "team"


def test_a_foreign_key_is_refused_where_keys_are_trusted(trusting, signed):
    answer = sent(trusting, certificate(signed, "foreign"))
    assert answer.status_code == 422
    assert "foreign key" in answer.json()["detail"]
    assert trusting.get("/certificates").json()["certificates"] == []


def test_both_reports_must_be_here(make_site, envelope, cuda_xml):
    site = make_site()
    real_time(site)
    site.stored(cuda_xml)
    answer = sent(site, envelope)
    assert answer.status_code == 422
    assert "upload both reports first" in answer.json()["detail"]


def edited(envelope: bytes, **fields) -> bytes:
    return json.dumps(json.loads(envelope) | fields).encode()


def restated(envelope: bytes, change) -> bytes:
    """The certificate with its statement changed."""
    outer = json.loads(envelope)
    statement = json.loads(base64.b64decode(outer["payload"]))
    change(statement)
    outer["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(outer).encode()


SPOILT = {
    "nothing": lambda e: b"",
    "no JSON": lambda e: b"{",
    "a list": lambda e: b"[]",
    "deeply nested": lambda e: b"[" * 100_000,
    "a number beyond counting": lambda e: b"9" * 100_000,
    "no UTF-8": lambda e: b'"\xff"',
    "a key twice": lambda e: e.replace(b"{", b'{"payloadType":"x",', 1),
    "another type": lambda e: edited(e, payloadType="application/json"),
    "no signature": lambda e: edited(e, signatures=[]),
    "a payload that is no base64": lambda e: edited(e, payload="%%%"),
    "a payload that is no JSON": lambda e: edited(e, payload=base64.b64encode(b"x").decode()),
    "another statement type": lambda e: restated(e, lambda s: s.update(_type="x")),
    "no predicate": lambda e: restated(e, lambda s: s.pop("predicate")),
    "another result": lambda e: restated(e, lambda s: s["predicate"].update(result="WARNED")),
    "another report": lambda e: restated(e, lambda s: swap_digest(s)),
    "a script": lambda e: restated(e, lambda s: s["predicate"].update(url="javascript:alert(1)")),
}


def swap_digest(statement: dict) -> None:
    for resource in statement["predicate"]["configuration"]:
        if resource["name"] == "left.xml":
            resource["digest"]["sha256"] = "0" * 64


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("trusts", [True, False])
def test_a_certificate_that_does_not_hold_is_refused(shared_pair, kind, trusts, envelope):
    site = shared_pair[trusts]
    answer = sent(site, SPOILT[kind](envelope))
    assert answer.status_code == 422
    assert 0 < len(answer.json()["detail"]) <= 300
    assert str(site.settings.data) not in answer.text
    assert site.get("/certificates").json()["certificates"] == []


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory, signed, cuda_xml, gfx942_xml):
    """Sites with both reports: by whether they trust a key."""
    with ExitStack() as opened:
        sites = {}
        for trusts in (True, False):
            keys = str(signed / "team") if trusts else ""
            site = Site(tmp_path_factory.mktemp("shared"), trusted_keys=keys)
            opened.enter_context(site.client)
            real_time(site)
            site.stored(cuda_xml), site.stored(gfx942_xml)
            sites[trusts] = site
        yield sites


def test_a_certificate_that_is_too_large_is_refused_while_it_arrives(trusting):
    answer = sent(trusting, b" " * (MAX_ENVELOPE + 1))
    assert answer.status_code == 413


def test_another_content_type_is_refused(trusting, envelope):
    assert trusting.post(envelope, "write", "/certificates").status_code == 415


def test_no_more_certificates_are_kept_than_the_limit(make_site, signed, envelope, cuda_xml, gfx942_xml):
    site = make_site(max_certificates=1)
    real_time(site)
    site.stored(cuda_xml), site.stored(gfx942_xml)
    assert sent(site, envelope).status_code == 201
    assert sent(site, certificate(signed, "foreign")).status_code == 507


def test_a_report_that_is_removed_meanwhile_gets_no_certificate(trusting, envelope, monkeypatch, cuda_xml):
    left = hashlib.sha256(cuda_xml).hexdigest()
    certificates = trusting.service.certificates
    real = type(certificates)._verified

    def verified(self, envelope):
        found = real(self, envelope)
        trusting.service.archive.remove(left)
        return found

    monkeypatch.setattr(type(certificates), "_verified", verified)
    answer = sent(trusting, envelope)
    assert answer.status_code == 422
    assert "removed just now" in answer.json()["detail"]


def test_a_certificate_is_acknowledged_whatever_becomes_of_its_reports_then(trusting, envelope, monkeypatch):
    monkeypatch.setattr("reports.service.certificates.writing", emptied_after)
    assert sent(trusting, envelope).status_code == 201


def test_a_certificate_is_verified_in_the_room_that_uploads_share(trusting, envelope, monkeypatch):
    real, taken = Certificates.keep, []

    def keep(*arguments):
        taken.append(trusting.app.state.reading.borrowed_tokens)
        return real(*arguments)

    monkeypatch.setattr(Certificates, "keep", keep)
    assert sent(trusting, envelope).status_code == 201
    assert taken == [1]


def test_keys_that_cannot_be_read_stop_the_start(tmp_path, signed):
    assert load_keys("") == {}
    assert list(load_keys(str(signed / "team"))) == ["team"]
    with pytest.raises(SettingsError, match=r"there is no NAME\.pub"):
        load_keys(str(tmp_path))
    (tmp_path / "bad.pub").write_text("x")
    with pytest.raises(SettingsError, match="is no public key"):
        load_keys(str(tmp_path))
