"""What somebody waits for who opens a page in a browser, and in a log of a million lines."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

from playwright.sync_api import Browser

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from buildtool.model.logs.marks import LogMark, MarkKind
from tests.benchmarks.figures import Board
from tests.benchmarks.world import World, progress
from tests.support.browser import Window, chromium
from tests.support.inline import run
from tests.web.seeded import configure, fill, pages

RUNS = 3
PATHS = ("/", "/builds", "/build/3", "/build/3/log", "/request", "/matrix/testproject")
LINES, ERROR, FOUND = 1_000_000, 700_000, 900_000
PIECE = 256 * 1024

PAINT, WEIGHT = "page_first_paint_ms", "page_first_view_kb"
FIRST, LINE, SEARCH, HEAP = "log_first_error_ms", "log_any_line_ms", "log_search_ms", "log_heap_mib"

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]"
SHOWN = """to => new Promise(tell => {
  const drawn = () => performance.getEntriesByName("log-shown").length, before = drawn(), began = performance.now();
  const look = () => drawn() > before ? tell(performance.now() - began) : setTimeout(look, 2);
  location.hash = to;
  look();
})"""
SEARCHED = """word => new Promise(tell => {
  const field = document.querySelector("[data-q]"), began = performance.now();
  const look = () => document.querySelector(".ln.t mark") ? tell(performance.now() - began) : setTimeout(look, 2);
  field.value = word;
  field.form.requestSubmit();
  look();
})"""


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    views, logs = board.wants(PAINT, WEIGHT), board.wants(FIRST, LINE, SEARCH, HEAP)
    if not views and not logs:
        return
    directory = world.directory / "screens"
    directory.mkdir()
    configuration, taken = configure(directory), defaultdict[str, list[float]](list)
    run(fill(directory / "state"))
    if logs:
        progress(f"a log of {LINES:,} lines")
        _write_log(directory / "state")
    with pages(configuration) as site, chromium() as browser:
        for _ in range(RUNS):
            if views:
                _views(browser, site, taken)
            if logs:
                _log(browser, site, taken)
    for name, values in taken.items():
        board.put(name, values)


def _views(browser: Browser, site: str, taken: dict[str, list[float]]) -> None:
    """Open each page in a browser that has nothing of it yet: what counts is the slowest, and the heaviest."""
    paints, weights = [], []
    for path in PATHS:
        window = Window(browser, site)
        window.page.goto(path)
        window.page.wait_for_function(f"() => {PAINTED}")
        paints.append(float(window.page.evaluate(f"{PAINTED}.startTime")))
        window.page.wait_for_timeout(500)
        weights.append(window.weight() / 1_000)
        window.close()
    taken[PAINT].append(max(paints))
    taken[WEIGHT].append(max(weights))


def _log(browser: Browser, site: str, taken: dict[str, list[float]]) -> None:
    window = Window(browser, site)
    page = window.page
    began = time.perf_counter()
    page.goto("/build/7/log", wait_until="commit")
    page.wait_for_function("() => document.querySelector('.log-view.at .ln.t')", polling=5)
    taken[FIRST].append((time.perf_counter() - began) * 1_000)
    lines = (LINES // 2, 3, LINES - 1, LINES // 8)
    taken[LINE].append(max(float(page.evaluate(SHOWN, f"#L{line}")) for line in lines))
    page.wait_for_timeout(300)
    taken[SEARCH].append(float(page.evaluate(SEARCHED, "needle")))
    session = window.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    taken[HEAP].append(session.send("Runtime.getHeapUsage")["usedSize"] / 2**20)
    window.close()


def _write_log(state: Path) -> None:
    """Write the log of a build that failed, with one error and one line that is searched for."""
    lines = [b"gcc -O2 -Wall -c src/module_%07d.c -o build/module_%07d.o\n" % (it, it) for it in range(LINES)]
    lines[ERROR] = b"src/module.c:12:5: error: no such thing\n"
    lines[FOUND] = b"the needle is in here\n"
    data, logs = b"".join(lines), LogStore(state, Inline())
    for at in range(0, len(data), PIECE):
        marks = [] if at else [LogMark(0, 0, MarkKind.BEGIN, 0.0, "build")]
        run(logs.append(7, 3, at, data[at : at + PIECE], len(data), marks))
    run(logs.finish(7, 3))
