"""The flags of startcompile.py: its own, and one for each option that the project describes.

Covered by tests/programs/startcompile/test_command_line.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import Kind, Option
from buildtool.model.project_options import TOOL_OPTIONS
from buildtool.programs.common.program import host_flag, software
from buildtool.project.definition import Project
from buildtool.requester.outcome import MEANINGS

PROGRAM = "startcompile.py"

EXAMPLE = "bin/startcompile.py --revision v1.2 --arch powerpc --foreground anna@example.org"

_METAVAR_LIMIT = 45


class Helped(Exception):
    """The help (or version) was asked for; the message is what to print."""


class FlagParser(argparse.ArgumentParser):
    """One that raises UsageError in place of printing its usage and ending the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.removeprefix('argument ')} (--help lists all options)")

    def format_usage(self) -> str:
        return f"usage: {PROGRAM} [options] EMAIL\n"


class _Bools(argparse.BooleanOptionalAction):
    """One that keeps every value, as ``append`` does."""

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, _values: object, option_string: str | None = None
    ) -> None:
        said = list(getattr(namespace, self.dest, None) or [])
        setattr(namespace, self.dest, [*said, not (option_string or "").startswith("--no-")])


class _Once(argparse.Action):
    """One that is said once at most: of two values, none may be dropped in silence."""

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        if before is not None and before != values:
            raise argparse.ArgumentError(self, f"is said twice, as {before} and as {values}: choose one")
        setattr(namespace, self.dest, values)


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        raise Helped(software())


def own_flags(*, add_help: bool = True) -> FlagParser:
    """Return a parser with the flags that are there for every project."""
    codes = "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
    parser = FlagParser(
        prog=PROGRAM,
        usage="%(prog)s [options] EMAIL",
        description="Ask for a binary: at once if there is one that will do, otherwise it is built and EMAIL is told.",
        epilog=f"example:\n  {EXAMPLE}\n\nexit codes:\n{codes}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=add_help,
    )
    add = parser.add_argument
    add(
        "--config",
        action=_Once,
        type=Path,
        metavar="FILE",
        help="the configuration (default: $BUILDTOOL_CONFIG, else the checkout's)",
    )
    add("--project", action=_Once, metavar="NAME", help="which project, when the configuration has several")
    add(
        "--host",
        action=_Once,
        metavar="HOST",
        type=host_flag,
        help="where the metaserver is (default: host of the configuration)",
    )
    add(
        "--port",
        action=_Once,
        type=_port,
        metavar="PORT",
        help="its control port (default: pb_port of the configuration)",
    )
    add("--output", action=_Once, metavar="FILE|DIR", help="where the artifact goes (default: its own name, here)")
    add("--no-download", dest="download", action="store_false", help="only say where the artifact is")
    add("--foreground", "--wait", action="store_true", help="wait for the end, show state and log, fetch the artifact")
    add("--cancel", action=_Once, metavar="ID", help="end a request; ID was told when it was accepted")
    add("--why", action=_Once, metavar="ID", help="say why a request waits, and until when")
    add("--explain", action="store_true", help="ask for nothing: say what would be answered, and why (needs no EMAIL)")
    add(
        "--matrix",
        action=_Once,
        metavar="FILE",
        help="ask for several at once: in each line of FILE options, added to those given",
    )
    add("--force", action="store_true", help="build even if there is an artifact, or if it failed before")
    add(
        "--native",
        action="store_true",
        help="only accept a binary that was built on a machine of that platform itself, not cross-compiled",
    )
    add("--json", action="store_true", help="print one JSON object, and nothing else, on standard output")
    add("--version", action=_Version, nargs=0, help="print the version and stop")
    return parser


def project_flags(parser: argparse.ArgumentParser, project: Project) -> None:
    """Add a flag for each option that a project describes. Raises ConfigurationError for one that cannot be a flag."""
    options = project.options
    system = parser.add_argument_group(
        f"system options of {project.name}", "for which platform (default: this machine's), and what the build needs"
    )
    _add_all(system, (item.option for item in options.system))
    _add_all(
        parser.add_argument_group(f"compile options of {project.name}", "what changes the binary"), options.compile
    )
    _add_all(parser.add_argument_group("tool options", "which sources"), TOOL_OPTIONS, patterns=False)


def _add_all(group: argparse._ArgumentGroup, options: Iterable[Option], *, patterns: bool = True) -> None:
    for option in options:
        metavar = _metavar(option)
        wordy = option.help and (not patterns or metavar.startswith("{"))
        said = option.help if wordy else f"{option.help}: {option.accepts()}" if option.help else option.accepts()
        if option.default not in (None, "", ()):
            said += f" (default: {option.format(option.default)})"
        said = said.replace("%", "%%")
        try:
            if option.kind is Kind.BOOL:
                group.add_argument(option.flag, action=_Bools, default=None, help=said)
            else:
                group.add_argument(option.flag, action="append", metavar=metavar, help=said)
        except argparse.ArgumentError as error:
            raise ConfigurationError(f"option {option.name} cannot become a flag: {error.message}") from error


def _metavar(option: Option) -> str:
    """Return what stands for an option's value in the help: what it may be, if that is short, or what it is."""
    choices = f"{{{','.join(option.choices)}}}"
    match option.kind:
        case Kind.CHOICE:
            return choices if len(choices) <= _METAVAR_LIMIT else "NAME"
        case Kind.INT:
            return "N"
        case Kind.SET:
            return "LIST"
        case _:
            names = {"revision": "REV", "revrange": "RANGE"}
            other = "NAME" if option.shape.startswith("a name") else "TEXT"
            return names.get(option.name) or ("VERSION" if option.name.endswith("version") else other)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:  # noqa: PLR2004 - the last port
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a port: say a number from 1 to 65535")
    return int(text)
