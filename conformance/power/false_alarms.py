"""The opposite error: correct layers, legal launches and fresh examples, judged as ever; none may fail.

`python -m conformance.power.false_alarms --runs 300`, on the emulated gfx942.
"""

import argparse
import dataclasses
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from . import scratch
from .pool import Done, Job, run_all
from .variants import VARIANTS, sources

TREE = Path(__file__).parent.parent.parent
FRESH, CONFIGURED = "fresh examples", "another configuration"
KINDS = (FRESH, CONFIGURED, *(variant.name for variant in VARIANTS))
EXAMPLES = 4  # of a run, half of them exact
TOGETHER = 6  # runs of one kind in a process: importing the layer takes as long as some runs
SECONDS = 120.0  # for each run
TRIES = 50  # of configurations, until one fits the chip

EXAMPLES_OF_USE = """\
exit codes:
  0  nothing was refused
  1  a correct layer was refused: the judgement is wrong, or the layer that was thought correct
  2  it could not run

examples:
  python -m conformance.power.false_alarms --runs 300
  python -m conformance.power.false_alarms --runs 300 --seed 7 --only 42     run 42 of these again
"""


@dataclass(frozen=True)
class Run:
    """A kind of correct layer, a case of the matrix, and the seed of all that is drawn for it."""

    number: int
    kind: str
    case: str
    seed: int


@dataclass
class Report:
    """`alarms`: of each refused run its number, kind, case, launches, example, faults."""

    seed: int
    runs: int = 0
    examples: int = 0
    seconds: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.runs} runs of correct layers, {self.examples} examples, {len(self.alarms)} refused"]
        lines += [f"  {number:4} {kind}" for kind, number in self.kinds.items()]
        for alarm in self.alarms:
            lines.append(
                f"refused: run {alarm['run']}, {alarm['kind']}, {alarm['case']}: {alarm['faults'][0]}"
            )
            lines += [f"  launch {launch}" for launch in alarm["launch"]]
            lines.append(f"  example {json.dumps(alarm['example'])}")
        return "\n".join(lines)


