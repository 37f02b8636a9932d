"""How long, and how much, is kept of each kind: the setting ``keep``, and the words for each of its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from attrs import evolve, field, frozen

from buildtool.errors import UsageError
from buildtool.model.text import duration_of, duration_text, duration_words, near_word, quoted, size_words


class KeptKind(Enum):
    """A kind of what is kept. What is measured in bytes are files, what is counted are rows."""

    LOGS = "logs"
    ARTIFACTS = "artifacts"


@frozen
class Limit:
    """The limits of one kind: ``age`` in seconds, ``most`` in bytes or rows. None is no limit."""

    age: float | None = None
    most: int | None = None

    @property
    def limited(self) -> bool:
        """Whether anything ever goes by it."""
        return self.age is not None or self.most is not None


NO_LIMIT = Limit()

GRACE = duration_of("14d")
"""Seconds for which an artifact stays after it was given out: a link to it was mailed."""


@frozen
class Keeping:
    """The limits of all kinds. ``grace`` is for how many seconds an artifact stays once it was given out."""

    limits: Mapping[KeptKind, Limit] = field(factory=dict)
    grace: float = GRACE

    def of(self, kind: KeptKind) -> Limit:
        """Return the limits of a kind."""
        return self.limits.get(kind, NO_LIMIT)

    def told(self) -> dict[str, dict[str, object] | str]:
        """Return the setting as ``keeping_of`` reads it."""
        said: dict[str, dict[str, object] | str] = {}
        for kind, limit in self.limits.items():
            ages: dict[str, object] = {} if limit.age is None else {"age": duration_text(limit.age)}
            said[kind.value] = ages | ({} if limit.most is None else {"size": limit.most})
        return said | ({} if self.grace == GRACE else {"grace": duration_text(self.grace)})


KEPT_ALL = Keeping()
"""Everything is kept for ever."""

_RIGHT = '{"logs": {"age": "90d", "size": "20GiB"}, "artifacts": {"size": "200GiB"}, "grace": "14d"}'
_AGES = (1.0, duration_of("36500d"))
_SIZE = re.compile(r"([0-9]{1,9}) ?(|[KMGT](?:i?B)?|B)")
_POWERS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def keeping_of(said: object) -> Keeping:
    """Return what ``keep`` says. Raises UsageError."""
    kinds = {kind.value: kind for kind in KeptKind}
    if not isinstance(said, Mapping):
        raise UsageError(f"keep = {quoted(said)} is not usable: it is such as {_RIGHT}")
    found = KEPT_ALL
    for name, value in said.items():
        if name == "grace":
            found = evolve(found, grace=_age(value, "keep: grace", least=0.0))
        elif name in kinds:
            found = evolve(found, limits={**found.limits, kinds[name]: _limit(name, value)})
        else:
            near = near_word(str(name), [*kinds, "grace"])
            hint = f"did you mean {near!r}?" if near else f"it is such as {_RIGHT}"
            raise UsageError(f"keep: {quoted(name)} is nothing that can be limited: {hint}")
    return found


def _limit(kind: str, said: object) -> Limit:
    if not isinstance(said, Mapping) or not said.keys() <= {"age", "size"}:
        raise UsageError(
            f'keep: {kind} = {quoted(said)} is not usable: it is {{"age": "90d", "size": "20GiB"}} or one of these'
        )
    age = _age(said["age"], f"keep: {kind}: age", _AGES[0]) if "age" in said else None
    return Limit(age, size_of(said["size"], f"keep: {kind}: size") if "size" in said else None)


def _age(said: object, what: str, least: float) -> float:
    try:
        found = duration_of(said if isinstance(said, str) else "")
    except UsageError as error:
        raise UsageError(f"{what} = {quoted(said)} is not usable: it is a text such as '12h' or '90d'") from error
    if not least <= found <= _AGES[1]:
        raise UsageError(
            f"{what} = {quoted(said)} is not usable: it is from {duration_text(least)} to {duration_text(_AGES[1])}"
        )
    return found


def size_of(said: object, what: str) -> int:
    """Return the bytes that a number or a text such as ``20GiB`` or ``500M`` stands for. Raises UsageError."""
    match = _SIZE.fullmatch(said) if isinstance(said, str) else None
    if match is not None:
        return int(match[1]) << 10 * _POWERS[match[2][:1]]
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 2**62:
        return said
    raise UsageError(f"{what} = {quoted(said)} is not usable: it is a text such as '500MiB' or '20GiB'")


# --- the words of each rule --------------------------------------------------------------------------------

_BY_AGE = {KeptKind.LOGS: "logs older than {}", KeptKind.ARTIFACTS: "artifacts that were not given out for {}"}
_BY_SIZE = {
    KeptKind.LOGS: "logs of more than {} together, the oldest first",
    KeptKind.ARTIFACTS: "artifacts of more than {} together, those first that were not given out for longest",
}


def age_rule(kind: KeptKind, age: float) -> str:
    """Return the rule in words by which what is older than so many seconds goes."""
    return _BY_AGE[kind].format(duration_words(age))


def size_rule(kind: KeptKind, most: int) -> str:
    """Return the rule in words by which so many bytes are kept."""
    return _BY_SIZE[kind].format(size_words(most))
