"""Real programs that lose each other: what was begun goes on, and what is finished is delivered by whoever is left."""

import signal

import pytest

from buildtool.demo.local_farm import Program
from tests.e2e.control import Control
from tests.e2e.test_operator import standing


def kill_metaserver(farm: Control) -> None:
    farm.farm.programs[1].kill()


def spool(farm: Control, name: str) -> list[str]:
    """What a build server keeps on its disk for the metaserver."""
    directory = farm.farm.directory / f"build-{name}" / name / "spool"
    return [path.name for path in directory.iterdir()] if directory.exists() else []


def begin(farm: Control) -> tuple[Program, int]:
    """Ask for a build that waits at anna's gate; return anna and the build's number."""
    farm.close_gate("anna")
    anna = farm.server("anna", "--maxdelay", "1")
    asked = farm.ask("ann@example.org")
    assert asked["answer"] == "dispatched"
    anna.wait_for(r"build \d+\.1 of greeter begins")
    build_id = asked["build_id"]
    assert isinstance(build_id, int)
    return anna, build_id


def delivered(farm: Control, build_id: int) -> None:
    """The one Attempt that there was is what everybody is told of."""
    farm.farm.programs[0].wait_for("mail for ann@example.org")
    done = farm.ask("--no-download", "ann@example.org")
    assert (done["answer"], done["build_id"], done["artifact"]["server"]) == ("hit", build_id, "anna")


def test_a_build_goes_on_while_the_metaserver_is_started_again(running: Control) -> None:
    """It is the same attempt before and after; its log is whole."""
    anna, build_id = begin(running)
    kill_metaserver(running)
    running.farm.start_metaserver()
    anna.wait_for("registered")
    running.open_gate("anna")
    anna.wait_for(rf"build {build_id}\.1 succeeded")
    delivered(running, build_id)
    assert not any("begins" in line for line in anna.lines if f"{build_id}.2" in line)


@pytest.mark.long
def test_what_was_finished_without_a_metaserver_is_delivered_to_the_next_one(running: Control) -> None:
    anna, build_id = begin(running)
    kill_metaserver(running)
    running.open_gate("anna")
    anna.wait_for(rf"build {build_id}\.1 succeeded")
    running.farm.start_metaserver()
    delivered(running, build_id)
    assert spool(running, "anna") == []


@pytest.mark.long
def test_a_build_server_that_is_killed_after_the_build_ended_delivers_when_it_is_started_again(
    running: Control,
) -> None:
    """Both sides are new then; nothing is built a second time."""
    anna, build_id = begin(running)
    kill_metaserver(running)
    running.open_gate("anna")
    anna.wait_for(rf"build {build_id}\.1 succeeded")
    anna.wait_for("next try in")
    anna.kill()
    assert spool(running, "anna") == [f"{build_id}-1"]
    running.farm.start_metaserver()
    again = running.server("anna")
    delivered(running, build_id)
    assert spool(running, "anna") == []
    assert not any("begins" in line for line in again.lines)


def test_a_build_server_that_drains_finishes_what_it_has_and_takes_no_more(running: Control) -> None:
    anna, build_id = begin(running)
    anna.send(signal.SIGHUP)
    anna.wait_for("draining: ")
    second = running.ask("--greeting=goodbye", "bob@example.org")
    assert second["answer"] == "queued"
    running.open_gate("anna")
    assert anna.ended() == 0
    delivered(running, build_id)


@pytest.mark.long
def test_a_build_server_without_a_metaserver_ends_its_builds_when_told_to_and_tells_it_later(running: Control) -> None:
    """What it gives back costs nobody anything: the next one to start is told first."""
    anna, build_id = begin(running)
    kill_metaserver(running)
    anna.wait_for("next try in")
    assert anna.stop() == 0
    assert spool(running, "anna") == [f"{build_id}-1"]
    running.control("gate-anna").unlink()
    running.farm.start_metaserver()
    running.server("anna")
    running.farm.programs[0].wait_for("mail for ann@example.org")
    done = running.ask("--no-download", "ann@example.org")
    assert (done["build_id"], spool(running, "anna")) == (build_id, [])


@pytest.mark.long
def test_a_build_server_that_is_killed_while_it_builds_is_believed_until_it_comes_back(running: Control) -> None:
    """Its new login names nothing that it has, so nobody waits for the lease: somebody else builds it at once."""
    anna, build_id = begin(running)
    while standing(running)["running"][0]["state"] != "building":
        pass  # until her word that she has it was there, nothing would be held against her, and it were hers again
    anna.kill()
    bert = running.server("bert")
    assert running.ask("ann@example.org")["state"] == "waiting"
    running.server("anna")
    bert.wait_for(rf"build {build_id}\.2 of greeter begins", 30.0)
    running.farm.programs[0].wait_for("mail for ann@example.org")
    done = running.ask("--no-download", "ann@example.org")
    assert (done["build_id"], done["artifact"]["server"]) == (build_id, "bert")
