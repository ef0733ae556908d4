"""Files about the suite itself, its power and its coverage, are held to their form like reports."""

import pytest

from reports import ReportError
from reports.executed import read_coverage
from reports.power import measured_on, read_power

from .build import sha
from .in_process import run
from .suite_files import coverage_run, mutant, part, power_run, put
from .test_cli import assert_one_line_error

BAD_POWER = [
    ("not json", "is no JSON"),
    ("[1]", "the file is list; expected an object"),
    ('{"a": NaN}', "NaN is no JSON"),
    ("[" * 100_000, "is no JSON"),
    ("\ud800", "is no JSON"),
    (power_run(mutants=None), "mutants is NoneType; expected a list"),
    (power_run(mutants=[]), "a run of nothing shows nothing"),
    (power_run(mutants=[mutant("a"), mutant("a")]), "names a mutant twice"),
    (power_run(mutants=[mutant("a", killed=1)]), "mutants[0].killed is int; expected true or false"),
    (power_run(mutants=[mutant("a", description="x" * 2_001)]), "mutants[0].description is text of 2,001"),
    (power_run(mutants=[7]), "mutants[0] is int; expected an object"),
    (power_run(seed=-1), "seed is out of range"),
    (power_run(platform=None), "platform is NoneType; expected text"),
    ({"mutants": [mutant("a")]}, "platform is missing; expected text"),
    (power_run(**{"source.digest": "abc"}), "source.digest is 'abc'; expected 64 hexadecimal digits"),
    (power_run(mutants=[mutant(str(n)) for n in range(20_001)]), "a list of 20,001; expected at most 20,000"),
]


@pytest.mark.parametrize(("content", "told"), BAD_POWER, ids=range(len(BAD_POWER)))
def test_a_file_that_is_no_power_run_is_refused_in_a_line(content, told: str, tmp_path):
    path = tmp_path / "power.json"
    path.write_bytes(b"\xff\xfe") if content == "\ud800" else put(path, content)
    with pytest.raises(ReportError) as caught:
        read_power(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


BAD_COVERAGE = [
    (
        {"kernels": {"statements": 2, "executed": 3, "unexecuted": []}},
        "kernels.executed is 3; expected at most",
    ),
    ({"host": {"branches": 1, "taken": 2}}, "host.taken is 2; expected at most the 1 branches"),
    ({"host": []}, "host is list; expected an object"),
    (
        {"configurations": {"family": "a", "shipped": [1], "unexecuted": []}},
        "configurations.shipped[0] is int",
    ),
    (
        {"kernels": {"statements": 2, "executed": 1, "unexecuted": [part("f", "s", None) | {"compiled": 0}]}},
        "kernels.unexecuted[0].compiled is int",
    ),
]


@pytest.mark.parametrize(("changes", "told"), BAD_COVERAGE)
def test_a_file_that_is_no_coverage_is_refused_in_a_line(changes, told: str, tmp_path):
    with pytest.raises(ReportError) as caught:
        read_coverage(put(tmp_path / "coverage.json", coverage_run(**changes)))
    assert told in str(caught.value)


def test_a_file_larger_than_any_power_run_is_refused_unread(tmp_path):
    path = tmp_path / "power.json"
    with path.open("wb") as file:
        file.truncate(2**25 + 1)
    with pytest.raises(ReportError, match="is larger than 33,554,432 bytes"):
        read_power(path)


def test_counts_are_those_of_the_entries_whatever_the_summary_says(tmp_path):
    run = power_run(summary={"operators": {"mutants": 900, "killed": 900}})
    power = read_power(put(tmp_path / "power.json", run))
    counted = (power.operators.faults, power.operators.killed, power.operators.equivalent)
    assert counted == (6, 4, 1)
    assert [each.id for each in power.survivors] == ["combine.py:combine_kernel:compare:2"]


RATES = [
    ([], [mutant("a")], "100%"),
    ([mutant("b", killed=False)], [mutant(f"k{n}") for n in range(1999)], "99.9%"),
    ([mutant("b", killed=False, equivalent="why")], [], "nothing to see"),
    ([mutant("b", killed=False)], [], "0.0%"),
]


@pytest.mark.parametrize(("missed", "seen", "rate"), RATES)
def test_a_rate_of_all_is_all(missed, seen, rate: str, tmp_path):
    assert read_power(put(tmp_path / "power.json", power_run(mutants=missed + seen))).total.rate == rate


def test_sources_are_the_same_only_if_every_report_says_so(cuda):
    assert measured_on(sha("sources"), [cuda]) == "same"
    assert measured_on(sha("else"), [cuda]) == "other"
    assert measured_on("", [cuda]) == "unknown"


def test_the_commands_put_them_on_the_page(pair, tmp_path):
    power = put(tmp_path / "power.json", power_run())
    coverage = put(tmp_path / "coverage.json", coverage_run())
    suite = ("--power", power, "--coverage", coverage, "--coverage", coverage)
    done = run("parity", *pair, *suite, "--page", tmp_path / "pair.html")
    assert (done.returncode, done.stderr, done.stdout.split(":")[0]) == (0, "", "PARITY")
    assert run("page", pair[1], *suite, "-o", tmp_path / "one.html").returncode == 0
    for name in ("pair.html", "one.html"):
        page = (tmp_path / name).read_text(encoding="utf-8")
        assert "85.7%" in page
        assert page.count("373 <small>of 375</small>") == 2


def test_they_are_not_taken_and_then_left_out(pair, tmp_path):
    power = put(tmp_path / "power.json", power_run())
    assert_one_line_error(run("parity", *pair, "--power", power), "add --page FILE or --format html")


def test_one_that_is_wrong_or_would_be_written_over_is_one_line(pair, tmp_path):
    wrong = put(tmp_path / "wrong.json", {"mutants": 7})
    assert_one_line_error(run("page", pair[0], "--power", wrong), "wrong.json: mutants is int")
    assert_one_line_error(run("page", pair[0], "--coverage", wrong), "wrong.json: configurations is NoneType")
    power = put(tmp_path / "power.json", power_run())
    done = run("parity", *pair, "--power", power, "--page", power)
    assert_one_line_error(done, "is one of the files just read")
