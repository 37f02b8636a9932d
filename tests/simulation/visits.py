"""A witness of tokens and sessions: whose they are, whether they hold, and by what they were had.

It is pure: it is told what was committed, what visitors ask for and what they are answered, and keeps all of that by
itself. Whose key is whose it asks ``trust``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
from attrs import define, field

from buildtool.errors import StorageUnavailable
from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import KeyState, token_digest
from buildtool.model.access.tokens import LONGEST, Token, TokenKind
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.acts import ACT_OF
from buildtool.protocol.enrolment import RevokeOne
from buildtool.protocol.pages.visiting import AskSignIn, AskVisitor, EndToken, MakeToken, SignedIn, SignIn, SignOut
from tests.simulation.clock import Life
from tests.simulation.trust import GRACE, Trust

BROWSER_WAITS = 1_800.0
"""Seconds within which a browser is signed in by the link that it asked for."""

BELIEVED = 10.0
"""Seconds for which pages may believe who shows a secret."""

ENDING = (EndToken, SignOut, RevokeOne)
"""What ends tokens: where it fails they may have ended or not."""


@define(eq=False)
class Making:
    """Something that a visitor asks a life of the metaserver for, since when in wall time: by whom, by which token."""

    message: attrs.AttrsInstance
    of: Life
    began: float
    by: Principal | None = None
    shown: str = ""


@define(eq=False)
class Visits:
    """All tokens and sessions, as they were committed, and what was wrong about them. ``wrong`` takes a violation."""

    wrong: Callable[[str], None]
    trust: Trust
    tokens: dict[str, Token] = field(factory=dict)
    ended: dict[str, float] = field(factory=dict)
    signed_in: int = 0
    _made_with: dict[str, str] = field(factory=dict)
    _making: list[Making] = field(factory=list)
    _codes: dict[str, tuple[str, float]] = field(factory=dict)
    _used: dict[str, str] = field(factory=dict)
    _browsers: dict[tuple[str, str], float] = field(factory=dict)
    _doubtful: set[str] = field(factory=set)

    def _check(self, holds: object, what: str) -> None:
        if not holds:
            self.wrong(what)

    def restarted(self) -> None:
        """Another life of the metaserver begins: it goes by what is committed, and no browser waits there."""
        self._doubtful.clear()
        self._browsers.clear()

    # --- what is committed -------------------------------------------------------------------------------------

    def committed(self, rows: Sequence[Any]) -> None:
        """Take rows that were committed."""
        for row in rows:
            if type(row) is MailAddress:
                _, before = self._codes.get(row.code, ("", 0.0))
                self._codes[row.code] = row.email, max(before, row.expires)
            elif type(row) is Token and row.ended:
                self.ended.setdefault(row.digest, self.trust.now())
        for row in rows:
            if type(row) is Token and not row.ended:
                self._check(row.digest not in self.tokens, f"{_words(row)} is made a second time")
                self.tokens[row.digest] = row
                self._check_made(row)

    def _check_made(self, row: Token) -> None:
        what = f"{_words(row)} was made"
        self._check(row.life == self.trust.life, f"{what} for another life of the metaserver")
        self._check(row.made < row.expires <= row.made + LONGEST, f"{what}, and holds too long")
        kind = MakeToken if row.kind is TokenKind.KEPT else SignIn
        asked = [
            one for one in self._making if isinstance(one.message, kind) and not one.of.ended and self._is(one, row)
        ]
        if not asked:
            self.wrong(f"{what}, which nobody asked for")
            return
        sound = [one for one in asked if not self._over(one.shown)]
        self._check(sound, f"{what} with a token that had ended: {self._over(asked[0].shown)}")
        with_it = self._made_with[row.digest] = (sound or asked)[0].shown
        while with_it and self.tokens[with_it].kind is TokenKind.SESSION:
            with_it = self._made_with.get(with_it, "")
        self._check(not with_it or row.expires <= self.tokens[with_it].expires, f"{what}, and outlives {with_it[:8]}")
        self._check_identity(row, what)

    def _is(self, asked: Making, row: Token) -> bool:
        """Return whether a token may be what somebody asks for."""
        by = asked.by
        if by is not None:
            narrow = not by.limits.acts or bool(row.acts and set(row.acts) <= set(by.limits.acts))
            return narrow and (by.key, by.role, by.name, by.owner) == (row.key, row.role, row.name, row.owner)
        if asked.shown:
            shown = self.tokens.get(asked.shown)
            return shown is not None and (shown.key, shown.name, shown.acts) == (row.key, row.name, row.acts)
        assert isinstance(asked.message, SignIn)
        email, _ = self._codes.get(token_digest(asked.message.code), ("", 0.0))
        return (row.key, row.role, row.name, row.owner) == ("", PrincipalRole.REQUESTER, email, email)

    def _over(self, digest: str) -> str:
        """Return the token that had ended among one and those that it was made with, "" where none has."""
        while digest:
            if digest in self.ended:
                return digest[:8]
            token = self.tokens[digest]
            before = self._made_with.get(digest, "")
            if token.kind is TokenKind.SESSION and not before:
                return ""
            digest = before
            # What is made in a session goes on when that is signed out, and ends with what that was made with.
            while digest and self.tokens[digest].kind is TokenKind.SESSION:
                digest = self._made_with.get(digest, "")
        return ""

    # --- what visitors ask for ---------------------------------------------------------------------------------

    @contextmanager
    def asking(self, message: attrs.AttrsInstance, of: Life, by: Principal | None = None) -> Iterator[Making]:
        """Look at what a visitor asks a life of the metaserver for, ``by`` whom where that is known."""
        shown = by.token if by is not None else ""
        if isinstance(message, SignIn) and message.token and not message.code:
            shown = token_digest(message.token)
        making = Making(message, of, self.trust.wall(), by, shown)
        self._making.append(making)
        ending = self._meant(message, by)
        try:
            yield making
            left = ending & self.holding()
            self._check(not left, f"{type(message).__name__} was done, and {len(left)} of what it ends go on")
        except StorageUnavailable:
            if isinstance(message, (*ENDING, SignIn)):
                self._doubtful |= self.holding()
            raise
        finally:
            self._making.remove(making)

    def _meant(self, message: attrs.AttrsInstance, by: Principal | None) -> set[str]:
        """Return the tokens that end by what is asked for, of those that hold now."""
        there = (self.tokens[digest] for digest in self.holding())
        now = [one for one in there if not self.fault(one)]
        match message:
            case RevokeOne():
                return {one.digest for one in now if message.name in (one.name, one.owner)}
            case SignOut():
                return {token_digest(message.token)} & {one.digest for one in now if one.kind is TokenKind.SESSION}
            case EndToken() if message.id:
                return {one.digest for one in now if one.id == message.id}
            case EndToken() if by is not None:
                whose = (by.key, "" if by.key else by.name)
                return {one.digest for one in now if (one.key, "" if one.key else one.name) == whose}
            case _:
                return set()

    def answered(self, making: Making, answer: Any) -> None:
        """Somebody is about to be told what came of what they asked for."""
        match making.message:
            case SignIn():
                self._welcomed(making, making.message, answer)
            case AskSignIn():
                self._browsers[making.message.email, making.message.browser] = self.trust.wall()
            case AskVisitor():
                self.shows(token_digest(making.message.token), answer.name, f"{answer.name} is known")

    def acting(self, by: Principal, message: attrs.AttrsInstance) -> None:
        """An act of who has shown a token begins."""
        what = f"{by.role.value} {by.name} does {type(message).__name__}"
        self.shows(by.token, by.name, what)
        token = self.tokens.get(by.token)
        if token is None:
            return
        said = (by.role, by.owner, by.key, by.limits.acts)
        self._check(said == (token.role, token.owner, token.key, token.acts), f"{what} as another than {_words(token)}")
        word = ACT_OF[type(message)].word
        harmless = type(message) is EndToken or not token.acts
        self._check(harmless or word in token.acts, f"{what}, and its token is for {token.acts} only")
        self._check(not by.trusted, f"{what}, and is believed though they showed a token")

    def shows(self, digest: str, name: str, what: str) -> None:
        """Somebody is taken for ``name`` by a token."""
        token = self.tokens.get(digest)
        if token is None:
            self.wrong(f"{what} by a token that is not committed")
            return
        fault = self.fault(token)
        self._check(not fault, f"{what} by {_words(token)}: {fault}")
        self._check(token.name == name, f"{what} by {_words(token)}, as {name}")

    def fault(self, token: Token) -> str:
        """Return why a token does not hold now, "" where it does."""
        if over := self._over(token.digest):
            return f"{over} has ended"
        if self.trust.wall() >= token.expires:
            return f"it expired {self.trust.wall() - token.expires:.0f} s ago"
        if token.life != self.trust.life:
            return f"it is of {token.life}"
        return self._fault_of_key(token)

    def _fault_of_key(self, token: Token) -> str:
        identity = self.trust.keys.get(token.key)
        if not token.key:
            return ""
        if identity is None:
            return "nobody has its key"
        if identity.state is not KeyState.REVOKED:
            return ""
        since = self.trust.since_revoked(token.key)
        return "" if since < GRACE else f"its key was revoked {since:.1f} s ago"

    def _check_identity(self, row: Token, what: str) -> None:
        identity = self.trust.keys.get(row.key)
        if not row.key:
            return
        if identity is None:
            self.wrong(f"{what} for a key that nobody has")
            return
        same = (identity.name, identity.role, identity.owner) == (row.name, row.role, row.owner)
        self._check(same, f"{what} for the key of {identity.name}")

    def refused(self, text: str, whose: str, why: str) -> None:
        """Somebody was refused with a token that they were told: it must not hold."""
        token = self.tokens.get(token_digest(text))
        if token is None:
            self.wrong(f"{whose} was told a token that is not committed: {why}")
        elif token.digest not in self._doubtful and not self.fault(token) and not self._is_revoked(token):
            self.wrong(f"{whose} is refused with {_words(token)}, which holds: {why}")

    def _is_revoked(self, token: Token) -> bool:
        identity = self.trust.keys.get(token.key)
        return identity is not None and identity.state is not KeyState.ACTIVE

    def believed(self, digest: str, name: str, since: float) -> None:
        """Pages take somebody for ``name`` by a token; they asked, if they did, at ``since``."""
        token, now = self.tokens.get(digest), self.trust.now()
        if token is None:
            self.wrong(f"pages believe a token of {name} that is not committed")
            return
        self._check(token.name == name, f"pages take for {name} who shows {_words(token)}")
        ended = self.ended.get(digest, now)
        late = min(since, now) - ended
        self._check(late < BELIEVED + GRACE, f"pages believe {_words(token)}, which ended {late:.0f} s before")

    # --- mailed links ------------------------------------------------------------------------------------------

    def _welcomed(self, making: Making, message: SignIn, told: SignedIn) -> None:
        self.signed_in += 1
        row = self.tokens.get(token_digest(told.session))
        if row is None:
            self.wrong(f"{told.name} was told of a session that is not committed")
            return
        self._check(row.name == told.name, f"{told.name} was told of {_words(row)}")
        if not message.code:
            return
        code = token_digest(message.code)
        email, expires = self._codes.get(code, ("", 0.0))
        what = f"{told.name} signed in by a code"
        self._check(email == told.name, f"{what} that was mailed to {email or 'nobody'}")
        self._check(making.began < expires, f"{what} that had expired {making.began - expires:.0f} s before")
        asked = self._browsers.get((email, message.browser))
        if asked is None:
            self.wrong(f"{what} in another browser than asked for it")
        else:
            late = making.began - asked
            self._check(late < BROWSER_WAITS, f"{what} {late:.0f} s after that browser had asked for it")
        before = self._used.setdefault(code, row.digest)
        self._check(before == row.digest, f"{what} that had been used before")

    # --- at rest -----------------------------------------------------------------------------------------------

    def holding(self) -> set[str]:
        """Return the tokens that are committed and have not ended."""
        return self.tokens.keys() - self.ended.keys()


def _words(row: Token) -> str:
    return f"the {row.kind.value} {row.digest[:8]} of {row.name}"
