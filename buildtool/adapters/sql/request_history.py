"""The requests of one person, newest first, found by the terms of the builds that they asked for.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

from heapq import nlargest

from sqlalchemy import Connection, bindparam, select

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.schema import requests
from buildtool.adapters.sql.search.tables import build_terms, terms
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.model.records import Request
from buildtool.model.search.terms import person_term

_TERM = select(terms.c.id).where(terms.c.kind == bindparam("kind"), terms.c.text == bindparam("text"))
_STATES = select(build_terms.c.state).order_by(build_terms.c.state).limit(1)
_NEXT_STATE = _STATES.where(build_terms.c.state > bindparam("state"))
_BUILDS = (
    select(build_terms.c.build)
    .where(build_terms.c.state == bindparam("state"), build_terms.c.term == bindparam("term"))
    .order_by(build_terms.c.build.desc())
    .limit(bindparam("most"))
)


def requests_of(email: str, most: int, connection: Connection) -> list[Request]:
    """Return at most ``most`` Requests that were made for an e-mail address, newest first."""
    term = person_term(email)
    number = connection.execute(_TERM, {"kind": int(term.kind), "text": term.text}).scalar_one_or_none()
    if number is None:
        return []
    builds = nlargest(most, _builds(connection, number, most))
    found: list[Request] = []
    for chunk in chunks(builds):
        wanted = (
            select(requests)
            .where(requests.c.build_id.in_(chunk), requests.c.email == email)
            .order_by(requests.c.id.desc())
            .limit(most)
        )
        found += [rows.request_of(row) for row in connection.execute(wanted)]
    return sorted(found, key=lambda request: -request.id)[:most]


def _builds(connection: Connection, term: int, most: int) -> list[int]:
    """Return the newest builds of a term, at most so many of each state."""
    found: list[int] = []
    state = connection.execute(_STATES).scalar_one_or_none()
    while state is not None:
        found += connection.execute(_BUILDS, {"state": state, "term": term, "most": most}).scalars()
        state = connection.execute(_NEXT_STATE, {"state": state}).scalar_one_or_none()
    return found
