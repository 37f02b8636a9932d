"""A hostile peer can neither grow, stall, nor make noisy whoever listens; what it sends is plain data or nothing."""

import json
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.spread import banana as twisted_banana
from twisted.spread.pb import Broker, Referenceable
from zope.interface import implementer

from buildtool.adapters.control.decoder import Bounds, Expressions, ProtocolViolation, plain
from buildtool.adapters.control.encoder import call_bytes, encoded
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.control.limits import PEER, ConnectionLimits
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.concurrency.asker import asker
from buildtool.model.principal import Principal
from buildtool.protocol import codec
from buildtool.protocol.hello import PROTOCOL_VERSION
from buildtool.protocol.json_text import memory_of
from buildtool.protocol.messages import AskStatus, RequestStatus
from tests import messages
from tests.adapters.control.wires import Wires, banana, message, turn
from tests.fakes import FakeBuildServerService, FakeRequestService

atoms = st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.floats(allow_nan=False)
expressions = st.recursive(atoms, lambda inner: st.lists(inner, max_size=6), max_leaves=30)
WIDE = Bounds(size=700_000, items=100_000, depth=32)


def sent_by_twisted(expression: object) -> bytes:
    return bytes(twisted_banana.encode(expression))


def wires(limits: ConnectionLimits | None = None) -> Wires:
    clock = Clock()
    gateway = Gateway(clock, limits=limits)
    return Wires(clock, gateway.factory(FakeRequestService().handlers, FakeBuildServerService().handlers))


@pytest.fixture
def lines() -> Any:
    """What is logged at warning level or above."""
    found: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        found.append(event)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


# --- what is sent -----------------------------------------------------------------------------------------

sendable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=80), inner, max_size=5),
    max_leaves=30,
)


@given(sendable, st.integers(1, 2**40))
def test_what_is_sent_is_what_twisted_itself_would_send(data: object, number: int) -> None:
    broker = Broker()
    theirs = StringTransport()
    broker.makeConnection(theirs)
    broker.currentDialect = b"pb"
    theirs.clear()
    broker.sendCall(b"answer", number, broker.serialize(({"d": data}, b"text" * 90, (), "list", "é" * 200)))
    ours = call_bytes((b"answer", number, encoded(({"d": data}, b"text" * 90, (), "list", "é" * 200), lambda _: 0)))
    assert ours == theirs.value()


def test_an_object_of_ours_goes_out_as_its_number_and_what_is_not_plain_not_at_all() -> None:
    ear = Referenceable()
    assert Expressions(WIDE).feed(encoded([ear], lambda it: 7 if it is ear else 0)) == [[b"list", [b"remote", 7]]]
    for odd in ({1, 2}, object()):
        with pytest.raises(TypeError):
            encoded([odd], lambda _: 0)


# --- expressions ------------------------------------------------------------------------------------------


