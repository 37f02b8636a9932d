"""Pages that are live, with real programs and a real browser: ten tabs, one stream, and a metaserver that is killed."""

import re
import signal
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from buildtool.demo.local_farm import Program
from tests.e2e.control import Control
from tests.support.browser import Window, chromium

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.long]

TABS = 10


def pages_of(control: Control) -> tuple[Program, str]:
    """Start the pages as a process of their own; return it, and the address of its pages."""
    words = [str(control.farm.root / "bin" / "webserver"), "--config", str(control.farm.config), "--port", "0"]
    program = control.farm.start("webserver", words)
    return program, program.wait_for(r"pages on (http://127\.0\.0\.1:\d+)/")[1]


def says(page: Page, pattern: str, within: float = 20.0) -> None:
    """Wait until the main part of a page says this."""
    expect(page.locator("main")).to_contain_text(re.compile(pattern), timeout=within * 1_000)


def indicator(page: Page, pattern: str, within: float = 20.0) -> None:
    """Wait until the header of a page says how live it is."""
    expect(page.locator(".live")).to_have_text(re.compile(pattern), timeout=within * 1_000)


def counts(page: Page, path: str) -> Locator:
    """Return the duration of what goes on, on the page at a path, once it has counted on between two events."""
    page.goto(path)
    counting = page.locator(".lead [data-since]")
    before = counting.inner_text()
    expect(counting).not_to_have_text(before)
    return counting


def stands_still(page: Page, counting: Locator) -> None:
    """Fail unless a duration comes to stand, on a page that is not live; its parts are fetched once more before."""
    page.bring_to_front()
    indicator(page, "^not live since")
    for _ in range(8):
        before = counting.inner_text()
        page.wait_for_timeout(1_200)
        if counting.inner_text() == before:
            return
    raise AssertionError("it counts on")


def test_ten_tabs_share_one_stream_that_leaves_readers_alone_and_says_when_the_metaserver_is_dead(
    control: Control,
) -> None:
    metaserver = control.farm.start_metaserver()
    webserver, site = pages_of(control)
    with chromium() as browser:
        window = Window(browser, site)
        streams: list[str] = []
        window.context.on("request", lambda asked: streams.append(asked.url) if "/events" in asked.url else None)
        window.page.goto("/builds", wait_until="commit")
        tabs = [window.page, *(window.tab() for _ in range(TABS - 1))]
        tabs[-1].clock.install()
        for tab in tabs[1:]:
            tab.goto("/", wait_until="commit")
        for tab in tabs:
            indicator(tab, "^live$")
        assert len(streams) == 1
        reader = tabs[1]
        reader.bring_to_front()
        reader.locator("main a").first.focus()
        reader.evaluate("window.kept = document.activeElement")
        control.ask("someone@example.org")
        says(reader, "one waits")
        assert reader.evaluate("window.kept.isConnected && document.activeElement === window.kept")
        counting = counts(reader, "/build/1")
        tabs[0].bring_to_front()
        says(tabs[0], "#1")
        assert len(streams) == 1

        window.said.clear()
        metaserver.send(signal.SIGKILL)
        killed = time.monotonic()
        indicator(tabs[0], "^not live since")
        says(tabs[0], "has not answered since")
        assert time.monotonic() - killed < 10
        stands_still(reader, counting)
        tabs[0].bring_to_front()
        frozen = tabs[0].inner_text("main")
        tabs[0].wait_for_timeout(1_200)
        assert tabs[0].inner_text("main") == frozen
        without = Window(browser, site, scripts=False)
        without.page.goto("/")
        assert "has not answered since" in without.page.inner_text("main")
        without.close()

        control.farm.start_metaserver()
        indicator(tabs[0], "^live$")
        expect(tabs[0].locator("main")).not_to_contain_text("has not answered")

        webserver.send(signal.SIGKILL)
        indicator(tabs[-1], "^live$")
        tabs[-1].clock.fast_forward(10_000)
        indicator(tabs[-1], "^not live since")
        window.context.close()  # whose pages go on to look whether anybody answers
        assert [said for said in window.said if not said.startswith("error: Failed to load resource: net::ERR_")] == []
