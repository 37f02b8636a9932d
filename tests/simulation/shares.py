"""A witness of limits: counts by itself, from every commit, what each has had, and says when that is too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from buildtool.model.access.ceilings import Ceilings, Most
from buildtool.model.records import Request, RequestState
from buildtool.model.triggers.trigger import TRIGGER

HOUR = 3_600.0
SLACK = 1.0
"""Requests that may come back between a decision and its commit."""

UNKNOWN = 60.0
"""Seconds for which somebody may be on their way who was counted before a commit in doubt was looked at again."""


@define(eq=False)
class Shares:
    """The limits of one requester: requests an hour and at a time; None is no limit. ``wrong`` takes a violation.

    What triggers ask for is nobody's. What was had by the hour is forgotten when the metaserver starts again; what
    waits is not.
    """

    wrong: Callable[[str], None]
    an_hour: int | None
    at_a_time: int | None
    _known: set[int] = field(factory=set)
    _waiting: dict[int, str] = field(factory=dict)
    _untold: list[tuple[float, str]] = field(factory=list)
    """When which address got a request of which the metaserver was told that it is not there: it counts without it."""

    _had: dict[str, tuple[float, float]] = field(factory=dict)
    """For each address what they had, of which as much comes back as time goes by, and when that was."""

    @property
    def ceilings(self) -> Ceilings:
        """The same as a metaserver takes it."""
        return Ceilings(requests_an_hour=Most(self.an_hour), open_requests=Most(self.at_a_time))

    @property
    def limited(self) -> bool:
        """Whether anything is."""
        return self.an_hour is not None or self.at_a_time is not None

    def restarted(self) -> None:
        """Another life of the metaserver begins."""
        self._had.clear()

    def committed(self, rows: Sequence[Any], now: float, *, told: bool = True) -> None:
        """Take rows that were committed at ``now``, in seconds of a clock that goes on; was the metaserver told so?"""
        rows = [row for row in rows if type(row) is Request and not row.share.startswith(TRIGGER)]
        fresh = [row for row in rows if row.id not in self._known]
        for row in rows:
            if type(row) is Request:
                self._known.add(row.id)
                if row.state is RequestState.WAITING:
                    self._waiting[row.id] = row.email
                else:
                    self._waiting.pop(row.id, None)
        if not told:
            self._untold += [(now, row.email) for row in fresh]
        for row in fresh:
            self._count(row.email, now)
        if self.at_a_time is not None:
            self._untold = [(when, email) for when, email in self._untold if now - when < UNKNOWN]
            waiting = Counter(self._waiting.values())
            waiting.subtract(email for _, email in self._untold)
            for email in sorted({row.email for row in fresh if row.state is RequestState.WAITING}):
                if waiting[email] > self.at_a_time:
                    self.wrong(f"{waiting[email]} requests of {email} wait, {self.at_a_time} may")

    def _count(self, email: str, now: float) -> None:
        if self.an_hour is None:
            return
        had, since = self._had.get(email, (0.0, now))
        had = max(0.0, had - (now - since) * self.an_hour / HOUR) + 1.0
        self._had[email] = had, now
        if had > self.an_hour + SLACK:
            self.wrong(f"{email} had {had:.1f} requests of {self.an_hour} an hour")
