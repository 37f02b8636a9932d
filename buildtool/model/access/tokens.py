"""Tokens: secrets with which people and scripts act over HTTP, and the sessions of browsers that were signed in.

A token is one that its holder made, and shows with each request; a session is one that the metaserver made when
somebody signed in. Only the digest of either is kept. Times are wall time, in seconds. The caller commits the rows that
a decision returns, has the book ``take`` them, and only then tells.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from attrs import define, evolve, field, frozen

from buildtool.errors import NotFound, Unauthorised, UsageError
from buildtool.model.access.confirmation import Known
from buildtool.model.access.identities import Identity, KeyState
from buildtool.model.access.rights import Rights
from buildtool.model.access.visitors import holder_of
from buildtool.model.principal import UNLIMITED, Principal, PrincipalRole, Scope
from buildtool.model.servers import QuickEnum
from buildtool.model.text import one_line

DAY = 86_400.0

LONGEST = 366 * DAY
"""Seconds that a token may hold at most."""

SESSION_LIFE = 14 * DAY
"""Seconds for which a browser stays signed in."""

MOST = 100
"""Most tokens, and most sessions, that one holder has at once; of sessions the oldest ends for a new one."""

LABEL = 80
"""Most characters of what a holder calls a token."""

ID = 16
"""Characters of a digest by which its holder names a token."""

TOKEN_PREFIX, SESSION_PREFIX = "bt_", "bs_"

_WRONG = "this token is none that holds here: it has expired, was revoked, or is of another farm"


class TokenKind(QuickEnum):
    """The kind of a token: one that a holder made and keeps, or the session of a browser."""

    KEPT = "token"
    SESSION = "session"


@frozen
class Token:
    """One token, by the ``token_digest`` of its text, and whose it is.

    ``key`` is the key of the identity that it acts as, which says what it may; where that is empty it acts as ``role``,
    ``name`` and ``owner`` say. ``acts`` are the only ones that it may do, by their words, all where there are none.
    ``life`` is the metaserver's incarnation that it was made in. ``parent`` is the digest of the token that it was made
    with, with which it ends, or empty. One that has ``ended`` is deleted.
    """

    digest: str
    kind: TokenKind
    key: str
    role: PrincipalRole
    name: str
    owner: str
    label: str
    acts: tuple[str, ...]
    made: float
    expires: float
    life: str
    parent: str = ""
    ended: bool = False

    @property
    def id(self) -> str:
        """By what its holder names it."""
        return self.digest[:ID]


Access = Known | Token
"""Keys, invitations, mail addresses and tokens."""


@define(eq=False)
class TokenBook:
    """All tokens that hold, by digest."""

    of: dict[str, Token] = field(factory=dict)

    def take(self, rows: Iterable[Token]) -> None:
        """Take rows that were written."""
        for row in rows:
            if row.ended:
                self.of.pop(row.digest, None)
            else:
                self.of[row.digest] = row

    def held_by(self, by: Principal) -> list[Token]:
        """Return what belongs to a caller, the oldest first."""
        return sorted((one for one in self.of.values() if _is_of(one, by)), key=lambda one: (one.made, one.digest))


def _is_of(token: Token, by: Principal) -> bool:
    if by.key or token.key:
        return token.key == by.key
    return (token.role, token.name, token.owner) == (by.role, by.name, by.owner)


@frozen
class TokenWish:
    """A wish for a token: what its holder calls it, how many seconds it holds, and to which acts it is limited."""

    label: str
    lasts: float
    acts: tuple[str, ...] = ()


def made(book: TokenBook, by: Principal, wish: TokenWish, digest: str, life: str, now: float) -> Token:
    """Return a token of a caller's, which holds no longer than the one that it is made with.

    Raises UsageError for what cannot be, Unauthorised for more than they may do.
    """
    label = one_line(wish.label, LABEL)
    if not label:
        raise UsageError("say what the token is for: a word or two, by which you know it again")
    if not 1 <= wish.lasts <= LONGEST:
        raise UsageError("a token holds from one second to a year")
    if by.limits.acts and not set(wish.acts or by.limits.acts) <= set(by.limits.acts):
        raise Unauthorised(f"a token makes no other that may do more than itself: {', '.join(by.limits.acts)}")
    if sum(one.kind is TokenKind.KEPT for one in book.held_by(by)) >= MOST:
        raise UsageError(f"you have {MOST} tokens already: revoke one that is not used any more")
    if not by.name and not by.key:
        raise UsageError("no key says who you are: a token is made by who has a key, has signed in, or is the operator")
    parent = _parent(book, by.token)
    expires = min(now + wish.lasts, book.of[parent].expires) if parent in book.of else now + wish.lasts
    return Token(
        digest, TokenKind.KEPT, by.key, by.role, by.name, by.owner, label, wish.acts or by.limits.acts, now, expires,
        life, parent,
    )  # fmt: skip


def _parent(book: TokenBook, digest: str) -> str:
    """Return the token that something ends with which is made with one: a session's is what it was made with."""
    using = book.of.get(digest)
    return (using.parent if using.kind is TokenKind.SESSION else using.digest) if using is not None else ""


