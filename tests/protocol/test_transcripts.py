"""What was released stays on the wire: peers of every minor version of 3 understand each other."""

from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from twisted.internet.task import Clock
from twisted.spread import pb

from buildtool.adapters.control.client import greet
from buildtool.adapters.control.decoder import Bounds, Expressions
from buildtool.errors import ProtocolMismatch, Unavailable
from buildtool.protocol import codec
from buildtool.protocol.hello import CAPABILITIES, PROTOCOL_MINOR, PROTOCOL_VERSION, hello_of
from buildtool.protocol.json_text import TextBounds, parsed
from tests.adapters.control.wires import Wires, banana, message
from tests.protocol.transcripts import CLASSES, NOW, PLAYS, ROOT, SAMPLES, Stage, files, log_of

VERSIONS = sorted(ROOT.iterdir())
WIDE = TextBounds(100_000)
CHANGED = (
    f"What is on the wire in protocol {PROTOCOL_VERSION}.{PROTOCOL_MINOR} has changed, and peers that have it do not. "
    "Where this version is released: take the change back, or add what you need as fields with defaults (or as what a "
    "capability in hello.py gates), raise PROTOCOL_MINOR there, and run `python -m tests.protocol.transcripts`, "
    "which writes the new version's files; those of older versions stay as they are. Where it is not released yet: "
    f"remove tests/protocol/transcripts/{NOW.name} and run that."
)


def holds(new: object, old: object) -> bool:
    """Return whether plain data says all that older data says, and perhaps more; a Hello may name more and be newer."""
    if isinstance(old, dict) and isinstance(new, dict) and new.get("type") == old.get("type") == "Hello":
        newer = new["minor"] >= old["minor"] and set(new["capabilities"]) >= set(old["capabilities"])
        gone = dict.fromkeys(("minor", "capabilities"))
        return newer and holds({**new, **gone, "type": ""}, {**old, **gone, "type": ""})
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(map(holds, new, old))
    return type(old) is type(new) and old == new


def texts(version: Path) -> list[str]:
    return (version / "messages.jsonl").read_text("utf-8").splitlines()


def test_every_message_has_a_sample() -> None:
    own = {name for name, cls in CLASSES.items() if cls.__module__.startswith("buildtool.protocol")}
    inside = {
        "ServerStatus",
        "TriggerStatus",
        "TargetStatus",
        "ChannelStatus",
        "ChannelMember",
        "HookStatus",
        "RefusalCount",
        "RunningBuildStatus",
        "WaitingBuildStatus",
        "ListedToken",
        "LimitLeft",
        "EventNote",
        "RunningView",
        "WaitView",
        "Figure",
    }
    assert own == {type(sample).__name__ for sample in SAMPLES} | inside


@pytest.mark.parametrize("name", ["messages.jsonl", *PLAYS])
def test_this_version_sends_what_it_sent_when_it_was_released(name: str) -> None:
    now = files()[name].splitlines()
    kept = (NOW / name).read_text("utf-8").splitlines() if NOW.exists() else []
    differing = [(was, now_) for was, now_ in zip(kept, now, strict=False) if was != now_]
    assert not differing, CHANGED
    assert len(now) == len(kept), CHANGED


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_every_message_of_every_version_is_understood_and_nothing_of_it_is_lost(version: Path) -> None:
    for text in texts(version):
        old = parsed(text.encode(), WIDE)
        again = codec.encode(codec.decode(CLASSES[old["type"]], old))
        assert holds(again, old), text


def understood(stream: bytes) -> list[object]:
    """Return what a stream of Perspective Broker holds, the texts of messages parsed."""

    def inside(part: object) -> object:
        if isinstance(part, list):
            return [inside(each) for each in part]
        return parsed(part, WIDE) if isinstance(part, bytes) and part.startswith(b"{") else part

    return [inside(each) for each in Expressions(Bounds(10**7, 10**5)).feed(stream)]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("name", PLAYS)
def test_a_peer_of_every_version_is_answered_as_it_was(version: Path, name: str) -> None:
    """What it sent is sent again, byte for byte, to the metaserver of today."""
    stage = Stage()
    client = stage.ends.raw()
    answered = b""
    for mark, data in log_of((version / name).read_text("utf-8")):
        if mark == ">":
            client.transport.write(data)  # type: ignore[union-attr]
            stage.ends.run()
        elif mark == "*":
            stage.happens(data.decode())
        else:
            answered += data
    assert not stage.ends.brokers()[0].why
    assert holds(understood(client.received), understood(answered))


