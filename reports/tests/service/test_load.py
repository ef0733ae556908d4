"""The load script measures what it says: small here, as much as is promised with -m slow."""

import json
import sys

import pytest

from reports.service import load


@pytest.fixture
def measured(tmp_path, monkeypatch, capsys):
    """Runs the script. Gives its exit code and its figures."""

    def run(*arguments: str):
        path = tmp_path / "load.json"
        monkeypatch.setattr(sys, "argv", ["load", "--json", str(path), *arguments])
        code = load.main()
        figures = json.loads(path.read_text())
        table = dict(
            line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " ms," not in line
        )
        assert table["sound"] == str(figures["sound"])
        return code, figures

    return run


def test_a_load_that_is_too_small_is_measured_and_is_no_proof(measured):
    arguments = ("--seconds", "3", "--pairs", "1", "--workers", "1", "--reads", "20", "--uploads", "2")
    code, figures = measured(*arguments)
    assert (code, figures["sound"], figures["wrong answers"]) == (1, False, 0)
    assert 0 < figures["reads per second"] <= 20
    assert 0 < figures["uploads per second"] <= 2
    assert 0 < figures["read ms, p50"] <= figures["read ms, p99"] <= figures["read ms, p100"]
    assert figures["memory MiB, last third"] > 20
    assert figures["cores used, service"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_300_reads_and_20_uploads_a_second_for_a_minute_by_two_workers(measured, database):
    code, figures = measured("--database", database)
    assert code == 0, figures
