"""Writes the report: JUnit XML in the contract's form, the same from one process as from pytest-xdist.

It takes the place of pytest's own writer behind `--junitxml`, because the contract wants the case's id as the
testcase's name, its stage as classname, and suite properties that survive xdist.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from junitparser.xunit2 import TestCase, TestSuite

SUITE = "tritonmoe.conformance"
CASE = "matrix.case"  # the user property by which a test says which case it is


class ReportWriter:
    """A pytest plugin of the controlling process. `properties` is called once, at the end."""

    def __init__(self, path: Path, properties: Callable[[], dict[str, str]]) -> None:
        self.path, self.properties = path, properties
        self.phases: dict[str, list[pytest.TestReport]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.phases.setdefault(report.nodeid, []).append(report)

    def pytest_sessionfinish(self) -> None:
        suite = TestSuite(SUITE)
        for name, value in self.properties().items():
            suite.add_property(name, _printable(value))
        for nodeid in sorted(self.phases):
            suite.add_testcase(_testcase(nodeid, self.phases[nodeid]))
        suite.update_statistics()
        xml = JUnitXml()
        xml.add_testsuite(suite)
        xml.update_statistics()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        xml.write(str(self.path), pretty=True)


def _testcase(nodeid: str, phases: list[pytest.TestReport]) -> TestCase:
    properties = dict(phases[-1].user_properties)
    case_id = properties.pop(CASE, None)
    file, _, test = nodeid.partition("::")
    made = TestCase(
        name=case_id or _printable(test),
        classname=case_id.split("/")[0] if case_id else file.removesuffix(".py").replace("/", "."),
        time=round(sum(report.duration for report in phases), 3),
    )
    for name, value in properties.items():
        made.add_property(name, _printable(str(value)))
    results = [result for report in phases if (result := _result(report))]
    if results:
        made.result = results
    return made


def _result(report: pytest.TestReport) -> Error | Failure | Skipped | None:
    if report.passed:
        return None
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return Skipped(_printable(reason))
    text = _printable(report.longreprtext)
    made = (Failure if report.when == "call" else Error)(
        text.strip().splitlines()[-1] if text.strip() else ""
    )
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        made.message = _printable(crash.message.splitlines()[0])
    made.text = text
    return made


def _printable(text: str) -> str:
    """XML 1.0 has no way to write control characters."""
    return "".join(
        c if c in "\t\n" or (ord(c) >= 32 and ord(c) not in (0xFFFE, 0xFFFF)) else "?" for c in text
    )
