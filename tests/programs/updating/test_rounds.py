"""An update that fails goes back by itself, wherever it fails, and whatever ends the updater meanwhile."""

from pathlib import Path

import pytest
from attrs import evolve

from buildtool.errors import AlreadyRunning, ConfigurationError, MachineFault, RepositoryUnreachable, UsageError
from buildtool.model.guest.following import SHORT
from buildtool.programs.updating.looking import MIGRATIONS
from buildtool.programs.updating.rounds import EXIT_GONE_BACK, EXIT_NOT_READY, EXIT_NOT_TAKEN, accept_seen
from tests.programs.updating.conftest import Installed, Killed

pytestmark = pytest.mark.world

BROKEN = {
    "no-start": "it was not started: bin/start ended with code 1: Job for metaserver.service failed",
    "never-ready": "it was not ready within 5 s: bin/ready ended with code 1",
    "dies": "it was ready, and then not any more: a process of it ended, and another one was started",
}


def test_the_first_version_is_installed_and_a_newer_one_runs_in_its_place(installed: Installed) -> None:
    first = installed.push("one")
    end = installed.run()
    assert (end.code, end.words) == (
        0, f"{first[:SHORT]} is installed: start its programs by {installed.place.link}/bin"
    )  # fmt: skip
    assert (installed.place.current(), installed.started) == (first, [])
    second = installed.push("two")
    began = installed.now
    end = installed.run()
    assert (end.code, end.words) == (0, f"{second[:SHORT]} runs, in place of {first[:SHORT]}")
    assert installed.now - began >= installed.choice.watch
    assert (installed.place.current(), installed.started) == (second, ["two"])
    assert installed.place.whole(first), "it can be gone back to"
    end = installed.run()
    assert (end.code, end.quiet, installed.steps) == (0, True, [])


@pytest.mark.parametrize("how", BROKEN)
def test_a_version_that_does_not_hold_is_gone_back_from_and_not_tried_again(installed: Installed, how: str) -> None:
    installed.running("one")
    first = installed.place.current()
    broken = installed.push(how)
    end = installed.run()
    assert (end.code, end.words) == (
        EXIT_GONE_BACK, f"{broken[:SHORT]} is gone back from, and {first[:SHORT]} runs again: {BROKEN[how]}"
    )  # fmt: skip
    assert installed.place.current() == first
    assert installed.started[-1] == "one"
    started = installed.started
    installed.now += 86_400.0 * 9
    end = installed.run()
    assert (end.code, installed.steps, installed.started) == (EXIT_GONE_BACK, [], started)
    assert f"is not tried again until something newer comes: {BROKEN[how]}" in end.words
    third = installed.push("three")
    assert installed.run().code == 0
    assert (installed.place.current(), installed.started[-1]) == (third, "three")
    assert installed.place.versions() == tuple(sorted((first, third))), "what failed is gone"


