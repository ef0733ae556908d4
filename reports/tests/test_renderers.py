"""What people and programs read: the verdict first, all of it, and nothing that a report could smuggle in."""

import json
import re

import pytest

from reports import machine, markdown, text
from reports.matrix import REQUIRED
from reports.verdict import Result
from reports.wording import number, printable

from .results import DOWN, LAYER, OTHER_BITS, make_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return make_results(tmp_path_factory.mktemp("results"))


def test_an_attack_is_shown_as_the_text_it_is(results):
    for name in ("attack", "one attack", "waived"):
        shown = markdown.render(results[name])
        assert not re.search(r"(?<!\\)<|(?<!\\)!\[|https?://", shown)
        assert text.render(results[name]).replace("\n", "").isprintable()


def test_json_is_json_with_stable_keys(results):
    def no_constant(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for result in results.values():
        made = json.loads(machine.render(result), parse_constant=no_constant)
        assert list(made) == [
            *("format", "version", "verdict", "exit_code", "headline", "basis"),
            *("reasons", "notes", "sides", "cases", "checks", "waivers"),
        ]
        assert (made["format"], made["version"]) == ("tritonmoe.verdict", 1)
        assert (made["verdict"], made["exit_code"]) == (result.verdict, result.exit_code)
        assert sorted(case["id"] for case in made["cases"]) == sorted(REQUIRED)
    case = next(case for case in machine.as_dict(results["divergent"])["cases"] if case["id"] == LAYER)
    assert case["sides"][1]["error_worst"] == "nan"
    assert case["outcome"] == "diverges"


def test_text_and_markdown_begin_with_the_verdict(results):
    for result in results.values():
        assert text.render(result).startswith(f"{result.verdict}: ")
        assert markdown.render(result).startswith(f"# {result.verdict}: ")


def test_text_names_every_case_that_does_not_agree(results):
    printed = text.render(results["divergent"])
    for case_id in (LAYER, DOWN, OTHER_BITS):
        assert case_id in printed
    assert "missing from gfx942" in printed


def test_colour_only_where_it_is_wanted(results, monkeypatch: pytest.MonkeyPatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    class Pipe:
        def isatty(self) -> bool:
            return False

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert text.wants_colour(Terminal())
    assert not text.wants_colour(Pipe())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not text.wants_colour(Terminal())
    assert "\033" not in text.render(results["parity"])
    assert text.render(results["parity"], colour=True).startswith("\033[32;1mPARITY\033[0m")


NUMBERS = [
    *((0.0, "0"), (0.004, "<.01"), (0.999, "0.99"), (1.0, "1.00"), (1.0000001, "1.01"), (3.14, "3.1")),
    *((42.2, "42"), (1e9, "1e+09"), (float("inf"), "∞"), (float("-inf"), "-∞"), (float("nan"), "NaN")),
]


@pytest.mark.parametrize(("value", "shown"), NUMBERS)
def test_a_number_is_short_and_never_crosses_the_bound(value: float, shown: str):
    assert number(value) == shown


def test_text_that_is_printed_is_one_line_that_no_terminal_obeys():
    assert printable("a\n\tb\x1b[2J\u202ec\ud800") == "a  b\\x1b[2J\\u202ec\\ud800"
    assert printable("x" * 500, 10) == "x" * 9 + "…"
