"""The flags of startcompile.py: its own, and one for each option that the project describes.

Covered by tests/programs/startcompile/test_command_line.py.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.farm.weights import read_nice
from buildtool.model.options import Kind, Option, written
from buildtool.model.project_options import TOOL_OPTIONS, ProjectOptions
from buildtool.model.text import duration_of
from buildtool.model.trust.evidence import read_level
from buildtool.programs.common.subcommands import COMMON, REACHING, How, folded, switch, valued
from buildtool.programs.common.subcommands import number as whole_number
from buildtool.protocol.limits import TOGETHER

_METAVAR_LIMIT = 45
_MATRIX_LIMIT = 1024 * 1024


class AnyProject(Protocol):
    """A project with its options, described by the metaserver or by a configuration."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def options(self) -> ProjectOptions:
        """Its options."""


class _Bools(argparse.BooleanOptionalAction):
    """One that keeps every value, as ``append`` does."""

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, _values: object, option_string: str | None = None
    ) -> None:
        said = list(getattr(namespace, self.dest, None) or [])
        setattr(namespace, self.dest, [*said, not (option_string or "").startswith("--no-")])


OVER_HTTP: Mapping[str, How] = {
    "--http": valued(
        "ask over HTTP, where the control port is not reached: the address of the pages (default: $BUILDTOOL_HTTP)",
        "URL",
    ),
    "--token-file": valued("a file with the token to show over HTTP (default: $BUILDTOOL_TOKEN)", "FILE", Path),
}  # fmt: skip
"""The options of asking over HTTP."""

EVERYWHERE: Mapping[str, How] = {
    "--config": COMMON["--config"],
    "--settings-file": COMMON["--settings-file"],
    "--project": valued("which project, when the configuration has several", "NAME"),
    **REACHING,
    **OVER_HTTP,
    "--json": switch("print one JSON object, and nothing else, on standard output; where one waits, a line an event"),
}  # fmt: skip
"""The options that go with every command."""

LOGGING_IN: Mapping[str, How] = {
    "--code": valued("the code that was mailed, in a second call", "CODE"),
    "--fingerprint": valued("the fingerprint of the farm's authority, where it is known", "SHA256"),
}  # fmt: skip
"""The options of logging in."""


def _lasts(text: str) -> float:
    """Return seconds for a text such as 10m, for argparse. Raises ArgumentTypeError."""
    try:
        return duration_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


DEADLINE: Mapping[str, How] = {
    "--deadline": valued(
        "wait for the end, but not longer than TIME, such as 90s or 10m; then exit code 10", "TIME", _lasts
    ),
}
"""How long is waited."""

LISTING: Mapping[str, How] = {
    "--most": valued(f"how many at most (20, up to {TOGETHER})", "N", whole_number(1, TOGETHER), default=20),
}
"""The options of a list of requests."""

LOGGED: Mapping[str, How] = {
    "--failed-step": switch("print no more than what the step wrote that failed"),
}
"""The options of a log."""

FETCHING: Mapping[str, How] = {
    "--output": valued("where the artifact goes (default: its own name, here)", "FILE|DIR"),
    "--no-download": switch("only say where the artifact is", "download"),
}  # fmt: skip
"""The options of what is fetched."""

ASKING: Mapping[str, How] = {
    **FETCHING,
    "--foreground": switch("wait for the end, show state and log, fetch the artifact"),
    "--wait": {**switch("the same"), "dest": "foreground"},
    **DEADLINE,
    "--latest": switch(
        "build nothing: fetch the newest binary that there is of HEAD, or of BRANCH with --revision latest:BRANCH"
    ),
    "--force": switch("build even if there is an artifact, or if it failed before"),
    "--native": switch(
        "only accept a binary that was built on a machine of that platform itself, not cross-compiled"
    ),
    "--sandbox": valued(
        "only accept what was built in a sandbox of this level at least: none, weak or strict (default: the project's)",
        "LEVEL",
        read_level,
    ),
    "--nice": valued(
        "let others go first, by 0 to 20 rounds: in each, one build of everybody who waits is built (default: 0)",
        "N",
        read_nice,
    ),
    "--supersede": switch("end what waits that you asked for of older commits of this branch, and take its place"),
}  # fmt: skip
"""The options of what is asked for."""


WATCHING: Mapping[str, How] = {
    "--digest": valued(
        "tell what came together: daily, weekly, or a time such as 'Mon-Fri 07:00 Europe/Berlin'", "TIME"
    ),
    "--only-tell": switch("ask for nothing: tell of what others have built"),
}  # fmt: skip
"""The options of a watch."""


SELDOM = frozenset(
    {
        "--config",
        "--settings-file",
        *REACHING,
        *OVER_HTTP,
        "--json",
        "--no-download",
        "--wait",
        "--native",
        "--sandbox",
        "--nice",
        "--supersede",
    }
)
"""What a short help leaves out."""


def project_flags(parser: argparse.ArgumentParser, project: AnyProject, *, short: bool = False) -> None:
    """Add a flag for each option that a project describes. Raises ConfigurationError for one that cannot be a flag.

    A ``short`` help only names those that say for which platform.
    """
    options = project.options
    about = "for which platform (default: this machine's), and what the build needs"
    if short and options.system:
        about = folded(f"{about}: {' '.join(item.option.flag for item in options.system)}", then="  ").strip()
    system = parser.add_argument_group(f"system options of {project.name}", about)
    _add_all(system, (item.option for item in options.system), hidden=short)
    compile_flags(parser, project)
    _add_all(parser.add_argument_group("tool options", "which sources"), TOOL_OPTIONS, patterns=False)


def compile_flags(parser: argparse.ArgumentParser, project: AnyProject) -> None:
    """Add a flag for each compile option, those of each group together. Raises ConfigurationError."""
    within: dict[str, list[Option]] = {"": []}
    for option in project.options.compile:
        within.setdefault(option.group, []).append(option)
    for name, found in within.items():
        title = f"compile options of {project.name}" + (f": {name}" if name else "")
        _add_all(parser.add_argument_group(title, "" if name else "what changes the binary"), found)


def _add_all(
    group: argparse._ArgumentGroup, options: Iterable[Option], *, patterns: bool = True, hidden: bool = False
) -> None:
    for option in options:
        metavar = _metavar(option)
        wordy = option.help and (not patterns or metavar.startswith("{"))
        said = option.help if wordy else f"{option.help}: {option.accepts()}" if option.help else option.accepts()
        if option.default not in (None, "", ()):
            said += f" (default: {written(option.default)})"
        said = argparse.SUPPRESS if hidden else said.replace("%", "%%")
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
        case Kind.STRING | Kind.BOOL:  # a bool has no value
            names = {"revision": "REV", "revrange": "RANGE"}
            other = "NAME" if option.shape.startswith("a name") else "TEXT"
            return names.get(option.name) or ("VERSION" if option.name.endswith("version") else other)


def matrix_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines of a matrix file that say something, as words, with their numbers. Raises UsageError."""
    try:
        with path.open() as file:
            text = file.read(_MATRIX_LIMIT + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"matrix: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > _MATRIX_LIMIT:
        raise UsageError(f"matrix: {path} has more than {_MATRIX_LIMIT} characters: it is no list of options")
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from error
        if words:
            lines.append((number, words))
    return lines
