"""Threads that help somebody who works in a thread already: kept from one time to the next, and given to one at a time.

To start two threads takes as long as to read a hundred files, and each checkout wants two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

__all__ = ["Help", "Helpers"]

P = ParamSpec("P")
T = TypeVar("T")


class Help:
    """The threads that somebody has for a while."""

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


class Helpers:
    """A set of pools of ``size`` threads, as many as were wanted at once. May be called in any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: list[ThreadPoolExecutor] = []

    @contextmanager
    def help(self) -> Iterator[Help]:
        """Yield threads that nobody else has; at the end nothing of what they were given runs any more."""
        try:
            pool = self._idle.pop()
        except IndexError:
            pool = ThreadPoolExecutor(self._size, "helper")
        help_ = Help(pool)
        try:
            yield help_
        finally:
            help_.settle()
            self._idle.append(pool)
