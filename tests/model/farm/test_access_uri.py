"""Of what an owner says, only addresses that lead to a machine by a way that is known are links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.farm.access_uri import LINKED, access_link


@pytest.mark.parametrize("scheme", LINKED)
def test_the_ways_to_log_in_are_links(scheme: str) -> None:
    for said in (f"{scheme}://attic.example.org", f"{scheme.upper()}://ann@[2001:db8::1]:22/a?b#c"):
        assert access_link(said) == said


@pytest.mark.parametrize("said", [
    "javascript:alert(1)", "javascript://attic/%0aalert(1)", "data://x,y", "file:///etc/passwd", "ftp://attic", "attic",
    "",
    "ssh://", "ssh:///x", "ssh://ann@", "http://attic/ onclick=x", 'http://attic/"x', "http://\u0430ttic", "ssh://a\nb",
    "http://" + "a" * 500,
])  # fmt: skip
def test_nothing_else_is(said: str) -> None:
    assert access_link(said) == ""


@given(st.text(max_size=40))
def test_whatever_is_said_a_link_begins_with_one_of_them(said: str) -> None:
    assert access_link(said) in ("", said)
    assert not access_link(said) or said.lower().startswith(tuple(f"{one}://" for one in LINKED))
