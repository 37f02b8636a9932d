"""Builds that stand still for their machines' owners while real programs are killed and frozen."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from buildtool.adapters.processes.procfs import SeenProcess
from buildtool.demo.local_farm import Program
from buildtool.programs.buildserver.guest.local_socket import ask_server
from tests.e2e.control import BUILD, Control
from tests.e2e.test_operator import wait_until
from tests.e2e.test_owner import building, stands_still

pytestmark = pytest.mark.long

LEASE = 4
WORKS = ': > "$CONTROL/busy-$SERVER"; while test -e "$CONTROL/work-$SERVER"; do :; done\n'

Attempt = tuple[int, int, str, str, bool]
"""Build, epoch, server, state, and whether it stands still."""


def begun(control: Control) -> tuple[Control, Program]:
    """Return a farm of short leases, and its metaserver."""
    control.farm.extra["E2E_LEASE"] = str(LEASE)
    control.farm.start_mail()
    return control, control.farm.start_metaserver()


def attempts(farm: Control) -> list[Attempt]:
    """Return all attempts, as the database has them."""
    database = farm.farm.directory / "metaserver" / "buildtool.sqlite"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as reading:
        rows = reading.execute(
            "SELECT build_id, epoch, server, state, frozen_at IS NOT NULL FROM attempts ORDER BY build_id, epoch"
        ).fetchall()
    return [(build, epoch, server, state, bool(frozen)) for build, epoch, server, state, frozen in rows]


def of_build(farm: Control, build_id: int) -> list[tuple[int, str, str, bool]]:
    return [
        (epoch, server, state, frozen) for build, epoch, server, state, frozen in attempts(farm) if build == build_id
    ]


def place_of(farm: Control, name: str) -> Path:
    return farm.farm.directory / f"build-{name}" / name


def taken_back(farm: Control, program: Program) -> list[SeenProcess]:
    """Let the owner of a machine pause it while it builds; return the processes of its build, which stand still."""
    name = program.name
    ask_server(place_of(farm, name), {"act": "pause"})
    wait_until(lambda: stands_still(program.process.pid))
    wait_until(lambda: any(it[2] == name and it[4] for it in attempts(farm)))
    return building(program.process.pid)


def is_gone(seen: SeenProcess) -> bool:
    """Return whether a process has ended, however soon its number was given to another."""
    try:
        return b"build.sh" not in Path(f"/proc/{seen.pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_stands_still_is_neither_lost_nor_built_twice_whatever_is_killed_meanwhile(control: Control) -> None:
    """A lease has passed for certain when another build, whose build server is gone, has gone missing."""
    running, metaserver = begun(control)
    running.commit(**{"build.sh": f"{WORKS}{BUILD}"})
    for name in ("anna", "bert"):
        running.control(f"work-{name}").touch()
    anna = running.server("anna", "--maxdelay", "1")
    hers = running.ask("ann@example.org")
    wait_until(lambda: running.control("busy-anna").exists())
    bert = running.server("bert", "--maxdelay", "1")
    his = running.ask("ben@example.org", "--greeting", "goodbye")
    wait_until(lambda: running.control("busy-bert").exists())
    stopped = taken_back(running, anna), taken_back(running, bert)
    kept = [(1, "anna", "building", True)]

    metaserver.kill()
    running.farm.start_metaserver()
    for program in (anna, bert):
        program.wait_for("registered .*, session 2")
    bert.kill()
    wait_until(lambda: all(is_gone(seen) for seen in stopped[1]))
    wait_until(lambda: of_build(running, his["build_id"])[0][2] == "missing")
    assert of_build(running, hers["build_id"]) == kept, "for longer than a lease"

    os.kill(anna.process.pid, signal.SIGSTOP)  # nothing of it arrives any more, as where a network is cut
    wait_until(lambda: of_build(running, hers["build_id"])[0][2] == "missing")
    os.kill(anna.process.pid, signal.SIGCONT)
    wait_until(lambda: of_build(running, hers["build_id"]) == kept)
    assert stands_still(anna.process.pid)
    assert {seen.pid for seen in building(anna.process.pid)} == {seen.pid for seen in stopped[0]}

    for name in ("anna", "bert"):
        running.control(f"work-{name}").unlink()
    ask_server(place_of(running, "anna"), {"act": "resume"})
    assert running.ask("follow", hers["cancel_id"])["state"] == "satisfied"
    assert of_build(running, hers["build_id"]) == [(1, "anna", "ended", False)]
    assert running.ask("follow", his["cancel_id"])["state"] == "satisfied"
    wait_until(lambda: {it[3] for it in attempts(running)} == {"ended"})
    assert [it[:2] for it in of_build(running, his["build_id"])] == [(1, "bert"), (2, "anna")]


def test_an_owner_who_comes_and_goes_loses_nobodys_build_and_it_is_made_once(control: Control) -> None:
    """Also where the metaserver is killed at each of their steps."""
    running, metaserver = begun(control)
    running.commit(**{"build.sh": f"{WORKS}{BUILD}"})
    running.control("work-anna").touch()
    anna = running.server("anna", "--maxdelay", "1")
    asked = running.ask("ann@example.org")
    wait_until(lambda: running.control("busy-anna").exists())
    first = {seen.pid for seen in building(anna.process.pid)}
    for session in (2, 3, 4):
        ask_server(place_of(running, "anna"), {"act": "pause" if session % 2 == 0 else "resume"})
        metaserver.kill()
        metaserver = running.farm.start_metaserver()
        anna.wait_for(f"registered .*, session {session}")
        now = [(1, "anna", "building", session % 2 == 0)]
        wait_until(lambda now=now: of_build(running, asked["build_id"]) == now)  # type: ignore[misc]
    assert {seen.pid for seen in building(anna.process.pid)} == first
    running.control("work-anna").unlink()
    ask_server(place_of(running, "anna"), {"act": "resume"})
    assert running.ask("follow", asked["cancel_id"])["state"] == "satisfied"
    assert of_build(running, asked["build_id"]) == [(1, "anna", "ended", False)]
