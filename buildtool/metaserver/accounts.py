"""Who is known: invites, lets join, confirms, renews and revokes, one act after the other.

The decisions are in ``model.access.enrolment``. Here they are committed, taken over and told, in this order. The book
is in memory, so that who somebody is costs no question to the database.

Tested by tests/adapters/control/test_gateway_identities.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from attrs import Factory, define, field
from twisted.logger import Logger

from buildtool import errors
from buildtool.metaserver.access.mailed_codes import MailedCodes
from buildtool.metaserver.access.one_act import OneAct
from buildtool.model.access import enrolment
from buildtool.model.access.burnt import burnt_in, reapplied
from buildtool.model.access.enrolment import Book, Change, Invite
from buildtool.model.access.identities import Identity, Invitation, KeyState, token_digest
from buildtool.model.access.join_line import JoinLine
from buildtool.model.access.rights import known_platform
from buildtool.model.addresses import valid_address
from buildtool.model.names import SERVER_NAME_WORDS, is_server_name
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.model.records import AuditEvent
from buildtool.model.text import meant, moment_words
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import BrokerStore, BurntStore, CertificateSigner, Handlers, Signed
from buildtool.protocol import enrolment as messages
from buildtool.protocol.messages import Ok
from buildtool.protocol.operator import ActionResult

log = Logger()

DAY = 86_400.0
LONGEST = 366 * DAY
"""Seconds that an invitation may last at most."""

_ROLES = {role.value: role for role in enrolment.INVITED_ROLES}

REFUSAL_EVERY = 3_600.0
"""Seconds for which further refusals of one key are not recorded."""

REFUSALS = 1_000
"""Most keys whose last refusal is remembered."""


@define(eq=False)
class RecentRefusals:
    """The refused keys that were recorded lately."""

    _refused: dict[str, float] = field(factory=dict, init=False)

    def is_new(self, key: str, now: float) -> bool:
        """Take in that a key is refused at ``now`` (wall time); return whether that is to be recorded."""
        last = self._refused.pop(key, None)
        if last is not None and 0 <= now - last < REFUSAL_EVERY:
            self._refused[key] = last
            return False
        while len(self._refused) >= REFUSALS:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = now
        return True


@define(eq=False)
class AccountService:
    """A service over the identities of a metaserver whose incarnation is ``life``. Made by ``open_accounts``.

    ``addresses`` returns where others reach the metaserver, for invitations. ``ended`` is called with a key that was
    revoked, and why: it closes the connections that have it. A key that is away for ``rejoin_within`` seconds after
    its certificate has expired does not come back. ``new_token`` makes the secret of an invitation. What can never be
    used again goes to ``burnt`` before it is committed.
    """

    store: BrokerStore
    clock: Clock
    signer: CertificateSigner
    life: str
    addresses: Callable[[], Sequence[tuple[str, int]]]
    ended: Callable[[str, str], None]
    rejoin_within: Callable[[], float]
    new_token: Callable[[], str]
    burnt: BurntStore
    book: Book = field(factory=Book)
    codes: MailedCodes | None = None
    refusals: RecentRefusals = field(factory=RecentRefusals)
    _act: OneAct = field(default=Factory(lambda self: OneAct(self._read_anew), takes_self=True), init=False)

    @property
    def joining(self) -> Handlers:
        """What a peer without a key may ask."""
        return {messages.Join: self.join}

    @property
    def keeping(self) -> Handlers:
        """What the holder of a key may ask about it, also where its certificate has expired."""
        return {messages.Renew: self.renew, messages.Leave: self.leave}

    @property
    def operating(self) -> Handlers:
        """What an operator may ask."""
        return {
            messages.InviteOne: self.invite,
            messages.AskIdentities: self.identities,
            messages.RevokeOne: self.revoke,
            messages.RotateAuthority: self.rotate,
        }

    # --- who is there -------------------------------------------------------------------------------------

    async def known(self, by: Principal, key: str) -> Identity:
        """Return whose key it is, which is confirmed by being used. Raises Unauthorised, StorageUnavailable.

        ``by`` is the peer that shows it. A refusal is recorded, once an hour for each key.
        """
        try:
            return await self._known(key)
        except errors.Unauthorised as error:
            await self._refused(by, key, str(error))
            raise

    async def _refused(self, by: Principal, key: str, why: str) -> None:
        now = self.clock.wall()
        if self.refusals.is_new(key, now):
            whose = self.book.keys.get(key)
            detail = f"key {key[:16]} from {by.address or 'here'}: {why}"
            event = AuditEvent("key-refused", whose.name if whose is not None else "", detail)
            log.warn("{what}: {name} {detail}", what=event.kind, name=event.subject, detail=event.detail)
            await self.store.commit((), (event,), now)

    async def _known(self, key: str) -> Identity:
        if not self._act.in_doubt:
            identity = enrolment.known(self.book, key)
            if identity.state is KeyState.ACTIVE:
                return identity
        async with self._act.held():
            change = enrolment.confirmed(self.book, key, self.clock.wall())
            await self._commit(change)
        self._end_revoked(change)
        return enrolment.known(self.book, key)

    async def join(self, by: Principal, message: messages.Join) -> messages.Credentials:
        """Join the key of a request to the farm. Raises UsageError, Unauthorised, StorageUnavailable."""
        now, shown = self.clock.wall(), message.token
        if self.codes is not None:
            shown = self.codes.shown(shown, self.signer.fingerprints(now))
        token = token_digest(shown)
        used = token in self.book.invitations
        mailed = await self.codes.invitation(by, shown, used=used) if self.codes is not None else None
        if mailed is not None and not used:
            self.book.take((mailed,))  # it becomes a row when it is used
        # What nobody made is refused before anything is signed, which takes as long as a handshake.
        invitation = enrolment.invitation_of(self.book, token)
        enrolment.check_role(invitation, message.roles)
        signed = self.signer.sign(message.request, invitation.name, now)
        async with self._act.held():
            identity = await self._joined(by, token, signed, now)
        if self.codes is not None:
            await self.codes.used(token)
        log.info(
            "{name} joined as {role} from {address}, with key {key}",
            name=identity.name, role=identity.role.value, address=by.address or "here", key=identity.key[:16],
        )  # fmt: skip
        return self._credentials(identity)

    async def _joined(self, by: Principal, token: str, signed: Signed, now: float) -> Identity:
        try:
            identity, change = enrolment.joined(
                self.book, token, signed.key, signed.certificate, signed.expires, self.life, now
            )
        except errors.Unauthorised:
            again = enrolment.refused_twice(self.book, token, signed.key, by.address, now)
            for told in again.happened:
                log.warn("{what}: {name} {detail}", what=told.kind, name=told.subject, detail=told.detail)
            await self._commit(again)
            raise
        await self._commit(change)
        return identity

    async def renew(self, by: Principal, _message: messages.Renew) -> messages.Credentials:
        """Make the next certificate of the caller's key. Raises Unauthorised, StorageUnavailable."""
        now = self.clock.wall()
        async with self._act.held():
            identity = enrolment.known(self.book, by.key)
            signed = self.signer.renew(identity.certificate, identity.name, now)
            try:
                change = enrolment.renewed(
                    self.book, by.key, signed.certificate, signed.expires, self.rejoin_within(), now
                )
            except errors.Unauthorised as error:
                await self._refused(by, by.key, str(error))
                raise
            await self._commit(change)
        return self._credentials(enrolment.known(self.book, by.key))

    async def leave(self, by: Principal, _message: messages.Leave) -> Ok:
        """Revoke the caller's own key: its connections end, this one too. Raises Unauthorised, StorageUnavailable."""
        async with self._act.held():
            change = enrolment.left(self.book, by.key, self.clock.wall())
            await self._commit(change)
        self._end_revoked(change)
        return Ok()

    def _credentials(self, identity: Identity) -> messages.Credentials:
        now = self.clock.wall()
        return messages.Credentials(
            identity.name, identity.role.value, identity.certificate, identity.expires, self.signer.authorities(now),
            identity.owner, now,
        )  # fmt: skip

    # --- operator -----------------------------------------------------------------------------------------

    async def invite(self, by: Principal, message: messages.InviteOne) -> messages.InvitationLine:
        """Return the line that joins. Raises UsageError for what cannot be, StorageUnavailable."""
        asked = _understood(message)
        token, now = self.new_token(), self.clock.wall()
        async with self._act.held():
            change = enrolment.invited(self.book, asked, token_digest(token), self.life, by.name, now)
            await self._commit(change)
        line = JoinLine(tuple(self.addresses()), self.signer.fingerprint, token)
        voided = max((row.expires for row in change.rows if isinstance(row, Invitation) and row.void), default=0.0)
        return messages.InvitationLine(str(line), now + asked.lasts, voided)

    async def revoke(self, by: Principal, message: messages.RevokeOne) -> ActionResult:
        """Revoke every key of a name: its connections end at once, and it never comes back. Raises NotFound."""
        async with self._act.held():
            change = enrolment.revoked(self.book, message.name, message.reason, by.name, self.clock.wall())
            await self._commit(change)
        gone = self._end_revoked(change)
        ended = sum(isinstance(row, Identity) or bool(row.void) for row in change.rows)
        keys = "1 key" if gone == 1 else f"{gone} keys"
        roles = dict.fromkeys(row.role.value for row in change.rows if isinstance(row, Identity))
        if len(roles) > 1:
            keys += f": {', '.join(roles)}"
        words = f"{message.name} is revoked ({keys}): it is no longer connected, and its key never comes back"
        void = dict.fromkeys(row.role.value for row in change.rows if isinstance(row, Invitation) and row.void)
        if void:
            words += f"; the invitation of that name as {', '.join(void)} is void too"
        if not gone:
            words = f"the invitation of {message.name} is void"
        if not ended:
            words = f"{message.name} has no key any more: that its invitation was shown again is not told any longer"
        return ActionResult((words,), count=ended)

    async def rotate(self, by: Principal, _message: messages.RotateAuthority) -> ActionResult:
        """Make a new authority, to which every key moves at its next renewal. Raises UsageError, StorageUnavailable."""
        async with self._act.held():
            now, old = self.clock.wall(), self.signer.fingerprint
            event = AuditEvent("authority-rotated", "farm", f"by {by.name}: {old[:16]} signs no more")
            await self.store.commit((), (event,), now)
            await self.signer.rotate(now)
        until = moment_words(self.clock.wall() + self.rejoin_within())
        count = sum(one.state is not KeyState.REVOKED for one in self.book.keys.values())
        return ActionResult(
            (
                f"the farm has a new authority, sha256:{self.signer.fingerprint}",
                f"the old one, sha256:{old}, is believed until {until}, and so long its lines to join with hold",
                f"{count} of its keys move over at their next renewal: bin/metaserver list shows which have not yet",
            ),
            count=count,
        )

    def problems(self) -> tuple[str, ...]:
        """Return a line for each invitation that more than one had, until an operator acts on its name."""
        return tuple(
            f"the invitation of {one.name} was shown again with another key, from {one.shown_from or 'here'} at "
            f"{moment_words(one.shown_again)}: somebody else has the line; if the first key is not the right one, "
            f"bin/metaserver revoke {one.name} ends it"
            for one in enrolment.shown_again(self.book)
        )

    async def identities(self, _by: Principal, message: messages.AskIdentities) -> messages.Identities:
        """Return who is known and who is invited, by name."""
        found = [
            messages.ListedIdentity(
                one.name,
                one.role.value,
                one.state.value,
                one.key,
                one.since,
                one.expires,
                one.owner,
                one.by,
                one.reason,
                one.state is not KeyState.REVOKED and not self.signer.is_current(one.certificate),
            )
            for one in self.book.keys.values()
            if one.name > message.after
        ]
        found += [
            messages.ListedIdentity(
                one.name,
                one.role.value,
                "void" if one.void else "invited",
                "",
                one.made,
                one.expires,
                one.owner,
                one.by,
                one.void,
            )
            for one in self.book.invitations.values()
            if not one.key and one.name > message.after and one.expires > self.clock.wall()
        ]
        found.sort(key=lambda one: (one.name, one.since))
        page = found[: messages.LISTED]
        while len(page) < len(found) and page and page[-1].name == found[len(page)].name:
            page.pop()  # all of one name stand on one page, since the next begins after a name
        return messages.Identities(tuple(page), more=len(page) < len(found))

    # --- committed, taken over, told ------------------------------------------------------------------------

    async def _read_anew(self) -> None:
        fresh = Book()
        fresh.take(await self.store.accounts())
        self.book = fresh

    async def _commit(self, change: Change) -> None:
        if change.rows or change.happened:
            now = self.clock.wall()
            if burnt := burnt_in(change.rows, now):
                await self.burnt.append(burnt)
            try:
                with self._act.committing():
                    await self.store.commit(change.rows, change.happened, now)
            except errors.StorageUnavailable:
                # It may have taken effect all the same: who comes back is looked up in what is stored.
                self._end_revoked(change)
                raise
            self.book.take(change.rows)

    def _end_revoked(self, change: Change) -> int:
        gone = [row for row in change.rows if isinstance(row, Identity) and row.state is KeyState.REVOKED]
        for one in gone:
            self.ended(one.key, f"the key of {one.name} was revoked: {one.reason}")
        return len(gone)


