"""Every page in a real browser: both themes, on a desk, on a phone and at 320 px; axe finds nothing, nothing is said.

The farm is seeded, see ``tests/web/seeded.py``; what a page shows while things happen is in tests/e2e/test_front.py.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import DESK, NARROW, PHONE, Window, chromium
from tests.support.inline import run
from tests.web.farm import farm
from tests.web.seeded import configure, fill, pages

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("browser")]

PATHS = (
    "/",
    "/builds",
    "/builds?state=failed",
    "/builds?q=project:none",
    "/builds?q=colour:red",
    "/buildservers",
    "/buildservers/elm",
    "/buildservers/yew",
    "/your-machines",
    "/queue",
    "/?span=quarter",
    "/matrix/testproject",
    "/request",
    "/request?_several=yes",
    "/nothing-here",
    *(f"/build/{build.id}" for build in farm().builds_made),
)


def _long(size: tuple[int, int], *, dark: bool) -> Any:
    return pytest.param(size, dark, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("seeded")
    path = configure(directory)
    run(fill(directory / "state"))
    with pages(path) as address:
        yield address


@pytest.mark.parametrize(
    ("size", "dark"),
    [(DESK, False), _long(DESK, dark=True), _long(PHONE, dark=True), _long(NARROW, dark=False)],
    ids=["desk", "dark", "phone", "narrow"],
)
def test_every_page_is_accessible_says_nothing_and_asks_nobody_else(
    browser: Browser, site: str, size: tuple[int, int], dark: bool
) -> None:
    window = Window(browser, site, size, dark)
    found = {}
    for path in PATHS:
        answer = window.page.goto(path)
        assert answer is not None
        assert answer.status == {"/nothing-here": 404, "/builds?q=colour:red": 400}.get(path, 200)
        found[path] = window.faults()
    window.said = [line for line in window.said if "status of 40" not in line]  # the browser's own words of two
    window.close()
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize("size", [DESK, NARROW], ids=["desk", "narrow"])
def test_nothing_moves_when_a_page_is_there_and_it_weighs_little(
    browser: Browser, site: str, size: tuple[int, int]
) -> None:
    """Not when the header says how live it is, nor when a log gets its buttons: neither has its place by then only."""
    first = Window(browser, site, size)
    first.page.goto("/")
    expect(first.page.locator("#silence")).to_be_visible()  # from now on each page begins with it
    first.close()
    found = {}
    for path in ("/builds", "/build/3", "/build/3/log"):
        window = Window(browser, site, size)
        window.page.goto(path)
        expect(window.page.locator(".live")).to_have_text(re.compile("^not live since"))
        if path != "/builds":
            expect(window.page.get_by_role("button", name="Fold")).to_be_visible()
        found[path] = window.moved()
        assert 0 < window.weight() <= 40_000
        window.close()
    assert {path: moves for path, moves in found.items() if moves} == {}


def test_the_link_to_the_zip_is_there_on_a_phone_and_each_state_has_its_own_icon(browser: Browser, site: str) -> None:
    window = Window(browser, site, PHONE)
    window.page.goto("/builds")
    assert window.page.get_by_role("link", name="zip").first.is_visible()
    icons = window.page.locator("td .state use").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    words = window.page.locator("td .state").all_inner_texts()
    assert len({(icon, word) for icon, word in zip(icons, words, strict=True)}) == len(set(words))
    window.close()


def test_a_log_shows_its_lines_with_the_first_error(browser: Browser, site: str) -> None:
    """In what a reader sees, not only in the document: text that has no place on the screen is not seen."""
    window = Window(browser, site)
    window.page.goto("/build/3/log")
    # In one go: a line that is drawn anew meanwhile is another element.
    window.page.wait_for_function("""() => {
        const place = document.querySelector(".ln.e")?.getBoundingClientRect();
        const seen = place && document.elementFromPoint(place.x + 150, place.y + 10);
        return seen?.closest(".ln")?.textContent.includes("error");
    }""")
    window.close()


def test_keys_lead_to_the_field_to_pages_and_to_their_list_which_needs_no_script(browser: Browser, site: str) -> None:
    window = Window(browser, site)
    page = window.page
    page.goto("/")
    keys = page.get_by_role("heading", name="Keys")
    assert not keys.is_visible()
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    assert window.faults() == []
    page.keyboard.press("?")
    expect(keys).not_to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("2?")
    expect(page.locator("#go")).to_have_value("2?")
    page.locator("h1").click()
    page.keyboard.press("2")
    page.wait_for_url("**/builds")
    page.keyboard.press("?")
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_role("button", name="Turn on")).to_be_visible()
    assert window.faults() == []
    page.keyboard.press("Escape")
    page.goto("/build/3")  # it is remembered, on pages with a log as well
    for key in ("?", "1", "/", "n"):
        page.keyboard.press(key)
    expect(keys).not_to_be_visible()
    assert page.evaluate("document.activeElement.tagName") == "BODY"
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Turn on").click()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.wait_for_url(f"{site}/")
    window.close()
    without = Window(browser, site, NARROW, scripts=False)
    without.page.goto("/builds")
    without.page.get_by_role("button", name="Keys").click()
    expect(without.page.get_by_role("heading", name="Keys")).to_be_visible()
    expect(without.page.get_by_role("button", name="Turn off")).not_to_be_visible()
    without.close()


def test_words_that_run_from_right_to_left_move_nothing_that_stands_beside_them(browser: Browser, site: str) -> None:
    """A branch of such letters and "5 min ago" is not "5, branch, min ago"."""
    window = Window(browser, site)
    window.page.goto("/build/1")
    row = window.page.locator("[aria-labelledby=requests] .under").first
    row.locator("code").evaluate("one => one.textContent = 'ענף-בדיקה'")
    place = "one => { const { left, right } = one.getBoundingClientRect(); return [left, right]; }"
    branch, when = row.locator("code").evaluate(place), row.locator("time").evaluate(place)
    assert branch[1] <= when[0]
    window.close()


def test_printed_states_keep_their_colour(browser: Browser, site: str, tmp_path: Path) -> None:
    window = Window(browser, site)
    window.page.goto("/builds")
    window.page.emulate_media(media="print")
    kept = window.page.locator("td .state").first.evaluate("one => getComputedStyle(one).printColorAdjust")
    assert kept == "exact"
    window.close()
