"""For whom work is done: whose share it counts against, and whether anybody still waits for it.

Who asks is known where a connection is; what their question costs is known where the work is done. Between the two the
asker travels in the context of the coroutine, so that no signature on the way has to name it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from buildtool.errors import Unavailable


class Received:
    """A count of the bytes that the work for an asker fetched; ``add`` may be called in any thread."""

    def __init__(self) -> None:
        self._counts: list[int] = []  # appending is one step whatever other threads do

    @property
    def total(self) -> int:
        """How many bytes it was."""
        return sum(self._counts)

    def add(self, count: int) -> None:
        """Add bytes."""
        self._counts.append(count)


class Asker:
    """A caller that waits for work. Made, and told to leave, in the reactor's thread."""

    def __init__(self, address: str = "", connection: int = 0, received: Received | None = None) -> None:
        """``address`` and ``connection`` say whose share the work counts against; ``received`` counts what it fetches.

        Nothing is counted where that is None.
        """
        self.address = address
        self.connection = connection
        self.received = received
        self.gone = False
        self._told: dict[int, Callable[[], None]] = {}
        self._next = 0

    def stand_in(self) -> Asker:
        """Return another asker of the same share, who is not gone: for work that several may come to wait for."""
        return Asker(self.address, self.connection, self.received)

    def leave(self) -> None:
        """End the work that is done for this asker alone."""
        if self.gone:
            return
        self.gone = True
        told, self._told = self._told, {}
        for act in told.values():
            act()

    def when_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Call ``act`` once this asker leaves; return what takes that back. It is not called for one that is gone."""
        self._next += 1
        number = self._next
        self._told[number] = act

        def forget() -> None:
            self._told.pop(number, None)

        return forget


INTERNAL = Asker()
"""For whom the program works of its own accord; it never leaves."""

_current: ContextVar[Asker] = ContextVar("asker", default=INTERNAL)


def asker() -> Asker:
    """Return the asker for whom the running coroutine works."""
    return _current.get()


class working_for:  # noqa: N801 - it is used as a function is; a generator takes thrice as long, for every call
    """The context of work for ``one``; coroutines that are started inside go on for it."""

    __slots__ = ("_one", "_token")

    def __init__(self, one: Asker) -> None:
        self._one = one

    def __enter__(self) -> None:
        self._token = _current.set(self._one)

    def __exit__(self, kind: type[BaseException] | None, *_raised: object) -> None:
        # A coroutine that is thrown away unfinished is closed wherever that happens: its own context is gone by then.
        if kind is not GeneratorExit:
            _current.reset(self._token)


def hung_up() -> Unavailable:
    """Return the error that ends work whose askers have all left."""
    return Unavailable("nobody waits for the answer any more")
