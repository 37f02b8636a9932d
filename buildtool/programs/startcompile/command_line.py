"""The command line of startcompile.py: its own flags, and one for every option that the project describes.

It is read twice: first only what says which configuration and project, then all of it. Whatever is wrong is a
UsageError of one line.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import frozen

from buildtool.configuration.settings import Settings
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.addresses import valid_address
from buildtool.model.matching.requiring import platform_required
from buildtool.model.options import Kind, Option
from buildtool.model.platforms import Value
from buildtool.model.project_options import TOOL_OPTIONS
from buildtool.programs.common.program import unknown_option
from buildtool.programs.startcompile.flags import Helped, own_flags, project_flags
from buildtool.project.definition import Project
from buildtool.protocol.messages import TOGETHER, AskWhy, Cancel

_CANCEL_ID = re.compile(r"([0-9]{1,18})-([A-Za-z0-9]{1,80})\Z")
_HELP = frozenset({"-h", "--help"})


@frozen
class BuildArguments:
    """The wanted build, as the command line says it: only what was set, each value checked and canonical."""

    project: Project
    email: str
    compile: dict[str, Value]
    system: dict[str, Value]
    tool: dict[str, str]
    force: bool = False
    native: bool = False


@frozen
class Arguments:
    """All that the command line said. One of ``asked``, ``cancel`` and ``why`` is there; ``port`` is 0 when not said.

    ``explain``: nothing is asked for, only what would be answered is wanted. ``more`` is what is asked for besides
    ``asked``, when options have several values or there is a matrix.
    """

    settings: Settings
    asked: BuildArguments | None
    cancel: Cancel | None
    more: tuple[BuildArguments, ...] = ()
    why: AskWhy | None = None
    explain: bool = False
    host: str = ""
    port: int = 0
    output: str = ""
    download: bool = True
    foreground: bool = False
    json: bool = False


def parse(arguments: Sequence[str], load: Callable[[Path | None], Settings]) -> Arguments:
    """Return what the command line says; ``load`` reads a configuration.

    Raises UsageError, ConfigurationError, UnknownProject; Helped when help was asked for.
    """
    first, _ = own_flags(add_help=False).parse_known_args(list(arguments))
    help_wanted = any(word in _HELP for word in _before_dashes(arguments))
    try:
        settings = load(first.config)
        about_one = first.cancel is not None or first.why is not None
        project = _project(settings, first.project, needed=not about_one and not help_wanted)
    except ConfigurationError as error:
        if help_wanted:
            raise Helped(f"{own_flags().format_help()}\n(no project's options: {error})") from error
        raise
    parser = own_flags()
    if project is not None:
        project_flags(parser, project)
    if help_wanted:
        raise Helped(parser.format_help() + _several(settings, project))
    flags, rest = parser.parse_known_args(_plain_bools(arguments, project))
    words = _positional(rest, parser)
    cancel = _cancel_id(flags.cancel) if flags.cancel is not None else None
    why = _why_id(flags.why) if flags.why is not None else None
    if cancel is not None and why is not None:
        raise UsageError("--cancel ends a request, --why asks about one: choose one")
    everything: list[BuildArguments] = []
    if cancel is None and why is None and project is not None:
        everything = _combinations(flags, words, project, parser)
    asked = everything[0] if everything else None
    if cancel is not None or why is not None:
        _nothing_else(flags, words, project, "--cancel" if cancel is not None else "--why")
    if flags.output is not None and not flags.download:
        raise UsageError("--output says where the artifact goes, --no-download that it is not fetched: choose one")
    return Arguments(
        settings=settings,
        asked=asked,
        cancel=cancel,
        more=tuple(everything[1:]),
        why=why,
        explain=flags.explain,
        host=flags.host or "",
        port=flags.port or 0,
        output=flags.output or "",
        download=flags.download,
        foreground=flags.foreground,
        json=flags.json,
    )


def check_platform(asked: BuildArguments, local: dict[str, Value]) -> None:
    """Raise UsageError when the options contradict each other: before anybody is asked."""
    asked.project.options.compile_values(asked.compile)
    platform_required(asked.project.options, asked.system, local)


# --- from flags to values ---------------------------------------------------------------------------------


def _before_dashes(arguments: Sequence[str]) -> list[str]:
    words = list(arguments)
    return words[: words.index("--")] if "--" in words else words


def _plain_bools(arguments: Sequence[str], project: Project | None) -> list[str]:
    """Turn ``--flag=yes`` and ``--flag=no`` into ``--flag`` and ``--no-flag``, which argparse knows."""
    bools = {option.flag: option for option in project.options.all() if option.kind is Kind.BOOL} if project else {}
    before = _before_dashes(arguments)
    plain: list[str] = []
    for word in before:
        flag, equals, value = word.partition("=")
        if equals and flag in bools:
            word = flag if bools[flag].parse(value) else f"--no-{flag[2:]}"  # noqa: PLW2901
        plain.append(word)
    return plain + list(arguments[len(before) :])


def _positional(rest: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return the words that are no options. Raises UsageError for an option that there is not, with a near one."""
    before = _before_dashes(rest)
    for word in before:
        if word.startswith("-") and word != "-":
            raise UsageError(unknown_option(parser, word))
    return before + rest[len(before) + 1 :]


