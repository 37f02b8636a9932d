"""What a farm must not leave behind when it has come to rest: in its directories, in its database, as processes."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from buildtool.adapters.storage.log_index.file import INDEX_SUFFIX
from tests.chaos.processes import belonging

_ARTIFACT = re.compile(r"[0-9a-f]{64}\.zip\Z")

_QUESTIONS = {
    "SELECT count(*) FROM requests WHERE state = 'waiting'": "requests that wait",
    "SELECT count(*) FROM builds WHERE state IN ('queued', 'running')": "builds that are open",
    "SELECT count(*) FROM attempts WHERE state <> 'ended'": "attempts that have not ended",
    "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND refused_at IS NULL": "mails that were not sent",
}


def open_ends(database: Path) -> list[str]:
    """Return what has not come to its end, as the database tells; nothing once the farm is at rest."""
    found = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as reading:
        for question, words in _QUESTIONS.items():
            count = reading.execute(question).fetchone()[0]
            if count:
                found.append(f"{count} {words}")
    return found


def in_database(database: Path) -> list[str]:
    """Return what SQLite finds wrong with the file."""
    try:
        with closing(sqlite3.connect(database)) as reading:
            lines = [line for (line,) in reading.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        lines = [str(error)]
    return [f"integrity_check: {line}" for line in lines if line != "ok"]


def by_fsck(root: Path, environment: Mapping[str, str]) -> list[str]:
    """Return what the metaserver finds wrong with its own directory."""
    done = subprocess.run(
        [sys.executable, str(root / "bin" / "metaserver"), "--fsck"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return [f"fsck ({done.returncode}): {line}" for line in lines or ["said nothing"]] if done.returncode else []


def of_builds(directory: Path) -> list[str]:
    """Return the processes that builds have left running: HOME of each lies in a build server's slot."""
    return [f"process {one.pid}: {one.words}" for one in belonging(directory) if "/slots/" in one.home]


def of_programs(directory: Path, *spare: int) -> list[str]:
    """Return every process of the farm that still runs, when none should."""
    return [f"process {one.pid}: {one.words}" for one in belonging(directory, *spare)]


def in_state(state: Path) -> list[str]:
    """Return the files in the metaserver's directory that only an unfinished act needs."""
    found = _files(state / "incoming")
    found += [path for path in _files(state / "artifacts") if not _ARTIFACT.match(path.name)]
    found += [path for path in _files(state / "logs") if path.suffix not in (".zst", INDEX_SUFFIX)]
    found += _in_git(state / "mirrors")
    return _named(found, state)


def in_build_dir(place: Path) -> list[str]:
    """Return the files in a build server's directory that only a running build needs."""
    found = _in_git(place / "mirrors")
    found += [path for path in (place / "sources").rglob("*.lock") if path.is_file()]
    return of_work(place) + _named(found, place)


def of_work(place: Path) -> list[str]:
    """Return what a build server still has to do: builds that run, and ends that it has not got rid of."""
    found = [path for part in ("slots", "spool") if (place / part).exists() for path in (place / part).iterdir()]
    return _named(found, place)


def in_downloads(directory: Path) -> list[str]:
    """Return what fetching has left beside the artifacts, which are deleted once they are looked at."""
    return _named(_files(directory), directory)


def _in_git(mirrors: Path) -> list[Path]:
    """Return locks of git and packs that were not finished."""
    return [
        path
        for path in _files(mirrors)
        if path.suffix == ".lock" or (path.name.startswith("tmp_") and "objects" in path.parts)
    ]


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() or path.is_symlink()] if directory.exists() else []


def _named(found: list[Path], directory: Path) -> list[str]:
    return sorted(f"{directory.name}/{path.relative_to(directory)}" for path in found)
