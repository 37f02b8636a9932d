"""The lines of builds that have ended, kept ready: whole, so that a list need not gather them from five tables.

``build_lines`` says nothing that other tables do not say. It is written in the transaction that writes those; where a
line is missing, ``lines.py`` puts it together. So to leave one out is always right, and to leave one as it was never.

Tested by tests/ports/test_build_lines.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, or_, select

from buildtool.adapters.sql.prepared import Prepared, asking, insertion, padded
from buildtool.adapters.sql.schema import artifacts, attempts, builds, requests
from buildtool.adapters.sql.search.indexing import STATE_CODES, numbers_of
from buildtool.adapters.sql.search.tables import build_lines, build_terms, commits
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.model.lifecycle import BUILD, ends
from buildtool.model.records import Artifact, Attempt, Build, BuildState, Request
from buildtool.model.search.commits import RevisionKey
from buildtool.model.search.terms import TermKind, revision_term

ENDED = frozenset(ends(BUILD))
"""The states of builds that have lines: what comes after them changes little."""

_B, _A, _F, _C, _L = builds.c, attempts.c, artifacts.c, commits.c, build_lines.c
_first = requests.alias("first")
_counted = requests.alias("counted")
_FIRST_ID = select(func.min(_counted.c.id)).where(_counted.c.build_id == _B.id).scalar_subquery()

JOINED = (
    builds.outerjoin(attempts, and_(_A.build_id == _B.id, _A.epoch == func.coalesce(_B.deciding_epoch, _B.epoch)))
    .outerjoin(artifacts, and_(_F.id == _B.artifact_id, _F.withdrawn == ""))
    .outerjoin(_first, _first.c.id == _FIRST_ID)
    .outerjoin(commits, and_(_C.revision == _B.revision, _C.source == _B.project.concat(" ").concat(_B.source)))
)
"""Builds with the rows of other tables that their lines are made of."""

COLUMNS: tuple[ColumnElement[Any], ...] = (
    _B.id, _B.state, _B.project, _B.source, _B.revision, _B.options, _B.platform,
    _B.created_at, _B.started_at, _B.ended_at, _B.not_before, _B.reason, _B.place, _B.epoch,
    _A.epoch, _A.server, _A.kind, _A.offered_at, _A.accepted_at, _A.ended_at, _A.reason,
    _F.digest, _F.content_digest, _F.name, _F.size, _F.platform, _F.server, _F.built_at, _F.sandbox,
    _B.demanded_trust,
    _first.c.id, _first.c.ref, _first.c.revrange, _first.c.email, _C.subject,
)  # fmt: skip
"""What each column of ``build_lines`` is made of, in its order."""

OF_THE_ARTIFACT = frozenset(
    kept.name for made, kept in zip(COLUMNS, build_lines.c, strict=True) if getattr(made, "table", None) is artifacts
)
"""The columns of ``build_lines`` that are empty for a build whose artifact was withdrawn."""

_HAS_ENDED = and_(*(_B.state != state.value for state in BuildState if state not in ENDED))


def _insertion(chosen: Select[Any], dialect: str) -> Any:  # noqa: ANN401 - an Insert of either dialect
    statement = insertion(build_lines, dialect).from_select([column.name for column in build_lines.c], chosen)
    return statement.on_conflict_do_update(
        index_elements=[_L.build],
        set_={column.name: statement.excluded[column.name] for column in build_lines.c if column is not _L.build},
    )


def _keys(count: int) -> list[Any]:
    return [bindparam(f"key_{number}") for number in range(count)]


@cache
def _keeping(count: int, dialect: str) -> Prepared:
    chosen = select(*COLUMNS).select_from(JOINED).where(_B.id.in_(_keys(count)), _HAS_ENDED)
    return Prepared(_insertion(chosen, dialect))


@cache
def _firsts(count: int) -> Prepared:
    return Prepared(select(_L.build, _L.first_request).where(_L.build.in_(_keys(count))))


def write(
    connection: Connection,
    changed: Sequence[Build],
    tried: Sequence[Attempt],
    made: Sequence[Artifact],
    asked: Sequence[Request],
) -> None:
    """Write the lines of ended builds of which these rows, which are in the transaction already, say something else.

    A request that leaves a build leaves one that is open, or that ends in the same transaction.
    """
    about = {build.id for build in changed if build.state in ENDED}
    about.update(attempt.build_id for attempt in tried)
    about.update(artifact.build_id for artifact in made)
    first: dict[int, int] = {}
    for request in asked:
        if request.build_id is not None and request.build_id not in about:
            first[request.build_id] = min(request.id, first.get(request.build_id, request.id))
    for chunk in chunks(first):  # most are hits, of which a line says nothing new
        wanted = padded("key", chunk)
        for build, known in asking(connection)(_firsts(len(wanted)), wanted):
            if known is None or first[build] <= known:
                about.add(build)
    keep(connection, about)


def keep(connection: Connection, numbers: Iterable[int]) -> None:
    """Write the lines of those of these builds that have ended."""
    for chunk in chunks(sorted(numbers)):
        wanted = padded("key", chunk)
        _keeping(len(wanted), connection.dialect.name).run(connection, wanted)


def keep_of(connection: Connection, revisions: Iterable[RevisionKey]) -> None:
    """Write the lines of ended builds of these revisions, of which something is known now."""
    codes = [STATE_CODES[state] for state in ENDED]
    texts = sorted({revision_term(key.revision).text for key in revisions})
    for chunk in chunks(numbers_of(connection, int(TermKind.REVISION), texts).values()):
        found = select(build_terms.c.build).where(build_terms.c.state.in_(codes), build_terms.c.term.in_(chunk))
        keep(connection, connection.execute(found).scalars().all())


def wrong_lines(connection: Connection) -> list[int]:
    """Return the numbers of the builds whose line is not what the other tables say, or is missing."""
    made = select(*(it.label(f"made_{kept.name}") for it, kept in zip(COLUMNS, build_lines.c, strict=True)))
    there = made.select_from(JOINED).where(_HAS_ENDED).subquery()
    differs = or_(*(there.c[f"made_{kept.name}"].is_distinct_from(kept) for kept in build_lines.c))
    told = select(there.c.made_build).outerjoin(build_lines, _L.build == there.c.made_build).where(differs)
    ended = select(_B.id).where(_B.id == _L.build, _HAS_ENDED).exists()
    of_none = select(_L.build).where(~ended)
    return sorted({*connection.execute(told).scalars(), *connection.execute(of_none).scalars()})


def mend(connection: Connection) -> None:
    """Write each line anew that is wrong."""
    wrong = wrong_lines(connection)
    for chunk in chunks(wrong):
        connection.execute(delete(build_lines).where(_L.build.in_(chunk)))
    keep(connection, wrong)