def test_a_version_that_the_configuration_is_not_for_is_not_started(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    broken = installed.push("bad-config")
    end = installed.run()
    why = "bin/check ended with code 2: config.py: unknown setting 'x'"
    assert (end.code, end.words) == (EXIT_GONE_BACK, f"{broken[:SHORT]} is not taken: {why}; {first[:SHORT]} runs on")
    assert (installed.place.current(), installed.started) == (first, ["one"])
    assert installed.place.versions() == (first,)


def test_an_environment_that_cannot_be_made_is_tried_again_later_and_meanwhile_the_old_one_goes_on(
    installed: Installed,
) -> None:
    installed.running("one")
    first = installed.place.current()
    installed.push("no-network")
    end = installed.run()
    assert end.code == 1
    assert "its environment cannot be made" in end.words
    assert "ERROR: Could not find a version that satisfies the requirement attrs" in end.words
    assert (installed.place.current(), installed.started, installed.place.versions()) == (first, ["one"], (first,))
    assert installed.run().code == 1
    assert installed.steps == [], "not each time that the timer comes"
    installed.now += 600.0
    installed.run()
    assert [words.split()[0] for words in installed.steps] == ["makes"]


def test_a_repository_that_is_away_is_said_and_changes_nothing(installed: Installed) -> None:
    installed.running("one")
    installed.origin.path.rename(installed.world / "away")
    with pytest.raises(RepositoryUnreachable, match="cannot read"):
        installed.run()
    assert installed.record.code == 1
    assert installed.record.words.startswith("cannot read")


def test_a_full_disk_is_seen_before_anything_is_made(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    installed.push("two")
    installed.place = evolve(installed.place, free=lambda _path: 1_000_000)
    end = installed.run()
    assert end.code == 1
    assert "has 976.6 KiB left, and a version needs 256." in end.words
    assert (installed.place.current(), installed.place.versions()) == (first, (first,))


def test_what_nobody_or_a_stranger_has_signed_is_refused_and_not_even_unpacked(installed: Installed) -> None:
    installed.running("one")
    stranger = installed.push("two", signed=False)
    end = installed.run()
    assert end.code == EXIT_NOT_TAKEN
    assert end.words.startswith(f"{stranger[:SHORT]} is signed by SHA256:")
    assert (installed.steps, len(installed.place.versions())) == ([], 1)
    installed.say(unsigned=True)
    assert installed.run().code == 0


@pytest.mark.long
def test_a_branch_that_was_written_anew_is_refused_until_somebody_accepts_it(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    installed.push("two")
    installed.run()
    installed.origin.git("reset", "-q", "--hard", first)
    end = installed.run()
    assert (end.code, installed.steps) == (EXIT_NOT_TAKEN, [])
    assert "is older than" in end.words
    anew = installed.push("anew")
    assert "its history was written anew" in installed.run().words
    with pytest.raises(UsageError, match=r"is not .*, which was seen last"):
        accept_seen(installed.place, "1234567")
    assert accept_seen(installed.place, anew[:10]) == anew
    assert installed.run().code == 0
    assert installed.place.current() == anew


@pytest.mark.long
def test_the_highest_version_among_signed_tags_is_taken(installed: Installed) -> None:
    installed.say(tags="v*")
    first = installed.push("one", signed=False)
    installed.origin.signed(installed.owner, "tag", "-s", "-m", "one", "v1.9")
    assert installed.run().code == 0
    second = installed.push("two", signed=False)
    installed.origin.git("tag", "v2.0")
    end = installed.run()
    assert (end.code, end.words) == (EXIT_NOT_TAKEN, "v2.0 is not signed, so nothing of it is used")
    installed.origin.git("tag", "-d", "v2.0")
    installed.origin.signed(installed.owner, "tag", "-s", "-m", "two", "v1.10")
    assert installed.run().words == "v1.10 runs, in place of v1.9"
    assert (installed.place.current(), installed.record.past) == (second, (first,))


def test_who_wishes_to_be_asked_is_asked_each_time(installed: Installed) -> None:
    installed.running("one")
    installed.say(source=evolve(installed.choice.source, asks=True))
    second = installed.push("two")
    end = installed.run()
    assert (end.code, installed.steps) == (0, [])
    assert end.words.endswith(f"waits for you: read what diff shows, then type accept {second[:SHORT]}")
    accept_seen(installed.place, second)
    assert installed.run().code == 0
    assert installed.place.current() == second


def test_what_is_not_ready_as_it_is_is_not_updated(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    second = installed.push("two")
    (installed.world / "down").touch()
    end = installed.run()
    assert (end.code, installed.steps, installed.place.current()) == (EXIT_NOT_READY, [], first)
    assert "is not tried, since what runs is not ready as it is: bin/ready ended with code 1" in end.words
    (installed.world / "down").unlink()
    assert installed.run().code == 0, "it has not failed by that"
    assert installed.place.current() == second


def test_where_the_old_one_is_not_ready_any_more_either_that_is_said(installed: Installed) -> None:
    installed.running("one")
    installed.push("never-ready")
    installed.on_step = lambda words: (installed.world / "down").touch() if words.startswith("goes back") else None
    end = installed.run()
    assert end.code == EXIT_NOT_READY
    assert end.words.endswith("but it is not ready either: it was not ready within 5 s: bin/ready ended with code 1")


@pytest.mark.parametrize(
    ("how", "at"),
    [
        pytest.param(how, at, marks=() if (how, at) in (("two", 2), ("never-ready", 4)) else pytest.mark.long)
        for how in ("two", "never-ready")
        for at in range(6)
    ],
)
def test_an_updater_that_is_killed_at_any_step_is_gone_on_with_by_the_next(
    installed: Installed, how: str, at: int
) -> None:
    installed.running("one")
    first, count = installed.place.current(), 0
    new = installed.push(how)

    def step(_words: str) -> None:
        nonlocal count
        count += 1
        if count == at + 1:
            raise Killed

    installed.on_step = step
    with pytest.raises(Killed):
        installed.run()
    assert installed.place.whole(installed.place.current()), "the link is whole at every moment"
    assert installed.record.attempt is not None
    installed.on_step = lambda _words: None
    for _ in range(2):
        installed.run()
    right = new if how == "two" else first
    assert installed.place.current() == right
    assert installed.record.words.endswith(
        ("nothing is newer", "it was not ready within 5 s: bin/ready ended with code 1")
    )
    assert installed.started[-1] == ("two" if how == "two" else "one")


def test_an_updater_that_is_killed_each_time_while_it_watches_goes_back_in_the_end(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    installed.push("two")

    def kill(words: str) -> None:
        if words == "rests":
            raise Killed

    installed.on_step = kill
    for _ in range(3):
        with pytest.raises(Killed):
            installed.run()
    assert installed.run().code == EXIT_GONE_BACK
    assert (installed.place.current(), installed.started[-1]) == (first, "one")


def test_two_updaters_at_once_are_one(installed: Installed) -> None:
    installed.running("one")
    with installed.place.lock(), pytest.raises(AlreadyRunning, match=r"another update is under way, as process \d+"):
        installed.run()


def test_a_version_that_changes_the_database_waits_for_a_backup_and_is_not_gone_back_from_once_it_was_ready(
    installed: Installed, tmp_path: Path
) -> None:
    (installed.origin.path / MIGRATIONS).mkdir(parents=True)
    (installed.origin.path / MIGRATIONS / "0001_first.py").touch()
    installed.running("one")
    (installed.origin.path / MIGRATIONS / "0002_second.py").touch()
    second = installed.push("dies")
    end = installed.run()
    assert (end.code, installed.steps) == (EXIT_NOT_TAKEN, [])
    assert "brings revision 0002 of the database" in end.words
    installed.say(backups=tmp_path / "backups")
    end = installed.run()
    assert end.code == EXIT_NOT_READY
    assert "it is not gone back from: the database is of" in end.words
    assert installed.place.current() == second
    (made,) = (tmp_path / "backups").glob("*/made")
    assert made.read_text() == "one\n", "by the version that knows the database as it is"


def test_a_version_that_changes_the_database_and_was_never_ready_is_gone_back_from(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    installed.say(backups=installed.world / "backups")
    (installed.origin.path / MIGRATIONS).mkdir(parents=True)
    (installed.origin.path / MIGRATIONS / "0002_second.py").touch()
    installed.push("no-start")
    assert installed.run().code == EXIT_GONE_BACK
    assert installed.place.current() == first


@pytest.mark.long
def test_going_back_by_hand_is_for_good(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    with pytest.raises(UsageError, match="there is no version before this one"):
        installed.round().leave()
    installed.push("two")
    installed.run()
    assert installed.round().leave().code == 0
    assert (installed.place.current(), installed.started[-1]) == (first, "one")
    assert installed.run().code == EXIT_GONE_BACK, "it is not taken again"
    assert installed.place.current() == first


def test_going_back_by_hand_from_what_was_being_started_goes_back_once_and_starts_it_no_more(
    installed: Installed,
) -> None:
    installed.running("one")
    first = installed.place.current()
    old = "0" * 40
    installed.place.version(old).mkdir()
    installed.place.mark_whole(old)
    installed.round().memory.save(evolve(installed.record.found(first, 1.0), past=(old,)))
    installed.push("two")

    def kill(words: str) -> None:
        if words == "rests":
            raise Killed

    installed.on_step = kill
    with pytest.raises(Killed):
        installed.run()
    installed.on_step = lambda _words: None
    end = installed.round().leave()
    assert (end.code, installed.place.current(), installed.started) == (0, first, ["one", "two", "one"])
    assert (installed.record.holds, installed.record.past) == (first, (old,))


def test_nobody_goes_back_by_hand_to_what_cannot_use_the_database_unless_there_is_none(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    installed.say(without_database=True)
    (installed.origin.path / MIGRATIONS).mkdir(parents=True)
    (installed.origin.path / MIGRATIONS / "0002_second.py").touch()
    second = installed.push("two")
    assert installed.run().code == 0, "where there is no database, nothing is asked for"
    installed.say(without_database=False)
    with pytest.raises(UsageError, match=r"has brought revision 0002 of the database, which .* cannot use: stop"):
        installed.round().leave()
    assert (installed.place.current(), installed.started) == (second, ["one", "two"])
    installed.say(without_database=True)
    assert installed.round().leave().code == 0
    assert installed.place.current() == first


def test_a_version_in_which_servers_keep_their_state_is_neither_left_nor_removed(installed: Installed) -> None:
    installed.running("one")
    first = installed.place.current()
    (installed.place.version(first) / "var/metaserver").mkdir(parents=True)
    installed.push("two")
    with pytest.raises(ConfigurationError, match=r"is not tried, since servers keep their state in .*/var, which goes"):
        installed.run()
    assert (installed.place.current(), installed.steps) == (first, [])
    other = installed.place.version("0" * 40)
    (other / "var").mkdir(parents=True)
    (installed.place.version(first) / "var/metaserver").rmdir()
    (installed.place.version(first) / "var").rmdir()
    assert installed.run().code == 0
    assert (other / "var").exists()
    assert f"{other} stays, since state of servers is in its var" in installed.steps


def test_what_was_accepted_need_not_be_accepted_again_because_the_network_was_away(installed: Installed) -> None:
    installed.running("one")
    installed.say(source=evolve(installed.choice.source, asks=True))
    second = installed.push("no-network")
    installed.run()
    accept_seen(installed.place, second)
    for _ in range(2):
        assert installed.run().code == 1
    assert installed.steps == [], "not each time that the timer comes"
    installed.now += 600.0
    installed.run()
    assert [words.split()[0] for words in installed.steps] == ["makes"]


def test_what_is_no_directory_where_one_should_be_is_said_in_a_line(installed: Installed) -> None:
    installed.running("one")
    (installed.place.path / "source").write_text("")
    with pytest.raises(MachineFault, match="source cannot be used: File exists"):
        installed.run()


@pytest.mark.long
def test_old_versions_are_kept_as_many_as_was_said(installed: Installed) -> None:
    installed.say(keep=1)
    installed.running("one")
    commits = []
    for how in ("two", "three"):
        commits.append(installed.push(how))
        assert installed.run().code == 0
    assert installed.place.versions() == tuple(sorted(commits))


def test_what_was_ended_while_it_was_made_is_made_anew(installed: Installed) -> None:
    installed.running("one")
    second = installed.push("two")
    record = installed.record.beginning(second, "two", installed.now)
    installed.round().memory.save(record)
    (installed.place.version(second) / ".venv" / "bin").mkdir(parents=True)
    assert installed.run().code == 0
    assert installed.place.whole(second)
    assert installed.record.attempt is None
