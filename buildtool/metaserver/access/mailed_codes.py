"""Codes by mail: they confirm an address, and give whoever reads its mail a key.

The decisions are in ``model.access.confirmation``. Here they are committed together with the mail, taken over, and then
told. A code that is shown when joining is the invitation of a requester whose owner is that address, so that keys by
mail are keys as all others are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from attrs import Factory, define, field

from buildtool import errors
from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.access.one_act import OneAct
from buildtool.model.access import confirmation
from buildtool.model.access.ceilings import Counted
from buildtool.model.access.confirmation import AddressBook, MailAddress, mail_code, read_code
from buildtool.model.access.enrolment import BY_MAIL
from buildtool.model.access.identities import Invitation, token_digest
from buildtool.model.addresses import valid_address
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AuditEvent, Mail, RequestState
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import BrokerStore, Handlers, Notifier
from buildtool.protocol import enrolment as messages
from buildtool.scheduling.allowances import Allowances, counting

"""Who invited whoever joined by a code."""

_NAMED = 40


def _anybody(_email: str) -> bool:
    return True


def _nobody(_email: str) -> Awaitable[None]:
    raise errors.InternalError("nothing waits for addresses to be confirmed yet")


@define(eq=False)
class MailedCodes:
    """The codes of a metaserver whose incarnation is ``life``, derived from its ``secret``. Made by ``open_codes``.

    ``seconds`` is the time by which limits are counted. ``released`` is called with an address that was confirmed just
    now, and admits what waits for that. ``wanted_by`` returns whether an address takes codes.
    """

    configuration: CurrentConfiguration
    store: BrokerStore
    clock: Clock
    seconds: Callable[[], float]
    notifier: Notifier
    allowances: Allowances
    secret: bytes = field(repr=False)
    life: str
    released: Callable[[str], Awaitable[None]] = _nobody
    wanted_by: Callable[[str], bool] = _anybody
    book: AddressBook = field(factory=AddressBook)
    _act: OneAct = field(default=Factory(lambda self: OneAct(self._read_anew), takes_self=True), init=False)

    @property
    def handlers(self) -> Handlers:
        """What a peer without a key may ask."""
        return {messages.AskCode: self.ask, messages.ShowCode: self.show}

    def believes(self, by: Principal, email: str) -> bool:
        """Return whether mail may go to an address that a caller names: it is known, or theirs by their key."""
        settings = self.configuration.settings
        return (
            not settings.needs_keys
            or by.role in {PrincipalRole.OPERATOR, PrincipalRole.TRIGGER}
            or by.owner == email
            or settings.confirmed.has(email)
            or self.book.is_confirmed(email)
        )

    async def ask(self, by: Principal, message: messages.AskCode) -> messages.CodeMailed:
        """Send a code by mail that gives its reader a key. Raises UsageError, Unauthorised, LimitReached."""
        email, settings = valid_address(message.email), self.configuration.settings
        if not settings.logins.has(email):
            raise errors.Unauthorised(
                f"this metaserver gives no key by mail to {email}: ask its operator for an invitation"
            )
        return await self.want(by, email)

    async def want(self, by: Principal, email: str) -> messages.CodeMailed:
        """Send a code to an address by mail, unless one was sent that still holds. Raises UsageError, LimitReached."""
        settings, whom = self.configuration.settings, counting(by, email)
        if settings.mail is None:
            raise errors.UsageError(
                f"{email} was never confirmed here, and this metaserver sends no mail to confirm it: "
                "ask its operator for an invitation"
            )
        self.allowances.spend(Counted.CODES, whom, self.seconds())
        if not self.wanted_by(email):
            raise errors.UsageError(
                f"{email} has ended mails with codes: the link in the last one, End mails like this one, has them again"
            )
        async with self._act.held():
            now = self.clock.wall()
            known = settings.confirmed.has(email)
            row, mails = confirmation.wanted(self.book, email, self.secret, now, known=known)
            if mails:
                key = f"{self.life}:code:{row.mailed_at!r}:{email}"
                purpose = "confirm" if row.expires - row.mailed_at > confirmation.CODE_LIFE else "login"
                mail = Mail(
                    key, email, None, (), RequestState.WAITING, row.mailed_at, asker=by.address, purpose=purpose
                )
                told = AuditEvent("code-mailed", email, f"asked for from {by.address or 'here'}")
                await self._commit(row, now, told, mail)
            elif row != self.book.of.get(email):
                await self._commit(row, now)
        if mails:
            self.notifier.nudge()
        return messages.CodeMailed(email, row.mailed_at, row.expires, fresh=mails)

    async def show(self, by: Principal, message: messages.ShowCode) -> messages.AddressShown:
        """Confirm the address that a code was mailed to. Raises Unauthorised, LimitReached."""
        row = await self._shown(by, message.code)
        await self._confirm(row, used=False)
        return messages.AddressShown(row.email)

    def shown(self, token: str, authorities: Iterable[str]) -> str:
        """Return the code of which a token is the proof, for one of these authorities; any other token as it is."""
        return confirmation.code_shown(self.book, self.secret, token, authorities)

    async def invitation(self, by: Principal, code: str, *, used: bool) -> Invitation | None:
        """Return what a code invites to become, None for what is no code, or was ``used`` already.

        Raises Unauthorised for a code that does not hold, LimitReached for too many of them.
        """
        if len(code) > len(mail_code(b"", "", 0.0)):
            return None  # the token of an invitation
        row = self.book.shown(token_digest(read_code(code)), self.clock.wall())
        if row is None:
            if used:
                return None
            raise self._wrong(by)
        if not self.configuration.settings.logins.has(row.email):
            return None
        name = "".join(one for one in row.email.partition("@")[0] if one.isalnum())[:_NAMED] or "somebody"
        return Invitation(
            row.code, f"{name}-{row.code[:8]}", PrincipalRole.REQUESTER, row.mailed_at, row.expires, self.life,
            row.email, BY_MAIL,
        )  # fmt: skip

    async def used(self, token: str) -> None:
        """Take in that a code gave a key: its address is confirmed, and it gives no other."""
        row = self.book.shown(token, self.clock.wall())
        if row is not None:
            await self._confirm(row, used=True)

    def address_of(self, by: Principal, code: str) -> tuple[str, str]:
        """Return the address that a code was mailed to, and the digest of the code. Raises Unauthorised, LimitReached.

        Nothing is confirmed or used by that.
        """
        digest = token_digest(read_code(code))
        row = self.book.shown(digest, self.clock.wall())
        if row is None:
            raise self._wrong(by)
        return row.email, digest

    async def _shown(self, by: Principal, code: str) -> MailAddress:
        row = self.book.shown(token_digest(read_code(code)), self.clock.wall())
        if row is None:
            raise self._wrong(by)
        return row

    def _wrong(self, by: Principal) -> errors.Unauthorised:
        """Return what a caller is told who shows a code that does not hold. Raises LimitReached after a few."""
        self.allowances.spend(Counted.CODES, counting(by), self.seconds())
        return errors.Unauthorised(
            "this code is none that was mailed lately, or it has expired, or was used: ask for a new one"
        )

    async def _confirm(self, shown: MailAddress, *, used: bool) -> None:
        async with self._act.held():
            now = self.clock.wall()
            row = self.book.of.get(shown.email, shown)
            changed = confirmation.confirmed(row, now, used=used)
            if changed != row:
                told = () if row.confirmed_at else (AuditEvent("address-confirmed", row.email, "by its code"),)
                await self._commit(changed, now, *told)
        await self.released(shown.email)

    async def _read_anew(self) -> None:
        self.book = await self.read()

    async def read(self) -> AddressBook:
        """Return what the database has; codes of another life of the metaserver are void. Raises StorageUnavailable."""
        book = AddressBook()
        rows = await self.store.addresses()
        book.take([confirmation.of_this_life(row, self.secret) for row in rows], self.clock.wall())
        return book

    async def _commit(self, row: MailAddress, now: float, *what: AuditEvent | Mail) -> None:
        mails = [one for one in what if isinstance(one, Mail)]
        with self._act.committing():
            await self.store.commit((row, *mails), [one for one in what if isinstance(one, AuditEvent)], now)
        self.book.take((row,), now)


async def open_codes(codes: MailedCodes) -> MailedCodes:
    """Return the codes with all addresses that the database has. Raises StorageUnavailable."""
    codes.book = await codes.read()
    return codes
