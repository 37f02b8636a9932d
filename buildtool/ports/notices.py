"""What telling others needs from outside: where notices lie until they are told, and ways to tell them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.model.notices.outcome import TellOutcome


@frozen
class OutgoingNotice:
    """A notice that is to be told, the ``serial``-th of its key, which was tried so often.

    ``before`` is what was told of the key last, None where nothing was. ``begun`` is whether anything may have been.
    """

    notice: Notice
    serial: int
    tries: int
    before: NoticeState | None

    @property
    def begun(self) -> bool:
        """Whether something of this key may have been told before."""
        return self.tries > 0 or self.serial > 1


@frozen
class TargetFigures:
    """The count of what one target is to be told, since when it waits (wall time in seconds), and what was given up.

    ``told`` is when it was told something last; ``error`` is why what waits was not told when it was tried.
    """

    waiting: int = 0
    oldest: float | None = None
    given_up: int = 0
    told: float | None = None
    error: str = ""


class NoticeStore(Protocol):
    """The outbox of notices. Each call is one transaction and raises StorageUnavailable. Times are wall time, seconds.

    A mark that comes too late, when the key has a newer notice, changes nothing of that.
    """

    async def due(self, target: str, now: float, latest: float, limit: int) -> Sequence[OutgoingNotice]:
        """Return at most ``limit`` notices of a target that are to be tried now, the oldest first.

        One that was put off beyond ``latest`` is due as well: the clock was set back since.
        """

    async def next_due(self, target: str) -> float | None:
        """Return when the next notice of a target is to be tried, None when none waits."""

    async def told(self, outgoing: OutgoingNotice, now: float) -> None:
        """Mark a notice as told."""

    async def deferred(self, outgoing: OutgoingNotice, next_try: float, reason: str) -> None:
        """Record that a notice could not be told, why, and when to try again."""

    async def given_up(self, outgoing: OutgoingNotice, now: float, reason: str) -> None:
        """Record that a notice is not tried any more, and why."""

    async def figures(self) -> Mapping[str, TargetFigures]:
        """Return how things stand for each target that there is anything of."""

    async def tidy(self, before: float, limit: int) -> int:
        """Forget at most ``limit`` keys of which nothing is new since ``before``; return how many."""


Tell = Callable[[OutgoingNotice], Awaitable[TellOutcome]]
"""Tells one target one notice. It may raise BuildToolError where that cannot be tried now."""
