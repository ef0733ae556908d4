"""A long pair of reports: the page is made in seconds, says what it leaves out, and opens at once."""

import time
from pathlib import Path

import pytest

from reports import compare, page, read
from reports.matrix import REQUIRED
from reports.tests.build import Draft

SIZE = 15 * 2**20  # of each report
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """In place of the other pages: one that is long."""
    folder = tmp_path_factory.mktemp("long")
    files = [_long(platform).write(folder / f"{platform}.xml") for platform in ("cuda", "gfx942")]
    assert all(file.stat().st_size >= SIZE for file in files)
    started = time.process_time()
    html = page.render(compare(*map(read, files)))
    taken = time.process_time() - started
    size = sum(file.stat().st_size for file in files)
    print(f"\n{size:,} bytes read and {len(html):,} written in {taken:.1f} s")
    assert taken < 10
    assert len(html) < 3_000_000
    (folder / "long.html").write_text(html, encoding="utf-8")
    return {"long": folder / "long.html"}


@pytest.mark.parametrize("width", [360, 1400])
def test_a_long_page_opens_in_under_a_second(width: int, opened):
    tab = opened("long", width)
    times = []
    for _ in range(3):
        tab.reload(wait_until="load")
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        load = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        times.append(max(load, paint))
    print(f"\n{width} pixels: load and first paint after {', '.join(f'{each:.0f}' for each in times)} ms")
    assert sorted(times)[1] < 1000


def test_a_long_page_filters_and_opens_a_case_without_a_pause(opened):
    tab = opened("long")
    started = time.monotonic()
    tab.fill("[name=words]", "layer mixtral")
    assert tab.inner_text("output") == "9 of 162 cases"
    tab.click("#grid a[href='#layer/mixtral/float16/zipf']")
    assert tab.is_visible("dialog")
    print(f"\nfiltered and opened in {time.monotonic() - started:.2f} s")
    assert time.monotonic() - started < 2


def test_a_long_page_says_what_it_leaves_out(opened):
    tab = opened("long")
    text = tab.evaluate("document.body.textContent")
    for told in (
        "characters; the file has them all)",
        "more checks left out here; the JSON output has all.",
        "more examples not drawn",
        "cut at 300 characters: take it from the report",
    ):
        assert told in text


def _long(platform: str) -> Draft:
    """Thousands of checks, hundreds of examples a case, and failures with long messages."""
    draft = Draft(platform)
    for number in range(4_000):
        draft.check(f"test_{number:04}[{'x' * 60}]", "failed" if number % 2 else "passed", "assert " * 100)
    for case_id in REQUIRED:
        entries = draft.sketch(case_id)
        draft.put(case_id, examples="400").put_sketch(case_id, entries[:1] + entries[1:] * 200)
        draft.put_sketch(case_id, draft.sketch(case_id)[:400])
    for number, case_id in enumerate(REQUIRED[::2]):
        draft.fail(case_id, f"{number} " + "y[1, 2] is not 3; " * 2_000)
        draft.put(case_id, failure__example='{"tokens": 3} ' * 800, failure__replay="tritonmoe replay " * 100)
    return draft
