"""The command line of startcompile.py: its own flags, and one for every option that the project describes.

It is read twice: first only what says which configuration and project, then all of it. Whatever is wrong is a
UsageError of one line.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from attrs import evolve, field, frozen

from buildtool.configuration.given.reading import given_here
from buildtool.configuration.given.values import NOTHING, Given
from buildtool.errors import ConfigurationError, UnknownProject, UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.model.addresses import valid_address
from buildtool.model.text import near_word
from buildtool.programs.common.ending import software
from buildtool.programs.common.given.parser import CommandParser
from buildtool.programs.common.subcommands import (
    HELP,
    HELP_ALL,
    REACHING,
    TARGET,
    Subcommand,
    Subcommands,
    before_dashes,
    helps,
)  # fmt: skip
from buildtool.programs.startcompile.asking.wanted import BuildArguments, asked_for, plain_bools
from buildtool.programs.startcompile.flags import EVERYWHERE, OVER_HTTP, AnyProject, project_flags
from buildtool.programs.startcompile.places import NO_PLACE, NOWHERE, MetaserverPlace, MetaserverPlaces, places_meant
from buildtool.protocol.projects.described import DescribedProject, DescribedProjects

if TYPE_CHECKING:
    from buildtool.configuration.settings import Settings

T = TypeVar("T")

_REQUEST_ID = re.compile(r"([0-9]{1,18})(?:-([A-Za-z0-9]{1,80}))?\Z")
STREAMING = ("follow", "download", "log")
"""The commands that tell of each event with ``--json``, besides those that wait in the foreground."""

MAILING = ("ask", "matrix", "watch")
"""The commands about whose end somebody is mailed."""


@frozen
class Arguments:
    """All that the command line said. ``target`` is what its command is about, ``where`` the metaserver is asked.

    ``asked`` is what is asked for: one, or more when options have several values or there is a matrix. ``flags`` has
    everything as it was said to ``command``, and ``mails`` says that its end is mailed. ``wants`` says that it is about
    builds that are asked for, as the metaserver's descriptions with that ``digest`` say; the configuration, if there is
    one, may say something else (``differs``). ``deadline`` is in seconds; ``streams`` says that each event is told of.
    """

    settings: Settings | None
    target: Any = None
    asked: tuple[BuildArguments, ...] = ()
    where: MetaserverPlaces = NO_PLACE
    output: str = ""
    download: bool = True
    foreground: bool = False
    deadline: float | None = None
    json: bool = False
    code: str = ""
    fingerprint: str = ""
    mails: bool = False
    flags: argparse.Namespace = field(factory=argparse.Namespace)
    wants: bool = False
    digest: str = ""
    differs: bool = False
    help_wanted: bool = False
    streams: bool = False
    command: str = ""

    @property
    def addresses(self) -> tuple[MetaserverAddress, ...]:
        """Where its control port is."""
        return self.where.addresses


def parse(
    line: Subcommands[T],
    arguments: Sequence[str],
    load: Callable[[Path | None], Settings | None],
    known: Callable[[Sequence[MetaserverPlace]], DescribedProjects | None] = lambda _places: None,
    *,
    undescribed: bool = False,
    given: Given = NOTHING,
) -> tuple[Subcommand[T], Arguments]:
    """Return which command was said and with what; ``load`` reads a configuration, if there is one.

    What is ``given`` counts where nothing is said.

    A command that takes an address asks for builds, so it has the project's options; a path is that of a matrix. Which
    projects there are is what is ``known`` of the metaserver, else what the configuration says; where neither does, or
    with ``undescribed``, they are left for later. Raises UsageError, ConfigurationError, UnknownProject; SystemExit
    after the help.
    """
    first = _first(arguments, given)
    command, left, said = line.chosen(arguments)
    help_wanted, short = helps(left)
    parser, asks = line.parser(command, said=said, short=short), bool(command.words)
    settings, problem = _loaded(load, first.config, help_wanted=help_wanted)
    where = places_meant(first, settings.addresses if settings is not None else None)
    described = known(where.asked) if asks and where.asked and not undescribed else None
    source = described or (None if undescribed else settings)
    if asks and source is None and not problem:
        return command, _left_open(parser, command, left, settings, where, given)
    try:
        if not said and first.project is None and not help_wanted and left and not left[0].startswith("-"):
            _address(left[:1], line)  # a mistyped command is of no project, so none is asked for first
        project = _project(source, first.project, needed=asks and not help_wanted)
        if project is not None and asks:
            project_flags(parser, project, short=short)
    except ConfigurationError as error:
        if not help_wanted:
            raise
        problem = problem or str(error)
    if help_wanted:
        _show_help(parser, f"\n(no project's options: {problem})" if problem else _several(source, project, asks=asks))
    flags, rest = parser.parse_said(plain_bools(left, project if asks else None))
    given.complete(flags)
    words, asked = _positional(rest, parser), list[BuildArguments]()
    if project is not None and asks:
        asked = asked_for(flags, _address(words, line), project)
    elif words:
        raise UsageError(parser.unknown(words[0]))
    found = _arguments(command, flags, settings, where)
    if found.output and not found.download:
        raise UsageError("--output says where the artifact goes, --no-download that it is not fetched: choose one")
    digest, differs = (described.digest, _differs(settings, project)) if described is not None else ("", False)
    mails = found.mails and not any(one.latest for one in asked)
    return command, evolve(found, asked=tuple(asked), wants=asks, digest=digest, differs=differs, mails=mails)


def known_projects(
    arguments: Sequence[str],
    load: Callable[[Path | None], Settings | None],
    known: Callable[[Sequence[MetaserverPlace]], DescribedProjects | None],
    given: Given = NOTHING,
) -> tuple[Sequence[AnyProject], MetaserverPlaces]:
    """Return the projects that are known where an unfinished command line leads to, and where that is.

    Raises UsageError, ConfigurationError.
    """
    first = _first(arguments, given)
    settings = load(first.config)
    where = places_meant(first, settings.addresses if settings is not None else None)
    source = (known(where.asked) if where.asked else None) or settings
    return () if source is None else source.projects, where


def _loaded(
    load: Callable[[Path | None], Settings | None], path: Path | None, *, help_wanted: bool
) -> tuple[Settings | None, str]:
    """Return the configuration, and what is wrong with it, which does not keep the help from being shown.

    Raises ConfigurationError.
    """
    try:
        return load(path), ""
    except ConfigurationError as error:
        if not help_wanted:
            raise
        return None, str(error)


def _left_open(
    parser: CommandParser,
    command: Subcommand[T],
    left: Sequence[str],
    settings: Settings | None,
    where: MetaserverPlaces,
    given: Given,
) -> Arguments:
    """Return what was said as far as it can be read before the projects are known. SystemExit after the help."""
    help_wanted, _ = helps(left)
    if help_wanted and not where.asked:
        _show_help(parser, f"\n(no project's options: {NOWHERE})")
    flags, _ = parser.parse_said([word for word in left if word not in (*HELP, HELP_ALL)])
    given.complete(flags)
    return evolve(_arguments(command, flags, settings, where), wants=True, help_wanted=help_wanted)


def help_without_projects(line: Subcommands[T], arguments: Sequence[str], why: str) -> NoReturn:
    """Print the help of the command that was said, with why it has no project's options, and end."""
    command, left, said = line.chosen(arguments)
    _show_help(line.parser(command, said=said, short=helps(left)[1]), f"\n(no project's options: {why})")


