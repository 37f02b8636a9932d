"""Bytes to and from the transfer port of a real metaserver, on this machine and 60 ms away."""

from __future__ import annotations

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
        asked = {"port": farm.ports["BUILDTOOL_PB_PORT"], "path": str(path), "digest": digest, "size": SIZE}

        def uploads(first: int, through: int) -> list[float]:
            found = world.client("upload", **asked, first=first, through=through, runs=RUNS + 1)
            return [float(run) for run in found["mib_per_s"][1:]]

        near = farm.ports["BUILDTOOL_TRANSFER_PORT"]
        if board.wants(names[0]):
            progress("upload")
            board.put(names[0], uploads(1, 0))
        if board.wants(names[2]):
            progress("upload, 60 ms away")
            with world.peer("proxy", str(near), str(ONE_WAY_MS)) as far:
                board.put(names[2], uploads(11, far))
        if board.wants(names[1]):
            progress("download")
            stored = state / "artifacts" / digest[:2] / f"{digest}.zip"
            stored.parent.mkdir(parents=True, exist_ok=True)
            path.rename(stored)
            wanted = {
                "url": f"http://127.0.0.1:{near}/artifacts/{digest}/artifact.zip",
                "path": str(world.directory / "fetched.zip"),
                "digest": digest,
                "size": SIZE,
            }
            # The first compares the file with its digest before it is given out, once for each metaserver's life.
            runs = [settled(world.client("download", **wanted), "mib_per_s") for _ in range(RUNS + 1)]
            board.put(names[1], runs[1:])