@given(st.lists(expressions, max_size=4), st.data())
def test_expressions_come_out_as_they_went_in_wherever_the_stream_is_split(
    sent: list[object], data: st.DataObject
) -> None:
    stream = b"".join(map(sent_by_twisted, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = Expressions(WIDE)
    found: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert found == sent
    assert reader.held == 0


@given(
    st.recursive(st.text(max_size=140), lambda inner: st.lists(inner, max_size=6), max_leaves=20),
    st.sampled_from([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]),
    st.integers(1, 2_000),
)
def test_texts_are_counted_like_everything_else(data: object, less: tuple[int, int, int], step: int) -> None:
    """They may take up every bound to the last byte, item and list, and nothing more, however they arrive."""
    stream = bytes(encoded(data, lambda _: 0))
    reader = Expressions(WIDE)
    (expression,) = reader.feed(stream)

    def items(part: object) -> int:
        return 1 + sum(map(items, part)) if type(part) is list else 1

    def depth(part: object) -> int:
        return 1 + max(map(depth, part)) if type(part) is list else 0

    full = Bounds(len(stream), items(expression), depth(expression))
    narrow = Expressions(Bounds(full.size - less[0], full.items - less[1], full.depth - less[2]))
    found = []
    try:
        for start in range(0, len(stream), step):
            found += narrow.feed(stream[start : start + step])
    except ProtocolViolation:
        assert any(less)
    else:
        assert not any(less)
        assert [plain(part, lambda _: None) for part in found] == [data]
        assert found == [expression]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_arbitrary_bytes_raise_nothing_but_a_breach(stream: bytes, step: int) -> None:
    reader = Expressions(Bounds(size=1_000, items=50))
    try:
        for start in range(0, len(stream), step):
            for expression in reader.feed(stream[start : start + step]):
                plain(expression, lambda number: ("remote", number))
    except ProtocolViolation:
        return
    assert reader.held <= 1_000 + 200 + 64 * 50


@given(expressions)
def test_arbitrary_expressions_are_plain_data_or_a_breach(expression: object) -> None:
    try:
        plain(expression, lambda number: ("remote", number))
    except ProtocolViolation:
        return


@given(st.one_of(*messages.ALL.values()))
def test_every_message_passes_as_one_string(one: Any) -> None:
    text = codec.text_of(one)
    stream = encoded((text,), lambda _: 0)
    assert Expressions(PEER).feed(stream) == [[b"tuple", text]]
    assert plain([b"tuple", text], lambda _: None) == (text,)


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"\x01\x80" * 9, "nested lists more than 8 deep"),
        (b"\x7f\x7f\x7f\x7f\x80", "announced a list of 268435455 items"),
        (b"\x28\x80" * 2 + b"\x01\x81" * 80, "more than 50 items"),
        (b"\x7f\x7f\x7f\x82", "a message of more than 1000 bytes"),
        (b"\x02\x80" + b"\x08\x07\x82" + b"x" * 904 + b"\x08\x07\x82", "a message of more than 1000 bytes"),
        (b"\x01" * 11, "not Perspective Broker"),
        (b"\x01\x88", "an item of an unknown type"),
        (b"\x7f\x87", "an item of an unknown type"),
    ],
)
def test_each_bound_ends_the_connection(stream: bytes, said: str) -> None:
    items = 200 if "announced" not in said and "bytes" in said else 50
    with pytest.raises(ProtocolViolation, match=said):
        Expressions(Bounds(size=1_000, items=items)).feed(stream)


@pytest.mark.parametrize(
    "expression",
    [
        [],
        [[b"list"]],
        [b"instance", [b"class", b"os.system"], [b"dictionary"]],
        [b"class", b"buildtool.protocol.messages.Submit"],
        [b"module", b"os"],
        [b"function", b"os.system"],
        [b"method", b"x", [b"None"], [b"None"]],
        [b"buildtool.protocol.messages.Submit", [b"dictionary"]],
        [b"twisted.spread.pb.CopyableFailure", [b"dictionary"]],
        [b"copy", b"x", [b"dictionary"]],
        [b"cache", 1, b"x", [b"dictionary"]],
        [b"persistent", 1],
        [b"reference", 1, [b"list", [b"dereference", 1]]],
        [b"dereference", 1],
        [b"local", b"root"],
        [b"remote", b"root"],
        [b"remote", 1, 2],
        [b"datetime", b"1 1 1 1 1 1 1"],
        [b"decimal", 1, 10**9],
        [b"set", 1],
        [b"unicode", b"\xff"],
        [b"unicode", 1],
        [b"None", 1],
        [b"boolean", b"maybe"],
        [b"dictionary", [1, 2]],
        [b"dictionary", [[b"unicode", b"a"]]],
        [b"dictionary", 1],
        [b"dictionary", [[b"unicode", b"a"], 1], [[b"unicode", b"a"], 2]],
    ],
)
def test_nothing_but_plain_data_is_taken(expression: object) -> None:
    with pytest.raises(ProtocolViolation):
        plain(expression, lambda number: ("remote", number))


# --- connections before hello -----------------------------------------------------------------------------

HELLO = {"type": "Hello", "protocol": PROTOCOL_VERSION, "role": "requester", "software": "x"}


