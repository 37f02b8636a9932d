"""What git and svn fetch is bounded by the rate, whole, and never left standing still."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from attrs import define
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.processes.procfs import look_at
from buildtool.adapters.vcs.git.command import GitCommand
from buildtool.adapters.vcs.pacing import LONGEST_STOP, TransferPace
from buildtool.adapters.vcs.process import TimedOut, VcsProgram, read
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.concurrency.token_bucket import BURST, TokenBucket
from buildtool.errors import MachineFault
from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.support.trying import ROOT

pytestmark = pytest.mark.world

SIZE = 6 * 1024 * 1024
CONTENT = hashlib.shake_128(b"what no program makes smaller").digest(SIZE)
RATE = 2.0 * 1024 * 1024


class RealTime:
    """The clock of a bucket that nobody waits for."""

    seconds = staticmethod(time.monotonic)


@define(eq=False, slots=False)
class CountingBucket(TokenBucket):
    """A bucket that knows how much was taken."""

    taken: float = 0.0

    def owe(self, amount: float) -> float:
        self.taken += amount
        return super().owe(amount)


def bucket(rate: float | None = RATE) -> CountingBucket:
    return CountingBucket(cast(IReactorTime, RealTime()), rate)


@contextmanager
def served(content: bytes, *, endless: bool = False) -> Iterator[int]:
    """Send the same to whoever connects, as fast as they take it, or ``endless`` of it; the port is the value."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.sendall(content)
                        while endless:
                            connection.sendall(content)
                    except OSError:
                        continue

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def program(downloading: TokenBucket | None) -> VcsProgram:
    made = VcsProgram("bash", MachineFault)
    made.downloading = downloading
    return made


@pytest.mark.parametrize("words", ["exec cat", "cat; true"], ids=["itself", "a helper"])
def test_what_comes_is_counted_makes_its_process_stand_still_and_arrives_whole(words: str) -> None:
    here, digest = bucket(), hashlib.sha256()
    with served(CONTENT) as port:
        runs = program(here)
        process = runs.start(["bash", "-c", f"exec </dev/tcp/127.0.0.1/{port}; {words}"], dict(os.environ))
        pace = runs.pace(process)
        assert pace is not None
        try:
            read(process, "bash", 60.0, sink=digest.update, pace=pace)
        finally:
            runs.end(process)
    assert digest.digest() == hashlib.sha256(CONTENT).digest()
    # What comes after the last look, a twentieth of a second before the end at most, is not seen.
    assert 0.5 * SIZE < here.taken <= SIZE + 1  # its end counts for one
    assert pace.rested > 0.5 * (here.taken / RATE - BURST) - LONGEST_STOP


def test_without_a_rate_nothing_is_looked_at() -> None:
    for none in (None, bucket(None)):
        runs = program(none)
        process = runs.start(["true"], dict(os.environ))
        assert runs.pace(process) is None
        runs.end(process)


def test_the_time_in_which_it_stands_still_is_none_that_it_takes() -> None:
    class Rested(TransferPace):
        def step(self) -> float:
            return 0.01

    runs = program(bucket())
    for rested in (1_000.0, 0.0):
        process = runs.start(["sleep", "0.3"], dict(os.environ))
        pace = Rested(bucket(), process.pid)
        pace.rested = rested
        try:
            if rested:
                assert read(process, "sleep", 0.1, pace=pace).code == 0
            else:
                with pytest.raises(TimedOut):
                    read(process, "sleep", 0.1, pace=pace)
        finally:
            runs.end(process)


DIES = """
import os, signal, subprocess, sys, time
from buildtool.adapters.vcs.pacing import TransferPace
from buildtool.adapters.processes.procfs import look_at
from buildtool.concurrency.token_bucket import TokenBucket
class Clock: seconds = staticmethod(time.monotonic)
words = ["bash", "-c", f"exec </dev/tcp/127.0.0.1/{sys.argv[1]}; cat; exec sleep 60"]
process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
pace = TransferPace(TokenBucket(Clock(), 1.0), process.pid)
while not look_at(process.pid).stopped:
    time.sleep(min(0.02, pace.step()))
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_stands_still_goes_on_when_this_program_is_killed() -> None:
    with served(CONTENT, endless=True) as port:
        done = subprocess.run(
            [sys.executable, "-c", DIES, str(port)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        pid = int(done.stdout)
        try:
            deadline = time.monotonic() + 60
            while (seen := look_at(pid)) is not None and seen.stopped:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert seen is not None
        finally:
            os.killpg(pid, signal.SIGKILL)


def test_what_is_told_to_end_while_it_stands_still_ends() -> None:
    with served(CONTENT, endless=True) as port:
        runs = program(bucket(1.0))
        process = runs.start(["bash", "-c", f"exec cat </dev/tcp/127.0.0.1/{port} >/dev/null"], dict(os.environ))
        pace = runs.pace(process)
        assert pace is not None
        while (seen := look_at(process.pid)) is not None and not seen.stopped:
            time.sleep(min(0.02, pace.step()))
        runs.end(process)
    assert process.returncode == -signal.SIGTERM


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_git_fetches_by_the_rate(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    (origin / "blob").write_bytes(CONTENT)
    subprocess.run(["git", "-C", str(origin), "add", "."], check=True)
    own = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(origin), *own, "commit", "-qm", "x"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["daemon", "--reuseaddr", "--export-all", f"--base-path={tmp_path}", "--listen=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen(["git", *words], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        git = GitCommand(tmp_path / "settings" / "gitconfig")
        git.downloading = here = bucket()
        answer = git.run(["clone", "-q", f"git://127.0.0.1:{port}/origin", str(tmp_path / "copy")])
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
    assert answer.code == 0, answer.err
    assert (tmp_path / "copy" / "blob").read_bytes() == CONTENT
    assert here.taken > 0


def test_svn_fetches_by_the_rate(tmp_path: Path) -> None:
    origin = SvnOrigin(tmp_path / "origin")
    text = CONTENT[: SIZE // 2].hex()
    origin.commit("trunk/blob", text)
    served = origin.serve()
    try:
        svn = SvnCommand(tmp_path / "settings")
        svn.downloading = here = bucket()
        answer = svn.run(["checkout", "-q", served.url(), str(tmp_path / "copy")], cwd=tmp_path)
    finally:
        served.stop()
    assert answer.code == 0, answer.err
    assert (tmp_path / "copy" / "blob").read_text() == text
    assert here.taken > 0
