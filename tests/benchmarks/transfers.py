"""Bytes to and from the transfer port of a real metaserver, on this machine and 60 ms away."""

from __future__ import annotations

import time

from buildtool.domain.tickets import Ticket, TicketKind, sign
from tests.benchmarks.figures import Board
from tests.benchmarks.world import World, make_file, progress, settled

SIZE = 256 * 1024 * 1024
RUNS = 3
ONE_WAY_MS = 30


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    names = ("upload_mib_per_s", "download_mib_per_s", "upload_at_60ms_mib_per_s")
    if not board.wants(*names):
        return
    path = world.directory / "artifact.zip"
    digest = make_file(path, SIZE)
    state = world.state_dir("transfers")
    with world.farm("transfers") as farm:
        farm.start_metaserver()
        key = (state / "key").read_bytes()
        near = farm.ports["BUILDTOOL_TRANSFER_PORT"]

        def upload(port: int, build_id: int) -> float:
            ticket = sign(Ticket(TicketKind.ARTIFACT, build_id, 1, SIZE, int(time.time()) + 3600), key)
            url = f"http://127.0.0.1:{port}/uploads/{build_id}/1"
            found = world.client("upload", url=url, ticket=ticket, path=str(path), digest=digest, size=SIZE)
            (state / "incoming" / f"{build_id}-1").unlink()
            return settled(found, "mib_per_s")

        if board.wants(names[0]):
            progress("upload")
            board.put(names[0], [upload(near, build_id) for build_id in range(1, RUNS + 2)][1:])
        if board.wants(names[2]):
            progress("upload, 60 ms away")
            with world.peer("proxy", str(near), str(ONE_WAY_MS)) as far:
                board.put(names[2], [upload(far, build_id) for build_id in range(11, RUNS + 11)])
        if board.wants(names[1]):
            progress("download")
            stored = state / "artifacts" / digest[:2] / f"{digest}.zip"
            stored.parent.mkdir(parents=True, exist_ok=True)
            path.rename(stored)
            asked = {
                "url": f"http://127.0.0.1:{near}/artifacts/{digest}/artifact.zip",
                "path": str(world.directory / "fetched.zip"),
                "digest": digest,
                "size": SIZE,
            }
            # The first compares the file with its digest before it is given out, once for each metaserver's life.
            runs = [settled(world.client("download", **asked), "mib_per_s") for _ in range(RUNS + 1)]
            board.put(names[1], runs[1:])
