"""The owner's desk: what is asked for holds, what is wrong changes nothing."""

from datetime import UTC
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host.presence.probe import ToldBy
from buildtool.adapters.processes.gentleness import Gentleness
from buildtool.buildserver.guest import Guest
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BuildToolError, ConfigurationError, UsageError
from buildtool.model.guest.stance import OwnerWishes
from buildtool.programs.buildserver.guest.desk import GuestDesk, status_lines
from buildtool.programs.buildserver.guest.wishes import GuestSettings
from tests.buildserver.test_guest import Seat
from tests.fakes_build import place

LOGIND = ToldBy(("logind",))
PLACE = Path("guest.toml")
PLAIN = GuestSettings(OwnerWishes(UTC))


def desk(found: GuestSettings | BuildToolError = PLAIN, told: ToldBy = LOGIND) -> GuestDesk:
    at = place()
    seat = Seat(at)
    guest = Guest(at.server, seat, PLAIN.wishes, seat, at.clock)
    drained: list[str] = []

    def read() -> GuestSettings:
        if isinstance(found, BuildToolError):
            raise found
        return found

    return GuestDesk("one", guest, told, PLAIN, read, PLACE, drained.append, Gentleness(), TokenBucket(at.clock))


def test_a_pause_counts_at_once_and_so_does_its_end() -> None:
    it = desk()
    assert it.answer({"act": "pause", "for": "30m"})["takes"] is False
    assert it.guest.server.notice().closed.startswith("its owner paused it")
    assert it.answer({"act": "resume"})["takes"] is True
    assert it.answer({"act": "pause"})["until"] is None


def test_settings_that_are_wrong_leave_the_old_ones_and_say_so() -> None:
    it = desk(ConfigurationError("guest.toml: is not TOML"))
    with pytest.raises(ConfigurationError):
        it.answer({"act": "reload"})
    assert it.status()["wrong"] == "guest.toml: is not TOML"
    assert it.settings is PLAIN
    assert "as they were before" in "\n".join(status_lines(it.status()))

    nothing_tells = desk(GuestSettings(evolve(PLAIN.wishes, idle_only=True)), ToldBy())
    with pytest.raises(UsageError, match="nothing on this machine tells"):
        nothing_tells.answer({"act": "reload"})
    assert nothing_tells.guest.wishes is PLAIN.wishes


def test_commands_are_as_gentle_as_was_said_last() -> None:
    it = desk(GuestSettings(PLAIN.wishes, nice=7, io_idle=True, cpus=1, upload_rate=5.0))
    it.answer({"act": "reload"})
    assert (it.gentleness.nice, it.gentleness.io_idle, it.gentleness.cpus) == (7, True, 1)
    assert it.uploading.rate == 5.0


def test_what_drains_takes_nothing_more() -> None:
    it = desk()
    assert it.answer({"act": "drain"})["why"] == "its owner drains it"
    assert "takes more  no: its owner drains it" in status_lines(it.status())


@given(st.dictionaries(st.sampled_from(["act", "for", "x"]), st.text(max_size=8) | st.integers() | st.none()))
def test_whatever_is_asked_is_answered_or_refused_in_a_line(asked: dict[str, object]) -> None:
    try:
        desk().answer(asked)
    except BuildToolError as error:
        words = str(error)
    else:
        words = ""
    assert "\n" not in words
