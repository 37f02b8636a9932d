"""Virtual time: one queue of calls for the whole world, and for each run of a program a view of it that can die."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IDelayedCall)
class Call:
    """One call that is due at ``time``; ``life`` is whose it is, and nothing of the dead is ever done."""

    __slots__ = ("_cancelled", "_clock", "act", "called", "life", "stamp", "time")

    def __init__(self, clock: VirtualTime, time: float, act: Callable[[], object], life: Life | None) -> None:
        self._clock = clock
        self._cancelled = False
        self.time = time
        self.act = act
        self.life = life
        self.called = False
        self.stamp = 0

    def getTime(self) -> float:
        return self.time

    def cancel(self) -> None:
        self._must_wait()
        self._cancelled = True

    def reset(self, seconds: float) -> None:
        self._must_wait()
        self.time = self._clock.now + seconds
        self._clock.push(self)

    def delay(self, seconds: float) -> None:
        self._must_wait()
        self.time += seconds
        self._clock.push(self)

    def active(self) -> bool:
        return not (self.called or self._cancelled)

    def _must_wait(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self.called:
            raise AlreadyCalled


class VirtualTime:
    """The world's monotonic clock and everything that waits for it, in order; equal times in the order of asking."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Call]] = []
        self._stamps = 0
        self.graveyard: list[object] = []
        """What the dead left. To let go of a coroutine would run what it does at its end, which no crash does."""

    def push(self, call: Call) -> None:
        self._stamps += 1
        call.stamp = self._stamps
        heapq.heappush(self._queue, (call.time, self._stamps, call))

    def call(self, seconds: float, act: Callable[[], object], life: Life | None = None) -> Call:
        """Do ``act`` in so many seconds, unless ``life`` has ended by then."""
        made = Call(self, self.now + max(seconds, 0.0), act, life)
        self.push(made)
        return made

    def next_time(self) -> float | None:
        """Return when the next call is due."""
        queue = self._queue
        while queue and (queue[0][1] != queue[0][2].stamp or not queue[0][2].active()):
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def next_life(self) -> Life | None:
        """Return whose the next call is."""
        return self._queue[0][2].life if self.next_time() is not None else None

    def step(self) -> bool:
        """Do the next call, and let time pass until then; False where nothing is left or it was a dead one's."""
        if self.next_time() is None:
            return False
        when, _, call = heapq.heappop(self._queue)
        if call.life is not None and call.life.frozen_until > when and not call.life.ended:
            call.time = call.life.frozen_until
            self.push(call)
            return False
        call.called = True
        if call.life is not None and call.life.ended:
            self.graveyard.append(call)
            return False
        self.now = when
        call.act()
        return True

    def pause(self, seconds: float, life: Life | None = None) -> Deferred[None]:
        """Return a Deferred that fires in so many seconds."""
        waiting: Deferred[None] = Deferred()
        self.call(seconds, lambda: waiting.callback(None), life)
        return waiting


@implementer(IReactorTime)
class Life:
    """One run of one program, as its reactor: what it asked for is never done once it has ended."""

    def __init__(self, time: VirtualTime, name: str) -> None:
        self.time = time
        self.name = name
        self.ended = False
        self.frozen_until = 0.0

    @property
    def frozen(self) -> float:
        """How many seconds it still does nothing, as after SIGSTOP; its system goes on."""
        return max(0.0, self.frozen_until - self.time.now)

    def seconds(self) -> float:
        return self.time.now

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any) -> Call:  # noqa: A002
        return self.time.call(delay, (lambda: callable(*args, **kw)) if args or kw else callable, self)

    def callFromThread(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:  # noqa: A002
        """There are no threads: do it at once."""
        callable(*args, **kw)

    def getDelayedCalls(self) -> list[Call]:
        return []

    def pause(self, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires in so many seconds, unless this life ends before."""
        return self.time.pause(seconds, self)


class Wall:
    """Wall time, as one machine shows it: ``offset`` steps, monotonic time does not."""

    def __init__(self, time: VirtualTime, offset: float) -> None:
        self._time = time
        self.offset = offset

    def wall(self) -> float:
        return self.offset + self._time.now


@define(eq=False)
class Armed:
    """A crash that comes after so many more steps of its victim."""

    life: Life
    steps: int
    act: Callable[[], None]
