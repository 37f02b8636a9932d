"""A log in a real browser: first error, any line, search and folding of a log that is longer than its page."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from buildtool.model.logs.marks import LogMark, MarkKind
from tests.support.browser import DESK, NARROW, WAIT, Window, chromium
from tests.support.inline import run
from tests.web.seeded import configure, fill, pages

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("browser")]

LINES = 20_000
ERROR = b"src/k\xc3\xa4se.c:12:5: \x1b[1;31merror:\x1b[m <b>no</b> such thing\n"


def a_log() -> tuple[bytes, list[LogMark]]:
    head = b"".join(b"cc -c module_%d.c\n" % number for number in range(1, 12_001))
    tail = b"".join(b"cc -c module_%d.c\n" % number for number in range(12_001, LINES))
    begin, end = LogMark(0, 0, MarkKind.BEGIN, 0.0, "configure"), LogMark(1, 9_000, MarkKind.BEGIN, 1.0, "build")
    at = head.index(b"\n", 9_000) + 1
    return head + ERROR + tail, [begin, LogMark(1, at, end.kind, 1.0, "build")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("seeded")
    path = configure(directory)
    run(fill(directory / "state"))
    logs, (log, marks) = LogStore(directory / "state", Inline()), a_log()
    run(logs.append(7, 3, 0, log, len(log), marks))
    run(logs.finish(7, 3))
    with pages(path) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def marked(page: Page, line: int) -> None:
    expect(page.locator(".ln.t > a").first).to_have_text(str(line), timeout=WAIT)


@pytest.mark.parametrize("size", [DESK, pytest.param(NARROW, marks=pytest.mark.long)], ids=["desk", "narrow"])
def test_it_begins_at_the_first_error_and_goes_to_any_line_search_and_step(
    browser: Browser, site: str, size: tuple[int, int]
) -> None:
    window = Window(browser, site, size)
    page = window.page
    page.goto("/build/7/log")
    marked(page, 12_001)
    row = page.locator(".ln.t")
    expect(row).to_contain_text("error: <b>no</b> such thing")
    expect(row.locator(".c1")).to_have_text("error:")
    assert window.faults() == []
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/logs/" in one.url else None)
    page.evaluate("location.hash = '#L19990-L19992'")
    marked(page, 19_990)
    expect(page.locator(".ln.t")).to_have_count(3)
    expect(page.locator(".ln").last).to_contain_text("module_19999.c")
    assert len(asked) == 1, "the end of a log is fetched once, and not for each of its lines"
    page.locator("[data-view]").focus()
    page.keyboard.press("n")
    marked(page, 12_001)
    page.keyboard.press("/")
    page.keyboard.type("MODULE_77")
    expect(page.get_by_role("status").last).to_contain_text("111 lines found")
    marked(page, 77)
    expect(page.locator("mark").first).to_have_text("module_77")
    page.evaluate("document.querySelector('[data-view]').scrollTop = 0")
    page.locator("[data-fold='0']").click()
    expect(page.locator("[data-fold='0']")).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".ln").nth(1)).to_contain_text("▾")
    page.get_by_role("button", name="Wrap").click()
    page.get_by_role("button", name="Times").click()
    expect(page.locator(".ln time").first).to_contain_text(":")
    window.close()


def test_what_is_selected_of_its_text_stays_when_its_lines_are_drawn_anew(browser: Browser, site: str) -> None:
    """As they are with each look for what is new, and when the window scrolls by a few lines."""
    window = Window(browser, site)
    page = window.page
    page.goto("/build/7/log")
    marked(page, 12_001)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.ln.t'))")
    chosen = page.evaluate("String(getSelection())")
    assert "no</b> such thing" in chosen
    for step in (0, 40, -60):
        page.evaluate(
            """(step) => new Promise((drawn) => {
                new PerformanceObserver(drawn).observe({ type: "mark" });
                const view = document.querySelector("[data-view]");
                view.scrollTop += step;
                if (!step) view.dispatchEvent(new Event("scroll"));
            })""",
            step,
        )
        assert page.evaluate("String(getSelection())") == chosen
    numbers = page.evaluate("[...document.querySelectorAll('.ln > a')].map((link) => +link.textContent)")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    window.close()


def test_it_stays_as_it_is_when_the_page_around_it_changes(browser: Browser, site: str) -> None:
    """What appears before it, as here the words about a silent metaserver, may not have it made anew without script."""
    window = Window(browser, site)

    def before_it_was_noticed(route: Route) -> None:
        answer = route.fetch()
        text = re.sub(r'<div class="note bad" id="silence".*?</div>', "", answer.text(), flags=re.DOTALL)
        route.fulfill(response=answer, body=text)

    window.page.route("**/build/7/log", before_it_was_noticed)
    window.page.goto("/build/7/log")
    marked(window.page, 12_001)
    expect(window.page.locator("#silence")).to_be_visible(timeout=WAIT)
    marked(window.page, 12_001)
    expect(window.page.get_by_role("button", name="Wrap")).to_be_visible()
    window.close()


def test_without_script_it_is_read_all_the_same(browser: Browser, site: str) -> None:
    window = Window(browser, site, scripts=False)
    window.page.goto("/build/7/log")
    expect(window.page.locator(".ln.e")).to_contain_text("error: <b>no</b> such thing")
    window.page.get_by_role("link", name="Lines before").click()
    expect(window.page.locator(".ln").first).to_contain_text("module_11881")
    window.close()
