"""What waits for a time: one table of timers, and for each kind when it is due, whether it stands, what it becomes.

Each record that waits has at most one timer of a kind. A record whose time becomes later keeps its place in the heap,
and is moved when it comes up: Leases are renewed with every heartbeat.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

from attrs import frozen

from buildtool.model.records import BuildState
from buildtool.model.servers import Server
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.slots import ServerSlots
from buildtool.scheduling.state.tables import AttemptKey, RefusalKey, Tables

OWNER_TOLD_AFTER = 3_600.0
"""Seconds after which the owner of a build server is told that it is missing."""

TIMERS_SPARED = 1_000
"""How many places in the heap may be out of date: by themselves they go when their time comes, a week later."""

TimerKey = int | str | AttemptKey | RefusalKey
"""The key of the record that waits."""


@frozen
class RequestExpired:
    """A Request is not to wait any longer."""

    request_id: int


@frozen
class LeaseExpired:
    """An Attempt was not heard of for a full term. ``key`` is the id of its Build and its epoch."""

    key: tuple[int, int]


@frozen
class AbsenceNoticed:
    """A build server that contact was lost with is not back in time."""

    server: str


@frozen
class OwnerDue:
    """A build server is missing for so long that its owner is to be told."""

    server: str


@frozen
class RetryDue:
    """A Build may start again after its delay."""

    build_id: int


@frozen
class QuarantineOver:
    """A build server may be given Builds again."""

    server: str


@frozen
class RefusalOver:
    """A Build may be offered again to a build server. ``key`` is the id of the Build and the server's name."""

    key: tuple[int, str]


TimedEvent = RequestExpired | LeaseExpired | AbsenceNoticed | OwnerDue | RetryDue | QuarantineOver | RefusalOver
"""What a timer becomes when its time has come."""


class TimerKind(IntEnum):
    """A kind of thing that becomes due, in the order in which what is due together is decided."""

    REQUEST = 0
    LEASE = 1
    ABSENCE = 2
    OWNER = 3
    RETRY = 4
    QUARANTINE = 5
    REFUSAL = 6


class Timer(NamedTuple):
    """One timer: due at wall time ``at`` (seconds) for the record ``key``."""

    at: float
    kind: TimerKind
    key: Any


@frozen
class TimerRule:
    """All that the table knows of a kind.

    ``due(record, lease_term)`` returns the wall time at which the record is due, 0 for never. ``stands(table, key)``
    says of a timer whose time has come whether anything follows from it. ``event(key)`` is what it becomes.
    """

    due: Callable[[Any, float], float]
    event: Callable[[Any], TimedEvent]
    stands: Callable[[TimerTable, Any], bool] = lambda _table, _key: True


class TimerTable:
    """A table of when (wall time) each open record is due, and a heap that says which is next."""

    def __init__(self, tables: Tables, slots: ServerSlots, journal: Journal, lease_term: float) -> None:
        self.tables = tables
        self.slots = slots
        self.due: dict[tuple[TimerKind, TimerKey], float] = {}
        self._journal = journal
        self._lease_term = lease_term
        self._heap: list[Timer] = []

    def __len__(self) -> int:
        """Return how many places of the heap are taken, out of date or not."""
        return len(self._heap)

    def follow(self, kind: TimerKind, key: TimerKey, old: object, new: object) -> None:
        """Set the timer of a record that was ``old`` and is ``new`` now; None stands for a record that is not there."""
        due, term = RULES[kind].due, self._lease_term
        before = 0.0 if old is None else due(old, term)
        after = 0.0 if new is None else due(new, term)
        if after != before:
            self._set(kind, key, after)

    def next_due(self, now: float) -> float | None:
        """Return the wall time of the earliest timer that stands, or None; forget those that do not."""
        while self._heap:
            timer = self._heap[0]
            if self._is_set(timer) and (timer.at > now or RULES[timer.kind].stands(self, timer.key)):
                return timer.at
            self._pop()
        return None

    def take(self, now: float) -> Timer | None:
        """Take away the earliest timer that stands and whose time has come by ``now``; return None if there is none."""
        while self._heap and self._heap[0].at <= now:
            due, timer = self._is_set(self._heap[0]), self._pop()
            if due and RULES[timer.kind].stands(self, timer.key):
                return timer
        return None

    def compact(self) -> None:
        """Make the heap anew if most of its places are out of date."""
        if len(self._heap) > TIMERS_SPARED + 4 * len(self.due):
            self._heap = sorted(Timer(at, kind, key) for (kind, key), at in self.due.items())

    def _is_set(self, timer: Timer) -> bool:
        return self.due.get((timer.kind, timer.key)) == timer.at

    def _set(self, kind: TimerKind, key: TimerKey, at: float) -> None:
        before = self.due.get((kind, key))
        if not at:
            self.due.pop((kind, key), None)
            return
        self.due[kind, key] = at
        if before is None or at < before:
            heapq.heappush(self._heap, Timer(at, kind, key))

    def _pop(self) -> Timer:
        """Take the first place from the heap; what is due later by now gets another."""
        timer = heapq.heappop(self._heap)
        due = self.due.get((timer.kind, timer.key))
        if due == timer.at:
            del self.due[timer.kind, timer.key]
        elif due is not None and due > timer.at:
            heapq.heappush(self._heap, timer._replace(at=due))
        self._journal.add(partial(self._put_back, timer, due))
        return timer

    def _put_back(self, timer: Timer, due: float | None) -> None:
        heapq.heappush(self._heap, timer)
        if due is not None:
            self.due[timer.kind, timer.key] = due


def _owner_told_at(server: Server) -> float:
    """Return when the owner of a build server is told that it is missing: not while they said that it is away."""
    if not server.missing_since:
        return 0.0
    told = server.missing_since + OWNER_TOLD_AFTER
    while away := server.away_until(told):  # one downtime may follow another; each is put off for at most once
        told = away + OWNER_TOLD_AFTER
    return told


def _may_expire(table: TimerTable, request_id: int) -> bool:
    """Return whether a Request is held or its Build is queued: it does not expire while it is built."""
    request = table.tables.requests[request_id]
    build = table.tables.builds.get(request.build_id) if request.build_id is not None else None
    return request.held or (build is not None and build.state is BuildState.QUEUED)


def _is_free(table: TimerTable, key: RefusalKey) -> bool:
    """Return whether the build server of a refusal has a free slot; without one it takes nothing now."""
    return key[1] in table.slots.free


RULES: Mapping[TimerKind, TimerRule] = {
    TimerKind.REQUEST: TimerRule(lambda request, _: request.expires_at, RequestExpired, _may_expire),
    TimerKind.LEASE: TimerRule(lambda lease, _: lease.until, LeaseExpired),
    TimerKind.ABSENCE: TimerRule(
        lambda server, term: server.missing_since + term if server.missing_since else 0.0, AbsenceNoticed
    ),
    TimerKind.OWNER: TimerRule(lambda server, _: _owner_told_at(server), OwnerDue),
    TimerKind.RETRY: TimerRule(
        lambda build, _: build.not_before if build.state is BuildState.QUEUED else 0.0, RetryDue
    ),
    TimerKind.QUARANTINE: TimerRule(lambda server, _: server.quarantined_until, QuarantineOver),
    TimerKind.REFUSAL: TimerRule(lambda refusal, _: refusal.until, RefusalOver, _is_free),
}
