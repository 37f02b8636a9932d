"""Whose mail address is believed, and when a code is mailed to one: decided on values, times are wall time in seconds.

An address is confirmed by whoever has its mail: they show the code that was mailed there. Until then it gets one mail a
day, whoever asks and from wherever. The caller commits the row that a decision returns, has the book ``take`` it, and
only then tells.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

from attrs import define, evolve, field, frozen

from buildtool.errors import LimitReached, UsageError
from buildtool.model.access.identities import Account, token_digest
from buildtool.model.addresses import valid_address

__all__ = [
    "ANYBODY",
    "NOBODY_KNOWN",
    "AddressBook",
    "MailAddress",
    "MailDomains",
    "code_shown",
    "confirmed",
    "mail_code",
    "proof_of",
    "read_code",
    "wanted",
]

DAY = 86_400.0

CODE_LIFE = 3_600.0
"""Seconds for which a code holds that was mailed to a confirmed address."""

LIVES = {"confirm": DAY, "login": CODE_LIFE}
"""For how many seconds the code of a mail holds, by what that mail is for (``Mail.purpose``)."""

UNCONFIRMED_MOST = 20_000
"""Most addresses that wait to be confirmed at once: each takes memory."""

_CODE_BYTES = 10


UNCONFIRMED = "unconfirmed"
"""What a Request is answered that waits until its e-mail address is confirmed."""


@frozen
class MailDomains:
    """A set of mail addresses and whole domains, or of all addresses."""

    everybody: bool = False
    addresses: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[object]) -> MailDomains:
        """Return what texts such as ``ann@example.org``, ``@example.org`` and ``*`` name. Raises UsageError."""
        addresses, domains, everybody = set[str](), set[str](), False
        for text in texts:
            if not isinstance(text, str):
                raise UsageError(f"{text!r:.60} is no text")
            if text == "*":
                everybody = True
            elif text.startswith("@"):
                domains.add(valid_address(f"anybody{text}").partition("@")[2])
            else:
                addresses.add(valid_address(text))
        return cls(everybody, frozenset(addresses), frozenset(domains))

    def has(self, email: str) -> bool:
        """Return whether an address in its canonical form is among them."""
        return self.everybody or email in self.addresses or email.rpartition("@")[2] in self.domains

    def __str__(self) -> str:
        if self.everybody:
            return "all addresses"
        return ", ".join((*sorted(self.addresses), *(f"@{one}" for one in sorted(self.domains)))) or "none"


ANYBODY, NOBODY_KNOWN = MailDomains(everybody=True), MailDomains()


@frozen
class MailAddress:
    """A mail address that a code was mailed to.

    ``mailed_at`` is when a code was mailed there last, and ``expires`` until when that holds; ``code`` is the
    ``token_digest`` of it. ``confirmed_at`` is when it was shown, 0 for never.
    """

    email: str
    mailed_at: float
    expires: float
    code: str
    confirmed_at: float = 0.0

    def forgotten(self, now: float) -> bool:
        """Return whether nothing needs to be known of it any more."""
        return not self.confirmed_at and now >= max(self.expires, self.mailed_at + DAY)


Known = Account | MailAddress
"""Keys, invitations and mail addresses."""


@define(eq=False)
class AddressBook:
    """The addresses that a code was mailed to lately, and all that were confirmed."""

    of: dict[str, MailAddress] = field(factory=dict)
    _by_code: dict[str, str] = field(factory=dict, init=False)
    _unconfirmed: dict[str, None] = field(factory=dict, init=False)

    def take(self, rows: Iterable[MailAddress], now: float) -> None:
        """Take rows that were written, and forget what need not be known."""
        for row in rows:
            self._drop(row.email)
            self.of[row.email] = row
            self._by_code[row.code] = row.email
            if not row.confirmed_at:
                self._unconfirmed[row.email] = None
        for email in list(self._unconfirmed):
            if not self.of[email].forgotten(now):
                break  # they stand in the order in which they were asked for
            self._drop(email)

    def is_confirmed(self, email: str) -> bool:
        """Return whether an address was confirmed."""
        row = self.of.get(email)
        return row is not None and bool(row.confirmed_at)

    def shown(self, code: str, now: float) -> MailAddress | None:
        """Return whose code this is (the digest of it), if it holds."""
        row = self.mailed(code)
        return row if row is not None and now < row.expires else None

    def mailed(self, code: str) -> MailAddress | None:
        """Return where a code (the digest of it) was mailed, whether it holds or not."""
        email = self._by_code.get(code)
        return self.of[email] if email is not None else None

    @property
    def unconfirmed(self) -> int:
        """How many addresses wait to be confirmed."""
        return len(self._unconfirmed)

    def _drop(self, email: str) -> None:
        old = self.of.pop(email, None)
        if old is not None:
            self._by_code.pop(old.code, None)
            self._unconfirmed.pop(email, None)


def mail_code(secret: bytes, email: str, mailed_at: float) -> str:
    """Return the code that is mailed to an address at a time: four times four letters and digits.

    It follows from the metaserver's secret, so that it stands nowhere, and is still there after a restart.
    """
    said = f"code.{mailed_at!r}.{email}".encode()
    text = base64.b32encode(hmac.new(secret, said, hashlib.sha256).digest()[:_CODE_BYTES]).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def read_code(text: str) -> str:
    """Return a code as ``mail_code`` writes it, however it was typed."""
    plain = "".join(text.split()).replace("-", "").lower()
    return "-".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def proof_of(code: str, authority: str) -> str:
    """Return what shows a code to the farm of one authority (its ``key_id``), and to no other.

    Who answers in that farm's place, and is believed at first use, learns nothing of the code that the farm would take.
    """
    return f"{token_digest(code)}:{_mark(code, authority)}"


def code_shown(book: AddressBook, secret: bytes, shown: str, authorities: Iterable[str]) -> str:
    """Return the code that ``proof_of`` showed to one of these authorities, "" where it shows none to them.

    What is no proof at all is returned as it is.
    """
    digest, colon, mark = shown.partition(":")
    if not colon:
        return shown
    row = book.mailed(digest)
    code = mail_code(secret, row.email, row.mailed_at) if row is not None else ""
    right = any(hmac.compare_digest(mark.encode(), _mark(code, one).encode()) for one in authorities)
    return code if right else ""


def _mark(code: str, authority: str) -> str:
    return hmac.new(code.encode(), f"authority.{authority}".encode(), hashlib.sha256).hexdigest()


def wanted(
    book: AddressBook, email: str, secret: bytes, now: float, *, known: bool = False
) -> tuple[MailAddress, bool]:
    """Return the row of an address that mail is wanted for, and whether a code is to be mailed there now.

    To an address that was never confirmed that is once a day; to one that was, or is ``known`` anyway, once while a
    code holds. The code that holds goes on holding meanwhile. Raises LimitReached where too many addresses wait.
    """
    old = book.of.get(email)
    known = known or (old is not None and bool(old.confirmed_at))
    if old is not None and old.mailed_at <= now:
        if not known and now < old.mailed_at + DAY:
            return evolve(old, expires=max(old.expires, now + DAY)), False
        if known and now < old.expires:
            return old, False
    if old is None and book.unconfirmed >= UNCONFIRMED_MOST:
        raise LimitReached("too many addresses wait to be confirmed: try again in an hour", CODE_LIFE)
    life = CODE_LIFE if known else DAY
    code = token_digest(mail_code(secret, email, now))
    return MailAddress(email, now, now + life, code, old.confirmed_at if old is not None else 0.0), True


def of_this_life(row: MailAddress, secret: bytes) -> MailAddress:
    """Return the row of an address; a code that does not follow from ``secret`` is from before a restore, and is void.

    Another is mailed at once when it is wanted.
    """
    if row.code == token_digest(mail_code(secret, row.email, row.mailed_at)):
        return row
    return evolve(row, mailed_at=-DAY, expires=0.0)


def confirmed(row: MailAddress, now: float, *, used: bool) -> MailAddress:
    """Return the row of an address whose code was shown; one that is ``used`` up (for a key) never holds again.

    Not even where the clock is set back: it expires at the beginning of time, and not now.
    """
    return evolve(row, confirmed_at=row.confirmed_at or now, expires=0.0 if used else row.expires)
