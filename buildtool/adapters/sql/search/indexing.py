"""The writing of what builds are found by, in the transaction that writes the builds themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from buildtool.adapters.sql.prepared import Prepared, insertion, padded
from buildtool.adapters.sql.rows import canonical_of
from buildtool.adapters.sql.schema import builds
from buildtool.adapters.sql.search.tables import build_terms, terms
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.concurrency.bounded_cache import BoundedCache, size_of_text
from buildtool.model.records import Attempt, Build, BuildState, Request
from buildtool.model.search.terms import ANY, Term, TermKind, asked_terms, revision_term, server_term, spec_terms

KINDS = 16
"""A term's number is that of its kind, plus so many times the how-manieth of its kind it is: what is numbered stays
small where it is shown, as people are."""

IDS_KEPT = 2 * 1024 * 1024
"""In how many bytes the numbers of terms are remembered."""

STATE_CODES = {state: code for code, state in enumerate(BuildState)}
"""How ``build_terms`` has the state of a build."""

ANY_TERM = int(ANY.kind)

_NUMBERS = Prepared(select(terms.c.kind, func.max(terms.c.id)).group_by(terms.c.kind))
_NEW_TERM = Prepared(insert(terms), ("id", "kind", "text"))
_MOVED = Prepared(
    update(build_terms).where(build_terms.c.build == bindparam("of")).values(state=bindparam("now")), ("of", "now")
)


class BuildIndex:
    """The index of one database that is written to. What it remembers is forgotten when a transaction fails."""

    def __init__(self) -> None:
        self._ids: BoundedCache[tuple[int, str], int] = BoundedCache(IDS_KEPT)
        self._last: dict[int, int] | None = None

    def forget(self) -> None:
        """Forget the numbers of terms, of which some may never have been committed."""
        self._ids.clear()
        self._last = None

    def write(
        self,
        connection: Connection,
        builds: Sequence[Build],
        attempts: Sequence[Attempt],
        requests: Sequence[Request],
    ) -> None:
        """Write what these rows, which are in the transaction already, change of what builds are found by.

        A build stays found by all requesters who asked for it, also once a Request has gone on to another one.
        """
        states = {build.id: STATE_CODES[build.state] for build in builds}
        about = {*states, *(it.build_id for it in attempts), *(it.build_id for it in requests if it.build_id)}
        there = _states_of(connection, about)
        gained: defaultdict[int, dict[Term, None]] = defaultdict(dict)
        for build in builds:
            if build.id not in there:
                spec = build.spec
                gained[build.id] = dict.fromkeys(spec_terms(spec.project, spec.revision, spec.options, spec.platform))
        for attempt in attempts:
            gained[attempt.build_id][server_term(attempt.server)] = None
        for request in requests:
            if request.build_id is not None:
                demand = request.demand
                asked = asked_terms(request.email, demand.ref, demand.spec.revision)
                gained[request.build_id].update(dict.fromkeys(asked))
        moved = [{"of": it, "now": state} for it, state in states.items() if there.get(it, state) != state]
        if moved:
            _MOVED.run(connection, *moved)
        self.add(connection, gained, there | states)

    def add(
        self,
        connection: Connection,
        gained: Mapping[int, Iterable[Term]],
        states: Mapping[int, int],
        into: Table = build_terms,
    ) -> None:
        """Add terms to builds, which may have them already; ``states`` has the code of each build's state."""
        ids = self.numbered(connection, {term for each in gained.values() for term in each})
        _add(connection, ((build, ids[term]) for build, each in gained.items() for term in each), states, into)

    def numbered(self, connection: Connection, wanted: Iterable[Term]) -> dict[Term, int]:
        """Return the numbers of terms; those that are new are written."""
        found: dict[Term, int] = {}
        unknown: defaultdict[int, list[Term]] = defaultdict(list)
        for term in wanted:
            number = self._ids.get((term.kind, term.text))
            if number is None:
                unknown[term.kind].append(term)
            else:
                found[term] = number
        for kind, missing in unknown.items():
            numbers = numbers_of(connection, kind, [term.text for term in missing])
            new = [text for text in dict.fromkeys(term.text for term in missing) if text not in numbers]
            numbers |= {text: self._next(connection, kind) for text in new}
            if new:
                _NEW_TERM.run(connection, *({"id": numbers[text], "kind": kind, "text": text} for text in new))
            for term in missing:
                found[term] = numbers[term.text]
                self._ids.put((kind, term.text), found[term], size_of_text(term.text))
        return found

    def _next(self, connection: Connection, kind: int) -> int:
        if self._last is None:
            self._last = dict(_NUMBERS.tuples(connection))
        last = self._last.get(kind)
        self._last[kind] = kind if last is None else last + KINDS
        return self._last[kind]


def numbers_of(connection: Connection, kind: int, texts: Sequence[str]) -> dict[str, int]:
    """Return the numbers of those terms of a kind that there are."""
    found: dict[str, int] = {}
    for chunk in chunks(texts):
        wanted = padded("text", chunk)
        found.update(_known(len(wanted)).tuples(connection, {"kind": kind, **wanted}))
    return found


