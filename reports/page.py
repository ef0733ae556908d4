"""The verdict as one self-contained HTML page: what was proven, on what evidence, with what power."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from .document import document
from .executed import Coverage
from .matrix import DTYPES, MODELS, RANK, ROUTINGS, STAGES
from .model import ERROR, FAILED, PASSED, SKIPPED, WORTH, Environment, Report
from .page_cases import BANDS, View, amount_of, bit_equal, views, words
from .parity import unlike
from .power import SAME, Power, measured_on
from .verdict import AGREES, DIVERGES, INCOMPLETE, WAIVED, CheckRow, Result, total_examples
from .wording import count

MAX_REASONS = 6  # at the top; the rest below
MAX_CHECKS = 500
MAX_OPEN = 3  # cases that are wrong and stand open
_SAME_OR_NOTHING = ("profile", "source digest", "corpus digest")
MAX_LISTED = 200  # equivalent and named faults, statements


@dataclass(frozen=True)
class Property:
    """A line of the environments' table: a value a side, whether they differ, whether that bars a verdict."""

    name: str
    each: tuple[str, ...]
    differs: bool
    bars: bool
    code: bool

    @property
    def shared(self) -> bool:
        return len(self.each) > 1 and len(set(self.each)) == 1


@dataclass(frozen=True)
class Proven:
    """The figure at the top: so many of 162 did what `words` say, and what the others did."""

    cases: int
    words: str
    others: str


def render(result: Result, power: Power | None = None, coverage: Sequence[Coverage] = ()) -> str:
    """The page for a verdict on two reports (`parity.compare`) or on one (`single.assess`).

    `power` and `coverage` are what is known of the suite itself; without them the page says that nothing is.
    """
    pair = len(result.reports) == 2
    cases = views(result)
    wrong = [view for view in cases if view.row.outcome != AGREES]
    right = sorted((view for view in cases if view.row.outcome == AGREES), key=lambda view: RANK[view.id])
    properties = _properties(result)
    return document(
        "page.html",
        script=True,
        result=result,
        pair=pair,
        sides=list(zip(result.labels, result.reports, strict=True)),
        worth=WORTH,
        proven=_proven(result),
        basis=[*result.basis, *_last_bits(cases)],
        max_reasons=MAX_REASONS,
        stages=STAGES,
        models=MODELS,
        dtypes=DTYPES,
        routings=ROUTINGS,
        outcomes=_outcomes(result),
        views={view.id: view for view in cases},
        bands=BANDS,
        wrong=wrong,
        max_open=MAX_OPEN,
        right=[(stage, list(found)) for stage, found in groupby(right, lambda view: view.parts[0])],
        amount_right=len(right),
        properties=properties,
        differing=sum(each.differs for each in properties),
        checks=result.checks[:MAX_CHECKS],
        checks_left_out=len(result.checks[MAX_CHECKS:]),
        check_counts=_check_counts(result.checks),
        checks_broken=any(status in (FAILED, ERROR) for row in result.checks for status in row.statuses),
        profiles=" and ".join(sorted({report.environment.profile for report in result.reports})),
        passed=[sum(case.status == PASSED for case in report.cases.values()) for report in result.reports],
        examples=[count(total_examples(report), "example") for report in result.reports],
        power=power,
        power_on=measured_on(power.source_digest, result.reports) if power else "",
        coverage=[
            (each, measured_on(each.source_digest, result.reports), _foreign(each, result.reports))
            for each in coverage
        ],
        by_operator=power.by(lambda fault: fault.operator) if power else (),
        by_file=power.by(lambda fault: fault.file) if power else (),
        same=SAME,
        max_listed=MAX_LISTED,
    )


def _proven(result: Result) -> Proven:
    pair = len(result.reports) == 2
    if pair and unlike(*result.reports):
        # Their numbers may look alike; that proves nothing of either's sources.
        return Proven(0, "cases: the reports are not the same run of the same code", "")
    others = [amount_of(outcome, result) for outcome in (DIVERGES, INCOMPLETE, WAIVED)]
    return Proven(
        len(result.outcomes(AGREES)),
        "cases agree on both sides" if pair else "cases passed",
        ", ".join(filter(None, others)),
    )


def _last_bits(cases: Sequence[View]) -> list[str]:
    """A sentence on how many outputs are the same bits, where two sides can be compared."""
    equal, compared = bit_equal(cases)
    if not compared:
        return []
    return [
        f"Of {count(compared, 'example')} with values to compare, the projected outputs of {equal:,} are "
        "equal to the last bit."
    ]


def _outcomes(result: Result) -> list[tuple[str, str, int]]:
    """(outcome, its word, how many cases) of those that occur."""
    named = words(len(result.reports) == 2)
    return [(each, word, len(result.outcomes(each))) for each, word in named.items() if result.outcomes(each)]


def _foreign(coverage: Coverage, reports: Sequence[Report]) -> bool:
    """Whether none of the reports is of this platform and profile."""
    run = (coverage.platform, coverage.profile)
    return run not in [(each.environment.platform, each.environment.profile) for each in reports]


def _properties(result: Result) -> list[Property]:
    """One entry a property of the environments; then the files."""
    names = [each.name for each in fields(Environment)]
    table = [
        _property(name.replace("_", " "), [getattr(report.environment, name) for report in result.reports])
        for name in names
    ]
    table.append(_property("file", [report.path for report in result.reports], False))
    table.append(_property("file digest", [report.digest for report in result.reports], False))
    return table


def _property(name: str, values: list[str], may_differ: bool = True) -> Property:
    code = name in ("file", "commit") or name.endswith("digest")
    differs = may_differ and len(set(values)) > 1
    return Property(name, tuple(values), differs, differs and name in _SAME_OR_NOTHING, code)


def _check_counts(checks: tuple[CheckRow, ...]) -> str:
    """Such as `41 passed, 2 skipped`; a check counts as the worst that happened to it on any side."""
    statuses = [next((s for s in (FAILED, ERROR, SKIPPED) if s in row.statuses), PASSED) for row in checks]
    counts = [(statuses.count(s), s) for s in (FAILED, ERROR, SKIPPED, PASSED)]
    return ", ".join(f"{amount} {status}" for amount, status in counts if amount)
