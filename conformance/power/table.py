"""What a run found: the table for people, the JSON for everything else."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .mutants import Mutant
from .trial import SAME, Outcome

Results = Sequence[tuple[Mutant, Outcome]]


def survivors(results: Results, listed: Mapping[str, str]) -> list[tuple[Mutant, Outcome]]:
    """Mutants that nothing saw and that are not listed as equivalent."""
    return [
        (mutant, outcome)
        for mutant, outcome in mutated(results)
        if not outcome.killed and mutant.id not in listed
    ]


def mutated(results: Results) -> list[tuple[Mutant, Outcome]]:
    """Without those of which Triton makes the unmutated code: they are no mutants, whatever their text."""
    return [(mutant, outcome) for mutant, outcome in results if outcome.how != SAME]


def summary(results: Results, listed: Mapping[str, str]) -> dict[str, Any]:
    """Counts and kill rates, of operators' mutants and of named faults; a rate of nothing is None."""
    made: dict[str, Any] = {}
    same, results = len(results), mutated(results)
    same -= len(results)
    for kind in ("operators", "named"):
        mine = [(m, o) for m, o in results if (m.operator == "named") == (kind == "named")]
        killed = sum(outcome.killed for _, outcome in mine)
        equivalent = sum(not outcome.killed and mutant.id in listed for mutant, outcome in mine)
        made[kind] = {
            "mutants": len(mine),
            "killed": killed,
            "equivalent": equivalent,
            "survived": len(mine) - killed - equivalent,
            "kill_rate_before_equivalents": killed / len(mine) if mine else None,
            "kill_rate": killed / (len(mine) - equivalent) if len(mine) > equivalent else None,
        }
    made["same_code"] = same
    made["how"] = dict(Counter(outcome.how for _, outcome in results if outcome.killed).most_common())
    made["by_operator"] = _by(results, lambda mutant: mutant.operator)
    made["by_file"] = _by(results, lambda mutant: mutant.file)
    return made


def write_json(path: Path, results: Results, listed: Mapping[str, str], run: Mapping[str, Any]) -> None:
    """Everything, one mutant a line."""
    rows = []
    for mutant, outcome in results:
        row = {
            "id": mutant.id,
            "where": mutant.where,
            "operator": mutant.operator,
            "description": mutant.description,
            **({"models": mutant.models} if mutant.models else {}),
            "diff": mutant.diff,
            **{**asdict(outcome), "seconds": round(outcome.seconds, 2)},
            **({"equivalent": listed[mutant.id]} if mutant.id in listed else {}),
        }
        rows.append(json.dumps(row))
    head = json.dumps({**run, "summary": summary(results, listed)}, indent=1)[:-2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head},\n "mutants": [\n' + ",\n".join(rows) + "\n ]\n}\n")


def text(results: Results, listed: Mapping[str, str]) -> str:
    """A line a mutant: outcome, who saw it after how much, where it is, what is wrong."""
    lines = [f"{'outcome':10} {'seen by':58} {'after':>5} {'s':>6}  mutant"]
    for mutant, outcome in results:
        word = _word(mutant, outcome, listed)
        seen = f"{outcome.by or '-'}, {outcome.how}" if outcome.killed else "-"
        lines.append(
            f"{word:10} {seen[-58:]:58} {outcome.examples:5} {outcome.seconds:6.1f}  {mutant.id} "
            f"({mutant.where}): {mutant.description}"
        )
    return "\n".join(lines)


def _word(mutant: Mutant, outcome: Outcome, listed: Mapping[str, str]) -> str:
    if outcome.killed or outcome.how == SAME:
        return "killed" if outcome.killed else SAME
    return "equivalent" if mutant.id in listed else "SURVIVED"


def totals(results: Results, listed: Mapping[str, str]) -> str:
    made = summary(results, listed)
    lines = []
    for kind, counts in ((kind, made[kind]) for kind in ("operators", "named")):
        if counts["mutants"]:
            lines.append(
                f"{kind}: {counts['mutants']} mutants, {counts['killed']} killed "
                f"({_percent(counts['kill_rate_before_equivalents'])}), {counts['equivalent']} equivalent, "
                f"{counts['survived']} survived; kill rate {_percent(counts['kill_rate'])}"
            )
    ways = ", ".join(f"{how} {number}" for how, number in made["how"].items())
    if made["same_code"]:
        lines.append(f"not counted: {made['same_code']} of which Triton makes the same code")
    return "\n".join([*lines, f"seen as: {ways or 'nothing'}"])


def survivor(mutant: Mutant) -> str:
    """A survivor as its author needs it: what is wrong, the diff, and how to run it again."""
    return (
        f"SURVIVED {mutant.id}\n  {mutant.where}: {mutant.description}\n{mutant.diff}\n"
        f"  run it again: tritonmoe power --only {mutant.id}"
    )


def _by(results: Results, key: Any) -> dict[str, dict[str, int]]:
    made: dict[str, dict[str, int]] = {}
    for mutant, outcome in results:
        row = made.setdefault(key(mutant), {"mutants": 0, "killed": 0})
        row["mutants"] += 1
        row["killed"] += outcome.killed
    return made


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f}%"