def call(target: object, name: bytes, *arguments: object, request: object = 1) -> list[object]:
    """Return a call; a dictionary is sent as a message, unless it is Hello."""
    texts = (json.dumps(each).encode() if isinstance(each, dict) and each is not HELLO else each for each in arguments)
    return message(target, name, *texts, request=request)


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\nHost: farm.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x04\x82none",
        b"\x01\x80\x02\x82pb",
        b"\x7f\x7f\x7f\x80" + b"\x00\x80" * 100,
        b"\x01\x80" * 1_000,
        b"\x7f\x7f\x27\x82" + b"x" * 20_000,
        banana([b"version", 7]),
        banana([]),
        banana(b"version"),
        banana([b"message"]),
        banana([b"login", b"somebody"]),
        banana([b"cachemessage", 1, 1, b"x", 0, [b"tuple"], [b"dictionary"]]),
        banana([b"answer", 1, 1]),
        banana([b"error", 1, 1]),
        banana([b"decref", b"root"]),
        banana([b"decref", 1]),
        banana([b"didNotUnderstand", b"x"]),
        banana(call(b"root", b"submit", {})),
        banana(call(b"root", b"Hello", HELLO)),
        banana(call(1, b"hello", HELLO)),
        banana(call(b"root", b"hello", HELLO, HELLO)),
        banana(call(b"root", b"hello")),
        banana(call(b"root", b"hello", HELLO, request=b"x")),
        banana(call([b"root"], b"hello", HELLO)),
        banana([b"message", 1, b"root", b"hello", 1, [b"instance", [b"class", b"os.system"], []], [b"dictionary"]]),
        banana([b"message", 1, b"root", b"hello", 1, [b"tuple"], [b"dictionary", [[b"unicode", b"a"], 1]]]),
    ],
    ids=lambda stream: repr(stream[:30]),
)
def test_a_stranger_who_breaks_the_protocol_is_dropped_with_one_line(stream: bytes, lines: list[LogEvent]) -> None:
    ends = wires()
    client = ends.raw()
    client.transport.write(stream)  # type: ignore[union-attr]
    ends.run()
    assert client.lost
    warned = [event for event in lines if event["log_level"].name in ("warn", "error", "critical")]
    assert len(warned) == 1
    assert "line" in warned[0]
    assert len(warned[0]["line"]) < 200


def test_bytes_without_a_hello_end_at_the_budget() -> None:
    """A slow trickle of harmless calls is not a hello either."""
    ends = wires()
    client = ends.raw()
    client.transport.write(banana())  # type: ignore[union-attr]
    for _ in range(2_000):
        client.transport.write(banana([b"version", 6])[4:])  # type: ignore[union-attr]
        ends.run()
        if client.lost:
            break
    assert client.lost
    assert ends.brokers()[0].why == "sent 8192 bytes without a hello"


def test_silence_ends_at_the_time_for_a_hello() -> None:
    ends = wires()
    client = ends.raw()
    ends.advance(9.9)
    assert not client.lost
    ends.advance(0.2)
    assert client.lost


def test_silent_strangers_make_room_for_whoever_comes_and_talks() -> None:
    """The longest silent one goes first, of the network that has most; nobody is turned away."""
    ends = wires(ConnectionLimits(connections=5))
    silent = []
    for _ in range(4):
        silent.append(ends.raw())
        ends.advance(0.1)
    ends.address = "192.0.2.2"
    other = ends.raw()
    ends.address = "192.0.2.1"
    ends.advance(2)
    honest = [admitted(ends) for _ in range(3)]
    assert [client.lost for client in silent] == [True, True, True, False]
    assert not other.lost
    assert not any(client.lost for client in honest)


def test_whoever_waits_for_an_answer_keeps_the_place_and_who_wants_nothing_does_not() -> None:
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(
        clock,
        Gateway(clock, limits=ConnectionLimits(connections=2)).factory(
            service.handlers, FakeBuildServerService().handlers
        ),
    )
    waits = admitted(ends)
    service.hold = Deferred()
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef"}
    waits.transport.write(banana(call(1, b"status", ask))[4:])
    ends.run()
    ends.advance(60)
    idle = admitted(ends)
    newcomer = admitted(ends)
    assert (waits.lost, idle.lost, newcomer.lost) == (False, True, False)


