"""What is read, and what is refused with one clear line."""

import json
import math
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import ReportError, read, untrusted
from reports.matrix import REQUIRED

from .build import Draft, sha

LAYER, INTEGER = "layer/mixtral/float32/zipf", "permute/mixtral/float32/zipf"
SUITE = '<testsuites><testsuite name="tritonmoe.conformance">'


def refusal(path: Path) -> str:
    with pytest.raises(ReportError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()  # one line, nothing that a terminal obeys
    assert path.name[:20] in message
    return message


def test_a_sound_report_is_read_whole(readback):
    draft = Draft("cuda").fail(LAYER).check("test_other", "skipped", "no GPU")
    report = readback(draft)
    assert report.environment.platform == "cuda"
    assert report.environment.device_arch == "sm90"
    assert list(report.cases) == list(REQUIRED)
    case = report.cases[LAYER]
    assert (case.status, case.message) == ("failed", "y[12, 45] outside its bound")
    assert (case.measured.examples, case.measured.error_worst, len(case.measured.sketch)) == (3, 3.5, 3)
    assert case.measured.inputs_digest == sha(f"inputs {LAYER}")
    assert case.replay.startswith("pytest conformance --case layer/")
    assert report.cases[INTEGER].measured.sketch[0].values == ()
    assert [check.status for check in report.checks if check.name.endswith("test_other")] == ["skipped"]
    assert len(report.checks) == 7


def test_the_order_of_testcases_does_not_matter(readback):
    draft = Draft("cuda")
    reversed_ = draft.copy()
    reversed_.cases = dict(reversed(draft.cases.items()))
    assert readback(reversed_).cases == readback(draft).cases


def test_a_failure_may_say_inf_and_nan_and_have_no_sketch(readback):
    draft = Draft("cuda").fail(LAYER, worst="nan").put_sketch(LAYER, [{"v": [], "b": []}] * 3)
    assert math.isnan(readback(draft).cases[LAYER].measured.error_worst)
    nan = [{"v": [math.nan] * 8, "b": [math.inf] * 8}] * 3
    assert math.isnan(readback(draft.put_sketch(LAYER, nan)).cases[LAYER].measured.sketch[0].values[0])


def test_a_case_that_crashed_has_measured_nothing(readback):
    draft = Draft("cuda")
    draft.cases[LAYER] = {"!status": "failed", "!message": "CUDA error"}
    assert readback(draft).cases[LAYER].measured is None


def bomb(levels: int = 9) -> bytes:
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(levels))
    return f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><testsuites>&e{levels};</testsuites>'.encode()


def quadratic() -> bytes:
    return f'<!DOCTYPE x [<!ENTITY e "{"ha" * 50_000}">]><testsuites>{"&e;" * 50_000}</testsuites>'.encode()


EXTERNAL = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><testsuites>&e;</testsuites>'
EXTERNAL_DTD = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><testsuites/>'
PARAMETER = b'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><testsuites/>'
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256))
MANY = 300_000

HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "PNG": (PNG, "not well-formed XML"),
    "zeros": (bytes(1000), "not well-formed XML"),
    "text": (b"PARITY", "not well-formed XML"),
    "JSON": (b'{"verdict": "PARITY"}', "not well-formed XML"),
    "half a tag": (b"<testsuites", "truncated"),
    "billion laughs": (bomb(), "document type or entities"),
    "quadratic blowup": (quadratic(), "document type or entities"),
    "external entity": (EXTERNAL, "document type or entities"),
    "external DTD": (EXTERNAL_DTD, "document type or entities"),
    "parameter entity": (PARAMETER, "document type or entities"),
    "undefined entity": (b"<testsuites>&e;</testsuites>", "not well-formed XML"),
    "deep nesting": (b"<a>" * 200_000 + b"</a>" * 200_000, "more than 12 levels"),
    "deep nesting cut off": (b"<a>" * 200_000, "more than 12 levels"),
    "many elements": (b"<testsuites>" + b"<a/>" * MANY + b"</testsuites>", "more than 200,000 elements"),
    "many testcases": (f"{SUITE}{'<testcase/>' * 6_000}".encode(), "more than 5,000 testcases"),
    "many properties": (
        f"{SUITE}<testcase><properties>{'<property/>' * 70}".encode(),
        "more than 64 properties",
    ),
    "many attributes": (
        b"<testsuites " + b" ".join(b'a%d=""' % n for n in range(100)) + b"/>",
        "more than 32 attributes",
    ),
    "endless tag": (b"<testsuites " + b" ".join(b'a%d=""' % n for n in range(2_000_000)), "bytes in one tag"),
    "long attribute": (b'<testsuites a="' + b"x" * 2**21 + b'"/>', "more than 1,048,576 characters"),
    "long text": (b"<testsuites>" + b"x\n" * 2**20 + b"</testsuites>", "more than 1,048,576 characters"),
    "long comment": (b"<testsuites><!--" + b"x" * 2**23 + b"--></testsuites>", "bytes in one tag or comment"),
    "unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><testsuites/>', "XML"),
    "bytes that are no UTF-8": (b"<testsuites>\xff\xfe\xfa</testsuites>", "not well-formed XML"),
    "HTML": (b"<html><body>404</body></html>", "the root element is 'html'"),
    "no suite": (b"<testsuites/>", "its testsuites are none"),
    "another project": (
        b'<testsuites><testsuite name="pytest"><testcase name="x" classname="t"/></testsuite></testsuites>',
        "its testsuites are 'pytest'",
    ),
    "two suites": (
        f"{SUITE}</testsuite>{SUITE[12:]}</testsuite></testsuites>".encode(),
        "expected exactly one",
    ),
    "nested suites": (
        f"{SUITE}{SUITE[12:]}</testsuite></testsuite></testsuites>".encode(),
        "testsuite inside",
    ),
    "no properties": (f"{SUITE}</testsuite></testsuites>".encode(), "contract.version is missing"),
    "terminal escapes": (
        '<testsuites><testsuite name="\u009b31m\u202ex"/></testsuites>'.encode(),
        "\\x9b31m",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_at_once_and_in_little_memory(kind: str, tmp_path: Path):
    content, expected = HOSTILE[kind]
    path = tmp_path / "hostile.xml"
    path.write_bytes(content)
    tracemalloc.start()
    began = time.process_time()
    try:
        assert expected in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 10


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path):
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.truncate(untrusted.MAX_BYTES + 1)
    assert "larger than 67,108,864 bytes" in refusal(path)


