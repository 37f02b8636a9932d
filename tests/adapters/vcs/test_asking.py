"""What peers ask about repositories costs a bounded number of git processes, and nothing once they have hung up."""

import os
import stat
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildtool.adapters.runtime.fair_pool import FairPool
from buildtool.adapters.vcs.git.command import NOWHERE, GitCommand
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.concurrency.asker import Asker, Received, working_for
from buildtool.errors import GitMissing, MachineFault, RepositoryUnreachable, Unavailable, UnknownRef, UsageError
from tests.adapters.vcs.git_mirrors.mirrors import Mirrored
from tests.support.packages import require

T = TypeVar("T")


def asked(one: Asker, act: Callable[[], Awaitable[T]]) -> "Deferred[T]":
    async def run() -> T:
        return await act()

    with working_for(one):
        return Deferred.fromCoroutine(run())


def invented(number: int) -> str:
    return f"{number:040x}"


class AskingTests(Mirrored):
    def setUp(self) -> None:
        super().setUp()
        self.mirror = GitMirror(self.directory / "mirrors", FairPool(self.threads, 4))
        self.addCleanup(self.mirror.close)
        self.runs: list[str] = []
        run = self.mirror.command.run

        def counted(arguments: Sequence[str], **more: object) -> ProcessOutput:
            self.runs.append(arguments[0])
            return run(arguments, **more)  # type: ignore[arg-type]

        self.mirror.command.run = counted  # type: ignore[method-assign]

    async def test_a_new_commit_costs_a_few_processes_whatever_many_others_ask(self) -> None:
        self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        askers = [Asker("10.0.0.1", number) for number in range(4)]
        hostile = [
            asked(askers[number % 4], partial(self.mirror.resolve, self.url, invented(number))) for number in range(256)
        ]
        newest = self.origin.commit()
        self.runs.clear()
        found = await asked(Asker("10.0.0.2", 9), partial(self.mirror.resolve, self.url, "main"))
        self.assertEqual(found, newest)
        self.assertLess(len(self.runs), 20, self.runs)
        before = len(self.runs)
        for one in askers:
            one.leave()
        for each in hostile:
            self.assertIsInstance(await self.refusal(each), (Unavailable, UnknownRef))
        self.assertEqual(await self.mirror.resolve(self.url, "main"), newest)
        self.assertLess(len(self.runs) - before, 10, self.runs)

    async def test_what_the_origin_did_not_give_out_is_asked_for_again_only_when_it_has_changed(self) -> None:
        self.origin.commit()
        for number in range(8):
            self.assertIsInstance(await self.refusal(self.mirror.resolve(self.url, invented(number))), UnknownRef)
        self.runs.clear()
        for number in range(8):
            self.assertIsInstance(await self.refusal(self.mirror.resolve(self.url, invented(number))), UnknownRef)
        self.assertNotIn("fetch", self.runs)

    async def test_what_was_fetched_is_counted_once_for_who_began_to_fetch_it(self) -> None:
        some = self.origin.commit(text=os.urandom(100_000).hex())
        first, other = (Asker("", number, Received()) for number in range(2))
        await DeferredList([asked(one, partial(self.mirror.fetch_commit, self.url, some)) for one in (first, other)])
        await asked(other, partial(self.mirror.fetch_commit, self.url, some))
        assert first.received is not None
        assert other.received is not None
        assert 100_000 < first.received.total < 300_000, "it is sent packed"
        assert other.received.total == 0

    async def test_many_who_ask_for_the_same_range_share_one_walk(self) -> None:
        line = [self.origin.commit() for _ in range(4)]
        await self.mirror.resolve(self.url, "main")
        self.runs.clear()
        one = Asker("10.0.0.1", 1)
        asks = [asked(one, partial(self.mirror.acceptable, self.url, line[1], "999")) for _ in range(64)]
        results = await DeferredList(asks, consumeErrors=True)
        self.assertEqual({result for _, result in results}, {(line[1], line[0], line[2], line[3])})
        self.assertLessEqual(self.runs.count("rev-list"), 4)
        self.runs.clear()
        await self.mirror.acceptable(self.url, line[1], "999")
        self.assertEqual(self.runs, [])
        newest = self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        self.assertIn(newest, await self.mirror.acceptable(self.url, line[1], "999"))

    async def test_a_walk_that_takes_too_long_is_refused_with_what_to_do(self) -> None:
        commit = self.origin.commit()
        await self.mirror.resolve(self.url, "main")
        run = self.mirror.command.run

        def slow(arguments: Sequence[str], **more: object) -> ProcessOutput:
            if "--topo-order" in arguments:
                raise TimedOut("git rev-list took longer than 60 s")
            return run(arguments, **more)  # type: ignore[arg-type]

        self.mirror.command.run = slow  # type: ignore[method-assign]
        error = await self.refusal(self.mirror.acceptable(self.url, commit, "3"))
        self.assertIsInstance(error, UsageError)
        self.assertIn("A..B", str(error))

    async def test_a_git_that_hangs_ends_when_who_waited_for_it_has_hung_up(self) -> None:
        fifo = self.directory / "held"
        os.mkfifo(fifo)
        hanging = self.directory / "ssh"
        hanging.write_text(f"#!/bin/sh\nexec 9>{fifo}\nsleep 600\n")
        hanging.chmod(hanging.stat().st_mode | stat.S_IXUSR)
        self.patch(os, "environ", {**os.environ, "GIT_SSH_COMMAND": str(hanging)})
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reading)
        one, two = Asker("10.0.0.1", 1), Asker("10.0.0.2", 2)
        waiting = [asked(who, partial(self.mirror.resolve, "ssh://host/x", ref)) for who in (one, two) for ref in "ab"]
        os.set_blocking(reading, False)

        def held() -> bool:
            """Whether something holds the other end."""
            try:
                return os.read(reading, 1) != b""
            except BlockingIOError:
                return True

        await self.until(held)
        one.leave()
        for each in waiting[:2]:
            await self.refusal(each)
        self.assertTrue(held())
        two.leave()
        for each in waiting[2:]:
            self.assertIsInstance(await self.refusal(each), Unavailable)
        await self.until(lambda: not held())

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what another process does."""
        end = time.monotonic() + 60
        while not true():
            self.assertLess(time.monotonic(), end)
            await deferLater(cast("IReactorTime", reactor), 0.02, lambda: None)

    async def test_a_machine_without_git_is_said_to_be_one_and_well_again_when_it_has_it(self) -> None:
        commit = self.origin.commit()
        path = os.environ["PATH"]
        self.patch(os, "environ", {**os.environ, "PATH": str(self.directory)})
        error = await self.refusal(self.mirror.resolve(self.url, "main"))
        self.assertIsInstance(error, GitMissing)
        self.assertNotIsInstance(error, RepositoryUnreachable)
        os.environ["PATH"] = path
        self.assertEqual(await self.mirror.resolve(self.url, "main"), commit)
        os.environ["PATH"] = str(self.directory)
        self.assertIsInstance(await self.refusal(self.mirror.resolve(self.url, "main")), GitMissing)


def test_what_a_git_started_and_does_not_end_when_told_to_is_ended_with_it(tmp_path: Path) -> None:
    # Only what git starts holds the fifo open for writing, so its end of file says that all of it is gone.
    os.mkfifo(tmp_path / "held")
    reading = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    stubborn = f"!exec 9>{tmp_path}/held; (trap '' TERM; while :; do sleep 1; done) & sleep 600"
    try:
        with pytest.raises(TimedOut):
            GitCommand(tmp_path / "gitconfig").run(["-c", f"alias.x={stubborn}", "x"], git_dir=NOWHERE, limit=0.5)
        os.set_blocking(reading, True)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


@pytest.mark.parametrize("program", ["git", "svn"])
def test_a_state_directory_that_was_moved_away_is_told_in_one_line_and_not_made_anew(
    program: str, tmp_path: Path
) -> None:
    place = tmp_path / "state" / "own"
    if program == "git":
        act = partial(GitCommand(place / "gitconfig").run, ["version"])
    else:
        require("svn", "subversion")
        act = partial(SvnCommand(place).run, ["info"], cwd=tmp_path)
    with pytest.raises(MachineFault) as caught:
        act()
    assert str(caught.value).startswith(f"cannot write {place}/")
    assert str(caught.value).endswith(": No such file or directory")
    assert not list(tmp_path.iterdir()), "it could not be moved back to where it was"
