"""An address that was never confirmed gets one mail a day, whoever asks; a code that was mailed confirms it."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from buildtool.errors import LimitReached, UsageError
from buildtool.model.access import confirmation
from buildtool.model.access.confirmation import (
    CODE_LIFE,
    DAY,
    AddressBook,
    MailAddress,
    MailDomains,
    code_shown,
    confirmed,
    mail_code,
    proof_of,
    read_code,
    wanted,
)
from buildtool.model.access.identities import token_digest

SECRET = b"s" * 32
EMAILS = ["ann@example.org", "ben@example.net"]


class Addresses(RuleBasedStateMachine):
    """People and strangers ask for codes, and codes are shown, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1e9
        self.book = AddressBook()
        self.mails: list[tuple[str, float]] = []
        self.believed: dict[str, float] = {}
        self.used: set[str] = set()

    @rule(seconds=st.floats(1, 2 * DAY))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(email=st.sampled_from(EMAILS))
    def ask(self, email: str) -> None:
        row, mails = wanted(self.book, email, SECRET, self.now)
        assert row.expires > self.now, "a code that nobody is mailed again holds"
        self.book.take((row,), self.now)
        if mails:
            if email not in self.believed:
                assert all(self.now - at >= DAY for one, at in self.mails if one == email)
            self.mails.append((email, row.mailed_at))

    @precondition(lambda self: self.mails)
    @rule(data=st.data(), used=st.booleans())
    def show(self, data: st.DataObject, used: bool) -> None:
        self.now += 1  # a mail takes a moment, and what is mailed at one moment is one code
        email, at = data.draw(st.sampled_from(self.mails))
        code = mail_code(SECRET, email, at)
        row = self.book.shown(token_digest(read_code(code.upper().replace("-", " "))), self.now)
        newest = max(when for one, when in self.mails if one == email)
        if row is None:
            return
        assert row.email == email
        assert at == newest
        assert self.now < row.expires
        self.book.take((confirmed(row, self.now, used=used),), self.now)
        self.believed.setdefault(email, self.now)
        if used:
            self.used.add(row.code)

    @rule(guess=st.text("abcdefgh234567", min_size=16, max_size=16))
    def guess(self, guess: str) -> None:
        assert self.book.shown(token_digest(read_code(guess)), self.now) is None

    @invariant()
    def a_code_gives_one_key_whatever_becomes_of_the_clock(self) -> None:
        for code in self.used:
            for now in (self.now, self.now - 2 * DAY, 1.0):
                assert self.book.shown(code, now) is None

    @invariant()
    def only_who_showed_a_code_is_believed_and_for_good(self) -> None:
        for email in EMAILS:
            assert self.book.is_confirmed(email) == (email in self.believed)

    @invariant()
    def a_restart_changes_nothing(self) -> None:
        fresh = AddressBook()
        fresh.take(sorted(self.book.of.values(), key=lambda row: row.mailed_at), self.now)
        assert {row.email for row in fresh.of.values()} >= set(self.believed)
        for row in fresh.of.values():
            assert fresh.shown(row.code, self.now) == self.book.shown(row.code, self.now)


TestAddresses = Addresses.TestCase


def test_a_confirmed_address_is_mailed_again_once_its_code_holds_no_more() -> None:
    book, now = AddressBook(), 1e9
    book.take((MailAddress("ann@example.org", now, now, "x", confirmed_at=now),), now)
    row, mails = wanted(book, "ann@example.org", SECRET, now + 1)
    assert mails
    assert row.expires == now + 1 + CODE_LIFE
    book.take((row,), now + 1)
    assert not wanted(book, "ann@example.org", SECRET, now + CODE_LIFE)[1]
    assert wanted(book, "ann@example.org", SECRET, now + CODE_LIFE + 2)[1]


def test_so_many_addresses_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "UNCONFIRMED_MOST", 3)
    book, now = AddressBook(), 1e9
    for number in range(3):
        book.take((wanted(book, f"a{number}@example.org", SECRET, now)[0],), now)
    with pytest.raises(LimitReached):
        wanted(book, "b@example.org", SECRET, now)
    assert not wanted(book, "a1@example.org", SECRET, now)[1], "who was there before goes on"
    later = now + DAY
    book.take((wanted(book, "a1@example.org", SECRET, later)[0],), later)
    assert wanted(book, "b@example.org", SECRET, later)[1]
    assert book.unconfirmed == 1, "what has run out is forgotten"


@given(st.sampled_from(EMAILS), st.sampled_from(EMAILS), st.floats(1e9, 2e9), st.floats(1e9, 2e9))
def test_codes_follow_from_address_and_time_and_the_secret(one: str, other: str, at: float, then: float) -> None:
    assert (mail_code(SECRET, one, at) == mail_code(SECRET, other, then)) == ((one, at) == (other, then))
    assert mail_code(SECRET, one, at) != mail_code(b"t" * 32, one, at)


@given(
    st.sampled_from(["ann@example.org", "ben@example.org"]),
    st.booleans(),
    st.integers(0, 128).filter(lambda at: at != 64),
    st.data(),
)
def test_a_proof_shows_its_code_to_one_authority_and_nothing_to_another(
    email: str, expired: bool, at: int, data: st.DataObject
) -> None:
    book = AddressBook()
    row, _ = wanted(book, email, b"secret", 1_000.0)
    book.take([evolve(row, expires=0.0) if expired else row], 1_000.0)
    code = mail_code(b"secret", email, 1_000.0)
    proof = proof_of(code, "aa")
    assert code_shown(book, b"secret", proof, ["bb", "aa"]) == code, "of a row that was used, a retry finds its own"
    assert code not in proof
    assert code_shown(book, b"secret", proof, ["bb"]) == ""
    assert code_shown(book, b"another life", proof, ["aa"]) == ""
    assert code_shown(book, b"secret", proof_of(code[:-1], "aa"), ["aa"]) == ""
    other = data.draw(st.sampled_from("0123456789abcdef:é").filter(lambda one: one != proof[at]))
    assert code_shown(book, b"secret", proof[:at] + other + proof[at + 1 :], ["aa"]) == ""
    assert code_shown(book, b"secret", "t" * 32, ["aa"]) == "t" * 32, "the token of an invitation"


def test_domains_are_addresses_and_whole_domains_and_nothing_that_only_ends_alike() -> None:
    some = MailDomains.of(["ann@Example.ORG", "@example.net"])
    assert some.has("ann@example.org")
    assert some.has("anybody@example.net")
    assert not some.has("ben@example.org")
    assert not some.has("ben@sub.example.net")
    assert not some.has("ben@notexample.net")
    assert str(some) == "ann@example.org, @example.net"
    assert MailDomains.of(["*"]).has("x@y.z")
    for wrong in ("nothing", "@", 7):
        with pytest.raises(UsageError):
            MailDomains.of([wrong])
