"""How far a request is, in words and as a bar."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.requester.progress import progress
from tests import messages
from tests.support.lanes import examples


def test_a_build_is_shown_beside_what_is_usual_and_said_to_be_late_where_it_is() -> None:
    told = messages.waiting(usual=120.0)
    assert progress(told, 60.0).time == "60 s of usually 2 min"
    assert progress(told, 240.0).time == "longer than usual: 4 min so far, usually 2 min"
    assert progress(told, 240.0).seconds == 120.0, "a bar is full, and no fuller"
    assert progress(messages.waiting(), 60.0).time == "for 60 s"
    assert not progress(messages.waiting(), 60.0).has_bar
    frozen = progress(messages.waiting(usual=120.0, why=("it is frozen on attic",)), 60.0)
    assert (frozen.time, frozen.has_bar) == ("it is frozen on attic", False)


def test_what_waits_is_said_with_why_and_for_how_long() -> None:
    told = messages.waiting("queued", why=("  attic: busy until about 18:00", "  bob: needs arch ppc"))
    assert progress(told, 130.0).words == "build 17 has waited for 2 min: attic: busy until about 18:00"
    unconfirmed = messages.waiting("unconfirmed", build_id=None, reason="until its address is confirmed")
    assert progress(unconfirmed, 1.0).words == "request 12 has waited for 1 s: until its address is confirmed"


@settings(max_examples=examples(30))
@given(messages.ALL["RequestStatus"], st.floats(-1e9, 1e9))
def test_whatever_is_told_is_one_line_and_a_bar_is_never_fuller_than_full(told: Any, seconds: float) -> None:
    found = progress(told, seconds)
    assert f"{found.words}{found.time}".isprintable()
    assert found.usual is None or found.seconds <= found.usual
