"""What a project says of itself: all its options, the standard properties among them, and its policy.

The test is tests/model/test_options.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from attrs import frozen

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import Canonical, Comparison, Kind, Option, Property, Role, digest_of, value_shown
from buildtool.model.platforms import CPU_LEVELS, Value


def _standard() -> dict[str, Property]:
    artifact, machine = Role.ARTIFACT, Role.MACHINE
    exact, at_most, at_least, subset = (
        Comparison.EXACT, Comparison.AT_MOST, Comparison.AT_LEAST, Comparison.SUBSET,
    )  # fmt: skip
    version = r"[0-9][0-9A-Za-z.+~-]{0,39}"
    rows = (
        (Option("os", Kind.CHOICE, "operating system", choices=("linux", "darwin", "windows")), artifact, exact),
        (Option("arch", Kind.STRING, "processor architecture (aliases such as amd64 and powerpc are understood)",
                pattern=r"[a-z0-9_]{1,20}", shape="a name such as x86_64, ppc or aarch64"), artifact, exact),
        (Option("bits", Kind.INT, "bits of a pointer", minimum=16, maximum=128), artifact, exact),
        (Option("byteorder", Kind.CHOICE, "byte order", choices=("little", "big")), artifact, exact),
        (Option("libc", Kind.STRING, "C library family", pattern=r"[a-z][a-z0-9_+-]{0,20}",
                shape="a name such as glibc or musl"), artifact, exact),
        (Option("libc_version", Kind.STRING, "newest C library that the binary may need", pattern=version,
                shape="a version such as 2.36"), artifact, at_most),
        (Option("cpu_level", Kind.CHOICE, "highest x86-64 level that the binary may need", choices=CPU_LEVELS),
         artifact, at_most),
        (Option("memory", Kind.INT, "memory that the build needs, in MiB", minimum=1, maximum=2**32), machine,
         at_least),
        (Option("cpus", Kind.INT, "processors that the build needs", minimum=1, maximum=2**16), machine, at_least),
        (Option("disk", Kind.INT, "free disk that the build needs, in MiB", minimum=1, maximum=2**40), machine,
         at_least),
        (Option("tools", Kind.SET, "programs that the build needs, such as gcc,make"), machine, subset),
    )  # fmt: skip
    return {option.name: Property(option, role, comparison, option.name) for option, role, comparison in rows}


STANDARD: dict[str, Property] = _standard()
"""The properties that most projects need, by name; see docs/integrator.rst for their roles and directions."""


DETECTORS: frozenset[str] = frozenset(STANDARD) | {"os_release", "tool_versions", "cc_version"}
"""The names of all detectors: what a Property may say that it is read by."""


def standard(*names: str) -> tuple[Property, ...]:
    """Return the standard properties of these names, all of them when none is named. Raises ConfigurationError."""
    unknown = [name for name in names if name not in STANDARD]
    if unknown:
        raise ConfigurationError(f"no standard property {unknown[0]!r}; there are {', '.join(STANDARD)}")
    return tuple(STANDARD[name] for name in names or STANDARD)


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

    def artifact_names(self) -> frozenset[str]:
        """Return the names of the properties that say where the binary runs."""
        return self._artifact_names

    @cached_property
    def _artifact_names(self) -> frozenset[str]:
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
        plain: dict[str, list[dict[str, object]]] = self.describe()  # type: ignore[assignment]
        stripped = {
            group: [{key: value for key, value in row.items() if key not in ("help", "shape")} for row in rows]
            for group, rows in plain.items()
        }
        return digest_of(stripped)

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
                    f"{option.flag}={option.format(values[option.name])} needs {other.flag}={other.format(value)}, "
                    f"but it is {other.format(values[name])}"
                )


RESERVED: frozenset[str] = frozenset(
    {"help", "config", "project", "output", "download", "no_download", "foreground", "wait", "cancel", "force", "json",
     "host", "port", "email", "native", "explain", "why", "matrix", "version", "verbose", "quiet", "status"}
)  # fmt: skip
"""Names that startcompile itself uses; no project may describe an option of such a name."""


def _known(given: Mapping[str, object], names: Mapping[str, object], what: str) -> None:
    for name in given:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise UsageError(f"unknown {what} {value_shown(name)}; this project has {known}")


@frozen
class Policy:
    """A project's settings for versions and failing, from its ``config.py``; times in seconds.

    A refusal is remembered for ``refusal_first``, doubling up to ``refusal_ttl``; a breakage for ``refusal_ttl``; lost
    contact for ``lost_ttl``. Contact lost before a start delays the next by ``retry_first``, doubling up to
    ``retry_most``. ``breakages`` on distinct servers make a Build unbuildable; ``strikes`` in a row put a server into
    quarantine. ``time_limit`` is the project's own for all commands of one build together.
    """

    recipe_version: int
    options_digest: str
    comparisons: tuple[tuple[str, Comparison], ...] = ()
    confirm_failures: int = 1
    failure_ttl: float = 86_400.0
    request_ttl: float = 7 * 86_400.0
    refusal_first: float = 10.0
    refusal_ttl: float = 600.0
    lost_ttl: float = 30.0
    retry_first: float = 1.0
    retry_most: float = 300.0
    breakages: int = 3
    strikes: int = 3
    quarantine_first: float = 10.0
    quarantine_most: float = 3_600.0
    time_limit: float = 3_600.0
