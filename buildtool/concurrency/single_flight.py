"""Sharing one slow act among all who ask for it, without ever giving anybody a stale answer.

Tested by tests/concurrency/test_fair_queue.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.concurrency.asker import Asker, asker, hung_up, working_for

K = TypeVar("K")
T = TypeVar("T")


@define(eq=False)
class _Sharers(Generic[T]):
    """Those who share one run of ``act``, and the asker that stands for them all: gone once each of them is."""

    crowd: Asker
    act: Callable[[], Awaitable[T]]
    waiting: dict[Deferred[T], None] = field(factory=dict)  # no set: who asked first is told first

    def join(self) -> Deferred[T]:
        mine: Deferred[T] = Deferred()
        self.waiting[mine] = None

        def left() -> None:
            if mine in self.waiting:
                del self.waiting[mine]
                mine.errback(hung_up())
                if not self.waiting:
                    self.crowd.leave()

        forget = asker().when_gone(left)
        mine.addBoth(_after, forget)
        return mine

    def tell(self, outcome: T | Failure) -> None:
        waiting, self.waiting = self.waiting, {}
        for one in waiting:
            one.callback(outcome)


class SingleFlight(Generic[T]):
    """A runner of at most one act per key at a time; who asks during a run gets the next one.

    So every answer comes from a run that began after the question, and however many ask, there are at most two runs
    from then on: the one under way and the one that all of them share. A run counts against the share of who began it,
    and ends when all who wait for it are gone; one for which none waits any more does not begin.
    """

    def __init__(self) -> None:
        self._next: dict[str, _Sharers[T]] = {}

    async def share(self, key: str, act: Callable[[], Awaitable[T]]) -> T:
        """Return what a run of ``act`` that begins after now returns, or raise what it raises.

        ``act`` must mean the same for all who use the same key; that of who first waits for a run is called. Raises
        Unavailable when the asker leaves meanwhile.
        """
        if asker().gone:
            raise hung_up()
        waiting = self._next.get(key)
        if waiting is None:
            first = _Sharers(asker().stand_in(), act)
            mine = first.join()
            self._next[key] = _Sharers(Asker(), act)
            Deferred.fromCoroutine(self._run(key, first))
            return await mine
        if not waiting.waiting:
            waiting.crowd, waiting.act = asker().stand_in(), act
        return await waiting.join()

    async def _run(self, key: str, sharing: _Sharers[T]) -> None:
        while sharing.waiting:
            outcome: T | Failure
            try:
                with working_for(sharing.crowd):
                    outcome = await sharing.act()
            except Exception:  # noqa: BLE001 - whatever it is, it belongs to those who asked
                outcome = Failure()
            sharing.tell(outcome)
            sharing, self._next[key] = self._next[key], _Sharers(Asker(), sharing.act)
        del self._next[key]


class Batches(Generic[K, T]):
    """A ``SingleFlight`` whose act is told everything that those who share a run ask about."""

    def __init__(self) -> None:
        self._flights: SingleFlight[T] = SingleFlight()
        self._asked: dict[str, list[frozenset[K]]] = {}

    async def ask(self, key: str, items: Iterable[K], act: Callable[[frozenset[K]], Awaitable[T]]) -> T:
        """Return what a run of ``act`` that begins after now, about at least ``items``, returns or raises."""
        mine = frozenset(items)
        asked = self._asked.setdefault(key, [])
        asked.append(mine)

        async def run() -> T:
            return await act(frozenset().union(*self._asked.pop(key, [])))

        try:
            return await self._flights.share(key, run)
        finally:
            # Whoever left before the run began asks nothing any more.
            left = self._asked.get(key, [])
            if left is asked and any(one is mine for one in left):
                del left[next(place for place, one in enumerate(left) if one is mine)]
                if not left:
                    del self._asked[key]


def _after(outcome: T, forget: Callable[[], None]) -> T:
    forget()
    return outcome
