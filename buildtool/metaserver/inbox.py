"""A gate for what is done one at a time: who waits is let through as from an inbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from buildtool.concurrency.asker import asker, hung_up
from buildtool.concurrency.inbox import Inbox

T = TypeVar("T")


class Gate:
    """A gate through which one thing passes at a time; who waits is let through as from an inbox."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._waiting: Inbox[Deferred[None]] = Inbox(seconds)
        self._taken = False

    async def run(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return what ``act`` returns, once it is the turn of whoever asks. Raises Unavailable if they have left."""
        by = asker()
        if self._taken:
            turn: Deferred[None] = Deferred()
            self._waiting.put(turn, by)
            await turn
        self._taken = True
        began = self._seconds()
        try:
            if by.gone:
                raise hung_up()
            return await act()
        finally:
            self._waiting.charge(by, self._seconds() - began)
            self._taken = False
            if len(self._waiting):
                self._taken = True
                self._waiting.take().callback(None)
