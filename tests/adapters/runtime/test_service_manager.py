"""A service manager hears that a program is ready, lives and ends; one that hangs gives no sign of life."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.runtime.service_manager import PARTS, ServiceManager, SignsOfLife
from buildtool.errors import StorageUnavailable
from tests.support.service_manager import listening_at, short_place

pytestmark = pytest.mark.world

ROOT = Path(__file__).resolve().parents[3]

BLOCKING = """
import os
from twisted.internet.task import deferLater
from buildtool.adapters.runtime.service_manager import SignsOfLife
from buildtool.programs.common.program import run

async def main(reactor, stop):
    life = SignsOfLife.here(reactor)
    print("NOTIFY_SOCKET" in os.environ, "WATCHDOG_USEC" in os.environ, flush=True)
    life.start("begins\\nREADY=0")
    await deferLater(reactor, 0.1, lambda: None)
    print("blocks", flush=True)
    os.read(0, 1)
    await stop.asked()
    await life.stop(stop.reason)
    return 0

raise SystemExit(run("trial", main))
"""


def sent(environment: dict[str, str]) -> ServiceManager:
    return ServiceManager.of(environment, 7)


def test_a_program_whose_reactor_is_blocked_gives_no_sign_of_life_until_it_goes_on(tmp_path: Path) -> None:
    with listening_at(place := short_place(tmp_path)) as heard:
        environment = {**os.environ, "NOTIFY_SOCKET": place, "WATCHDOG_USEC": "150000"}
        words = [sys.executable, "-c", BLOCKING]
        with subprocess.Popen(
            words, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert heard.next() == {"READY": "1", "STATUS": "begins READY=0"}, "a message cannot add fields of its own"
            assert heard.next() == {"WATCHDOG": "1"}
            assert program.stdout.readline() == b"False False\n", "nothing that it starts would be believed"
            assert program.stdout.readline() == b"blocks\n"
            assert heard.silent(0.5)
            program.stdin.write(b"x")
            program.stdin.flush()
            assert heard.next() == {"WATCHDOG": "1"}
            program.terminate()
            assert heard.wait_for("STOPPING")["STATUS"] == "stopping: trial was told to stop (SIGTERM)"
            assert program.wait(60) == 0


class WithAThreadThatCommits(SynchronousTestCase):
    """The clock stands for the reactor, a Deferred for what the thread does."""

    def setUp(self) -> None:
        self.clock, self.turns = Clock(), list[Deferred[None]]()
        place = f"@buildtool-{os.getpid()}-life"
        self.listening = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.listening.bind(f"\0{place[1:]}")
        self.listening.setblocking(False)
        manager = ServiceManager(place, 30.0)
        self.life = SignsOfLife(manager, self.clock, self.turn)

    def turn(self) -> Deferred[None]:
        self.turns.append(Deferred())
        return self.turns[-1]

    def signs(self) -> int:
        """How many signs of life have come since the last look."""
        count = 0
        while True:
            try:
                count += self.listening.recv(4096) == b"WATCHDOG=1"
            except BlockingIOError:
                return count

    def test_a_sign_of_life_is_given_when_the_thread_came_round_and_one_that_hangs_gives_none(self) -> None:
        self.life.start("serves")
        self.clock.advance(0.0)
        assert self.signs() == 0, "it has not come round"
        self.turns[-1].callback(None)
        assert self.signs() == 1
        self.clock.pump([1.0] * 9)
        assert self.signs() == 0
        self.clock.advance(30.0 / PARTS - 9.0)
        assert len(self.turns) == 2
        self.clock.pump([10.0] * 9)
        assert self.signs() == 0, "the thread hangs"
        self.turns[-1].callback(None)
        assert self.signs() == 1

    def test_storage_that_says_no_has_answered(self) -> None:
        self.life.start("serves")
        self.clock.advance(0.0)
        self.turns[-1].errback(StorageUnavailable("the disk is full"))
        assert self.signs() == 1
        self.clock.advance(30.0 / PARTS)
        self.turns[-1].callback(None)
        assert self.signs() == 1

    def test_what_has_ended_gives_none(self) -> None:
        self.life.start("serves")
        self.clock.advance(0.0)
        self.turns[-1].callback(None)
        self.signs()
        self.successResultOf(Deferred.fromCoroutine(self.life.stop("it has to")))
        self.clock.advance(100.0)
        assert self.signs() == 0


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8), st.sampled_from(["", "7", "8"]))
def test_signs_of_life_are_given_where_a_time_was_said_for_this_process(text: str, whose: str) -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": text, "WATCHDOG_PID": whose, "HOME": "/"}
    found = sent(environment)
    assert environment == {"HOME": "/"}
    said = text.isascii() and text.isdigit() and int(text) > 0 and whose != "8"
    assert found == ServiceManager("/run/n", int(text) / 1e6 if said else None)


def test_without_a_service_manager_nothing_is_sent_and_one_that_has_gone_ends_nothing(tmp_path: Path) -> None:
    assert sent({}) == ServiceManager()
    assert sent({"NOTIFY_SOCKET": "somewhere", "WATCHDOG_USEC": "1000000"}) == ServiceManager()
    for place in ("", str(tmp_path / "gone"), "@buildtool-nobody"):
        manager = ServiceManager(place, 1.0)
        manager.ready("serves")
        manager.alive()
        manager.stopping("it ends")
