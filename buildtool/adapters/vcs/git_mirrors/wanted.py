"""Ids that no branch or tag leads to, asked of an origin by turns.

git fetches several ids at once, or none of them when one is not there, and does not tell which. So what one asker
wants is tried at once, and if that fails each id alone; between two tries everybody else has a turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.concurrency.asker import Asker, asker, hung_up, working_for
from buildtool.concurrency.fair_queue import FairQueue


@define(eq=False)
class _Want:
    id: str
    asker: Asker
    alone: bool = False
    told: Deferred[bool] = field(factory=Deferred)


@define(eq=False)
class WantedIds:
    """The ids wanted of one origin. ``fetch`` brings ids and says whether it got them, or raises why it cannot ask."""

    fetch: Callable[[Sequence[str]], Awaitable[bool]]
    _waiting: FairQueue[_Want] = field(factory=FairQueue, init=False)
    _tried: list[_Want] = field(factory=list, init=False)
    _crowd: Asker = field(factory=Asker, init=False)
    _running: bool = field(default=False, init=False)

    async def get(self, one: str) -> bool:
        """Return whether the origin gave ``one`` out. Raises what ``fetch`` does; Unavailable when the asker leaves."""
        want = _Want(one, asker())
        if want.asker.gone:
            raise hung_up()
        self._waiting.put(want.asker, (want,))
        forget = want.asker.when_gone(lambda: self._drop(want))
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._run())
        try:
            return await want.told
        finally:
            forget()

    def _drop(self, want: _Want) -> None:
        """Forget what nobody waits for, and end a fetch for which nobody does."""
        if not self._waiting.drop(want.asker, want) and want in self._tried:
            self._tried.remove(want)
            if not self._tried:
                self._crowd.leave()
        if not want.told.called:
            want.told.errback(hung_up())

    async def _run(self) -> None:
        while wants := self._waiting.take():
            together = [want for want in wants if not want.alone] or [want for want in wants if want.id == wants[0].id]
            self._waiting.put(wants[0].asker, [want for want in wants if want not in together])
            await self._try(together)
        self._running = False

    async def _try(self, wants: Sequence[_Want]) -> None:
        self._tried, self._crowd = list(wants), wants[0].asker.stand_in()
        outcome: bool | Failure
        ids = sorted({want.id for want in wants})
        try:
            with working_for(self._crowd):
                outcome = await self.fetch(ids)
        except Exception:  # noqa: BLE001 - whatever it is, it belongs to those who asked
            outcome = Failure()
        left, self._tried = self._tried, []
        if outcome is False and len(ids) > 1:
            for want in left:
                want.alone = True
            self._waiting.put(wants[0].asker, left)
            return
        for want in left:
            want.told.callback(outcome)
