"""What a build can be found by: terms, of which it gains some while it lives and never loses what its spec gave it.

Pure. Texts are cut at TERM_LIMIT characters, in what is stored and in what is searched for.

Tested by tests/model/search/test_build_query.py and tests/ports/test_build_search.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from buildtool.model.access.rights import platform_names
from buildtool.model.options import Canonical, written
from buildtool.model.search.build_query import PREFIX, BuildQuery

__all__ = [
    "ANY",
    "Term",
    "TermKind",
    "asked_terms",
    "place_of",
    "query_groups",
    "revision_term",
    "server_term",
    "spec_terms",
    "what_of",
]

TERM_LIMIT = 120


class TermKind(IntEnum):
    """The kind of a term. ``WHAT`` is a project with system and architecture, by which it is decided who sees it."""

    ANY = 0
    PROJECT = 1
    PLATFORM = 2
    WHAT = 3
    REVISION = 4
    OPTION = 5
    SERVER = 6
    PERSON = 7
    REF = 8


class Term(NamedTuple):
    """One thing that builds can be found by. ``prefix`` stands in a search for all that begin so."""

    kind: TermKind
    text: str
    prefix: bool = False


ANY = Term(TermKind.ANY, "")
"""What every build has."""

_BETWEEN = "\n"


def spec_terms(project: str, revision: str, options: Canonical, platform: Canonical) -> Iterator[Term]:
    """Yield the terms that a build has from the beginning."""
    yield ANY
    yield _term(TermKind.PROJECT, project)
    for name in sorted(platform_names(platform)):
        yield _term(TermKind.PLATFORM, name)
    yield Term(TermKind.WHAT, what_of(project, platform))
    yield revision_term(revision)
    for name, value in options:
        for text in (value or ("none",)) if isinstance(value, tuple) else (written(value),):
            yield _term(TermKind.OPTION, f"{name}={text}")


def revision_term(revision: str) -> Term:
    """Return the term of a revision."""
    return _term(TermKind.REVISION, revision)


def server_term(server: str) -> Term:
    """Return the term of a build server on which an attempt was made."""
    return _term(TermKind.SERVER, server)


def asked_terms(email: str, ref: str, revision: str) -> Iterator[Term]:
    """Yield the terms that a request gives to its build: who asked, and by which name for the revision."""
    yield person_term(email)
    if ref and ref != revision:
        yield _term(TermKind.REF, ref)


def person_term(email: str) -> Term:
    """Return the term of the person with this e-mail address; "" is that of the farm's own programs."""
    return _term(TermKind.PERSON, email.lower())


def what_of(project: str, platform: Canonical) -> str:
    """Return the text of a WHAT: the project, the system and the architecture."""
    said = dict(platform)
    return _BETWEEN.join((project, str(said.get("os", "")), str(said.get("arch", ""))))[:TERM_LIMIT]


def place_of(what: str) -> tuple[str, Canonical]:
    """Return the project and what is said of the platform in the text of a WHAT."""
    project, system, arch = what.split(_BETWEEN)
    return project, tuple((name, text) for name, text in (("arch", arch), ("os", system)) if text)


def query_groups(query: BuildQuery, mine: Collection[str]) -> Iterator[tuple[Term, ...]]:
    """Yield groups of terms: a build that is searched for has of each group at least one.

    ``mine`` are the addresses of who asks. States, numbers and times are no terms.
    """
    kinds = {TermKind.PROJECT: query.project, TermKind.PLATFORM: query.platform, TermKind.SERVER: query.server}
    for kind, texts in kinds.items():
        if texts:
            yield tuple(_term(kind, text) for text in texts)
    if query.rev:
        yield tuple(term for text in query.rev for term in _revisions(text))
    for name in dict.fromkeys(name for name, _ in query.option):
        yield tuple(_term(TermKind.OPTION, f"{name}={value}") for it, value in query.option if it == name)
    if query.by:
        yield tuple(person_term(email) for email in mine)


def found(terms: Iterable[Term], group: Iterable[Term]) -> bool:
    """Return whether a build with these terms has one of a group."""
    there = set(terms)
    return any(
        any(it.kind is term.kind and it.text.startswith(term.text) for it in there) if term.prefix else term in there
        for term in group
    )


def _revisions(text: str) -> Iterator[Term]:
    hexadecimal = len(text) >= PREFIX and all(char in "0123456789abcdef" for char in text)
    yield Term(TermKind.REVISION, text[:TERM_LIMIT], prefix=hexadecimal)
    yield _term(TermKind.REF, text)


def _term(kind: TermKind, text: str) -> Term:
    return Term(kind, text[:TERM_LIMIT])
