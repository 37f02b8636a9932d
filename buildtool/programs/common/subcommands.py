"""Programs that have commands, such as ``metaserver pause NAME``; ``--pause NAME`` is the older form of the same.

Each command has a parser, a help and an example of its own. Without a command the program does the first of its list.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import one_line
from buildtool.model.vocabulary import nearest
from buildtool.programs.common.program import command_line

_WIDTH = 26


@frozen
class Subcommand:
    """One thing that a program does: ``run`` does it with what was said, and returns the exit code.

    ``argument`` names the word after the command, which ``read`` turns into ``target``. ``options`` are names of
    options of its ``Subcommands``.
    """

    name: str
    help: str
    example: str
    run: Callable[[argparse.Namespace], int]
    argument: str = ""
    read: Callable[[str], object] = str
    options: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The older form of the command."""
        return f"--{self.name}"


@frozen
class Subcommands:
    """The command line of a program. ``options`` are what ``add_argument`` takes, by name, beside ``--config``."""

    program: str
    description: str
    commands: tuple[Subcommand, ...]
    options: Mapping[str, Mapping[str, Any]]
    codes: Mapping[int, str]

    def parse(self, words: Sequence[str]) -> tuple[Subcommand, argparse.Namespace]:
        """Return which command was said and with what. Raises UsageError; SystemExit after the help or an error."""
        command, rest = self._chosen(list(words))
        return command, self._parser(command, said=rest is not None).parse_args(rest if rest is not None else words)

    def _chosen(self, words: list[str]) -> tuple[Subcommand, list[str] | None]:
        """Return the command, and the words that are left for its parser; None when no command was said."""
        names = {one.name: one for one in self.commands}
        flags = {one.flag: one for one in self.commands}
        found: list[tuple[str, Subcommand]] = []
        options: list[str] = []
        rest: list[str] = []
        coming = iter(words)
        for word in coming:
            flag, equals, value = word.partition("=")
            if word == "--":
                rest += [word, *coming]
            elif flag in flags:
                found.append((flag, flags[flag]))
                rest += _target(flag, flags[flag], value if equals else None, coming)
            elif word.startswith("-"):
                options.append(flag)
                takes_value = flag == "--config" or (flag in self.options and "action" not in self.options[flag])
                rest += [word, *([] if equals or not takes_value else _next(coming))]
            elif not found and word in names:
                found.append((word, names[word]))
            else:
                rest.append(word)
                if not found:
                    raise UsageError(f"there is no command {word[:40]!r}{nearest(word, sorted(names))}")
        if len({said for said, _ in found}) > 1:
            raise UsageError(f"{found[0][0]} and {found[1][0]} are two different things: say one of them")
        command = found[0][1] if found else self.commands[0]
        for flag in options:
            others = [one.name for one in self.commands if flag in one.options]
            if others and flag not in command.options:
                but = f", not with {command.name}" if found else ""
                raise UsageError(f"{flag} goes with {' or '.join(others)}{but}")
        return command, rest if found else None

    def _parser(self, command: Subcommand, *, said: bool) -> argparse.ArgumentParser:
        if said:
            parser = command_line(f"{self.program} {command.name}", command.help, command.example, self.codes)
        else:
            parser = command_line(self.program, self.description, command.example, self.codes, self._listed())
            parser.usage = "%(prog)s [COMMAND] [options]"
        if command.argument:
            parser.add_argument("target", metavar=command.argument, type=command.read)
        for name in command.options:
            parser.add_argument(name, **self.options[name])
        return parser

    def _listed(self) -> str:
        """Return the commands for the help of the whole program."""
        rows = [(f"{one.name} {one.argument}".rstrip(), one.help) for one in self.commands]
        lines = [f"  {name:<{_WIDTH}}{words}" for name, words in rows]
        head = f"commands ({self.commands[0].name} without one; NAME --help explains one; --NAME is its older form):"
        return "\n".join([head, *lines])


def _target(flag: str, command: Subcommand, value: str | None, coming: Iterator[str]) -> list[str]:
    """Return the word that a command in its older form has to be followed by. Raises UsageError."""
    if not command.argument:
        if value is not None:
            raise UsageError(f"{flag} takes no value: leave out {one_line(value)[:40]!r}")
        return []
    if value is None:
        (value,) = _next(coming) or [""]
        if not value or (value.startswith("-") and not value[1:2].isdigit()):
            raise UsageError(f"{flag} needs {command.argument} (--help shows an example)")
    return [value]


def _next(coming: Iterator[str]) -> list[str]:
    return [word for word in [next(coming, None)] if word is not None]
