"""What changed between reports, in the order in which they are given, the oldest first: a report carries no
time.

A step leads from a report to the next, or, with `by_platform`, to the next of the same platform. Cases and
checks are compared by name, never by counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from .matrix import REQUIRED
from .model import PASSED, Case, Environment, Report
from .single import Assessment, assess
from .verdict import CASES
from .wording import count

MISSING = "missing"


@dataclass(frozen=True)
class Change:
    """Something by its name, as it was and as it is."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Moved:
    """A case whose worst error over bound is another now."""

    id: str
    before: float
    after: float

    @property
    def distance(self) -> float:
        gap = abs(self.after - self.before)
        return math.inf if math.isnan(gap) else gap


@dataclass(frozen=True)
class Step:
    """From the report at place `before` to that at `after`, places counted from 0.

    `environment`: properties that changed. `outcomes`: cases whose status did. `errors`: the largest move
    first. `inputs`: cases that ran on other inputs. `outputs`: cases with the same inputs and other outputs,
    judged by integer digests and sketches. `checks`: those whose status changed, that came or that went.
    """

    before: int
    after: int
    environment: tuple[Change, ...]
    outcomes: tuple[Change, ...]
    errors: tuple[Moved, ...]
    examples: tuple[Change, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    checks: tuple[Change, ...]

    @property
    def examples_grouped(self) -> tuple[Change, ...]:
        """A line a change of number, by the case or by how many cases it is of."""
        groups: dict[tuple[str, str], list[str]] = {}
        for each in self.examples:
            groups.setdefault((each.before, each.after), []).append(each.name)
        return tuple(
            Change(ids[0] if len(ids) == 1 else count(len(ids), "case"), *numbers)
            for numbers, ids in groups.items()
        )

    @property
    def summary(self) -> str:
        """Such as `3 properties of the environment, 1 case's outcome, 12 errors`."""
        parts = (
            (self.environment, "property of the environment", "properties of the environment"),
            (self.outcomes, "outcome of a case", "outcomes of cases"),
            (self.errors, "worst error", "worst errors"),
            (self.examples, "number of examples", "numbers of examples"),
            (self.inputs, "case on other inputs", "cases on other inputs"),
            (self.outputs, "case with other outputs", "cases with other outputs"),
            (self.checks, "check", "checks"),
        )
        return ", ".join(count(len(found), *names) for found, *names in parts if found) or "nothing"


@dataclass(frozen=True)
class History:
    """The reports, what each comes to alone, the steps between them, and what was lost on the way.

    `lost`: what passed in some report of a chain and does not in its newest: cases that fail or are missing,
    and checks that fail. A check that is missing is no loss: platforms and versions have checks of their own.
    """

    reports: tuple[Report, ...]
    labels: tuple[str, ...]
    verdicts: tuple[Assessment, ...]
    steps: tuple[Step, ...]
    lost: tuple[Change, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything was lost, else 0."""
        return 1 if self.lost else 0

    @property
    def headline(self) -> str:
        kept = "nothing that passed before fails or is missing now"
        if self.lost:
            kept = (
                f"{count(len(self.lost), 'case or check', 'cases and checks')} passed before and "
                f"{'does' if len(self.lost) == 1 else 'do'} not now"
            )
        return f"{len(self.reports)} reports: {kept}"

    @property
    def passed(self) -> tuple[str, ...]:
        """Of each report, such as `160 of 162`."""
        return tuple(
            f"{sum(case.status == PASSED for case in each.cases.values())} of {CASES}"
            for each in self.reports
        )


def trace(reports: Sequence[Report], by_platform: bool = False) -> History:
    """The history of these reports, the oldest first. Raises ValueError for fewer than two."""
    if len(reports) < 2:
        raise ValueError("a history needs at least two reports")
    chains = _chains(reports) if by_platform else [list(range(len(reports)))]
    steps = [_step(reports, before, after) for chain in chains for before, after in pairwise(chain)]
    return History(
        reports=tuple(reports),
        labels=tuple(f"{place} {each.environment.platform}" for place, each in enumerate(reports, 1)),
        verdicts=tuple(map(assess, reports)),
        steps=tuple(sorted(steps, key=lambda step: step.after)),
        lost=tuple(change for chain in chains for change in _lost([reports[place] for place in chain])),
    )


def _chains(reports: Sequence[Report]) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for place, each in enumerate(reports):
        found.setdefault(each.environment.platform, []).append(place)
    return list(found.values())


def _step(reports: Sequence[Report], before: int, after: int) -> Step:
    old, new = reports[before], reports[after]
    pairs = [(case_id, old.cases.get(case_id), new.cases.get(case_id)) for case_id in REQUIRED]
    measured = [
        (case_id, ours.measured, theirs.measured)
        for case_id, ours, theirs in pairs
        if ours and theirs and ours.measured and theirs.measured
    ]
    errors = [
        Moved(case_id, ours.error_worst, theirs.error_worst)
        for case_id, ours, theirs in measured
        if not _same(ours.error_worst, theirs.error_worst)
    ]
    return Step(
        before,
        after,
        environment=_environment(old, new),
        outcomes=_changes((case_id, _status(ours), _status(theirs)) for case_id, ours, theirs in pairs),
        errors=tuple(sorted(errors, key=lambda moved: -moved.distance)),
        examples=_changes(
            (case_id, str(ours.examples), str(theirs.examples)) for case_id, ours, theirs in measured
        ),
        inputs=tuple(
            case_id for case_id, ours, theirs in measured if ours.inputs_digest != theirs.inputs_digest
        ),
        outputs=tuple(
            case_id
            for case_id, ours, theirs in measured
            if ours.inputs_digest == theirs.inputs_digest
            and (ours.integer_digest != theirs.integer_digest or ours.sketch != theirs.sketch)
        ),
        checks=_checks(old, new),
    )


def _environment(old: Report, new: Report) -> tuple[Change, ...]:
    return _changes(
        (
            each.name.replace("_", " "),
            getattr(old.environment, each.name),
            getattr(new.environment, each.name),
        )
        for each in fields(Environment)
    )


def _checks(old: Report, new: Report) -> tuple[Change, ...]:
    ours, theirs = ({check.name: check.status for check in report.checks} for report in (old, new))
    names = sorted({*ours, *theirs})
    return _changes((name, ours.get(name, MISSING), theirs.get(name, MISSING)) for name in names)


def _lost(chain: Sequence[Report]) -> list[Change]:
    """What passed in an earlier report of the chain and does not in its last."""
    *earlier, last = chain
    cases = {case_id: case.status for case_id, case in last.cases.items()}
    checks = {check.name: check.status for check in last.checks}
    once = [
        case_id for case_id in REQUIRED if any(_status(each.cases.get(case_id)) == PASSED for each in earlier)
    ]
    names = sorted({check.name for each in earlier for check in each.checks if check.status == PASSED})
    now = [(case_id, cases.get(case_id, MISSING)) for case_id in once]
    now += [(name, checks[name]) for name in names if name in checks]
    return [Change(name, PASSED, status) for name, status in now if status != PASSED]


def _changes(found) -> tuple[Change, ...]:
    return tuple(Change(name, before, after) for name, before, after in found if before != after)


def _status(case: Case | None) -> str:
    return case.status if case else MISSING


def _same(before: float, after: float) -> bool:
    return before == after or (math.isnan(before) and math.isnan(after))
