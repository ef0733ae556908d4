"""What happens inside a forked process: the suite's examples and tests on one folder, to the first fault."""

import contextlib
import faulthandler
import io
import os
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from . import scratch
from .reach import Recorder, reuse

SLOWEST = 10.0  # seconds that any example may take; and PATIENCE times what it took unmutated
PATIENCE = 15.0
DEAF = 20.0  # seconds more for what hears no signal, as a compiler: then the process ends
NOWHERE = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
SAME = "same code"  # how a mutant ended that Triton makes the unmutated code of


@dataclass
class Outcome:
    """Of one mutant: `by` a case or a test, `how` it was seen, after `examples` examples and tests."""

    killed: bool
    by: str = ""
    how: str = ""
    message: str = ""
    examples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Item:
    """An example of a case (number -1: a test, by its node id), and what it took and counted unmutated."""

    case: str
    number: int
    seconds: float
    tallies: dict[str, dict[str, float]] = field(default_factory=dict, hash=False, compare=False)

    @property
    def name(self) -> str:
        """As outcomes name it."""
        return self.case if self.number < 0 else f"{self.case} example {self.number}"


class Hang(Exception):
    """An example took far longer than on the unmutated tree."""


def examine(
    folder: Path,
    items: Sequence[Item],
    untouched: Sequence[Item],
    known: dict[str, str],
    kernel: bool = False,
) -> Outcome:
    """Runs the items in their order on the folder's tree.

    untouched: examples of the same cases that are not run; their tallies join in judging a whole case.
    known: as in `reach.reuse`. kernel: whether only Triton compiles what is changed.
    """
    started = time.monotonic()
    scratch.private_cache(folder)
    compiled = reuse(known)
    outcome = Outcome(False)
    try:
        scratch.enter(folder)
        run = Run(untouched, items, outcome)
        for are_tests, several in groupby(items, key=lambda item: item.number < 0):
            if are_tests:
                _tests(folder, list(several), outcome)
            else:
                run.examples(list(several))
            if outcome.killed:
                break
    except BaseException as error:  # outside of an example: the tree cannot even be imported
        outcome.killed, outcome.by = True, outcome.by or "import"
        outcome.how, outcome.message = how(error), _short(error)
    if kernel and not outcome.killed and not compiled.changed:
        outcome.how = SAME
    outcome.seconds = time.monotonic() - started
    return outcome


def control(
    folder: Path, store: Path, cases: Sequence[str], tests: Sequence[str], only: Collection[str] = ()
) -> dict[str, Any]:
    """Examples and test files on the unmutated tree: what each reached, and faults, which must be none.

    only: ids of the tests in the files that are meant, if not all.
    """
    scratch.enter(folder)
    from conformance import corpus
    from conformance.harness import run_case
    from conformance.matrix import case_of

    recorder = Recorder(folder / "tritonmoe", store)
    found: dict[str, Any] = {"items": [], "faults": []}
    for name in cases:
        case = case_of(name)
        for number, example in enumerate(corpus.examples_of(case, "smoke")):
            _forget()
            with recorder.watching() as reached:
                started = time.monotonic()
                record = run_case(case, [example], _device())
            tallies = {each: asdict(tally) for each, tally in record._tallies.items()}
            item = {"case": name, "number": number, "seconds": time.monotonic() - started, "tallies": tallies}
            found["items"].append({**item, **reached.to_json()})
            found["faults"] += [f"{name}, example {number}: {fault}" for fault in record.faults]
    if tests:
        watcher = _Watcher(recorder, only=only)
        code = _pytest([str(folder / "conformance" / each) for each in tests], watcher)
        found["items"] += watcher.items
        found["faults"] += watcher.faults
        if code not in (0, 1, *([5] if only else [])):  # 5: none of them is there any more
            found["faults"].append(f"pytest ended with exit code {code}")
    return found


def how(error: BaseException) -> str:
    """The kind of a kill, from what was raised."""
    kinds = {"EmulationError": "emulator's report", "ProgramError": "emulator's report", "Hang": "hang"}
    kinds |= {"CompilationError": "compile error", "PassManagerError": "compile error"}
    for kind in type(error).__mro__:
        if kind.__name__ in kinds:
            return kinds[kind.__name__]
    return "exception"


