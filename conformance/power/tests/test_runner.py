"""A run: the control passes, zeros are killed, outcomes are kept, exit codes tell."""

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.power import commands, equivalents, rounds, runner, table, trial
from conformance.power.killers import Killers
from conformance.power.mutants import Mutant
from conformance.power.pool import Job, run_all
from conformance.power.scratch import Scratch
from conformance.power.trial import SAME, Item, Outcome

CASE = "combine/mixtral/float32/degenerate"
MUTANT = Mutant(
    "combine.py:combine:call:1", "combine.py", "combine", "call", "is wrong", "-a\n+b", "", True, 1, 1
)
FAULT = Mutant("named:fault", "combine.py", "combine", "named", "is wrong", "-a\n+b", "", False, 1, 1)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return Scratch(runner.TREE, tmp_path_factory.mktemp("power"))


@pytest.fixture(scope="module")
def suite(scratch: Scratch) -> runner.Suite:
    return runner.run_control(scratch.pristine, 1, print, [CASE], [])


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mutant]]:
    """A command that knows two mutants and runs neither."""
    mutants = [MUTANT, FAULT]
    monkeypatch.setattr("conformance.power.mutants.all_mutants", lambda package: mutants)
    monkeypatch.setattr("conformance.power.equivalents.read", lambda: {})
    monkeypatch.setattr(runner, "prepare", lambda: None)
    monkeypatch.setattr("conformance.power.scratch.Scratch", lambda tree, folder: None)
    return mutants


def test_the_unmutated_layer_passes_and_one_that_writes_zeros_is_killed(
    scratch: Scratch, suite: runner.Suite
) -> None:
    zeros = runner.control_mutant(scratch.pristine)
    [(mutant, outcome)] = runner.run_mutants(scratch, suite, [zeros], 1)
    assert (mutant.id, outcome.killed, outcome.how) == ("control:zeros", True, "wrong result")
    assert outcome.by.startswith(CASE)


def test_a_mutant_that_changes_nothing_survives(scratch: Scratch, suite: runner.Suite) -> None:
    zeros = runner.control_mutant(scratch.pristine)
    text = (scratch.pristine / "tritonmoe" / "combine.py").read_text()
    same = Mutant(**{**vars(zeros), "id": "same", "text": text})
    [(_, outcome)] = runner.run_mutants(scratch, suite, [same], 1)
    assert not outcome.killed, outcome
    assert outcome.examples == len(suite.items)


@pytest.mark.parametrize(
    ("value", "how"), [("acc", SAME), ("acc.to(tl.float32)", SAME), ("acc * 1.02", "wrong result")]
)
def test_a_kernel_that_gives_the_unmutated_code_is_no_mutant(
    value: str, how: str, scratch: Scratch, suite: runner.Suite
) -> None:
    """Triton converts what is stored in any case."""
    text = (scratch.pristine / "tritonmoe" / "combine.py").read_text()
    stored = "acc.to(y.dtype.element_ty)"
    assert text.count(stored) == 1
    line = text[: text.index(stored)].count("\n") + 1
    zeros = runner.control_mutant(scratch.pristine)
    changed = {"id": value, "text": text.replace(stored, value), "kernel": True, "first": line, "last": line}
    changed |= {"start": (line, 0), "end": (line + 1, 0)}
    [(_, outcome)] = runner.run_mutants(scratch, suite, [Mutant(**{**vars(zeros), **changed})], 1)
    assert outcome.how == how, outcome


def test_an_example_that_does_not_execute_the_change_is_not_run(suite: runner.Suite) -> None:
    elsewhere = Mutant(**{**vars(MUTANT), "file": "router.py", "kernel": False, "first": 1, "last": 999})
    assert suite.of(elsewhere) == ([], [])


def test_the_control_refuses_a_tree_that_fails(scratch: Scratch) -> None:
    zeros = runner.control_mutant(scratch.pristine)
    folder = scratch.with_file("zeros", zeros.file, zeros.text)
    with pytest.raises(runner.CannotRun, match=r"the unmutated tree fails: combine/mixtral.*got 0\.0"):
        runner.run_control(folder, 1, print, [CASE], [])


def test_a_tree_that_cannot_be_imported_is_killed(scratch: Scratch, suite: runner.Suite) -> None:
    zeros = runner.control_mutant(scratch.pristine)
    broken = Mutant(**{**vars(zeros), "id": "broken", "text": "raise RuntimeError('broken')\n"})
    [(_, outcome)] = runner.run_mutants(scratch, suite, [broken], 1)
    assert (outcome.killed, outcome.by, outcome.how) == (True, "import", "exception")


def test_jobs_come_back_with_their_values_or_with_why_they_died() -> None:
    def die() -> None:
        raise SystemExit(3)

    jobs = [Job("one", lambda: 1, 10.0), Job("two", die, 10.0)]
    done = {each.name: each for each in run_all(jobs, 2)}
    assert done["one"].value == 1
    assert "SystemExit: 3" in done["two"].died


