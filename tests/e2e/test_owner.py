"""An owner takes their machine back while it builds for somebody: the build stands still, is shown so, and goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path

from buildtool.adapters.processes.procfs import SeenProcess, descendants
from buildtool.adapters.storage.history.work_book import FILE, read_history
from buildtool.model.guest.history import NOTHING, of_plain
from buildtool.model.records import AttemptEnd
from buildtool.programs.buildserver.guest.local_socket import ask_server
from tests.e2e.control import BUILD, Control
from tests.e2e.test_operator import wait_until

BUSY = ': > "$CONTROL/busy"; while test -e "$CONTROL/work"; do :; done\n'


def building(server: int) -> list[SeenProcess]:
    """Return the processes of the build that a build server runs, in its sandbox or without."""
    shells = [seen for seen in descendants(server) if b"build.sh" in Path(f"/proc/{seen.pid}/cmdline").read_bytes()]
    return shells + descendants(*(seen.pid for seen in shells))


def stands_still(server: int) -> bool:
    found = building(server)
    return bool(found) and all(seen.stopped or seen.waits or not seen.alive for seen in found)


def test_a_build_stands_still_while_its_machines_owner_needs_it_and_goes_on(running: Control) -> None:
    running.control("work").touch()
    running.commit(**{"build.sh": f"{BUSY}{BUILD}"})
    anna = running.server("anna").process.pid
    asked = running.ask("ann@example.org")
    wait_until(lambda: running.control("busy").exists())
    place: Path = running.farm.directory / "build-anna" / "anna"

    assert ask_server(place, {"act": "pause"})["takes"] is False
    wait_until(lambda: stands_still(anna))
    number = asked["cancel_id"]
    wait_until(lambda: "it is frozen on anna: its owner paused it" in running.farm.request("why", number).stdout)

    running.control("work").unlink()
    ask_server(place, {"act": "resume"})
    assert running.ask("follow", number)["state"] == "satisfied"

    rows = ask_server(place, {"act": "history"})["rows"]
    assert isinstance(rows, list)
    done = sum((work for _, work in map(of_plain, rows)), NOTHING)
    assert done.ends == {AttemptEnd.SUCCEEDED: 1}
    assert done.unmeasured == 0
    assert min(done.processor, done.wall, done.frozen, done.down, done.up) > 0, done
    with closing(sqlite3.connect(running.farm.directory / "metaserver" / "buildtool.sqlite")) as database:
        ((server, project, good, processor),) = database.execute("SELECT server, project, good, processor FROM work")
    assert (server, project, good) == ("anna", "greeter", 1)
    assert round(processor * 1000) == done.processor, "the farm knows what was measured here"
    assert read_history(place / FILE).history.rows == dict(map(of_plain, rows))
