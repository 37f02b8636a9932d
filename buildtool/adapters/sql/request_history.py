"""Requests of the past: those of one person, newest first, by the terms of their builds, and those that were answered.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from heapq import nlargest
from typing import Any

from sqlalchemy import Connection, bindparam, select

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.prepared import Prepared, padded
from buildtool.adapters.sql.schema import requests
from buildtool.adapters.sql.search.tables import build_terms, terms
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.model.records import AnsweredRequest, Request
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


@cache
def _answers(count: int) -> Prepared:
    """Return the statement that finds what was answered to ``count`` client ids, called ``key_0`` and so on."""
    keys: list[Any] = [bindparam(f"key_{number}") for number in range(count)]
    return Prepared(
        select(requests.c.client_id, requests.c.id, requests.c.body_digest, requests.c.answer).where(
            requests.c.client_id.in_(keys)
        )
    )


def answered(client_ids: Sequence[str], connection: Connection) -> dict[str, AnsweredRequest]:
    """Return what was answered to submissions, by the ids that their clients gave them."""
    found: dict[str, AnsweredRequest] = {}
    for chunk in chunks(client_ids):
        wanted = padded("key", chunk)
        for client_id, request_id, body_digest, answer in _answers(len(wanted)).tuples(connection, wanted):
            found[client_id] = AnsweredRequest(request_id, body_digest, answer)
    return found
