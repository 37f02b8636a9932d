"""Recipes: how a project is built. A recipe is a pure function from what is wanted to commands and deliverables.

It comes from the build server's own configuration, never over the wire, so that nobody who asks for a build can
make a donated machine run anything else.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath

from attrs import field, frozen

from buildtool.domain.platforms import Value
from buildtool.errors import ConfigurationError


def _argv(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple) or not value:
        raise ConfigurationError(f"a command is a non-empty list of words, not {value!r}")
    return tuple(str(word) for word in value)


@frozen
class Command:
    """One command: its words (no shell), the directory below the source to run in, and what to call it in the log."""

    argv: tuple[str, ...] = field(converter=_argv)
    cwd: str = "."
    name: str = ""

    def words(self) -> str:
        """Return what the log shows before the command's output."""
        return self.name or " ".join(self.argv)


def _commands(value: Iterable[Command]) -> tuple[Command, ...]:
    return tuple(value)


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ConfigurationError(f"a list of texts is needed, not the one text {value!r}")
    return tuple(value)


@frozen
class Wanted:
    """What a recipe is given.

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
    """What a recipe answers: commands in order, their environment, and what must exist when they are done.

    ``deliverables`` are files or directories below the source; each must be there, or the build has failed.
    ``machine_faults`` are regular expressions: where one matches the end of a failed command's log, the machine is
    at fault, not the project.
    """

    commands: tuple[Command, ...] = field(converter=_commands)
    deliverables: tuple[str, ...] = field(converter=_texts)
    environment: Mapping[str, str] = field(factory=dict)
    machine_faults: tuple[str, ...] = field(default=(), converter=_texts)

    def __attrs_post_init__(self) -> None:
        if not self.commands or not self.deliverables:
            raise ConfigurationError("a recipe's plan needs at least one command and one deliverable")
        for path in (*self.deliverables, *(command.cwd for command in self.commands)):
            if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
                raise ConfigurationError(f"a recipe's paths lie below the source; {path!r} does not")
        for pattern in self.machine_faults:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigurationError(f"machine fault {pattern!r} is no regular expression: {error}") from error


@frozen
class Recipe:
    """A project's recipe: its version (raise it whenever the same inputs would give another binary) and function.

    ``machine`` declares what every build needs of its machine (``{"memory": 512, "tools": ("gcc", "make")}``).
    """

    version: int
    plan: Callable[[Wanted], Plan]
    machine: Mapping[str, Value] = field(factory=dict)
