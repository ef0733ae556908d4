"""A certificate is refused for every way of spoiling it or what it is verified against, with the reason."""

import base64
import datetime
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.certificate import Refused, load_public, verifying
from reports.certificate.jsontext import canonical

from ..build import Draft
from .scene import LAYER, SOURCES, Scene, wheel_of, write_power

Spoil = Callable[[Scene], Any]


def _swap(scene: Scene) -> None:
    scene.left, scene.right = scene.right, scene.left


def _append(path: Path, text: str = "\n") -> None:
    path.write_bytes(path.read_bytes() + text.encode())


def _payload(scene: Scene) -> str:
    return json.loads(scene.envelope)["payload"]


def _other_payload(scene: Scene) -> None:
    payload = base64.b64decode(_payload(scene)).replace(b'"PASSED"', b'"FAILED"')
    scene.edit(payload=base64.b64encode(payload).decode())


def _flipped_signature(scene: Scene) -> None:
    raw = bytearray(base64.b64decode(json.loads(scene.envelope)["signatures"][0]["sig"]))
    raw[0] ^= 1
    scene.edit_signature(sig=base64.b64encode(raw).decode())


def _sign_as(scene: Scene) -> None:
    """A foreign signature under the trusted key's name."""
    scene.sign(canonical(scene.statement), scene.foreign)
    scene.edit_signature(keyid=scene.keys[0].keyid)


def _foreign_key(scene: Scene) -> None:
    scene.keys = [load_public(scene.folder / "foreign.pub")]


def _doubled(scene: Scene) -> None:
    (signature,) = json.loads(scene.envelope)["signatures"]
    scene.edit(signatures=[signature, signature])


def _twice(scene: Scene) -> None:
    scene.envelope = scene.envelope.replace(b'"payloadType"', b'"payloadType": "text/plain", "payloadType"')


def _moved_sketch(draft: Draft) -> None:
    entries = draft.sketch(LAYER)
    entries[1]["v"][0] += 1000.0
    draft.put_sketch(LAYER, entries)


def _same_file(scene: Scene) -> None:
    scene.right.write_bytes(scene.left.read_bytes())
    scene.name_right()


def _no_report(scene: Scene) -> None:
    scene.right.write_text("<testsuites/>")
    scene.name_right()


def _stale_file(scene: Scene) -> None:
    _append(scene.against.tree / "tritonmoe" / "layer.py")


def _new_source(scene: Scene) -> None:
    (scene.against.tree / "conformance" / "extra.json").write_text("{}")


def _lost_source(scene: Scene) -> None:
    (scene.against.tree / "conformance" / "test_matrix.py").unlink()


def _other_wheel(scene: Scene) -> None:
    scene.against.wheel.write_bytes(wheel_of({}))


def _other_power(scene: Scene) -> None:
    write_power(scene.against.power, None)


def _with_waivers(scene: Scene) -> None:
    scene.against = replace(scene.against, waivers=scene.folder / "waivers.toml")


def _wheel_of_others(scene: Scene) -> None:
    """Certified by a signer who does not look inside."""
    path = scene.against.wheel
    path.write_bytes(wheel_of({**SOURCES, "tritonmoe/layer.py": b"other"}))
    digest = {"sha256": _sha(path)}
    scene.say(lambda statement: statement["subject"][1].update(digest=digest))


def _other_counts(scene: Scene) -> None:
    counts = {"faults": 3, "killed": 3, "equivalent": 0, "survived": 0}
    scene.say(lambda statement: _annotations(scene, statement, "power.json").update(operators=counts))


def _power_of_others(scene: Scene) -> None:
    write_power(scene.against.power, "0" * 64)
    digest = {"sha256": _sha(scene.against.power)}
    scene.say(lambda statement: scene.resource(statement, "power.json").update(digest=digest))


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _annotations(scene: Scene, statement: dict, name: str) -> dict[str, Any]:
    return scene.resource(statement, name)["annotations"]


def _annotate(name: str, **values: Any) -> Spoil:
    return lambda scene: scene.say(lambda told: _annotations(scene, told, name).update(values))


def _put(**values: Any) -> Spoil:
    return lambda scene: scene.say(lambda told: told.update(values))


def _predicate(**values: Any) -> Spoil:
    return lambda scene: scene.say(lambda told: told["predicate"].update(values))


def _resource(name: str, **values: Any) -> Spoil:
    return lambda scene: scene.say(lambda told: scene.resource(told, name).update(values))


def _without(name: str) -> Spoil:
    def spoil(scene: Scene) -> None:
        def drop(told: dict) -> None:
            told["predicate"]["configuration"].remove(scene.resource(told, name))

        scene.say(drop)

    return spoil


def _subject(change: Callable[[list], Any]) -> Spoil:
    return lambda scene: scene.say(lambda told: change(told["subject"]))


