"""What may stand at the cursor of an unfinished command line: commands, options, and values of options.

Nothing is asked or read here: which projects there are, which refs, and which requests, is what the caller knows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from buildtool.model.options import Kind, Option, written
from buildtool.model.platforms import ALIASES, ARCHES, Value
from buildtool.model.project_options import TOOL_OPTIONS
from buildtool.model.properties import ENUMERATED
from buildtool.model.text import one_line
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.common.subcommands import HELP, HELP_ALL, Several, Subcommand, Subcommands
from buildtool.programs.startcompile.flags import AnyProject

SHELLS = ("bash", "zsh", "fish")
"""The shells for which there is a script."""

HELP_SHOWN = 60
"""At most so many characters are shown of what a word means."""

_PATHS = frozenset({"--config", "--output", "FILE", "LINE"})
_NO_VALUE = frozenset({"store_true", "store_false"})

Refs = Callable[[str, str], Iterable[str]]
"""What returns refs of a project and one of its sources ("" for the usual one)."""

Ids = Callable[[str], "Iterable[Candidate]"]
"""What returns the ids of requests that a command may be about."""


@frozen
class Candidate:
    """A word that may stand at the cursor, and in short what it means."""

    word: str
    help: str = ""


@frozen
class Completion:
    """All words that may stand at the cursor; with ``paths`` also any file."""

    candidates: tuple[Candidate, ...] = ()
    paths: bool = False


@define
class _Said:
    """What the words before the cursor say. ``expecting`` is the option, or argument, whose value comes next."""

    line: Subcommands[Any]
    projects: Sequence[AnyProject]
    ids: Ids
    command: Subcommand[Any] | None = None
    expecting: str = ""
    done: bool = False
    _values: dict[str, str] = field(factory=dict, init=False)
    _flags: set[str] = field(factory=set, init=False)
    _others: int = field(default=0, init=False)

    def take(self, word: str) -> None:
        """Read one more word."""
        if self.expecting:
            if self.expecting.startswith("-"):
                self._values[self.expecting] = word
            else:
                self._others += 1
            self.expecting = ""
        elif word == "--" or self.done:
            self.done = True
        elif word.startswith("-"):
            self._option(word)
        elif self.command is None and not self._others and word in self._names():
            self.command = self._names()[word]
        else:
            self._others += 1

    def _option(self, word: str) -> None:
        flag, equals, value = word.partition("=")
        self._flags.add(flag)
        older = {one.flag: one for one in self.line.commands[1:] if one.older}
        if flag in older:
            self.command = self.command or older[flag]
            self._others += bool(equals)
            self.expecting = "" if equals else older[flag].argument
        elif equals:
            self._values[flag] = value
        elif self.takes_value(flag):
            self.expecting = flag

    def _names(self) -> dict[str, Subcommand[Any]]:
        return {one.name: one for one in self.line.commands}

    @property
    def meant(self) -> Subcommand[Any]:
        """The command, which is the first of all where none is said."""
        return self.command or self.line.commands[0]

    @property
    def project(self) -> AnyProject | None:
        """The project that is said, or the only one."""
        name = self._values.get("--project")
        fitting = [one for one in self.projects if name in (None, one.name)]
        return fitting[0] if len(fitting) == 1 and self.meant.words else None

    def value_of(self, flag: str) -> str:
        """Return the value of an option that is said, or nothing."""
        return self._values.get(flag, "")

    def described(self, flag: str) -> Option | None:
        """Return the project's option of this flag."""
        options = () if self.project is None else self.project.options.all()
        return next((one for one in options if one.flag == flag), None)

    def takes_value(self, flag: str) -> bool:
        """Return whether an option has a value."""
        if (option := self.described(flag)) is not None:
            return option.kind is not Kind.BOOL
        how = self.line.options.get(flag)
        return how is not None and how.get("action") not in _NO_VALUE

    def options(self) -> Iterator[Candidate]:
        """Return the options that may follow: those of the command and its project that are not said yet."""
        for name in (*self.line.everywhere, *self.meant.options):
            how = self.line.options[name]
            again = how.get("action") is Several
            if name not in self._flags or again:
                yield Candidate(name, _short(str(how.get("help") or "")))
        for option in () if self.project is None else self.project.options.all():
            yield Candidate(option.flag, _short(option.help))
            if option.kind is Kind.BOOL:
                yield Candidate(f"--no-{option.flag[2:]}", _short(f"not: {option.help}"))
        yield Candidate(HELP[-1], "show the help and stop")
        if self.line.seldom:
            yield Candidate(HELP_ALL, "show every option, command and exit code")

    def words(self) -> Completion:
        """Return what may stand where no option begins: a command, or what one is about."""
        if self.command is None and not self._others:
            return Completion(tuple(Candidate(one.name, _short(one.help)) for one in self.line.commands))
        return self.of_argument() if self.command is not None and not self._others else Completion()

    def of_argument(self) -> Completion:
        """Return what the command may be about."""
        argument = self.meant.argument.strip("[]")
        if argument == "SHELL":
            return Completion(tuple(Candidate(shell) for shell in SHELLS))
        if argument == "ID":
            return Completion(tuple(self.ids(self.meant.name)))
        return Completion(paths=argument in _PATHS)


