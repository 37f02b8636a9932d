"""The lines of a list of builds: for each of its builds what is shown, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, literal, select

from buildtool.adapters.sql.prepared import Ask, Prepared, padded
from buildtool.adapters.sql.rows import canonical_of
from buildtool.adapters.sql.schema import builds, requests
from buildtool.adapters.sql.search.indexing import KINDS
from buildtool.adapters.sql.search.line_table import COLUMNS, JOINED
from buildtool.adapters.sql.search.tables import build_lines, terms
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.concurrency.bounded_cache import BoundedCache, size_of_text
from buildtool.model.records import BuildState
from buildtool.model.search.terms import TermKind, person_term
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import SandboxLevel, SourceTrust
from buildtool.ports.pages import BuildLine

PEOPLE_KEPT = 512 * 1024
"""In how many bytes the numbers of people are remembered."""

_STATES = {state.value: state for state in BuildState}
_KINDS = {kind.value: kind for kind in OfferKind}
_TRUSTS = {trust.value: trust for trust in SourceTrust}
_LEVELS = {level.value: level for level in SandboxLevel}


def _requests_of(build: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how many requests a build has: no line says it, since each hit would have to write there."""
    return select(func.count()).select_from(requests).where(requests.c.build_id == build).scalar_subquery()


@cache
def _kept(count: int) -> Prepared:
    """Return the statement for lines that are kept ready: those of builds that have ended, and wait for no round."""
    keys: list[Any] = [bindparam(f"key_{number}") for number in range(count)]
    own = build_lines.c.build
    return Prepared(select(_requests_of(own), *build_lines.c, literal(0.0)).where(own.in_(keys)), packed=True)


@cache
def _gathered(count: int) -> Prepared:
    """Return the statement for lines that are put together."""
    keys: list[Any] = [bindparam(f"key_{number}") for number in range(count)]
    own = builds.c.id
    due = case((builds.c.state == BuildState.QUEUED.value, builds.c.tag + builds.c.nice), else_=0.0)
    return Prepared(select(_requests_of(own), *COLUMNS, due).select_from(JOINED).where(own.in_(keys)), packed=True)


@cache
def _people(count: int) -> Prepared:
    texts: list[Any] = [bindparam(f"text_{number}") for number in range(count)]
    kind = int(TermKind.PERSON)
    return Prepared(select(terms.c.text, terms.c.id).where(terms.c.kind == kind, terms.c.text.in_(texts)))


class LineReader:
    """A reader of lines. People keep their numbers, so these are remembered."""

    def __init__(self) -> None:
        self._people: BoundedCache[str, int] = BoundedCache(PEOPLE_KEPT)

    def read(self, ask: Ask, numbers: Sequence[int]) -> list[BuildLine]:
        """Return the lines of builds by their numbers, newest first."""
        rows = [row for chunk in chunks(numbers) for row in _read(ask, _kept, chunk)]
        if len(rows) < len(numbers):
            others = set(numbers).difference(row[1] for row in rows)
            rows += [row for chunk in chunks(others) for row in _read(ask, _gathered, chunk)]
        rows.sort(key=lambda row: -row[1])
        people = self._numbered(ask, {row[-3] for row in rows if row[-3] is not None})
        return [_line(row, people) for row in rows]

    def _numbered(self, ask: Ask, emails: set[str]) -> dict[str, int]:
        """Return the numbers of people by their addresses."""
        texts = {email: person_term(email).text for email in emails}
        known = {text: number for text in texts.values() if (number := self._people.get(text)) is not None}
        for chunk in chunks({text for text in texts.values() if text not in known}):
            wanted = padded("text", chunk)
            for text, number in ask(_people(len(wanted)), wanted):
                known[text] = 1 + number // KINDS
                self._people.put(text, known[text], size_of_text(text))
        return {email: known.get(text, -1) for email, text in texts.items()}


def _read(ask: Ask, statement: Callable[[int], Prepared], numbers: Sequence[int]) -> list[tuple[Any, ...]]:
    wanted = padded("key", numbers)
    return ask(statement(len(wanted)), wanted)


def _line(row: tuple[Any, ...], people: dict[str, int]) -> BuildLine:
    (
        asked, number, state, project, source, revision, options, platform,
        created, started, ended, not_before, reason, place, epoch,
        attempt, server, kind, offered, accepted, attempt_ended, attempt_reason,
        digest, content_digest, name, size, runs_on, maker, built_at, sandbox, trust,
        _, ref, revrange, email, subject, due,
    ) = row  # fmt: skip
    return BuildLine(
        number, _STATES[state], project, source, revision, canonical_of(options), canonical_of(platform),
        created, started, ended, not_before, reason, place, epoch,
        attempt, server or "", _KINDS.get(kind), offered, accepted, attempt_ended, attempt_reason or "",
        digest or "", content_digest or "", name or "", size or 0, canonical_of(runs_on or "[]"), maker or "",
        built_at or 0.0,
        asked, ref or "", revrange or "", email or "", -1 if email is None else people[email],
        subject or "", _LEVELS.get(sandbox, SandboxLevel.NONE), due, _TRUSTS[trust],
    )  # fmt: skip
