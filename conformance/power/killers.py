"""Which examples and tests to try first on a mutant: what saw it, or others like it, before."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .mutants import Mutant
from .trial import SAME, Item, Outcome

RECORD = Path(__file__).parents[2] / "reports" / "evidence" / "power.json"
FIRST = 8  # items of a kind that go first for what they saw before


class Killers:
    """What saw a mutant in the run on record, or others of its function or wrong alike, is tried first."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], Counter[str]] = {}
        self.same: set[str] = set()  # ids of mutants on record that were the unmutated code

    @classmethod
    def on_record(cls, path: Path = RECORD) -> "Killers":
        """Those of a table that `tritonmoe power --json` wrote: what goes first, and what a sample needs."""
        made = cls()
        for row in json.loads(path.read_text())["mutants"] if path.exists() else ():
            if row["by"]:  # nothing is named where the process died
                made._add(_kinds(row["id"], row["description"]), row["by"])
            elif row["how"] == SAME:
                made.same.add(row["id"])
        return made

    def add(self, mutant: Mutant, outcome: Outcome) -> None:
        if outcome.by:
            self._add(_kinds(mutant.id, mutant.description), outcome.by)

    def of(self, mutant: Mutant) -> list[str]:
        """What saw the mutant; of a new one, what saw most of its function's, and of what is wrong alike."""
        own, *others = (self._seen.get(kind, Counter()) for kind in _kinds(mutant.id, mutant.description))
        chosen = [own] if own else others
        return [name for seen in chosen for name, _ in seen.most_common(FIRST)]

    def first(self, mutant: Mutant, items: list[Item]) -> list[Item]:
        """The same items, those that saw most of any kind's mutants before the others."""
        there = {item.name for item in items}
        rank: dict[str, int] = {}
        for kind in _kinds(mutant.id, mutant.description):
            seen = [(name, times) for name, times in self._seen.get(kind, {}).items() if name in there]
            start = 0 if len(kind) > 1 else -FIRST  # the mutant itself goes before all others
            for place, (name, _) in enumerate(sorted(seen, key=lambda row: -row[1])[:FIRST], start):
                rank[name] = min(place, rank.get(name, FIRST))
        return sorted(items, key=lambda item: rank.get(item.name, FIRST))

    def _add(self, kinds: Sequence[tuple[str, ...]], by: str) -> None:
        for kind in kinds:
            self._seen.setdefault(kind, Counter())[by] += 1


def _kinds(name: str, wrong: str) -> list[tuple[str, ...]]:
    """A mutant itself, its function (an id begins with its file and name), what is wrong with it."""
    return [(name,), ("function", *name.split(":")[:2]), ("wrong", wrong)]
