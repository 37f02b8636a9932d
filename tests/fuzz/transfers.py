"""The transfer port as a target: real stores on a disk in memory, and a script of what a peer says to it."""

from __future__ import annotations

import hashlib
import random
from functools import cache
from pathlib import Path

from twisted.internet.task import Clock

from buildtool.adapters.http.handling import Oversight
from buildtool.adapters.http.transfer_site import TransferSite
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.filesystem import read_whole
from buildtool.adapters.storage.logs import LogStore
from buildtool.model.incarnations import Keys
from buildtool.model.tickets import Ticket, TicketKind, sign
from tests.fuzz.keys import NOW
from tests.fuzz.talks import ADDRESS, Line, run_script
from tests.fuzz.target import expect
from tests.simulation.disk import SimulatedDisk
from tests.support.inline import run
from tests.support.memory import WallClock

KEY = bytes(range(32))
STATE = Path("/state")
SIZE = 4_096
"""Bytes that each ticket allows."""

STORED = b"an artifact that is there\n" * 8
DIGEST = hashlib.sha256(STORED).hexdigest()


@cache
def permit(kind: TicketKind) -> bytes:
    """Return the header with a ticket for the only Attempt, number 1 of build 7."""
    signed = sign(Ticket(kind, 7, 1, SIZE, int(NOW) + 10_000), Keys(KEY).build(7))
    return f"Authorization: Ticket {signed}\r\n".encode()


def transfers(data: bytes) -> None:
    """Upload, append and fetch, with tickets and without: nothing stays open, and nothing is kept that is too long."""
    clock, disk = Clock(), SimulatedDisk(random.Random(0))
    wrong: list[str] = []
    artifacts, logs = ArtifactStore(STATE, Inline(), disk), LogStore(STATE, Inline(), disk)
    run(artifacts.start(keep=[(7, 1)]))
    run(logs.start())
    oversight = Oversight(lambda build, epoch: (build, epoch) == (7, 1), wrong.append)
    site = TransferSite(clock, Keys(KEY), WallClock(NOW), artifacts, logs, oversight)
    line = Line(clock)
    line.begin(site.buildProtocol(ADDRESS))  # type: ignore[arg-type]
    run_script(data, line)
    expect(len(site.admitting) == 0, "a connection that has gone is still counted")
    said = b"".join(line.written)
    expect(not said or said.startswith(b"HTTP/1."), f"answered {said[:60]!r}")
    expect(b" 500 " not in said[:20], "a defect was answered")
    expect(not wrong, "an artifact was called damaged that was not there")
    kept = [read_whole(disk, STATE / "incoming" / name, 10 * SIZE) for name in disk.names(STATE / "incoming")]
    expect(all(len(data) <= SIZE for data in kept), "more was kept than the ticket allows")
