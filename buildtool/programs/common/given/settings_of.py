"""The settings as a command line, the environment and the settings file say them, and what each says of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from buildtool.configuration.finding import from_here
from buildtool.configuration.given.values import Given, GivenValue, given_to
from buildtool.configuration.places import check_builds_apart
from buildtool.configuration.settings import Settings, load_settings

_LINE = frozenset({"config", "settings_file", "json", "verbose"})
"""What says nothing of a program's settings."""


def settings_of(said: argparse.Namespace, *, secrets: bool = True) -> Settings:
    """Return the settings that count for what was said, with ``--basedir`` for the build directory.

    Raises ConfigurationError, EmptySecret.
    """
    found = load_settings(said.config, secrets=secrets, given=given_to(said))
    top: Path | None = vars(said).get("basedir")
    if top is None:
        return found
    build_dir = from_here(top, "--basedir")
    check_builds_apart(found.state_dir, build_dir)
    return evolve(found, build_dir=build_dir)


def origins(said: argparse.Namespace, settings: Settings) -> list[GivenValue]:
    """Return each value that is not the default, with where it comes from: options first, then settings."""
    given = given_to(said) or Given()
    options = [one for one in (*given.command_line, *given.options.values()) if one.name not in _LINE]
    return [*options, *settings.origins]


def origin_lines(found: list[GivenValue]) -> Iterator[str]:
    """Yield a line for each value; of a secret only that there is one."""
    for one in found:
        yield f"set             {one.name} = {one.shown}, by {one.origin}"


def origin_objects(found: list[GivenValue]) -> list[dict[str, str]]:
    """Return the same for programs."""
    return [{"name": one.name, "value": one.shown, "by": one.origin} for one in found]
