"""Tokens and sessions: made, listed, ended, and found out whose they are, one act after the other.

The decisions are in ``model.access.tokens``. Here they are committed, taken over and told, in this order. The book is
in memory, so that who somebody is costs no question to the database.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Sequence

from attrs import Factory, define, field
from twisted.logger import Logger

from buildtool import errors
from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.access.mailed_codes import MailedCodes
from buildtool.metaserver.access.one_act import OneAct
from buildtool.model.access import tokens
from buildtool.model.access.identities import Identity, token_digest
from buildtool.model.access.rights import Act, Subject
from buildtool.model.access.tokens import ID, TOKEN_PREFIX, Token, TokenBook, TokenKind, TokenWish
from buildtool.model.addresses import valid_address
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import AuditEvent
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import BrokerStore, Handlers
from buildtool.protocol.enrolment import CodeMailed, RevokeOne
from buildtool.protocol.messages import Ok
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.pages import visiting as messages

log = Logger()

BROWSERS = 10_000
"""Most browsers that are remembered to wait for a mailed code."""

BROWSER_WAITS = 1_800.0
"""Seconds for which a browser may be signed in by the code that it asked for."""


@define(eq=False)
class WaitingBrowsers:
    """The browsers that have asked for a code by mail lately, by the address and the digest of their secret."""

    _asked: dict[tuple[str, str], float] = field(factory=dict, init=False)

    def asks(self, email: str, browser: str, now: float) -> None:
        """Take in that a browser asks for a code at ``now``, in seconds of wall time."""
        self._asked.pop((email, token_digest(browser)), None)
        while len(self._asked) >= BROWSERS:
            del self._asked[next(iter(self._asked))]
        self._asked[email, token_digest(browser)] = now

    def is_one(self, email: str, browser: str, now: float) -> bool:
        """Return whether a browser asked for the code to an address, at ``now`` in seconds of wall time."""
        at = self._asked.get((email, token_digest(browser)))
        return at is not None and 0 <= now - at < BROWSER_WAITS

    def done(self, email: str) -> None:
        """Forget the browsers that wait for a code to an address, which was used."""
        for key in [key for key in self._asked if key[0] == email]:
            del self._asked[key]


@define(eq=False)
class TokenService:
    """A service over the tokens of a metaserver whose incarnation is ``life``. Made by ``open_tokens``.

    ``secret`` signs sessions, ``new_secret`` makes random texts. ``known`` returns whose key it is. ``codes``
    are those by mail, where keys are needed.
    """

    configuration: CurrentConfiguration
    store: BrokerStore
    clock: Clock
    life: str
    secret: bytes = field(repr=False)
    new_secret: Callable[[], str]
    known: Callable[[str], Identity | None]
    codes: MailedCodes | None = None
    book: TokenBook = field(factory=TokenBook)
    waiting: WaitingBrowsers = field(factory=WaitingBrowsers)
    _act: OneAct = field(default=Factory(lambda self: OneAct(self._read_anew), takes_self=True), init=False)

    @property
    def handlers(self) -> Handlers:
        """What people may ask about their tokens."""
        return {messages.MakeToken: self.make, messages.AskTokens: self.list, messages.EndToken: self.end}

    def bearer(self, text: str, stranger: Principal) -> Principal:
        """Return who shows a token or a session. Raises Unauthorised, also where rows may differ from memory.

        ``stranger`` is who they were before.
        """
        tokens.check_signed(self.secret, text)
        digest = token_digest(text)
        identity = self.known(tokens.key_of(self.book, digest))
        return tokens.bearer(self.book, digest, identity, stranger, self.clock.wall())

    # --- people -------------------------------------------------------------------------------------------

    async def make(self, by: Principal, message: messages.MakeToken) -> messages.TokenMade:
        """Make a token of the caller's. Raises UsageError, Unauthorised, StorageUnavailable."""
        if not math.isfinite(message.lasts):
            raise errors.UsageError("a token holds from one second to a year")
        rights = self.configuration.settings.rights
        self._check(by)
        wish = TokenWish(message.label, message.lasts, tokens.read_acts(message.acts, rights))
        text = TOKEN_PREFIX + self.new_secret()
        async with self._act.held():
            self._check_holds(by)
            row = tokens.made(self.book, by, wish, token_digest(text), self.life, self.clock.wall())
            limited = f", for {', '.join(row.acts)} only" if row.acts else ""
            await self._commit((row,), AuditEvent("token-made", row.name, f"{row.id} ({row.label}){limited}"))
        return messages.TokenMade(text, row.id, row.expires)

    async def list(self, by: Principal, message: messages.AskTokens) -> messages.TokenList:
        """Return the tokens of the caller, or, for an operator, of a name. Raises Unauthorised."""
        self._check(by)
        others = message.name and message.name.lower() not in (by.name.lower(), by.owner.lower())
        if others and by.role is not PrincipalRole.OPERATOR:
            raise errors.Unauthorised("whose tokens others are, only operators see")
        now = self.clock.wall()
        held = tokens.of_name(self.book, message.name) if others else self.book.held_by(by)
        found = [one for one in held if one.expires > now]
        return messages.TokenList(
            tuple(_listed(one, by) for one in found[: messages.LISTED]), more=len(found) > messages.LISTED
        )

    async def end(self, by: Principal, message: messages.EndToken) -> ActionResult:
        """Revoke a token or session, or all of the caller's. Raises NotFound, Unauthorised, StorageUnavailable."""
        self._check(by)
        async with self._act.held():
            self._check_holds(by)
            which = [tokens.named(self.book, by, message.id)] if message.id else self.book.held_by(by)
            count = await self._end(which, by.name)
        what = f"token {message.id} is revoked" if message.id else "all your tokens and sessions are ended"
        return ActionResult((f"{what}: {count} in all",), changed=bool(count), count=count)

    def _check_holds(self, by: Principal) -> None:
        """Raise Unauthorised where the token that a caller showed has ended while they waited for their turn.

        What was made with it then would not end with it.
        """
        if by.token:
            identity = self.known(tokens.key_of(self.book, by.token))
            tokens.bearer(self.book, by.token, identity, by, self.clock.wall())

    def _check(self, by: Principal) -> None:
        owners = frozenset(filter(None, (by.name, by.owner)))
        self.configuration.settings.rights.check(by, Act.HOLD_TOKENS, Subject(owners))

    # --- pages, in the name of visitors ---------------------------------------------------------------------

    async def sign_in(self, stranger: Principal, message: messages.SignIn) -> messages.SignedIn:
        """Start a session, by token or by mailed code. Raises Unauthorised, LimitReached, StorageUnavailable."""
        by = await self._by_code(stranger, message) if message.code else self.bearer(message.token, stranger)
        text = tokens.signed(self.secret, self.new_secret())
        async with self._act.held():
            self._check_holds(by)
            now = self.clock.wall()
            rows = tokens.session_for(self.book, by, message.label, token_digest(text), self.life, now)
            how = "by a mailed code" if message.code else f"with token {by.token[:ID]}"
            told = AuditEvent("signed-in", by.name, f"{how}, from {stranger.address or 'here'}")
            await self._commit((*tokens.expired(self.book, self.life, now), *rows), told)
        return messages.SignedIn(text, by.name, by.role.value, rows[-1].expires)

    async def ask_sign_in(self, stranger: Principal, message: messages.AskSignIn) -> CodeMailed:
        """Send a code by mail that signs in the browser that asks. Raises UsageError, Unauthorised, LimitReached."""
        codes = self._codes()
        email = valid_address(message.email)
        if not self.configuration.settings.logins.has(email):
            raise errors.Unauthorised(f"nobody signs in here by mail as {email}: use a token, or ask the operator")
        told = await codes.want(stranger, email)
        self.waiting.asks(email, message.browser, self.clock.wall())
        return told

    async def sign_out(self, _stranger: Principal, message: messages.SignOut) -> Ok:
        """End the session that is shown, if there is one. Raises StorageUnavailable."""
        async with self._act.held():
            shown = self.book.of.get(token_digest(message.token))
            if shown is not None and shown.kind is TokenKind.SESSION:
                await self._end([shown], shown.name)
        return Ok()

    async def _by_code(self, stranger: Principal, message: messages.SignIn) -> Principal:
        codes = self._codes()
        email, digest = codes.address_of(stranger, message.code)
        if not message.browser or not self.waiting.is_one(email, message.browser, self.clock.wall()):
            raise errors.Unauthorised(
                "this link signs in the browser in which it was asked for, within half an hour: open it there"
            )
        if not self.configuration.settings.logins.has(email):
            raise errors.Unauthorised(f"nobody signs in here by mail as {email}: use a token, or ask the operator")
        self.waiting.done(email)  # at once: two that come together are not both signed in
        await codes.used(digest)
        return Principal(PrincipalRole.REQUESTER, email, stranger.address, owner=email)

    def _codes(self) -> MailedCodes:
        if self.codes is None:
            raise errors.Unauthorised("nobody signs in by mail here: whoever can connect is believed")
        return self.codes

    # --- operators ------------------------------------------------------------------------------------------

    def among(self, others: Handlers) -> Handlers:
        """Return handlers about tokens and others, of which what revokes the keys of a name ends its tokens too."""
        revoke = others.get(RevokeOne)

        async def revoke_all(by: Principal, message: RevokeOne) -> ActionResult:
            async with self._act.held():
                count = await self._end(tokens.of_name(self.book, message.name), by.name)
            if revoke is None and not count:
                raise errors.NotFound(f"nobody called {message.name} has a token here, and nobody has a key")
            words = (f"{count} tokens and sessions of {message.name} are ended",) if count else ()
            try:
                told = await revoke(by, message) if revoke is not None else ActionResult(())
            except errors.NotFound:
                if not count:
                    raise
                told = ActionResult(())
            return ActionResult((*told.words, *words), count=told.count if told.words else count)

        return {**others, **self.handlers, RevokeOne: revoke_all}

    # --- committed, taken over, told ------------------------------------------------------------------------

    async def _end(self, which: Sequence[Token], by: str) -> int:
        rows = tokens.ended(self.book, which)
        if rows:
            told = []
            for name in dict.fromkeys(one.name for one in rows):  # pages look again whom they show what
                ids = ", ".join([one.id for one in rows if one.name == name][:10])
                told.append(AuditEvent("token-ended", name, f"by {by}: {ids}"))
            await self._commit(rows, *told)
        return len(rows)

    async def _read_anew(self) -> None:
        self.book = await self.read()

    async def read(self) -> TokenBook:
        """Return what the database has of this life of the metaserver. Raises StorageUnavailable."""
        book = TokenBook()
        book.take(one for one in await self.store.tokens() if one.life == self.life)
        return book

    async def _commit(self, rows: Sequence[Token], *happened: AuditEvent) -> None:
        ending = [one for one in rows if one.ended]
        self.book.take(ending)  # first: what may have ended does not hold
        with self._act.committing():
            await self.store.commit(rows, happened, self.clock.wall())
        self.book.take(rows)


def _listed(one: Token, by: Principal) -> messages.ListedToken:
    return messages.ListedToken(
        one.id, one.kind.value, one.label, one.name, one.role.value, one.acts, one.made, one.expires,
        one.digest == by.token,
    )  # fmt: skip


async def open_tokens(service: TokenService) -> TokenService:
    """Return the service with all tokens that the database has of this life. Raises StorageUnavailable."""
    service.book = await service.read()
    return service


def session_secret(secret: bytes) -> bytes:
    """Return what signs sessions, derived from a secret of the metaserver's."""
    return hmac.new(secret, b"sessions", hashlib.sha256).digest()
