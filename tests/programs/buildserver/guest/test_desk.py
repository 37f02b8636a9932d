"""The owner's desk: what is asked for holds, what is wrong changes nothing."""

from datetime import UTC
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.control.build_server_link import LinkStanding
from buildtool.adapters.host.presence.probe import ToldBy
from buildtool.adapters.host.recipe_commands import BuildBounds
from buildtool.adapters.processes.gentleness import Gentleness
from buildtool.buildserver.following import ConfigurationFollower
from buildtool.buildserver.guest import Guest
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BuildToolError, ConfigurationError, UsageError
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.model.guest.following import FollowedTip, Kinship, SignatureVerdict
from buildtool.model.guest.limits import BuildLimits
from buildtool.model.guest.stance import OwnerWishes
from buildtool.programs.buildserver.guest.desk import GuestDesk, OwnedParts, farm_words, status_lines
from buildtool.programs.buildserver.guest.wishes import GuestSettings
from buildtool.programs.common.program import StopRequest
from tests.buildserver.test_following import Repository
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

    bounds = BuildBounds(BuildLimits(), builds=2, machine=20 << 30)
    parts = OwnedParts(Gentleness(), bounds, TokenBucket(at.clock), TokenBucket(at.clock))
    return GuestDesk("one", guest, told, PLAIN, read, PLACE, drained.append, parts)


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


def test_the_farm_and_the_connection_are_told_with_when_or_why_not() -> None:
    it = desk()
    now = it.guest.clock.wall()
    it.farm = lambda: LinkStanding("farm:1", True, 120.0)
    assert it.status()["farm"] == {
        "where": "farm:1", "connected": True, "since": now - 120.0, "why": "", "again_at": None,
    }  # fmt: skip
    it.farm = lambda: LinkStanding("farm:1", False, 60.0, "nobody answers", 5.0)
    lost = it.status()["farm"]
    assert isinstance(lost, dict)
    assert lost["again_at"] == now + 5.0
    assert farm_words(lost, now) == "farm:1, not connected for 60 s: nobody answers; tries again in 5 s"
    assert farm_words({**lost, "again_at": None}, now).endswith("nobody answers; logs in now")
    assert farm_words({**lost, "connected": True}, now + 1.0) == "farm:1, connected for 61 s"


def test_each_reason_has_a_line_of_its_own() -> None:
    it = desk()
    it.answer({"act": "drain"})
    it.pause("")
    it.full = lambda: "too much waits here"
    assert it.status()["reasons"] == [
        "its owner drains it",
        "its owner paused it until they resume it",
        "too much waits here",
    ]
    lines = status_lines(it.status())
    at = lines.index("takes more  no: its owner drains it")
    assert lines[at + 1] == "            and its owner paused it until they resume it"


def test_what_the_owner_keeps_of_the_disk_is_no_part_of_what_builds_may_write() -> None:
    it = desk(GuestSettings(evolve(PLAIN.wishes, disk=20.0)))
    it.reload()
    assert it.parts.bounds.kept == 20 << 30


def test_builds_are_as_gentle_as_was_said_last() -> None:
    it = desk(
        GuestSettings(PLAIN.wishes, nice=7, io_idle=True, cpus=1, upload_rate=5.0, download_rate=9.0, memory=8 << 30)
    )
    it.answer({"act": "reload"})
    gentle = it.parts.gentleness
    assert (gentle.nice, gentle.io_idle, gentle.cpus) == (7, True, 1)
    assert (it.parts.uploading.rate, it.parts.downloading.rate) == (5.0, 9.0)
    assert it.parts.bounds.limits.memory == 4 << 30, "each of two builds has half"
    it.settings = PLAIN
    it.be_gentle()
    assert it.parts.bounds.limits.memory == 9 << 30, "nine tenths of the machine, as without a word"


def test_what_builds_and_transfers_are_kept_to_is_part_of_how_things_stand() -> None:
    wishes = evolve(PLAIN.wishes, memory_present=2 << 30)
    it = desk(GuestSettings(wishes, memory=8 << 30, upload_rate=512_000.0, download_rate=2_048_000.0))
    status = it.answer({"act": "reload"})
    assert (status["memory"], status["memory_present"], status["download_rate"]) == (8 << 30, 2 << 30, 2_048_000.0)
    lines = status_lines({**status, "builds_memory": 3 << 20})
    assert "memory      8.0 GiB for builds, 2.0 GiB while its owner is there, 3.0 MiB in use" in lines
    assert "rates       upload 500.0 KiB/s, download 2.0 MiB/s" in lines
    assert not any(line.startswith(("memory", "rates")) for line in status_lines(desk().status()))


def test_a_commit_is_accepted_where_a_repository_is_followed_and_how_it_stands_is_told() -> None:
    it = desk()
    with pytest.raises(UsageError, match="this build server follows no repository"):
        it.answer({"act": "accept-config", "for": "b" * 40})
    assert it.status()["following"] is None

    following = follower(it)
    it.following = following
    following.record = FollowRecord(tip="b" * 40, words="bbbbbbbbbbbb waits for you")
    with pytest.raises(UsageError, match="is not what waits, which is bbbbbbbbbbbb"):
        it.answer({"act": "accept-config", "for": "c" * 40})
    it.answer({"act": "accept-config", "for": "b" * 7})
    assert following.record.accepted == "b" * 40
    assert "follows     URL: no commit of it is used yet; bbbbbbbbbbbb is accepted, and looked at now" in status_lines(
        it.status()
    )
    assert it.answer({"act": "reload"})["wrong"] == ""


def follower(it: GuestDesk) -> ConfigurationFollower:
    """What follows a repository that nothing is asked of here."""
    at = place()
    seat, anew = Seat(at), StopRequest()

    async def keep(_: FollowRecord) -> None:
        """Keep nothing."""

    return ConfigurationFollower(
        Repository(FollowedTip("b" * 40, SignatureVerdict.UNSIGNED, Kinship.FIRST)), "URL", FollowRecord(), keep,
        it.guest.server, True, 60.0, tuple, seat, at.clock, anew.ask, lambda: 0.0,
    )  # fmt: skip


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
