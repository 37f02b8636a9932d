"""Pictures of the pages of a seeded farm; run as ``make screenshots``."""

import tempfile
import time
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Float, update

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.schema import metadata
from buildtool.adapters.sql.sqlite import SqliteDatabase
from tests.support.browser import DESK, PHONE, Window, chromium
from tests.support.inline import run
from tests.web.fake_pages import NOW
from tests.web.seeded import configure, fill, pages

PICTURES = Path(__file__).resolve().parents[2] / "build/pictures"

SHOTS = (
    ("now", "/", DESK, False),
    ("builds", "/builds", DESK, False),
    ("builds-phone", "/builds", PHONE, True),
    ("build", "/build/3", DESK, True),
    ("log", "/build/3/log", DESK, False),
)
"""Each picture: its name, the page, the size of the window, and whether in the dark theme."""


def moved(seconds: float, connection: Connection) -> None:
    """Move every moment in a database by so many seconds; durations stay."""
    for table in metadata.sorted_tables:
        for column in table.c:
            if isinstance(column.type, Float) and column.name != "seconds":
                connection.execute(update(table).where(column > 0).values({column: column + seconds}))


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as made:
        path = configure(Path(made))
        run(fill(Path(made) / "state"))
        database = run(SqliteDatabase.open(Path(made) / "state/buildtool.sqlite", Inline()))
        run(database.run(partial(moved, time.time() - NOW)))
        run(database.close())
        PICTURES.mkdir(parents=True, exist_ok=True)
        with pages(path) as site, chromium() as browser:
            for name, address, size, dark in SHOTS:
                window = Window(browser, site, size, dark)
                window.page.goto(address)
                window.page.wait_for_timeout(1_000)
                window.page.screenshot(path=PICTURES / f"{name}.png", full_page=size == PHONE)
                window.close()
                print(f"build/pictures/{name}.png")


if __name__ == "__main__":
    main()
