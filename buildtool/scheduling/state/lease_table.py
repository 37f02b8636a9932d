"""Until when each Attempt is believed alive (docs/adr/0009-leases.md).

Leases are not in the database: after a start each is given a fresh full term.

The test is tests/scheduling/servers/test_leases.py.
"""

from __future__ import annotations

from functools import partial

from attrs import evolve, frozen

from buildtool.model.records import Attempt, AttemptState
from buildtool.model.servers import Server
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.projects import ProjectPolicies
from buildtool.scheduling.state.tables import AttemptKey, Tables
from buildtool.scheduling.state.timers import TimerKind, TimerTable

LEASE = 60.0
"""Seconds for which an Attempt is believed alive after it was heard of."""

OVERDUE = 7_200.0
"""Seconds beyond the project's time limit, for checkout and upload, after which an Attempt that still lives is ended:
its build server keeps neither the limit nor its word."""

MOST_FROZEN = 86_400.0
"""Seconds in all for which an Attempt may be frozen without that counting against any limit."""


@frozen
class Lease:
    """The times (wall time) until which an Attempt is believed alive, and from which it is overdue.

    Time in which it was frozen is added to the latter.
    """

    until: float
    overdue: float


class LeaseTable:
    """The Lease ``of`` each live Attempt. ``term`` is for how many seconds one is given."""

    def __init__(
        self, tables: Tables, projects: ProjectPolicies, journal: Journal, timers: TimerTable, term: float
    ) -> None:
        self.of: dict[AttemptKey, Lease] = {}
        self.term = term
        self._tables = tables
        self._projects = projects
        self._journal = journal
        self._timers = timers

    def renew(self, key: AttemptKey, now: float) -> None:
        """Renew the Lease of a live Attempt: it ends a full term after ``now``."""
        self._change(key, self._fresh(self._tables.attempts[key], now))

    def start(self, now: float) -> None:
        """Start a Lease for every Attempt that was just loaded: nothing is known of when it was heard of."""
        for key, attempt in self._tables.attempts.items():
            if attempt.state is not AttemptState.MISSING:
                self._set(key, self.of.get(key), self._fresh(attempt, now))

    def end(self, key: AttemptKey) -> None:
        """End the Lease of an Attempt."""
        if key in self.of:
            self._change(key, None)

    def shift(self, seconds: float) -> None:
        """Move the end of every Lease by so many seconds: the clock by which it is measured was set."""
        for key, old in list(self.of.items()):
            self._change(key, Lease(old.until + seconds, old.overdue + seconds))

    def expected_back(self, server: Server, now: float) -> bool:
        """Return whether contact with a server was lost so lately that it may be back any time."""
        return bool(server.missing_since) and now < server.missing_since + self.term

    def is_overdue(self, attempt: Attempt, now: float) -> bool:
        """Return whether an Attempt takes longer than any limit allows, at wall time ``now``."""
        return self.of[attempt.key].overdue + _excused(attempt, now) <= now

    def _fresh(self, attempt: Attempt, now: float) -> Lease:
        old = self.of.get(attempt.key)
        if old is not None:
            overdue = old.overdue
        else:
            build = self._tables.builds.get(attempt.build_id)  # None for one that is still being aborted
            limit = self._projects.policy(build.spec.project).time_limit if build is not None else 0.0
            overdue = now + limit + OVERDUE
        if attempt.frozen_at is not None and frozen_for(attempt, now) < MOST_FROZEN:
            return Lease(now + self.term, overdue)
        return Lease(min(now + self.term, overdue + _excused(attempt, now)), overdue)

    def _change(self, key: AttemptKey, new: Lease | None) -> None:
        old = self.of.get(key)
        self._set(key, old, new)
        self._journal.add(partial(self._set, key, new, old))

    def _set(self, key: AttemptKey, old: Lease | None, new: Lease | None) -> None:
        self._timers.follow(TimerKind.LEASE, key, old, new)
        if new is None:
            self.of.pop(key, None)
        else:
            self.of[key] = new


def frozen_for(attempt: Attempt, now: float) -> float:
    """Return for how many seconds an Attempt was frozen in all, at wall time ``now``."""
    return attempt.rested + (0.0 if attempt.frozen_at is None else max(0.0, now - attempt.frozen_at))


def thawed(attempt: Attempt, now: float) -> Attempt:
    """Return an Attempt as one that stands still no more, from wall time ``now`` on."""
    return evolve(attempt, frozen_at=None, rested=frozen_for(attempt, now))


def _excused(attempt: Attempt, now: float) -> float:
    """Return for how many seconds an Attempt was frozen that count against no limit."""
    return min(frozen_for(attempt, now), MOST_FROZEN)
