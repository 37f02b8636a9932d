"""What mails are about, and who has ended them: tokens that nobody else makes, and what is withheld for how long."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import Unauthorised
from buildtool.model.records import Mail, Request, RequestState
from buildtool.model.telling.topics import CODES, EVERYTHING, TOKEN_MOST, Unsubscription, topics_of, withheld, words_of
from tests.support.outbox import WALL, request

SECRET = b"s" * 32
EMAILS = st.text(st.characters(codec="utf-8"), max_size=80).map(lambda name: f"{name}@example.org")
TOPICS = st.lists(st.text(st.characters(codec="utf-8"), max_size=160), max_size=9).map(tuple)
ANN = "ann@example.org"


def mail(**fields: object) -> Mail:
    return evolve(Mail("k", ANN, 12, (17,), RequestState.SATISFIED, WALL), **fields)  # type: ignore[arg-type]


def asked(share: str = "", at: float = WALL) -> Request:
    return evolve(request(email=ANN), share=share, admitted_at=at)


@given(EMAILS, TOPICS)
def test_a_token_stands_for_address_and_topics_and_fits_into_a_line(email: str, topics: tuple[str, ...]) -> None:
    token = Unsubscription(email, topics).token(SECRET)
    assert len(token) <= TOKEN_MOST
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    read = Unsubscription.read(token, SECRET)
    assert read == Unsubscription(email, topics) or read == Unsubscription(email, (EVERYTHING,))
    assert read.topics == topics or len(repr(topics)) > 200


@given(st.text(max_size=90) | st.integers(0, 200))
def test_no_other_token_is_taken(other: str | int) -> None:
    token = Unsubscription(ANN, ("requests:lua",)).token(SECRET)
    if isinstance(other, int):
        at = other % len(token)
        other = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    if other[:-1] != token[:-1]:  # of the last letter of a base64 text some bits are not looked at
        with pytest.raises(Unauthorised, match="no link of a mail"):
            Unsubscription.read(other, SECRET)
    with pytest.raises(Unauthorised):
        Unsubscription.read(token, b"t" * 32)


def test_a_mail_is_about_its_requests_a_trigger_a_machine_or_a_code() -> None:
    assert topics_of(mail(), (asked(), asked("trigger:lua/push main"), asked())) == (
        "requests:lua",
        "trigger:lua/push main",
    )
    assert topics_of(mail(server="anna"), ()) == ("machine:anna",)
    assert topics_of(mail(purpose="login"), ()) == (CODES,)
    assert topics_of(mail(), ()) == (EVERYTHING,)
    words = [words_of(one) for one in ("requests:lua", "trigger:lua/push main", "machine:anna", CODES, EVERYTHING)]
    assert len(set(words)) == 5
    assert words[1] == "what lua builds by itself (push main)"


def test_own_requests_are_told_again_once_they_are_asked_for_afterwards_and_a_trigger_never() -> None:
    ended = {(ANN, "requests:lua"): WALL, (ANN, "trigger:lua/push main"): WALL}
    assert withheld(mail(), (asked(at=WALL - 1),), ended)
    assert not withheld(mail(), (asked(at=WALL + 1),), ended)
    assert not withheld(mail(), (asked(at=WALL - 1), asked(at=WALL + 1)), ended)
    assert withheld(mail(), (asked("trigger:lua/push main", WALL + 1_000_000),), ended)
    assert not withheld(mail(), (asked("trigger:lua/nightly", WALL - 1),), ended)
    assert not withheld(mail(email="bob@example.org"), (asked(at=WALL - 1),), ended)


def test_who_has_ended_everything_is_told_of_what_they_ask_for_afterwards_and_has_codes() -> None:
    ended = {(ANN, EVERYTHING): WALL}
    assert withheld(mail(), (asked(at=WALL - 1),), ended)
    assert withheld(mail(), (asked("trigger:lua/push main", WALL + 9),), ended)
    assert withheld(mail(server="anna"), (), ended)
    assert not withheld(mail(), (asked(at=WALL + 1), asked("trigger:lua/x", WALL)), ended)
    assert not withheld(mail(purpose="login"), (), ended)
    assert withheld(mail(server="anna"), (), {(ANN, "machine:anna"): WALL})
    assert not withheld(mail(server="berta"), (), {(ANN, "machine:anna"): WALL})
