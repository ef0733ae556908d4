"""Reads a report: JUnit XML in the suite's contract, version 1, held to the letter. Raises ReportError for
all else.

The file is untrusted: `untrusted` bounds what is parsed, and here nothing is taken that the contract does not
say.
"""

import json
import math
import os
import re
from itertools import chain
from types import MappingProxyType
from typing import Any, NoReturn

from junitparser import JUnitXmlError
from junitparser.xunit2 import JUnitXml, TestCase, TestSuite

from . import model
from .matrix import INTEGER_STAGES, MATRIX_VERSION, RANK, STAGES, stage_of
from .model import Case, Check, Environment, Measured, Report, ReportError, Sketch
from .untrusted import load
from .wording import printable

try:
    import orjson  # four fifths of a report are numbers, which it reads five times as fast
except ModuleNotFoundError:
    orjson = None

SUITE = "tritonmoe.conformance"
CONTRACT_VERSION = "1"
SKETCH_VECTORS = 8

# Attribute of Environment: (name in the file, pattern, what the pattern means)
_ANY = (r"[^\n]{0,500}", "one line of at most 500 characters")
_SOME = (r"[^\n]{1,500}", "one line of 1 to 500 characters")
_DIGEST = (r"[0-9a-f]{64}", "64 hexadecimal digits, a SHA-256")
_SUITE_PROPERTIES = {
    "contract_version": ("contract.version", *_SOME),
    "matrix_version": ("matrix.version", re.escape(MATRIX_VERSION), f"{MATRIX_VERSION!r}"),
    "platform": ("platform", "|".join(model.EVIDENCE), " or ".join(model.EVIDENCE)),
    "evidence": ("evidence", "|".join(model.WORTH), " or ".join(model.WORTH)),
    "profile": ("profile", "|".join(model.PROFILES), " or ".join(model.PROFILES)),
    "device_name": ("device.name", *_ANY),
    "device_arch": ("device.arch", *_SOME),
    "driver": ("driver", *_ANY),
    "torch": ("torch", *_SOME),
    "triton": ("triton", *_SOME),
    "hypothesis": ("hypothesis", *_SOME),
    "python": ("python", *_SOME),
    "source_digest": ("source.digest", *_DIGEST),
    "corpus_digest": ("corpus.digest", *_DIGEST),
    "commit": (
        "commit",
        r"[0-9a-f]{7,64}(\+dirty)?|unknown",
        "a git hash, a git hash and +dirty, or unknown",
    ),
}
_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|inf|nan)")


def read(path: str | os.PathLike[str]) -> Report:
    """The report in this file. Raises ReportError, whose message is one line, for anything that is no sound
    report.
    """
    name = printable(os.fspath(path))
    root, digest = load(path)
    try:
        suite = _suite(root)
        environment = _environment(suite)
        cases: dict[str, Case] = {}
        checks: dict[str, Check] = {}
        for testcase in suite:
            _sort_in(testcase, cases, checks)
    except _Unsound as error:
        raise ReportError(f"{name}: {error}") from None
    ordered = MappingProxyType({case_id: cases[case_id] for case_id in sorted(cases, key=RANK.__getitem__)})
    return Report(name, digest, environment, ordered, tuple(checks[key] for key in sorted(checks)))


class _Unsound(Exception):
    pass


def _refuse(what: str, got: str, expected: str) -> NoReturn:
    raise _Unsound(f"{what} is {printable(got, 80)!r}; expected {expected}")


def _suite(root: Any) -> TestSuite:
    try:
        suites = list(JUnitXml.fromroot(root))
    except JUnitXmlError:
        _refuse("the root element", root.tag, "testsuites, as in any JUnit file")
    ours = [suite for suite in suites if suite.name == SUITE]
    if len(suites) != 1 or not ours:
        names = ", ".join(repr(printable(suite.name or "", 60)) for suite in suites[:5]) or "none"
        raise _Unsound(
            f"is no report of this suite: its testsuites are {names}; expected exactly one, {SUITE!r}"
        )
    if any(True for _ in suites[0].testsuites()):
        raise _Unsound(f"has a testsuite inside {SUITE!r}; expected testcases only")
    return suites[0]


