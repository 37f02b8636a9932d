"""How much of the reactor's time the connections of a port get at once to look at what has come over them.

A peer may send dozens of calls, or one that is long, in a single read. Were all of them looked at in the turn of the
reactor in which they came, everybody else would wait as long as the most eager peers together can make it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from buildtool.concurrency.asker import Asker
from buildtool.concurrency.fair_queue import FairQueue

SLICE = 0.005
"""Seconds after which what has come waits for the reactor's next turn."""

PIECE = 0.0005
"""Seconds after which a connection lets others go on that wait to be looked at."""

FIRST = 4
"""Connections that had nothing to be looked at before, and go before one for which its piece was not enough."""


class Looking(Protocol):
    """A connection over which something has come."""

    @property
    def asker(self) -> Asker:
        """Whose time it takes."""

    def look(self, enough: Callable[[], bool]) -> bool:
        """Perform what has come until there is no more or it is ``enough``; return whether there is more."""


class Slices:
    """A share-out of the reactor's time: connections go at once while there is time, else in turns, small wants first.

    A turn of the reactor has ``length`` seconds for them, and as long as what was begun then takes. The next that has
    some begins at least ``pause`` seconds later.

    Who wants more than a piece waits behind all who do not, and yet no number of those keeps it waiting for ever.
    """

    def __init__(self, clock: IReactorTime, length: float = SLICE) -> None:
        self._clock = clock
        self.length = length
        self.pause = 0.0
        self._little: FairQueue[Looking] = FairQueue()
        self._much: FairQueue[Looking] = FairQueue()
        self._there: set[Looking] = set()
        self._left = length
        self._first = 0
        self._at_work = False

    def ask(self, one: Looking, *, ahead: bool) -> bool:
        """Schedule a look at what came over a connection; return whether it was done at once.

        It goes ``ahead`` of those that want much where it had nothing to be looked at before.
        """
        if one in self._there:
            return False
        if self._at_work or self._there or self._left <= 0.0:
            self._wait(one, self._little if ahead else self._much)
            return False
        self._let(one)
        self._end()
        return True

    def _wait(self, one: Looking, where: FairQueue[Looking]) -> None:
        self._there.add(one)
        where.put(one.asker, (one,))

    def _next(self) -> Looking:
        few = self._little and (self._first < FIRST or not self._much)
        self._first = self._first + 1 if few else 0
        (one,) = (self._little if few else self._much).take()
        self._there.discard(one)
        return one

    def _let(self, one: Looking) -> None:
        began = self._clock.seconds()
        until = began + min(PIECE, self._left)
        self._at_work = True
        try:
            if one.look(lambda: self._clock.seconds() >= until):
                self._wait(one, self._much)
        finally:
            self._at_work = False
            self._left -= self._clock.seconds() - began

    def _end(self) -> None:
        """Go on with those who wait, until the time is over; then there is some again in the reactor's next turn."""
        while self._there and self._left > 0.0:
            self._let(self._next())
        if self._there or self._left <= 0.0:
            self._clock.callLater(self.pause, self._go_on)

    def _go_on(self) -> None:
        self._left = self.length
        self._end()
