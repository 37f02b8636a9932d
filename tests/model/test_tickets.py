"""Transfer tickets and cancel tokens: only what was signed here is accepted, and nothing else does harm."""

import string

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from buildtool.errors import BadTicket
from buildtool.model.tickets import (
    KEY_BYTES,
    NUMBER_LIMIT,
    TICKET_LIMIT,
    Ticket,
    TicketKind,
    cancel_token,
    read,
    sign,
    token_matches,
)

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
numbers = st.integers(0, NUMBER_LIMIT - 1)
tickets = st.builds(Ticket, st.sampled_from(TicketKind), numbers, numbers, numbers, numbers)
KEY = b"k" * KEY_BYTES
TICKET = Ticket(TicketKind.LOG, 12, 3, 1_000, 2_000)


@given(tickets, keys)
def test_what_was_signed_is_read_back_until_it_expires(ticket: Ticket, key: bytes) -> None:
    said = sign(ticket, key)
    assert len(said) <= TICKET_LIMIT
    if ticket.expires:
        assert read(said, key, ticket.expires - 1) == ticket
    with pytest.raises(BadTicket, match="expired"):
        read(said, key, ticket.expires)


@given(tickets, st.data())
def test_a_ticket_with_any_one_character_changed_is_refused(ticket: Ticket, data: st.DataObject) -> None:
    said = sign(ticket, KEY)
    at = data.draw(st.integers(0, len(said) - 1))
    other = data.draw(st.one_of(st.sampled_from(string.ascii_letters + string.digits + ".-_=+ "), st.characters()))
    assume(other != said[at])
    with pytest.raises(BadTicket):
        read(said[:at] + other + said[at + 1 :], KEY, 0.0)


@given(tickets, st.data())
def test_a_ticket_with_characters_more_or_less_is_refused(ticket: Ticket, data: st.DataObject) -> None:
    said = sign(ticket, KEY)
    at = data.draw(st.integers(0, len(said)))
    more = data.draw(st.text(st.characters(), max_size=3))
    changed = said[:at] + more + said[at + (0 if more else 1) :]
    assume(changed != said)
    with pytest.raises(BadTicket):
        read(changed, KEY, 0.0)


@given(tickets, keys, keys)
def test_a_ticket_signed_with_another_key_is_refused(ticket: Ticket, mine: bytes, theirs: bytes) -> None:
    assume(mine != theirs)
    with pytest.raises(BadTicket):
        read(sign(ticket, theirs), mine, 0.0)


@given(tickets, tickets)
def test_no_two_tickets_have_one_text(one: Ticket, two: Ticket) -> None:
    assert (sign(one, KEY) == sign(two, KEY)) == (one == two)


@given(st.one_of(st.text(max_size=500), st.text("0123456789.logartifc-_", max_size=200)))
@example("")
@example(".")
@example("....")
@example("log.1.2.3.4.")
@example("log.१.2.3.4.x")
@example("log.-1.2.3.4.x")
@example("log.1_0.2.3.4.x")
@example("log." + "9" * 5_000)
@example("\ud800.1.2.3.4.x")
@example("x" * 1_000_000)
def test_any_text_at_all_is_refused_with_a_bad_ticket_and_nothing_else(text: str) -> None:
    with pytest.raises(BadTicket):
        read(text, KEY, 0.0)


@pytest.mark.parametrize("wrong", [-1, NUMBER_LIMIT, 1.5, True, "12", None])
@pytest.mark.parametrize("name", ["build_id", "epoch", "max_bytes", "expires"])
def test_a_ticket_that_could_not_be_read_back_is_not_made(name: str, wrong: object) -> None:
    said: dict[str, object] = {"build_id": 1, "epoch": 1, "max_bytes": 1, "expires": 1} | {name: wrong}
    with pytest.raises(BadTicket, match=name):
        Ticket(TicketKind.LOG, **said)  # type: ignore[arg-type]


def test_the_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(BadTicket) as caught:
        read("log.1.2.3.4.<script>", KEY, 0.0)
    assert "script" not in str(caught.value)


def test_a_ticket_says_what_it_is_for_in_the_clear() -> None:
    assert sign(TICKET, KEY).startswith("log.12.3.1000.2000.")


# --- cancel tokens --------------------------------------------------------------------------------------


@given(numbers, keys)
def test_a_cancel_token_proves_its_own_request(request_id: int, key: bytes) -> None:
    assert token_matches(request_id, cancel_token(request_id, key), key)


@given(numbers, numbers, keys, keys)
def test_a_cancel_token_proves_no_other_request_and_under_no_other_key(
    one: int, two: int, key: bytes, other: bytes
) -> None:
    assume(one != two)
    assume(key != other)
    token = cancel_token(one, key)
    assert not token_matches(two, token, key)
    assert not token_matches(one, token, other)


@given(numbers, st.text(max_size=100))
@example(1, "\ud800")
@example(1, "")
def test_any_other_text_is_no_cancel_token(request_id: int, text: str) -> None:
    assume(text != cancel_token(request_id, KEY))
    assert not token_matches(request_id, text, KEY)


def test_a_cancel_token_has_120_bits_and_is_easily_typed() -> None:
    token = cancel_token(7, KEY)
    assert len(token) == 24
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyz234567")
