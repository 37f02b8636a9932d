"""A version made beside the one that runs: its files, and an environment by its own locks. Everything here blocks.

Covered by tests/programs/updating/test_rounds.py.
"""

from __future__ import annotations

import os
import sys

from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.adapters.vcs.git.command import explain
from buildtool.errors import BuildToolError
from buildtool.model.text import size_words
from buildtool.programs.updating.commands import run_command
from buildtool.programs.updating.place import VersionPlace, for_all_accounts

LIMIT = 1_800.0
"""Seconds that the packages of a version may take to be fetched and installed."""

_ENVIRONMENT = (".ci/venv.py", ".venv")
_COMPILE = ("-m", "compileall", "-q", "buildtool")


def make_version(place: VersionPlace, repository: FollowedRepository, commit: str) -> str:
    """Make a version unless it is whole already, and return why that cannot be, "" where it is whole now."""
    if place.whole(commit):
        return ""
    try:
        place.remove(commit)
        needed, free = place.room()
        if free < needed:
            return f"{place.path} has {size_words(free)} left, and a version needs {size_words(needed)}"
        with for_all_accounts():
            place.version(commit).mkdir(parents=True)
            why = _files(place, repository, commit) or _environment(place, commit)
            if not why:
                place.mark_whole(commit)
    except BuildToolError as error:
        return str(error)
    except OSError as error:
        return f"{place.version(commit)} cannot be written: {error.strerror or error}"
    return why


def _files(place: VersionPlace, repository: FollowedRepository, commit: str) -> str:
    git, here = repository.git, place.version(commit)
    (repository.path / "index").unlink(missing_ok=True)
    words = (f"--work-tree={here}", "checkout", "--quiet", "--force", commit, "--", ".")
    answer = git.run(words, git_dir=repository.path, limit=LIMIT, settings=git.settings)
    return f"its files cannot be written: {explain(answer)}" if answer.code else ""


def _environment(place: VersionPlace, commit: str) -> str:
    """Install the packages that a version names, by its own script, and compile what other accounts cannot."""
    here = place.version(commit)
    python = os.path.realpath(sys.executable)
    made = run_command((python, "-S", *_ENVIRONMENT), here, LIMIT)
    if made.why:
        return f"its environment cannot be made: {made.why}"
    compiled = run_command((".venv/bin/python", *_COMPILE), here, LIMIT)
    return f"it cannot be compiled: {compiled.why}" if compiled.why else ""
