"""logind: who is at a desktop, as busctl prints it, whatever it prints."""

import math

from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host.presence.logind import COMMAND, logind_age, parse_idle


def test_a_desktop_is_idle_since_when_logind_says() -> None:
    asked = []

    def ask(command: object) -> str:
        asked.append(command)
        return "b true\nt 1700000000000000\n"

    assert logind_age(ask, 1_700_000_060.0) == 60.0
    assert asked == [COMMAND]


def test_a_desktop_in_use_is_not_idle_at_all_and_without_logind_nothing_is_told() -> None:
    assert parse_idle("b false\nt 1700000000000000\n") == math.inf
    assert logind_age(lambda _: "b false\nt 0\n", 1_700_000_000.0) == 0.0
    assert logind_age(lambda _: None, 1_700_000_000.0) is None
    assert logind_age(lambda _: "Failed to connect to bus: No such file or directory", 0.0) is None


@given(st.text(max_size=60) | st.text(max_size=20).map("b true\nt {}".format))
def test_whatever_is_printed_is_a_time_or_nothing(said: str) -> None:
    found = parse_idle(said)
    assert found is None or found >= 0
