"""What happens to identities and invitations, decided on values: who may join, is confirmed, renewed, revoked.

Each decision is a function of the book, what is asked and the time. It returns the rows to write and what happened, and
changes nothing: the caller commits, then has the book ``take`` the rows, and only then tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from attrs import define, evolve, field, frozen

from buildtool.errors import NotFound, Unauthorised, UsageError
from buildtool.model.access.identities import Account, Identity, Invitation, KeyState
from buildtool.model.principal import UNLIMITED, PrincipalRole, Scope
from buildtool.model.records import AuditEvent
from buildtool.model.text import meant

INVITED_ROLES = (
    PrincipalRole.BUILD_SERVER, PrincipalRole.REQUESTER, PrincipalRole.OBSERVER, PrincipalRole.OPERATOR,
    PrincipalRole.PAGES,
)  # fmt: skip
"""What somebody can be invited as."""

BY_MAIL = "mail"
"""By whom an invitation is that is a mailed code."""

ASK = "ask the operator for a new line (bin/metaserver invite NAME)"

SHOWN_EVERY = 3_600.0
"""Seconds for which it is not recorded again that an invitation is shown with another key."""
"""What is to be done about an invitation that cannot be used."""


@define(eq=False)
class Book:
    """All identities by key and name, and all invitations by token."""

    keys: dict[str, Identity] = field(factory=dict)
    invitations: dict[str, Invitation] = field(factory=dict)
    _active: dict[tuple[PrincipalRole, str], str] = field(factory=dict, init=False)
    """The key that stands for a name now."""

    def take(self, rows: Iterable[Account]) -> None:
        """Take rows that were written."""
        for row in rows:
            if isinstance(row, Invitation):
                self.invitations[row.token] = row
                continue
            self.keys[row.key] = row
            place = (row.role, row.name)
            if row.state is KeyState.ACTIVE:
                self._active[place] = row.key
            elif self._active.get(place) == row.key:
                del self._active[place]

    def holder(self, role: PrincipalRole, name: str) -> Identity | None:
        """Return the identity that has a name now, or None."""
        key = self._active.get((role, name))
        return None if key is None else self.keys[key]

    def named(self, name: str) -> tuple[Identity, ...]:
        """Return the keys that have a name and are not revoked, in whatever role."""
        return tuple(one for one in self.keys.values() if one.name == name and one.state is not KeyState.REVOKED)


@frozen
class Change:
    """A decision: the rows to write, and what is to be recorded of it."""

    rows: tuple[Account, ...]
    happened: tuple[AuditEvent, ...]


@frozen
class Invite:
    """An operator's description of a peer that is to join; ``lasts`` is in seconds."""

    name: str
    role: PrincipalRole
    lasts: float
    owner: str = ""
    replaces: bool = False
    limits: Scope = UNLIMITED


def invited(book: Book, asked: Invite, token: str, life: str, by: str, now: float) -> Change:
    """Return an invitation at ``now`` (wall time); ``token`` is the digest of the secret that will be shown.

    An older invitation for the same name that was not used is void. Raises UsageError for a taken name.
    """
    if asked.role not in INVITED_ROLES:
        raise UsageError(f"nobody can be invited as {asked.role.value}: {', '.join(r.value for r in INVITED_ROLES)}")
    holder = book.holder(asked.role, asked.name)
    if holder is not None and not asked.replaces:
        raise UsageError(
            f"the name {asked.name} is taken: a {asked.role.value} with key {holder.key[:16]} has it; "
            "choose another, or say --replace if that machine is to get a new key"
        )
    older = tuple(
        evolve(one, void="a newer invitation for this name was made")
        for one in book.invitations.values()
        if (one.name, one.role) == (asked.name, asked.role) and not one.key and not one.void and one.expires > now
    )
    fresh = Invitation(
        token,
        asked.name,
        asked.role,
        now,
        now + asked.lasts,
        life,
        asked.owner,
        by,
        "",
        "",
        asked.replaces,
        limits=asked.limits,
    )
    return Change(
        (*older, *_settled(book, asked.name), fresh),
        (AuditEvent("invited", asked.name, f"as {asked.role.value} by {by}"),),
    )


def invitation_of(book: Book, token: str) -> Invitation:
    """Return the invitation whose digest this is. Raises Unauthorised, whose text says what to do."""
    invitation = book.invitations.get(token)
    if invitation is None:
        raise Unauthorised(f"this metaserver made no such invitation: {ASK}")
    return invitation


