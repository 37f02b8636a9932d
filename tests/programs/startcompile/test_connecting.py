"""Connecting: who asks while the metaserver is being started is answered once it has."""

import argparse
import os
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import AttrsInstance, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock

from buildtool.adapters.control.client import Session
from buildtool.adapters.control.gateway import Gateway
from buildtool.errors import (
    NOTHING_ACCEPTED,
    BuildToolError,
    GitMissing,
    ProtocolMismatch,
    RepositoryUnreachable,
    StorageUnavailable,
    Unavailable,
    UnknownProject,
    UsageError,
)
from buildtool.model.access.metaserver_addresses import at_ports, read_addresses
from buildtool.programs.common.joining import FarmEndpoint
from buildtool.programs.startcompile.command_line import given_beside
from buildtool.programs.startcompile.connecting import STARTING, as_answered, check_addressee, over_pb
from buildtool.programs.startcompile.main import COMMAND_LINE
from buildtool.programs.startcompile.places import MetaserverPlaces, places_meant, shown_token
from buildtool.protocol.hello import AskRefs, AskRequests
from buildtool.protocol.messages import RequestStatuses
from buildtool.protocol.projects.latest import AskLatest
from tests import messages
from tests.adapters.control.wires import Wires
from tests.fakes import FakeBuildServerService, FakeRequestService
from tests.programs.startcompile.test_command_line import ANNA
from tests.programs.startcompile.test_command_line import said as understood


def outcome(deferred: Deferred[Any]) -> list[object]:
    found: list[object] = []
    deferred.addBoth(found.append)
    return found


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0, STARTING - 0.5])
def test_a_metaserver_that_starts_within_a_few_seconds_is_waited_for(seconds: float) -> None:
    clock = Clock()
    wires = Wires(clock)
    connect = over_pb(cast(IStreamClientEndpoint, wires), "farm.example:1", cast(IReactorTime, clock))
    connecting = Deferred.fromCoroutine(connect())
    if seconds:
        wires.advance(seconds)
    assert not connecting.called
    factory = Gateway(clock).factory(
        FakeRequestService({12: messages.waiting()}).handlers, FakeBuildServerService().handlers
    )
    wires.server = factory
    wires.advance(0.5)
    assert isinstance(connecting.result, Session)


@pytest.mark.parametrize("message", [AskRequests(20), AskRefs("lua"), AskLatest("lua", "", "", {}, {}, {})])
def test_an_older_metaserver_is_not_asked_for_what_it_would_hang_up_at(message: AttrsInstance) -> None:
    clock = Clock()
    wires = Wires(clock)
    wires.server = Gateway(clock).factory(FakeRequestService().handlers, FakeBuildServerService().handlers)
    connecting = Deferred.fromCoroutine(
        over_pb(cast(IStreamClientEndpoint, wires), "farm.example:1", cast(IReactorTime, clock))()
    )
    wires.advance(0.5)
    session = connecting.result
    assert isinstance(session, Session)
    session.theirs = evolve(session.theirs, capabilities=("events",))
    (refused,) = outcome(Deferred.fromCoroutine(session.ask(message, RequestStatuses)))
    error = getattr(refused, "value", None)
    assert isinstance(error, ProtocolMismatch)
    assert "the metaserver at farm.example:1 is older" in str(error)
    assert not session.broker.disconnected


def test_one_that_does_not_start_is_told_after_that_and_a_lost_one_at_once() -> None:
    clock = Clock()
    wires = Wires(clock)
    connect = over_pb(cast(IStreamClientEndpoint, wires), "farm.example:1", cast(IReactorTime, clock))
    first = Deferred.fromCoroutine(connect())
    for _ in range(20):
        wires.advance(STARTING / 10)
    failed = outcome(first)
    assert len(failed) == 1
    error = getattr(failed[0], "value", None)
    assert isinstance(error, Unavailable)
    assert "nothing listens there" in str(error)
    assert STARTING <= wires.tried[-1] <= STARTING + 1
    again = outcome(Deferred.fromCoroutine(connect()))
    assert isinstance(getattr(again[0], "value", None), BuildToolError)


def test_what_the_metaservers_configuration_lacks_is_not_taken_for_ones_own_fault() -> None:
    unknown = as_answered(UnknownProject("unknown project 'x'; there is a, b"), "farm.example:1")
    assert isinstance(unknown, UnknownProject)
    assert str(unknown).startswith(
        "the metaserver at farm.example:1 says: unknown project 'x'; there is a, b; its conf"
    )
    assert str(unknown).endswith("perhaps an older: its operator can update it")
    assert str(as_answered(UsageError("--x: no"), "farm.example:1")) == "the metaserver at farm.example:1 says: --x: no"
    full = Unavailable("full")
    assert as_answered(full, "farm.example:1") is full


