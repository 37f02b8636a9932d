"""The command lines of the programs: what each does is a command, and without one the first of its list.

``--pause NAME`` is the older form of ``pause NAME``. Each command has a parser, a help and an example of its own.
Whatever is wrong is a UsageError of one line.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from attrs import frozen

from buildtool.configuration.given.reading import given_here
from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, read_addresses
from buildtool.model.properties import nearest
from buildtool.model.text import one_line
from buildtool.programs.common.ending import software, whole
from buildtool.programs.common.given.parser import CommandParser
from buildtool.programs.common.output import called

T = TypeVar("T")

How = Mapping[str, Any]
"""What ``add_argument`` takes for an option, besides its name."""


class Once(argparse.Action):
    """One that is said once at most: of two values, none may be dropped in silence."""

    _said: object = None

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        if self._said is not None and self._said != values:
            raise argparse.ArgumentError(self, f"is said twice, as {self._said} and as {values}: choose one")
        self._said = values
        setattr(namespace, self.dest, values)


class Several(argparse.Action):
    """One that may be said several times: the values, each of which is a tuple, are put together."""

    repeats = True

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        said = values if isinstance(values, tuple) else (values,)
        setattr(namespace, self.dest, (*(getattr(namespace, self.dest) or ()), *said))


def valued(words: str, metavar: str | None = None, read: Callable[[str], object] = str, **how: object) -> How:
    """Describe an option with a value, which ``read`` turns into what it stands for; ``how`` is argparse's."""
    return {"help": words, "metavar": metavar, "type": read, "action": Once, **how}


def switch(words: str, off: str = "") -> How:
    """Describe an option without a value: it is set where it is said, or ``off`` names what it switches off."""
    return {"help": words, "action": "store_false", "dest": off} if off else {"help": words, "action": "store_true"}


COMMON: Mapping[str, How] = {
    "--config": valued("the configuration (default: $BUILDTOOL_CONFIG, else the checkout's)", "FILE", Path),
    "--settings-file": valued(
        "what is not said here, as a TOML file (default: $BUILDTOOL_SETTINGS, else /etc/buildtool/settings.toml)",
        "FILE",
        Path,
    ),
    "--verbose": switch("log what the libraries say too"),
    "--json": switch("answer with one line of JSON, for programs"),
}
"""Options that several programs have."""

TARGET = "_target"
"""Where a parser leaves the word that a command is about: a name that no option of a project has."""

HELP = ("-h", "--help")
"""What asks for the help; where some options are seldom needed, for one that is short."""

HELP_ALL = "--help-all"
"""What asks for all of the help then."""

_WIDTH = 26
_DIGITS = 18
_NARROW, _WIDE = 60, 120
"""Within these widths, in characters, lines are folded that a person reads in prose."""


def before_dashes(words: Sequence[str]) -> list[str]:
    """Return the words that may be options: those before ``--``."""
    listed = list(words)
    return listed[: listed.index("--")] if "--" in listed else listed


def helps(words: Sequence[str]) -> tuple[bool, bool]:
    """Return whether the help is asked for, and whether no more of it than what is short."""
    asked = [word for word in before_dashes(words) if word in (*HELP, HELP_ALL)]
    return bool(asked), bool(asked) and HELP_ALL not in asked


def folded(text: str, first: str = "", then: str = "") -> str:
    """Return a text in lines that fit the terminal, begun with ``first``, or ``then`` from the second on."""
    import shutil
    import textwrap

    width = max(_NARROW, min(_WIDE, shutil.get_terminal_size().columns - 2))
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )


@frozen
class Subcommand(Generic[T]):
    """One thing that a program does: ``run`` does it with what was said. ``example`` is what to type after the program.

    ``argument`` names the word after the command (in brackets where it may be left out), which ``read`` turns into
    ``target``, and ``words`` what else may follow that is no option. ``options`` are names of options of its
    ``Subcommands``. It may be said as an option too if it has an ``older`` form, and is in a short help if it is
    ``usual``. With ``more``, what is not known here is left there in place of being refused: a project's options, say.
    """

    name: str
    help: str
    example: str
    run: Callable[[Any], T]
    argument: str = ""
    read: Callable[[str], object] = str
    options: tuple[str, ...] = ()
    words: str = ""
    older: bool = True
    usual: bool = True
    more: bool = False

    @property
    def flag(self) -> str:
        """The older form of the command."""
        return f"--{self.name}"

    @property
    def usage(self) -> str:
        """What follows the command that is no option."""
        return f"{self.argument} {self.words}".strip()


