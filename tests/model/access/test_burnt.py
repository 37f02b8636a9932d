"""What is burnt stays so, whatever an older database still believes."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import Unauthorised
from buildtool.model.access import enrolment
from buildtool.model.access.burnt import Burnt, burnt_in, read_burnt, reapplied, text_of
from buildtool.model.access.enrolment import Book, Invite
from buildtool.model.access.identities import Invitation, KeyState, token_digest
from buildtool.model.principal import PrincipalRole

DAY = 86_400.0
KEY = "a" * 64
OTHER = "b" * 64
TEXTS = st.text(max_size=40)
BURNT = st.builds(
    Burnt, TEXTS, st.sampled_from([role.value for role in PrincipalRole]), TEXTS, TEXTS, TEXTS, st.floats(0, 1e12)
)


def invited() -> Book:
    book = Book()
    asked = Invite("anna", PrincipalRole.BUILD_SERVER, DAY)
    book.take(enrolment.invited(book, asked, token_digest("t"), "first", "op", 0.0).rows)
    return book


def copied(book: Book) -> Book:
    copy = Book()
    copy.take([*book.keys.values(), *book.invitations.values()])
    return copy


def join(book: Book, key: str) -> tuple[Burnt, ...]:
    _, change = enrolment.joined(book, token_digest("t"), key, "certificate", DAY, "first", 1.0)
    book.take(change.rows)
    return burnt_in(change.rows, 1.0)


@given(BURNT)
def test_a_line_is_read_back_as_it_was_written(burnt: Burnt) -> None:
    line = text_of(burnt)
    assert "\n" not in line
    assert read_burnt(line) == burnt


def test_a_line_of_a_later_version_is_understood_as_far_as_it_can_be() -> None:
    line = json.dumps({**json.loads(text_of(Burnt("anna", "build server", KEY))), "new": [1]})
    assert read_burnt(line) == Burnt("anna", "build server", KEY)


@pytest.mark.parametrize("line", ["", "{", "1", "{}", '{"name": 1, "role": "operator"}', '{"name": "a", "role": "x"}'])
def test_what_is_no_line_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        read_burnt(line)


def test_a_token_that_was_used_stays_with_its_key_in_a_database_that_has_forgotten_it() -> None:
    book = invited()
    older = copied(book)
    burnt = join(book, KEY)
    older.take(reapplied(older, burnt).rows)
    with pytest.raises(Unauthorised, match="used already, with another key"):
        join(older, OTHER)
    join(older, KEY)
    assert older.keys[KEY].name == "anna"


def test_a_revoked_key_stays_revoked_in_a_database_that_still_believes_it_or_never_knew_it() -> None:
    book = invited()
    never = copied(book)
    join(book, KEY)
    older = copied(book)
    change = enrolment.revoked(book, "anna", "it was sold", "op", 2.0)
    for forgetful in (older, never):
        again = reapplied(forgetful, burnt_in(change.rows, 2.0))
        assert [one.kind for one in again.happened] == ["revoked"]
        forgetful.take(again.rows)
        assert forgetful.keys[KEY].state is KeyState.REVOKED
        with pytest.raises(Unauthorised, match="it was sold"):
            enrolment.known(forgetful, KEY)
        with pytest.raises(Unauthorised, match="revoked and never comes back"):
            enrolment.joined(forgetful, token_digest("t"), KEY, "c", 9 * DAY, "first", 3.0)
        assert reapplied(forgetful, burnt_in(change.rows, 2.0)).rows == ()


def test_an_invitation_that_is_only_made_is_not_burnt_and_one_that_is_void_is() -> None:
    (invitation,) = invited().invitations.values()
    assert isinstance(invitation, Invitation)
    assert burnt_in([invitation], 1.0) == ()
    (burnt,) = burnt_in([evolve(invitation, void="it was revoked by op")], 1.0)
    book = invited()
    book.take(reapplied(book, [burnt]).rows)
    with pytest.raises(Unauthorised, match="void, since it was revoked by op"):
        join(book, KEY)