def test_a_value_that_ones_own_configuration_has_and_the_metaservers_has_not_is_told_as_such() -> None:
    checked = ("--checksum", "--utf8")
    for refused in (
        "--checksum: 'md5' is not one of crc32",
        "--utf8=yes needs --wide=yes, but it is no",
        "unknown compile option 'wide'; this project has utf8",
    ):
        said = str(as_answered(UsageError(refused), "farm.example:1", checked))
        assert said.startswith(f"the metaserver at farm.example:1 says: {refused}; its configuration is another one")
    platform = str(as_answered(UsageError("--arch: pcc is not known: did you mean ppc?"), "farm.example:1", checked))
    assert "configuration" not in platform


def test_it_is_said_whose_disk_could_not_keep_a_request() -> None:
    theirs = StorageUnavailable(f"{NOTHING_ACCEPTED}: the database is gone")
    said = str(as_answered(theirs, "farm.example:1"))
    assert said == f"the metaserver at farm.example:1 says: {NOTHING_ACCEPTED}: the database is gone"
    ours = StorageUnavailable("cannot write x.zip: the disk is full")
    assert as_answered(ours, "farm.example:1") is ours


@pytest.mark.parametrize("kind", [GitMissing, RepositoryUnreachable])
def test_what_the_metaservers_machine_lacks_is_not_looked_for_on_ones_own(kind: type[BuildToolError]) -> None:
    told = as_answered(kind("git is not installed on this machine"), "farm.example:1")
    assert isinstance(told, kind)
    assert str(told) == "the metaserver at farm.example:1 says: git is not installed on this machine"


def test_an_address_may_be_left_out_where_a_key_says_who_asks() -> None:
    """Without a key one line says so before anybody is asked; nobody is mailed about an explanation."""
    key = cast(FarmEndpoint, object())
    for line in ("", "--utf8"):
        said = understood(line)
        with pytest.raises(UsageError, match="say who is told: an e-mail address"):
            check_addressee(said, None)
        check_addressee(said, key)
        shown = read_addresses("tls:h:1:certificate=c:privateKey=k", "--host")
        check_addressee(evolve(said, where=MetaserverPlaces(shown)), None)
    for line in (ANNA, "explain", "why 12-abcdef"):
        check_addressee(understood(line), None)


def said_to_be(**more: object) -> argparse.Namespace:
    return argparse.Namespace(**{"host": None, "port": 0, "use_tls": False, "http": "", "token_file": None, **more})


def read(*words: str) -> argparse.Namespace:
    """What these words say of where the metaserver is, with what the environment gives."""
    given = given_beside(COMMAND_LINE, words)
    parser = COMMAND_LINE.parser(COMMAND_LINE.commands[0], said=False)
    said, _ = parser.parse_said(words)
    given.complete(said)
    return said


def test_over_http_is_asked_where_that_was_said_unless_a_control_port_was(monkeypatch: pytest.MonkeyPatch) -> None:
    control, pages = read_addresses("farm.example.org", "--host"), "https://farm.example.org"
    assert [one.where for one in places_meant(said_to_be(), at_ports(control, 1)).asked] == ["farm.example.org:1"]
    assert [one.where for one in places_meant(said_to_be(http=pages), control).asked] == [pages]
    monkeypatch.setenv("BUILDTOOL_HTTP", f"{pages}/api/v1")
    assert [one.where for one in places_meant(read(), None).asked] == [pages]
    assert [one.where for one in places_meant(read("--host=farm.example.org", "--port=2"), ()).asked] == [
        "farm.example.org:2"
    ]
    monkeypatch.setenv("BUILDTOOL_STARTCOMPILE_HOST", "other.example.org")
    assert [one.where for one in places_meant(read(f"--http={pages}/"), ()).asked] == [pages]
    with pytest.raises(UsageError, match="control port"):
        places_meant(read(), ())
    for contradiction in ({"http": pages, "host": control}, {"token_file": Path("token"), "host": control}):
        with pytest.raises(UsageError, match="control port"):
            places_meant(said_to_be(**contradiction), ())


def test_a_token_is_in_the_environment_or_in_a_file_and_is_handed_on_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDTOOL_TOKEN", "bt_one")
    assert shown_token(None, places_meant(read(), ()).token) == "bt_one"
    assert "BUILDTOOL_TOKEN" not in os.environ
    assert shown_token(None, places_meant(read(), ()).token) == ""
    kept = tmp_path / "token"
    kept.write_text("bt_two\n")
    assert shown_token(kept, "") == "bt_two"
    for text in ("", "two words", "ä"):
        kept.write_text(text)
        with pytest.raises(UsageError, match="holds no token"):
            shown_token(kept, "")
    with pytest.raises(UsageError, match="cannot be read"):
        shown_token(tmp_path / "none", "")
