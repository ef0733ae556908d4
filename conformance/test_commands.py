"""The suite's commands: certify, matrix, doctor."""

import json
import subprocess
import sys

import pytest

from conformance.matrix import CASES


def _tritonmoe(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "reports", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_matrix_lists_every_case() -> None:
    done = _tritonmoe("matrix")
    assert done.returncode == 0
    assert done.stdout.split() == [case.id for case in CASES]


def test_matrix_explains_a_case_for_people_and_machines() -> None:
    case = "layer/deepseek_v3/bfloat16/zipf"
    told = _tritonmoe("matrix", case)
    assert told.returncode == 0
    assert "rounded to bfloat16: activation, partial, y" in told.stdout
    assert f"--case {case}" in told.stdout
    row = json.loads(_tritonmoe("matrix", case, "--json").stdout)
    assert (row["id"], len(row["examples"])) == (case, 24)


def test_doctor_says_what_runs_here_and_why_not_more() -> None:
    told = json.loads(_tritonmoe("doctor", "--json").stdout)
    assert set(told["platforms"]) == {"cuda", "rocm", "interpreter"}
    assert told["platforms"][told["auto"]]["obstacle"] == ""
    assert all(told["versions"][name] != "missing" for name in ("torch", "triton", "hypothesis"))


REFUSED = [  # arguments, part of the one line on stderr
    (["matrix", "layer/gpt/float32/zipf"], "is no case; expected stage/model/dtype/routing"),
    (["certify", "--platform", "tpu"], "'tpu' is unknown; expected auto or one of cuda, rocm, interpreter"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_done_is_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    done = _tritonmoe(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["certify", "matrix", "doctor"])
def test_help_has_examples(command: str) -> None:
    assert f"examples:\n  tritonmoe {command}" in _tritonmoe(command, "--help").stdout
