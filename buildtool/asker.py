"""For whom work is done: whose share it counts against, and whether anybody still waits for it.

Who asks is known where a connection is; what their question costs is known where the work is done. Between the two the
asker travels in the context of the coroutine, so that no signature on the way has to name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from buildtool.errors import Unavailable


class Asker:
    """Somebody who waits for work. Made and told to leave in the reactor's thread."""

    def __init__(self, address: str = "", connection: int = 0) -> None:
        """``address`` and ``connection`` say whose share the work counts against."""
        self.address = address
        self.connection = connection
        self.gone = False
        self._told: dict[int, Callable[[], None]] = {}
        self._next = 0

    def stand_in(self) -> Asker:
        """Return another asker of the same share, who is not gone: for work that several may come to wait for."""
        return Asker(self.address, self.connection)

    def leave(self) -> None:
        """Say that this asker waits for nothing any more: whatever was done for it alone ends."""
        if self.gone:
            return
        self.gone = True
        told, self._told = self._told, {}
        for act in told.values():
            act()

    def when_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Have ``act`` called once this asker leaves; return what takes that back. One that is gone is not told."""
        self._next += 1
        number = self._next
        self._told[number] = act

        def forget() -> None:
            self._told.pop(number, None)

        return forget


NOBODY = Asker()
"""For whom the program works of its own accord; it never leaves."""

_current: ContextVar[Asker] = ContextVar("asker", default=NOBODY)


def asker() -> Asker:
    """Return for whom the running coroutine works."""
    return _current.get()


@contextmanager
def working_for(one: Asker) -> Iterator[None]:
    """Do what is inside the ``with`` for ``one``; coroutines that are started inside go on for it."""
    token = _current.set(one)
    try:
        yield
    finally:
        _current.reset(token)


def hung_up() -> Unavailable:
    """Return the error that ends work for which nobody waits any more."""
    return Unavailable("nobody waits for the answer any more")