_WHERE = {
    PrincipalRole.BUILD_SERVER: "`bin/buildserver.py --join`",
    PrincipalRole.PAGES: "`bin/webserver join`",
    PrincipalRole.REQUESTER: "`bin/startcompile.py join`",
    PrincipalRole.OBSERVER: "`bin/startcompile.py join`",
    PrincipalRole.OPERATOR: "`bin/startcompile.py join`",
}
"""What takes the line of an invitation to a role."""


def check_role(invitation: Invitation, roles: Collection[str]) -> None:
    """Raise Unauthorised for an invitation to a role that is none of ``roles``, which a program can have, if any."""
    if roles and invitation.role.value not in roles:
        raise Unauthorised(
            f"that line invites {invitation.name} as {invitation.role.value}, and was not used up: "
            f"it is for {_WHERE.get(invitation.role, 'another program')}"
        )


def joined(
    book: Book, token: str, key: str, certificate: str, expires: float, life: str, now: float
) -> tuple[Identity, Change]:
    """Return who a key becomes that is shown with an invitation, and what that changes: nothing if it was shown before.

    ``token`` is the digest of what was shown, ``certificate`` what was made for the key in case it may join, until
    ``expires``; ``life`` is the metaserver's; times are wall time. Raises Unauthorised, whose text says what to do.
    """
    invitation = invitation_of(book, token)
    known_key = book.keys.get(key)
    if known_key is not None and known_key.state is KeyState.REVOKED:
        raise Unauthorised("this key was revoked and never comes back: remove it, and join with a new invitation")
    mine = known_key if invitation.key == key else None
    if mine is not None and (mine.expires > now or invitation.expires <= now):
        return mine, Change((), ())
    _check_invitation(invitation, key, life, now)
    if mine is not None:  # its first certificate has expired before it was used
        again = evolve(mine, certificate=certificate, expires=expires)
        return again, Change((again,), ())
    if known_key is not None:
        raise Unauthorised(
            f"this key is {known_key.name}'s already: remove it to join anew, or go on without an invitation"
        )
    holder = book.holder(invitation.role, invitation.name)
    if holder is not None and not invitation.replaces:
        raise Unauthorised(f"the name {invitation.name} was taken meanwhile: {ASK}")
    identity = Identity(
        key, invitation.name, invitation.role, KeyState.SHOWN, now, certificate, expires,
        invitation.owner, invitation.by, limits=invitation.limits,
    )  # fmt: skip
    how = f"as {invitation.role.value} with key {key[:16]}, invited by {invitation.by}"
    told = AuditEvent("joined", invitation.name, how)
    return identity, Change((evolve(invitation, key=key), identity), (told,))


def _check_invitation(invitation: Invitation, key: str, life: str, now: float) -> None:
    """Raise Unauthorised for one that this key cannot use, or cannot use any more."""
    if invitation.key and invitation.key != key:
        again = ASK if invitation.by != BY_MAIL else "ask for a new code, with `bin/startcompile.py login ADDRESS`"
        raise Unauthorised(f"this invitation was used already, with another key: {again}")
    if invitation.void:
        raise Unauthorised(f"this invitation is void, since {invitation.void}: {ASK}")
    if invitation.life != life:
        raise Unauthorised(f"this invitation is from before the metaserver was restored from a backup: {ASK}")
    if invitation.expires <= now:
        raise Unauthorised(f"this invitation has expired: {ASK}")


def refused_twice(book: Book, token: str, key: str, address: str, now: float) -> Change:
    """Return what changes when an invitation is shown again with another key, from an address, at ``now``.

    That is nothing where it is not, where the key that it was used with is revoked, and again within SHOWN_EVERY: who
    shows it may go on and on. Times are wall time.
    """
    invitation = book.invitations.get(token)
    if invitation is None or not invitation.key or invitation.key == key or invitation.by == BY_MAIL:
        return Change((), ())  # a code that was mailed is typed twice by its reader, and is no operator's matter
    first = book.keys.get(invitation.key)
    lately = invitation.shown_again and 0 <= now - invitation.shown_again < SHOWN_EVERY
    if first is None or first.state is KeyState.REVOKED or lately:
        return Change((), ())
    told = AuditEvent("invitation-shown-twice", invitation.name, f"with key {key[:16]}, after {invitation.key[:16]}")
    return Change((evolve(invitation, shown_again=now, shown_from=address),), (told,))


