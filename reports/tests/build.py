"""Writes reports as the suite does, from a table of cases, for tests to spoil."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from reports.matrix import INTEGER_STAGES, REQUIRED

EXAMPLES = 3
PLATFORMS = {
    "cuda": ("hardware", "NVIDIA H100 80GB HBM3", "sm90", "CUDA 13.0, driver 580.95.05"),
    "rocm": ("hardware", "AMD Instinct MI300X", "gfx942:sramecc+:xnack-", "HIP 7.1"),
    "gfx942": ("emulated", "gfx942 emulator", "gfx942", "instruction-level emulator"),
    "interpreter": ("interpreted", "x86_64", "x86_64", "Triton interpreter"),
}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Draft:
    """A report in the making: `suite` properties, `cases` by id, `checks` by (class, name), open to change.

    A case or check is a dict of properties; its status and message have the keys "!status" and "!message".
    """

    def __init__(self, platform: str = "cuda", profile: str = "certify") -> None:
        evidence, device, arch, driver = PLATFORMS[platform]
        self.suite: dict[str, str] = {
            "contract.version": "1",
            "matrix.version": "1",
            "platform": platform,
            "evidence": evidence,
            "profile": profile,
            "device.name": device,
            "device.arch": arch,
            "driver": driver,
            "torch": "2.13.0",
            "triton": "3.7.1",
            "hypothesis": "6.170.15",
            "python": "3.11.9",
            "source.digest": sha("sources"),
            "corpus.digest": sha("corpus"),
            "commit": "0123456789abcdef0123456789abcdef01234567",
        }
        self.cases: dict[str, dict[str, str]] = {case_id: _case(case_id, platform) for case_id in REQUIRED}
        self.checks: dict[tuple[str, str], dict[str, str]] = {
            ("conformance.test_properties", f"test_{what}[{dtype}]"): {}
            for what in ("permuting_tokens", "zero_tokens", "nan_stays_in_its_row")
            for dtype in ("float32", "bfloat16")
        }
        self.name = "tritonmoe.conformance"

    def copy(self) -> "Draft":
        return copy.deepcopy(self)

    def without(self, case_id: str) -> "Draft":
        del self.cases[case_id]
        return self

    def put(self, case_id: str, **properties: str) -> "Draft":
        """Sets properties of a case; "__" stands for "." and a leading "_" for "!"."""
        names = {name: ("!" + name[1:] if name[0] == "_" else name.replace("__", ".")) for name in properties}
        self.cases[case_id] |= {names[name]: value for name, value in properties.items()}
        return self

    def claim(self, **properties: str) -> "Draft":
        """Sets properties of the suite; "__" stands for "."."""
        self.suite |= {name.replace("__", "."): value for name, value in properties.items()}
        return self

    def check(self, name: str, status: str, message: str = "") -> "Draft":
        self.checks["conformance.test_more", name] = {"!status": status, "!message": message}
        return self

    def fail(self, case_id: str, message: str = "y[12, 45] outside its bound", worst: str = "3.5") -> "Draft":
        self.cases[case_id] |= {
            "!status": "failed",
            "!message": message,
            "error.worst": worst,
            "error.where": "example 1: y[12, 45] got 1.5 expected 1.25 bound 0.0714",
            "failure.example": '{"tokens": 3, "hidden": 16, "intermediate": 32, "seed": 7}',
            "failure.replay": f"pytest conformance --case {case_id} --example '{{}}'",
        }
        return self

    def sketch(self, case_id: str) -> list[dict[str, list[Any]]]:
        return json.loads(self.cases[case_id]["sketch"])

    def put_sketch(self, case_id: str, entries: Any) -> "Draft":
        self.cases[case_id]["sketch"] = json.dumps(entries)
        return self

    def write(self, path: Path) -> Path:
        root = ElementTree.Element("testsuites")
        suite = ElementTree.SubElement(root, "testsuite", name=self.name)
        _put_properties(suite, self.suite)
        for case_id, properties in self.cases.items():
            _put_testcase(suite, case_id.split("/")[0], case_id, properties)
        for (classname, name), properties in self.checks.items():
            _put_testcase(suite, classname, name, properties)
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
        return path


def _case(case_id: str, platform: str) -> dict[str, str]:
    """Figures that depend on the case and, as between real platforms, a little on the platform."""
    stage, _, dtype, routing = case_id.split("/")
    integer = stage in INTEGER_STAGES
    drawn = int(sha(case_id + platform)[:8], 16) / 2**32
    scale = {"float32": 0.45, "float16": 0.8, "bfloat16": 0.97}[dtype]
    worst = 0.0 if integer else scale * (0.4 + 0.6 * drawn)
    entries = []
    for example in range(EXAMPLES):
        length = 0 if integer else 8
        exact = example == 0
        values = [float(int(sha(f"{case_id} {example} {n}")[:4], 16)) for n in range(length)]
        bounds = [0.0 if exact else 0.5] * length
        nudge = 0.0 if exact else 0.4 * drawn
        entries.append({"v": [value + nudge for value in values], "b": bounds})
    return {
        "examples": str(EXAMPLES),
        "near_ties": "1" if stage == "router" and routing == "degenerate" else "0",
        "inputs.digest": sha(f"inputs {case_id}"),
        "outputs.integer_digest": sha(f"integers {case_id}"),
        "error.worst": repr(worst),
        "error.where": "every output equal"
        if integer
        else "example 1: y[3, 4] got 1.0 expected 1.01 bound 0.02",
        "signs.z": repr(0.0 if integer else 2.5 * drawn),
        "noise.ratio": repr(0.0 if integer else 0.9 + 0.1 * drawn),
        "sketch": json.dumps(entries),
        "launches": "64x64x32",
    }


def _put_testcase(suite: ElementTree.Element, classname: str, name: str, properties: dict[str, str]) -> None:
    testcase = ElementTree.SubElement(suite, "testcase", classname=classname, name=name, time="0.1")
    _put_properties(testcase, {key: value for key, value in properties.items() if not key.startswith("!")})
    status = properties.get("!status", "passed")
    if status != "passed":
        tag = {"failed": "failure"}.get(status, status)
        ElementTree.SubElement(testcase, tag, message=properties.get("!message", ""))


def _put_properties(holder: ElementTree.Element, properties: dict[str, str]) -> None:
    if properties:
        listed = ElementTree.SubElement(holder, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(listed, "property", name=name, value=value)
