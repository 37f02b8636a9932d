"""Blocking functions run in threads, at most so many at once, and whoever asked gets what came of each.

Helpers are given to one at a time, kept for the next, and idle when they are given back.
"""

import threading
import time
from collections.abc import Callable
from typing import cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from buildtool.adapters.runtime.threads import SLICE, HelperPools, Threads
from buildtool.errors import Unavailable


class InThreads(TestCase):
    timeout = 20

    def threads(self, size: int) -> Threads:
        made = Threads(cast("IReactorFromThreads", reactor), size, "test")
        self.addCleanup(made.stop)
        return made

    async def test_what_a_function_returns_or_raises_comes_to_the_reactors_thread(self) -> None:
        threads = self.threads(2)
        assert await threads.run(lambda: 7) == 7
        assert await threads.run(threading.get_ident) != threading.get_ident()

        def fail() -> None:
            raise LookupError("not here")

        with self.assertRaisesRegex(LookupError, "not here"):
            await threads.run(fail)
        assert await threads.run(lambda: "still there") == "still there"

    async def test_one_thread_runs_functions_in_the_order_in_which_they_came(self) -> None:
        threads, order = self.threads(1), []

        def note(number: int) -> Callable[[], None]:
            return lambda: order.append(number)

        await gatherResults([Deferred.fromCoroutine(threads.run(note(number))) for number in range(200)])
        assert order == list(range(200))

    async def test_as_many_run_at_once_as_there_are_threads_and_no_more(self) -> None:
        threads, together = self.threads(3), threading.Barrier(3, timeout=10)
        await gatherResults([Deferred.fromCoroutine(threads.run(together.wait)) for _ in range(9)])
        assert len(threads._threads) == 3

    async def test_what_takes_long_to_hand_out_lets_the_reactor_turn_in_between(self) -> None:
        threads, turns = self.threads(1), list[int]()
        gate = threading.Event()
        first = Deferred.fromCoroutine(threads.run(lambda: gate.wait(10)))
        waiting = [Deferred.fromCoroutine(threads.run(lambda: None)) for _ in range(6)]

        def take_long(_: None) -> None:
            time.sleep(SLICE)
            turns.append(1)

        for one in waiting:
            one.addCallback(take_long)
        other = list[int]()
        looking = LoopingCall(lambda: other.append(len(turns)))
        gate.set()
        await first
        looking.start(0)
        await gatherResults(waiting)
        looking.stop()
        assert len(set(other)) > 3, "others were served between one and the next"

    async def test_who_no_longer_waits_is_not_told(self) -> None:
        threads, gate = self.threads(1), threading.Event()
        waiting = Deferred.fromCoroutine(threads.run(lambda: gate.wait(10)))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        gate.set()
        assert await threads.run(lambda: "the next") == "the next"

    async def test_stopping_waits_for_what_runs_and_takes_nothing_more(self) -> None:
        threads, done = Threads(cast("IReactorFromThreads", reactor), 1, "test"), threading.Event()
        running = Deferred.fromCoroutine(threads.run(done.set))
        threads.stop()
        assert done.is_set()
        await running
        with self.assertRaisesRegex(Unavailable, "have ended"):
            await threads.run(done.set)

    async def test_a_function_that_hangs_is_waited_for_no_longer_than_is_said(self) -> None:
        threads, gate = self.threads(1), threading.Event()
        running = Deferred.fromCoroutine(threads.run(lambda: gate.wait(30)))
        assert threads.stop(0.05) is False
        gate.set()
        assert threads.stop(20.0) is True
        await running


def test_threads_are_kept_for_the_next_and_nobody_shares_them() -> None:
    helpers = HelperPools(1)
    with helpers.help() as first, helpers.help() as second:
        one, other = first.submit(threading.current_thread).result(), second.submit(threading.current_thread).result()
    assert one is not other
    with helpers.help() as third:
        assert third.submit(threading.current_thread).result() in {one, other}


def test_nothing_runs_on_after_whoever_was_helped_has_failed() -> None:
    helpers, begun, go, ended = HelperPools(1), threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()
        ended.set()

    def fail() -> None:
        with helpers.help() as threads:
            threads.submit(work)
            begun.wait()
            go.set()
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        fail()
    assert ended.is_set()