def test_what_is_no_file_is_refused(tmp_path: Path):
    assert "is a directory" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "missing.xml")
    os.mkfifo(tmp_path / "pipe.xml")
    assert "no regular file" in refusal(tmp_path / "pipe.xml")
    with pytest.raises(ReportError, match="cannot be read"):
        read("a\0b")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_report_is_refused(kept: float, tmp_path: Path):
    path = Draft("cuda").write(tmp_path / "cut.xml")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "truncated" in refusal(path)


def sketch_entry(change: Callable[[list], object]) -> Callable[[Draft], object]:
    """A spoiler that changes the layer case's sketch."""

    def spoil(draft: Draft) -> None:
        entries = draft.sketch(LAYER)
        draft.put_sketch(LAYER, change(entries) or entries)

    return spoil


def drop_property(name: str) -> Callable[[Draft], object]:
    return lambda draft: draft.suite.pop(name)


CONTRADICTIONS: dict[str, tuple[Callable[[Draft], object], str]] = {
    "hardware claimed for the interpreter": (
        lambda d: d.claim(platform="interpreter", evidence="hardware"),
        "evidence of platform interpreter is 'hardware'; expected 'interpreted'",
    ),
    "hardware claimed for an emulator": (lambda d: d.claim(platform="gfx942"), "expected 'emulated'"),
    "unknown platform": (lambda d: d.claim(platform="metal"), "platform is 'metal'"),
    "unknown evidence": (lambda d: d.claim(evidence="sworn"), "evidence is 'sworn'"),
    "unknown profile": (lambda d: d.claim(profile="quick"), "profile is 'quick'"),
    "another contract": (lambda d: d.claim(contract__version="2"), "contract.version is '2'"),
    "another matrix": (lambda d: d.claim(matrix__version="2"), "matrix.version is '2'"),
    "digest not hexadecimal": (lambda d: d.claim(source__digest="z" * 64), "64 hexadecimal digits"),
    "digest too short": (lambda d: d.claim(corpus__digest="ab"), "64 hexadecimal digits"),
    "commit no hash": (lambda d: d.claim(commit="HEAD"), "commit is 'HEAD'"),
    "no architecture": (lambda d: d.claim(device__arch=""), "device.arch is ''"),
    "another suite": (lambda d: setattr(d, "name", "pytest"), "its testsuites are 'pytest'"),
    "unknown case": (lambda d: d.cases.update({"layer/gpt/float32/zipf": {}}), "is no case of the matrix"),
    "a passed case without figures": (lambda d: d.cases.update({LAYER: {}}), "has no property 'examples'"),
    "no sketch": (lambda d: d.cases[LAYER].pop("sketch"), "has no property 'sketch'"),
    "examples not a number": (lambda d: d.put(LAYER, examples="three"), "examples of case"),
    "examples not whole": (lambda d: d.put(LAYER, examples="3.0"), "whole number"),
    "examples negative": (lambda d: d.put(LAYER, examples="-3"), "whole number"),
    "examples in other digits": (lambda d: d.put(LAYER, examples="٣"), "whole number"),
    "examples beyond counting": (lambda d: d.put(LAYER, examples="9" * 5000), "whole number"),
    "error not a number": (lambda d: d.put(LAYER, error__worst="small"), "error.worst of case"),
    "error above its bound, passed": (lambda d: d.put(LAYER, error__worst="1.0000001"), "contradicts itself"),
    "error nan, passed": (lambda d: d.put(LAYER, error__worst="nan"), "contradicts itself"),
    "error inf, passed": (lambda d: d.put(LAYER, error__worst="inf"), "contradicts itself"),
    "error negative, passed": (lambda d: d.put(LAYER, error__worst="-0.1"), "contradicts itself"),
    "noise not finite, passed": (lambda d: d.put(LAYER, noise__ratio="inf"), "contradicts itself"),
    "inputs digest not hexadecimal": (lambda d: d.put(LAYER, inputs__digest="x"), "64 hexadecimal digits"),
    "sketch no JSON": (lambda d: d.put(LAYER, sketch="[{]"), "is no JSON"),
    "sketch deeply nested": (lambda d: d.put(LAYER, sketch="[" * 100_000), "is no JSON"),
    "sketch no list": (lambda d: d.put(LAYER, sketch="{}"), "is dict; expected a list of 3"),
    "sketch with an example too few": (sketch_entry(lambda e: e[:2]), "is 2 entries; expected a list of 3"),
    "sketch with an example too many": (sketch_entry(lambda e: [*e, e[0]]), "is 4 entries"),
    "sketch of 7 values": (sketch_entry(lambda e: e[0]["v"].__delitem__(0)), "not 8 numbers and 8 bounds"),
    "sketch empty, passed": (sketch_entry(lambda e: [{"v": [], "b": []}] * 3), "not 8 numbers"),
    "sketch with another key": (sketch_entry(lambda e: e[0].update(c=1)), "not of the form"),
    "sketch with text": (sketch_entry(lambda e: e[0]["v"].__setitem__(0, "1")), "not 8 numbers"),
    "sketch with true": (sketch_entry(lambda e: e[0]["v"].__setitem__(0, True)), "not 8 numbers"),
    "sketch with nan": (sketch_entry(lambda e: e[1]["v"].__setitem__(0, math.nan)), "is not finite"),
    "sketch with an infinite bound": (
        sketch_entry(lambda e: e[1]["b"].__setitem__(0, math.inf)),
        "not finite",
    ),
    "sketch with a negative bound": (sketch_entry(lambda e: e[1]["b"].__setitem__(0, -1)), "bound below 0"),
    "sketch with an integer too large": (
        sketch_entry(lambda e: e[1]["v"].__setitem__(0, 10**400)),
        "not 8 numbers",
    ),
    "sketch of integers not empty": (
        lambda d: d.put_sketch(INTEGER, [{"v": [0.0] * 8, "b": [0.0] * 8}] * 3),
        "not 0 numbers",
    ),
} | {f"no {name}": (drop_property(name), name) for name in Draft("cuda").suite}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_report_that_breaks_the_contract_is_refused(kind: str, tmp_path: Path):
    spoil, expected = CONTRADICTIONS[kind]
    draft = Draft("cuda")
    spoil(draft)
    assert expected in refusal(draft.write(tmp_path / "spoiled.xml"))


