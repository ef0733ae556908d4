"""The page as it is written: whole without a script, and with nothing that a report could smuggle in."""

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from reports import document, history, history_output, page
from reports.executed import read_coverage
from reports.matrix import REQUIRED
from reports.power import read_power
from reports.verdict import Result

from .build import sha
from .results import ATTACK, DOWN, LAYER, OTHER_BITS, make_results
from .suite_files import coverage_run, mutant, part, power_run, put

VOID = {"meta", "link", "br", "img", "col", "wbr", "hr", "input", "path", "circle", "rect"}


class Page(HTMLParser):
    """Parses a page, refusing tags that do not match, and remembers what tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.first_heading = self.text = ""
        self.contents: dict[str, list[str]] = {"style": [], "script": []}
        self.in_grid = False
        self.grid_cells: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.in_grid = dict(attrs).get("class") == "grid"
        if tag in self.contents:
            self.contents[tag].append("")
        if tag in ("td", "th"):
            self.text += " "
        if tag == "td" and "tbody" in self.open and self.in_grid:
            self.grid_cells.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "h1" in self.open:
            self.first_heading += data
        if self.open and self.open[-1] in self.contents:
            self.contents[self.open[-1]][-1] += data
        else:
            self.text += data
        if "td" in self.open and "tbody" in self.open and self.in_grid:
            self.grid_cells[-1] += data

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def words(html: str) -> str:
    """What a page says, without its script and style."""
    body = re.sub(r"<(style|script)>.*?</\1>|<wbr>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return make_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def pages(results: dict[str, Result]) -> dict[str, Page]:
    return {name: Page(page.render(result)) for name, result in results.items()}


@pytest.fixture(scope="module")
def every(results: dict[str, Result], pages: dict[str, Page]) -> dict[str, Page]:
    """The pages of verdicts, and one of a history that an attacker is part of."""
    attack = results["one attack"].reports[0]
    traced = history.trace([results["one"].reports[0], attack])
    return {**pages, "history": Page(history_output.page(traced))}


def test_the_page_is_sound_and_has_the_verdict_first(results, pages):
    for name, result in results.items():
        html = pages[name]
        headings = [tag for tag, _ in html.tags if re.fullmatch("h[1-6]", tag)]
        assert headings[0] == "h1", name
        assert headings.count("h1") == 1, name
        assert html.first_heading.split()[0] == result.verdict, name
        assert result.headline in html.first_heading


def test_the_grid_has_a_cell_for_every_case_that_leads_to_it(pages):
    for name, html in pages.items():
        assert len(html.grid_cells) == 162, name
        titles = [each["title"] for each in html.having("td") if "title" in each]
        assert [title.split(":")[0] for title in titles] == list(REQUIRED), name
        links = [each["href"] for each in html.having("a") if each.get("aria-label")]
        assert links == [f"#{case_id}" for case_id in REQUIRED], name


def test_every_case_is_told_once_and_no_id_is_there_twice(every):
    for name, html in every.items():
        ids = [attributes["id"] for _, attributes in html.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        if name != "history":
            assert {each["id"] for each in html.having("article") if "id" in each} == set(REQUIRED), name


def test_every_case_says_how_to_run_it_again(pages):
    """By the command that its own example needs, where it failed; else by the whole case's."""
    for name in ("parity", "divergent"):
        told = len(re.findall("<dt>replay on |<dt>run it again</dt>", pages[name].html))
        assert told >= len(REQUIRED), name
    assert f"pytest conformance --profile certify --case {REQUIRED[0]}" in pages["parity"].text


def test_a_cell_is_told_apart_without_colour(pages):
    cells = dict(zip(REQUIRED, pages["divergent"].grid_cells, strict=True))
    assert cells[LAYER] == "✕NaN"
    assert cells[DOWN].startswith("?")
    assert cells[OTHER_BITS] == "≠0"
    assert cells["permute/mixtral/float32/balanced"] == "0"
    waived = dict(zip(REQUIRED, pages["waived"].grid_cells, strict=True))
    assert waived[LAYER] == "w3.5"


def test_the_page_loads_nothing_and_runs_only_its_own_script(every):
    for name, html in every.items():
        used = {tag for tag, _ in html.tags}
        assert not used & {"link", "img", "iframe", "object", "embed", "base"}, name
        sheet = html.contents["style"][0]
        assert "url(" not in sheet
        assert "@import" not in sheet
        for tag, attributes in html.tags:
            assert not {"src", "srcset", "style", "action"} & set(attributes)
            assert not any(attribute.startswith("on") for attribute in attributes)
            if "href" in attributes:
                assert tag == "a"
                assert re.match(r"#|https://example\.org/", attributes["href"])


def test_the_policy_allows_what_is_in_the_page_by_its_hash_and_nothing_else(every):
    for name, html in every.items():
        metas = html.having("meta")
        found = [each["content"] for each in metas if each.get("http-equiv") == "Content-Security-Policy"]
        assert found == [document.policy(script=name != "history")]
        directives = dict(each.split(" ", 1) for each in found[0].split("; "))
        assert directives["default-src"] == "'none'"
        assert set(directives) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
        for kind in ("style", "script"):
            allowed = "'none'"
            for content in html.contents[kind]:
                digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
                allowed = f"'sha256-{digest}'"
            assert directives[f"{kind}-src"] == allowed, name
            assert len(html.contents[kind]) == (0 if allowed == "'none'" else 1)