def session_for(book: TokenBook, by: Principal, label: str, digest: str, life: str, now: float) -> tuple[Token, ...]:
    """Return the rows of a new session of a caller's, and of the oldest where they have too many.

    It ends with the token that the caller has shown, if that is how they signed in.
    """
    held = [one for one in book.held_by(by) if one.kind is TokenKind.SESSION]
    shown = book.of.get(by.token)
    expires = min(now + SESSION_LIFE, shown.expires) if shown is not None else now + SESSION_LIFE
    fresh = Token(
        digest, TokenKind.SESSION, by.key, by.role, by.name, by.owner, one_line(label, LABEL), by.limits.acts, now,
        expires, life, _parent(book, by.token),
    )  # fmt: skip
    return (*(evolve(one, ended=True) for one in held[: max(0, len(held) - MOST + 1)]), fresh)


def ended(book: TokenBook, tokens: Iterable[Token]) -> tuple[Token, ...]:
    """Return the rows with which these end, and all that were made with them."""
    going = {one.digest for one in tokens}
    while more := {one.digest for one in book.of.values() if one.parent in going} - going:
        going |= more
    return tuple(evolve(one, ended=True) for one in book.of.values() if one.digest in going)


def named(book: TokenBook, by: Principal, token_id: str) -> Token:
    """Return a caller's token by its id; an operator's may be anybody's. Raises NotFound."""
    among = book.of.values() if by.role is PrincipalRole.OPERATOR else book.held_by(by)
    for one in among:
        if one.id == token_id:
            return one
    raise NotFound("you have no token of this id: list them")


def of_name(book: TokenBook, name: str) -> list[Token]:
    """Return every token of the holder of a name or an e-mail address."""
    return [one for one in book.of.values() if name and name.lower() in (one.name.lower(), one.owner.lower())]


def expired(book: TokenBook, life: str, now: float) -> tuple[Token, ...]:
    """Return the rows with which everything ends that holds no more at ``now``, or is of another life."""
    return tuple(evolve(one, ended=True) for one in book.of.values() if one.expires <= now or one.life != life)


def bearer(book: TokenBook, digest: str, identity: Identity | None, stranger: Principal, now: float) -> Principal:
    """Return who shows a token, by its digest; ``identity`` is that of its key. Raises Unauthorised.

    ``stranger`` is who they were before.
    """
    token = book.of.get(digest)
    if token is None or token.expires <= now:
        raise Unauthorised(_WRONG)
    if token.key:
        if identity is None or identity.key != token.key or identity.state is not KeyState.ACTIVE:
            raise Unauthorised(f"the key that this token is of was revoked: {token.name} has it no more")
        found = holder_of(identity, stranger)
    else:
        found = evolve(stranger, role=token.role, name=token.name, owner=token.owner, limits=UNLIMITED)
    limits = Scope(found.limits.projects, found.limits.platforms, token.acts)
    return evolve(found, limits=limits, token=digest, trusted=False)


def key_of(book: TokenBook, digest: str) -> str:
    """Return the key that a token is of, empty where it is of none."""
    token = book.of.get(digest)
    return token.key if token is not None else ""


def signed(secret: bytes, random: str) -> str:
    """Return the text of a session: a random id, and the metaserver's mark of it."""
    mark = hmac.new(secret, f"session.{random}".encode(), hashlib.sha256).hexdigest()[:32]
    return f"{SESSION_PREFIX}{random}.{mark}"


def check_signed(secret: bytes, text: str) -> None:
    """Raise Unauthorised for the text of a session that the metaserver has not made."""
    if text.startswith(SESSION_PREFIX):
        random = text.removeprefix(SESSION_PREFIX).rpartition(".")[0]
        if not hmac.compare_digest(signed(secret, random).encode(), text.encode("utf-8", "replace")):
            raise Unauthorised(_WRONG)


def read_acts(words: Iterable[str], rights: Rights) -> tuple[str, ...]:
    """Return acts in the one form of their words. Raises UsageError, which names what is near."""
    return tuple(dict.fromkeys(rights.act_named(one).word for one in words))
