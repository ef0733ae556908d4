"""A run: the control, then every mutant against what of the suite can reach it; outcomes kept as they are."""

import gc
import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .killers import Killers
from .mutants import Mutant
from .pool import Job, run_all
from .trial import Item, Outcome

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
PARTS = 12  # jobs that the cases of the control are dealt to
CHEAP = 0.1  # seconds; a test below is tried first if nothing is compiled anew
QUICK = 0.7  # seconds that a test may take to be tried before the examples of the layer
Report = Callable[[str], None]


class CannotRun(RuntimeError):
    """The run would prove nothing: the unmutated tree fails, or a mutant of zeros passes."""


@dataclass
class Suite:
    """What the control found: items with what they reach, and the places of each kernel that was launched."""

    items: list[Item]
    lines: list[set[tuple[str, int]]]
    kernels: list[set[str]]
    places: dict[str, dict[str, list[tuple[int, int]]]]  # by kernel and file
    known: dict[str, str]

    def of(self, mutant: Mutant, brief: bool = False) -> tuple[list[Item], list[Item]]:
        """(items that can see the mutant, in the order to try them; the other examples of their cases).

        brief: the stages' examples alone, unless nothing but the rest can see it.
        """
        reached = self._reaching(mutant)
        if brief:
            reached = [number for number in reached if _group(self.items[number]) == 0] or reached
        chosen = set(reached)
        cases = {self.items[number].case for number in reached}
        others = [
            item
            for number, item in enumerate(self.items)
            if number not in chosen and item.case in cases and item.number >= 0
        ]
        return _ordered([self.items[number] for number in reached], not mutant.kernel), others

    def _reaching(self, mutant: Mutant) -> list[int]:
        """Numbers of the items that execute what the mutant changes."""
        if mutant.kernel:
            visiting = {
                kernel
                for kernel, places in self.places.items()
                if any(mutant.start <= place < mutant.end for place in places.get(mutant.file, ()))
            }
            return [number for number, kernels in enumerate(self.kernels) if kernels & visiting]
        if mutant.operator == "named":  # may change what runs at import
            using = {kernel for kernel, places in self.places.items() if mutant.file in places}
            return [
                number
                for number, kernels in enumerate(self.kernels)
                if kernels & using or mutant.file in self._files[number] or mutant.file not in self._executed
            ]
        changed = {(mutant.file, line) for line in range(mutant.first, mutant.last + 1)}
        return [number for number, lines in enumerate(self.lines) if lines & changed]

    @cached_property
    def _files(self) -> list[set[str]]:
        return [{file for file, _ in lines} for lines in self.lines]

    @cached_property
    def _executed(self) -> set[str]:
        """Files that some item executes; any other may matter to all."""
        return set().union(*self._files)


def tests_of_suite() -> list[str]:
    """Files beside the matrix that certify runs and that launch kernels."""
    from conformance.commands import CERTIFYING

    return [name for name in CERTIFYING if name not in ("test_matrix.py", "test_controls.py")]