SEEN_BY = "conformance/test_dispatch.py::test_inputs_of_one_kind_share_their_calls"
RESUMED = [  # outcome, what changed since, whether it is taken from the file
    (Outcome(True, "a case", "wrong result"), (), True),
    (Outcome(True, "a case", "wrong result"), ("core",), False),
    (Outcome(True, "a case", "wrong result"), ("another test",), True),
    (Outcome(True, SEEN_BY, "test"), ("another test",), True),
    (Outcome(True, SEEN_BY, "test"), ("its test",), False),
    (Outcome(False), (), True),
    (Outcome(False), ("another test",), False),
]


@pytest.mark.parametrize(("outcome", "changed", "taken"), RESUMED)
def test_an_outcome_is_taken_from_the_state_file_while_what_it_hangs_on_is_the_same(
    outcome: Outcome, changed: tuple[str, ...], taken: bool, tmp_path: Path
) -> None:
    files = {"core": "tritonmoe/layer.py", "another test": "conformance/test_nan.py"}
    files["its test"] = SEEN_BY.partition("::")[0]
    for name in files.values():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    state = tmp_path / "state.jsonl"
    runner.State(state, runner.Sources.of(tmp_path)).add(MUTANT, outcome)
    for each in changed:
        (tmp_path / files[each]).write_text("x = 2\n")
    later = runner.State(state, runner.Sources.of(tmp_path))
    assert later.get(MUTANT) == (outcome if taken else None)
    assert later.get(Mutant(**{**vars(MUTANT), "text": "other"})) is None


