"""The search of builds as one line: tokens such as ``project:lua state:failed``, and words.

Tokens of different kinds must all hold; of several of one kind one must. Options with different names are different
kinds. A value with blanks is put in quotation marks, in which a backslash stands before ``"`` and a backslash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from attrs import evolve, fields, frozen

from buildtool.errors import UsageError
from buildtool.model.access.rights import platform_name
from buildtool.model.names import is_revision, is_row_id, is_server_name, is_short_word
from buildtool.model.options import is_option_name
from buildtool.model.records import BuildState
from buildtool.model.text import duration_of, quoted

__all__ = ["EVERYTHING", "LINE_LIMIT", "ME", "TOKENS_LIMIT", "BuildQuery", "read_query"]

LINE_LIMIT = 500
"""Most characters of a line."""

TOKENS_LIMIT = 20
"""Most tokens of a line: each costs the database some looks."""

VALUE_LIMIT = 100
"""Most characters of a value."""

PREFIX = 4
"""Fewest digits of a commit's id that it is found by."""

ME = "me"
"""Who asks, as ``by:`` names them."""

_NAMED = 3
_STATES = {state.value: state for state in BuildState}
_HEX = frozenset("0123456789abcdef")


@frozen
class BuildQuery:
    """A search for builds, in the one form that everything is written in; an empty one finds all.

    ``rev`` holds beginnings of commit ids, whole revisions, and names as they were asked for; ``option`` pairs of a
    name and a value as it is written on a command line; ``since`` ages or moments, see ``since_at``.
    """

    number: tuple[int, ...] = ()
    project: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    option: tuple[tuple[str, str], ...] = ()
    state: tuple[BuildState, ...] = ()
    rev: tuple[str, ...] = ()
    server: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    since: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> Iterator[str]:
        yield from map(str, self.number)
        for name in _READERS:
            for value in getattr(self, name):
                yield f"{name}:{_written(_text(value))}"

    def having(self, name: str, *values: object) -> BuildQuery:
        """Return the search with these values of a kind in place of those that it has."""
        return evolve(self, **{name: values})  # type: ignore[arg-type] # whoever calls it knows the kind

    def plus(self, other: BuildQuery) -> BuildQuery:
        """Return the search with the tokens of another one added."""
        names = [field.name for field in fields(BuildQuery)]
        return BuildQuery(*(tuple(dict.fromkeys((*getattr(self, it), *getattr(other, it)))) for it in names))

    def since_at(self, now: float) -> float | None:
        """Return from when on a build must have been asked for (wall time in seconds), None for whenever."""
        return min((_moment(text, now) for text in self.since), default=None)


EVERYTHING = BuildQuery()
"""The search that finds all builds."""


def read_query(line: str) -> BuildQuery:
    """Return the search that a line is. Raises UsageError, which names in one line what is not understood."""
    if len(line) > LINE_LIMIT:
        raise UsageError(f"a search has at most {LINE_LIMIT} characters, this has {len(line):,}")
    words, problems = list(_split(line)), []
    if len(words) > TOKENS_LIMIT:
        raise UsageError(f"a search has at most {TOKENS_LIMIT} words, this has {len(words)}")
    found: dict[str, list[object]] = {field.name: [] for field in fields(BuildQuery)}
    for word in words:
        try:
            kind, value = _token(word)
        except UsageError as error:
            problems.append(str(error))
        else:
            if value not in found[kind]:
                found[kind].append(value)
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise UsageError("; ".join(problems[:_NAMED]) + more)
    query = BuildQuery(**{name: tuple(values) for name, values in found.items()})  # type: ignore[arg-type] # by _token
    if len(str(query)) > LINE_LIMIT:
        raise UsageError(f"a search has at most {LINE_LIMIT} characters as it is written out")
    return query


def _split(line: str) -> Iterator[str]:
    """Yield the words of a line, without the quotation marks. Raises UsageError for one that is not closed."""
    word: list[str] = []
    begun = within = escaped = False
    for char in line:
        if escaped:
            word.append(char)
            escaped = False
        elif within and char == "\\":
            escaped = True
        elif char == '"':
            begun, within = True, not within
        elif within or not char.isspace():
            word.append(char)
            begun = True
        elif begun:
            yield "".join(word)
            word, begun = [], False
    if within:
        raise UsageError("a quotation mark is not closed")
    if begun:
        yield "".join(word)


def _written(text: str) -> str:
    if text and '"' not in text and not any(map(str.isspace, text)):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(value: object) -> str:
    if isinstance(value, BuildState):
        return value.value
    return "=".join(value) if isinstance(value, tuple) else str(value)


def _token(word: str) -> tuple[str, object]:
    """Return the kind and the value of a word. Raises UsageError."""
    name, colon, text = word.partition(":")
    if not colon:
        return _word(word)
    read = _READERS.get(name.lower())
    if read is None:
        raise UsageError(f"there is no {quoted(name, 40)}: there are {', '.join(f'{it}:' for it in _READERS)}")
    if not text or len(text) > VALUE_LIMIT or not text.isprintable():
        raise UsageError(f"{name.lower()}: needs a value of at most {VALUE_LIMIT} characters")
    return name.lower(), read(text)


def _word(word: str) -> tuple[str, object]:
    number = word.removeprefix("#")
    if is_row_id(number):
        return "number", int(number)
    if _is_commit(word.lower()):
        return "rev", word.lower()
    if is_revision(word):
        return "rev", word
    raise UsageError(
        f"{quoted(word, 40)} is neither a build's number nor {PREFIX} or more digits of a commit: say what it is, "
        "as in project:lua or rev:main"
    )


def _is_commit(text: str) -> bool:
    return PREFIX <= len(text) <= 64 and set(text) <= _HEX  # noqa: PLR2004 - of SHA-256 in hex


def _project(text: str) -> str:
    return text


def _platform(text: str) -> str:
    if not is_short_word(text):
        raise UsageError(f"no platform is called {quoted(text, 40)}: say an architecture, a system or both (linux-ppc)")
    return platform_name(text)


def _option(text: str) -> tuple[str, str]:
    name, equal, value = text.partition("=")
    if not equal or not is_option_name(name):
        raise UsageError("an option is searched for by option:NAME=VALUE")
    return name, value


def _state(text: str) -> BuildState:
    if text.lower() not in _STATES:
        raise UsageError(f"there is no state {quoted(text, 40)}: there are {', '.join(_STATES)}")
    return _STATES[text.lower()]


def _revision(text: str) -> str:
    return text.lower() if _is_commit(text.lower()) else text


def _person(text: str) -> str:
    name = text.lower()
    if len(name) > VALUE_LIMIT or (name != ME and "@" not in name):
        raise UsageError(f"by: takes {ME} or an e-mail address, not {quoted(text, 40)}")
    return name


def _server(text: str) -> str:
    if not is_server_name(text):
        raise UsageError(f"no build server is called {quoted(text, 40)}")
    return text


def _since(text: str) -> str:
    _moment(text, 0.0)
    return text


def _moment(text: str, now: float) -> float:
    """Return the moment that an age (``2d``) or a time (``2026-11-27``, in UTC unless it says so) stands for."""
    try:
        return now - duration_of(text)
    except UsageError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"since:{quoted(text, 40)} is no time: say 24h, 7d or 2026-11-27") from error


_READERS: dict[str, Callable[[str], object]] = {
    "project": _project,
    "platform": _platform,
    "option": _option,
    "state": _state,
    "rev": _revision,
    "server": _server,
    "by": _person,
    "since": _since,
}
"""How the value of each kind of token is read, in the order in which they are written."""