def test_the_tables_have_headings_with_scope(every):
    for html in every.values():
        assert all(attributes.get("scope") for attributes in html.having("th"))


def test_an_attack_is_shown_as_the_text_it_is(pages, every):
    for name in ("attack", "one attack", "waived", "history"):
        assert "&lt;script&gt;alert(1)" in every[name].html
        assert "{{ 7 * 7 }}" in every[name].text


def test_the_page_says_what_the_evidence_is_worth(pages):
    assert "nothing of this ran on the chip" in pages["parity"].text
    assert "says nothing of any chip" in pages["one attack"].text


@pytest.mark.parametrize(
    "told",
    [
        "y[12, 45] got 1.5 expected 1.25",
        '"tokens": 3',
        f"pytest conformance --case {LAYER}",
        "missing from gfx942",
        "integer outputs ≠",
        "1 of 3 examples equal to the last bit",
    ],
)
def test_the_page_explains_a_failure(told: str, pages):
    assert told in pages["divergent"].text


def test_the_page_marks_differences_of_the_environments(pages):
    rows = re.findall(r"<tr(?: class=other)?><th scope=\"row\">([^<]*)</th>(.*)</tr>", pages["parity"].html)
    marked = {name for name, cells in rows if "≠ differs" in cells}
    assert marked == {"platform", "evidence", "device name", "device arch", "driver"}
    assert "5 properties of 15 differ" in pages["parity"].text
    assert "≠ must not differ" in pages["incomplete"].text


def test_reports_of_other_runs_prove_nothing_however_alike_their_numbers_are(pages):
    assert "What was proven 162 of 162 cases agree on both sides" in words(pages["parity"].html)
    assert "What was proven 0 of 162 cases: the reports are not the same run" in words(
        pages["incomplete"].html
    )


def test_a_long_text_is_cut_and_the_page_says_so(readback):
    from reports import assess

    from .build import Draft

    result = assess(readback(Draft("cuda").fail(LAYER, "x" * 100_000)))
    text = words(page.render(result))
    assert "(the first 2,000 of 100,000 characters; the file has them all)" in text
    assert len(text) < 150_000


def test_without_a_power_run_the_page_says_that_nothing_is_known(pages):
    assert "No power run was given" in pages["parity"].text
    assert "No coverage was given" in pages["parity"].text


POWER = [
    ({}, "80%", "Measured on the sources of these reports."),
    ({"source.digest": sha("else")}, "80%", "measured on other sources"),
    ({"source.digest": None}, "80%", "measured on unknown sources"),
    ({"mutants": [mutant("a")]}, "100%", "1 of 1, on these sources"),
    ({"seed": 7}, "80%", "a random sample with seed 7"),
]


@pytest.mark.parametrize(("changes", "rate", "told"), POWER)
def test_the_page_says_what_the_suite_would_have_seen(changes, rate: str, told: str, results, tmp_path):
    power = read_power(put(tmp_path / "power.json", power_run(**changes)))
    text = words(page.render(results["parity"], power))
    assert told in text
    assert (
        f"With what power {rate.replace('80%', '85.7%')} of the faults put into the layer were seen" in text
    )


def test_the_page_names_survivors_equivalents_and_named_faults(results, tmp_path):
    power = read_power(put(tmp_path / "power.json", power_run()))
    text = words(page.render(results["parity"], power))
    for told in (
        "1 fault survived",
        "tritonmoe power --only combine.py:combine_kernel:compare:2",
        "only the order of programs changes",
        "KernelBench #165; seen by combine/mixtral/float32/zipf, wrong result",
        "2 of 2 seen, 100%",
        "mask 3 3 0 0",
        "combine.py 6 4 1 1",
    ):
        assert told in text


COVERAGE = [
    ({}, "373 of 375"),
    ({}, "1 part without a reason"),
    ({}, "on hardware only"),
    ({"kernels": None}, "not seen"),
    ({"platform": "gfx950"}, "No report here is of this platform and profile."),
    ({"source.digest": sha("else")}, "Measured on other sources"),
    (
        {"configurations": {"family": "cdna3", "shipped": ["a"], "unexecuted": ["a down"]}},
        "a down not executed",
    ),
]


@pytest.mark.parametrize(("changes", "told"), COVERAGE)
def test_the_page_says_what_was_executed(changes, told: str, results, tmp_path):
    coverage = read_coverage(put(tmp_path / "coverage.json", coverage_run(**changes)))
    assert told in words(page.render(results["parity"], coverage=[coverage]))


def test_files_of_the_suite_are_no_more_trusted_than_reports(results, tmp_path):
    run = power_run(
        platform=ATTACK[:60], mutants=[mutant(ATTACK, killed=False, description=ATTACK, diff=ATTACK)]
    )
    power = read_power(put(tmp_path / "power.json", run))
    kernels = coverage_run()["kernels"] | {"unexecuted": [part(ATTACK, ATTACK, ATTACK)]}
    coverage = read_coverage(put(tmp_path / "coverage.json", coverage_run(kernels=kernels)))
    html = Page(page.render(results["parity"], power, [coverage]))
    assert len(html.contents["script"]) == 1
    assert not html.having("img")
    assert html.html.count("&lt;script&gt;alert(1)") >= 5