def _arguments(
    command: Subcommand[T], flags: argparse.Namespace, settings: Settings | None, where: MetaserverPlaces
) -> Arguments:
    """Return what flags say that every project's command line may have."""
    deadline = getattr(flags, "deadline", None)
    return Arguments(
        settings=settings,
        where=where,
        target=getattr(flags, TARGET, None),
        output=getattr(flags, "output", None) or "",
        download=getattr(flags, "download", True),
        foreground=getattr(flags, "foreground", False) or deadline is not None,
        deadline=deadline,
        json=flags.json,
        code=getattr(flags, "code", None) or "",
        fingerprint=getattr(flags, "fingerprint", None) or "",
        command=command.name,
        mails=command.name in MAILING,
        streams=getattr(flags, "foreground", False) or deadline is not None or command.name in STREAMING,
        flags=flags,
    )


def _differs(settings: Settings | None, project: AnyProject | None) -> bool:
    """Return whether a configuration describes a project otherwise than the metaserver."""
    if settings is None or not isinstance(project, DescribedProject):
        return False
    own = [one for one in settings.projects if one.name == project.name]
    return bool(own) and own[0].options.digest() != project.options_digest


def may_be_old(error: UsageError) -> bool:
    """Return whether a mistake may be one only by what was known of the projects before: an option, value or name."""
    return isinstance(error, UnknownProject) or str(error).startswith(("unknown option", "--"))


