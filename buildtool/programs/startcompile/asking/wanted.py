"""What is asked for: from flags to checked values, one build for each combination that was said.

Tested by tests/programs/startcompile/test_command_line.py.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.matching.requiring import platform_required
from buildtool.model.options import Canonical, Kind, Option
from buildtool.model.platforms import Value
from buildtool.model.project_options import TOOL_OPTIONS
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.common.given.parser import CommandParser
from buildtool.programs.common.subcommands import TARGET, before_dashes
from buildtool.programs.startcompile.flags import AnyProject, compile_flags, matrix_lines, project_flags
from buildtool.protocol.limits import TOGETHER


@frozen
class BuildArguments:
    """The wanted build, as the command line says it: only what was set, each value checked and canonical.

    ``sandbox`` is the least level that is accepted, None where nothing was said of it, ``nice`` by how many rounds it
    stands back in the order; with ``supersede`` it takes the place of what they asked for of older commits. Where
    ``latest`` is said, it is the branch of which the newest binary is wanted, HEAD or another, and nothing is built.
    """

    project: AnyProject
    email: str
    compile: dict[str, Value]
    system: dict[str, Value]
    tool: dict[str, str]
    force: bool = False
    native: bool = False
    sandbox: SandboxLevel | None = None
    nice: int = 0
    supersede: bool = False
    latest: str = ""


def asked_for(flags: argparse.Namespace, email: str, project: AnyProject) -> list[BuildArguments]:
    """Return what is asked for, by a matrix where the command is about one. Raises UsageError."""
    target = getattr(flags, TARGET, None)
    return _matrix(target, flags, email, project) if isinstance(target, Path) else _products(flags, email, project)


def check_platform(asked: BuildArguments, local: dict[str, Value]) -> None:
    """Raise UsageError when the options contradict each other: before anybody is asked."""
    asked.project.options.compile_values(asked.compile)
    platform_required(asked.project.options, asked.system, local)


def compile_said(project: AnyProject, words: Sequence[str]) -> Canonical:
    """Return every compile option's value, as words of a command line say some of them. Raises UsageError."""
    parser = CommandParser(add_help=False, allow_abbrev=False)
    compile_flags(parser, project)
    said, rest = parser.parse_known_args(plain_bools(words, project))
    if rest:
        raise UsageError(parser.unknown(rest[0]))
    for option in project.options.compile:
        values = getattr(said, option.name)
        if isinstance(values, list) and len(set(values)) > 1:
            raise UsageError(f"{option.flag} has several values: only one is tried at a time")
        setattr(said, option.name, values[-1] if values else None)
    return project.options.compile_values(_values(said, project.options.compile))


def plain_bools(arguments: Sequence[str], project: AnyProject | None) -> list[str]:
    """Return words with ``--flag=yes`` and ``--flag=no`` as ``--flag`` and ``--no-flag``, which argparse knows."""
    bools = {option.flag: option for option in project.options.all() if option.kind is Kind.BOOL} if project else {}
    before = before_dashes(arguments)
    plain: list[str] = []
    for word in before:
        flag, equals, value = word.partition("=")
        if equals and flag in bools:
            word = flag if bools[flag].parse(value) else f"--no-{flag[2:]}"  # noqa: PLW2901
        plain.append(word)
    return plain + list(arguments[len(before) :])


def _matrix(path: Path, flags: argparse.Namespace, email: str, project: AnyProject) -> list[BuildArguments]:
    """Return what each line of a matrix asks for, its options added to the ``flags`` of the command line."""
    parser = CommandParser(add_help=False, allow_abbrev=False)
    project_flags(parser, project)
    found = []
    for number, line in matrix_lines(path):
        try:
            own, rest = parser.parse_known_args(plain_bools(line, project))
            _options_only(parser, rest)
            set_there = {name: value for name, value in vars(own).items() if value is not None}
            found += _products(argparse.Namespace(**vars(flags) | set_there), email, project)
        except UsageError as error:
            raise UsageError(f"{path}:{number}: {error}") from error
    if not found:
        raise UsageError(f"{path} asks for nothing: write options in its lines")
    return _bounded(found)


def _options_only(parser: CommandParser, rest: list[str]) -> None:
    if rest:
        raise UsageError(f"a line of a matrix holds options of the project only: {parser.unknown(rest[0])}")


def _products(flags: argparse.Namespace, email: str, project: AnyProject) -> list[BuildArguments]:
    """Return what is asked for with every combination of the values that were said more than once."""
    names = [option.name for option in project.options.all() if getattr(flags, option.name, None)]
    choices = [list(dict.fromkeys(getattr(flags, name))) for name in names]
    if math.prod(map(len, choices)) > TOGETHER:
        raise UsageError(f"at most {TOGETHER} builds can be asked for at once")
    found = []
    for combination in itertools.product(*choices):
        one = argparse.Namespace(**vars(flags) | dict(zip(names, combination, strict=True)))
        found.append(_asked(one, email, project))
    return _bounded(found)


def _bounded(found: list[BuildArguments]) -> list[BuildArguments]:
    if len(found) > TOGETHER:
        raise UsageError(f"at most {TOGETHER} builds can be asked for at once, not {len(found)}")
    return found


def _asked(flags: argparse.Namespace, email: str, project: AnyProject) -> BuildArguments:
    options, latest = project.options, _latest(flags)
    if latest:
        flags = argparse.Namespace(**vars(flags) | {"revision": latest})
    compile_values = _values(flags, options.compile)
    options.compile_values(compile_values)
    return BuildArguments(
        project=project,
        email=email,
        compile=compile_values,
        system=_values(flags, [item.option for item in options.system]),
        tool={name: str(value) for name, value in _values(flags, TOOL_OPTIONS).items()},
        force=getattr(flags, "force", False),
        native=flags.native,
        sandbox=flags.sandbox,
        nice=flags.nice or 0,
        supersede=getattr(flags, "supersede", False),
        latest=latest,
    )


LATEST = "latest:"
"""What a revision begins with where the newest of a branch is meant that has a binary."""

_BUILDING = ("force", "foreground", "deadline", "nice", "supersede", "revrange")
"""What is about building, and not about what is there."""


def _latest(flags: argparse.Namespace) -> str:
    """Return the branch of which the newest binary is wanted, "" where a build is. Raises UsageError."""
    revision = str(getattr(flags, "revision", None) or "")
    if not (flags.latest or revision.startswith(LATEST)):
        return ""
    branch = revision.removeprefix(LATEST) or "HEAD"
    if revision and not revision.startswith(LATEST):
        raise UsageError(f"--latest is of a branch: say --revision {LATEST}{revision} where {revision} is one")
    for name in _BUILDING:
        if getattr(flags, name, None):
            flag = "--wait" if name == "foreground" else f"--{name}"
            raise UsageError(f"{flag} is about building, and --latest builds nothing: leave one of them out")
    return branch


def _values(flags: argparse.Namespace, options: Iterable[Option]) -> dict[str, Value]:
    """Return the values of the options that were set, each parsed by its description. Raises UsageError."""
    found: dict[str, Value] = {}
    for option in options:
        said = getattr(flags, option.name, None)
        if isinstance(said, bool):
            found[option.name] = said
        elif said is not None:
            found[option.name] = option.parse(said)
    return found
