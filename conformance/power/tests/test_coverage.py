"""What counts as executed, how it is gathered, and what `certify` makes of it."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl

from conformance.commands import unexecuted
from conformance.gfx942 import emulate
from conformance.gfx942.lines import Lines
from conformance.power import coverage
from conformance.power.statements import Sources

HERE = Path(__file__)
SAMPLE = """
import triton
import triton.language as tl
from .other import helper

LIMIT = tl.constexpr(3)

@triton.jit
def kernel(x, n, FAST: tl.constexpr, SIZE: tl.constexpr):
    '''Not a statement.'''
    pair = (x, n)
    if FAST:
        v = tl.load(x)
    else:
        v = tl.load(x + 1)
    if SIZE > LIMIT:
        v += 1
    if n > 0:
        tl.store(x, v)
    else:
        tl.store(x + 2, v)
    for i in range(n):
        helper(x, i, SIZE == 4)
    return
"""
OTHER = """
@triton.jit
def helper(x, i, EVEN: tl.constexpr):
    if EVEN:
        tl.store(x + i, 0)
    else:
        tl.store(x + i, 1)

@triton.jit
def unused(x):
    tl.store(x, 0)
"""


@triton.jit
def sample_kernel(x, n, EXTRA: tl.constexpr):
    value = tl.load(x)
    if EXTRA:
        value += 1
    if n > 5:
        for i in range(n):
            tl.store(x + i, value * 3)
    else:
        tl.store(x + 2, value * 5)


def line_of(text: str, part: str) -> int:
    return 1 + next(number for number, line in enumerate(text.splitlines()) if part in line)


def walked(
    tmp_path: Path, constants: dict, ran: list[tuple[str, str]], has: list[tuple[str, str]] = ()
) -> set:
    """The unexecuted parts of the sample after one kernel that ran these lines, named by what they hold."""
    (tmp_path / "sample.py").write_text(SAMPLE)
    (tmp_path / "other.py").write_text("import triton\n" + OTHER)
    texts = {"sample.py": SAMPLE, "other.py": "import triton\n" + OTHER}
    sources = Sources(tmp_path)
    lines = [{(file, line_of(texts[file], part)) for file, part in which} for which in (ran, [*ran, *has])]
    sources.walk("kernel", constants, lines[1], lines[0])
    return {
        (part.function, part.source, part.compiled)
        for function in sources.functions.values()
        for part in function.unexecuted()
    }


STORED, CALLED = ("sample.py", "tl.store(x, v)"), ("sample.py", "helper(x, i")
UNUSED = ("other.unused", "def unused", False)
WALKS = {  # name: (constants, lines that ran, lines that only have code, unexecuted parts)
    "constants remove the else and a branch by a global": (
        dict(FAST=True, SIZE=2),
        [STORED, CALLED],
        [],
        {("sample.kernel", "else of if FAST:", False), ("sample.kernel", "if SIZE > LIMIT:", False)}
        | {("sample.kernel", "else of if n > 0:", True), ("other.helper", "if EVEN:", False), UNUSED},
    ),
    "an argument of a call is a constant too": (
        dict(FAST=False, SIZE=4),
        [STORED, CALLED],
        [],
        {("sample.kernel", "if FAST:", False), ("sample.kernel", "else of if n > 0:", True)}
        | {("other.helper", "else of if EVEN:", False), UNUSED},
    ),
    "a loop without a turn": (
        dict(FAST=True, SIZE=4),
        [STORED],
        [CALLED],
        {("sample.kernel", "else of if FAST:", False), ("sample.kernel", "else of if n > 0:", True)}
        | {("sample.kernel", "for i in range(n):", True), ("other.helper", "def helper", True), UNUSED},
    ),
    "code of its own that did not run": (
        dict(FAST=True, SIZE=4),
        [STORED, CALLED],
        [("sample.py", "v += 1")],
        {("sample.kernel", "else of if FAST:", False), ("sample.kernel", "else of if n > 0:", True)}
        | {("sample.kernel", "if SIZE > LIMIT:", True), ("other.helper", "else of if EVEN:", False), UNUSED},
    ),
}


@pytest.mark.parametrize("name", WALKS)
def test_statements_are_executed_compiled_or_neither(name: str, tmp_path: Path) -> None:
    constants, ran, has, expected = WALKS[name]
    assert walked(tmp_path, constants, ran, has) == expected


def test_a_kernel_that_never_ran_is_one_part(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("import triton\n" + OTHER)
    function = Sources(tmp_path).functions["other", "unused"]
    assert [(part.source, part.compiled, part.statements) for part in function.unexecuted()] == [
        ("def unused", False, 1)
    ]


@pytest.fixture
def noted() -> Lines:
    """What sample_kernel's machine code ran for n = 2, without EXTRA."""
    with emulate():
        triton.runtime.driver.active.lines = lines = Lines()
        x = torch.zeros(4)
        sample_kernel[(1,)](x, 2, EXTRA=False)
        sample_kernel[(1,)](x, 2, EXTRA=False)
    return lines


