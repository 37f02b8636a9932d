"""Enrolment: whatever is invited, shown, confirmed, renewed and revoked in whatever order, a key is somebody or nobody.

A state machine holds the decisions against a model of a few lines: sets of keys by name.
"""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from buildtool.errors import BuildToolError, NotFound, Unauthorised, UsageError
from buildtool.model.access import enrolment
from buildtool.model.access.enrolment import Book, Change, Invite
from buildtool.model.access.identities import Identity, KeyState, token_digest
from buildtool.model.principal import PrincipalRole

DAY = 86_400.0
LIFE = "first"
NAMES = st.sampled_from(["anna", "ben"])
KEYS = st.sampled_from([letter * 64 for letter in "abcdef"])
TOKENS = st.sampled_from([token_digest(f"token {number}") for number in range(6)])


def take(book: Book, change: Change) -> None:
    book.take(change.rows)


class Enrolling(RuleBasedStateMachine):
    """A book, and what of it is known by other means."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.now = 1_000_000.0
        self.revoked: set[str] = set()
        self.first_key: dict[str, str] = {}
        self.known: dict[str, str] = {}
        self.life = LIFE

    @rule(name=NAMES, token=TOKENS, replaces=st.booleans(), lasts=st.floats(1.0, 10 * DAY))
    def invite(self, name: str, token: str, replaces: bool, lasts: float) -> None:
        if token in self.book.invitations:
            return
        asked = Invite(name, PrincipalRole.BUILD_SERVER, lasts, replaces=replaces)
        taken = self.book.holder(PrincipalRole.BUILD_SERVER, name) is not None
        try:
            take(self.book, enrolment.invited(self.book, asked, token, self.life, "op", self.now))
        except UsageError as error:
            assert taken
            assert not replaces
            assert "--replace" in str(error)  # noqa: PT017
        else:
            assert replaces or not taken

    @rule(token=TOKENS, key=KEYS)
    def join(self, token: str, key: str) -> None:
        invitation = self.book.invitations.get(token)
        try:
            identity, change = enrolment.joined(
                self.book, token, key, f"certificate at {self.now}", self.now + DAY, self.life, self.now
            )
        except Unauthorised as error:
            assert str(error).count("\n") == 0  # noqa: PT017
            return
        assert invitation is not None
        assert key not in self.revoked
        assert self.first_key.setdefault(token, key) == key
        assert identity.name == invitation.name
        if change.rows:
            assert invitation.expires > self.now
            assert (invitation.life, invitation.void) == (self.life, "")
        else:
            assert identity == self.book.keys[key]
        take(self.book, change)
        self.known[key] = identity.name

    @rule(key=KEYS)
    def confirm(self, key: str) -> None:
        before = self.book.holder(PrincipalRole.BUILD_SERVER, self.known.get(key, ""))
        try:
            change = enrolment.confirmed(self.book, key, self.now)
        except Unauthorised:
            assert key not in self.known or key in self.revoked or before is not None
            return
        assert key in self.known
        assert key not in self.revoked
        take(self.book, change)
        if before is not None and before.key != key:
            self.revoked.add(before.key)

    @rule(key=KEYS, within=st.sampled_from([DAY, 400 * DAY]))
    def renew(self, key: str, within: float) -> None:
        identity = self.book.keys.get(key)
        try:
            change = enrolment.renewed(self.book, key, "next", self.now + DAY, within, self.now)
        except Unauthorised:
            assert identity is None or key in self.revoked or self.now - identity.expires > within
            return
        assert identity is not None
        assert key not in self.revoked
        take(self.book, change)

    @rule(name=NAMES)
    def revoke(self, name: str) -> None:
        keys = {key for key, one in self.known.items() if one == name} - self.revoked
        try:
            change = enrolment.revoked(self.book, name, "", "op", self.now)
        except NotFound:
            assert not keys
            return
        take(self.book, change)
        self.revoked |= keys

    @rule(seconds=st.floats(0.0, 300 * DAY))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restore(self) -> None:
        self.life += "+"

    @invariant()
    def a_revoked_key_never_comes_back_and_no_two_keys_have_one_name(self) -> None:
        active = [one for one in self.book.keys.values() if one.state is KeyState.ACTIVE]
        assert len({(one.role, one.name) for one in active}) == len(active)
        for key in self.revoked:
            with pytest.raises(Unauthorised, match="revoked"):
                enrolment.known(self.book, key)
        for one in active:
            assert enrolment.known(self.book, one.key) is one
            assert self.book.holder(one.role, one.name) is one
        assert self.book.keys.keys() == self.known.keys()


TestEnrolling = Enrolling.TestCase


def joined(book: Book, token: str, key: str, now: float = 1.0) -> Identity:
    identity, change = enrolment.joined(book, token, key, "certificate", now + DAY, LIFE, now)
    take(book, change)
    return identity


def with_invitation(name: str = "anna", *, replaces: bool = False, book: Book | None = None, token: str = "t") -> Book:
    book = book or Book()
    asked = Invite(name, PrincipalRole.BUILD_SERVER, DAY, replaces=replaces)
    take(book, enrolment.invited(book, asked, token_digest(token), LIFE, "op", 0.0))
    return book


def test_a_key_that_was_cut_off_while_it_joined_gets_the_same_certificate_again() -> None:
    book = with_invitation()
    first = joined(book, token_digest("t"), "a" * 64)
    assert joined(book, token_digest("t"), "a" * 64, now=2.0) == first


def test_an_invitation_that_another_key_has_used_is_refused_and_recorded() -> None:
    book = with_invitation()
    joined(book, token_digest("t"), "a" * 64)
    with pytest.raises(Unauthorised, match="used already, with another key: ask the operator"):
        joined(book, token_digest("t"), "b" * 64)
    change = enrolment.refused_twice(book, token_digest("t"), "b" * 64, "192.0.2.7", 9.0)
    (told,) = change.happened
    assert (told.kind, told.subject) == ("invitation-shown-twice", "anna")
    for token, key in (("t", "a"), ("no such", "a")):
        assert enrolment.refused_twice(book, token_digest(token), key * 64, "192.0.2.7", 9.0) == Change((), ())
    book.take(change.rows)
    (shown,) = enrolment.shown_again(book)
    assert (shown.shown_again, shown.shown_from, shown.key) == (9.0, "192.0.2.7", "a" * 64)


def test_a_mailed_code_that_is_typed_twice_is_asked_for_anew_and_no_operators_matter() -> None:
    book = Book()
    book.take((evolve(next(iter(with_invitation().invitations.values())), by=enrolment.BY_MAIL),))
    joined(book, token_digest("t"), "a" * 64)
    with pytest.raises(Unauthorised, match="used already, with another key: ask for a new code"):
        joined(book, token_digest("t"), "b" * 64)
    assert enrolment.refused_twice(book, token_digest("t"), "b" * 64, "192.0.2.7", 9.0) == Change((), ())


def test_who_shows_an_invitation_of_others_again_and_again_fills_no_table() -> None:
    book = with_invitation()
    joined(book, token_digest("t"), "a" * 64)
    recorded = 0
    for now in range(1, 7202):
        change = enrolment.refused_twice(book, token_digest("t"), f"{now:064x}", "192.0.2.7", float(now))
        recorded += len(change.happened)
        book.take(change.rows)
    assert recorded == 3
    book.take(enrolment.revoked(book, "anna", "", "root", 7300.0).rows)
    later = 9 * enrolment.SHOWN_EVERY
    assert enrolment.refused_twice(book, token_digest("t"), "b" * 64, "", later) == Change((), ())


def test_an_operator_settles_it_also_where_the_first_holder_has_left() -> None:
    book = with_invitation()
    joined(book, token_digest("t"), "a" * 64)
    book.take(enrolment.refused_twice(book, token_digest("t"), "b" * 64, "", 9.0).rows)
    book.take(enrolment.left(book, "a" * 64, 10.0).rows)
    assert enrolment.shown_again(book)
    book.take(enrolment.revoked(book, "anna", "", "root", 11.0).rows)
    assert not enrolment.shown_again(book)
    with pytest.raises(NotFound, match="revoked already"):
        enrolment.revoked(book, "anna", "", "root", 12.0)


@pytest.mark.parametrize("acts", ["revoke", "invite"])
def test_that_an_invitation_was_shown_again_is_settled_when_an_operator_acts_on_its_name(acts: str) -> None:
    book = with_invitation()
    joined(book, token_digest("t"), "a" * 64)
    book.take(enrolment.refused_twice(book, token_digest("t"), "b" * 64, "", 9.0).rows)
    if acts == "revoke":
        change = enrolment.revoked(book, "anna", "", "root", 10.0)
    else:
        role = next(iter(book.invitations.values())).role
        asked = enrolment.Invite("anna", role, 1.0, replaces=True)
        change = enrolment.invited(book, asked, token_digest("u"), "life", "root", 10.0)
    book.take(change.rows)
    assert enrolment.shown_again(book) == []
    if acts == "invite":
        assert enrolment.known(book, "a" * 64).name == "anna", "its key goes on"


def test_a_machine_that_was_reinstalled_takes_its_name_over_once_its_key_is_used() -> None:
    book = with_invitation()
    joined(book, token_digest("t"), "a" * 64)
    take(book, enrolment.confirmed(book, "a" * 64, 1.0))
    with_invitation(replaces=True, book=book, token="again")
    joined(book, token_digest("again"), "b" * 64)
    assert enrolment.known(book, "a" * 64).state is KeyState.ACTIVE
    take(book, enrolment.confirmed(book, "b" * 64, 2.0))
    with pytest.raises(Unauthorised, match="its name has a new key"):
        enrolment.known(book, "a" * 64)


@pytest.mark.parametrize(
    ("token", "now", "life", "words"),
    [
        ("other", 1.0, LIFE, "made no such invitation"),
        ("t", 2 * DAY, LIFE, "has expired"),
        ("t", 1.0, "second", "restored from a backup"),
    ],
)
def test_what_is_wrong_with_an_invitation_is_said_with_what_to_do(
    token: str, now: float, life: str, words: str
) -> None:
    with pytest.raises(Unauthorised, match=f"{words}.*ask the operator for a new line"):
        enrolment.joined(with_invitation(), token_digest(token), "a" * 64, "", now + DAY, life, now)


def test_a_second_invitation_for_a_name_makes_the_first_void() -> None:
    book = with_invitation()
    with_invitation(book=book, token="second")
    with pytest.raises(Unauthorised, match="void, since a newer invitation"):
        joined(book, token_digest("t"), "a" * 64)
    assert joined(book, token_digest("second"), "a" * 64).name == "anna"


def test_nobody_is_invited_as_what_only_programs_are() -> None:
    with pytest.raises(BuildToolError, match="nobody can be invited as joining"):
        enrolment.invited(Book(), Invite("x", PrincipalRole.JOINING, DAY), "t", LIFE, "op", 0.0)


def test_the_invitations_of_an_earlier_life_are_void() -> None:
    book = with_invitation()
    assert [one.name for one in enrolment.void_all(book, "second")] == ["anna"]
    assert enrolment.void_all(book, LIFE) == []
