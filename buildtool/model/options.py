"""Typed descriptions of options: the one source for flags, forms, validation, the BuildKey and matching.

A project describes three groups. *System* options are properties of platforms and machines; each names the
detector that reads it from a machine. *Compile* options change the binary. *Tool* options say what to build
(source, revision, range) and are the same for every project.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.platforms import Value, canonical_arch
from buildtool.model.text import meant, quoted

Canonical = tuple[tuple[str, Value], ...]
"""Option or property values in their one canonical form: pairs sorted by name, each value canonical."""

TEXT_LIMIT = 200
"""The longest string value, in characters; longer ones are refused before anything looks at them."""

SET_LIMIT = 64
"""The most members that a set value may have."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")

_MEMBER = re.compile(r"[A-Za-z0-9_.+:/=-]{1,80}\Z")

_INT = re.compile(r"[+-]?[0-9]{1,18}\Z")

_TRUE = frozenset({"yes", "true", "on", "1"})

_FALSE = frozenset({"no", "false", "off", "0"})


Asking = Mapping[Any, "Value | Mapping[str, Value]"]
"""What an option asks of others: their values by name; or, by a value of its own, such values by name."""


class Kind(enum.Enum):
    """The type of an option's values."""

    CHOICE = "choice"
    BOOL = "bool"
    INT = "int"
    STRING = "string"
    SET = "set"


def _check_name(_instance: object, _attribute: object, name: str) -> None:
    if not _NAME.match(name):
        raise ConfigurationError(
            f"option name {quoted(name)} is not usable: "
            "start with a lower-case letter, then lower-case letters, digits and _, at most 40 in all"
        )


@frozen
class Consequence:
    """A value that another option, called ``name``, gets along with one.

    ``at`` is the value that the one has to have; None is each but its default. What is merely ``suggested`` is so
    unless the other option is said, or required to be otherwise.
    """

    name: str
    value: Value
    at: Value | None = None
    suggested: bool = False