class Run:
    """The examples of one mutant: what is left of each case, for a case is judged whole after its last."""

    def __init__(self, untouched: Sequence[Item], items: Sequence[Item], outcome: Outcome) -> None:
        from conformance.judge import Tally

        self.outcome, self.tally = outcome, Tally
        self.left = Counter(item.case for item in items)
        self.pooled: dict[str, dict[str, Tally]] = {}
        for item in untouched:
            self._pool(item.case, {name: Tally(**tally) for name, tally in item.tallies.items()})

    def examples(self, items: Sequence[Item]) -> None:
        """Runs them in their order, to the first fault."""
        from conformance import corpus
        from conformance.matrix import case_of

        for item in items:
            self.outcome.examples += 1
            try:
                faults = self._faults(item, corpus.examples_of(case_of(item.case), "smoke")[item.number])
                kind, message = "wrong result", next(iter(faults), "")
            except Exception as error:
                faults, kind, message = [error], how(error), _short(error)
            if faults:
                self.outcome.killed, self.outcome.by = True, item.name
                self.outcome.how, self.outcome.message = kind, message
                return

    def _faults(self, item: Item, example: Any) -> list[str]:
        from conformance.harness import launch_of, run_example
        from conformance.matrix import case_of

        case = case_of(item.case)
        with _patience(item.seconds):
            verdict, *_ = run_example(case, example, launch_of(case, example), _device())
        self._pool(item.case, verdict.judgement.tallies)
        self.left[item.case] -= 1
        if verdict.judgement.faults or self.left[item.case]:
            return verdict.judgement.faults
        tallies = self.pooled.get(item.case, {}).items()
        return [fault for name, tally in tallies for fault in tally.faults(f"{name}, all examples")]

    def _pool(self, case: str, tallies: dict[str, Any]) -> None:
        for name, tally in tallies.items():
            self.pooled.setdefault(case, {}).setdefault(name, self.tally()).add(tally)


def _tests(folder: Path, items: Sequence[Item], outcome: Outcome) -> None:
    watcher = _Watcher(None, {item.case: item.seconds for item in items})
    code = _pytest(["-x", *(str(folder / item.case) for item in items)], watcher)
    outcome.examples += len(watcher.items)
    if watcher.faults or code:
        outcome.killed, outcome.how = True, "test"
        outcome.by, _, outcome.message = (watcher.faults or [f"pytest: exit code {code}"])[0].partition(": ")


class _Watcher:
    """A pytest plugin: what each test took, whether it failed, and what it reached if there is a recorder.

    took: what tests took unmutated, in seconds; those named there are ended when they take far longer.
    only: ids of the tests to run, if not all.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        took: Mapping[str, float] | None = None,
        only: Collection[str] = (),
    ) -> None:
        self.recorder, self.took, self.only = recorder, took or {}, only
        self.items: list[dict[str, Any]] = []
        self.faults: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only:
            items[:] = [item for item in items if item.nodeid in self.only]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        started = time.monotonic()
        if self.recorder:
            _forget()
        watching = self.recorder.watching() if self.recorder else contextlib.nullcontext()
        with watching as reached:
            yield
        took = {"case": item.nodeid, "number": -1, "seconds": time.monotonic() - started, "tallies": {}}
        self.items.append({**took, **(reached.to_json() if reached else {})})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.faults.append(f"{report.nodeid}: {crash.message if crash else report.longreprtext}"[:400])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.faults.append(f"{report.nodeid}: {report.longreprtext}"[-400:])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[None]:
        took = self.took.get(pyfuncitem.nodeid)
        with _patience(took) if took is not None else contextlib.nullcontext():
            yield


def _forget() -> None:
    """Launches that were found again would not be seen to be made: let each example make its own."""
    from tritonmoe import launches

    launches.shipped.cache_clear()


def _pytest(arguments: Sequence[str], watcher: _Watcher) -> int:
    options = ["-q", "-p", "no:cacheprovider", "--platform", "gfx942", "--profile", "smoke"]
    with contextlib.redirect_stdout(io.StringIO()):
        return int(pytest.main([*options, *arguments], plugins=[watcher]))


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    limit = SLOWEST + PATIENCE * seconds

    def give_up(*_: object) -> None:
        raise Hang(f"not done after {limit:.0f} s; unmutated it takes {seconds:.1f} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit)
    faulthandler.dump_traceback_later(limit + DEAF, exit=True, file=NOWHERE)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)


def _device() -> Any:
    import torch

    return torch.device("cpu")


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]