def run_false_alarms(
    number: int,
    seed: int,
    workers: int,
    only: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """So many runs, kinds by turns, everything else drawn from the seed; `only` one of them.

    Raises ValueError where a variant does not fit the sources, RuntimeError where a process dies.
    """
    from .runner import prepare

    prepare()
    runs = [run for run in plan(number, seed) if only is None or run.number == only]
    report, started = Report(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tritonmoe-alarms-") as folder:
        copies = scratch.Scratch(TREE, Path(folder))
        jobs = list(_jobs(runs, copies))
        for done in run_all(jobs, workers):
            _add(report, done)
            say(f"{report.runs} of {len(runs)} runs, {len(report.alarms)} refused")
    report.seconds = round(time.monotonic() - started, 1)
    return report


def plan(number: int, seed: int) -> list[Run]:
    """The runs that a seed stands for."""
    from ..matrix import CASES

    stages = {variant.name: variant.stages for variant in VARIANTS} | {
        CONFIGURED: ("gate_up", "down", "layer")
    }
    random = Random(seed)
    made = []
    for index in range(number):
        kind = KINDS[index % len(KINDS)]
        cases = [case.id for case in CASES if case.stage in stages.get(kind, (case.stage,))]
        made.append(Run(index, kind, random.choice(cases), random.randrange(2**32)))
    return made


def _jobs(runs: Sequence[Run], copies: scratch.Scratch) -> Iterator[Job]:
    for number, kind in enumerate(KINDS):
        mine = [run for run in runs if run.kind == kind]
        if not mine:
            continue
        folder = copies.pristine
        for variant in VARIANTS:
            if variant.name == kind:
                folder = _written(
                    copies, f"variant-{number}", sources(variant, copies.pristine / "tritonmoe")
                )
        for start in range(0, len(mine), TOGETHER):
            some = mine[start : start + TOGETHER]
            yield Job(
                f"{kind}, runs from {some[0].number}", partial(_examine, folder, some), SECONDS * len(some)
            )


def _written(copies: scratch.Scratch, name: str, texts: dict[str, str]) -> Path:
    (first, text), *others = texts.items()
    folder = copies.with_file(name, first, text)
    for file, changed in others:
        path = folder / "tritonmoe" / file
        path.unlink()
        path.write_text(changed)
    return folder


def _add(report: Report, done: Done) -> None:
    if done.died:
        raise RuntimeError(f"{done.name}: {done.died}")
    for run, examples, alarm in done.value:
        report.runs += 1
        report.examples += examples
        report.kinds[run.kind] = report.kinds.get(run.kind, 0) + 1
        report.alarms += [{"run": run.number, "kind": run.kind, "case": run.case, **alarm}] if alarm else []


def _examine(folder: Path, runs: Sequence[Run]) -> list[tuple[Run, int, dict[str, Any]]]:
    """In a process of its own: the runs on the folder's layer, each with what was refused ({} if nothing)."""
    scratch.private_cache(folder)
    scratch.enter(folder)
    return [(run, EXAMPLES, _refused(run)) for run in runs]


def _refused(run: Run) -> dict[str, Any]:
    import torch

    from conformance.harness import CaseRecord, launch_of, run_example
    from conformance.matrix import case_of

    case, random = case_of(run.case), Random(run.seed)
    record, launches = CaseRecord(case), []
    waiting = fresh(case, EXAMPLES, random.randrange(2**32))
    drawn = _launches(run, case, random)  # the first serves all examples, unless it does not fit
    while waiting:
        example = waiting[0]
        launch = drawn[0] if drawn else launch_of(case, example)
        try:
            verdict, digest, _ = run_example(case, example, launch, torch.device("cpu"))
        except Exception as error:
            if len(drawn) > 1 and not _fits(error):
                drawn.pop(0)
                continue
            found = {"faults": [f"{type(error).__name__}: {error}"[:2000]], "example": example.to_json()}
            return {**found, "launch": [repr(launch)]}
        waiting.pop(0)
        launches.append(launch)
        record.add(example, launch, digest, verdict)
    faults = record.faults + record.pooled_faults()
    if not faults:
        return {}
    # Where only all examples together fail, there is no one example.
    example = record.failed.to_json() if record.failed else None
    return {"faults": faults, "example": example, "launch": sorted({repr(each) for each in launches})}


def fresh(case: Any, number: int, seed: int) -> list[Any]:
    """New examples of a case, exact and real ones by turns, in the way the corpus is drawn."""
    import hypothesis

    from conformance.matrix import MODELS
    from conformance.strategies import examples

    drawn: dict[str, list[Any]] = {"exact": [], "real": []}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=200,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(examples(case.routing, MODELS[case.model]["top_k"]))
    def collect(example: Any) -> None:
        if example not in drawn[example.family]:
            drawn[example.family].append(example)

    collect()
    half = number // 2
    return [each for pair in zip(drawn["exact"][-half:], drawn["real"][-half:], strict=True) for each in pair]


def _launches(run: Run, case: Any, random: Random) -> list[Any]:
    """Configurations to try, drawn among all that a table may hold; none where the shipped ones serve."""
    if run.kind != CONFIGURED:
        return []
    from tritonmoe.launches import family, shipped

    shipped_here = shipped(case.torch_dtype, family())
    return [_drawn(shipped_here[-1][0], random) for _ in range(TRIES)]


def _drawn(launch: Any, random: Random) -> Any:
    block_m = random.choice((16, 32, 64, 128))

    def tile(like: Any) -> Any:
        wide = random.random() < 0.4
        persistent = random.choice((0, 1, 2))
        return dataclasses.replace(
            like,
            block_m=block_m,
            block_n=random.choice((16, 32, 64, 128)),
            block_k=random.choice((16, 32, 64, 128)),
            group_m=random.choice((1, 2, 8)),
            options={
                **like.options,
                "num_warps": random.choice((1, 2, 4, 8)),
                "num_stages": random.choice((1, 2, 3)),
            },
            swapped=not wide and random.random() < 0.4,
            wide=wide,
            packed=wide and random.random() < 0.5,
            persistent=persistent,
            short=random.choice([0, *(height for height in (16, 32, 64) if height < block_m)]),
            mixed=random.choice([0, 50, 150]),
        )

    tail = random.choice((0, 0, 16, 32))
    made = dataclasses.replace(
        launch,
        name="drawn",
        block_m=block_m,
        gate_up=tile(launch.gate_up),
        down=tile(launch.down),
        tail=tail,
        skewed=None,
    )
    return dataclasses.replace(made, skewed=_drawn(launch, random)) if random.random() < 0.3 else made


def _fits(error: Exception) -> bool:
    """Whether an error is more than that a configuration needs what the chip or its emulator has not: such a
    one is refused by name before it runs, and has no result.
    """
    from conformance.gfx942 import ProgramError

    return not (isinstance(error, ProgramError) or type(error).__name__ == "OutOfResources")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.power.false_alarms",
        description="Runs correct layers through the suite's judgement; none may be refused.",
        epilog=EXAMPLES_OF_USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=300, metavar="N", help="default: 300")
    parser.add_argument("--seed", type=int, metavar="S", help="default: a fresh one, printed")
    parser.add_argument("--only", type=int, metavar="RUN", help="this one of the runs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    print(f"seed {seed}", file=sys.stderr)
    try:
        report = run_false_alarms(given.runs, seed, given.workers, given.only, _say)
    except (ValueError, RuntimeError) as error:
        print(f"\nfalse alarms: {error}", file=sys.stderr)
        return 2
    print(f"\n{report}\n{report.seconds:.0f} s; again with --runs {given.runs} --seed {seed}")
    if given.json:
        given.json.write_text(json.dumps(report.to_json(), indent=1) + "\n")
    return 1 if report.alarms else 0


def _say(line: str) -> None:
    print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
