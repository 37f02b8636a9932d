"""The limits: what this machine does now when only the one thing is done."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable

from tests.benchmarks.figures import Board
from tests.benchmarks.hits import page_rate
from tests.benchmarks.world import World, progress, settled

LANES = 16
SECONDS = 1.5
RUNS = 3
STREAM = 256 * 1024 * 1024


def take(world: World, board: Board) -> None:
    """Take the limits that are wanted."""
    if board.wants("limit_process_starts_per_s"):
        progress("limit: processes started")
        board.put("limit_process_starts_per_s", [_rate(_start_process) for _ in range(RUNS)])
    if board.wants("limit_durable_commits_per_s"):
        progress("limit: durable commits")
        board.put("limit_durable_commits_per_s", [_commits(world, number) for number in range(RUNS)])
    if board.wants("limit_pb_round_trips_per_s"):
        progress("limit: Perspective Broker round trips")
        with world.peer("peers", "pb") as port:
            asked = {"port": port, "lanes": LANES, "seconds": SECONDS}
            runs = [settled(world.client("round_trips", **asked), "per_s") for _ in range(RUNS)]
        board.put("limit_pb_round_trips_per_s", runs)
    if board.wants("limit_http_stream_mib_per_s", "limit_http_stream_at_60ms_mib_per_s"):
        progress("limit: a raw HTTP stream")
        with world.peer("peers", "http") as port, world.peer("proxy", str(port), "30") as far:
            for name, where in (
                ("limit_http_stream_mib_per_s", port),
                ("limit_http_stream_at_60ms_mib_per_s", far),
            ):
                runs = [settled(world.client("stream", port=where, size=STREAM), "mib_per_s") for _ in range(RUNS)]
                board.put(name, runs)
    if board.wants("limit_klein_pages_per_s"):
        progress("limit: Klein with a page of 50 rows")
        with world.peer("peers", "klein") as port:
            board.put("limit_klein_pages_per_s", [page_rate(world, port, SECONDS) for _ in range(RUNS)])


def _rate(act: Callable[[], object]) -> float:
    """Return how often a second ``act`` can be done."""
    act()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        act()
        count += 1
    return count / (time.monotonic() - began)


def _start_process() -> None:
    subprocess.run(["date", "+began %s%N"], stdout=subprocess.DEVNULL, check=True)


def _commits(world: World, number: int) -> float:
    path = world.directory / f"commits-{number}.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, words TEXT)")

    def commit() -> None:
        connection.execute("INSERT INTO rows (words) VALUES ('a row')")

    try:
        return _rate(commit)
    finally:
        connection.close()
