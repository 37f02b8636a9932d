"""Only what the protocol says comes off the wire; everything else is a DecodeError of one line."""

import json
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from buildtool import operator_protocol, protocol, wire
from buildtool.domain.model import ADDED, AttemptEnd, Judged, OfferKind, Verdict
from buildtool.errors import DecodeError, EncodeError
from buildtool.protocol import (
    LOG_TAIL_LIMIT,
    AskStatus,
    Ended,
    Found,
    Hello,
    Ok,
    Refused,
    Register,
    Submit,
    Told,
)
from tests import messages

everything: SearchStrategy[attrs.AttrsInstance] = st.one_of(*messages.ALL.values())

plain: SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(sorted(messages.ALL)),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner)
        | st.dictionaries(st.text(st.characters(), max_size=8) | st.integers() | st.just("type"), inner, max_size=5)
    ),
    max_leaves=30,
)


def test_there_is_a_strategy_for_every_message() -> None:
    classes = {name for name, cls in vars(protocol).items() if attrs.has(cls) and cls.__module__ == protocol.__name__}
    assert classes == set(messages.ALL)


@given(everything)
def test_a_message_comes_back_as_it_was(message: attrs.AttrsInstance) -> None:
    assert wire.decode(type(message), wire.encode(message)) == message


ANSWERS: list[type[attrs.AttrsInstance]] = [
    *(protocol.Told, protocol.ToldTogether, protocol.Explanation, protocol.HealthTold, protocol.Refused),
    *(protocol.Welcome, protocol.Heard, protocol.Order, protocol.AbortOrder, protocol.Tickets, protocol.Ok),
    *(operator_protocol.Standing, operator_protocol.Acted),
]
"""All that a metaserver sends: most of it after a commit, when it is too late to find that it does not fit."""


@pytest.mark.parametrize("message", ANSWERS)
def test_whatever_peers_have_made_an_answer_fits_into_one_message(message: type[attrs.AttrsInstance]) -> None:
    assert wire.largest(message) <= wire.SIZE_LIMIT


@given(everything)
def test_no_message_is_larger_than_what_is_reckoned(message: attrs.AttrsInstance) -> None:
    assert wire.size_of(wire.encode(message)) <= wire.largest(type(message))


def test_the_largest_message_is_as_large_as_reckoned() -> None:
    """So the sum leaves nothing out: every field at its bound."""
    biggest = protocol.Tickets("t" * 400, "t" * 400, "t" * 400)
    assert wire.size_of(wire.encode(biggest)) == wire.largest(protocol.Tickets)
    judged = Judged(2**62, 2**62, Verdict.DELIVER, "r" * 1_000)
    assert wire.size_of(wire.encode(protocol.Heard((judged,) * 1_000))) == wire.largest(protocol.Heard)


@given(everything)
def test_what_is_sent_is_plain_and_fits_into_json(message: attrs.AttrsInstance) -> None:
    assert json.loads(json.dumps(wire.encode(message))) == wire.encode(message)


@given(plain, st.sampled_from(sorted(messages.ALL)))
def test_arbitrary_plain_data_raises_nothing_but_a_decode_error(data: object, name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        wire.decode(getattr(protocol, name), data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@given(everything, st.data())
def test_a_message_with_one_field_replaced_decodes_or_raises_a_decode_error(
    message: attrs.AttrsInstance, data: st.DataObject
) -> None:
    sent = wire.encode(message)
    field = data.draw(st.sampled_from(sorted(sent)))
    sent[field] = data.draw(plain)
    try:
        again = wire.decode(type(message), sent)
    except DecodeError:
        return
    left_out = {one.name: one.default for one in attrs.fields(type(message)) if one.metadata == ADDED}
    assert left_out | wire.encode(again) == left_out | sent


@given(everything)
def test_a_field_that_was_added_is_left_out_unless_it_says_something_and_may_be_missing(
    message: attrs.AttrsInstance,
) -> None:
    sent = wire.encode(message)
    for one in attrs.fields(type(message)):
        if one.metadata == ADDED:
            assert (one.name in sent) is (getattr(message, one.name) != one.default)
            without = {key: value for key, value in sent.items() if key != one.name}
            assert getattr(wire.decode(type(message), without), one.name) == one.default


@given(everything)
def test_a_missing_and_an_unknown_field_are_refused_by_name(message: attrs.AttrsInstance) -> None:
    sent = wire.encode(message)
    with pytest.raises(DecodeError, match="surplus"):
        wire.decode(type(message), sent | {"surplus": 1})
    for name, field in attrs.fields_dict(type(message)).items():
        if field.metadata == ADDED:
            continue
        without = {key: value for key, value in sent.items() if key != name}
        with pytest.raises(DecodeError, match=f"{name} is missing"):
            wire.decode(type(message), without)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"force": 1}, "Submit.force: expected true or false, got 1"),
        ({"email": None}, "Submit.email: expected text, got None"),
        ({"email": "a" * 401}, "Submit.email: text of 401 bytes: at most 400 are allowed"),
        ({"email": "ä" * 201}, "Submit.email: text of 402 bytes: at most 400 are allowed"),
        ({"source": "a\0b"}, "Submit.source: text may not hold a NUL"),
        ({"source": "\ud800"}, "Submit.source: text may not hold half a surrogate pair"),
        ({"compile": {"a": None}}, "Submit.compile.'a': expected one of "),
        ({"compile": {"a": 1.5}}, "Submit.compile.'a': expected one of "),
        (
            {"compile": {"a": 2**63}},
            "Submit.compile.'a': expected a whole number of at most 63 bits, got a huge number",
        ),
        ({"compile": {"a": ["x", 1]}}, "Submit.compile.'a'.1: expected text, got 1"),
        ({"compile": {1: "x"}}, "Submit.compile.1: expected text, got 1"),
        ({"compile": {str(n): 1 for n in range(201)}}, "Submit.compile: 201 members: at most 200 are allowed"),
        ({"compile": [["a", 1]]}, "Submit.compile: expected a dictionary, got a list of 1"),
    ],
)
def test_the_error_names_the_field_and_what_it_takes(change: dict[str, object], said: str) -> None:
    with pytest.raises(DecodeError) as caught:
        wire.decode(Submit, wire.encode(messages.submit()) | change)
    assert str(caught.value).startswith(said)