@pytest.mark.parametrize(
    ("outcomes", "listed", "code"),
    [
        ([True, True], {}, 0),
        ([False, True], {}, 1),
        ([False, True], {MUTANT.id: "changes nothing"}, 0),
        ([True, True], {MUTANT.id: "changes nothing"}, 1),
        ([True, True], {"no:such:mutant": "was there once"}, 1),
    ],
    ids=["all killed", "a survivor", "an equivalent one", "a wrong entry", "an entry of nothing"],
)
def test_the_exit_code_tells(
    outcomes: list[bool],
    listed: dict[str, str],
    code: int,
    chosen: list[Mutant],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("conformance.power.equivalents.read", lambda: listed)
    state = tmp_path / "state.jsonl"
    kept = runner.State(state, runner.Sources.of())
    for mutant, killed in zip(chosen, outcomes, strict=True):
        kept.add(mutant, Outcome(killed, "a case" if killed else ""))
    written = tmp_path / "power.json"
    assert run("--all", "--resume", str(state), "--json", str(written)) == code
    printed = capsys.readouterr().out
    if not all(outcomes) and not listed:
        assert f"tritonmoe power --only {MUTANT.id}" in printed
        assert MUTANT.diff in printed
    assert [row["id"] for row in json.loads(written.read_text())["mutants"]] == [MUTANT.id, FAULT.id]


def test_what_cannot_run_exits_with_two(
    chosen: list[Mutant], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise runner.CannotRun("the unmutated tree fails: for a reason")

    monkeypatch.setattr(rounds, "run", fails)
    assert run("--named-only") == 2
    assert "for a reason" in capsys.readouterr().err
    assert run("--only", "no:such:mutant") == 2
    assert "no:such:mutant: no such mutant" in capsys.readouterr().err


def test_a_seed_gives_the_same_sample_again(chosen: list[Mutant], tmp_path: Path) -> None:
    arguments = parser().parse_args(["power", "--sample", "1", "--seed", "5"])
    first, seed = commands._chosen(arguments, chosen)
    assert (first, seed) == commands._chosen(arguments, chosen)
    fresh = parser().parse_args(["power", "--sample", "1"])
    assert commands._chosen(fresh, chosen)[1] != commands._chosen(fresh, chosen)[1]


def test_the_summary_counts_before_and_after_equivalents() -> None:
    other = Mutant(**{**vars(MUTANT), "id": "other"})
    results = [
        (MUTANT, Outcome(False)),
        (other, Outcome(True, how="hang")),
        (FAULT, Outcome(True, how="test")),
    ]
    counts = table.summary(results, {MUTANT.id: "changes nothing"})
    assert counts["operators"]["kill_rate_before_equivalents"] == 0.5
    assert counts["operators"]["kill_rate"] == 1.0
    assert counts["named"]["kill_rate"] == 1.0


def test_an_equivalent_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "equivalents.json"
    path.write_text('[{"id": "a", "why": " "}]')
    with pytest.raises(ValueError, match="needs an id and why"):
        equivalents.read(path)


def test_what_hears_no_signal_is_ended_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SLOWEST", 0.1)
    monkeypatch.setattr(trial, "DEAF", 0.2)

    def deaf() -> None:
        with trial._patience(0):
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

    [done] = run_all([Job("deaf", deaf, 60.0)], 1)
    assert done.died == "the process died, exit code 1"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    commands.register(made.add_subparsers())
    return made


def run(*arguments: str) -> int:
    given = parser().parse_args(["power", *arguments])
    return given.run(given)


def test_what_saw_a_functions_mutants_goes_first_for_its_others() -> None:
    items = [Item("a", 0, 0.1), Item("b", 1, 0.2), Item("test_edges.py::test_x", -1, 3.0)]
    killers = Killers()
    for by, times in (("test_edges.py::test_x", 2), ("b example 1", 1), ("", 5)):
        for _ in range(times):
            killers.add(MUTANT, Outcome(bool(by), by))
    assert killers.first(MUTANT, items) == items[::-1]
    for change in ({"id": "combine.py:other:call:2"}, {"description": "is another"}):
        assert killers.first(Mutant(**{**vars(MUTANT), **change}), items) == items[::-1]
    other = Mutant(**{**vars(MUTANT), "id": "combine.py:other:call:2", "description": "is another"})
    assert killers.first(other, items) == items


def test_what_saw_a_mutant_in_the_run_on_record_goes_first_of_all(tmp_path: Path) -> None:
    items = [Item("a", 0, 0.1), Item("b", 1, 0.2)]
    other = Mutant(**{**vars(MUTANT), "id": "combine.py:combine:call:2"})
    results = [(other, Outcome(True, "a example 0"))] * 3
    results += [(MUTANT, Outcome(True, "b example 1")), (FAULT, Outcome(False))]
    table.write_json(tmp_path / "power.json", results, {}, {})
    killers = Killers.on_record(tmp_path / "power.json")
    assert killers.first(MUTANT, items) == items[::-1]
    assert killers.first(other, items) == items
    assert Killers.on_record(tmp_path / "none.json").first(MUTANT, items) == items


# A sample: what saw its mutants before goes first


@pytest.mark.parametrize(("by", "asked"), [("b example 1", ["b example 1"]), ("", ["a example 0"])])
def test_a_mutant_that_nothing_named_saw_is_shown_what_saw_its_functions_others(
    by: str, asked: list[str], tmp_path: Path
) -> None:
    other = Mutant(**{**vars(MUTANT), "id": "combine.py:combine:call:2", "description": "is another"})
    results = [(other, Outcome(True, "a example 0")), (MUTANT, Outcome(True, by))]
    table.write_json(tmp_path / "power.json", results, {}, {})
    assert Killers.on_record(tmp_path / "power.json").of(MUTANT) == asked


SAMPLED = [  # of the mutant: outcome on record, in the list, outcome of the first round, left for all
    (Outcome(True, CASE + " example 0"), False, Outcome(True, "a case", examples=1), False),
    (Outcome(True, CASE + " example 0"), False, Outcome(False, examples=1), True),
    (Outcome(True, SEEN_BY), False, Outcome(False, how=SAME, examples=1), True),
    (None, False, Outcome(False, examples=1), True),
    (Outcome(False), False, Outcome(False, examples=1), True),
    (Outcome(False), True, Outcome(False, examples=1), False),
    (Outcome(False), True, Outcome(False), True),
    (Outcome(False, how=SAME), False, Outcome(False, how=SAME, examples=1), False),
    (Outcome(False, how=SAME), False, Outcome(False, examples=1), True),
    (Outcome(False, how=SAME), False, Outcome(False, how=SAME), True),
]


@pytest.mark.parametrize(("recorded", "is_listed", "found", "left"), SAMPLED)
def test_of_a_sample_the_whole_suite_tries_what_its_record_leaves(
    recorded: Outcome | None,
    is_listed: bool,
    found: Outcome,
    left: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table.write_json(tmp_path / "power.json", [(MUTANT, recorded)] if recorded else [], {}, {})
    record = Killers.on_record(tmp_path / "power.json")
    monkeypatch.setattr(Killers, "on_record", lambda: record)
    asked = []

    def tried(_, mutants, workers, listed, brief, killers, cases, tests, only=()):
        asked.append((set(cases), set(tests), set(only)))
        yield from ((mutant, found if len(asked) == 1 else Outcome(True, "all")) for mutant in mutants)

    monkeypatch.setattr(rounds, "_round", tried)
    state = runner.State(None, runner.Sources.of())
    rounds.run(None, [MUTANT], state, 1, {MUTANT.id} if is_listed else (), sample=True)
    whole = (set(rounds._cases()), set(runner.tests_of_suite()), set())
    assert asked[1:] == [whole] * left
    assert state.get(MUTANT) == (Outcome(True, "all") if left else found)
    by = recorded.by if recorded else ""
    looked_at = is_listed or (recorded is not None and recorded.how == SAME)
    stages = {case for case in whole[0] if looked_at and not case.startswith("layer/")}
    assert asked[0] == (
        {rounds.SHOWS_ZEROS, *stages} | ({CASE} if by.startswith(CASE) else set()),
        {"test_dispatch.py"} if by == SEEN_BY else set(),
        {SEEN_BY} if by == SEEN_BY else set(),
    )


def test_a_control_of_some_tests_runs_those_alone(scratch: Scratch) -> None:
    """Those of a record that are there no more are let be."""
    asked = (SEEN_BY, "conformance/test_dispatch.py::test_that_was")
    suite = runner.run_control(scratch.pristine, 1, print, [], ["test_dispatch.py"], asked)
    assert [item.case for item in suite.items] == [SEEN_BY]