async def open_accounts(service: AccountService) -> AccountService:
    """Return the service with all that the database has, and what was burnt outside of it.

    Invitations of an earlier life are void from now on. Raises StorageUnavailable.
    """
    snapshot = await service.store.accounts()
    service.book.take(snapshot)
    now, again = service.clock.wall(), reapplied(service.book, await service.burnt.read())
    if again.rows:
        log.warn("{count} keys and invitations are burnt that the database did not know as such", count=len(again.rows))
        await service.store.commit(again.rows, again.happened, now)
        service.book.take(again.rows)
    void = enrolment.void_all(service.book, service.life)
    if void:
        told = AuditEvent("invitations-void", "restored", f"{len(void)} made before the metaserver was restored")
        await service.store.commit(void, (told,), now)
        service.book.take(void)
    return service


def _understood(message: messages.InviteOne) -> Invite:
    """Return what is asked for. Raises UsageError, which says what would be right."""
    if not is_server_name(message.name):
        raise errors.UsageError(f"{message.name[:80]!r} is no name: {SERVER_NAME_WORDS}")
    role = _ROLES.get(message.role)
    if role is None:
        raise errors.UsageError(
            f"there is no role {message.role[:40]!r}: there are {', '.join(_ROLES)}{meant(message.role, _ROLES)}"
        )
    if not (math.isfinite(message.lasts) and 1 <= message.lasts <= LONGEST):
        raise errors.UsageError("an invitation lasts from one second to a year")
    owner = valid_address(message.owner) if message.owner else ""
    if role is PrincipalRole.REQUESTER and not owner:
        raise errors.UsageError("a requester is invited with an e-mail address (--owner): builds are theirs by it")
    platforms = tuple(dict.fromkeys(map(known_platform, message.platforms)))
    return Invite(message.name, role, message.lasts, owner, message.replaces, Scope(message.projects, platforms))
