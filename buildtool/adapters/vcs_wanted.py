"""Ids that no branch or tag leads to, asked of an origin by turns.

git fetches several ids at once, or none of them when one is not there, and does not tell which. So what one asker
wants is tried at once, and if that fails each id alone; between two tries everybody else has a turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.asker import Asker, asker, hung_up, working_for


@define(eq=False)
class _Want:
    id: str
    alone: bool = False
    told: Deferred[bool] = field(factory=Deferred)


@define(eq=False)
class Wanted:
    """What is wanted of one origin. ``fetch`` brings ids and says whether it got them, or raises why it cannot ask."""

    fetch: Callable[[Sequence[str]], Awaitable[bool]]
    _queues: dict[str, list[_Want]] = field(factory=dict, init=False)
    _tried: list[_Want] = field(factory=list, init=False)
    _crowd: Asker = field(factory=lambda: Asker(""), init=False)
    _running: bool = field(default=False, init=False)

    async def get(self, one: str) -> bool:
        """Say whether the origin gave ``one`` out. Raises what ``fetch`` does; Unavailable when the asker leaves."""
        me, want = asker(), _Want(one)
        if me.gone:
            raise hung_up()
        self._queues.setdefault(me.name, []).append(want)
        forget = me.when_gone(lambda: self._drop(me.name, want))
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._run())
        try:
            return await want.told
        finally:
            forget()

    def _drop(self, name: str, want: _Want) -> None:
        """Forget what nobody waits for, and end a fetch of which nobody does."""
        queue = self._queues.get(name, [])
        if want in queue:
            queue.remove(want)
            if not queue:
                del self._queues[name]
        elif want in self._tried:
            self._tried.remove(want)
            if not self._tried:
                self._crowd.leave()
        if not want.told.called:
            want.told.errback(hung_up())

    async def _run(self) -> None:
        while self._queues:
            name, queue = next(iter(self._queues.items()))
            del self._queues[name]
            together = [want for want in queue if not want.alone] or [want for want in queue if want.id == queue[0].id]
            rest = [want for want in queue if want not in together]
            if rest:
                self._queues[name] = rest  # behind everybody else's
            await self._try(name, together)
        self._running = False

    async def _try(self, name: str, wants: Sequence[_Want]) -> None:
        self._tried, self._crowd = list(wants), Asker(name)
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
            if left:
                self._queues[name] = [*self._queues.pop(name, []), *left]
            return
        for want in left:
            want.told.callback(outcome)