DUPLICATE = f'<testcase classname="layer" name="{LAYER}"/></testsuite>'
EDITS: dict[str, tuple[str, str, str]] = {
    "a case twice": ("</testsuite>", DUPLICATE, "is there twice"),
    "a check twice": (
        "</testsuite>",
        '<testcase classname="a" name="b"/><testcase classname="a" name="b"/></testsuite>',
        "'a::b' is there twice",
    ),
    "a property twice": ("</properties>", '<property name="profile" value="soak"/></properties>', "twice"),
    "two lists of properties": ("</properties>", "</properties><properties/>", "two lists of properties"),
    "a valueless property": (
        "</properties>",
        '<property name="x"/></properties>',
        "without a name or a value",
    ),
    "a case under another stage": ('classname="layer"', 'classname="down"', "the classname of 'layer/"),
    "a case under another class": (
        'classname="layer"',
        'classname="conformance"',
        "the classname of 'layer/",
    ),
    "a test without a name": ("</testsuite>", '<testcase classname="a"/></testsuite>', "has no name"),
    "a rerun": (
        "</testsuite>",
        '<testcase classname="a" name="b"><rerunFailure/></testcase></testsuite>',
        "run again after a failure",
    ),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_report_is_refused(kind: str, tmp_path: Path):
    before, after, expected = EDITS[kind]
    path = Draft("cuda").write(tmp_path / "edited.xml")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    assert expected in refusal(path)


def test_a_report_of_many_examples_is_read(readback):
    draft = Draft("cuda").put(LAYER, examples="1500")
    draft.put_sketch(LAYER, [{"v": [0.123456789012345] * 8, "b": [0.5] * 8}] * 1500)
    assert readback(draft).cases[LAYER].measured.examples == 1500
    assert len(json.loads(draft.cases[LAYER]["sketch"])) == 1500


def test_the_worst_result_of_a_testcase_counts(tmp_path: Path):
    path = Draft("cuda").fail(LAYER).write(tmp_path / "both.xml")
    path.write_text(path.read_text().replace("<failure", '<error message="teardown"/><failure', 1))
    assert read(path).cases[LAYER].status == "error"