@frozen
class Option:
    """One option: its ``name``, ``kind``, what it accepts, its ``default`` and what it ``requires``.

    ``choices`` bounds a choice, and a set when given; ``minimum`` and ``maximum`` bound an int; ``pattern`` is a
    regular expression that a whole string must match, and ``shape`` says in words what it matches. ``requires`` lists
    (option, value) pairs that must hold whenever this option is set to something other than its default, and
    ``consequences`` those that hold at one value only, or are suggested. ``path`` is the name with dots between it and
    the groups that it is in. Raises ConfigurationError when made wrong.
    """

    name: str = field(validator=_check_name)
    kind: Kind
    help: str = ""
    default: Value | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    pattern: str = ""
    requires: tuple[tuple[str, Value], ...] = ()
    shape: str = ""
    consequences: tuple[Consequence, ...] = ()
    path: str = ""

    def __attrs_post_init__(self) -> None:
        parts = self.path.split(".")
        if self.path and (not all(parts) or len(parts) == 1 or "_".join(parts) != self.name):
            raise ConfigurationError(f"option {self.name} cannot be {quoted(self.path)} of any group")
        if self.kind is Kind.CHOICE and not self.choices:
            raise ConfigurationError(f"option {self.name} is a choice without choices")
        if self.pattern:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ConfigurationError(
                    f"option {self.name}: its pattern is not a regular expression: {error}"
                ) from error
        if self.default is not None:
            try:
                object.__setattr__(self, "default", self.check(self.default))
            except UsageError as error:
                raise ConfigurationError(f"the default of {error}") from error

    @property
    def flag(self) -> str:
        """The command-line flag, such as ``--libc-version``."""
        return flag_of(self.name)

    @property
    def group(self) -> str:
        """The path of the group that it is in, or ""."""
        return self.path.rpartition(".")[0]

    def asks(self, value: Value) -> tuple[Consequence, ...]:
        """Return what follows for other options where this one has a value; of its default nothing does."""
        if value == self.default and type(value) is type(self.default):
            return ()
        required = tuple(Consequence(name, said) for name, said in self.requires)
        return required + tuple(one for one in self.consequences if one.at is None or one.at == value)

    def accepts(self) -> str:
        """Return in words what values are right, for messages and ``--help``."""
        match self.kind:
            case Kind.CHOICE:
                return "one of " + ", ".join(self.choices)
            case Kind.BOOL:
                return "yes or no"
            case Kind.INT:
                low = f" from {self.minimum}" if self.minimum is not None else ""
                high = f" up to {self.maximum}" if self.maximum is not None else ""
                return f"a whole number{low}{high}"
            case Kind.SET:
                of = "of " + ", ".join(self.choices) if self.choices else "of words"
                return f"a comma-separated list {of}"
            case Kind.STRING:
                any_text = f"text of at most {TEXT_LIMIT} characters"
                return self.shape or (f"text matching {self.pattern}" if self.pattern else any_text)

    def check(self, value: object) -> Value:
        """Return ``value`` in canonical form. Raises UsageError naming the option and what it accepts."""
        found = self._canonical(value)
        if found is None:
            raise UsageError(f"{self.flag}: {quoted(value)} is not {self.accepts()}{self._near(value)}")
        return found

    def parse(self, text: str) -> Value:
        """Return the value that ``text`` stands for on a command line. Raises UsageError."""
        match self.kind:
            case Kind.BOOL:
                said = text.lower()
                return self.check(said in _TRUE if said in _TRUE | _FALSE else text)
            case Kind.INT:
                return self.check(int(text) if _INT.match(text.strip()) else text)
            case Kind.SET:
                return self.check(tuple(word.strip() for word in text.split(",") if word.strip()))
            case Kind.CHOICE | Kind.STRING:
                return self.check(text)

    def describe(self) -> dict[str, object]:
        """Return the description as plain JSON data (for ``--json``, forms, and the digest)."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "help": self.help,
            "default": _plain(self.default),
            "choices": list(self.choices),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "pattern": self.pattern,
            "shape": self.shape,
            "requires": [[name, _plain(value)] for name, value in self.requires],
            # Where there is nothing to say they are not there, so that older descriptions keep their digests.
            **({"consequences": [_described(one) for one in self.consequences]} if self.consequences else {}),
            **({"path": self.path} if self.path else {}),
        }

    def _near(self, value: object) -> str:
        """Return which choice may be meant by a value that is none, for the end of a sentence."""
        said = [value] if isinstance(value, str) else value if isinstance(value, tuple) else []
        wrong = [one for one in said if isinstance(one, str) and one not in self.choices]
        return meant(wrong[0][:TEXT_LIMIT], self.choices) if wrong and self.choices else ""

    def _canonical(self, value: object) -> Value | None:
        match self.kind:
            case Kind.BOOL:
                return value if isinstance(value, bool) else None
            case Kind.INT:
                return self._canonical_int(value)
            case Kind.CHOICE:
                return self._canonical_choice(value)
            case Kind.SET:
                return self._canonical_set(value)
            case Kind.STRING:
                return self._canonical_string(value)

    def _canonical_int(self, value: object) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 10**18:
            return None
        if self.minimum is not None and value < self.minimum:
            return None
        if self.maximum is not None and value > self.maximum:
            return None
        return value

    def _canonical_choice(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        if value in self.choices:
            return value
        normal = canonical_arch(value) if self.name == "arch" else value.lower()
        return normal if normal in self.choices else None

    def _canonical_set(self, value: object) -> tuple[str, ...] | None:
        if not isinstance(value, tuple | list | frozenset | set) or len(value) > SET_LIMIT:
            return None
        members: set[str] = set()
        for member in value:
            if not isinstance(member, str) or not _MEMBER.match(member):
                return None
            if self.choices and member not in self.choices:
                return None
            members.add(member)
        return tuple(sorted(members))

    def _canonical_string(self, value: object) -> str | None:
        if not isinstance(value, str) or len(value) > TEXT_LIMIT or not value.isprintable():
            return None
        normal = canonical_arch(value) if self.name == "arch" else value
        if self.pattern and not re.fullmatch(self.pattern, normal):
            return None
        return normal


def choice(
    name: str,
    choices: Iterable[str],
    *,
    default: str | None = None,
    help: str = "",
    requires: Asking | None = None,
    suggests: Asking | None = None,
) -> Option:
    """Describe an option that takes one of ``choices``; the default is the first unless named."""
    values = tuple(choices)
    return Option(
        name, Kind.CHOICE, help, values[0] if default is None and values else default, values,
        requires=_pairs(requires), consequences=_consequences(requires, suggests),
    )  # fmt: skip


def flag(
    name: str, *, default: bool = False, help: str = "", requires: Asking | None = None, suggests: Asking | None = None
) -> Option:
    """Describe an option that is on or off."""
    return Option(
        name, Kind.BOOL, help, default, requires=_pairs(requires), consequences=_consequences(requires, suggests)
    )


def number(
    name: str, *, default: int, minimum: int | None = None, maximum: int | None = None, help: str = "",
    requires: Asking | None = None, suggests: Asking | None = None,
) -> Option:  # fmt: skip
    """Describe an option that takes a whole number."""
    return Option(
        name, Kind.INT, help, default, minimum=minimum, maximum=maximum, requires=_pairs(requires),
        consequences=_consequences(requires, suggests),
    )  # fmt: skip


def text(
    name: str, *, default: str = "", pattern: str = "", shape: str = "", help: str = "",
    requires: Asking | None = None, suggests: Asking | None = None,
) -> Option:  # fmt: skip
    """Describe an option that takes one line of text, bounded by ``pattern`` when given, ``shape`` in words."""
    return Option(
        name, Kind.STRING, help, default, pattern=pattern, shape=shape, requires=_pairs(requires),
        consequences=_consequences(requires, suggests),
    )  # fmt: skip


def words(
    name: str, *, choices: Iterable[str] = (), default: Iterable[str] = (), help: str = "",
    requires: Asking | None = None, suggests: Asking | None = None,
) -> Option:  # fmt: skip
    """Describe an option that takes a set of words."""
    return Option(
        name, Kind.SET, help, tuple(sorted(set(default))), tuple(choices), requires=_pairs(requires),
        consequences=_consequences(requires, suggests),
    )  # fmt: skip


def name_of(path: str) -> str:
    """Return the name of an option by its path: ``translation_gc`` for ``translation.gc``."""
    return path.replace(".", "_")


def flag_of(name: str) -> str:
    """Return the command-line flag of the option with this name."""
    return "--" + name.replace("_", "-")


def is_option_name(text: str) -> bool:
    """Return whether an option may be called so."""
    return _NAME.match(text) is not None


def written(value: Value) -> str:
    """Return a value as it is written on a command line: ``yes``, ``1024``, ``io,net``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def canonical(values: Mapping[str, Value]) -> Canonical:
    """Return ``values`` as canonical pairs, sorted by name."""
    return tuple(sorted(values.items()))


