"""What people and programs see: the verdict first, all of it, and nothing that a report could smuggle in."""

import json
import re
from html.parser import HTMLParser

import pytest

from reports import Report, assess, compare, machine, markdown, page, read, read_waivers, text
from reports.matrix import REQUIRED
from reports.verdict import Result
from reports.wording import number, printable

from .build import Draft

LAYER, DOWN = "layer/mixtral/float32/zipf", "down/qwen2_moe/float16/balanced"
ATTACK = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(1)>{{ 7 * 7 }}"
VOID = {"meta", "link", "br", "img", "col", "wbr", "hr", "input", "path", "circle"}


class Page(HTMLParser):
    """Parses a page, refusing tags that do not match, and remembers what tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.first_heading = self.style = ""
        self.grid_cells: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td" and "tbody" in self.open and self.grid:
            self.grid_cells.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "h1" in self.open:
            self.first_heading += data
        if "style" in self.open:
            self.style += data
        if "td" in self.open and "tbody" in self.open and self.grid:
            self.grid_cells[-1] += data

    @property
    def grid(self) -> bool:
        tables = [attributes for tag, attributes in self.tags if tag == "table"]
        return bool(tables) and tables[-1].get("class") == "grid"


def hostile(platform: str) -> Draft:
    """A report that is sound and has an attack wherever a string is free."""
    free = ("device.name", "device.arch", "driver", "torch", "triton", "hypothesis", "python")
    draft = Draft(platform).claim(**{name.replace(".", "__"): ATTACK for name in free})
    draft.fail(LAYER, ATTACK).put(LAYER, error__where=ATTACK, failure__example=ATTACK, failure__replay=ATTACK)
    draft.put(DOWN, _status="skipped", _message=ATTACK)
    draft.put("down/mixtral/float16/zipf", error__where=ATTACK)
    draft.checks[ATTACK, ATTACK] = {"!status": "failed", "!message": ATTACK}
    return draft


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Verdicts of every kind, on two reports and on one, by name."""
    folder = tmp_path_factory.mktemp("results")
    waivers = folder / "waivers.toml"

    def readback(draft: Draft, name: str) -> Report:
        return read(draft.write(folder / name))

    toml = json.dumps(ATTACK)
    waivers.write_text(
        f'[[waiver]]\ncases = ["{LAYER}"]\narchitectures = ["gfx942", {toml}]\nreason = {toml}\n'
        f'owner = {toml}\nissue = "https://example.org/?a=1&b=2"\nexpires = 2999-01-01\n'
    )
    cuda, other = readback(Draft("cuda"), "cuda.xml"), readback(Draft("gfx942"), "gfx942.xml")
    broken = Draft("gfx942").fail(LAYER, worst="nan").without(DOWN)
    broken.put("permute/mixtral/float32/zipf", outputs__integer_digest="0" * 64)
    broken_report = readback(broken, "broken.xml")
    attack = readback(hostile("interpreter"), "<b>attack.xml")
    return {
        "parity": compare(cuda, other),
        "divergent": compare(cuda, broken_report),
        "waived": compare(cuda, readback(Draft("gfx942").fail(LAYER), "w.xml"), read_waivers(waivers)),
        "incomplete": compare(cuda, readback(Draft("gfx942").claim(corpus__digest="0" * 64), "i.xml")),
        "empty": compare(cuda, readback(_without_cases(), "e.xml")),
        "attack": compare(attack, cuda, read_waivers(waivers)),
        "one": assess(other),
        "one broken": assess(broken_report),
        "one attack": assess(attack, read_waivers(waivers)),
    }


@pytest.fixture(scope="module")
def pages(results: dict[str, Result]) -> dict[str, Page]:
    return {name: Page(page.render(result)) for name, result in results.items()}


def _without_cases() -> Draft:
    draft = Draft("gfx942")
    draft.cases.clear()
    draft.checks.clear()
    return draft


def test_the_page_is_sound_and_has_the_verdict_first(results, pages):
    for name, result in results.items():
        html = pages[name]
        headings = [tag for tag, _ in html.tags if re.fullmatch("h[1-6]", tag)]
        assert headings[0] == "h1", name
        assert headings.count("h1") == 1, name
        assert html.first_heading.split()[0] == result.verdict, name
        assert result.headline in html.first_heading


def test_the_grid_has_a_cell_for_every_case(pages):
    for name, html in pages.items():
        assert len(html.grid_cells) == 162, name
        titles = [a["title"] for tag, a in html.tags if tag == "td" and "title" in a]
        assert [title.split(":")[0] for title in titles] == list(REQUIRED), name


def test_a_cell_is_told_apart_without_colour(pages):
    cells = dict(zip(REQUIRED, pages["divergent"].grid_cells, strict=True))
    assert cells[LAYER] == "✕NaN"
    assert cells[DOWN].startswith("?")
    assert cells["permute/mixtral/float32/zipf"] == "≠0"
    assert cells["permute/mixtral/float32/balanced"] == "0"
    waived = dict(zip(REQUIRED, pages["waived"].grid_cells, strict=True))
    assert waived[LAYER] == "w3.5"


def test_the_page_loads_and_runs_nothing(pages):
    for html in pages.values():
        assert not {tag for tag, _ in html.tags} & {
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "base",
        }
        assert "url(" not in html.style
        assert "@import" not in html.style
        for tag, attributes in html.tags:
            assert "src" not in attributes
            assert "srcset" not in attributes
            assert "style" not in attributes
            assert not any(attribute.startswith("on") for attribute in attributes)
            if "href" in attributes:
                assert tag == "a"
                assert re.match(r"#|https://example\.org/", attributes["href"])
        policies = [a["content"] for tag, a in html.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_tables_have_headings_with_scope(pages):
    for html in pages.values():
        assert all(attributes.get("scope") for tag, attributes in html.tags if tag == "th")


def test_an_attack_is_shown_as_the_text_it_is(results):
    for name in ("attack", "one attack", "waived"):
        html = page.render(results[name])
        assert "&lt;script&gt;alert(1)" in html
        assert "{{ 7 * 7 }}" in html
        shown = markdown.render(results[name])
        assert not re.search(r"(?<!\\)<|(?<!\\)!\[|https?://", shown)
        assert text.render(results[name]).replace("\n", "").isprintable()


def test_the_page_says_what_the_evidence_is_worth(results):
    assert "nothing of this ran on the chip" in page.render(results["parity"])
    assert "nothing about any chip" in page.render(results["one attack"]).replace("\n", " ")


def test_the_page_explains_a_failure(results):
    html = page.render(results["divergent"])
    for part in (
        "y[12, 45] got 1.5 expected 1.25",
        "&#34;tokens&#34;: 3",
        f"pytest conformance --case {LAYER}",
    ):
        assert part in html


def test_the_page_marks_differences_of_the_environments(results):
    rows = re.findall(r"<tr><th scope=\"row\">([^<]*)</th>(.*)</tr>", page.render(results["parity"]))
    marked = {name for name, cells in rows if "≠ differs" in cells}
    assert marked == {"platform", "evidence", "device name", "device arch", "driver"}


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
    for case_id in (LAYER, DOWN, "permute/mixtral/float32/zipf"):
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