@cache
def _known(count: int) -> Prepared:
    texts: list[Any] = [bindparam(f"text_{number}") for number in range(count)]
    return Prepared(select(terms.c.text, terms.c.id).where(terms.c.kind == bindparam("kind"), terms.c.text.in_(texts)))


@cache
def _standing(count: int) -> Prepared:
    keys: list[Any] = [bindparam(f"build_{number}") for number in range(count)]
    return Prepared(
        select(build_terms.c.build, build_terms.c.state).where(
            build_terms.c.build.in_(keys), build_terms.c.term == ANY_TERM
        )
    )


def _states_of(connection: Connection, about: Iterable[int]) -> dict[int, int]:
    """Return the codes of the states in which builds are in the index, of those that are."""
    found: dict[int, int] = {}
    for chunk in chunks(about):
        wanted = padded("build", chunk)
        found.update(_standing(len(wanted)).tuples(connection, wanted))
    return found


def _add(connection: Connection, pairs: Iterable[tuple[int, int]], states: Mapping[int, int], into: Table) -> None:
    """Add terms to builds of which the states are known."""
    rows = [{"build": build, "term": term, "state": states[build]} for build, term in pairs if build in states]
    if rows:
        _addition(into, connection.dialect.name).run(connection, *rows)


@cache
def _addition(into: Table, dialect: str) -> Prepared:
    made = insertion(into, dialect).on_conflict_do_nothing()
    return Prepared(made, ("build", "term", "state"))


# --- many at once --------------------------------------------------------------------------------------

AT_ONCE = 2_000
"""Builds that are indexed together, when many are."""

_BUILDS = "SELECT id, project, revision, options, platform, state FROM builds WHERE {} ORDER BY id"
_SERVERS = "SELECT DISTINCT build_id, server FROM attempts WHERE {} ORDER BY build_id"
_ASKED = "SELECT DISTINCT build_id, email, ref, revision FROM requests WHERE {} ORDER BY build_id"


def index_all(connection: Connection) -> None:
    """Write the index of every build that there is, in tables as they were when the index was made. For a migration.

    The rows are collected first and sorted once: to find a place for each takes several times as long.
    """
    _heap.create(connection)
    _index(connection, "1 = 1", "build_id IS NOT NULL", _heap)
    in_order = select(_heap.c.state, _heap.c.term, _heap.c.build).distinct().order_by("state", "term", "build")
    connection.execute(insert(build_terms).from_select(["state", "term", "build"], in_order))
    _heap.drop(connection)


def index_again(connection: Connection, numbers: Iterable[int]) -> None:
    """Write the index of builds for which it is wrong."""
    for chunk in chunks(numbers):
        connection.execute(delete(build_terms).where(build_terms.c.build.in_(chunk)))
        these = ", ".join(map(str, chunk))
        _index(connection, f"id IN ({these})", f"build_id IN ({these})", build_terms)


def unindexed(connection: Connection) -> list[int]:
    """Return the numbers of the builds that are not found as what they are now."""
    code = case({state.value: number for state, number in STATE_CODES.items()}, value=builds.c.state)
    right = (
        select(build_terms.c.term)
        .where(build_terms.c.build == builds.c.id, build_terms.c.term == ANY_TERM, build_terms.c.state == code)
        .exists()
    )
    return [*connection.execute(select(builds.c.id).where(~right).order_by(builds.c.id)).scalars()]


_heap = Table(
    "unsorted_terms",
    MetaData(),
    *(Column(name, BigInteger, nullable=False) for name in ("build", "term", "state")),
    prefixes=["TEMPORARY"],
)


def _index(connection: Connection, of_builds: str, of_others: str, into: Table) -> None:
    index, states = BuildIndex(), dict[int, int]()
    codes = {state.value: code for state, code in STATE_CODES.items()}
    alike: dict[tuple[str, str, str], tuple[int, ...]] = {}
    for batch in _batches(connection, _BUILDS.format(of_builds)):
        of_revision = index.numbered(connection, {revision_term(revision) for _, _, revision, *_ in batch})
        pairs = []
        for number, project, revision, options, platform, state in batch:
            states[number] = codes[state]
            key = (project, options, platform)
            if key not in alike:
                own = spec_terms(project, revision, canonical_of(options), canonical_of(platform))
                ids = index.numbered(connection, [term for term in own if term.kind is not TermKind.REVISION])
                alike[key] = tuple(ids.values())
            pairs += [(number, term) for term in (*alike[key], of_revision[revision_term(revision)])]
        _add(connection, pairs, states, into)
        if len(alike) > AT_ONCE:
            alike.clear()
    for batch in _batches(connection, _SERVERS.format(of_others)):
        more: defaultdict[int, list[Term]] = defaultdict(list)
        for number, server in batch:
            more[number].append(server_term(server))
        index.add(connection, more, states, into)
    for batch in _batches(connection, _ASKED.format(of_others)):
        asked: defaultdict[int, list[Term]] = defaultdict(list)
        for number, email, ref, revision in batch:
            asked[number] += asked_terms(email, ref, revision)
        index.add(connection, asked, states, into)


def _batches(connection: Connection, statement: str) -> Iterator[Sequence[Any]]:
    return connection.exec_driver_sql(statement).partitions(AT_ONCE)