def _right(change: Callable[[Draft], Any]) -> Spoil:
    return lambda scene: scene.spoil_right(change)


def _no_failed_tests(told: dict[str, Any]) -> None:
    del told["predicate"]["failedTests"]


def _named(index: int, name: str) -> Callable[[list], Any]:
    return lambda given: given[index].update(name=name)


def _digest_of(index: int, sha256: str | None) -> Callable[[list], Any]:
    return lambda given: given[index].update(digest={"sha256": sha256})


def _longer_waivers(scene: Scene) -> None:
    content = (scene.folder / "waivers.toml").read_bytes().replace(b"2026-04-30", b"2029-04-30")
    _resource("waivers.toml", content=base64.b64encode(content).decode())(scene)


def _later(scene: Scene) -> None:
    scene.now += datetime.timedelta(days=90)


def _unwaived(scene: Scene) -> None:
    scene.against = replace(scene.against, waivers=None)
    _without("waivers.toml")(scene)


FOREIGN, BROKEN = "a foreign key", "the signature is not that of key"
LEFT, RIGHT = (f"the {side} report is not the file that was certified" for side in ("left", "right"))
DIVERGENT = f"the reports give DIVERGENT, and only PARITY is certified: {LAYER}: "
FEW = {"faults": 9, "killed": 1, "equivalent": 0, "survived": 0}
ENVELOPE: list[tuple[str, Spoil, str]] = [
    ("another payload", _other_payload, BROKEN),
    ("another payload type", lambda s: s.edit(payloadType="text/plain"), 'payloadType is "text/plain"'),
    ("no payload type", lambda s: s.edit(payloadType=None), "no field 'payloadType'"),
    ("no payload", lambda s: s.edit(payload=None), "no field 'payload'"),
    ("a payload that is no text", lambda s: s.edit(payload=7), "payload is 7; expected base64"),
    ("a payload with a newline", lambda s: s.edit(payload=_payload(s) + "\n"), "not in standard base64"),
    ("an unknown field", lambda s: s.edit(expires="never"), 'an unknown field "expires"'),
    ("a field twice", _twice, "has the key 'payloadType' twice"),
    ("no signatures", lambda s: s.edit(signatures=None), "no field 'signatures'"),
    ("an empty list of signatures", lambda s: s.edit(signatures=[]), "expected a list of exactly one"),
    ("two signatures", _doubled, "signatures is a list of 2; expected a list of exactly one"),
    ("a signature that is none", lambda s: s.edit(signatures=["x"]), 'the signature is "x"; expected an'),
    ("a field beside the signature", lambda s: s.edit_signature(cert="x"), 'unknown field "cert"'),
    ("another signature", _flipped_signature, BROKEN),
    ("a signature cut short", lambda s: s.edit_signature(sig="AAAA"), "sig is 3 bytes; expected"),
    ("a signature not in base64", lambda s: s.edit_signature(sig="%"), "sig is not in standard base64"),
    ("another key id", lambda s: s.edit_signature(keyid="0" * 64), FOREIGN),
    ("a key id that is none", lambda s: s.edit_signature(keyid=None), "keyid is null; expected"),
    ("signed by a foreign key", lambda s: s.sign(canonical(s.statement), s.foreign), FOREIGN),
    ("signed by a foreign key under our name", _sign_as, BROKEN),
    ("verified with a foreign key", _foreign_key, FOREIGN),
    ("verified with no key", lambda s: s.keys.clear(), "none of those given (none)"),
]
REPORTS: list[tuple[str, Spoil, str]] = [
    ("left changed by a byte", lambda s: _append(s.left), LEFT),
    ("right changed by a byte", lambda s: _append(s.right), RIGHT),
    ("sides swapped", _swap, "the two reports are swapped"),
    ("a case dropped", _right(lambda d: d.without(LAYER)), f"is certified: {LAYER}: missing from gfx942"),
    ("a case skipped", _right(lambda d: d.put(LAYER, _status="skipped")), "the reports give INCOMPLETE"),
    ("a case failed", _right(lambda d: d.fail(LAYER)), DIVERGENT),
    ("outputs apart", _right(_moved_sketch), DIVERGENT),
    ("a check failed", _right(lambda d: d.check("t", "failed")), "is certified: check conformance.test_more"),
    ("other inputs", _right(lambda d: d.put(LAYER, inputs__digest="1" * 64)), "ran on other inputs"),
    ("other sources", _right(lambda d: d.claim(source__digest="1" * 64)), "not the same sources"),
    ("another corpus", _right(lambda d: d.claim(corpus__digest="1" * 64)), "not the same corpus"),
    ("another profile", _right(lambda d: d.claim(profile="smoke")), "the profiles differ"),
    ("another sound report", _right(lambda d: d.put(LAYER, near_ties="9")), "[matrix].annotations.nearTies"),
    ("one report twice", _same_file, "the same file, byte for byte"),
    ("no report", _no_report, "what was certified is no report"),
]
STATEMENT: list[tuple[str, Spoil, str]] = [
    ("another statement type", _put(_type="https://in-toto.io/Statement/v0.1"), "_type is "),
    ("another predicate type", _put(predicateType="https://slsa.dev/provenance/v1"), "predicateType is "),
    ("no predicate", _put(predicate=[]), "predicate is a list of 0; expected an object"),
    ("no failed tests", lambda s: s.say(_no_failed_tests), "predicate.failedTests is missing"),
    ("a result FAILED", _predicate(result="FAILED"), 'predicate.result is "FAILED"; expected "PASSED"'),
    ("a result WARNED", _predicate(result="WARNED"), 'predicate.result is "WARNED"; expected "PASSED"'),
    ("no passed test", _predicate(passedTests=[]), "passedTests has 0 entries; expected 162"),
    ("passed tests that are no list", _predicate(passedTests="all"), 'passedTests is "all"; expected a list'),
    ("a failed test", _predicate(failedTests=[LAYER]), "failedTests has 1 entries; expected 0"),
    ("a warned test", _predicate(warnedTests=[LAYER]), "warnedTests has 1 entries; expected 0"),
    ("an unknown field", _put(expires="never"), "reports: expires is no field of it"),
    ("an unknown field deep inside", _annotate("matrix", more=3), "[matrix].annotations.more is no field"),
    ("a link that is a script", _predicate(url="javascript:alert(1)"), "predicate.url is "),
    ("other sources", _subject(_digest_of(0, "0" * 64)), "subject[tritonmoe-sources].digest.sha256 is "),
    ("no sources", _subject(lambda given: given.pop(0)), "expected tritonmoe-sources and at most one wheel"),
    ("a third subject", _subject(lambda given: given.append({"name": "x"})), "and at most one wheel"),
    ("two subjects of a name", _subject(lambda given: given.append(given[0])), "each of them once"),
    ("a subject of another name", _subject(_named(1, "torch-2.9.whl")), "nor a wheel of tritonmoe"),
    ("a wheel without a digest", _subject(_digest_of(1, None)), "the digest of the wheel is null"),
    ("another wheel", _subject(_digest_of(1, "0" * 64)), "the wheel is not the file that was certified"),
    ("subjects that are none", _put(subject="all"), 'subject is "all"; expected a list'),
    ("another left report", _resource("left.xml", digest={"sha256": "0" * 64}), LEFT),
    ("another right report", _resource("right.xml", digest={"sha256": "0" * 64}), RIGHT),
    ("a digest that is none", _resource("left.xml", digest="abc"), "the digest of left.xml is null"),
    ("no left report", _without("left.xml"), "no resource 'left.xml'"),
    ("no environment", _without("right.environment"), "[right.environment].name is "),
    ("another corpus", _resource("corpus.json", digest={"sha256": "0" * 64}), "[corpus.json].digest.sha256"),
    ("hardware for emulated", _annotate("right.environment", evidence="hardware"), "annotations.evidence"),
    ("a smaller matrix", _annotate("matrix", required=1), "[matrix].annotations.required is 1; expected 162"),
    ("a number of another type", _annotate("matrix", required=162.0), "required is 162.0; expected 162"),
    ("nearer outputs", _annotate("matrix", farthestDistance=0.0), "[matrix].annotations.farthestDistance"),
    ("no time", _annotate("matrix", made=None), "the time it was made is null"),
    ("a time in another form", _annotate("matrix", made="2026-3-1T12:00:00Z"), "the time it was made is "),
    ("no annotations", _resource("matrix", annotations="none"), "the time it was made is null"),
    ("made in the future", _annotate("matrix", made="2026-03-09T12:00:00Z"), "made in the future, "),
    ("counts that do not add up", _annotate("power.json", named=FEW), "do not add up to 9"),
    ("counts of true", _annotate("power.json", named={"faults": True}), "named in power.json are an object"),
    ("no counts", _annotate("power.json", named=0), "the counts of named in power.json are 0"),
    ("configuration that is none", _predicate(configuration=[1]), "predicate.configuration is a list of 1"),
    ("spaces", lambda s: s.sign(json.dumps(s.statement).encode()), "not in its canonical form"),
    ("a key twice", lambda s: s.sign(b'{"_type":1,"_type":2}'), "the statement has the key '_type' twice"),
    ("NaN", lambda s: s.sign(b'{"_type":NaN}'), "the statement holds NaN"),
    ("no JSON", lambda s: s.sign(b"{"), "the statement is no JSON"),
    ("too deep", lambda s: s.sign(b"[" * 100_000), "the statement is no JSON"),
    ("no object", lambda s: s.sign(b"7"), "the statement is 7; expected an object"),
]
FILES: list[tuple[str, Spoil, str]] = [
    ("a changed source", _stale_file, "stale: the sources in "),
    ("a new source", _new_source, "stale: the sources in "),
    ("a lost source", _lost_source, "stale: the sources in "),
    ("another wheel", _other_wheel, "the wheel is not the file that was certified"),
    ("a certified wheel of other sources", _wheel_of_others, "holds other sources than the reports are of"),
    (
        "a wheel of another name",
        _subject(_named(1, "tritonmoe-9.9.9-py3-none-any.whl")),
        "is called tritonmoe-9.9.9",
    ),
    ("no wheel certified", _subject(lambda given: given.pop()), "says nothing of the wheel"),
    ("another power file", _other_power, "the power file is not the file that was certified"),
    ("better counts than the file's", _other_counts, "the counts of faults in the certificate are not those"),
    ("a power file of other sources", _power_of_others, "power was measured on other sources: 00000000"),
    ("no power certified", _without("power.json"), "says nothing of the power file"),
    ("waivers not certified", _with_waivers, "says nothing of the waivers file"),
]
WAIVED: list[tuple[str, Spoil, str]] = [
    ("an expired waiver", _later, f"a waiver that it needs expired on 2026-04-30: {LAYER} on gfx942"),
    ("a changed waiver file", lambda s: _append(s.against.waivers), "the waivers file is not the file"),
    ("the waivers left out", _unwaived, DIVERGENT),
    ("a longer waiver", _longer_waivers, "[waivers.toml].digest.sha256 is "),
    ("waivers that are none", _resource("waivers.toml", content="AAAA"), "the content of waivers.toml"),
    ("waivers not in base64", _resource("waivers.toml", content=7), "waivers.toml is 7; expected base64"),
    ("a result PASSED", _predicate(result="PASSED"), 'predicate.result is "PASSED"; expected "WARNED"'),
]
TABLE = [(False, *row) for row in ENVELOPE + REPORTS + STATEMENT + FILES] + [(True, *row) for row in WAIVED]


