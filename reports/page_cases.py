"""A case as the page shows it: its cell in the grid, and a view of its own with all that is known of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from .model import FAILED, Case, Sketch
from .parity import distance_in_bounds
from .verdict import AGREES, DIVERGES, INCOMPLETE, WAIVED, Result, Row
from .wording import NOTHING, count, number

BANDS = (
    ("b0", 0.0, "0, exact"),
    ("b1", 0.25, "to 0.25"),
    ("b2", 0.5, "to 0.5"),
    ("b3", 0.75, "to 0.75"),
    ("b4", 1.0, "to 1"),
)
PER_LINE = 48  # examples in a line of the strip
MAX_STRIP = 8 * PER_LINE
MAX_LONG = 60  # cases whose messages, examples and commands are shown at length, the worst
LONG, SHORT = 2_000, 300


@dataclass(frozen=True)
class Cell:
    """A case in the grid: how it is coloured, its number, and a mark that needs no colour."""

    style: str
    text: str
    mark: str
    spoken: str


@dataclass(frozen=True)
class Strip:
    """How far apart both sides are, an example a square; `paths` draws them, by the grid's colours.

    `equal` of `compared` examples are equal to the last bit; `left_out` are not drawn.
    """

    paths: tuple[tuple[str, str], ...]
    height: int
    left_out: int
    equal: int
    compared: int


@dataclass(frozen=True)
class View:
    """All of a case. `word` is its outcome as this page calls it, `limit` how long its texts may be."""

    row: Row
    word: str
    cell: Cell
    strip: Strip | None
    limit: int
    other_inputs: bool
    figures: str

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def parts(self) -> list[str]:
        """Stage, model, dtype, routing."""
        return self.row.id.split("/")


def views(result: Result) -> list[View]:
    """Of every case, in the result's order: worst first."""
    return [
        _view(row, result.labels, LONG if rank < MAX_LONG and row.outcome != AGREES else SHORT)
        for rank, row in enumerate(result.rows)
    ]


def words(pair: bool) -> dict[str, str]:
    """What the page calls an outcome: of one report, nothing agrees with anything."""
    if pair:
        return {AGREES: "agrees", DIVERGES: "diverges", INCOMPLETE: "not compared", WAIVED: "waived"}
    return {AGREES: "passes", DIVERGES: "fails", INCOMPLETE: "not run", WAIVED: "waived"}


def bit_equal(cases: Iterable[View]) -> tuple[int, int]:
    """(examples whose sketches are equal to the last bit, examples compared by sketch)."""
    strips = [view.strip for view in cases if view.strip]
    return sum(strip.equal for strip in strips), sum(strip.compared for strip in strips)


def _view(row: Row, labels: tuple[str, ...], limit: int) -> View:
    word = words(len(labels) == 2)[row.outcome]
    measured = [case.measured for case in row.cases if case and case.measured]
    both = len(row.cases) == len(measured) == 2
    return View(
        row=row,
        word=word,
        cell=_cell(row, word),
        strip=_strip(measured[0].sketch, measured[1].sketch) if both and row.distance is not None else None,
        limit=limit,
        other_inputs=both and measured[0].inputs_digest != measured[1].inputs_digest,
        figures=_figures(row, labels),
    )


def _figures(row: Row, labels: tuple[str, ...]) -> str:
    """Such as `cuda 0.42, gfx942 0.41, distance <.01`."""
    shown = [f"{label} {_error(case)}" for label, case in zip(labels, row.cases, strict=True)]
    if row.distance is not None:
        shown.append(f"distance {number(row.distance)}")
    return ", ".join(shown)


def _error(case: Case | None) -> str:
    if case is None:
        return "missing"
    return number(case.measured.error_worst) if case.measured else case.status


def _cell(row: Row, word: str) -> Cell:
    error = row.error_worst
    text = NOTHING if error is None else number(error)
    spoken = f"{row.id}: {word}" + ("" if error is None else f", error {text} of its bound")
    failed = any(case and case.status == FAILED for case in row.cases)
    if row.outcome == DIVERGES:
        return Cell("bad", text, "✕" if failed else "≠" if row.outputs_differ else "!", spoken)
    if row.outcome == INCOMPLETE:
        return Cell("gap", text, "?", spoken)
    if row.outcome == WAIVED:
        return Cell("excused", text, "w", spoken)
    return Cell(_band(error), text, "", spoken)


def _band(figure: float | None) -> str:
    return next((name for name, limit, _ in BANDS if figure is not None and figure <= limit), "gap")


def _strip(left: tuple[Sketch, ...], right: tuple[Sketch, ...]) -> Strip:
    found = [_distance(*pair) for pair in zip(left, right, strict=True)]
    distances = [each for each in found if each is not None]
    paths: dict[str, str] = {}
    for place, distance in enumerate(distances[:MAX_STRIP]):
        style = "bad" if distance > 1 else _band(distance)
        corner = f"{place % PER_LINE * 12} {place // PER_LINE * 12}"
        paths[style] = f"{paths.get(style, '')}M{corner}h10v10h-10z"
    return Strip(
        paths=tuple(sorted(paths.items())),
        height=12 * -(-min(len(distances), MAX_STRIP) // PER_LINE),
        left_out=len(distances[MAX_STRIP:]),
        equal=distances.count(0),
        compared=len(distances),
    )


def _distance(left: Sketch, right: Sketch) -> float | None:
    """Of the farthest of the projections; None where there are none, as of a case that failed."""
    return max(map(distance_in_bounds, left.values, right.values, left.bounds, right.bounds), default=None)


def amount_of(outcome: str, result: Result) -> str:
    """Such as `3 diverge`, `1 is not compared`; "" for none."""
    amount = len(result.outcomes(outcome))
    pair = len(result.reports) == 2
    verbs = {
        DIVERGES: ("diverges", "diverge") if pair else ("fails", "fail"),
        INCOMPLETE: (
            ("could not be compared", "could not be compared") if pair else ("did not run", "did not run")
        ),
        WAIVED: ("fails and is waived", "fail and are waived"),
    }[outcome]
    return count(amount, *verbs) if amount else ""
