"""What changes is told to a program as to a browser, from where it heard last."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buildtool.client.changes import MOST, EventText, FarmChange
from buildtool.client.groups import FarmGroup
from buildtool.errors import DecodeError, NotFound
from tests.client.farms import ClientWorld
from tests.web.api.world import ApiWorld
from tests.web.live.test_hub import World

STREAM = b"retry: 2000\n\nid: 7\nevent: alive\ndata: 12.5\n\nid: 9\nevent: changed\ndata: build/3 queue\n\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_events_are_read_wherever_they_are_cut(cuts: list[int]) -> None:
    text, found, before = EventText(), list[Any](), 0
    for cut in [*sorted(cuts), len(STREAM)]:
        found += text.feed(STREAM[before:cut])
        before = cut
    assert found == [("alive", "12.5", 7), ("changed", "build/3 queue", 9)]


@pytest.mark.parametrize("wrong", [b"x" * (MOST + 1), b"id: 9" * 20 + b"\nevent: a\n\n", b"id: -1\nevent: a\n\n"])
def test_what_is_no_stream_of_ours_is_refused(wrong: bytes) -> None:
    with pytest.raises(DecodeError):
        list(EventText().feed(wrong))


def test_pages_that_hear_nothing_say_so() -> None:
    at = ClientWorld()
    with pytest.raises(NotFound):
        at.do(FarmGroup(at.api()).change())


def test_the_newest_is_told_at_once_and_then_what_changes_or_that_nothing_did() -> None:
    live = World()
    live.commit("farm")
    live.begin()
    at = ClientWorld(ApiWorld(live=live.hub))
    group = FarmGroup(at.api())
    newest = at.do(group.change())
    assert newest == FarmChange(1)
    told: list[Any] = []
    Deferred.fromCoroutine(group.change(newest.number)).addBoth(told.append)
    at.settle()
    assert told == []
    live.commit("server/oak")
    live.tell()
    at.settle()
    assert told == [FarmChange(2, ("farm", "machine/oak", "machines", "queue"))]
    assert at.do(group.change(newest.number)) == told[0], "what was missed is told at once"
    assert at.do(group.change(2, wait=0.0)) == FarmChange(2), "nothing changed in that time"