def _environment(suite: TestSuite) -> Environment:
    given = _unique(suite, "the suite")
    version = given.get("contract.version")
    if version != CONTRACT_VERSION:
        got = "missing" if version is None else repr(printable(version, 80))
        raise _Unsound(f"contract.version is {got}; this reads version {CONTRACT_VERSION}")
    values = {}
    for attribute, (name, pattern, expected) in _SUITE_PROPERTIES.items():
        if name not in given:
            raise _Unsound(f"the suite has no property {name!r}; expected {expected}")
        if not re.fullmatch(pattern, given[name]):
            _refuse(f"the suite's {name}", given[name], expected)
        values[attribute] = given[name]
    environment = Environment(**values)
    worth = model.EVIDENCE[environment.platform]
    if environment.evidence != worth:
        _refuse(
            f"the evidence of platform {environment.platform}",
            environment.evidence,
            f"{worth!r}: no other claim",
        )
    return environment


def _unique(holder: TestSuite | TestCase, owner: str) -> dict[str, str]:
    """The properties of a suite or a testcase, none of them twice."""
    lists = holder._elem.findall("properties")
    if len(lists) > 1:
        raise _Unsound(f"{owner} has two lists of properties")
    found: dict[str, str] = {}
    for each in lists[0].findall("property") if lists else ():
        name, value = each.get("name"), each.get("value")
        if name is None or value is None:
            raise _Unsound(f"{owner} has a property without a name or a value")
        if name in found:
            raise _Unsound(f"{owner} has the property {printable(name, 80)!r} twice")
        found[name] = value
    return found


def _sort_in(testcase: TestCase, cases: dict[str, Case], checks: dict[str, Check]) -> None:
    """Puts a testcase where it belongs: a case of the matrix, or a check beside it."""
    name, classname = testcase.name or "", testcase.classname or ""
    looks_like_case = classname in STAGES or (name.count("/") == 3 and stage_of(name) in STAGES)
    if not looks_like_case:
        full = f"{classname}::{name}"
        if not name or full in checks:
            raise _Unsound(
                f"the test {printable(full, 160)!r} is there twice" if name else "a testcase has no name"
            )
        status, message = _status(testcase, full)
        checks[full] = Check(full, status, message)
        return
    if name not in RANK:
        raise _Unsound(
            f"{printable(name, 120)!r} is no case of the matrix; expected stage/model/dtype/routing"
        )
    if classname != stage_of(name):
        _refuse(f"the classname of {name!r}", classname, f"{stage_of(name)!r}, its stage")
    if name in cases:
        raise _Unsound(f"case {name} is there twice")
    cases[name] = _case(name, testcase)


def _case(name: str, testcase: TestCase) -> Case:
    status, message = _status(testcase, name)
    message = message.removeprefix("Failed: ").removeprefix(f"{name}: ")
    given = _unique(testcase, f"case {name}")
    # A case that crashed has measured nothing; one that passed must show what it measured.
    measured = _measured(name, status, given) if status == model.PASSED or "examples" in given else None
    return Case(
        name, status, message, measured, given.get("failure.example", ""), given.get("failure.replay", "")
    )


def _status(testcase: TestCase, name: str) -> tuple[str, str]:
    """The worst that the testcase says of itself, and its message."""
    tags = {element.tag for element in testcase._elem}
    if tags <= {"properties"}:
        return model.PASSED, ""
    if any(tag.startswith(("rerun", "flaky")) for tag in tags):
        raise _Unsound(f"{printable(name, 160)} was run again after a failure; a failure is never rerun")
    found = {result._tag: result.message or (result.text or "").strip() for result in testcase.result}
    for tag, status in (("error", model.ERROR), ("failure", model.FAILED), ("skipped", model.SKIPPED)):
        if tag in found:
            return status, found[tag]
    return model.PASSED, ""


def _measured(case_id: str, status: str, given: dict[str, str]) -> Measured:
    values = _Values(case_id, given)
    passed = status == model.PASSED
    examples = values.count("examples")
    measured = Measured(
        examples=examples,
        near_ties=values.count("near_ties"),
        inputs_digest=values.digest("inputs.digest"),
        integer_digest=values.digest("outputs.integer_digest"),
        error_worst=values.number("error.worst"),
        error_where=values.text("error.where"),
        signs_z=values.number("signs.z"),
        noise=values.number("noise.ratio"),
        sketch=_sketch(case_id, passed, values.text("sketch"), examples),
    )
    if passed and not 0 <= measured.error_worst <= 1:
        raise _Unsound(
            f"case {case_id} contradicts itself: passed, with an error of {measured.error_worst} bounds"
        )
    if passed and not (math.isfinite(measured.signs_z) and math.isfinite(measured.noise)):
        raise _Unsound(f"case {case_id} contradicts itself: passed, with signs.z or noise.ratio not finite")
    return measured


