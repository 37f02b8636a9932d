"""Only what the protocol says comes off the wire; everything else is a DecodeError of one line."""

import json
import math
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from buildtool.errors import DecodeError, EncodeError
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import HeldVerdict, OfferKind, Verdict
from buildtool.protocol import codec, hello, operator
from buildtool.protocol import messages as protocol
from buildtool.protocol.hello import Hello
from buildtool.protocol.hooks import messages as hooks
from buildtool.protocol.json_text import TextBounds, parsed, size_of_text
from buildtool.protocol.limits import Limits, limits_of
from buildtool.protocol.messages import (
    LOG_TAIL_LIMIT,
    AskStatus,
    Ended,
    FoundArtifact,
    Ok,
    Refused,
    Register,
    RequestStatus,
    Submit,
)
from buildtool.protocol.projects import channels, latest, targets, triggers
from buildtool.protocol.shape import text_shape
from tests import messages

CLASSES: dict[str, type[attrs.AttrsInstance]] = {
    name: cls
    for one in (hello, protocol, triggers, latest, targets, channels, hooks)
    for name, cls in vars(one).items()
    if attrs.has(cls) and name[0] != "_"
}

WIDE = TextBounds(100_000)

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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_there_is_a_strategy_for_every_message() -> None:
    own = {
        name
        for name, cls in CLASSES.items()
        if cls.__module__ in {one.__name__ for one in (hello, protocol, triggers, latest, targets, channels, hooks)}
    }
    assert own - {
        "ChannelMember",
        "ChannelStatus",
        "HookStatus",
        "RefusalCount",
        "TargetStatus",
        "TriggerStatus",
    } == set(messages.ALL)


@given(everything)
def test_a_message_comes_back_as_it_was(message: attrs.AttrsInstance) -> None:
    assert codec.decode(type(message), codec.encode(message)) == message


ANSWERS: list[type[attrs.AttrsInstance]] = [
    *(protocol.RequestStatus, protocol.RequestStatuses, protocol.Explanation, protocol.HealthStatus, protocol.Refused),
    *(protocol.Welcome, protocol.HeartbeatAnswer, protocol.Order, protocol.AbortOrder, protocol.Tickets, protocol.Ok),
    *(operator.FarmStatus, operator.ActionResult),
]
"""All that a metaserver sends: most of it after a commit, when it is too late to find that it does not fit."""


@pytest.mark.parametrize("message", ANSWERS)
def test_whatever_peers_have_made_an_answer_fits_into_one_message(message: type[attrs.AttrsInstance]) -> None:
    assert codec.largest(message) <= codec.SIZE_LIMIT


@given(everything)
def test_no_message_is_larger_than_what_is_reckoned(message: attrs.AttrsInstance) -> None:
    size = len(codec.text_of(message))
    assert size <= codec.largest(type(message))
    assert size <= codec.size_of(codec.encode(message))


def test_the_largest_message_is_as_large_as_reckoned() -> None:
    """So the sum leaves nothing out: every field at its bound."""
    biggest = protocol.Tickets(*["\1" * 400] * 3)
    assert codec.size_of(codec.encode(biggest)) == codec.largest(protocol.Tickets)
    judged = HeldVerdict(2**62, 2**62, Verdict.DELIVER, "r" * 1_000)
    assert codec.size_of(codec.encode(protocol.HeartbeatAnswer((judged,) * 1_000))) == codec.largest(
        protocol.HeartbeatAnswer
    )


@given(everything)
def test_a_text_is_one_line_of_json_that_is_the_plain_data(message: attrs.AttrsInstance) -> None:
    text = codec.text_of(message)
    assert b"\n" not in text
    assert json.loads(text) == parsed(text, WIDE) == codec.encode(message)


@given(plain, st.sampled_from(sorted(messages.ALL)))
def test_arbitrary_plain_data_raises_nothing_but_a_decode_error(data: object, name: str) -> None:
    said = ""
    try:
        codec.decode(CLASSES[name], data)  # one that has no fields is among what is drawn
    except DecodeError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 250


@given(everything, st.data())
def test_a_message_with_one_field_replaced_decodes_or_raises_a_decode_error(
    message: attrs.AttrsInstance, data: st.DataObject
) -> None:
    sent = codec.encode(message)
    field = data.draw(st.sampled_from(sorted(sent)))
    sent[field] = data.draw(plain)
    try:
        again = codec.decode(type(message), sent)
    except DecodeError:
        return
    assert codec.encode(again) == sent