def test_where_everybody_is_busy_a_network_with_few_connections_takes_from_one_with_many() -> None:
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(
        clock,
        Gateway(clock, limits=ConnectionLimits(connections=3)).factory(
            service.handlers, FakeBuildServerService().handlers
        ),
    )
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef"}
    busy = []
    for _ in range(3):
        busy.append(admitted(ends))
        service.hold = service.hold or Deferred()
        busy[-1].transport.write(banana(call(1, b"status", ask))[4:])
        ends.run()
    assert not ends.join(object()), "from the same network there is nobody to take it from"
    ends.address = "192.0.2.2"
    assert not ends.raw().lost
    assert [client.lost for client in busy] == [True, False, False]


def test_unfinished_messages_of_all_connections_together_are_bounded() -> None:
    ends = wires(ConnectionLimits(held=5_000))
    unfinished = banana() + b"\x10\x80" + b"\x08\x07\x82" + b"x" * 500  # sixteen strings, one half of the first
    assert ends.server is not None
    clients = [ends.raw() for _ in range(20)]
    for client in clients:
        client.transport.write(unfinished)  # type: ignore[union-attr]
        ends.run()
        assert ends.server.memory <= 5_000
    kept = [client for client in clients if not client.lost]
    assert 5 <= len(kept) <= 9
    for client in kept:
        client.transport.loseConnection()  # type: ignore[union-attr]
    ends.run()
    assert ends.server.memory == 0, "what is gone is not counted any more"
    again = ends.raw()
    again.transport.write(unfinished)  # type: ignore[union-attr]
    ends.run()
    assert not again.lost


def test_when_memory_is_short_the_largest_goes_and_small_ones_stay() -> None:
    ends = wires(ConnectionLimits(held=20_000))
    honest = admitted(ends)
    honest.transport.write(banana(call(1, b"status", {"type": "AskStatus"}))[4:50])
    hostile = [admitted(ends) for _ in range(10)]
    for client in hostile:
        client.transport.write(b"\x05\x80" + b"\x10\x27\x82" + b"x" * 4_000)
        ends.run()
    assert not honest.lost
    assert sum(client.lost for client in hostile) >= 5
    assert "the most when there was no more" in ends.brokers()[1].why


def test_a_thousand_hostile_connections_write_a_dozen_lines(lines: list[LogEvent]) -> None:
    ends = wires()
    for _ in range(1_000):
        client = ends.raw()
        client.transport.write(b"GET / HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]
        ends.run()
        assert client.lost
        ends.pumps.clear()
    assert len(lines) <= 12


def test_how_many_lines_were_left_out_is_said_with_the_next(lines: list[LogEvent]) -> None:
    clock = Clock()
    complaints = ViolationLog(clock, most=2, period=60.0)
    for number in range(5):
        complaints.say(f"line {number}")
    clock.advance(61)
    complaints.say("another")
    said = [event.get("line") or event.get("count") for event in lines]
    assert said == ["line 0", "line 1", 3, "another"]


# --- connections after hello ------------------------------------------------------------------------------


def admitted(ends: Wires) -> Any:
    client = ends.raw()
    client.transport.write(banana([b"version", 6], call(b"root", b"hello", HELLO)))  # type: ignore[union-attr]
    ends.run()
    client.received = b""
    assert ends.brokers()[-1].known
    return client


def test_hello_hands_out_an_object_and_only_its_methods_can_be_called() -> None:
    for bad in (
        call(1, b"hello", HELLO), call(1, b"register", {}, 1), call(1, b"remoteMessageReceived", {}),
        call(2, b"submit", {}), call(1, b"submit"), call(1, b"follow", {}), call(1, b"follow", {}, 1),
        call(b"1", b"submit", {}), [b"decref", 2],
    ):  # fmt: skip
        ends = wires()
        client = admitted(ends)
        client.transport.write(banana(bad)[4:])
        ends.run()
        assert client.lost, bad


def test_a_message_that_is_none_is_answered_and_the_connection_stays() -> None:
    ends = wires()
    client = admitted(ends)
    client.transport.write(banana(call(1, b"submit", {"type": "Submit"}))[4:])
    ends.run()
    assert not client.lost
    assert b"decode" in client.received


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "a text that is not JSON"),
        (b"\xff", "a text that is not UTF-8"),
        (b'{"type":NaN}', "the number NaN"),
        (b'{"type":1,"type":1}', "a name twice"),
        (b'{"type":%d}' % 2**63, "a whole number of more than 64 bits"),
        (b'"\\ud800"', "half a surrogate pair"),
        (b"[" * 33 + b"]" * 33, "a text that nests more than 32 deep"),
        (b"[" + b"0," * 20_000 + b"0]", "a text of more than 20000 values"),
        ({"type": "Submit"}, "called 'submit' in a wrong way"),
    ],
)
def test_whoever_sends_no_text_of_a_message_is_dropped_with_one_line(
    text: object, said: str, lines: list[LogEvent]
) -> None:
    ends = wires()
    client = admitted(ends)
    client.transport.write(banana(message(1, b"submit", text))[4:])
    ends.run()
    assert client.lost
    (line,) = [event["line"] for event in lines if "line" in event]
    assert said in line