class _Values:
    """Properties of one case, parsed; a missing or malformed one is refused by name."""

    def __init__(self, case_id: str, given: dict[str, str]) -> None:
        self.case_id, self.given = case_id, given

    def text(self, name: str) -> str:
        if name not in self.given:
            raise _Unsound(f"case {self.case_id} has no property {name!r}")
        return self.given[name]

    def count(self, name: str) -> int:
        return int(self._matching(_COUNT, name, "a whole number, 0 or more"))

    def number(self, name: str) -> float:
        return float(self._matching(_NUMBER, name, "a number, inf or nan"))

    def digest(self, name: str) -> str:
        return self._matching(re.compile(_DIGEST[0]), name, _DIGEST[1])

    def _matching(self, pattern: re.Pattern[str], name: str, expected: str) -> str:
        text = self.text(name)
        if not pattern.fullmatch(text):
            _refuse(f"{name} of case {self.case_id}", text, expected)
        return text


def _sketch(case_id: str, passed: bool, text: str, examples: int) -> tuple[Sketch, ...]:
    """The sketches, one an example. A failed case may hold empty ones, and what is not finite: that is its
    failure.
    """
    try:
        entries = _json(text)
    except (ValueError, RecursionError) as error:
        raise _Unsound(f"the sketch of case {case_id} is no JSON ({printable(str(error), 80)})") from None
    if not isinstance(entries, list) or len(entries) != examples:
        got = f"{len(entries)} entries" if isinstance(entries, list) else type(entries).__name__
        raise _Unsound(
            f"the sketch of case {case_id} is {got}; expected a list of {examples}, one an example"
        )
    length = 0 if stage_of(case_id) in INTEGER_STAGES else SKETCH_VECTORS
    if _flawless(entries, length):
        return tuple(Sketch(tuple(entry["v"]), tuple(entry["b"])) for entry in entries)
    lengths = {length} if passed else {length, 0}
    sketches = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or set(entry) != {"v", "b"}:
            raise _Unsound(
                f'the sketch of case {case_id}, example {index}, is not of the form {{"v": [], "b": []}}'
            )
        sketch = _numbers(entry["v"], entry["b"])
        if sketch is None or len(sketch.values) != len(sketch.bounds) or len(sketch.values) not in lengths:
            raise _Unsound(
                f"the sketch of case {case_id}, example {index}, is not {length} numbers and {length} bounds"
            )
        if passed and not all(map(math.isfinite, sketch.values + sketch.bounds)):
            raise _Unsound(
                f"the sketch of case {case_id}, example {index}, is not finite, and the case passed"
            )
        if any(each < 0 for each in sketch.bounds):
            raise _Unsound(f"the sketch of case {case_id}, example {index}, has a bound below 0")
        sketches.append(sketch)
    return tuple(sketches)


def _flawless(entries: list[Any], length: int) -> bool:
    """Whether all is as in a passed case, every number written as a float: nearly always, so seen at once."""
    try:
        lists = [entry[key] for entry in entries for key in ("v", "b")]
        if (
            set(map(type, lists)) != {list}
            or set(map(len, lists)) != {length}
            or set(map(len, entries)) != {2}
        ):
            return False
        bounds = list(chain.from_iterable(lists[1::2]))
        numbers = list(chain.from_iterable(lists[::2])) + bounds
        # A sum is finite only if all of it is; no bool and no int is a float.
        return not numbers or (
            set(map(type, numbers)) == {float} and math.isfinite(sum(numbers)) and min(bounds) >= 0
        )
    except (TypeError, KeyError):
        return False


def _json(text: str) -> Any:
    """As json.loads, save that an integer of more than 64 bits may come as the float nearest to it."""
    if orjson is not None:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # takes no nan and no inf, which a failed case may have
    return json.loads(text)


def _numbers(values: Any, bounds: Any) -> Sketch | None:
    """None for all but two lists of numbers."""
    if not isinstance(values, list) or not isinstance(bounds, list):
        return None
    if not set(map(type, values + bounds)) <= {int, float}:  # a bool is not meant
        return None
    try:
        return Sketch(tuple(map(float, values)), tuple(map(float, bounds)))
    except OverflowError:
        return None