def need_words(need: Canonical, platform: Canonical) -> str:
    """Return for people what the files of an artifact need of a machine: ``glibc 2.28 or later``."""
    library = str(dict(platform).get("libc", "libc_version"))
    named = ((library if name == "libc_version" else name, written(value)) for name, value in need)
    return ", ".join(f"{name} {value} or later" for name, value in named)


def shown(values: Canonical) -> str:
    """Return ``values`` for people: ``arch=ppc utf8=yes``."""
    return " ".join(f"{name}={written(value)}" for name, value in values)


def differing(asked: Sequence[Mapping[str, Value]]) -> list[str]:
    """Return for each of several sets of values in words what it has that not all have alike."""
    names = sorted({name for values in asked for name in values})
    varying = [name for name in names if len({(type(one), one) for one in (it.get(name) for it in asked)}) > 1]
    return [" ".join(f"{name}={written(values[name])}" for name in varying if name in values) for values in asked]


def _pairs(requires: Asking | None) -> tuple[tuple[str, Value], ...]:
    """Return what is required at every value but the default."""
    plain = {name_of(name): value for name, value in (requires or {}).items() if not isinstance(value, Mapping)}
    return tuple(sorted(plain.items()))


def _consequences(requires: Asking | None, suggests: Asking | None) -> tuple[Consequence, ...]:
    """Return what is required at one value, and all that is suggested."""
    found = []
    for asking, suggested in ((requires or {}, False), (suggests or {}, True)):
        for name, value in asking.items():
            if isinstance(value, Mapping):
                found += [Consequence(name_of(other), said, name, suggested) for other, said in value.items()]
            elif suggested:
                found.append(Consequence(name_of(name), value, None, suggested))
    return tuple(found)


def _plain(value: Value | None) -> object:
    return list(value) if isinstance(value, tuple) else value


def _described(one: Consequence) -> dict[str, object]:
    return {"name": one.name, "value": _plain(one.value), "at": _plain(one.at), "suggested": one.suggested}


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def canonical_json(data: object) -> str:
    """Return ``data`` as JSON in one canonical form: keys sorted, no spaces, ASCII only."""
    return _CANONICAL.encode(data)


def digest_of(data: object) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of ``data``."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()