def test_program_counters_tell_which_lines_ran(noted: Lines) -> None:
    ((kernel, constants),) = noted.kernels
    has, ran = noted.kernels[kernel, constants]
    text = HERE.read_text()
    taken, not_taken = (HERE.name, line_of(text, "value * 5")), (HERE.name, line_of(text, "value * 3"))
    assert kernel == "sample_kernel"
    assert json.loads(constants)["EXTRA"] is False
    assert taken in ran
    assert not_taken in has - ran


def test_other_processes_lines_add_up(noted: Lines) -> None:
    merged = Lines()
    merged.merge(noted.to_json())
    merged.merge(noted.to_json())
    assert merged.kernels == noted.kernels


def test_every_reviewed_part_is_in_the_source() -> None:
    titles = {
        f"{function.name}: {title}"
        for function in Sources(coverage.layer()).functions.values()
        for node in ast.walk(function.node)
        if isinstance(node, ast.stmt)
        for title in (ast.unparse(node).splitlines()[0], f"else of {ast.unparse(node).splitlines()[0]}")
    } | {f"{f.name}: def {f.node.name}" for f in Sources(coverage.layer()).functions.values()}
    listed = [f"{each['function']}: {each['source']}" for each in coverage.reviewed_parts()]
    assert [each for each in listed if each not in titles] == []
    assert len(set(listed)) == len(listed)
    assert all(each["why"].strip() for each in coverage.reviewed_parts())


def test_a_configuration_counts_when_both_kernels_ran_with_it() -> None:
    nothing = coverage.configurations(set())
    names = nothing["shipped"]
    assert nothing["unexecuted"] == [f"{name} {kernel}" for name in names for kernel in ("gate_up", "down")]
    every = {(kernel, name) for name in names for kernel in ("gate_up", "down")}
    assert coverage.configurations(every)["unexecuted"] == []
    assert coverage.configurations(every - {("down", names[-1])})["unexecuted"] == [f"{names[-1]} down"]


def found(
    profile: str = "certify", missed: tuple = (), unexplained: tuple = (), outdated: tuple = ()
) -> dict:
    kernels = {"unexplained": list(unexplained), "outdated": list(outdated)}
    configurations = {"family": "cdna3", "unexecuted": list(missed)}
    return {"profile": profile, "configurations": configurations, "kernels": kernels}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (found(), []),
        (found("smoke", unexplained=("a.b: if C:",), outdated=("a.b: if D:",)), []),
        (found("smoke", missed=("cdna3/16bit/to16 down",)), ["cdna3/16bit/to16 down"]),
        (found(unexplained=("a.b: if C:",)), ["a.b: if C:"]),
        (found(outdated=("a.b: if D:",)), ["a.b: if D:"]),
        ({**found(missed=("hopper/16bit/to8 down",)), "kernels": None}, ["hopper/16bit/to8 down"]),
        ({**found(), "kernels": None}, []),
    ],
)
def test_certify_names_what_it_must_have_executed(report: dict, words: list[str]) -> None:
    faults = unexecuted(report)
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))


def test_workers_together_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "coverage.json"
    command = [sys.executable, "-m", "pytest", "-q", "conformance/test_matrix.py", "--platform", "gfx942"]
    cases = ["--case", "permute/mixtral/float16/zipf", "--case", "permute/mixtral/float32/zipf"]
    done = subprocess.run(
        [*command, *cases, "-n", "2", f"--coverage={file}"],
        cwd=HERE.parents[3],
        env={
            key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "TRITON_INT"))
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "statements executed" in done.stdout
    made = json.loads(file.read_text())
    functions = made["kernels"]["functions"]
    assert functions["schedule.few_kernel"]["executed"] == functions["schedule.few_kernel"]["statements"]
    assert functions["gate_up.gate_up_kernel"]["executed"] == 0
    assert 0 < made["host"]["taken"] < made["host"]["branches"]
