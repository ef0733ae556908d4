"""What mutants are tried on: the whole suite, or for a sample first what saw them in the run on record.

A control takes as long as all that it covers, most of which a sample never needs.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from . import runner
from .killers import Killers
from .mutants import Mutant
from .scratch import Scratch
from .trial import SAME, Outcome

SHOWS_ZEROS = "combine/mixtral/float32/balanced"  # what a layer that writes zeros has to fail in any round


def run(
    scratch: Scratch,
    mutants: Sequence[Mutant],
    state: runner.State,
    workers: int,
    listed: Collection[str],
    sample: bool = False,
) -> None:
    """Adds the outcome of each mutant that the state has none of. Raises runner.CannotRun.

    listed: ids of equivalents, which are only looked at again. sample: whether to go by the record first, and
    only look again at what it calls the unmutated code; otherwise that is proved anew.
    """
    killers, todo = Killers.on_record(), []
    for mutant in mutants:
        if (outcome := state.get(mutant)) is None:
            todo.append(mutant)
        else:
            killers.add(mutant, outcome)
    if sample and todo:
        todo = _by_record(scratch, todo, state, workers, listed, killers)
    if todo:
        cases, tests = _cases(), runner.tests_of_suite()
        for mutant, outcome in _round(scratch, todo, workers, listed, listed, killers, cases, tests):
            state.add(mutant, outcome)


def _by_record(
    scratch: Scratch,
    mutants: Sequence[Mutant],
    state: runner.State,
    workers: int,
    listed: Collection[str],
    killers: Killers,
) -> list[Mutant]:
    """Those of the mutants that are left for the whole suite."""
    brief = {mutant.id for mutant in mutants if mutant.id in listed or mutant.id in killers.same}
    names = {name for mutant in mutants if mutant.id not in brief for name in killers.of(mutant)}
    only = {name for name in names if "::" in name}
    files = {PurePosixPath(name.partition("::")[0]).name for name in only}
    used = {name.partition(" example ")[0] for name in names - only} | {SHOWS_ZEROS}
    cases = [name for name in _cases() if name in used or (brief and not name.startswith("layer/"))]
    tests = [name for name in runner.tests_of_suite() if name in files]
    left = []
    found = _round(scratch, mutants, workers, listed, brief, killers, cases, tests, only)
    for mutant, outcome in found:
        known = mutant.id in listed or (mutant.id in killers.same and outcome.how == SAME)
        if outcome.killed or (known and outcome.examples):
            state.add(mutant, outcome)
        else:
            left.append(mutant)
    return left


def _round(
    scratch: Scratch,
    mutants: Sequence[Mutant],
    workers: int,
    listed: Collection[str],
    brief: Collection[str],
    killers: Killers,
    cases: Sequence[str],
    tests: Sequence[str],
    only: Collection[str] = (),
) -> Iterator[tuple[Mutant, Outcome]]:
    """The control, a layer that writes zeros, then the mutants. only: of the tests' files, these tests."""
    progress = runner.Progress(len(mutants))
    suite = runner.run_control(scratch.pristine, workers, progress.say, cases, tests, only)
    zeros = runner.control_mutant(scratch.pristine)
    for _, outcome in runner.run_mutants(scratch, suite, [zeros], 1):
        if not outcome.killed:
            raise runner.CannotRun(f"a layer that writes zeros passes the suite:\n{zeros.diff}")
    progress = runner.Progress(len(mutants))
    for mutant, outcome in runner.run_mutants(scratch, suite, mutants, workers, brief, killers):
        if mutant.id in listed and outcome.how == SAME:
            outcome.how = ""  # so little of it was compiled that this says nothing
        progress.add(outcome)
        yield mutant, outcome


def _cases() -> list[str]:
    from conformance.matrix import CASES

    return [case.id for case in CASES]
