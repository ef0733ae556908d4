"""What a run of the suite executed: kernel statements, shipped launch configurations, branches of host code.

Behind the suite's option `--coverage FILE`. Kernel statements are known on an emulated platform alone.
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import coverage
import pytest

from ..environment import source_digest
from ..junit import CASE
from .statements import Sources, Unexecuted

REVIEWED = Path(__file__).with_name("unexecuted.json")
# An expert configuration is a tile of each: the layer's cases run both.
STAGES = {"gate_up": ("gate_up",), "down": ("down",), "layer": ("gate_up", "down")}


class Recorder:
    """A pytest plugin of the one process, or of xdist's controller and of each of its workers."""

    def __init__(self, path: Path, platform: str, module: Any, profile: str) -> None:
        """Made when the platform is active and the layer not yet imported."""
        self.path, self.platform, self.profile = path, platform, profile
        self.configurations: set[tuple[str, str]] = set()
        self.lines = module.lines() if hasattr(module, "lines") else None
        self._arcs: dict[str, set[tuple[int, int]]] = {}
        self._host = _host_coverage()
        self._host.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if report.when == "call" and report.passed and CASE in properties:
            stage = properties[CASE].split("/")[0]
            names = properties["launches"].split()
            self.configurations |= {(kernel, name) for kernel in STAGES.get(stage, ()) for name in names}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._host.stop()
        data = self._host.get_data()
        self._merge_arcs({file: data.arcs(file) or [] for file in data.measured_files()})
        if hasattr(session.config, "workeroutput"):
            lines = self.lines.to_json() if self.lines is not None else "[]"
            arcs = {file: sorted(arcs) for file, arcs in self._arcs.items()}
            session.config.workeroutput["coverage"] = json.dumps([lines, arcs])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if "coverage" in getattr(node, "workeroutput", {}):
            lines, arcs = json.loads(node.workeroutput["coverage"])
            if self.lines is not None:
                self.lines.merge(lines)
            self._merge_arcs(arcs)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        made = self.report()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(made, indent=1) + "\n")
        terminalreporter.section("coverage")
        terminalreporter.write_line(text(made))

    def report(self) -> dict[str, Any]:
        """As written to the file; the sections are described in the package's README."""
        return {
            "platform": self.platform,
            "profile": self.profile,
            "source.digest": source_digest(),
            "triton": version("triton"),
            "kernels": None if self.lines is None else kernels(self.lines.kernels),
            "configurations": configurations(self.configurations),
            "host": _host_report(self._arcs),
        }

    def _merge_arcs(self, arcs: dict[str, Any]) -> None:
        for file, pairs in arcs.items():
            self._arcs.setdefault(file, set()).update((a, b) for a, b in pairs)


def kernels(ran: dict[tuple[str, str], tuple[set, set]]) -> dict[str, Any]:
    """Statements of every @triton.jit function: how many ran, and the parts that did not, each with its
    reviewed reason.

    `ran` as in `Lines.kernels`. "unexplained": parts that the reviewed list has no entry for. "outdated": its
    entries for parts that did run, or that are nowhere in the source any more.
    """
    sources = Sources(layer())
    for (kernel, constants), (has, reached) in ran.items():
        sources.walk(kernel, json.loads(constants), has, reached)
    reviewed = {(each["function"], each["source"]): each["why"] for each in reviewed_parts()}
    functions, parts = {}, []
    for function in sources.functions.values():
        lines = [each.lineno for each in function.statements()]
        functions[function.name] = {
            "statements": len(lines),
            "executed": sum(line in function.executed for line in lines),
        }
        parts += [_part(each, reviewed) for each in function.unexecuted()]
    missed = {(part["function"], part["source"]) for part in parts}
    return {
        "statements": sum(each["statements"] for each in functions.values()),
        "executed": sum(each["executed"] for each in functions.values()),
        "functions": functions,
        "unexecuted": parts,
        "unexplained": [_name(part) for part in parts if part["why"] is None],
        "outdated": [
            f"{function}: {source}" for function, source in reviewed if (function, source) not in missed
        ],
    }


def reviewed_parts() -> list[dict[str, str]]:
    """The reviewed list: function, source text of the part, why it is not executed."""
    return json.loads(REVIEWED.read_text())["unexecuted"]


def configurations(executed: set[tuple[str, str]]) -> dict[str, Any]:
    """Which rows of the launch table of the active platform's family ran; `executed` holds (kernel, name)."""
    import torch

    from tritonmoe.launches import family, shipped

    names = [
        each.name
        for dtype in (torch.float32, torch.bfloat16)
        for launch, _ in shipped(dtype, family())
        for each in (launch, launch.skewed)
        if each is not None
    ]
    missed = [
        f"{name} {kernel}"
        for name in names
        for kernel in ("gate_up", "down")
        if (kernel, name) not in executed
    ]
    return {"family": family(), "shipped": names, "unexecuted": missed}


def text(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    lines = []
    if report["kernels"]:
        found = report["kernels"]
        lines.append(
            f"kernels: {found['executed']} of {found['statements']} statements executed; the others:"
        )
        for part in found["unexecuted"]:
            state = "compiled, never executed" if part["compiled"] else "never compiled"
            lines.append(f"  {_name(part)} ({part['statements']}, {state}): {part['why'] or 'NOT EXPLAINED'}")
        lines += [f"  outdated in {REVIEWED.name}: {each}" for each in found["outdated"]]
    found = report["configurations"]
    lines.append(f"launch configurations of {found['family']}: {len(found['shipped'])}; not executed: ")
    lines[-1] += ", ".join(found["unexecuted"]) or "none"
    found = report["host"]
    lines.append(f"host code: {found['taken']} of {found['branches']} branches taken; not taken:")
    lines += [
        f"  {name}: {', '.join(each['not taken'])}"
        for name, each in found["files"].items()
        if each["not taken"]
    ]
    return "\n".join(lines)


def layer() -> Path:
    """The folder of the layer under test."""
    from importlib.util import find_spec

    return Path(find_spec("tritonmoe").origin).parent


def _part(each: Unexecuted, reviewed: dict[tuple[str, str], str]) -> dict[str, Any]:
    why = reviewed.get((each.function, each.source))
    return {
        "function": each.function,
        "source": each.source,
        "lines": list(each.lines),
        "statements": each.statements,
        "compiled": each.compiled,
        "why": why,
    }


def _name(part: dict[str, Any]) -> str:
    return f"{part['function']}: {part['source']}"


def _host_coverage() -> coverage.Coverage:
    """Of the layer's own files, without the kernels in them, and without the tools in its folders."""
    made = coverage.Coverage(data_file=None, branch=True, config_file=False, include=[f"{layer()}/*.py"])
    made.set_option("run:core", "ctrace")  # the one that knows branches on every Python
    made.exclude(r"@triton\.jit")
    return made


def _host_report(arcs: dict[str, set[tuple[int, int]]]) -> dict[str, Any]:
    measured = _host_coverage()
    measured.get_data().add_arcs(arcs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "host.json")
        files = {}
        if arcs:
            measured.json_report(morfs=list(arcs), outfile=str(path))
            files = json.loads(path.read_text())["files"]
    made = {}
    for name, found in sorted(files.items()):
        made[Path(name).name] = {
            "branches": found["summary"]["num_branches"],
            "taken": found["summary"]["covered_branches"],
            "not taken": [
                f"{start}->{'exit' if end < 0 else end}" for start, end in found["missing_branches"]
            ],
        }
    return {
        "branches": sum(each["branches"] for each in made.values()),
        "taken": sum(each["taken"] for each in made.values()),
        "files": made,
    }
