"""The lines of a list of builds: for each of its builds what is shown, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, select

from buildtool.adapters.sql.prepared import Ask, Prepared, padded
from buildtool.adapters.sql.rows import canonical_of
from buildtool.adapters.sql.schema import artifacts, attempts, builds, requests
from buildtool.adapters.sql.search.indexing import KINDS
from buildtool.adapters.sql.search.tables import commits, terms
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.concurrency.bounded_cache import BoundedCache, size_of_text
from buildtool.model.records import BuildState
from buildtool.model.search.terms import TermKind, person_term
from buildtool.model.servers import OfferKind
from buildtool.ports.pages import BuildLine

PEOPLE_KEPT = 512 * 1024
"""In how many bytes the numbers of people are remembered."""

_STATES = {state.value: state for state in BuildState}
_KINDS = {kind.value: kind for kind in OfferKind}

_B, _A, _F, _R, _C = builds.c, attempts.c, artifacts.c, requests.c, commits.c
_MADE_BY = and_(_A.build_id == _B.id, _A.epoch == func.coalesce(_B.deciding_epoch, _B.epoch))
_PLACE = _B.project.concat(" ").concat(_B.source)
_first = requests.alias("first")
_counted = requests.alias("counted")
_FIRST_ID = select(func.min(_counted.c.id)).where(_counted.c.build_id == _B.id).scalar_subquery()
_HOW_MANY = select(func.count()).select_from(_counted).where(_counted.c.build_id == _B.id).scalar_subquery()

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _B.id, _B.state, _B.project, _B.source, _B.revision, _B.options, _B.platform,
    _B.created_at, _B.started_at, _B.ended_at, _B.not_before, _B.reason, _B.place, _B.epoch,
    _A.epoch, _A.server, _A.kind, _A.offered_at, _A.accepted_at, _A.ended_at, _A.reason,
    _F.digest, _F.content_digest, _F.name, _F.size, _F.platform, _F.server, _F.built_at,
    _HOW_MANY, _first.c.ref, _first.c.revrange, _first.c.email,
    _C.subject,
)  # fmt: skip


@cache
def _lines(count: int) -> Prepared:
    keys: list[Any] = [bindparam(f"key_{number}") for number in range(count)]
    joined = (
        builds.outerjoin(attempts, _MADE_BY)
        .outerjoin(artifacts, and_(_F.id == _B.artifact_id, _F.withdrawn == ""))
        .outerjoin(_first, _first.c.id == _FIRST_ID)
        .outerjoin(commits, and_(_C.revision == _B.revision, _C.source == _PLACE))
    )
    return Prepared(select(*_COLUMNS).select_from(joined).where(_B.id.in_(keys)).order_by(_B.id.desc()))


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
        rows = [row for chunk in chunks(numbers) for row in _read(ask, chunk)]
        rows.sort(key=lambda row: -row[0])
        people = self._numbered(ask, {row[-2] for row in rows if row[-2] is not None})
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


def _read(ask: Ask, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
    wanted = padded("key", numbers)
    return ask(_lines(len(wanted)), wanted)


def _line(row: tuple[Any, ...], people: dict[str, int]) -> BuildLine:
    (
        number, state, project, source, revision, options, platform,
        created, started, ended, not_before, reason, place, epoch,
        attempt, server, kind, offered, accepted, attempt_ended, attempt_reason,
        digest, content_digest, name, size, runs_on, maker, built_at,
        asked, ref, revrange, email, subject,
    ) = row  # fmt: skip
    return BuildLine(
        number, _STATES[state], project, source, revision, canonical_of(options), canonical_of(platform),
        created, started, ended, not_before, reason, place, epoch,
        attempt, server or "", _KINDS.get(kind), offered, accepted, attempt_ended, attempt_reason or "",
        digest or "", content_digest or "", name or "", size or 0, canonical_of(runs_on or "[]"), maker or "",
        built_at or 0.0,
        asked, ref or "", revrange or "", email or "", -1 if email is None else people[email],
        subject or "",
    )  # fmt: skip
