"""Sharing one slow act among all who ask for it, without ever giving anybody a stale answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Rounds(Generic[T]):
    """At most one run of an act per key at a time; who asks during a run gets the next one.

    So everybody's answer comes from a run that began after they asked, and however many ask, there are at most two
    runs from then on: the one under way and the one that all of them share.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[Deferred[T]]] = {}

    async def share(self, key: str, act: Callable[[], Awaitable[T]]) -> T:
        """Return what a run of ``act`` that begins after now returns, or raise what it raises.

        ``act`` must mean the same for all who use the same key.
        """
        mine: Deferred[T] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = []
            Deferred.fromCoroutine(self._run(key, act, [mine]))
        else:
            waiting.append(mine)
        return await mine

    async def _run(self, key: str, act: Callable[[], Awaitable[T]], sharing: list[Deferred[T]]) -> None:
        while sharing:
            outcome: T | Failure
            try:
                outcome = await act()
            except Exception:  # noqa: BLE001 - whatever it is, it belongs to those who asked
                outcome = Failure()
            for one in sharing:
                one.callback(outcome)
            sharing, self._waiting[key] = self._waiting[key], []
        del self._waiting[key]
