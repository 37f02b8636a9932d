"""The open records and what is found by them: every change of one goes through ``put``, which keeps the indexes.

A finished Request, Build or Attempt leaves with the change that ended it.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from attrs import evolve

from buildtool.model import lifecycle
from buildtool.model.records import Attempt, AttemptState, Build, BuildState, Refusal, Request, RequestState, ShelfKey
from buildtool.model.servers import Server
from buildtool.scheduling.state.capability_groups import CapabilityGroups
from buildtool.scheduling.state.index import Index, OpenCounts, alike, drop
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.lease_table import LeaseTable
from buildtool.scheduling.state.ready_queue import ReadyQueue
from buildtool.scheduling.state.slots import ServerSlots
from buildtool.scheduling.state.tables import AttemptKey, RefusalKey, Tables
from buildtool.scheduling.state.timers import TimerKind, TimerTable

Record = Request | Build | Attempt | Server | Refusal


class _Kind(NamedTuple):
    """Where the records of a kind are, by which key, what sets one, and which steps from state to state it may take."""

    table: dict[Any, Any]
    key: Callable[[Any], Any]
    set: Callable[[Any, Any, Any], None]
    states: Mapping[Any, Any] | None = None


class Records:
    """The indexes over the open records.

    ``build_by_key`` finds a Build by its BuildKey, ``builds_on`` those of a shelf. ``waiting_on`` has the Requests that
    wait for a Build, ``wanting`` those that a shelf would satisfy, ``asked_alike`` those of one share for one
    kind of artifact, ``group_open`` those of a group, ``missing_of`` the
    missing Attempts of a Build. ``refusals_of`` and ``refused_by`` are refusals by Build and by server, ``confirming``
    the Builds whose failure waits to be repeated, ``absent`` the servers that contact was lost with, ``idle_sizes``
    those that are not connected and never built anything, with the bytes that each takes. ``revisions_wanted`` counts
    the acceptable revisions of all open Requests together, of which each takes memory, and ``open_counts`` the open
    Requests by who asked.
    """

    def __init__(
        self,
        tables: Tables,
        journal: Journal,
        timers: TimerTable,
        leases: LeaseTable,
        queue: ReadyQueue,
        groups: CapabilityGroups,
        slots: ServerSlots,
    ) -> None:
        self.build_by_key: dict[str, int] = {}
        self.builds_on: Index[ShelfKey] = Index()
        self.waiting_on: Index[int] = Index()
        self.wanting: Index[ShelfKey] = Index()
        self.asked_alike: Index[tuple[str, ...]] = Index()
        self.group_open: dict[int, dict[int, None]] = {}
        self.missing_of: dict[int, dict[AttemptKey, None]] = {}
        self.refusals_of: dict[int, dict[str, None]] = {}
        self.refused_by: dict[str, dict[int, None]] = {}
        self.confirming: dict[int, None] = {}
        self.absent: dict[str, None] = {}
        self.idle_sizes: dict[str, int] = {}
        self.revisions_wanted = 0
        self.open_counts = OpenCounts()
        self._tables = tables
        self._journal = journal
        self._timers = timers
        self._leases = leases
        self._queue = queue
        self._groups = groups
        self._slots = slots
        self._kinds: dict[type, _Kind] = {
            Request: _Kind(tables.requests, attrgetter("id"), self._set_request, lifecycle.REQUEST),
            Build: _Kind(tables.builds, attrgetter("id"), self._set_build, lifecycle.BUILD),
            Attempt: _Kind(tables.attempts, attrgetter("key"), self._set_attempt, lifecycle.ATTEMPT),
            Server: _Kind(tables.servers, attrgetter("name"), self._set_server),
            Refusal: _Kind(tables.refusals, attrgetter("build_id", "server"), self._set_refusal),
        }

    def put(self, record: Record) -> None:
        """Make ``record`` the newest form of its kind and key. Raises IllegalTransition."""
        kind = self._kinds[type(record)]
        key = kind.key(record)
        old = kind.table.get(key)
        if kind.states is not None:
            lifecycle.check(kind.states, old.state if old is not None else None, record.state)  # type: ignore[union-attr]
        self._journal.change(kind.set, key, old, record)
        if isinstance(record, Attempt) and record.state in (AttemptState.MISSING, AttemptState.ENDED):
            self._leases.end(record.key)

    def load(self, records: Iterable[Record]) -> None:
        """Take in rows as the database has them, without writing them again. Builds come before their Requests."""
        for record in records:
            kind = self._kinds[type(record)]
            kind.set(kind.key(record), None, record)
            if isinstance(record, Build) and record.id in self._tables.builds:
                self._queue.rounds.remember(record)

    def judge_anew(self) -> None:
        """Find out anew who can build what: projects compare their properties in another way now."""
        builds = list(self._tables.builds.values())
        for build in builds:
            self._set_build(build.id, build, None)
        self._groups.start_over()
        for build in builds:
            self._set_build(build.id, None, build)
            self._queue.rounds.remember(build)

    def forget_refusal(self, key: RefusalKey) -> None:
        """Drop a refusal whose Build has ended; its row says until when it held."""
        old = self._tables.refusals[key]
        self._set_refusal(key, old, None)
        self._journal.add(partial(self._set_refusal, key, None, old))

    def shift_requests(self, seconds: float) -> None:
        """Move the time at which each open Request expires by so many seconds: one row says so for all."""
        for request in list(self._tables.requests.values()):
            later = evolve(request, expires_at=request.expires_at + seconds)
            self._set_request(request.id, request, later)
            if self._journal.writes(Request, request.id):
                self._journal.write(request.id, later)
            self._journal.add(partial(self._set_request, request.id, later, request))
        self._journal.shift(seconds, failures=False)

    def waiters(self, build_id: int) -> list[Request]:
        """Return the open Requests that wait for a Build, by admission."""
        return [self._tables.requests[request_id] for request_id in sorted(self.waiting_on.get(build_id))]

    def running_attempt(self, build: Build) -> Attempt | None:
        """Return the Attempt that an open Build has now, or None when it waits for one."""
        attempt = self._tables.attempts.get((build.id, build.epoch))
        return attempt if attempt is not None and attempt.state is not AttemptState.MISSING else None

    def _set_request(self, key: int, old: Request | None, new: Request | None) -> None:
        old, new = _open_request(old), _open_request(new)
        if old is not None and old.build_id is not None:
            self.waiting_on.drop(old.build_id, key)
        if new is not None and new.build_id is not None:
            self.waiting_on.add(new.build_id, key)
        if old is not None and old.group is not None:
            drop(self.group_open, old.group, key)
        if new is not None and new.group is not None:
            self.group_open.setdefault(new.group, {})[key] = None
        self.open_counts.follow(old, new)
        self._follow_alike(key, old, new)
        before = old.demand if old is not None else None
        after = new.demand if new is not None else None
        if before is not after:
            self.revisions_wanted -= len(before.acceptable) if before is not None else 0
            self.revisions_wanted += len(after.acceptable) if after is not None else 0
            for shelf in before.shelves if before is not None else ():
                self.wanting.drop(shelf, key)
            for shelf in after.shelves if after is not None else ():
                self.wanting.add(shelf, key)
        self._timers.follow(TimerKind.REQUEST, key, old, new)
        if new is None:
            self._tables.requests.pop(key, None)
        else:
            self._tables.requests[key] = new

    def _follow_alike(self, key: int, old: Request | None, new: Request | None) -> None:
        if old is not None and new is not None and old.share == new.share and old.demand.spec is new.demand.spec:
            return
        if old is not None:
            self.asked_alike.drop(alike(old), key)
        if new is not None:
            self.asked_alike.add(alike(new), key)

    def _set_build(self, key: int, old: Build | None, new: Build | None) -> None:
        old, new = _open_build(old), _open_build(new)
        if (old is not None and old.not_before) or (new is not None and new.not_before):
            self._timers.follow(TimerKind.RETRY, key, old, new)
        if old is not None and new is not None and old.spec is new.spec:
            self._queue.discard(old)
            self._tables.builds[new.id] = new
            self._queue.move(old, new)
            self._line_up(new)
            return
        if old is not None:
            self._queue.discard(old)
            self._queue.leave(old)
            del self.build_by_key[old.key]
            self.builds_on.drop(old.spec.shelf, old.id)
            self.confirming.pop(key, None)
            self._tables.builds.pop(key)
        if new is not None:
            self._tables.builds[key] = new
            self.build_by_key[new.key] = key
            self.builds_on.add(new.spec.shelf, key)
            if self._queue.enter(new):
                self._groups.judge_class(new)
            self._line_up(new)

    def _line_up(self, build: Build) -> None:
        waits = build.state is BuildState.QUEUED
        if waits and not build.not_before:
            self._queue.add(build)
        if waits and build.failed_on:
            self.confirming[build.id] = None
        else:
            self.confirming.pop(build.id, None)

    def _set_attempt(self, key: AttemptKey, old: Attempt | None, new: Attempt | None) -> None:
        old, new = _live(old), _live(new)
        if old is not None and (new is None or (old.state, old.session) != (new.state, new.session)):
            self._slots.forget_unkept(old)  # whoever still has it says so again
        if old is not None:
            if old.state is AttemptState.MISSING:
                drop(self.missing_of, old.build_id, key)
            else:
                self._slots.vacate(old)
        if new is None:
            self._tables.attempts.pop(key, None)
        else:
            self._tables.attempts[key] = new
            if new.state is AttemptState.MISSING:
                self.missing_of.setdefault(new.build_id, {})[key] = None
            else:
                self._slots.occupy(new)
        server = new.server if new is not None else old.server if old is not None else ""
        self._slots.note(server)

    def _set_server(self, key: str, old: Server | None, new: Server | None) -> None:
        old, new = _known(old), _known(new)
        if new is None:
            del self._tables.servers[key]
        else:
            self._tables.servers[key] = new
        self._groups.follow(key, old, new)
        if new is None or new.connected or new.used_at:
            self.idle_sizes.pop(key, None)
        else:
            self.idle_sizes[key] = new.capability.size()
        if new is not None and new.missing_since:
            self.absent[key] = None
        else:
            self.absent.pop(key, None)
        for kind in (TimerKind.QUARANTINE, TimerKind.ABSENCE, TimerKind.OWNER):
            self._timers.follow(kind, key, old, new)
        self._slots.note(key)

    def _set_refusal(self, key: RefusalKey, old: Refusal | None, new: Refusal | None) -> None:
        self._timers.follow(TimerKind.REFUSAL, key, old, new)
        if new is None:
            self._tables.refusals.pop(key, None)
            drop(self.refusals_of, key[0], key[1])
            drop(self.refused_by, key[1], key[0])
            return
        self._tables.refusals[key] = new
        self.refusals_of.setdefault(key[0], {})[key[1]] = None
        self.refused_by.setdefault(key[1], {})[key[0]] = None


def _open_request(request: Request | None) -> Request | None:
    return request if request is not None and request.state is RequestState.WAITING else None


def _open_build(build: Build | None) -> Build | None:
    return build if build is not None and build.state in (BuildState.QUEUED, BuildState.RUNNING) else None


def _known(server: Server | None) -> Server | None:
    return server if server is not None and not server.forgotten else None


def _live(attempt: Attempt | None) -> Attempt | None:
    return attempt if attempt is not None and attempt.state is not AttemptState.ENDED else None