@frozen
class Surroundings:
    """The knowledge by which words are completed: the projects, what knows refs, and what knows ids."""

    projects: Sequence[AnyProject]
    refs: Refs
    ids: Ids = lambda _command: ()


def completed(line: Subcommands[Any], words: Sequence[str], current: str, known: Surroundings) -> Completion:
    """Return what may stand in place of ``current``, the beginning of a word, behind ``words``."""
    said, refs = _Said(line, known.projects, known.ids), known.refs
    for word in words:
        said.take(word)
    flag, equals, value = current.partition("=")
    if said.done:
        return Completion()
    if said.expecting.startswith("-"):
        found, begun = _values(said, said.expecting, current, refs), current
    elif said.expecting:
        found, begun = said.of_argument(), current
    elif equals and flag.startswith("-"):
        found, begun = _values(said, flag, value, refs), value
    elif current.startswith("-"):
        found, begun = Completion(tuple(said.options())), current
    else:
        found, begun = said.words(), current
    before = f"{flag}=" if begun is value and equals and flag.startswith("-") else ""
    return Completion(
        tuple(Candidate(before + one.word, one.help) for one in found.candidates if one.word.startswith(begun)),
        found.paths,
    )


def _values(said: _Said, flag: str, begun: str, refs: Refs) -> Completion:
    """Return the values of an option."""
    if flag == "--project":
        return _plain(one.name for one in said.projects)
    if flag == "--sandbox":
        return _plain(level.value for level in SandboxLevel)
    if flag == "--platform":
        return _plain((*ARCHES, *ALIASES))
    if (option := said.described(flag)) is not None:
        return _of_option(option, said, begun, refs)
    return Completion(paths=flag in _PATHS)


def _of_option(option: Option, said: _Said, begun: str, refs: Refs) -> Completion:
    project = said.project
    if option in TOOL_OPTIONS and option.name in ("revision", "revrange") and project is not None:
        found = refs(project.name, said.value_of("--source"))
        if option.name == "revision":
            return _plain(found)
        first, dots, _ = begun.partition("..")
        return _plain(f"{first}..{ref}" if dots else f"{ref}.." for ref in found)
    match option.kind:
        case Kind.CHOICE:
            return _plain(option.choices)
        case Kind.SET:
            there, comma, _ = begun.rpartition(",")
            return _plain(f"{there}{comma}{one}" for one in option.choices if one not in there.split(","))
        case Kind.INT | Kind.STRING:
            return _plain(map(written, _known(option)))
        case Kind.BOOL:
            return _plain(("yes", "no"))


def _known(option: Option) -> Iterable[Value]:
    return ENUMERATED.get(option.name) or ([option.default] if option.default not in (None, "") else [])


def _plain(words: Iterable[str]) -> Completion:
    return Completion(tuple(Candidate(word) for word in dict.fromkeys(words)))


def _short(text: str) -> str:
    return "" if text == argparse.SUPPRESS else one_line(text, HELP_SHOWN)
