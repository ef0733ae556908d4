"""What the suite can see: which faults it found of those put into the layer, as `tritonmoe power --json`
wrote.

The form is that of the suite's power/table.py: an object with `seed`, `platform`, `source.digest` and
`mutants`, one entry each: id, where, operator, description, diff, killed, by, how; `models` names the issue
that a named fault comes from, `equivalent` is the reviewed reason why nobody can see it. The file is
untrusted, and its summary is not read: what is counted here is its entries.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .jsonfile import Fields, load
from .model import Report

MAX_BYTES = 32 * 2**20
MAX_FAULTS = 20_000
NAMED = "named"  # the operator of faults that real projects shipped
SAME, OTHER, UNKNOWN = "same", "other", "unknown"  # sources that something was measured on


@dataclass(frozen=True)
class Fault:
    """One wrong layer, and whether the suite saw it."""

    id: str
    where: str
    operator: str
    description: str
    models: str
    diff: str
    killed: bool
    by: str
    how: str
    equivalent: str

    @property
    def file(self) -> str:
        return self.where.partition(":")[0]

    @property
    def survived(self) -> bool:
        return not self.killed and not self.equivalent


@dataclass(frozen=True)
class Tally:
    """How many of some faults were seen; equivalent ones were not, by an argument that is written down."""

    name: str
    faults: int
    killed: int
    equivalent: int

    @property
    def survived(self) -> int:
        return self.faults - self.killed - self.equivalent

    @property
    def rate(self) -> str:
        """Of those that can be seen, rounded down: 100% is all of them."""
        visible = self.faults - self.equivalent
        if not visible:
            return "nothing to see"
        return "100%" if self.killed == visible else f"{1000 * self.killed // visible / 10:.1f}%"


@dataclass(frozen=True)
class Power:
    """A power run, read and found sound. `source_digest` is "" if the file does not say on what it ran."""

    path: str
    source_digest: str
    platform: str
    seed: int | None
    faults: tuple[Fault, ...]

    @property
    def operators(self) -> Tally:
        return tally("operators", (each for each in self.faults if each.operator != NAMED))

    @property
    def named(self) -> Tally:
        return tally("named", (each for each in self.faults if each.operator == NAMED))

    @property
    def total(self) -> Tally:
        return tally("all", self.faults)

    @property
    def survivors(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if each.survived)

    @property
    def equivalents(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if each.equivalent and not each.killed)

    @property
    def named_faults(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if each.operator == NAMED)

    def by(self, key: Callable[[Fault], str]) -> list[Tally]:
        """Tallies of operators' mutants by a key, those with the most survivors first, then by name."""
        found: dict[str, list[Fault]] = {}
        for each in self.faults:
            if each.operator != NAMED:
                found.setdefault(key(each), []).append(each)
        tallies = [tally(name, faults) for name, faults in found.items()]
        return sorted(tallies, key=lambda each: (-each.survived, each.name))


def read_power(path: str | os.PathLike[str]) -> Power:
    """The power run in this file. Raises ReportError, whose message is one line, for anything else."""
    run = load(path, MAX_BYTES)
    faults = tuple(_fault(each) for each in run.each("mutants", MAX_FAULTS))
    if not faults:
        run.refuse("mutants", "an empty list", "at least one mutant: a run of nothing shows nothing")
    ids = {each.id for each in faults}
    if len(ids) != len(faults):
        run.refuse("mutants", "a list that names a mutant twice", "each mutant once")
    return Power(
        path=run.name,
        source_digest=run.digest("source.digest"),
        platform=run.text("platform", 60),
        seed=run.count("seed") if run.has("seed") else None,
        faults=faults,
    )


def tally(name: str, faults: Iterable[Fault]) -> Tally:
    """The counts of these faults."""
    listed = list(faults)
    killed = sum(each.killed for each in listed)
    return Tally(name, len(listed), killed, sum(not each.killed and bool(each.equivalent) for each in listed))


def measured_on(source_digest: str, reports: Iterable[Report]) -> str:
    """SAME, OTHER or UNKNOWN: whether what carries this digest was measured on the reports' sources."""
    if not source_digest:
        return UNKNOWN
    return SAME if {each.environment.source_digest for each in reports} == {source_digest} else OTHER


def _fault(entry: Fields) -> Fault:
    return Fault(
        id=entry.text("id"),
        where=entry.text("where"),
        operator=entry.text("operator", 200),
        description=entry.text("description"),
        models=entry.text("models") if entry.has("models") else "",
        diff=entry.text("diff", 100_000),
        killed=entry.flag("killed"),
        by=entry.text("by"),
        how=entry.text("how"),
        equivalent=entry.text("equivalent", 10_000) if entry.has("equivalent") else "",
    )
