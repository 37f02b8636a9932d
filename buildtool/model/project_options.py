"""All options of a project: its properties, its compile options, and those that every project takes.

The test is tests/model/test_options.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from attrs import evolve, field, frozen

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import (
    Canonical,
    Consequence,
    Kind,
    Option,
    digest_of,
    flag_of,
    is_option_name,
    name_of,
    written,
)
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


def _check_group(_instance: object, _attribute: object, name: str) -> None:
    if not isinstance(name, str) or not is_option_name(name):
        raise ConfigurationError(f"group name {quoted(name)} is not usable: lower-case letters, digits and _")


@frozen
class OptionGroup:
    """A group of options, and of groups, whose names begin with the group's."""

    name: str = field(validator=_check_group)
    members: tuple[Option | OptionGroup, ...]


def group(name: str, *members: Option | OptionGroup) -> OptionGroup:
    """Describe a group: ``gc`` in ``translation`` is called ``translation.gc``, and its flag ``--translation-gc``."""
    return OptionGroup(name, members)


def flattened(members: Iterable[Option | OptionGroup]) -> tuple[Option, ...]:
    """Return options, those of groups under their whole names. Raises ConfigurationError for what is neither."""
    return tuple(_flattened(members, ""))


def _flattened(members: Iterable[Option | OptionGroup], within: str) -> Iterator[Option]:
    for one in members:
        if isinstance(one, OptionGroup):
            yield from _flattened(one.members, f"{within}{one.name}.")
        elif not isinstance(one, Option):
            raise ConfigurationError(f"options are made by choice(), flag() and the like; {quoted(one)} is none")
        elif not within:
            yield one
        else:
            yield evolve(one, name=name_of(within + (one.path or one.name)), path=within + (one.path or one.name))


_Asking = tuple[str, bool]
"""The option that asks for a value of another, and whether it only suggests that."""


@frozen
class Followed:
    """A value that was not said: of the option ``name``, because ``by`` has the value ``at``."""

    name: str
    value: Value
    by: str
    at: Value
    suggested: bool

    def words(self) -> str:
        """Return the value and what asks for it, by their flags, for people."""
        does = "suggests" if self.suggested else "needs"
        return f"{flag_of(self.name)}={written(self.value)}, which {flag_of(self.by)}={written(self.at)} {does}"