@dataclass(frozen=True)
class Sources:
    """SHA-256 over the layer and the suite (`whole`), and over them without the tests beside the matrix
    (`core`): an outcome holds for one of these.
    """

    whole: str
    core: str
    tree: Path = TREE

    @classmethod
    def of(cls, tree: Path = TREE) -> "Sources":
        whole, core = hashlib.sha256(), hashlib.sha256()
        for package in ("tritonmoe", "conformance"):
            for path in sorted((tree / package).rglob("*")):
                name = path.relative_to(tree).as_posix()
                if path.suffix in (".py", ".json") and "/power/" not in name:
                    line = f"{name}\0{_sha(path)}\n".encode()
                    whole.update(line)
                    if not path.name.startswith("test_"):
                        core.update(line)
        return cls(whole.hexdigest(), core.hexdigest(), tree)

    def seen(self, outcome: Outcome) -> str:
        """What it hangs on beside the core: all tests if nothing saw the mutant, else the file of the one."""
        if not outcome.killed:
            return self.whole
        path = self.tree / outcome.by.partition("::")[0]
        return _sha(path) if "::" in outcome.by and path.is_file() else ""


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prepare() -> None:
    """Imports what is heavy, and makes the emulator the platform; children inherit it."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from conformance import guards, platforms  # noqa: F401

    platforms.activate("gfx942")
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)


def run_control(
    pristine: Path,
    workers: int,
    report: Report,
    cases: Sequence[str],
    tests: Sequence[str],
    only: Collection[str] = (),
) -> Suite:
    """The unmutated copy through everything that is going to be used. Raises CannotRun if anything fails.

    tests: files; only: ids of the tests in them that are meant, if not all.
    """
    from triton import knobs

    from . import trial

    store = Path(knobs.cache.dir) / "power"
    parts = [part for part in (list(cases[number::PARTS]) for number in range(PARTS)) if part]
    jobs = [
        Job(name, lambda name=name: trial.control(pristine, store, [], [name], only), 3600.0)
        for name in tests
    ]
    jobs += [
        Job(f"cases {number}", lambda part=part: trial.control(pristine, store, part, []), 3600.0)
        for number, part in enumerate(parts)
    ]
    found: list[dict[str, Any]] = []
    for number, done in enumerate(run_all(jobs, workers), 1):
        report(f"control: {number} of {len(jobs)} parts")
        if done.died:
            raise CannotRun(f"the unmutated tree does not run ({done.name}): {done.died}")
        if done.value["faults"]:
            raise CannotRun(f"the unmutated tree fails: {done.value['faults'][0]}")
        found += done.value["items"]
    _whole_cases(found)
    return _suite(found, store)


def make_ready(kernels: Collection[str]) -> None:
    """Reads unmutated kernels into this process, so that those forked from it need not do so, each again."""
    from triton.runtime import driver
    from triton.runtime.cache import get_cache_manager

    from ..gfx942 import driver as emulated

    if not hasattr(emulated._code, "of_power"):
        emulated._code = cache(emulated._code.__wrapped__)
        emulated._code.of_power = True
    for kernel in kernels:
        for path in Path(get_cache_manager(kernel).cache_dir).glob("*.amdgcn"):
            emulated._code(kernel, path.stem, None, driver.active.chip)
    gc.collect()
    gc.freeze()


def control_mutant(pristine: Path) -> Mutant:
    """The layer's last step writes zeros: a suite that passes it proves nothing."""
    from .mutants import _diff

    text = (pristine / "tritonmoe" / "combine.py").read_text()
    before, found, after = text.rpartition("    return y\n")
    if not found:
        raise CannotRun("combine.py has no line 'return y' any more: the control that writes zeros needs it")
    wrong, line = f"{before}    return y.zero_()\n{after}", before.count("\n") + 1
    return Mutant(
        "control:zeros",
        "combine.py",
        "combine",
        "control",
        "writes zeros",
        _diff("combine.py", text, wrong),
        wrong,
        False,
        line,
        line,
    )


def run_mutants(
    scratch: Any,
    suite: Suite,
    mutants: Sequence[Mutant],
    workers: int,
    brief: Collection[str] = (),
    killers: Killers | None = None,
) -> Iterator[tuple[Mutant, Outcome]]:
    """Each mutant and its outcome, as they end. brief: ids of those that nothing saw before, and that are
    only looked at again. killers: what saw them or others before.
    """
    from .trial import examine

    killers = killers or Killers()
    make_ready(suite.places)
    by_id = {mutant.id: mutant for mutant in mutants}
    folders: dict[str, Path] = {}

    def jobs() -> Iterator[Job]:
        for number, mutant in enumerate(mutants):
            folder = scratch.with_file(f"m{os.getpid()}-{number}", mutant.file, mutant.text)
            folders[mutant.id] = folder
            items, others = suite.of(mutant, mutant.id in brief)
            items = killers.first(mutant, items)
            limit = 300.0 + 15 * sum(item.seconds for item in items)
            yield Job(
                mutant.id,
                lambda folder=folder, items=items, others=others, kernel=mutant.kernel: asdict(
                    examine(folder, items, others, suite.known, kernel)
                ),
                limit,
            )

    for done in run_all(jobs(), workers):
        scratch.drop(folders.pop(done.name))
        if done.died:
            # Where an example takes too long for a signal to end it, its process ends with 1.
            crashed = "died" in done.died and not done.died.endswith("exit code 1")
            outcome = Outcome(True, "", "crash" if crashed else "hang", done.died)
        else:
            outcome = Outcome(**done.value)
        killers.add(by_id[done.name], outcome)
        yield by_id[done.name], outcome


