"""What can never be used again: revoked keys, and tokens of invitations that were used or are void.

A database that is restored from a backup has forgotten some of it. So it is kept in a file too, a line of JSON each,
and ``reapplied`` at each start to what the database has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from attrs import asdict, evolve, field, fields, frozen, validators

from buildtool.model.access.enrolment import Book, Change
from buildtool.model.access.identities import Account, Identity, KeyState
from buildtool.model.principal import PrincipalRole
from buildtool.model.records import AuditEvent

LINE_LIMIT = 4_000
"""Most bytes of a line."""

_TEXT = validators.and_(validators.instance_of(str), validators.max_len(LINE_LIMIT))
_ROLES = {role.value: role for role in PrincipalRole}


@frozen
class Burnt:
    """A key or a token (its digest) that is burnt: one of them is empty, or ``key`` is the one that used the token.

    ``reason`` says why a key was revoked or an invitation is void, and ``at`` when, in seconds of wall time.
    """

    name: str = field(validator=_TEXT)
    role: str = field(validator=validators.in_(_ROLES))
    key: str = field(default="", validator=_TEXT)
    token: str = field(default="", validator=_TEXT)
    reason: str = field(default="", validator=_TEXT)
    at: float = field(default=0.0, validator=validators.instance_of((int, float)))


def burnt_in(rows: Iterable[Account], now: float) -> tuple[Burnt, ...]:
    """Return what is burnt by writing these rows at ``now``, in seconds of wall time."""
    found = []
    for row in rows:
        if isinstance(row, Identity):
            if row.state is KeyState.REVOKED:
                found.append(Burnt(row.name, row.role.value, row.key, "", row.reason, now))
        elif (row.key or row.void) and not row.shown_again:  # it is burnt already
            found.append(Burnt(row.name, row.role.value, row.key, row.token, row.void, now))
    return tuple(found)


def reapplied(book: Book, burnt: Iterable[Burnt]) -> Change:
    """Return what a book has to take so that all that is burnt stays so, also what it has never heard of."""
    rows: dict[str, Account] = {}
    happened = []
    for one in burnt:
        if one.token:
            invitation = book.invitations.get(one.token)
            if invitation is not None and not invitation.key and not invitation.void:
                rows[one.token] = evolve(invitation, key=one.key, void=one.reason)
            continue
        known = book.keys.get(one.key)
        if one.key in rows:
            continue
        if known is None or known.state is not KeyState.REVOKED:
            rows[one.key] = _revoked(known, one)
            happened.append(AuditEvent("revoked", one.name, f"key {one.key[:16]}, as was recorded: {one.reason}"))
    return Change(tuple(rows.values()), tuple(happened))


def _revoked(known: Identity | None, burnt: Burnt) -> Identity:
    if known is None:
        known = Identity(burnt.key, burnt.name, _ROLES[burnt.role], KeyState.REVOKED, burnt.at, "", burnt.at)
    return evolve(known, state=KeyState.REVOKED, reason=burnt.reason, since=burnt.at)


def text_of(burnt: Burnt) -> str:
    """Return a line, without its end."""
    return json.dumps(asdict(burnt))


def read_burnt(line: str) -> Burnt:
    """Return what a line says; fields that are not known are left out. Raises ValueError."""
    said = json.loads(line)
    if not isinstance(said, dict):
        raise ValueError("it is no object of JSON")  # noqa: TRY004 - told as what is not JSON is
    known = {one.name for one in fields(Burnt)}
    try:
        return Burnt(**{name: value for name, value in said.items() if name in known})
    except TypeError as error:
        raise ValueError(str(error)) from error