@frozen
class ProjectOptions:
    """All options of one project. Raises ConfigurationError when two have one name or ``requires`` leads nowhere."""

    system: tuple[Property, ...]
    compile: tuple[Option, ...] = field(converter=flattened)

    def __attrs_post_init__(self) -> None:
        seen: set[str] = {option.name for option in TOOL_OPTIONS} | RESERVED
        for option in self.all():
            if option in TOOL_OPTIONS:
                continue
            if option.name in seen:
                raise ConfigurationError(f"option name {option.name!r} is used twice or belongs to startcompile itself")
            seen.add(option.name)
        for option in self.compile:
            self._check_consequences(option)

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
        """Return every compile option's value: as ``given``, as that requires or suggests, or the default.

        The same values come of it where all that it returned is given. Raises UsageError, naming the option.
        """
        values, _ = self._settled(given)
        return tuple(sorted(values.items()))

    def followed(self, given: Mapping[str, object]) -> tuple[Followed, ...]:
        """Return which values that were not ``given`` are no defaults, and which option asks for each.

        Raises UsageError as ``compile_values`` does.
        """
        values, asking = self._settled(given)
        defaults = dict(self.defaults)
        return tuple(
            Followed(name, values[name], by, values[by], suggested)
            for name, (by, suggested) in sorted(asking.items())
            if name not in given and values[name] != defaults.get(name)
        )

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

    @cached_property
    def _compiled(self) -> dict[str, Option]:
        return {option.name: option for option in self.compile}

    def _check_consequences(self, option: Option) -> None:
        """Raise ConfigurationError for what no value of another option can follow."""
        for one in (*(Consequence(name, value) for name, value in option.requires), *option.consequences):
            does = "suggests" if one.suggested else "requires"
            if one.name not in self._compiled:
                raise ConfigurationError(f"option {option.name} {does} {one.name!r}, which is no compile option")
            try:
                self._compiled[one.name].check(one.value)
            except UsageError as error:
                raise ConfigurationError(f"option {option.name} {does} an impossible value: {error}") from error
            if one.at is not None and not _can_be(option, one.at):
                where = f"option {option.name} {does} something at {quoted(one.at)}"
                raise ConfigurationError(f"{where}, which it never is: it takes {option.accepts()}")

    def _settled(self, given: Mapping[str, object]) -> tuple[dict[str, Value], dict[str, _Asking]]:
        """Return every value, and by name which option asks for it and whether it only suggests. Raises UsageError."""
        _known(given, self._compiled, "compile option")
        said = {option.name: option.check(given[option.name]) for option in self.compile if option.name in given}
        values, asking = self._required(said, {})
        suggested: dict[str, tuple[Value, str]] = {}
        tried: set[tuple[str, str, Value]] = set()
        while True:
            fresh = next(
                (
                    (option.name, one)
                    for option in self.compile
                    for one in option.asks(values[option.name])
                    if one.suggested
                    and one.name not in (*said, *asking)
                    and (option.name, one.name, one.value) not in tried
                ),
                None,
            )
            if fresh is None:
                return values, asking
            by, one = fresh
            tried.add((by, one.name, one.value))
            with_it = {**suggested, one.name: (self._compiled[one.name].check(one.value), by)}
            try:
                values, asking = self._required(said, with_it)
                suggested = with_it
            except UsageError:
                continue  # what was said, or is required, goes before what is only suggested

    def _required(
        self, said: Mapping[str, Value], suggested: Mapping[str, tuple[Value, str]]
    ) -> tuple[dict[str, Value], dict[str, _Asking]]:
        """Return every value, with all that is required by what was said or suggested. Raises UsageError."""
        asking: dict[str, _Asking] = {name: (by, True) for name, (_, by) in suggested.items()}
        values = {**dict(self.defaults), **{name: value for name, (value, _) in suggested.items()}, **said}
        waiting = list(self.compile)
        while waiting:
            option = waiting.pop(0)
            if option.name not in values:
                continue  # it has no default, and may yet be required
            for one in option.asks(values[option.name]):
                if one.suggested:
                    continue
                other = self._compiled[one.name]
                value = other.check(one.value)
                if values.get(one.name) == value:
                    asking.setdefault(one.name, (option.name, False))
                    continue
                if one.name in said or one.name in asking:
                    raise UsageError(self._contradiction(option, other, value, values, asking))
                values[one.name], asking[one.name] = value, (option.name, False)
                waiting.append(other)
        for option in self.compile:
            if option.name not in values:
                raise UsageError(f"{option.flag} has no default: say {option.accepts()}")
        return values, asking

    def _contradiction(
        self, option: Option, other: Option, value: Value, values: Mapping[str, Value], asking: Mapping[str, _Asking]
    ) -> str:
        needs = f"{option.flag}={written(values[option.name])} needs {other.flag}={written(value)}"
        has = written(values[other.name])
        if other.name not in asking:
            return f"{needs}, but it is {has}"
        by = self._compiled[asking[other.name][0]]
        return f"{needs}, but {by.flag}={written(values[by.name])} needs {other.flag}={has}"


def _can_be(option: Option, value: Value) -> bool:
    """Return whether this is a value of the option, in the form in which it is kept."""
    try:
        return option.check(value) == value
    except UsageError:
        return False


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
     "completion", "http", "token_file", "sandbox", "nice", "settings_file", "supersede", "rounds", "latest", "watch",
     "digest", "only_tell"}
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
