"""A real browser: Debian's Chromium, driven by Playwright, and what every visit to a page has to be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, HttpCredentials, Page, sync_playwright

from tests.support.packages import require

FLAGS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
"""What keeps Chromium from asking for hosts of its makers."""

DESK, PHONE, NARROW = (1280, 900), (390, 844), (320, 640)
"""Sizes of windows: a desk's, a phone's, and the narrowest at which nothing may scroll sideways."""

WAIT = 60_000
"""Milliseconds for which is waited, on a machine that others use, for what takes a moment."""

MOVED = """() => new Promise(tell => {
  const found = [];
  new PerformanceObserver(list => {
    for (const { value, sources } of list.getEntries())
      for (const { node, previousRect: was, currentRect: is } of sources)
        found.push(`${value}: ${node?.outerHTML?.slice(0, 80)} from ${was.x},${was.y} to ${is.x},${is.y}`);
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => tell(found), 100);
})"""
"""Asks a page for what has moved; the browser tells of it a moment after it is asked."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium without a window; skip the test by name where there is none."""
    program = require("chromium", "chromium")
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, *sandbox])
        try:
            yield browser
        finally:
            browser.close()


def _credentials(logged_in: tuple[str, str] | None) -> HttpCredentials | None:
    return None if logged_in is None else {"username": logged_in[0], "password": logged_in[1]}


@define
class Window:
    """A browser window with nothing in it of earlier ones; ``said`` is what its pages said on the console.

    ``elsewhere`` are addresses that it asked for which are not of the site. ``logged_in`` is a name and a password for
    a proxy before the site, whose certificate is then taken as it is.
    """

    browser: Browser
    site: str
    size: tuple[int, int] = DESK
    dark: bool = False
    scripts: bool = True
    logged_in: tuple[str, str] | None = None
    said: list[str] = field(factory=list)
    elsewhere: list[str] = field(factory=list)
    context: BrowserContext = field(init=False)
    page: Page = field(init=False)

    def __attrs_post_init__(self) -> None:
        width, height = self.size
        self.context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if self.dark else "light",
            java_script_enabled=self.scripts,
            base_url=self.site,
            ignore_https_errors=self.logged_in is not None,
            http_credentials=_credentials(self.logged_in),
        )
        self.context.set_default_timeout(WAIT)
        self.page = self.tab()

    def tab(self) -> Page:
        """Open a tab."""
        page = self.context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(self.site) else self.elsewhere.append(asked.url))
        return page

    def moved(self) -> list[str]:
        """Return what has moved on the page since it was first painted, though nobody did anything."""
        found = self.page.evaluate(MOVED)
        assert isinstance(found, list)
        return found

    def weight(self) -> int:
        """Return how many bytes came for the page and all that belongs to it."""
        entries = '[..."navigation resource".split(" ").flatMap(kind => performance.getEntriesByType(kind))]'
        return int(self.page.evaluate(f"{entries}.reduce((sum, one) => sum + one.transferSize, 0)"))

    def close(self) -> None:
        """Close the window, and check that its pages complained of nothing and asked nobody else for anything."""
        self.context.close()
        assert (self.said, self.elsewhere) == ([], []), (self.said, self.elsewhere)

    def faults(self) -> list[str]:
        """Return what axe finds wrong with the page, and whether it scrolls sideways."""
        found = Axe().run(self.page).response["violations"]
        said = [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return [*said, *([f"scrolls sideways by {wide} px"] if wide > 0 else [])]