def test_a_call_is_charged_for_what_its_message_takes_as_objects_while_it_waits() -> None:
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(clock, Gateway(clock).factory(service.handlers, FakeBuildServerService().handlers))
    client = admitted(ends)
    service.hold = Deferred()
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef", "later": [[{"a": 1}]] * 1_000}
    client.transport.write(banana(call(1, b"status", ask))[4:])
    ends.run()
    held = ends.brokers()[0].held
    assert held >= memory_of(json.dumps(ask).encode()) > 10 * len(json.dumps(ask))
    waiting, service.hold = service.hold, None
    waiting.callback(None)
    ends.run()
    assert ends.brokers()[0].held == 0


def test_a_second_hello_is_refused() -> None:
    ends = wires()
    client = admitted(ends)
    client.transport.write(banana(call(b"root", b"hello", HELLO))[4:])
    ends.run()
    assert b"hello was said already" in client.received


def test_a_requester_who_neither_asks_nor_waits_is_dropped_in_the_end() -> None:
    ends = wires(ConnectionLimits(idle_time=100))
    client = admitted(ends)
    ends.advance(90)
    client.transport.write(banana(call(1, b"status", {}))[4:])
    ends.run()
    ends.advance(90)
    assert not client.lost
    ends.advance(20)
    assert client.lost


def test_whoever_does_not_read_answers_is_not_listened_to_and_dropped_in_the_end() -> None:
    ends = wires(ConnectionLimits(stall_time=60))
    client = admitted(ends)
    broker = ends.brokers()[0]
    paused: list[str] = []
    broker.transport.pauseProducing = lambda: paused.append("paused")
    broker.transport.resumeProducing = lambda: paused.append("resumed")
    broker.pauseProducing()
    broker.resumeProducing()
    assert paused == ["paused", "resumed"]
    ends.advance(100)
    assert not client.lost
    broker.pauseProducing()
    ends.advance(61)
    assert client.lost


def test_calls_that_wait_for_their_answers_are_bounded_by_not_reading_on() -> None:
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(
        clock,
        Gateway(clock, limits=ConnectionLimits(calls=4)).factory(service.handlers, FakeBuildServerService().handlers),
    )
    client = admitted(ends)
    broker = ends.brokers()[0]
    paused: list[str] = []
    broker.transport.pauseProducing = lambda: paused.append("paused")
    broker.transport.resumeProducing = lambda: paused.append("resumed")
    service.hold = Deferred()
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef"}
    for number in range(4):
        client.transport.write(banana(call(1, b"status", ask, request=number))[4:])
        ends.run()
    assert paused == ["paused"]
    held, service.hold = service.hold, None
    held.callback(None)
    ends.run()
    assert paused == ["paused", "resumed"]
    assert client.received.count(b"satisfied") == 4


