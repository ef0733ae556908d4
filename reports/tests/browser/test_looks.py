"""Every page, small and large, dark and light: nothing sticks out, an accessibility checker finds nothing."""

import pytest

NAMES = ("parity", "divergent", "incomplete", "single", "history")
VIEWS = [(width, scheme) for width in (360, 1400) for scheme in ("light", "dark")]
CASE, WAIVED = "#layer/mixtral/float16/zipf", "#down/qwen2_moe/bfloat16/zipf"


@pytest.fixture(scope="session")
def axe():
    """The violations in a tab, as text."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError:
        pytest.fail("these tests need axe-playwright-python: pip install 'tritonmoe[tests]'")
    checker = Axe()

    def check(tab, part: str | None = None) -> str:
        found = checker.run(tab, part)
        return found.generate_report() if found.violations_count else ""

    return check


@pytest.mark.parametrize(("name", "width"), [*((name, 360) for name in NAMES), ("divergent", 1400)])
def test_nothing_sticks_out_of_its_window(name, width, opened):
    tab = opened(name, width)
    assert too_wide(tab) == []
    unfold(tab)
    assert too_wide(tab) == []


# One of each kind and scheme; the slow test has every page in every view.
@pytest.mark.parametrize(("name", "width", "scheme"), [("parity", 360, "dark"), ("history", 360, "light")])
def test_a_page_has_no_violation(name, width, scheme, opened, axe):
    assert axe(opened(name, width, scheme)) == ""


def test_a_case_in_its_own_view_fits_and_has_no_violation(opened, axe):
    tab = opened("divergent", 360, "light", hash_=CASE)
    tab.wait_for_selector("dialog[open]")
    assert too_wide(tab, "dialog *") == []
    assert axe(tab, "dialog") == ""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_no_violation_in_any_view(name, width, scheme, opened, axe, screenshot):
    tab = opened(name, width, scheme)
    screenshot(tab, f"{name}-{width}-{scheme}")
    assert axe(tab) == ""
    if name == "divergent":
        tab.select_option("[name=stage]", "down")
        screenshot(tab, f"filtered-{width}-{scheme}")
        assert axe(tab) == ""
        tab.click(f"#grid a[href='{WAIVED}']")
        screenshot(tab, f"case-{width}-{scheme}", whole=False)
        assert axe(tab) == ""
        tab.keyboard.press("Escape")
    unfold(tab, cases=5)  # one case is like another, and the checker is slow
    screenshot(tab, f"{name}-{width}-{scheme}-unfolded")
    assert axe(tab) == ""
    assert too_wide(tab) == []


def test_the_colours_follow_the_system(opened):
    papers = {scheme: background(opened("parity", scheme=scheme)) for scheme in ("light", "dark")}
    assert papers["light"] > 240 * 3
    assert papers["dark"] < 30 * 3


def test_a_cell_of_the_grid_can_be_hit_with_a_finger(opened):
    tab = opened("parity", 360)
    sizes = tab.eval_on_selector_all("#grid tbody a", "all => all.map(a => [a.clientWidth, a.clientHeight])")
    assert min(width for width, _ in sizes) >= 24
    assert min(height for _, height in sizes) >= 30


def test_on_paper_there_are_no_controls_and_what_is_folded_is_there(opened):
    tab = opened("parity")
    tab.emulate_media(media="print")
    assert not tab.is_visible("#filter")
    assert tab.is_visible("text=layer/mixtral/float16/zipf >> nth=0")
    assert too_wide(tab) == []
    assert len(tab.pdf(format="A4")) > 50_000


def unfold(tab, cases: int = 162) -> None:
    tab.eval_on_selector_all("details:not(.case)", "all => all.forEach(each => { each.open = true })")
    tab.eval_on_selector_all(
        "details.case", "(all, cases) => all.slice(0, cases).forEach(each => { each.open = true })", cases
    )


def too_wide(tab, part: str = "body *") -> list[str]:
    """Elements that reach out of the window to the right, or have more in them than they show."""
    return tab.evaluate(
        """part => [...document.querySelectorAll(part)].filter(each => {
             const box = each.getBoundingClientRect();
             const hides = each.scrollWidth > each.clientWidth + 1
               && getComputedStyle(each).overflowX !== "visible";
             return box.width > 1 && (box.right > innerWidth + 1 || box.left < -1 || hides);
           }).map(each => `${each.tagName}.${each.className}: ${each.textContent.slice(0, 60)}`)
           .concat(document.documentElement.scrollWidth > innerWidth ? ["the document"] : [])""",
        part,
    )


def background(tab) -> int:
    """The sum of red, green and blue of the page's paper."""
    colour = tab.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor")
    return sum(int(part) for part in colour.strip("rgb()").split(","))