def test_a_peer_of_version_2_understands_what_it_is_refused_with() -> None:
    """Its Hello is a dictionary of Perspective Broker's own, and so is what it takes for an answer."""
    said: list[object] = []

    class Old(pb.PBClientFactory):
        protocol = pb.Broker

    stage = Stage()
    factory = Old()
    broker = factory.buildProtocol(None)
    assert stage.ends.join(broker)
    stage.ends.run()
    root = broker.remoteForName("root")
    waiting = root.callRemote("hello", {"type": "Hello", "protocol": 2, "role": "requester", "software": "buildtool"})
    waiting.addCallback(said.append)
    stage.ends.run()
    older = "update buildtool on the side that connects"
    words = f"the metaserver (buildtool) speaks protocol 3, the other side speaks 2: {older}"
    assert said == [{"type": "Refused", "code": "protocol", "message": words}]


def test_a_metaserver_of_version_2_refuses_this_one_in_a_line_that_is_understood() -> None:
    words = "the metaserver (buildtool) speaks protocol 2, the other side speaks 3: update the metaserver"

    class Root(pb.Root):
        heard: ClassVar[list[object]] = []

        def remote_hello(self, hello: object) -> object:
            self.heard.append(hello)
            return {"type": "Refused", "code": "protocol", "message": words}

    ends = Wires(Clock(), pb.PBServerFactory(Root()))  # type: ignore[arg-type]
    with pytest.raises(ProtocolMismatch) as caught:
        ends.result(greet(ends, "here", "requester", ends.clock))  # type: ignore[arg-type]
    assert str(caught.value) == f"here: {words}"
    (said,) = Root.heard
    assert codec.protocol_of(said) == 3


@pytest.mark.parametrize("answer", [b"NaN", b'{"type":"Hello"', b"\xff", 7, ["Hello"]])
def test_what_is_no_answer_to_hello_is_told_at_once(answer: object) -> None:
    class Root(pb.Root):
        def remote_hello(self, _hello: object) -> object:
            return answer

    ends = Wires(Clock(), pb.PBServerFactory(Root()))  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="what answers at here is not a metaserver"):
        ends.result(greet(ends, "here", "requester", ends.clock))  # type: ignore[arg-type]


def test_each_side_knows_what_the_other_names_in_its_hello() -> None:
    stage = Stage()
    session = stage.ends.result(greet(stage.ends, "here", "requester", stage.clock))  # type: ignore[arg-type]
    assert session.theirs == hello_of("metaserver")
    (broker,) = stage.ends.brokers()
    assert broker.capabilities == session.broker.capabilities == frozenset(CAPABILITIES)
    client = stage.ends.raw()
    named = codec.encode(attrs.evolve(hello_of("requester"), minor=9, capabilities=("colours",))) | {"colour": "blue"}
    client.transport.write(banana([b"version", 6], message(b"root", b"hello", named)))  # type: ignore[union-attr]
    stage.ends.run()
    assert stage.ends.brokers()[-1].capabilities == {"colours"}


def test_a_sample_says_something_in_every_field() -> None:
    """So a text that loses a field is seen: of each message there is one in which it is not as when it is absent."""
    seen: dict[str, set[str]] = {}

    def look(value: object) -> None:
        kind: Any = type(value)
        if attrs.has(kind):
            said = seen.setdefault(kind.__name__, set())
            for one in attrs.fields(kind):
                inner = getattr(value, one.name)
                if one.default is attrs.NOTHING or inner != one.default:
                    said.add(one.name)
                look(inner)
        elif isinstance(value, tuple):
            for each in value:
                look(each)

    for sample in SAMPLES:
        look(sample)
    lacking = {
        (name, one.name) for name, cls in CLASSES.items() for one in attrs.fields(cls) if one.name not in seen[name]
    }
    of_hello = {("Hello", name) for name in ("minor", "capabilities", "authority", "projects")}
    assert lacking == {*of_hello, ("ActionResult", "changed")}