def shown_again(book: Book) -> Sequence[Invitation]:
    """Return the invitations that were shown with a second key, and on which no operator has acted since."""
    return [one for one in book.invitations.values() if one.shown_again]


def _settled(book: Book, name: str) -> tuple[Invitation, ...]:
    """Return the invitations of a name, on which an operator acts, of which nothing is to be told any more."""
    return tuple(evolve(one, shown_again=0.0) for one in shown_again(book) if one.name == name)


def confirmed(book: Book, key: str, now: float) -> Change:
    """Confirm a key at its first use, ``now`` (wall time); the key that had its name before is revoked.

    Raises Unauthorised.
    """
    identity = _usable(book, key)
    if identity.state is KeyState.ACTIVE:
        return Change((), ())
    rows: list[Account] = []
    happened = [AuditEvent("confirmed", identity.name, f"key {key[:16]}")]
    holder = book.holder(identity.role, identity.name)
    if holder is not None:
        if not any(one.key == key and one.replaces for one in book.invitations.values()):
            raise Unauthorised(f"the name {identity.name} was taken meanwhile: {ASK}")
        rows.append(_revoked(holder, "its name has a new key", now))
        happened.append(AuditEvent("revoked", holder.name, f"key {holder.key[:16]}: its name has a new key"))
    return Change((*rows, evolve(identity, state=KeyState.ACTIVE, since=now)), tuple(happened))


def known(book: Book, key: str) -> Identity:
    """Return whose key it is. Raises Unauthorised for one that is unknown or revoked."""
    return _usable(book, key)


def renewed(book: Book, key: str, certificate: str, expires: float, rejoin_within: float, now: float) -> Change:
    """Renew a key by its next certificate. Raises Unauthorised for one that was away for ``rejoin_within`` seconds."""
    identity = _usable(book, key)
    if now - identity.expires > rejoin_within:
        days = int(rejoin_within // 86_400)
        raise Unauthorised(f"this key was not used for more than {days} days: {ASK}")
    return Change((evolve(identity, certificate=certificate, expires=expires),), ())


def revoked(book: Book, name: str, reason: str, by: str, now: float) -> Change:
    """Revoke every key of a name, and what invites to it, at ``now`` (wall time).

    Raises NotFound, which names those that are known.
    """
    keys = book.named(name)
    open_ = tuple(
        evolve(one, void=f"it was revoked by {by}")
        for one in book.invitations.values()
        if one.name == name and not one.void and not one.key and one.expires > now
    )
    settled = _settled(book, name)
    if not keys and not open_ and not settled:
        if any(one.name == name for one in book.keys.values()):
            raise NotFound(f"every key of {name} is revoked already")
        there = sorted({one.name for one in book.keys.values() if one.state is not KeyState.REVOKED})
        raise NotFound(
            f"no key has the name {name!r}{meant(name, there) or ';'} known: {', '.join(there[:20]) or 'none'}"
        )
    why = reason or f"by {by}"
    told = tuple(AuditEvent("revoked", one.name, f"key {one.key[:16]} by {by}: {why}") for one in keys)
    return Change((*(_revoked(one, why, now) for one in keys), *open_, *settled), told)


def left(book: Book, key: str, now: float) -> Change:
    """Revoke a key, at wall time ``now``, that its holder does not need any more. Raises Unauthorised."""
    identity = _usable(book, key)
    told = AuditEvent("revoked", identity.name, f"key {key[:16]} by its holder")
    return Change((_revoked(identity, "its holder has logged out", now),), (told,))


def _usable(book: Book, key: str) -> Identity:
    identity = book.keys.get(key)
    if identity is None:
        raise Unauthorised(f"this metaserver does not know the key {key[:16]}: {ASK}")
    if identity.state is KeyState.REVOKED:
        raise Unauthorised(f"the key of {identity.name} was revoked: {identity.reason}; {ASK}")
    return identity


def _revoked(identity: Identity, reason: str, now: float) -> Identity:
    return evolve(identity, state=KeyState.REVOKED, reason=reason, since=now)


def void_all(book: Book, life: str) -> Sequence[Invitation]:
    """Return the invitations that were made in other lives of the metaserver than ``life``, void from now on."""
    return [
        evolve(one, void="the metaserver was restored from a backup after it was made")
        for one in book.invitations.values()
        if one.life != life and not one.key and not one.void
    ]
