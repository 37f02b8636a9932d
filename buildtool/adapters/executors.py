"""Where blocking functions run: in a pool of threads of their own, or, for tools and tests, right here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Threads:
    """An Executor with a pool of ``size`` threads; with one thread, functions run in the order in which they came."""

    def __init__(self, reactor: IReactorFromThreads, size: int, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=size, name=name)
        self._pool.start()

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises."""
        return cast(T, await deferToThreadPool(self._reactor, self._pool, function))

    def stop(self) -> None:
        """End the threads; waits for functions that are running, in an orderly shutdown for none."""
        self._pool.stop()


class Inline:
    """An Executor without threads: the function runs at once, in the caller's thread."""

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises."""
        return function()
