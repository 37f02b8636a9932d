"""All options of a project: its properties, its compile options, and those that every project takes.

The test is tests/model/test_options.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from attrs import frozen

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import Canonical, Kind, Option, digest_of, written
from buildtool.model.platforms import Value
from buildtool.model.properties import ENUMERATED, SHOWN, Comparison, Property, Role, nearest
from buildtool.model.text import quoted

TOOL_OPTIONS: tuple[Option, ...] = (
    Option("source", Kind.STRING, "which of the project's sources to build", default="",
           pattern=r"(?!.*\.\.)[A-Za-z0-9_./@+-]{0,200}", shape="a name that the project's config.py knows"),
    Option("revision", Kind.STRING, "branch, tag or commit id to build", default="HEAD",
           pattern=r"[^\s~^:?*\[\\-][^\s~^:?*\[\\]{0,199}", shape="a branch, a tag or a commit id"),
    Option("revrange", Kind.STRING, "also accept a near revision: so many steps either way, or on the line A..B",
           default="", shape="a number of steps from 0 to 9999, or two revisions A..B",
           pattern=r"(?!.*\.{3})([0-9]{1,4}|[^\s~^:?*\[\\-][^\s~^:?*\[\\]*\.\.[^\s~^:?*\[\\.-][^\s~^:?*\[\\]*)?"),
)  # fmt: skip
"""What every project takes besides its own options: which source, which revision, and how near will do."""

_TOOL_OPTIONS = {option.name: option for option in TOOL_OPTIONS}


def tool_option(name: str) -> Option:
    """Return the tool option of that name."""
    return _TOOL_OPTIONS[name]


@frozen
class ProjectOptions:
    """All options of one project. Raises ConfigurationError when two have one name or ``requires`` leads nowhere."""

    system: tuple[Property, ...]
    compile: tuple[Option, ...]

    def __attrs_post_init__(self) -> None:
        seen: set[str] = {option.name for option in TOOL_OPTIONS} | RESERVED
        for option in self.all():
            if option in TOOL_OPTIONS:
                continue
            if option.name in seen:
                raise ConfigurationError(f"option name {option.name!r} is used twice or belongs to startcompile itself")
            seen.add(option.name)
        by_name = {option.name: option for option in self.compile}
        for option in self.compile:
            for name, value in option.requires:
                if name not in by_name:
                    raise ConfigurationError(f"option {option.name} requires {name!r}, which is no compile option")
                try:
                    by_name[name].check(value)
                except UsageError as error:
                    raise ConfigurationError(f"option {option.name} requires an impossible value: {error}") from error

    def all(self) -> tuple[Option, ...]:
        """Return every option that the command line takes: system, compile, tool."""
        return (*(item.option for item in self.system), *self.compile, *TOOL_OPTIONS)

    def property(self, name: str) -> Property | None:
        """Return the system property of that name, or None."""
        return self._properties.get(name)

    def comparisons(self) -> dict[str, Comparison]:
        """Return how each system property compares."""
        return {item.name: item.comparison for item in self.system}

    @cached_property
    def artifact_names(self) -> frozenset[str]:
        """The names of the properties that say where the binary runs."""
        return frozenset(item.name for item in self.system if item.role is Role.ARTIFACT)

    def compile_values(self, given: Mapping[str, object]) -> Canonical:
        """Return every compile option's value, ``given`` over defaults. Raises UsageError, naming the option."""
        by_name = {option.name: option for option in self.compile}
        _known(given, by_name, "compile option")
        values: dict[str, Value] = {}
        for option in self.compile:
            value = option.check(given[option.name]) if option.name in given else option.default
            if value is None:
                raise UsageError(f"{option.flag} has no default: say {option.accepts()}")
            values[option.name] = value
        for option in self.compile:
            self._check_requires(option, values, by_name)
        return tuple(sorted(values.items()))

    @cached_property
    def defaults(self) -> Canonical:
        """The default of every compile option that has one."""
        there = {option.name: option.default for option in self.compile}
        return tuple(sorted((name, value) for name, value in there.items() if value is not None))

    def system_values(self, given: Mapping[str, object]) -> dict[str, Value]:
        """Return the properties ``given``, canonical and validated. Raises UsageError, naming the option."""
        properties = self._properties
        _known(given, properties, "system option")
        return {name: properties[name].option.check(value) for name, value in given.items()}

    def describe(self) -> dict[str, object]:
        """Return all descriptions as plain JSON data."""
        return {
            "system": [item.describe() for item in self.system],
            "compile": [option.describe() for option in self.compile],
            "tool": [option.describe() for option in TOOL_OPTIONS],
        }

    def digest(self) -> str:
        """Return the SHA-256 of the descriptions, less their help: equal where two configurations agree."""
        return described_digest(self.describe())

    @cached_property
    def _properties(self) -> dict[str, Property]:
        return {item.name: item for item in self.system}

    @staticmethod
    def _check_requires(option: Option, values: Mapping[str, Value], by_name: Mapping[str, Option]) -> None:
        if values[option.name] == option.default:
            return
        for name, said in option.requires:
            other = by_name[name]
            value = other.check(said)
            if values[name] != value:
                raise UsageError(
                    f"{option.flag}={written(values[option.name])} needs {other.flag}={written(value)}, "
                    f"but it is {written(values[name])}"
                )


