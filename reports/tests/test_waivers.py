"""Waivers: known failures, owned and temporary."""

import datetime
from pathlib import Path

import pytest

from reports import ReportError, assess, compare, read_waivers, text

from .build import Draft

LAYER, DOWN = "layer/mixtral/float32/zipf", "down/qwen2_moe/float16/balanced"
TODAY = datetime.date(2026, 1, 15)
FIELDS = {
    "cases": f'["{LAYER}"]',
    "architectures": '["gfx942"]',
    "reason": '"flushes subnormals"',
    "issue": '"https://example.org/issues/7"',
    "owner": '"Ada Lovelace"',
    "expires": "2026-01-31",
}


def entry(**changes: str) -> str:
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value}
    return "[[waiver]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())


@pytest.fixture
def waivers(tmp_path: Path):
    def written(content: str):
        path = tmp_path / "waivers.toml"
        path.write_text(content, encoding="utf-8")
        return read_waivers(path)

    return written


@pytest.fixture
def judged(readback, waivers):
    """The verdict on two drafts, with waivers, on a day."""

    def judge(left: Draft, right: Draft, content: str, today: datetime.date = TODAY):
        reports = readback(left, "left.xml"), readback(right, "right.xml")
        return compare(*reports, waivers(content), today)

    return judge


CUDA, BROKEN = Draft("cuda"), Draft("gfx942").fail(LAYER)
RULES = {
    "a waived failure": (CUDA, BROKEN, entry(), "PARITY"),
    "no waiver": (CUDA, BROKEN, "", "DIVERGENT"),
    "a waiver for another case": (CUDA, BROKEN, entry(cases=f'["{DOWN}"]'), "DIVERGENT"),
    "a waiver for another architecture": (CUDA, BROKEN, entry(architectures='["gfx950"]'), "DIVERGENT"),
    "a waiver for the other side's architecture": (
        CUDA,
        BROKEN,
        entry(architectures='["sm90"]'),
        "DIVERGENT",
    ),
    "an architecture with features": (CUDA, Draft("rocm").fail(LAYER), entry(), "PARITY"),
    "those very features": (
        CUDA,
        Draft("rocm").fail(LAYER),
        entry(architectures='["gfx942:sramecc+:xnack-"]'),
        "PARITY",
    ),
    "an unexpected pass": (CUDA, Draft("gfx942"), entry(), "DIVERGENT"),
    "a waiver that concerns neither side": (CUDA, Draft("interpreter"), entry(), "PARITY"),
    "another failure beside it": (CUDA, BROKEN.copy().fail(DOWN), entry(), "DIVERGENT"),
    "a case missing beside it": (CUDA, BROKEN.copy().without(DOWN), entry(), "INCOMPLETE"),
    "a waived case that is missing": (CUDA, Draft("gfx942").without(LAYER), entry(), "INCOMPLETE"),
    "a waived case that is skipped": (
        CUDA,
        Draft("gfx942").put(LAYER, _status="skipped"),
        entry(),
        "INCOMPLETE",
    ),
    "failing on both sides, waived for one": (CUDA.copy().fail(LAYER), BROKEN, entry(), "DIVERGENT"),
    "failing on both sides, waived for both": (
        CUDA.copy().fail(LAYER),
        BROKEN,
        entry(architectures='["gfx942", "sm90"]'),
        "PARITY",
    ),
    "waived for both, failing on one": (CUDA, BROKEN, entry(architectures='["gfx942", "sm90"]'), "DIVERGENT"),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_verdict_with(rule: str, judged):
    left, right, content, verdict = RULES[rule]
    assert judged(left, right, content).verdict == verdict


def test_a_waived_failure_is_told(judged):
    parity = judged(CUDA, BROKEN, entry())
    assert "agree on 161 of 162 cases; 1 failure waived" in parity.headline
    printed = text.render(parity)
    for part in (
        "Waivers in force",
        LAYER,
        "gfx942",
        "flushes subnormals",
        "issues/7",
        "Ada Lovelace",
        "2026-01-31",
    ):
        assert part in printed


def test_an_unexpected_pass_says_what_to_do(judged):
    parity = judged(CUDA, Draft("gfx942"), entry())
    assert parity.reasons == (
        f"{LAYER}: passes on gfx942 although it is waived: remove the waiver (https://example.org/issues/7)",
    )


def test_a_waiver_ends_with_its_last_day(judged):
    last = datetime.date(2026, 1, 31)
    assert judged(CUDA, BROKEN, entry(), last).verdict == "PARITY"
    parity = judged(CUDA, BROKEN, entry(), last + datetime.timedelta(days=1))
    assert parity.verdict == "DIVERGENT"
    assert parity.waivers == ()
    assert any("expired on 2026-01-31" in note and LAYER in note and "Ada" in note for note in parity.notes)


def test_an_expired_waiver_does_not_ask_to_be_removed_by_failing(judged):
    parity = judged(CUDA, Draft("gfx942"), entry(expires="2020-01-01"))
    assert parity.verdict == "PARITY"
    assert any("expired" in note for note in parity.notes)


def test_one_report_alone_is_judged_by_the_same_waivers(readback, waivers):
    known = waivers(entry())
    assert assess(readback(BROKEN), known, TODAY).verdict == "PASSED"
    assert assess(readback(Draft("gfx942")), known, TODAY).verdict == "FAILED"


FAULTS = {
    "not TOML": ("[[waiver", "is no TOML"),
    "something else": ("x = 1\n", "something besides [[waiver]]"),
    "one table": ("[waiver]\nx = 1\n", "something besides [[waiver]]"),
    "a list of strings": ('waiver = ["x"]\n', "waiver 1: is no table"),
    "a field too many": (entry(note='"x"'), "unknown: note"),
    "cases not a list": (entry(cases=f'"{LAYER}"'), "cases must be a list"),
    "no case": (entry(cases="[]"), "cases must be a list"),
    "a pattern": (entry(cases='["layer/*"]'), "'layer/*' is no case"),
    "a case twice": (entry(cases=f'["{LAYER}", "{LAYER}"]'), "cases names something twice"),
    "a case that is a number": (entry(cases="[7]"), "cases must be text"),
    "no architecture": (entry(architectures="[]"), "architectures must be a list"),
    "a blank reason": (entry(reason='"  "'), "reason must be text"),
    "an endless reason": (entry(reason=f'"{"x" * 1001}"'), "reason must be text"),
    "an issue that is no link": (entry(issue='"#7"'), "issue is '#7'; expected a link"),
    "an issue that runs": (entry(issue='"javascript:alert(1)"'), "expected a link"),
    "a blank owner": (entry(owner='""'), "owner must be text"),
    "a date in quotes": (entry(expires='"2026-01-31"'), "expected a date without quotes"),
    "a time": (entry(expires="2026-01-31T00:00:00"), "expected a date without quotes"),
    "the same again": (entry() + entry(), f"waiver 2: {LAYER} on gfx942 is in waiver 1 already"),
    "too many": (entry() * 201, "at most 200"),
} | {f"no {field}": (entry(**{field: ""}), f"missing: {field}") for field in FIELDS}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault_is_refused(fault: str, waivers):
    content, expected = FAULTS[fault]
    with pytest.raises(ReportError) as caught:
        waivers(content)
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path):
    with pytest.raises(ReportError, match="No such file"):
        read_waivers(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ReportError, match="is no TOML"):
        read_waivers(tmp_path / "bytes.toml")


def test_an_empty_file_waives_nothing(waivers):
    assert waivers("# none\n") == ()
