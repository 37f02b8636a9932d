"""Recipes: how a project is built. A recipe is a pure function from what is wanted to commands and deliverables.

It comes from the build server's own configuration, never over the wire, so that nobody who asks for a build can
make a donated machine run anything else.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import TypeVar

from attrs import field, frozen

from buildtool.errors import ConfigurationError, ToolMissing
from buildtool.model.checkup.packages import FAMILIES
from buildtool.model.platforms import Value
from buildtool.project.fetching import Download, NamedHost, below_source, downloads, hosts

ROLES = ("CC", "CXX", "AR", "RANLIB", "STRIP", "LD", "NM", "CC_VERSION")
"""The programs of a platform that a machine may have; those of a cross toolchain have HOST and RUN besides."""

WORDS_LIMIT = 200
"""The longest that a command is called, in characters: room is left for what is said of it."""

PLAIN_TERMINAL = "dumb"
"""What terminals of commands are called: a kind that knows no colours, as logs do not."""

T = TypeVar("T")


def _argv(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple) or not value:
        raise ConfigurationError(f"a command is a non-empty list of words, not {value!r}")
    words = tuple(str(word) for word in value if word is not None)
    if len(words) < len(value) or not words[0] or any("\0" in word for word in words):
        raise ConfigurationError(f"a command's words are texts, and the first names a program; {list(value)!r} are not")
    return words


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"a command is called by a text, not by {value!r}")
    return value


def _terminal(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"whether a command has a terminal is True or False, not {value!r}")
    return value


@frozen
class Command:
    """One command: its words (no shell), the directory below the source to run in, and what to call it in the log.

    With ``terminal`` it has a terminal of its own, for programs that do not work without one. What reads from it
    finds its end.
    """

    argv: tuple[str, ...] = field(converter=_argv)
    cwd: str = "."
    name: str = field(default="", converter=_name)
    terminal: bool = field(default=False, converter=_terminal)

    def within(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Return an environment with what its terminal is called, where it has one and nothing else is said of that."""
        return {"TERM": PLAIN_TERMINAL, **environment} if self.terminal else environment

    def words(self) -> str:
        """Return what the command is called in the log and in messages, of bounded length."""
        words = self.name or " ".join(self.argv)
        return words if len(words) <= WORDS_LIMIT else f"{words[: WORDS_LIMIT - 3]}..."


def _commands(value: Iterable[Command]) -> tuple[Command, ...]:
    commands = _listed(value, "commands", "Command([...])")
    for one in commands:
        if not isinstance(one, Command):
            raise ConfigurationError(f"a plan's commands are Command([...]), which {one!r} is not")
    return commands


def _deliverables(value: Iterable[str | PurePath]) -> tuple[str, ...]:
    return tuple(below_source(path, "deliverable") for path in _listed(value, "deliverables", "names of files"))


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    texts = _listed(value, "machine_faults", "texts")
    for one in texts:
        if not isinstance(one, str):
            raise ConfigurationError(f"machine_faults are regular expressions, which {one!r} is not")
    return texts


def _patterns(value: Iterable[str]) -> tuple[str, ...]:
    patterns = _listed(value, "foreign", "patterns of names of files")
    for one in patterns:
        if not isinstance(one, str) or not 0 < len(one) <= WORDS_LIMIT:
            raise ConfigurationError(f"foreign are patterns of names of files such as '*.exe', which {one!r} is not")
    return patterns


def _environment(value: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"a plan's environment is a dictionary of texts, not {value!r}")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ConfigurationError(f"a plan's environment holds texts: {name!r} with {text!r} is something else")
        if not name or "=" in name or "\0" in name + text:
            raise ConfigurationError(f"no environment can hold {name!r} with {text!r}")
    return dict(value)


def _listed(value: Iterable[T], what: str, of: str) -> tuple[T, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what} are a list of {of}, not the one {value!r}")
    return tuple(value)


class PlatformTools(dict[str, str]):
    """The programs of a platform, as ``Wanted.tools`` has them: asking for one that a machine lacks is no mistake."""

    def __missing__(self, role: str) -> str:
        """Raise ToolMissing for a program that other machines have; KeyError for a name that there is not."""
        if role in ROLES:
            raise ToolMissing(f"this machine has no {role} for that platform")
        raise KeyError(role)


