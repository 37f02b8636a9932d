"""A witness of who is let in and what they do: keeps the committed keys and invitations, and says what may not be.

It is pure: it is told what was asked for, what was committed, who came in and which act began, and keeps all of that by
itself, so what it knows does not come from the program that it watches.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
from attrs import define, evolve, field

from buildtool.model.access.identities import Identity, Invitation, KeyState
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import ConnectionEnded
from buildtool.protocol import calls
from buildtool.protocol.enrolment import InviteOne, Join, Renew, RevokeOne
from buildtool.protocol.messages import Accepted, AskBuild, AskExplain, AskHealth, AskStatus, AskWhy
from buildtool.protocol.operator import (
    AskFarmStatus,
    CancelSeveral,
    DrainServer,
    LowerRequest,
    PauseServer,
    RebuildBuild,
    ResumeServer,
)
from buildtool.protocol.pages.visiting import AskTokens, EndToken, MakeToken
from tests.simulation.clock import Life
from tests.simulation.keys import Certificate, Key

GRACE = 1.0
"""Seconds within which the connections of a revoked key end."""

SLACK = 30.0
"""Seconds that a decision may be older than its commit."""

OPERATOR = Principal(PrincipalRole.OPERATOR, name="root (uid 0)")
"""The operator, who comes over the local socket."""

TOKENS = (MakeToken, AskTokens, EndToken)
"""What is done about the own tokens."""

MAY: Mapping[PrincipalRole, frozenset[type[attrs.AttrsInstance]]] = {
    PrincipalRole.JOINING: frozenset({Join}),
    PrincipalRole.RENEWING: frozenset({Renew}),
    PrincipalRole.VISITOR: frozenset({AskHealth, AskBuild}),
    PrincipalRole.REQUESTER: frozenset(
        {
            *calls.REQUESTER.values(),
            AskFarmStatus,
            PauseServer,
            DrainServer,
            ResumeServer,
            RebuildBuild,
            CancelSeveral,
            LowerRequest,
            *TOKENS,
        }
    ),
    PrincipalRole.OBSERVER: frozenset({AskFarmStatus, AskBuild, AskHealth, AskExplain, AskStatus, AskWhy, *TOKENS}),
    PrincipalRole.BUILD_SERVER: frozenset({*calls.BUILD_SERVER.values(), Accepted}),
}
"""Which acts a role may do at all, said once more; to what, says ``ownership``."""


@define(eq=False)
class Asked:
    """An act that the operator has asked a life of the metaserver for, about a name."""

    act: type
    name: str
    of: Life


@define(eq=False)
class Trust:
    """Who is known, as it was committed, and what was wrong about it.

    ``wrong`` takes a violation. ``now`` is monotonic, ``wall`` the metaserver's clock, both in seconds. ``life`` is the
    metaserver's incarnation, and ``rejoin_within`` how long a key may be away.
    """

    wrong: Callable[[str], None]
    now: Callable[[], float]
    wall: Callable[[], float]
    rejoin_within: float
    life: str = "life 1"
    keys: dict[str, Identity] = field(factory=dict)
    invitations: dict[str, Invitation] = field(factory=dict)
    acts: Counter[tuple[str, str]] = field(factory=Counter)
    opening: Callable[[], bool] = lambda: False
    """Says whether the metaserver starts: what it had written down as burnt, and perhaps not committed, is then."""

    clock_set_at: float = -1e9
    thawed_at: float = 0.0
    """Until when the metaserver stood still."""

    _asked: list[Asked] = field(factory=list)
    _certificates: defaultdict[str, set[str]] = field(factory=lambda: defaultdict(set))
    _revoked_at: dict[str, float] = field(factory=dict)

    def _check(self, holds: object, what: str) -> None:
        if not holds:
            self.wrong(what)

    # --- what the operator asks for --------------------------------------------------------------------------

    def asking(self, asked: Asked) -> None:
        """The operator is about to ask for something."""
        self._asked.append(asked)

    def answered(self, asked: Asked) -> None:
        """The operator has an answer, whatever it is: nothing more comes of what was asked for."""
        self._asked.remove(asked)

    def _wanted(self, act: type, name: str) -> bool:
        """Return whether the operator waits for an act about a name, of a metaserver that runs."""
        return any((one.act, one.name) == (act, name) and not one.of.ended for one in self._asked)

    def holder(self, role: PrincipalRole, name: str) -> Identity | None:
        """Return the key that has a name."""
        for one in self.keys.values():
            if (one.role, one.name, one.state) == (role, name, KeyState.ACTIVE):
                return one
        return None

    def is_revoked(self, key: Key) -> bool:
        """Return whether it is committed that a key was revoked."""
        identity = self.keys.get(key.id)
        return identity is not None and identity.state is KeyState.REVOKED

    def since_revoked(self, key: str) -> float:
        """Return how many seconds the metaserver had since a key was revoked."""
        return self.now() - max(self._revoked_at[key], self.thawed_at)

    # --- what is committed -------------------------------------------------------------------------------------

    def committed(self, rows: Sequence[Any], now: float) -> None:
        """Take rows that were committed when the metaserver's clock said ``now``."""
        invitations = {row.token: row for row in rows if type(row) is Invitation}
        identities = {row.key: row for row in rows if type(row) is Identity}
        if not invitations and not identities:
            return
        for invitation in invitations.values():
            self._check_invitation(invitation, self.invitations.get(invitation.token), identities)
        for identity in identities.values():
            self._check_identity(identity, identities, invitations.values(), now)
        self.invitations.update(invitations)
        for identity in identities.values():
            old = self.keys.get(identity.key)
            if identity.state is KeyState.REVOKED and (old is None or old.state is not KeyState.REVOKED):
                self._revoked_at[identity.key] = self.now()
            self.keys[identity.key] = identity
            self._certificates[identity.key].add(identity.certificate)
        for identity in identities.values():
            self._check_name(identity)

    def _check_invitation(self, row: Invitation, old: Invitation | None, identities: Mapping[str, Identity]) -> None:
        what = f"the invitation of {row.name}"
        wanted = self._wanted(InviteOne, row.name)
        if old is None:
            self._check(wanted, f"{what} was asked for by nobody")
            self._check(row.life == self.life, f"{what} is of another life")
            return
        told = evolve(old, shown_again=row.shown_again, shown_from=row.shown_from)
        self._check(evolve(told, key=row.key, void=row.void) == row, f"{what} is another one than was made")
        self._check(bool(old.key) or not row.shown_again, f"{what} was shown again before it was shown")
        settled = bool(old.shown_again) and not row.shown_again
        self._check(not settled or wanted or self._wanted(RevokeOne, row.name), f"{what} was settled by nobody")
        self._check(old.key in ("", row.key), f"{what} was used by {old.key[:8]}, and then by {row.key[:8]}")
        if row.key and not old.key:
            known = row.key in identities or self.opening()
            self._check(known, f"{what} is burnt, and nobody has a key for it")
        if row.void and not old.void:
            self._check(
                wanted or self._wanted(RevokeOne, row.name) or row.life != self.life or self.opening(),
                f"{what} is void ({row.void}), which nobody asked for",
            )

    def _check_identity(
        self, row: Identity, with_it: Mapping[str, Identity], invitations: Collection[Invitation], now: float
    ) -> None:
        old, what = self.keys.get(row.key), f"the key {row.key[:8]} of {row.name}"
        if old is None:
            self._check_joined(row, what, [one for one in invitations if one.key == row.key], now)
            return
        same = (old.name, old.role, old.owner) == (row.name, row.role, row.owner)
        self._check(same, f"{what} is somebody else's now: {old.name}")
        self._check(
            old.state is not KeyState.REVOKED or row.state is KeyState.REVOKED, f"{what} was revoked, and is back"
        )
        if row.state is KeyState.REVOKED and old.state is not KeyState.REVOKED:
            replaced = any(
                one.replaces and (one.role, one.name) == (row.role, row.name) and self._begins(with_it.get(one.key))
                for one in self.invitations.values()
            )
            wanted = replaced or self._wanted(RevokeOne, row.name) or self.opening()
            self._check(wanted, f"{what} was revoked, which nobody asked for")

    def _begins(self, row: Identity | None) -> bool:
        """Return whether a key is confirmed by this row."""
        return row is not None and row.state is KeyState.ACTIVE and self.keys[row.key].state is KeyState.SHOWN

    def _check_joined(self, row: Identity, what: str, shown: Sequence[Invitation], now: float) -> None:
        self._check(row.state is KeyState.SHOWN, f"{what} is {row.state.value} before it was used")
        if len(shown) != 1:
            self.wrong(f"{what} joined with {len(shown)} invitations")
            return
        old = self.invitations.get(shown[0].token)
        if old is None:
            self.wrong(f"{what} joined with an invitation that nobody made")
            return
        self._check(
            (old.name, old.role, old.owner) == (row.name, row.role, row.owner), f"{what} is not who was invited"
        )
        self._check(not old.void, f"{what} joined with an invitation that was void: {old.void}")
        self._check(old.life == self.life, f"{what} joined with an invitation of another life")
        late = now - old.expires
        self._check(
            late < SLACK or self._clock_was_set(), f"{what} joined {late:.0f} s after its invitation had expired"
        )

    def _check_name(self, row: Identity) -> None:
        holders = [
            one.key[:8]
            for one in self.keys.values()
            if (one.role, one.name, one.state) == (row.role, row.name, KeyState.ACTIVE)
        ]
        self._check(len(holders) < 2, f"the name {row.name} has the keys {' and '.join(holders)}")

    def _clock_was_set(self) -> bool:
        return self.now() - self.clock_set_at < 4 * SLACK

    # --- who is let in, and what they do -----------------------------------------------------------------------

    def admitted(self, shown: Certificate | None, said: str, by: Principal) -> None:
        """Somebody who showed a certificate and said to be ``said`` was let in as ``by``."""
        if by.role is PrincipalRole.JOINING:
            return
        if shown is None:
            self.wrong(f"{by.role.value} {by.name} was let in without a key")
            return
        self._check(by.key == shown.id, f"{shown.id[:8]} was let in with another key, as {by.name}")
        self._check_key(shown.id, by, "was let in")
        if said == PrincipalRole.RENEWING.value:
            self._check(by.role is PrincipalRole.RENEWING, f"{by.name} came to renew, and is a {by.role.value}")
        else:
            since = self.wall() - shown.expires
            self._check(since <= 0.0, f"{by.name} was let in {since:.0f} s after its certificate had expired")

    def acting(self, by: Principal, message: attrs.AttrsInstance) -> None:
        """An act that was allowed begins."""
        act = type(message)
        if act is ConnectionEnded:
            return
        self.acts[by.role.value, act.__name__] += 1
        if by == OPERATOR:
            return
        what = f"{by.role.value} {by.name} does {act.__name__}"
        self._check(act in MAY.get(by.role, ()), f"{what}, which they may not")
        shows_none = by.role in (PrincipalRole.JOINING, PrincipalRole.VISITOR) or (by.token and not by.key)
        if not shows_none:
            self._check_key(by.key, by, f"does {act.__name__}")

    def _check_key(self, key: str, by: Principal, what: str) -> None:
        identity = self.keys.get(key)
        if identity is None:
            self.wrong(f"{by.role.value} {by.name} {what} with the key {key[:8]}, which nobody has")
            return
        known = f"the key {key[:8]} of {identity.name}"
        if identity.state is KeyState.REVOKED:
            since = self.since_revoked(key)
            self._check(since < GRACE, f"{known} {what}, {since:.1f} s after it was revoked")
        else:
            self._check(identity.state is KeyState.ACTIVE, f"{known} {what}, and is only {identity.state.value}")
        self._check(by.name == identity.name, f"{known} {what} as {by.name}")
        self._check(by.role in (identity.role, PrincipalRole.RENEWING), f"{known} {what} as {by.role.value}")

    # --- who is turned away, and with what they go -------------------------------------------------------------

    def received(self, name: str, key: Key, certificate: str) -> None:
        """Somebody who joined, perhaps again with the same key, or renewed, has a certificate."""
        identity = self.keys.get(key.id)
        known = identity is not None and identity.name == name
        self._check(known, f"{name} was told of a key {key.id[:8]} that is not committed")
        if identity is not None and identity.state is not KeyState.REVOKED:
            given = certificate in self._certificates[key.id]
            self._check(given, f"{name} was given a certificate that is not committed")

    def line_refused(self, name: str, token: str, key: Key, why: str) -> None:
        """Somebody's invitation was refused: whatever went wrong before, it must not have cost them their line."""
        invitation, identity = self.invitations.get(token), self.keys.get(key.id)
        if invitation is None:
            self.wrong(f"{name} was refused with an invitation that was told and is not committed: {why}")
            return
        holder = self.holder(invitation.role, invitation.name)
        fair = (
            invitation.void
            or invitation.life != self.life
            or invitation.key not in ("", key.id)
            or (identity is None and invitation.expires <= self.wall() + SLACK)
            or (identity is not None and identity.state is KeyState.REVOKED)
            or (identity is not None and invitation.key != key.id)
            or (holder is not None and not invitation.replaces)
            or self._clock_was_set()
        )
        self._check(fair, f"{name} was refused, and its invitation is good: {why}")

    def key_refused(self, name: str, key: Key, why: str) -> None:
        """Somebody's key was refused for good."""
        identity = self.keys.get(key.id)
        if identity is None:
            self.wrong(f"the key of {name} was refused, which it was told of and is not committed: {why}")
            return
        away = self.wall() - identity.expires
        other = self.holder(identity.role, identity.name)
        fair = (
            identity.state is KeyState.REVOKED
            or away > self.rejoin_within - SLACK
            or (identity.state is KeyState.SHOWN and other is not None)
            or self._clock_was_set()
        )
        self._check(fair, f"the key of {name} was refused, and is {identity.state.value}: {why}")
