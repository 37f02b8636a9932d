"""``bin/buildserver.py new-project DIR``: write a configuration for sources, from what their files tell.

Covered by tests/programs/trying/test_new_project.py.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from buildtool.adapters.storage.whole_text import new_text
from buildtool.adapters.vcs.git.command import GitCommand
from buildtool.adapters.vcs.refs import mask
from buildtool.configuration.settings import check_projects, load_settings
from buildtool.errors import ConfigurationError, GitMissing, UsageError
from buildtool.model.text import quoted
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import say
from buildtool.project.drafting.drafts import draft
from buildtool.project.drafting.sources import LOOKED_AT, look, project_name

FILE = "config.py"
SIZE_LIMIT = 1024 * 1024
"""Most bytes that are read of one file."""

PATHS, DEPTH = 20_000, 3
"""Most paths of the sources that are looked at, and how many levels."""


def new_project(said: argparse.Namespace) -> int:
    """Write ``config.py`` into a directory, check it, and say what comes next; return the exit code.

    Raises UsageError for sources that tell nothing and a file that is there, ConfigurationError where none can be
    written.
    """
    target = Path(said.target).absolute()
    source = (said.source or (target if _has_sources(target) else Path())).absolute()
    path = target / FILE
    if os.path.lexists(path):
        raise UsageError(f"there is a {path} already: say another directory, and --source {source}")
    if not source.is_dir():
        raise UsageError(f"--source {source} is no directory")
    for named in (path, source):
        if not str(named).isprintable():
            raise UsageError(f"{quoted(str(named))} cannot stand in a configuration: give it another name")
    found = look(_texts(source), _names(source))
    name = found.name or project_name(source.name) or "project"
    text = draft(found, name=name, where=str(source), path=str(path), url=_url(source))
    try:
        with new_text(path, text):
            settings = load_settings(path, secrets=False)
            check_projects(settings, thorough=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error
    options = [option.flag for option in settings.projects[0].options.compile]
    if said.json:
        told = {"path": str(path), "project": name, "system": found.system, "options": options, "source": str(source)}
        say(json.dumps(told, sort_keys=True))
        return EXIT_OK
    say(
        f"wrote {path}, which is yours to edit\n"
        f"project    {name}, built by {found.system}\n"
        f"options    {', '.join(options) or 'none'}\n"
        f"next       bin/metaserver check-config --config {path}\n"
        f"           bin/buildserver.py try {name} --config {path} --source {source}"
    )
    return EXIT_OK


def _has_sources(directory: Path) -> bool:
    return any((directory / name).is_file() for name in LOOKED_AT)


def _texts(source: Path) -> dict[str, str]:
    """Return the files that tell how it is built. Raises UsageError for one that cannot be read."""
    found = {}
    for name in LOOKED_AT:
        path = source / name
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                found[name] = file.read(SIZE_LIMIT).decode("utf-8", "replace")
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return found


def _names(source: Path) -> frozenset[str]:
    """Return the paths of the first levels, without those of git."""
    found: list[str] = []
    for directory, below, files in os.walk(source):
        within = Path(directory).relative_to(source)
        below[:] = sorted(set(below) - {".git"}) if len(within.parts) < DEPTH - 1 else []
        found += [str(within / name) for name in [*below, *files]]
        if len(found) > PATHS:
            break
    return frozenset(found[:PATHS])


def _url(source: Path) -> str:
    """Return where the sources come from by git, without a login, or else the directory itself."""
    with tempfile.TemporaryDirectory(prefix="buildtool-") as place:
        git = GitCommand(Path(place) / "gitconfig")
        try:
            answer = git.run(["remote", "get-url", "origin"], tree=source)
        except GitMissing:
            return str(source)
        finally:
            git.close()
    return mask(answer.text) if not answer.code and answer.text else str(source)
