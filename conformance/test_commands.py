"""The suite's commands: certify, matrix, doctor."""

import argparse
import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from conformance.commands import register
from conformance.matrix import CASES


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def tritonmoe(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command as the dispatcher does, whether or not the package is installed."""
    parser = argparse.ArgumentParser(prog="tritonmoe")
    register(parser.add_subparsers())

    def run(*arguments: str) -> Done:
        try:
            parsed = parser.parse_args(arguments)
            code = parsed.run(parsed)
        except SystemExit as stop:  # --help
            code = stop.code
        return Done(code, *capsys.readouterr())

    return run


def test_matrix_lists_every_case(tritonmoe) -> None:
    done = tritonmoe("matrix")
    assert done.code == 0
    assert done.out.split() == [case.id for case in CASES]


def test_matrix_explains_a_case_for_people_and_machines(tritonmoe) -> None:
    case = "layer/deepseek_v3/bfloat16/zipf"
    told = tritonmoe("matrix", case)
    assert told.code == 0
    assert "rounded to bfloat16: activation, partial, y" in told.out
    assert f"--case {case}" in told.out
    row = json.loads(tritonmoe("matrix", case, "--json").out)
    assert (row["id"], len(row["examples"])) == (case, 24)


def test_doctor_says_what_runs_here_and_why_not_more(tritonmoe) -> None:
    told = json.loads(tritonmoe("doctor", "--json").out)
    assert set(told["platforms"]) == {"cuda", "rocm", "gfx942", "interpreter"}
    assert told["platforms"][told["auto"]]["obstacle"] == ""
    assert all(told["versions"][name] != "missing" for name in ("torch", "triton", "hypothesis"))


REFUSED = [  # arguments, part of the one line on stderr
    (["matrix", "layer/gpt/float32/zipf"], "is no case; expected stage/model/dtype/routing"),
    (
        ["certify", "--platform", "tpu"],
        "'tpu' is unknown; expected auto or one of cuda, rocm, gfx942, interpreter",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_done_is_one_line_and_exit_2(tritonmoe, arguments: list[str], message: str) -> None:
    done = tritonmoe(*arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["certify", "matrix", "doctor"])
def test_help_has_examples(tritonmoe, command: str) -> None:
    assert f"examples:\n  tritonmoe {command}" in tritonmoe(command, "--help").out
