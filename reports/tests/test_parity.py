"""The verdict on two reports: every rule a line in a table."""

import itertools
import json
import math
import sys
from collections.abc import Callable

import pytest

from reports import Report, assess, compare, read
from reports.matrix import REQUIRED
from reports.parity import distance_in_bounds

from .build import Draft, sha

LAYER, DOWN, INTEGER = (
    "layer/mixtral/float32/zipf",
    "down/qwen2_moe/float16/balanced",
    "permute/mixtral/float32/zipf",
)
CHECK = ("conformance.test_properties", "test_zero_tokens[float32]")


def move(case_id: str, by: float, example: int = 1) -> Callable[[Draft], object]:
    def spoil(draft: Draft) -> None:
        entries = draft.sketch(case_id)
        entries[example]["v"][5] += by
        draft.put_sketch(case_id, entries)

    return spoil


def stop(case_id: str, status: str) -> Callable[[Draft], object]:
    return lambda draft: draft.put(case_id, _status=status, _message="why not")


def empty(draft: Draft) -> None:
    draft.put(LAYER, examples="0").put_sketch(LAYER, [])


def fewer(draft: Draft) -> None:
    draft.put(LAYER, examples="2").put_sketch(LAYER, draft.sketch(LAYER)[:2])


def both(*spoilers: Callable[[Draft], object]) -> Callable[[Draft], object]:
    return lambda draft: [spoil(draft) for spoil in spoilers]