def described_digest(described: Mapping[str, Any]) -> str:
    """Return the SHA-256 of descriptions as ``ProjectOptions.describe`` makes them, less their help."""
    stripped = {
        group: [{key: value for key, value in row.items() if key not in ("help", "shape")} for row in rows]
        for group, rows in described.items()
    }
    return digest_of(stripped)


RESERVED: frozenset[str] = frozenset(
    {"help", "help_all", "config", "project", "output", "download", "no_download", "foreground", "wait", "cancel",
     "force", "json", "host", "port", "email", "native", "explain", "why", "matrix", "version", "verbose", "quiet",
     "status", "join", "use_tls", "doctor", "login", "logout", "code", "fingerprint", "reason", "mail", "platform",
     "person", "yes", "dry_run", "deadline", "follow", "browse", "expires", "may", "list", "log", "failed_step", "most",
     "completion", "http", "token_file"}
)  # fmt: skip
"""Names that startcompile itself uses; no project may describe an option of such a name."""


def _known(given: Mapping[str, object], names: Mapping[str, object], what: str) -> None:
    for name in given:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise UsageError(f"unknown {what} {quoted(name)}; this project has {known}")


def check_known(
    options: ProjectOptions,
    explicit: Mapping[str, Value],
    offered: Mapping[str, Collection[Value]],
    tools: Collection[str],
) -> None:
    """Raise UsageError for what was asked for by a name unknown to this program and to every build server.

    ``offered`` are the values that build servers have offered, by property; ``tools`` all programs that they look for.
    What is known and not yet offered may be waited for.
    """
    for name, value in explicit.items():
        item = options.property(name)
        flag = item.option.flag if item is not None else name
        if name in ENUMERATED and value not in ENUMERATED[name] and value not in offered.get(name, ()):
            had = ", ".join(sorted(written(one) for one in offered.get(name, ()))[:SHOWN])
            ever = f"build servers have offered {had}" if had else "no build server has come yet"
            said = written(value)
            raise UsageError(f"{flag}: {said} is not known{nearest(said, ENUMERATED[name])} ({ever})")
        if item is not None and item.detector == "tools" and isinstance(value, tuple):
            for tool in value:
                if tool not in tools:
                    near = nearest(tool, tools).partition(";")[0]
                    look = "build servers look for common programs and for what recipes name in machine={'tools': ...}"
                    raise UsageError(f"{flag}: no build server looks for {tool}{near or f'; {look}'}")