class State:
    """Outcomes as JSON lines: a run that was cut off goes on where it stood, with the same sources only.

    A kill holds on when tests are added, while the layer, the cases and the test that saw it are the same.
    """

    def __init__(self, path: Path | None, sources: Sources) -> None:
        self.path, self.sources = path, sources
        self._rows: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            for row in map(json.loads, path.read_text().splitlines()):
                self._rows[row["digest"]] = row

    def get(self, mutant: Mutant) -> Outcome | None:
        row = self._rows.get(self._digest(mutant))
        if row is None:
            return None
        outcome = Outcome(**row["outcome"])
        return outcome if row["seen"] == self.sources.seen(outcome) else None

    def add(self, mutant: Mutant, outcome: Outcome) -> None:
        row = {"digest": self._digest(mutant), "seen": self.sources.seen(outcome), "id": mutant.id}
        self._rows[row["digest"]] = row | {"outcome": asdict(outcome)}
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(self._rows[row["digest"]]) + "\n")

    def _digest(self, mutant: Mutant) -> str:
        return hashlib.sha256(f"{self.sources.core}\n{mutant.id}\n{mutant.text}".encode()).hexdigest()


class Progress:
    """One line on a terminal, a line a minute elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.killed, self.began, self.told = total, 0, 0, time.monotonic(), 0.0

    def add(self, outcome: Outcome) -> None:
        self.done += 1
        self.killed += outcome.killed
        passed = time.monotonic() - self.began
        left = passed / self.done * (self.total - self.done)
        self.say(
            f"{self.done}/{self.total} mutants, {self.killed} killed, {self.done - self.killed} survived, "
            f"{left / 60:.0f} min left",
            last=self.done == self.total,
        )

    def say(self, text: str, last: bool = False) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or time.monotonic() - self.told > 60:
            self.told = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def scratch_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="tritonmoe-power-")


def _ordered(items: list[Item], host: bool) -> list[Item]:
    """By groups; within one cheap ones first, and kinds of examples by turns, for many a fault is seen in one
    dtype or family alone. host: nothing has to be compiled, so what costs least goes first of all.
    """
    ranked: Counter[tuple[str, ...]] = Counter()
    keyed = []
    for item in sorted(items, key=lambda each: each.seconds):
        kind = (*item.case.split("/")[:3], str(item.number % 2)) if item.number >= 0 else ()
        group = 0 if host and item.seconds < CHEAP else _group(item)
        keyed.append((group, ranked[kind] if kind else 0, item.seconds, item))
        ranked[kind] += 1
    return [each[-1] for each in sorted(keyed, key=lambda each: each[:3])]


def _group(item: Item) -> int:
    """Stages, quick tests, the layer, other tests."""
    if item.number < 0:
        return 1 if item.seconds < QUICK else 3
    return 2 if item.case.startswith("layer/") else 0


def _whole_cases(found: Sequence[dict[str, Any]]) -> None:
    from conformance.judge import Tally

    pooled: dict[tuple[str, str], Tally] = {}
    for row in found:
        for name, tally in row["tallies"].items():
            pooled.setdefault((row["case"], name), Tally()).add(Tally(**tally))
    for (case, name), tally in pooled.items():
        if faults := tally.faults(name):
            raise CannotRun(f"the unmutated tree fails: {case}, all examples: {faults[0]}")


def _suite(found: Sequence[dict[str, Any]], store: Path) -> Suite:
    from .reach import Reached, kernel_record

    items = [Item(row["case"], row["number"], row["seconds"], row["tallies"]) for row in found]
    reached = [Reached.from_json(row) for row in found]
    places: dict[str, dict[str, list[tuple[int, int]]]] = {}
    known: dict[str, str] = {}
    for kernel in sorted(set().union(*(each.kernels for each in reached))):
        code, visited = kernel_record(store, kernel)
        known[code] = kernel
        places[kernel] = {}
        for file, line, column in visited:
            places[kernel].setdefault(file, []).append((line, column))
    return Suite(items, [each.lines for each in reached], [each.kernels for each in reached], places, known)
