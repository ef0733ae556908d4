"""The kept evidence: parity with itself, and the right verdict on each way of spoiling it."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import compare, read

EVIDENCE = Path(__file__).parents[1] / "evidence"
CUDA = EVIDENCE / "cuda-h200.xml"
CASE = "layer/mixtral/bfloat16/zipf"


def _property(parent: ET.Element, name: str) -> ET.Element:
    return next(each for each in parent.iter("property") if each.get("name") == name)


def _case(root: ET.Element) -> ET.Element:
    return next(each for each in root.iter("testcase") if each.get("name") == CASE)


def _doctored_output(root: ET.Element) -> None:
    """One example's output is moved by twice what both bounds allow."""
    sketch = _property(_case(root), "sketch")
    examples = json.loads(sketch.get("value"))
    examples[-1]["v"][0] += 5 * examples[-1]["b"][0] + 1e-6
    sketch.set("value", json.dumps(examples))


def _failed_case(root: ET.Element) -> None:
    ET.SubElement(_case(root), "failure", message="y[0, 0] got 1.0 expected 2.0")


def _removed_case(root: ET.Element) -> None:
    next(root.iter("testsuite")).remove(_case(root))


def _skipped_case(root: ET.Element) -> None:
    ET.SubElement(_case(root), "skipped", message="no time")


def _suite_property(name: str, value: str) -> Callable[[ET.Element], None]:
    return lambda root: _property(root, name).set("value", value)


def _other_inputs(root: ET.Element) -> None:
    _property(_case(root), "inputs.digest").set("value", "1" * 64)


def _other_integers(root: ET.Element) -> None:
    _property(_case(root), "outputs.integer_digest").set("value", "1" * 64)


SPOILT = [  # what is done to one side, exit code, verdict, what the verdict names
    (lambda root: None, 0, "PARITY", "162"),
    (_doctored_output, 1, "DIVERGENT", CASE),
    (_failed_case, 1, "DIVERGENT", CASE),
    (_other_integers, 1, "DIVERGENT", CASE),
    (_removed_case, 2, "INCOMPLETE", CASE),
    (_skipped_case, 2, "INCOMPLETE", CASE),
    (_other_inputs, 2, "INCOMPLETE", CASE),
    (_suite_property("corpus.digest", "0" * 64), 2, "INCOMPLETE", "corpus"),
    (_suite_property("source.digest", "0" * 64), 2, "INCOMPLETE", "source"),
    (_suite_property("profile", "smoke"), 2, "INCOMPLETE", "profile"),
]


def _parity(left: Path, right: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "reports", "parity", str(left), str(right)]
    return subprocess.run(command, capture_output=True, text=True, cwd=EVIDENCE.parents[1])


@pytest.mark.parametrize(("spoil", "code", "verdict", "named"), SPOILT)
def test_the_recorded_report_against_a_copy(
    tmp_path: Path, spoil, code: int, verdict: str, named: str
) -> None:
    tree = ET.parse(CUDA)
    spoil(tree.getroot())
    copy = tmp_path / "copy.xml"
    tree.write(copy)
    done = _parity(CUDA, copy)
    assert done.returncode == code, done.stdout + done.stderr
    assert verdict in done.stdout.splitlines()[0]
    assert named in done.stdout


NOT_REPORTS = {
    "truncated": lambda path: path.write_bytes(CUDA.read_bytes()[:-2000]),
    "a bomb": lambda path: path.write_text(_bomb()),
    "a PNG": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)),
}


@pytest.mark.parametrize("name", NOT_REPORTS)
def test_what_is_no_report_is_one_line_and_exit_2(tmp_path: Path, name: str) -> None:
    path = tmp_path / "right.xml"
    NOT_REPORTS[name](path)
    done = _parity(CUDA, path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def _bomb() -> str:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    return f"<?xml version='1.0'?><!DOCTYPE t [{entities}]><testsuites>&e11;</testsuites>"


def test_the_evidence_is_from_an_h200_and_whole() -> None:
    report = read(CUDA)
    assert report.environment.platform == "cuda"
    assert "H200" in report.environment.device_name
    assert len(report.cases) == 162


def test_nvidia_and_emulated_amd_are_recorded_in_parity() -> None:
    parity = compare(read(CUDA), read(EVIDENCE / "gfx942-emulated.xml"))
    assert (parity.verdict, parity.reasons) == ("PARITY", ())
    assert "cuda (hardware) and gfx942 (emulated) agree on 162 of 162 cases" in parity.headline