# --- from flags to values ---------------------------------------------------------------------------------


def given_beside(line: Subcommands[T], arguments: Sequence[str]) -> Given:
    """Return what is given to the program beside its command line; nothing where the help is wanted and it is wrong.

    Raises ConfigurationError, EmptySecret, UsageError.
    """
    try:
        return given_here(line.table, line.options, _first(arguments, NOTHING).settings_file)
    except ConfigurationError:
        if helps(arguments)[0]:
            return NOTHING
        raise


def _first(arguments: Sequence[str], given: Given) -> argparse.Namespace:
    """Return what says which configuration and project are meant, and where the metaserver is. Raises UsageError."""
    parser = CommandParser(add_help=False, allow_abbrev=False)
    for name in ("--config", "--settings-file", "--project", *REACHING, *OVER_HTTP):
        parser.declare(name, EVERYWHERE[name])
    parser.add_argument("--version", action="version", version=software())
    found, _ = parser.parse_said(arguments)
    given.complete(found)
    return found


def _show_help(parser: CommandParser, more: str) -> NoReturn:
    """Print the help with ``more`` behind it, and end."""
    parser.more = more
    parser.print_help()
    parser.exit()


def _positional(rest: list[str], parser: CommandParser) -> list[str]:
    """Return the words that are no options. Raises UsageError for an option that there is not, with a near one."""
    before = before_dashes(rest)
    for word in before:
        if word.startswith("-") and word != "-":
            raise UsageError(parser.unknown(word))
    return before + rest[len(before) + 1 :]


def _several(source: Settings | DescribedProjects | None, project: AnyProject | None, *, asks: bool) -> str:
    """Return what the help says of projects when there are several."""
    if not asks or source is None or len(source.projects) < 2:  # noqa: PLR2004 - of one there is nothing to choose
        return ""
    names = ", ".join(one.name for one in source.projects)
    options = "" if project is not None else "\nwhich options a project has: --project NAME --help\n"
    where = f"the metaserver at {source.where}" if isinstance(source, DescribedProjects) else str(source.path)
    return f"\nprojects of {where}:\n  {names}\n{options}"


def _project(source: Settings | DescribedProjects | None, name: str | None, *, needed: bool) -> AnyProject | None:
    if source is None:
        return None
    if name is not None:
        return source.project(name)
    if len(source.projects) == 1:
        return source.projects[0]
    if needed:
        names = ", ".join(project.name for project in source.projects) or "none"
        raise UsageError(f"say which project with --project: there is {names}")
    return None


def read_request_id(text: str) -> tuple[int, str]:
    """Return number and token of a request, as they were told with it, for argparse. Raises UsageError.

    Without a token it is one's own by the key that is shown.
    """
    found = _REQUEST_ID.match(text)
    if found is None:
        raise UsageError(f"{text[:80]!r} is not an id such as 12-abcdef, as it was told with the request")
    return int(found[1]), found[2] or ""


def _address(words: list[str], line: Subcommands[T]) -> str:
    """Return the address in its one form, "" if there is none. Raises UsageError; a mistyped command is named."""
    if not words:
        return ""
    if "@" not in words[0] and (near := near_word(words[0], [one.name for one in line.commands])):
        raise UsageError(f"{words[0][:80]!r} is neither an e-mail address nor a command: did you mean {near}?")
    if len(words) > 1:
        raise UsageError(f"one e-mail address is enough: {words[1][:80]!r} is too much (options begin with --)")
    return valid_address(words[0])