def _several(settings: Settings, project: Project | None) -> str:
    """Return what the help says of projects when there are several."""
    if len(settings.projects) < 2:  # noqa: PLR2004 - of one there is nothing to choose
        return ""
    names = ", ".join(one.name for one in settings.projects)
    options = "" if project is not None else "\nwhich options a project has: --project NAME --help\n"
    return f"\nprojects of {settings.path}:\n  {names}\n{options}"


def _project(settings: Settings, name: str | None, *, needed: bool) -> Project | None:
    if name is not None:
        return settings.project(name)
    if len(settings.projects) == 1:
        return settings.projects[0]
    if needed:
        names = ", ".join(project.name for project in settings.projects) or "none"
        raise UsageError(f"say which project with --project: there is {names}")
    return None


def _cancel_id(text: str) -> Cancel:
    return Cancel(*_request_id("--cancel", text))


def _why_id(text: str) -> AskWhy:
    return AskWhy(*_request_id("--why", text))


def _request_id(flag: str, text: str) -> tuple[int, str]:
    found = _CANCEL_ID.match(text)
    if found is None:
        raise UsageError(f"{flag}: {text[:80]!r} is not an id such as 12-abcdef, as it was told with the request")
    return int(found[1]), found[2]


def _combinations(
    flags: argparse.Namespace, words: list[str], project: Project, parser: argparse.ArgumentParser
) -> list[BuildArguments]:
    """Return everything that is asked for: each line of the matrix, with every combination of repeated values."""
    if flags.matrix is None:
        return _products(flags, words, project)
    found = []
    for number, line in _matrix(Path(flags.matrix)):
        try:
            own, rest = parser.parse_known_args(_plain_bools(line, project))
            _options_only(own, _positional(rest, parser), project)
            merged = argparse.Namespace(**vars(flags))
            for name, value in vars(own).items():
                if value is not None and name in {option.name for option in project.options.all()}:
                    setattr(merged, name, value)
            found += _products(merged, words, project)
        except UsageError as error:
            raise UsageError(f"{flags.matrix}:{number}: {error}") from error
    if not found:
        raise UsageError(f"--matrix: {flags.matrix} asks for nothing: write options in its lines")
    return _bounded(found)


def _matrix(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines of a matrix file that say something, as words, with their numbers."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--matrix: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from error
        if words:
            lines.append((number, words))
    return lines


def _options_only(own: argparse.Namespace, words: list[str], project: Project) -> None:
    names = {option.name for option in project.options.all()}
    others = [name for name, value in vars(own).items() if name not in names | {"download"} and value]
    if words or others:
        raise UsageError(f"a line of a matrix holds options of the project only, not {(words + others)[0]!r}")


def _products(flags: argparse.Namespace, words: list[str], project: Project) -> list[BuildArguments]:
    """Return what is asked for with every combination of the values that were said more than once."""
    names = [option.name for option in project.options.all() if getattr(flags, option.name, None)]
    choices = [list(dict.fromkeys(getattr(flags, name))) for name in names]
    if math.prod(map(len, choices)) > TOGETHER:
        raise UsageError(f"at most {TOGETHER} builds can be asked for at once")
    found = []
    for combination in itertools.product(*choices):
        one = argparse.Namespace(**vars(flags) | dict(zip(names, combination, strict=True)))
        found.append(_asked(one, words, project))
    return _bounded(found)


def _bounded(found: list[BuildArguments]) -> list[BuildArguments]:
    if len(found) > TOGETHER:
        raise UsageError(f"at most {TOGETHER} builds can be asked for at once, not {len(found)}")
    return found


def _asked(flags: argparse.Namespace, words: list[str], project: Project) -> BuildArguments:
    if not words and not flags.explain:
        raise UsageError("say who is told: an e-mail address (--help shows an example)")
    if len(words) > 1:
        raise UsageError(f"one e-mail address is enough: {words[1][:80]!r} is too much (options begin with --)")
    options = project.options
    compile_values = _values(flags, options.compile)
    options.compile_values(compile_values)
    tool = {name: str(value) for name, value in _values(flags, TOOL_OPTIONS).items()}
    return BuildArguments(
        project=project,
        email=valid_address(words[0]) if words else "",
        compile=compile_values,
        system=_values(flags, [item.option for item in options.system]),
        tool=tool,
        force=flags.force,
        native=flags.native,
    )


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


def _nothing_else(flags: argparse.Namespace, words: list[str], project: Project | None, only: str) -> None:
    """Raise UsageError when something is asked for besides what ``only`` does with a request that there is."""
    if words:
        raise UsageError(f"{only} needs no e-mail address: leave out {words[0][:80]!r}")
    set_flags = [
        name for name in ("force", "native", "foreground", "output", "explain", "matrix") if getattr(flags, name)
    ]
    if project is not None:
        set_flags += [option.name for option in project.options.all() if getattr(flags, option.name, None)]
    if set_flags:
        raise UsageError(f"{only} is about one request only: leave out --{set_flags[0].replace('_', '-')}")
