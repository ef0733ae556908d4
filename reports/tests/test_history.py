"""What changed between reports: by name, step by step, and what was lost on the way."""

import json
import math

import pytest

from reports import history, history_output
from reports.matrix import REQUIRED

from .build import EXAMPLES, Draft, sha
from .in_process import run
from .results import DOWN, LAYER
from .test_cli import assert_one_line_error


@pytest.fixture
def step(readback):
    """The step from a sound report to a changed one."""

    def made(draft: Draft, first: Draft | None = None) -> history.Step:
        reports = [readback(first or Draft("gfx942"), "a.xml"), readback(draft, "b.xml")]
        return history.trace(reports).steps[0]

    return made


def named(changes) -> list[tuple[str, str, str]]:
    return [(each.name, each.before, each.after) for each in changes]


def test_the_same_again_is_no_change(step):
    assert step(Draft("gfx942")).summary == "nothing"


CHANGES = [
    (Draft("gfx942").fail(LAYER), "outcomes", [(LAYER, "passed", "failed")]),
    (Draft("gfx942").without(LAYER), "outcomes", [(LAYER, "passed", "missing")]),
    (Draft("gfx942").claim(triton="3.9.0"), "environment", [("triton", "3.7.1", "3.9.0")]),
    (
        Draft("gfx942").check("test_new", "passed"),
        "checks",
        [("conformance.test_more::test_new", "missing", "passed")],
    ),
    (
        Draft("gfx942").put(LAYER, examples="2").put_sketch(LAYER, Draft("gfx942").sketch(LAYER)[:2]),
        "examples",
        [(LAYER, str(EXAMPLES), "2")],
    ),
]


@pytest.mark.parametrize(("draft", "kind", "expected"), CHANGES)
def test_a_change_is_named(draft: Draft, kind: str, expected, step):
    assert named(getattr(step(draft), kind)) == expected


def test_errors_that_moved_come_with_the_largest_move_first(step):
    draft = Draft("gfx942").put(DOWN, error__worst="0.999").fail(LAYER, worst="nan")
    moved = step(draft).errors
    assert [each.id for each in moved] == [LAYER, DOWN]
    assert math.isnan(moved[0].after)
    assert step(draft, draft.copy()).errors == ()


def test_other_inputs_are_told_from_other_outputs(step):
    other = step(Draft("gfx942").put(LAYER, inputs__digest=sha("x"), outputs__integer_digest=sha("y")))
    assert (other.inputs, other.outputs) == ((LAYER,), ())
    other = step(Draft("gfx942").put(LAYER, outputs__integer_digest=sha("y")))
    assert (other.inputs, other.outputs) == ((), (LAYER,))
    sketch = Draft("gfx942").sketch(LAYER)
    sketch[2]["v"][0] += 0.001
    assert step(Draft("gfx942").put_sketch(LAYER, sketch)).outputs == (LAYER,)


def test_what_passed_once_and_does_not_now_is_lost(readback):
    reports = [
        readback(Draft("gfx942"), "a.xml"),
        readback(Draft("gfx942").fail(LAYER).fail(DOWN), "b.xml"),
        readback(Draft("gfx942").fail(LAYER), "c.xml"),
    ]
    found = history.trace(reports)
    assert named(found.lost) == [(LAYER, "passed", "failed")]
    assert found.exit_code == 1
    assert history.trace(reports[1:]).exit_code == 0


def test_a_check_that_is_not_there_any_more_is_no_loss_and_one_that_fails_is(readback):
    before = readback(Draft("gfx942").check("test_x", "passed"), "a.xml")
    assert history.trace([before, readback(Draft("gfx942"), "b.xml")]).lost == ()
    failing = readback(Draft("gfx942").check("test_x", "failed"), "c.xml")
    assert named(history.trace([before, failing]).lost) == [
        ("conformance.test_more::test_x", "passed", "failed")
    ]


def test_reports_are_compared_with_the_one_before_or_with_that_of_their_platform(readback):
    platforms = ("cuda", "gfx942", "cuda", "gfx942")
    reports = [readback(Draft(each), f"{place}.xml") for place, each in enumerate(platforms)]
    steps = history.trace(reports).steps
    assert [(each.before, each.after) for each in steps] == [(0, 1), (1, 2), (2, 3)]
    steps = history.trace(reports, by_platform=True).steps
    assert [(each.before, each.after) for each in steps] == [(0, 2), (1, 3)]
    with pytest.raises(ValueError, match="at least two"):
        history.trace(reports[:1])


def test_the_command_writes_text_json_and_page(tmp_path):
    changed = Draft("gfx942").claim(commit="f" * 40).fail(LAYER)
    for case_id in REQUIRED[:30]:
        changed.put(case_id, inputs__digest=sha("x"))
    files = [
        Draft("gfx942").write(tmp_path / "a.xml"),
        changed.write(tmp_path / "b.xml"),
    ]
    done = run("history", *files, "--page", tmp_path / "h.html")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("2 reports: 1 case or check passed before and does not now\n")
    for told in (f"failed   {LAYER}", "1 gfx942 to 2 gfx942:", "passed -> failed", "… and 10 more"):
        assert told in done.stdout
    page = (tmp_path / "h.html").read_text(encoding="utf-8")
    assert '<h2 id="step1">1 gfx942 to 2 gfx942</h2>' in page
    assert "layer/<wbr>mixtral/<wbr>float32/<wbr>zipf" in page
    done = run("history", *files, "--format", "json", "-o", tmp_path / "h.json")
    made = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))
    assert list(made) == ["format", "version", "exit_code", "headline", "reports", "lost", "steps"]
    assert (made["format"], made["version"], made["exit_code"]) == ("tritonmoe.history", 1, 1)
    assert made["steps"][0]["outcomes"] == [{"name": LAYER, "before": "passed", "after": "failed"}]
    assert len(made["steps"][0]["inputs"]) == 30


def test_no_number_of_a_history_is_out_of_json(readback):
    reports = [
        readback(Draft("gfx942"), "a.xml"),
        readback(Draft("gfx942").fail(LAYER, worst="inf"), "b.xml"),
    ]
    made = json.loads(
        history_output.machine(history.trace(reports)), parse_constant=lambda _: pytest.fail("NaN")
    )
    assert made["steps"][0]["errors"][0]["after"] == "inf"


def test_the_page_of_a_long_history_says_what_it_leaves_out(readback):
    draft = Draft("gfx942")
    for number in range(100):
        draft.check(f"test_{number}", "passed")
    found = history.trace([readback(Draft("gfx942"), "a.xml"), readback(draft, "b.xml")])
    assert "40 more lines left out here" in history_output.page(found)


BAD = [((), "1 report given"), (("no.xml",), "No such file")]


@pytest.mark.parametrize(("others", "told"), BAD)
def test_what_is_no_history_is_one_line(others, told: str, pair):
    assert_one_line_error(run("history", pair[0], *others), told)


def test_a_report_is_never_written_over_by_its_history(pair):
    before = pair[0].read_bytes()
    assert_one_line_error(run("history", *pair, "--page", pair[0]), "is one of the files just read")
    assert pair[0].read_bytes() == before
