"""A real headless Chromium, and the pages that it opens.

TRITONMOE_SCREENSHOTS=DIR keeps a picture of every page in every size and scheme, for people to look at.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import compare, history, history_output, page, read, read_waivers
from reports.executed import read_coverage
from reports.power import read_power
from reports.tests.build import Draft
from reports.tests.results import make_results
from reports.tests.suite_files import coverage_run, power_run, put

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One for all tests here, and for none after them: its event loop lets no other run in this thread.
    What is not there fails them: that a page works is not to be taken on trust.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        pytest.fail("these tests need playwright: pip install 'tritonmoe[tests]'")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.fail(f"these tests need one of {', '.join(PROGRAMS)}: apt install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        # Without a sandbox, since containers give none; what is opened are files made here.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of pages of every kind, by name."""
    folder = tmp_path_factory.mktemp("pages")
    results = make_results(folder)
    power = read_power(put(folder / "power.json", power_run()))
    coverage = [read_coverage(put(folder / "coverage.json", coverage_run()))]
    changed = (
        Draft("gfx942").fail("layer/mixtral/float32/zipf").claim(triton="3.9.0").check("test_x", "failed")
    )
    reports = [results["one"].reports[0], read(changed.write(folder / "changed.xml"))]
    made = {
        "parity": page.render(results["parity"], power, coverage),
        "divergent": page.render(_divergent(folder), power),
        "incomplete": page.render(results["incomplete"]),
        "single": page.render(results["one"], power, coverage),
        "hostile": page.render(results["attack"]),
        "history": history_output.page(history.trace(reports)),
    }
    return {name: put(folder / f"{name}.html", html) for name, html in made.items()}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Opens a page, and fails the test if the page complains or asks for anything but itself."""
    contexts, faults = [], []

    def open_(name: str, width: int = 1400, scheme: str = "light", hash_: str = "", **options: Any) -> Any:
        height = 740 if width < 600 else 900
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        tab = context.new_page()
        address = pages[name].as_uri()
        tab.on("console", lambda message: faults.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on(
            "request", lambda asked: asked.url.startswith(address) or faults.append(f"asks for {asked.url}")
        )
        tab.goto(address + hash_)
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def screenshot() -> Callable[..., None]:
    folder = os.environ.get("TRITONMOE_SCREENSHOTS")

    def take(tab: Any, name: str, whole: bool = True) -> None:
        if folder:
            tab.screenshot(path=Path(folder, f"{name}.png"), full_page=whole)

    return take


def _divergent(folder: Path) -> Any:
    """Every outcome at once: two cases that diverge, one that is not compared, one that is waived."""
    waivers = folder / "known.toml"
    waivers.write_text(
        '[[waiver]]\ncases = ["down/qwen2_moe/bfloat16/zipf"]\narchitectures = ["gfx942"]\n'
        'reason = "v_dot2 flushes subnormals"\nissue = "https://example.org/issues/7"\n'
        'owner = "Ada Lovelace"\nexpires = 2999-01-31\n'
    )
    draft = Draft("gfx942").fail("layer/mixtral/float16/zipf").fail("down/qwen2_moe/bfloat16/zipf")
    draft.without("layer/qwen2_moe/float16/zipf").check("test_x[float32]", "failed", "y[3] is not finite")
    draft.put("permute/mixtral/float32/zipf", outputs__integer_digest="0" * 64)
    reports = [read(Draft("cuda").write(folder / "l.xml")), read(draft.write(folder / "r.xml"))]
    return compare(*reports, read_waivers(waivers))