@pytest.mark.parametrize(("waived", "what", "spoil", "reason"), TABLE, ids=[row[1] for row in TABLE])
def test_what_was_tampered_with_is_refused_with_the_reason(copy_of, waived, what, spoil, reason: str):
    scene = copy_of(waived)
    spoil(scene)
    with pytest.raises(Refused) as refusal:
        scene.verify()
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("waived", [False, True])
def test_the_same_scene_untouched_is_verified(copy_of, waived: bool):
    found = copy_of(waived).verify()
    assert found.parity.verdict == "PARITY"
    assert found.result == ("WARNED" if waived else "PASSED")
    assert len(found.checked) == (4 if waived else 3)


def test_a_report_that_changes_while_it_is_verified_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    read = verifying.read

    def late(path: Path) -> Any:
        _append(path)
        return read(path)

    monkeypatch.setattr(verifying, "read", late)
    with pytest.raises(Refused, match="a report was changed while it was being verified"):
        scene.verify()


def test_no_value_of_a_statement_can_be_changed_whoever_signs(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """One value at a time, into another form. Signed with the trusted key it does not follow from the reports
    and files; the one exception is the link, which is the signer's own, as is the time in its form. Signed
    with a foreign key it is refused for that.
    """
    cached = {path: verifying.read(path) for path in (scene.left, scene.right)}
    parity = scene.verify().parity
    monkeypatch.setattr(verifying, "read", cached.__getitem__)
    monkeypatch.setattr(verifying, "judge", lambda *_: parity)
    original, places = scene.envelope, list(_places(scene.statement))
    assert len(places) > 250
    believed = []
    for place in places:
        scene.envelope = original
        scene.say(lambda told, place=place: _change(told, place), scene.foreign)
        assert FOREIGN in _refusal(scene)
        scene.envelope = original
        scene.say(lambda told, place=place: _change(told, place))
        if not _refusal(scene):
            believed.append(place)
    assert believed == [("predicate", "url")]


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths to all values that are no containers, and to empty lists."""
    if isinstance(value, (dict, list)) and value:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(each, (*path, key))
    else:
        yield path


def _change(statement: Any, place: tuple) -> None:
    *parents, last = place
    for key in parents:
        statement = statement[key]
    value = statement[last]
    statement[last] = value + {str: "x", int: 1, float: 1.0, list: ["x"]}[type(value)]


def _refusal(scene: Scene) -> str:
    """The reason; "" if it is verified."""
    try:
        scene.verify()
    except Refused as refusal:
        return str(refusal)
    return ""