@given(everything, st.data())
def test_what_a_later_minor_version_adds_is_ignored(message: attrs.AttrsInstance, data: st.DataObject) -> None:
    """Anywhere in a message: fields, with anything in them that fits into JSON."""
    added = st.dictionaries(st.text("xyz_", min_size=3, max_size=8), json_values, max_size=3)

    def later(plain: object) -> object:
        if isinstance(plain, list):
            return [later(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        members = {name: later(value) for name, value in plain.items()}
        return data.draw(added) | members if "type" in plain and plain["type"] in CLASSES else members

    assert codec.decode(type(message), later(codec.encode(message))) == message


@given(everything)
def test_a_field_that_is_absent_has_its_default_and_one_without_is_missed_by_name(message: attrs.AttrsInstance) -> None:
    sent = codec.encode(message)
    for one in attrs.fields(type(message)):
        without = {key: value for key, value in sent.items() if key != one.name}
        if one.default is attrs.NOTHING:
            with pytest.raises(DecodeError, match=f"{one.name} is missing"):
                codec.decode(type(message), without)
        else:
            expected = attrs.evolve(cast(Any, message), **{one.name: one.default})
            assert codec.decode(type(message), without) == expected


def test_a_question_what_would_be_answered_says_all_that_a_submission_does_within_the_same_bounds() -> None:
    """Written twice, since the order of the fields of a text is kept, and those of a common base would come first."""
    submit, explain = (
        {one.name: (one.type, one.metadata, one.default) for one in attrs.fields(cls)}
        for cls in (Submit, protocol.AskExplain)
    )
    assert explain == {name: one for name, one in submit.items() if name not in ("client_id", "email")}


def test_a_key_that_is_no_limit_is_found_before_any_message_is_sent() -> None:
    with pytest.raises(TypeError, match="mots"):
        limits_of({"mots": 7})
    with pytest.raises(ValueError, match="kept"):
        limits_of({"kept": "middle"})


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
        codec.decode(Submit, codec.encode(messages.submit()) | change)
    assert str(caught.value).startswith(said)


def test_a_nested_field_is_named_by_its_path() -> None:
    sent = codec.encode(messages.register())
    sent["capability"]["offers"][0]["platform"][0][1] = None
    with pytest.raises(DecodeError, match=r"Register.capability.offers.0.platform.0"):
        codec.decode(Register, sent)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1])
def test_a_float_is_a_finite_float(value: float) -> None:
    sent = codec.encode(messages.told())
    sent["artifact"]["built_at"] = value
    with pytest.raises(DecodeError, match=r"RequestStatus.artifact.built_at: expected a finite float"):
        codec.decode(RequestStatus, sent)


def test_nothing_long_or_deep_is_echoed() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for bad in ("x" * 10_000_000, deep, {"type": "y" * 10_000}, 10**5_000, "\ud800" * 1_000):
        with pytest.raises(DecodeError) as caught:
            codec.decode(Ok, bad)
        assert len(str(caught.value)) < 120
    while deep:  # its own destructor would not get through it
        deep = deep.pop()  # type: ignore[assignment]


def test_one_of_several_messages_is_chosen_by_its_type() -> None:
    assert codec.decode(RequestStatus | Refused, codec.encode(Refused("usage", "no"))) == Refused("usage", "no")
    with pytest.raises(DecodeError, match="expected RequestStatus or Refused, got 'Ok'"):
        codec.decode(RequestStatus | Refused, codec.encode(Ok()))


def test_the_version_is_read_from_a_hello_of_any_shape() -> None:
    assert codec.protocol_of({"type": "Hello", "protocol": 7, "colour": "blue"}) == 7
    assert codec.protocol_of(codec.encode(Hello(1, "requester", "x"))) == 1
    for bad in (None, {}, {"type": "Hello"}, {"type": "Hello", "protocol": True}, {"type": "Ok", "protocol": 1}):
        with pytest.raises(DecodeError):
            codec.protocol_of(bad)


def test_free_text_is_made_to_fit() -> None:
    """A log's end keeps its end, a reason its beginning; what cannot travel is replaced."""
    ended = Ended(1, 1, AttemptEnd.FAILED, "r\0" + "ä" * 5_000, "x" * 20_000 + "last\ud800")
    back = codec.decode(Ended, codec.encode(ended))
    assert back.reason.startswith("r\N{REPLACEMENT CHARACTER}ä")
    assert back.reason.endswith("ä…")
    assert back.log_tail.startswith("…x")
    assert "last" in back.log_tail
    assert len(back.reason.encode()) <= Limits().most
    assert len(back.log_tail.encode()) <= LOG_TAIL_LIMIT


def test_what_would_break_the_limits_is_not_sent() -> None:
    with pytest.raises(EncodeError, match=r"Submit.email: text of 500 bytes"):
        codec.encode(messages.submit(email="a" * 500))
    with pytest.raises(EncodeError, match=r"Submit has .* bytes: at most"):
        codec.text_of(messages.submit(compile={f"o{n}": tuple("x" * 4_000 for _ in range(2)) for n in range(90)}))
    with pytest.raises(EncodeError, match=r"AskStatus.request_id: expected a whole number"):
        codec.encode(AskStatus(True, "t"))


@given(st.text(st.characters(), max_size=1_500))
def test_what_is_sent_of_free_text_fits_in_json_and_is_as_long_as_it_may_be(words: str) -> None:
    (sent,) = codec.encode(operator.ActionResult((words,)))["words"]
    assert size_of_text(sent) <= 1_000
    clean = words.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="surrogatepass").decode(errors="replace")
    if sent != clean:
        assert clean.startswith(sent.removesuffix("…"))
        assert size_of_text(sent) > 990


def test_the_end_is_kept_of_a_text_whose_end_matters() -> None:
    fit = text_shape(Limits(sent=100, kept="end")).encode
    assert fit("\n" * 80 + "the end") == "…" + "\n" * 45 + "the end"
    assert fit("short\n") == "short\n"


def test_a_text_that_is_not_free_is_refused_where_it_does_not_fit_in_json() -> None:
    assert codec.encode(messages.found(name='"' * 127))["name"] == '"' * 127
    with pytest.raises(EncodeError, match=r"FoundArtifact.name: text of 256 bytes in JSON: at most 255 are sent"):
        codec.encode(messages.found(name='"' * 128))


def test_an_artifact_keeps_its_platform_canonical() -> None:
    found = messages.found(platform=(("arch", "ppc"), ("tools", ("gcc", "make"))), kind=OfferKind.CROSS)
    assert codec.decode(FoundArtifact, codec.encode(found)) == found
