"""`tritonmoe power`: faults put into the layer one at a time; the suite has to see each."""

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

EXAMPLES = """\
Each mutant is a copy of the layer with one thing wrong: a comparison, a mask, a stride, a rounding, a fault
that a real project shipped. The suite's smoke profile runs on each, on the emulated gfx942, to the first
failure. First of all the unmutated layer has to pass, and one that writes zeros has to fail.

exit codes:
  0  every mutant was killed, or is in the reviewed list of equivalent ones
  1  one survived, or the list is wrong; a correct layer was refused
  2  it could not run: the unmutated layer fails, a mutant is unknown, ...

examples:
  tritonmoe power                           40 mutants, drawn with a fresh seed
  tritonmoe power --sample 40 --seed 7      the same 40 again
  tritonmoe power --all --resume power.jsonl --json reports/evidence/power.json
  tritonmoe power --named-only              faults that real projects shipped
  tritonmoe power --only combine.py:combine_kernel:call:0a1b2c3d
  tritonmoe power --false-alarms            300 runs of correct layers, of which none may be refused
"""
WORKERS = os.cpu_count() or 1


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser of `tritonmoe`."""
    parser = subparsers.add_parser(
        "power",
        help="prove that the suite can fail: mutants of the layer",
        description="Puts faults into the layer's source, one at a time, and runs the suite on each.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--sample", type=_count, default=40, metavar="N", help="so many, at random (default: 40)"
    )
    which.add_argument("--all", action="store_true", help="every one, the named ones included")
    which.add_argument("--named-only", action="store_true", help="the named faults alone")
    which.add_argument("--only", action="append", metavar="ID", help="this one; may be repeated")
    which.add_argument(
        "--false-alarms",
        type=_count,
        nargs="?",
        const=300,
        metavar="N",
        help="the opposite error: so many runs of correct variants and fresh examples (300)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of what is drawn (default: fresh, printed)")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="keep outcomes there, and take them from there"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument(
        "--workers", type=_count, default=WORKERS, metavar="N", help=f"default here: {WORKERS}"
    )
    parser.set_defaults(run=power)


def power(arguments: argparse.Namespace) -> int:
    """Chooses mutants, runs the control and then them, prints the table; returns the exit code."""
    from . import runner

    if arguments.false_alarms:
        return _false_alarms(arguments)
    started = time.monotonic()
    runner.prepare()
    from conformance.environment import source_digest

    from . import equivalents, rounds, table
    from .mutants import all_mutants
    from .scratch import Scratch

    try:
        listed = equivalents.read()
        mutants = all_mutants(runner.TREE / "tritonmoe")
        chosen, seed = _chosen(arguments, mutants)
    except ValueError as error:
        print(f"tritonmoe power: {error}", file=sys.stderr)
        return 2
    sources = runner.Sources.of()
    state = runner.State(arguments.resume, sources)
    with runner.scratch_folder() as folder:
        try:
            scratch = Scratch(runner.TREE, Path(folder))
            brief = () if arguments.only else listed
            sample = not (arguments.all or arguments.named_only or arguments.only)
            rounds.run(scratch, chosen, state, arguments.workers, brief, sample)
        except runner.CannotRun as error:
            print(f"tritonmoe power: {error}", file=sys.stderr)
            return 2
    results = [(mutant, state.get(mutant)) for mutant in chosen]
    print(table.text(results, listed))
    left = table.survivors(results, listed)
    outcomes = {mutant.id: outcome for mutant, outcome in results}
    wrong = equivalents.problems(listed, {mutant.id for mutant in mutants}, outcomes)
    for mutant, _ in left:
        print(f"\n{table.survivor(mutant)}")
    print("", table.totals(results, listed), *wrong, sep="\n")
    if arguments.json:
        run = {
            "digest": sources.whole,
            "source.digest": source_digest(),
            "seed": seed,
            "seconds": round(time.monotonic() - started),
            "platform": "gfx942",
        }
        table.write_json(arguments.json, results, listed, run)
    return 1 if left or wrong else 0


def _false_alarms(arguments: argparse.Namespace) -> int:
    from . import false_alarms

    given = {"--runs": arguments.false_alarms, "--workers": arguments.workers}
    given |= {"--seed": arguments.seed, "--json": arguments.json}
    pairs = [(name, str(value)) for name, value in given.items() if value is not None]
    return false_alarms.main([part for pair in pairs for part in pair])


def _chosen(arguments: argparse.Namespace, mutants: list) -> tuple[list, int | None]:
    """The mutants asked for, and the seed of a sample. Raises ValueError for an unknown id."""
    import random

    if arguments.only:
        by_id = {mutant.id: mutant for mutant in mutants}
        unknown = [each for each in arguments.only if each not in by_id]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such mutant of the sources as they are now")
        return [by_id[each] for each in arguments.only], None
    if arguments.all:
        return mutants, None
    if arguments.named_only:
        return [mutant for mutant in mutants if mutant.operator == "named"], None
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    print(
        f"seed {seed}: the same sample again with --sample {arguments.sample} --seed {seed}", file=sys.stderr
    )
    return random.Random(seed).sample(mutants, min(arguments.sample, len(mutants))), seed


def _count(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r}; expected a whole number of at least 1")
    return int(value)
