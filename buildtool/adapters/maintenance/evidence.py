"""What says that a state directory was in use, though its database says nothing: a start would forget all of it.

Tested by tests/adapters/maintenance/test_tenure.py.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from buildtool.adapters.maintenance.tenure import SIGN
from buildtool.adapters.sql.sqlite import driver
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.log_index.file import INDEX_SUFFIX
from buildtool.errors import DatabaseLost

KEPT = {"artifacts": ("artifact", "artifacts"), "logs": ("log", "logs"), "incoming": ("upload", "uploads")}
"""The directories whose files only a database can explain, and what they are called."""

COUNTED = 10_000
"""So many files are counted, and no more."""


def check_not_lost(directory: Path) -> None:
    """Raise DatabaseLost where files are there that a database knew, and the database is missing or empty."""
    path = directory / DATABASE
    state = _state(path)
    if not state:
        return
    found = [f"{count} {words[count > 1]}" for name, words in KEPT.items() if (count := _files(directory / name))]
    if not found and any(directory.glob(f"{SIGN}.*")):
        found = ["the mark of an earlier start"]
    if found:
        raise DatabaseLost(
            f"{path} is {state}, and a start would forget what an earlier one knew ({', '.join(found)}): put the "
            "database or a backup in its place, or say --accept-new-database if a new one is meant"
        )


def _state(path: Path) -> str:
    """Return in a word how a database knows nothing, or "" for one that knows something or that has to be looked at."""
    if not path.exists():
        return "missing"
    if not path.stat().st_size:
        return "empty"
    try:
        with closing(driver(path)) as asked:
            tables = {name for (name,) in asked.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            used = [
                table for table in ("builds", "requests", "tenure")
                if table in tables and asked.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 - ours
            ]  # fmt: skip
    except sqlite3.Error:
        return ""  # who opens it says what is wrong with it
    strange = bool(tables) and "alembic_version" not in tables
    return "" if used or strange else "empty"


def _files(directory: Path) -> int:
    """Return how many files there are, at most ``COUNTED``."""
    count = 0
    for _, _, names in os.walk(directory):
        count += sum(not name.endswith(INDEX_SUFFIX) for name in names)
        if count >= COUNTED:
            break
    return count