# What is done to the right report of two that agree: (change, verdict, exit code, what a reason says)
CHANGES: dict[str, tuple[Callable[[Draft], object], str, int, str]] = {
    "nothing": (lambda d: None, "PARITY", 0, ""),
    "a difference within both bounds": (move(LAYER, 0.3), "PARITY", 0, ""),
    "a commit that is dirty": (lambda d: d.claim(commit=d.suite["commit"] + "+dirty"), "PARITY", 0, ""),
    "a commit that is unknown": (lambda d: d.claim(commit="unknown"), "PARITY", 0, ""),
    "other versions": (lambda d: d.claim(torch="2.14.0", triton="3.8.0"), "PARITY", 0, ""),
    "a skipped check": (lambda d: d.check("test_graph", "skipped", "no GPU"), "PARITY", 0, ""),
    "a check that the left has not": (lambda d: d.check("test_graph", "passed"), "PARITY", 0, ""),
    "a check fewer": (lambda d: d.checks.pop(CHECK), "PARITY", 0, ""),
    "an output too far": (move(LAYER, 2.0), "DIVERGENT", 1, f"{LAYER}: outputs are"),
    "an exact output that differs": (
        move(DOWN, 1.0, example=0),
        "DIVERGENT",
        1,
        f"{DOWN}: outputs are ∞ times as far apart as both bounds allow (example 0)",
    ),
    "other integers": (
        lambda d: d.put(INTEGER, outputs__integer_digest=sha("x")),
        "DIVERGENT",
        1,
        f"{INTEGER}: integer outputs differ",
    ),
    "other integers in a case that has both": (
        lambda d: d.put(LAYER, outputs__integer_digest=sha("x")),
        "DIVERGENT",
        1,
        f"{LAYER}: integer outputs differ",
    ),
    "a failure": (
        lambda d: d.fail(LAYER),
        "DIVERGENT",
        1,
        f"{LAYER}: passes on cuda, fails on gfx942: y[12, 45]",
    ),
    "a crash": (
        lambda d: d.cases.update({LAYER: {"!status": "failed", "!message": "illegal access"}}),
        "DIVERGENT",
        1,
        f"{LAYER}: passes on cuda, fails on gfx942: illegal access",
    ),
    "a failed check": (
        lambda d: d.check("test_graph", "failed", "differs"),
        "DIVERGENT",
        1,
        "check conformance.test_more::test_graph: fails on gfx942: differs",
    ),
    "a failed check of both sides": (
        lambda d: d.checks.update({CHECK: {"!status": "failed"}}),
        "DIVERGENT",
        1,
        "check conformance.test_properties::test_zero_tokens[float32]: fails on gfx942",
    ),
    "a case missing": (lambda d: d.without(LAYER), "INCOMPLETE", 2, f"{LAYER}: missing from gfx942"),
    "a case skipped": (stop(LAYER, "skipped"), "INCOMPLETE", 2, f"{LAYER}: skipped on gfx942: why not"),
    "a case in error": (
        stop(LAYER, "error"),
        "INCOMPLETE",
        2,
        f"{LAYER}: stopped by an error on gfx942: why not",
    ),
    "a case of no example": (empty, "INCOMPLETE", 2, f"{LAYER}: ran no example on gfx942"),
    "a case of fewer examples": (fewer, "INCOMPLETE", 2, f"{LAYER}: ran 3 examples on one side and 2"),
    "other inputs": (
        lambda d: d.put(LAYER, inputs__digest=sha("x")),
        "INCOMPLETE",
        2,
        f"{LAYER}: ran on other inputs",
    ),
    "other inputs in a case that fails": (
        lambda d: d.fail(LAYER).put(LAYER, inputs__digest=sha("x")),
        "INCOMPLETE",
        2,
        f"{LAYER}: ran on other inputs",
    ),
    "a check in error": (
        lambda d: d.check("test_graph", "error"),
        "INCOMPLETE",
        2,
        "stopped by an error on gfx942",
    ),
    "no cases": (
        lambda d: d.cases.clear(),
        "INCOMPLETE",
        2,
        "162 cases, missing from gfx942: router/mixtral",
    ),
    "another corpus": (lambda d: d.claim(corpus__digest=sha("x")), "INCOMPLETE", 2, "not the same corpus"),
    "stale sources": (lambda d: d.claim(source__digest=sha("x")), "INCOMPLETE", 2, "not the same sources"),
    "profile smoke": (
        lambda d: d.claim(profile="smoke"),
        "INCOMPLETE",
        2,
        "the profiles differ: certify and smoke",
    ),
    "profile soak": (
        lambda d: d.claim(profile="soak"),
        "INCOMPLETE",
        2,
        "profile soak draws its own examples",
    ),
    "a failure and a case missing": (
        both(lambda d: d.fail(LAYER), lambda d: d.without(DOWN)),
        "DIVERGENT",
        1,
        f"{LAYER}: passes on cuda",
    ),
    "a failure under stale sources": (
        both(lambda d: d.fail(LAYER), lambda d: d.claim(source__digest=sha("x"))),
        "INCOMPLETE",
        2,
        "not the same sources",
    ),
    "a failure under another corpus": (
        both(lambda d: d.fail(LAYER), lambda d: d.claim(corpus__digest=sha("x"))),
        "INCOMPLETE",
        2,
        "not the same corpus",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_verdict_after(change: str, cuda, readback):
    spoil, verdict, exit_code, reason = CHANGES[change]
    right = Draft("gfx942")
    spoil(right)
    right = readback(right)
    parity = compare(cuda, right)
    assert (parity.verdict, parity.exit_code) == (verdict, exit_code)
    assert bool(parity.reasons) == (verdict != "PARITY")
    assert reason == "" or any(reason in each for each in parity.reasons)
    assert "cuda (hardware) and gfx942 (emulated)" in parity.headline

    swapped = compare(right, cuda)
    assert (swapped.verdict, swapped.exit_code) == (verdict, exit_code)
    assert "gfx942 (emulated) and cuda (hardware)" in swapped.headline


LIVE = {  # the platforms of the record and of what was made just now: how the headline begins
    ("cuda", "gfx942"): "NVIDIA (recorded) against AMD (emulated, live): agree on 162 of 162 cases",
    ("cuda", "rocm"): "NVIDIA (recorded) against AMD (hardware, live): ",
    ("cuda", "interpreter"): "NVIDIA (recorded) against no chip (interpreted, live): ",
    ("gfx942", "cuda"): "AMD (emulated, recorded) against NVIDIA (hardware, live): ",
}


@pytest.mark.parametrize("platforms", LIVE)
def test_a_live_comparison_says_which_side_is_a_record(platforms: tuple[str, str], readback):
    recorded, live = (readback(Draft(platform)) for platform in platforms)
    assert compare(recorded, live, live=True).headline.startswith(LIVE[platforms])


def test_a_report_agrees_with_itself(cuda):
    parity = compare(cuda, cuda)
    assert (parity.verdict, parity.exit_code, parity.reasons) == ("PARITY", 0, ())
    assert all(row.distance in (0, None) and row.integers_equal for row in parity.rows)
    assert parity.labels == ("left cuda", "right cuda")
    assert any("with itself" in note for note in parity.notes)


def test_a_case_that_fails_on_both_sides_is_divergent(readback):
    left, right = (
        readback(Draft(platform).fail(LAYER), f"{platform}.xml") for platform in ("cuda", "gfx942")
    )
    parity = compare(left, right)
    assert parity.verdict == "DIVERGENT"
    assert parity.reasons[0].startswith(f"{LAYER}: fails on both sides: fails on cuda")


def test_smoke_against_smoke_is_compared_and_says_so(readback):
    left, right = (readback(Draft(platform, "smoke"), f"{platform}.xml") for platform in ("cuda", "rocm"))
    parity = compare(left, right)
    assert parity.verdict == "PARITY"
    assert any("smoke" in note for note in parity.notes)


def test_two_soaks_are_not_compared(readback):
    left, right = (readback(Draft(platform, "soak"), f"{platform}.xml") for platform in ("cuda", "rocm"))
    assert compare(left, right).verdict == "INCOMPLETE"


def test_divergence_that_does_not_count_is_still_told(cuda, readback):
    right = readback(Draft("gfx942").fail(LAYER).claim(source__digest=sha("x")))
    parity = compare(cuda, right)
    assert any(note.startswith("not counted") and LAYER in note for note in parity.notes)


NOTES: dict[str, tuple[Callable[[Draft], object], str]] = {
    "dirty": (lambda d: d.claim(commit=d.suite["commit"] + "+dirty"), "gfx942: the tree had changes"),
    "unknown": (lambda d: d.claim(commit="unknown"), "gfx942: the commit is unknown"),
    "near ties counted": (lambda d: None, "9 rows with router logits closer than their bound"),
    "near ties that differ": (
        lambda d: d.put(LAYER, near_ties="2"),
        f"{LAYER}: the sides count different near ties",
    ),
    "skipped checks": (
        lambda d: d.check("test_graph", "skipped"),
        "1 check beside the matrix skipped: conformance",
    ),
    "other checks": (
        lambda d: d.check("test_graph", "passed"),
        "1 check only on gfx942: conformance.test_more",
    ),
}


@pytest.mark.parametrize("note", NOTES)
def test_a_note_changes_no_verdict(note: str, cuda, readback):
    spoil, expected = NOTES[note]
    right = Draft("gfx942")
    spoil(right)
    parity = compare(cuda, readback(right))
    assert parity.verdict == "PARITY"
    assert any(expected in each for each in parity.notes)


def test_the_worst_comes_first(cuda, readback):
    right = (
        Draft("gfx942").fail("down/mixtral/float16/zipf", worst="7").fail(LAYER, worst="nan").without(DOWN)
    )
    right.fail("gate_up/mixtral/float16/zipf", worst="70")
    parity = compare(cuda, readback(right))
    assert [row.id for row in parity.rows[:4]] == [
        LAYER,
        "gate_up/mixtral/float16/zipf",
        "down/mixtral/float16/zipf",
        DOWN,
    ]
    assert sorted(row.id for row in parity.rows) == sorted(REQUIRED)
    agreeing = [max(row.error_worst, row.distance or 0) for row in parity.rows[4:]]
    assert agreeing == sorted(agreeing, reverse=True)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """A report for every change."""
    folder = tmp_path_factory.mktemp("zoo")
    found = []
    for index, (spoil, *_) in enumerate(CHANGES.values()):
        draft = Draft("cuda" if index % 2 else "interpreter")
        spoil(draft)
        found.append(read(draft.write(folder / f"{index}.xml")))
    return found


def test_every_pair_has_one_of_three_verdicts(zoo: list[Report]):
    seen = set()
    for left, right in itertools.combinations_with_replacement(zoo, 2):
        parity = compare(left, right)
        seen.add((parity.verdict, parity.exit_code))
        assert bool(parity.reasons) == (parity.exit_code != 0)
        assert len(parity.rows) == 162
    assert seen == {("PARITY", 0), ("DIVERGENT", 1), ("INCOMPLETE", 2)}


SMALL, LARGE = 5e-324, sys.float_info.max
DISTANCES = [
    (1.0, 1.0, 0.0, 0.0, 0.0),
    (0.0, -0.0, 0.0, 0.0, 0.0),
    (1.0, 1.5, 0.5, 0.5, 0.5),
    (1.0, 2.0, 0.5, 0.5, 1.0),
    (1.0, 3.0, 0.5, 0.5, 2.0),
    (1.0, 1.0 + 2**-52, 0.0, 0.0, math.inf),
    (0.0, SMALL, 0.0, 0.0, math.inf),
    (0.0, SMALL, SMALL, 0.0, 1.0),
    (LARGE, -LARGE, LARGE, LARGE, 1.0),
    (LARGE, -LARGE, 0.0, 0.0, math.inf),
    (LARGE, -LARGE, LARGE, 0.0, 2.0),
    (math.nan, 1.0, 1.0, 1.0, math.inf),
    (math.inf, math.inf, 1.0, 1.0, math.inf),
    (1.0, 2.0, math.nan, 1.0, math.inf),
]


@pytest.mark.parametrize(("left", "right", "left_bound", "right_bound", "distance"), DISTANCES)
def test_distance_in_units_of_the_bounds(left, right, left_bound, right_bound, distance):
    assert distance_in_bounds(left, right, left_bound, right_bound) == distance
    assert distance_in_bounds(right, left, right_bound, left_bound) == distance


def test_a_distance_beyond_the_bounds_by_one_rounding_is_above_one():
    allowed = math.nextafter(2.0, 0)
    assert distance_in_bounds(2.0, 0.0, allowed, 0.0) > 1


SINGLE: dict[str, tuple[Callable[[Draft], object], str, int]] = {
    "nothing": (lambda d: None, "PASSED", 0),
    "a failure": (lambda d: d.fail(LAYER), "FAILED", 1),
    "a failed check": (lambda d: d.check("test_graph", "failed"), "FAILED", 1),
    "a case missing": (lambda d: d.without(LAYER), "INCOMPLETE", 2),
    "a case skipped": (stop(LAYER, "skipped"), "INCOMPLETE", 2),
    "a case in error": (stop(LAYER, "error"), "INCOMPLETE", 2),
    "a case of no example": (empty, "INCOMPLETE", 2),
    "a check in error": (lambda d: d.check("test_graph", "error"), "INCOMPLETE", 2),
    "no cases": (lambda d: d.cases.clear(), "INCOMPLETE", 2),
    "a failure and a case missing": (lambda d: d.fail(LAYER).without(DOWN), "FAILED", 1),
}


@pytest.mark.parametrize("change", SINGLE)
def test_the_verdict_on_one_report_after(change: str, readback):
    spoil, verdict, exit_code = SINGLE[change]
    draft = Draft("interpreter")
    spoil(draft)
    assessment = assess(readback(draft))
    assert (assessment.verdict, assessment.exit_code) == (verdict, exit_code)
    assert bool(assessment.reasons) == (exit_code != 0)
    assert assessment.headline.startswith("interpreter (interpreted) ")


def test_the_required_list_is_the_162_cases():
    assert len(set(REQUIRED)) == len(REQUIRED) == 162
    assert REQUIRED[0] == "router/mixtral/float32/balanced"
    assert "layer/deepseek_v3/bfloat16/zipf" in REQUIRED
    assert json.dumps(REQUIRED).count("permute/") == 27