@define
class SlowService(FakeRequestService):
    """Takes a millisecond of the reactor's time for every call, and notes over which connection it came."""

    clock: Clock = field(factory=Clock)
    asked: list[int] = field(factory=list)

    async def status(self, by: Principal, message: AskStatus) -> RequestStatus:
        self.clock.rightNow += 0.001
        assert asker().connection == by.connection
        self.asked.append(by.connection)
        return await super().status(by, message)


def test_many_calls_in_one_piece_leave_room_for_others_and_are_all_answered_in_turns() -> None:
    service = SlowService({12: messages.told()})
    ends = Wires(service.clock, Gateway(service.clock).factory(service.handlers, FakeBuildServerService().handlers))
    admitted(ends)
    admitted(ends)
    eager, modest = ends.brokers()
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef"}
    eager.dataReceived(banana(*(call(1, b"status", ask, request=number) for number in range(60)))[4:])
    assert 1 <= len(service.asked) <= 6
    modest.dataReceived(banana(call(1, b"status", ask, request=1))[4:])
    turn(service.clock)
    assert service.asked.count(id(modest)) == 1
    assert len(service.asked) <= 12
    while service.clock.seconds() < 1.0 and len(service.asked) < 61:
        turn(service.clock)
    assert service.asked.count(id(eager)) == 60


def test_calls_that_come_in_one_piece_are_bounded_like_others() -> None:
    """What was read with them waits its turn, and is counted as long as it does."""
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(
        clock,
        Gateway(clock, limits=ConnectionLimits(calls=4)).factory(service.handlers, FakeBuildServerService().handlers),
    )
    client = admitted(ends)
    service.hold = Deferred()
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef"}
    client.transport.write(banana(*(call(1, b"status", ask, request=number) for number in range(50)))[4:])
    ends.run()
    broker = ends.brokers()[0]
    assert broker._calls == 4
    assert broker.held > 50 * 50
    held, service.hold = service.hold, None
    held.callback(None)
    ends.run()
    assert client.received.count(b"satisfied") == 50
    assert broker.held == 0


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_a_message_is_counted_from_its_first_byte_until_its_answer_is_read(cuts: list[int]) -> None:
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(clock, Gateway(clock).factory(service.handlers, FakeBuildServerService().handlers))
    client = admitted(ends)
    broker = ends.brokers()[0]
    factory = ends.server
    assert factory is not None
    service.hold = Deferred()
    stream = banana(call(1, b"status", {"type": "AskStatus", "request_id": 12, "token": "abcdef"}))[4:]
    at = 0
    for size in cuts:
        client.transport.write(stream[at : at + size])
        at += size
        ends.run()
        assert broker.held >= min(at, len(stream))
        assert factory.memory == broker.held
    client.transport.write(stream[at:])
    ends.run()
    assert factory.memory == broker.held >= len(stream)
    broker.pauseProducing()  # it does not read
    held, service.hold = service.hold, None
    held.callback(None)
    assert factory.memory == broker.held > 0
    broker.resumeProducing()
    ends.run()
    assert factory.memory == broker.held == 0


def test_whoever_asks_for_much_and_reads_nothing_is_dropped_before_it_takes_much_memory() -> None:
    clock = Clock()
    service = FakeRequestService({12: messages.told()})
    ends = Wires(
        clock,
        Gateway(clock, limits=ConnectionLimits(unread=2_000)).factory(
            service.handlers, FakeBuildServerService().handlers
        ),
    )
    client = admitted(ends)
    broker = ends.brokers()[0]
    service.hold = Deferred()
    ask = {"type": "AskStatus", "request_id": 12, "token": "abcdef"}
    client.transport.write(banana(*(call(1, b"status", ask, request=number) for number in range(50)))[4:])
    ends.run()
    broker.pauseProducing()
    held, service.hold = service.hold, None
    held.callback(None)
    ends.run()
    assert client.lost
    assert "bytes of answers unread" in broker.why


def test_the_server_listens_to_no_more_of_a_dropped_connection() -> None:
    ends = wires()
    client = ends.raw()
    broker = ends.brokers()[0]
    broker.drop("a reason")
    broker.dataReceived(banana([b"version", 6], call(b"root", b"hello", HELLO)))
    assert not broker.known
    ends.run()
    assert client.lost
