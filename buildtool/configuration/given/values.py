"""What was given to a program beside its command line, each value with where it comes from.

Covered by tests/configuration/given/test_gathering.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from buildtool.configuration.given.names import SECRETS
from buildtool.model.text import quoted

HIDDEN = "(a secret)"
UNSAID, SPOKEN, _GIVEN = "_unsaid", "_spoken", "_given"
"""Where a parser leaves which options were not said, and which were, and what was given: no option has such a name."""


@frozen
class GivenValue:
    """A value of an option or a setting: ``origin`` is the variable, or the file and the name in it."""

    name: str
    value: object = field(repr=False)
    origin: str
    secret: bool = False
    raw: object = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Where it was given, without its name: the variable, or the file."""
        return self.origin.removesuffix(self.name).rstrip(": ")

    @property
    def blamed(self) -> str:
        """What an error about its value begins with."""
        return f"{self.origin if self.origin.startswith('$') else self.name} ="

    @property
    def shown(self) -> str:
        """What may be shown of it."""
        return HIDDEN if self.secret else quoted(self.raw)


@frozen
class SettingsText:
    """The text of a settings file; ``open_to_all`` says that every account of the machine may read it."""

    path: Path
    text: str = field(repr=False)
    open_to_all: bool = False


@frozen
class Given:
    """All that was given: to options, by where a parser leaves them, and to settings of ``config.py``, by name.

    ``path`` is the settings file, None where there is none, and ``named`` the one that an option names. ``declared``
    are the options of the program, ``command_line`` what they say themselves.
    """

    program: str = ""
    path: Path | None = None
    options: Mapping[str, GivenValue] = field(factory=dict)
    settings: Mapping[str, GivenValue] = field(factory=dict)
    command_line: tuple[GivenValue, ...] = ()
    declared: Mapping[str, Mapping[str, Any]] = field(factory=dict, repr=False, eq=False)
    named: Path | None = None

    def complete(self, said: argparse.Namespace) -> None:
        """Fill in what the command line leaves open; it is kept there (``given_to``), with what counts of it."""
        unsaid, spoken = options_of(said, UNSAID), options_of(said, SPOKEN)
        counts = {name: one for name, one in self.options.items() if name not in spoken}
        for name in counts.keys() & unsaid:
            setattr(said, name, counts[name].value)
        line = tuple(
            GivenValue(name, value, "the command line", name in SECRETS, value)
            for name, value in vars(said).items()
            if name in spoken
        )
        setattr(said, _GIVEN, evolve(self, options=counts, command_line=line))


NOTHING = Given()


def given_to(said: argparse.Namespace) -> Given | None:
    """Return what was given beside a command line, None where that was not looked for."""
    found: Given | None = getattr(said, _GIVEN, None)
    return found


def options_of(said: argparse.Namespace, which: str) -> frozenset[str]:
    """Return the options that were said, or that were not; none where no parser of ours read them."""
    found: frozenset[str] = getattr(said, which, frozenset())
    return found