@frozen
class Subcommands(Generic[T]):
    """The command line of a program. ``options`` are what ``add_argument`` takes, by name, in addition to ``COMMON``.

    Those named by ``everywhere`` go with every command. Where there are ``seldom`` ones, ``--help`` leaves them out,
    and ``--help-all`` has everything.
    """

    program: str
    description: str
    commands: tuple[Subcommand[T], ...]
    own_options: Mapping[str, How]
    codes: Mapping[Any, str]
    everywhere: tuple[str, ...] = ("--config", "--settings-file", "--verbose")
    seldom: frozenset[str] = frozenset()

    @property
    def table(self) -> str:
        """The name of the program in the settings file, and in variables of the environment."""
        return self.program.removesuffix(".py")

    @property
    def options(self) -> Mapping[str, How]:
        """What ``add_argument`` takes for each option that some command has."""
        known = {**COMMON, **self.own_options}
        return {name: known[name] for one in self.commands for name in (*self.everywhere, *one.options)}

    def main(self: Subcommands[int], words: Sequence[str] | None = None) -> int:
        """Run the command that was said, and return the exit code."""

        def act() -> int:
            command, said = self.parse(sys.argv[1:] if words is None else words)
            given_here(self.table, self.options, said.settings_file).complete(said)
            return command.run(said)

        return whole(self.program, act)

    def parse(self, words: Sequence[str]) -> tuple[Subcommand[T], argparse.Namespace]:
        """Return which command was said and with what. Raises UsageError; SystemExit after the help."""
        command, rest, said = self.chosen(words)
        parser = self.parser(command, said=said)
        found, more = parser.parse_said(rest)
        if more and not command.more:
            parser.error(f"unrecognized arguments: {' '.join(more)}")
        found.target, found.more = vars(found).pop(TARGET, None), more
        return command, found

    def chosen(self, words: Sequence[str]) -> tuple[Subcommand[T], list[str], bool]:
        """Return the command, the words that are left for its parser, and whether it was said. Raises UsageError.

        A command stands before all words that are no options, and before options that are not known here; its older
        form stands anywhere.
        """
        names = {one.name: one for one in self.commands}
        flags = {one.flag: one for one in self.commands[1:] if one.older}
        known = self.options
        found: list[tuple[str, Subcommand[T]]] = []
        options: list[str] = []
        target: list[str] = []
        rest: list[str] = []
        may_follow = True
        coming = deque(words)
        while coming:
            word = coming.popleft()
            flag, equals, value = word.partition("=")
            if word == "--":
                rest += [word, *coming]
                coming.clear()
            elif flag in flags:
                found.append((flag, flags[flag]))
                target += _target(flag, flags[flag], value if equals else None, coming)
            elif word.startswith("-"):
                options.append(flag)
                valued = flag in known and not equals and not isinstance(known[flag].get("action"), str)
                rest += [word, *(_next(coming) if valued else [])]
                may_follow = may_follow and flag in known
            elif may_follow and not found and word in names:
                found.append((word, names[word]))
            else:
                rest.append(word)
                if may_follow and not found and not self.commands[0].words:
                    option = f"--{word}" if f"--{word}" in known else ""
                    hint = f": {option} is an option" if option else nearest(word, sorted(names))
                    raise UsageError(f"there is no command {word[:40]!r}{hint}")
                may_follow = False
        if len({said for said, _ in found}) > 1:
            raise UsageError(f"{found[0][0]} and {found[1][0]} are two different things: say one of them")
        if len(set(target)) > 1:
            one, other, *_ = dict.fromkeys(target)
            raise UsageError(f"{found[0][0]} is said twice, as {one[:80]!r} and as {other[:80]!r}: choose one")
        command = found[0][1] if found else self.commands[0]
        self._check_options(command, options, said=bool(found))
        return command, [*target[:1], *rest], bool(found)

    def _check_options(self, command: Subcommand[T], options: Sequence[str], *, said: bool) -> None:
        """Raise UsageError for an option that goes with other commands only."""
        for flag in options:
            others = [one.name for one in self.commands if flag in one.options]
            if others and flag not in command.options:
                but = f", not with {command.name}" if said else ""
                raise UsageError(f"{flag} goes with {' or '.join(others)}{but}")

    def parser(self, command: Subcommand[T], *, said: bool, short: bool = False) -> CommandParser:
        """Return the parser of a command; unless it was ``said``, its help is that of the whole program.

        A ``short`` help leaves out what is needed seldom.
        """
        parser = CommandParser(
            prog=f"{self.program} {command.name}" if said else self.program,
            usage=f"%(prog)s {'' if said else '[COMMAND] '}[options] {command.usage}".rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )

        def explain() -> tuple[str, str]:
            example = f"example:\n  {called(self.program)} {command.example}"
            listed = [] if said else [self._listed(short=short)]
            about = folded(command.help if said else self.description)
            return about, "\n\n".join([*listed, example, self._end(short=short)])

        parser.explain = explain
        parser.add_argument(*HELP, action="help", help="show this and stop")
        if self.seldom:
            parser.add_argument(HELP_ALL, action="help", help="show every option, command and exit code")
        parser.add_argument("--version", action="version", version=software(), help="print the version and stop")
        older = [
            one.flag for one in self.commands[1:] if one.older
        ]  # taken out before, and named here for those that come near
        parser.add_argument(*older, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if command.argument:
            optional = "?" if command.argument.startswith("[") else None
            parser.add_argument(TARGET, metavar=command.argument.strip("[]"), type=command.read, nargs=optional)
        for name in (*self.everywhere, *command.options):
            hidden = {"help": argparse.SUPPRESS} if short and name in self.seldom else {}
            parser.declare(name, {**self.options[name], **hidden})
        return parser

    def _end(self, *, short: bool) -> str:
        """Return how the help ends: with the exit codes, or how to see all that is left out."""
        if short:
            return f"{HELP_ALL} shows every option, command and exit code.\n"
        width = max(len(str(code)) for code in self.codes)
        codes = "\n".join(f"  {code:>{width}}  {meaning}" for code, meaning in sorted(self.codes.items()))
        return f"exit codes:\n{codes}\n"

    def _listed(self, *, short: bool) -> str:
        """Return the commands for the help of the whole program."""
        lines = [line for one in self.commands if one.usual or not short for line in _listed_lines(one)]
        head = f"commands ({self.commands[0].name} without one; NAME --help explains one; --NAME is its older form):"
        return "\n".join([head, *lines])


def _listed_lines(command: Subcommand[T]) -> list[str]:
    """Return a command and what it does, that on a line of its own where the command is too long for its column."""
    said = f"  {command.name} {command.usage}".rstrip()
    column = " " * (_WIDTH + 2)
    if len(said) < len(column) - 1:
        return [folded(command.help, f"{said:<{len(column)}}", column)]
    return [said, folded(command.help, column, column)]


def _target(flag: str, command: Subcommand[T], value: str | None, coming: deque[str]) -> list[str]:
    """Return the word that a command in its older form has to be followed by. Raises UsageError."""
    if not command.argument:
        if value is not None:
            raise UsageError(f"{flag} takes no value: leave out {one_line(value)[:40]!r}")
        return []
    if value is None:
        is_option = not coming or (coming[0].startswith("-") and not coming[0][1:2].isdigit())
        if is_option and command.argument.startswith("["):
            return []
        (value,) = _next(coming) or [""]
        if not value or is_option:
            raise UsageError(f"{flag} needs {command.argument.strip('[]')} (--help shows an example)")
    return [value]


def _next(coming: deque[str]) -> list[str]:
    return [coming.popleft()] if coming else []


# --- values of options ----------------------------------------------------------------------------------


def number(least: int, most: int, wrong: str = "") -> Callable[[str], int]:
    """Return a converter for argparse that takes the whole numbers of a range; ``wrong`` is said of all else."""
    words = wrong or f"is not a whole number from {least} to {most}"

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} {words}")
        return int(text)

    setattr(read, "whole", True)  # noqa: B010 - what tells a file that it is written without quotes
    return read


def host_flag(text: str) -> tuple[MetaserverAddress, ...]:
    """Return the addresses that ``--host`` says, for argparse. Raises UsageError."""
    return read_addresses(text, "--host", "--port")


REACHING: Mapping[str, How] = {
    "--host": valued(
        "where the metaserver is, or an endpoint string such as tls:HOST:PORT; may be said several times, and is tried "
        "in turn (default: host of the configuration)", "HOST", host_flag, action=Several,
    ),
    "--port": valued(
        "its control port (default: pb_port of the configuration)", "PORT",
        number(1, 65535, "is not a port: say a number from 1 to 65535"), default=0,
    ),
    "--use-tls": switch("speak TLS to it, as tls:HOST:PORT does"),
}  # fmt: skip
"""The options that say where the metaserver is."""
