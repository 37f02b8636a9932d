"""Where blocking functions run: in a pool of threads of their own, or, for tools and tests, right here.

Who works in a thread already has threads to help: kept from one time to the next, and given to one at a time. To start
two takes as long as to read a hundred files, and each checkout wants two.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from buildtool.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

SLICE = 0.010
"""Seconds after which what is done waits for the reactor's next turn to be handed out."""


class Threads:
    """An Executor with a pool of ``size`` threads; with one thread, functions run in the order in which they came.

    Threads are started when they are first needed. Twisted's own pool does more for each function than many of those
    that run here do themselves (a row read, a file renamed); this one hands over, and wakes the reactor once for all
    that are done.
    """

    def __init__(self, reactor: IReactorFromThreads, size: int, name: str) -> None:
        self._reactor = reactor
        self._size = size
        self._name = name
        self._threads: list[threading.Thread] = []
        self._asked: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        self._done: deque[tuple[Deferred[Any], Any]] = deque()
        self._woken = False
        self._busy = 0
        self._stopped = False

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises. Raises Unavailable after ``stop``."""
        if self._stopped:
            raise Unavailable(f"the program stops, its threads for {self._name} have ended: try again in a moment")
        waiting: Deferred[T] = Deferred()
        self._busy += 1
        if len(self._threads) < min(self._busy, self._size):
            self._start()
        self._asked.put((function, waiting))
        return await waiting

    def stop(self, within: float | None = None) -> bool:
        """End the threads; waits for functions that are running, in an orderly shutdown for none.

        Waits at most ``within`` seconds, if that is said. Returns whether all have ended: what has not by then is cut
        off when the program ends, as it would be by a crash.
        """
        self._stopped = True
        for _ in self._threads:
            self._asked.put(None)
        until = None if within is None else time.monotonic() + within
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        name = f"{self._name} {len(self._threads) + 1}"
        # A daemon, so that one whose disk does not answer cannot keep the program from ending.
        thread = threading.Thread(target=self._live, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _live(self) -> None:
        """Do what is asked for, in a thread, until there is nothing more to come."""
        while (asked := self._asked.get()) is not None:
            function, waiting = asked
            try:
                outcome = function()
            except BaseException:  # noqa: BLE001 - whatever it is, whoever asked gets it
                outcome = Failure()
            self._done.append((waiting, outcome))
            if not self._woken:
                self._woken = True
                self._reactor.callFromThread(self._deliver)
            del asked, function, waiting, outcome  # nothing is kept alive while there is nothing to do

    def _deliver(self) -> None:
        """Hand out, in the reactor's thread, what is done; what takes long is left for its next turn."""
        self._woken = False  # before looking: what is done from now on wakes the reactor again
        until = time.monotonic() + SLICE
        while self._done:
            waiting, outcome = self._done.popleft()
            self._busy -= 1
            waiting.callback(outcome)  # a Failure goes to the errbacks
            if self._done and time.monotonic() >= until:
                self._woken = True
                self._reactor.callFromThread(self._deliver)
                return


class Inline:
    """An Executor without threads: the function runs at once, in the caller's thread."""

    async def run(self, function: Callable[[], T]) -> T:
        return function()


class HelperThreads:
    """The threads that one caller has for a while."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._given: list[Future[Any]] = []

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Run a function in a helper thread; return the future of its outcome."""
        given = self._pool.submit(function, *arguments, **named)
        self._given.append(given)
        return given

    def settle(self) -> None:
        """Return when all that was given is done, or was not begun and is not done any more. Blocks."""
        for one in self._given:
            one.cancel()
        wait(self._given)


class HelperPools:
    """A set of pools of ``size`` threads, as many as were wanted at once. May be called in any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: list[ThreadPoolExecutor] = []

    @contextmanager
    def help(self) -> Iterator[HelperThreads]:
        """Yield threads that no other caller has; at the end nothing of what they were given runs any more."""
        try:
            pool = self._idle.pop()
        except IndexError:
            pool = ThreadPoolExecutor(self._size, "helper")
        help_ = HelperThreads(pool)
        try:
            yield help_
        finally:
            help_.settle()
            self._idle.append(pool)