@frozen
class Wanted:
    """The input of a recipe.

    ``options`` are all compile options; ``platform`` the properties of the platform to build for; ``kind`` is
    ``native``, ``cross`` or ``emulated``; ``source`` is the checked-out tree (the commands start there); ``revision``
    the full commit id; ``cpus`` how many processors may be used.

    ``tools`` holds the machine's programs for this platform, each as one may type it: CC, CXX, AR, RANLIB, STRIP, LD,
    NM, as far as there are any, and CC_VERSION (``gcc-12.2.0``). For a cross toolchain also HOST, the triple
    (``powerpc-linux-gnu``), and RUN, the emulator, where there is one.
    """

    options: Mapping[str, Value]
    platform: Mapping[str, Value]
    kind: str
    tools: Mapping[str, str]
    source: PurePath
    revision: str
    cpus: int

    @property
    def emulator(self) -> tuple[str, ...]:
        """The words to put before a program that was built, so that it runs here; none when it needs none."""
        return tuple(shlex.split(self.tools.get("RUN", "")))

    @property
    def can_run(self) -> bool:
        """Whether what is built can be run on this machine, with the words of ``emulator`` before it."""
        return self.kind != "cross" or bool(self.emulator)


@frozen
class Plan:
    """The answer of a recipe: commands in order, their environment, and what must exist when they are done.

    ``deliverables`` are files or directories below the source; each must be there, or the build has failed.
    ``machine_faults`` are regular expressions: where one matches the end of a failed command's log, the machine is at
    fault, not the project.

    ``downloads`` are there before anything runs, each verified. ``fetch`` are commands that run first and may speak to
    the hosts that ``network`` names, through a proxy (``https_proxy``), where the machine's owner allows this project
    that; the network has ended when ``commands`` begin.

    ``foreign`` are patterns of the names of files in the artifact that are for another platform than asked, as
    ``*.exe`` or ``firmware/*``: any other such program or library ends the build as the project's failure.
    """

    commands: tuple[Command, ...] = field(converter=_commands)
    deliverables: tuple[str, ...] = field(converter=_deliverables)
    environment: Mapping[str, str] = field(factory=dict, converter=_environment)
    machine_faults: tuple[str, ...] = field(default=(), converter=_texts)
    downloads: tuple[Download, ...] = field(default=(), converter=downloads)
    fetch: tuple[Command, ...] = field(default=(), converter=_commands)
    network: tuple[NamedHost, ...] = field(default=(), converter=hosts)
    foreign: tuple[str, ...] = field(default=(), converter=_patterns)

    def __attrs_post_init__(self) -> None:
        if not self.commands or not self.deliverables:
            raise ConfigurationError("a recipe's plan needs at least one command and one deliverable")
        if bool(self.fetch) != bool(self.network):
            raise ConfigurationError(
                "a plan's fetch are commands that speak to hosts which its network names: say both"
            )
        for command in (*self.fetch, *self.commands):
            below_source(command.cwd, "command's directory")
        for path in self.deliverables:
            if path == "." or set("*?") & set(path):
                raise ConfigurationError(f"a deliverable is the name of one file or directory, which {path!r} is not")
        for pattern in self.machine_faults:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigurationError(f"machine fault {pattern!r} is no regular expression: {error}") from error


def _machine(value: Mapping[str, Value]) -> dict[str, Value]:
    """Return what a machine must have, sets as such; the members are checked with the project."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"a recipe's machine is a dictionary such as {{'memory': 512}}, not {value!r}")
    sets = (list, tuple, set, frozenset)
    return {name: tuple(sorted(map(str, one))) if isinstance(one, sets) else one for name, one in value.items()}


def _packages(value: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return packages by tool and family; a name is pasted into a shell, so it is plain."""
    if not isinstance(value, Mapping) or not all(isinstance(one, Mapping) for one in value.values()):
        raise ConfigurationError(f"a recipe's packages are like {_PACKAGES}, which {value!r} is not")
    for tool, families in value.items():
        for family, packages in families.items():
            if family not in FAMILIES:
                raise ConfigurationError(f"packages of {tool!r}: {family!r} is none of {', '.join(FAMILIES)}")
            if not isinstance(packages, str) or not all(map(_PACKAGE.match, packages.split() or [""])):
                raise ConfigurationError(f"packages of {tool!r}: {packages!r} is no name of a package, or several")
    return {tool: dict(families) for tool, families in value.items()}


_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:@/_-]{0,99}\Z")
_PACKAGES = '{"powerpc-linux-gnu-gcc": {"debian": "gcc-powerpc-linux-gnu", "fedora": "gcc-powerpc64-linux-gnu"}}'


@frozen
class Recipe:
    """A project's recipe: its version (raise it whenever the same inputs would give another binary) and function.

    ``machine`` declares what every build needs of its machine (``{"memory": 512, "tools": ("gcc", "make")}``), and
    ``packages`` which packages have those tools, by tool and then by ``debian``, ``fedora`` and ``homebrew``. Those of
    common tools are known.
    """

    version: int
    plan: Callable[[Wanted], Plan]
    machine: Mapping[str, Value] = field(factory=dict, converter=_machine)
    packages: Mapping[str, Mapping[str, str]] = field(factory=dict, converter=_packages)