def test_a_nested_field_is_named_by_its_path() -> None:
    sent = wire.encode(messages.register())
    sent["capability"]["offers"][0]["platform"][0][1] = None
    with pytest.raises(DecodeError, match=r"Register.capability.offers.0.platform.0"):
        wire.decode(Register, sent)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1])
def test_a_float_is_a_finite_float(value: float) -> None:
    sent = wire.encode(messages.told())
    sent["artifact"]["built_at"] = value
    with pytest.raises(DecodeError, match=r"Told.artifact.built_at: expected a finite float"):
        wire.decode(Told, sent)


def test_nothing_long_or_deep_is_echoed() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for bad in ("x" * 10_000_000, deep, {"type": "y" * 10_000}, 10**5_000, "\ud800" * 1_000):
        with pytest.raises(DecodeError) as caught:
            wire.decode(Ok, bad)
        assert len(str(caught.value)) < 120
    while deep:  # its own destructor would not get through it
        deep = deep.pop()  # type: ignore[assignment]


def test_one_of_several_messages_is_chosen_by_its_type() -> None:
    assert wire.decode(Told | Refused, wire.encode(Refused("usage", "no"))) == Refused("usage", "no")
    with pytest.raises(DecodeError, match="expected Told or Refused, got 'Ok'"):
        wire.decode(Told | Refused, wire.encode(Ok()))


def test_the_version_is_read_from_a_hello_of_any_shape() -> None:
    assert wire.protocol_of({"type": "Hello", "protocol": 7, "colour": "blue"}) == 7
    assert wire.protocol_of(wire.encode(Hello(1, "requester", "x"))) == 1
    for bad in (None, {}, {"type": "Hello"}, {"type": "Hello", "protocol": True}, {"type": "Ok", "protocol": 1}):
        with pytest.raises(DecodeError):
            wire.protocol_of(bad)


def test_free_text_is_made_to_fit() -> None:
    """A log's end keeps its end, a reason its beginning; what cannot travel is replaced."""
    ended = Ended(1, 1, AttemptEnd.FAILED, "r\0" + "ä" * 5_000, "x" * 20_000 + "last\ud800")
    back = wire.decode(Ended, wire.encode(ended))
    assert back.reason.startswith("r\N{REPLACEMENT CHARACTER}ä")
    assert back.reason.endswith("ä…")
    assert back.log_tail.startswith("…x")
    assert "last" in back.log_tail
    assert len(back.reason.encode()) <= wire.STRING_LIMIT
    assert len(back.log_tail.encode()) <= LOG_TAIL_LIMIT


def test_what_would_break_the_limits_is_not_sent() -> None:
    with pytest.raises(EncodeError, match=r"Submit.email: text of 500 bytes"):
        wire.encode(messages.submit(email="a" * 500))
    with pytest.raises(EncodeError, match=r"Submit has .* bytes: at most"):
        wire.encode(messages.submit(compile={f"o{n}": tuple("x" * 4_000 for _ in range(2)) for n in range(90)}))
    with pytest.raises(EncodeError, match=r"AskStatus.request_id: expected a whole number"):
        wire.encode(AskStatus(True, "t"))


def test_an_artifact_keeps_its_platform_canonical() -> None:
    found = messages.found(platform=(("arch", "ppc"), ("tools", ("gcc", "make"))), kind=OfferKind.CROSS)
    assert wire.decode(Found, wire.encode(found)) == found
