"""Everything open, in memory, with indexes that make a decision cheap and a journal that can take it back.

The database is the truth; this is rebuilt from it at the start. Only what is open stays here: a finished Request,
Build or Attempt leaves with the change that ended it. Finished artifacts and remembered failures are *shelves*, loaded
when an event needs them and dropped when they are many, so that neither memory nor start depend on history.

Every change goes through ``put``, ``append`` or one of the few setters and is journalled: ``rollback`` makes the state
as it was at a ``savepoint``, and ``take_changes`` hands over the rows to be committed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import partial
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from attrs import evolve, frozen

from buildtool.domain import lifecycle
from buildtool.domain.estimates import Durations
from buildtool.domain.index import Index
from buildtool.domain.known import COUNTED, is_name
from buildtool.domain.matching import Fit, Wanted, unmet
from buildtool.domain.model import (
    Artifact,
    Attempt,
    AttemptState,
    Beat,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    FailedHere,
    Mail,
    Offer,
    Policy,
    ProjectSkill,
    Refusal,
    Request,
    RequestState,
    Server,
    Shelf,
    ShelfKey,
    Shift,
)
from buildtool.domain.options import Comparison
from buildtool.domain.platforms import Value
from buildtool.domain.ready import Alike, ReadyQueue, Verdict
from buildtool.domain.shelves import stocked

Row = Request | Build | Attempt | Server | Refusal | Artifact | FailedHere | Mail | Beat | Shift

SHELVES_KEPT = 20_000
"""How many shelves stay in memory; the longest unused ones go first."""


FITS_KEPT = 64
"""For how many platforms that were asked for it is remembered what build servers lack: people ask the same again."""

LEASE = 60.0
"""Seconds for which an Attempt is believed alive after it was heard of (docs/adr/0009-leases.md)."""

OWNER_TOLD_AFTER = 3_600.0
"""Seconds after which the owner of a build server is told that it is missing."""

NAMES_KEPT = 7 * 86_400.0
"""Seconds for which the name of a build server that never built anything is remembered after it was last seen."""

SESSIONS_KEPT = 1_000
"""Of how many forgotten servers the last Session is remembered, until the metaserver ends."""

OVERDUE = 7_200.0
"""Seconds beyond the project's time limit, for checkout and upload, after which an Attempt that still lives is ended:
its build server keeps neither the limit nor its word."""

OFFERED_KNOWN = 1_000
"""How many different values of a property are known to be offered: a peer may announce any."""

TIMERS_SPARED = 1_000
"""How many timers of what has ended may stay: by themselves they go when their time comes, a week later."""


@frozen
class Seen:
    """A client request id that was answered: for which Request, body and how."""

    request_id: int
    body_digest: str
    answer: str


@frozen
class Lease:
    """Until when an Attempt is believed alive, and from when on it is overdue whatever is heard of it (wall time)."""

    until: float
    overdue: float


class State:
    """The broker's memory. ``policies`` holds each project's Policy by name.

    The mappings are to be read by everybody and changed only through the methods. ``revisions_wanted`` counts the
    acceptable revisions of all open Requests together, of which each takes memory. ``leases`` says until when each
    Attempt is believed alive, and when it is overdue; they are not in the database, since after a start each is given a
    fresh full term. ``absent`` names the servers that contact was lost with, ``idle_sizes`` those that are
    not connected and never built anything, with the bytes that each takes. While ``holding``, no Build starts.
    ``incarnation`` is the life of the state directory, which mails are told apart by. ``names_kept`` is for how many
    seconds the name of a server that never built anything is remembered; when names were last looked at for that,
    ``names_looked``, and the ``last_sessions`` of forgotten ones are not in the database. ``hit`` is what was looked
    for last, on which shelves as they were then, and what was found there: nothing of it can change.
    """

    def __init__(
        self,
        policies: Mapping[str, Policy],
        lease: float = LEASE,
        incarnation: str = "",
        names_kept: float = NAMES_KEPT,
    ) -> None:
        self.lease_term = lease
        self.incarnation = incarnation
        self.names_kept = names_kept
        self.names_looked = 0.0
        self.last_sessions: dict[str, int] = {}
        self.holding = False
        self._configure(policies)
        self.clear()

    def _configure(self, policies: Mapping[str, Policy]) -> None:
        self.policies = dict(policies)
        self._fits: dict[tuple[object, ...], WeakKeyDictionary[Alike, Fit]] = {}
        self.hit: tuple[Demand, tuple[Shelf, ...], Artifact | None] | None = None
        self.comparisons: dict[str, Mapping[str, Comparison]] = {
            name: dict(policy.comparisons) for name, policy in policies.items()
        }

    def reconfigure(self, policies: Mapping[str, Policy]) -> None:
        """Take other policies, and judge anew who can build what. Call it between decisions."""
        self._configure(policies)
        servers, builds = list(self.servers.values()), list(self.builds.values())
        for build in builds:
            self._set_build(build.id, build, None)
        for server in servers:
            self._compare_server(server.name, None)
            self.queue.forget_server(server.name)
        for server in servers:
            self._compare_server(server.name, server)
            self._note_there(server.name, there=server.connected)
        for build in builds:
            self._set_build(build.id, None, build)
        for key, attempt in list(self.attempts.items()):
            if key in self.leases:
                self._leases_set(key, self._term(attempt, self.leases[key].until - self.lease_term))

    def last_session(self, name: str, session: int) -> None:
        """Remember the Session of a server that is being forgotten, so that none after it has the same number."""
        self.last_sessions.pop(name, None)
        self.last_sessions[name] = session
        for other in list(islice(self.last_sessions, max(0, len(self.last_sessions) - SESSIONS_KEPT))):
            del self.last_sessions[other]

    def clear(self) -> None:
        """Forget everything, to be loaded anew."""
        self.requests: dict[int, Request] = {}
        self.builds: dict[int, Build] = {}
        self.attempts: dict[tuple[int, int], Attempt] = {}
        self.servers: dict[str, Server] = {}
        self.refusals: dict[tuple[int, str], Refusal] = {}
        self.shelves: dict[ShelfKey, Shelf] = {}
        self.seen: dict[str, Seen] = {}
        self.durations = Durations()
        self.queue = ReadyQueue()
        self.build_by_key: dict[str, int] = {}
        self.builds_on: Index[ShelfKey] = Index()
        self.waiting_on: Index[int] = Index()
        self.wanting: Index[ShelfKey] = Index()
        self.group_open: dict[int, dict[int, None]] = {}
        self.attempts_of: dict[str, dict[tuple[int, int], None]] = {}
        self.unkept: dict[str, dict[tuple[int, int], None]] = {}
        self.missing_of: dict[int, dict[tuple[int, int], None]] = {}
        self.leases: dict[tuple[int, int], Lease] = {}
        self.absent: dict[str, None] = {}
        self.refusals_of: dict[int, dict[str, None]] = {}
        self.refused_by: dict[str, dict[int, None]] = {}
        self.confirming: dict[int, None] = {}
        self.free: dict[str, None] = {}
        self.cpus: dict[str, int] = {}
        self.idle_sizes: dict[str, int] = {}
        self._alike: dict[tuple[object, object], Alike] = {}
        self._alike_of: dict[str, Alike] = {}
        self._there: dict[Alike, None] = {}
        self.timers: list[tuple[float, str, Any]] = []
        self.beat = 0.0
        self.revisions_wanted = 0
        self._offered: dict[str, dict[Value, int]] = {name: {} for name in COUNTED}
        self._next = {"request": 1, "build": 1, "artifact": 1}
        self._journal: list[Callable[[], None]] = []
        self._dirty: dict[tuple[type, object], Row] = {}

    # --- changes and taking them back --------------------------------------------------------------------

    def savepoint(self) -> int:
        """Return a mark for ``rollback``."""
        return len(self._journal)

    def rollback(self, mark: int = 0) -> None:
        """Undo every change made since ``mark``, newest first."""
        while len(self._journal) > mark:
            self._journal.pop()()

    def changes(self) -> list[Row]:
        """Return the rows changed since the last ``committed``, each once, in its newest form."""
        return list(self._dirty.values())

    def committed(self) -> None:
        """The changes are in the database: they can no longer be taken back."""
        for row in self._dirty.values():
            if isinstance(row, Artifact) and not row.withdrawn:
                self.durations.learn(row)
        self._journal.clear()
        self._dirty.clear()
        self.seen.clear()
        if len(self.shelves) > SHELVES_KEPT:
            for key in list(islice(self.shelves, len(self.shelves) - SHELVES_KEPT)):
                del self.shelves[key]
        open_things = len(self.requests) + len(self.builds) + len(self.servers) + len(self.refusals)
        if len(self.timers) > TIMERS_SPARED + 4 * open_things:
            self.timers = sorted(set(filter(self._stands, self.timers)))

    def number(self, kind: str) -> int:
        """Return the next free number for a ``request``, ``build`` or ``artifact``."""
        taken = self._next[kind]
        self._next[kind] = taken + 1
        self._journal.append(lambda: self._next.__setitem__(kind, taken))
        return taken

    def next_number(self, kind: str) -> int:
        """Return the number that ``number`` will give next."""
        return self._next[kind]

    def numbers_from(self, request: int, build: int, artifact: int) -> None:
        """Set the next free numbers, as the database has them."""
        self._next = {"request": request, "build": build, "artifact": artifact}

    def put(self, record: Request | Build | Attempt | Server | Refusal) -> None:
        """Make ``record`` the newest form of its kind and key. Raises IllegalTransition."""
        match record:
            case Request():
                old = self.requests.get(record.id)
                lifecycle.check(lifecycle.REQUEST, old.state if old else None, record.state)
                self._change(self._set_request, record.id, old, record)
            case Build():
                before = self.builds.get(record.id)
                lifecycle.check(lifecycle.BUILD, before.state if before else None, record.state)
                self._change(self._set_build, record.id, before, record)
            case Attempt():
                was = self.attempts.get(record.key)
                lifecycle.check(lifecycle.ATTEMPT, was.state if was else None, record.state)
                self._change(self._set_attempt, record.key, was, record)
                if record.state in (AttemptState.MISSING, AttemptState.ENDED) and record.key in self.leases:
                    self._change_lease(record.key, None)
            case Server():
                self._change(self._set_server, record.name, self.servers.get(record.name), record)
            case Refusal():
                key = (record.build_id, record.server)
                self._change(self._set_refusal, key, self.refusals.get(key), record)

    def forget_refusal(self, key: tuple[int, str]) -> None:
        """Drop a refusal whose Build has ended; its row says until when it held."""
        old = self.refusals[key]
        self._set_refusal(key, old, None)
        self._journal.append(lambda: self._set_refusal(key, None, old))

    def lease(self, key: tuple[int, int], now: float) -> None:
        """Believe a live Attempt alive for a full term from ``now`` on."""
        self._change_lease(key, self._term(self.attempts[key], now))

    def fresh_leases(self, now: float) -> None:
        """Believe everything alive for a full term, since nothing is known of what was heard: it was just loaded."""
        for key, attempt in self.attempts.items():
            if attempt.state is not AttemptState.MISSING:
                self._leases_set(key, self._term(attempt, now))

    def shift_leases(self, seconds: float) -> None:
        """Let every Lease end so much later, since the clock by which it is measured was set."""
        for key, old in list(self.leases.items()):
            self._change_lease(key, Lease(old.until + seconds, old.overdue + seconds))

    def shift_requests(self, seconds: float) -> None:
        """Let every open Request expire so much later: one row says so for all of theirs."""
        for request in list(self.requests.values()):
            later = evolve(request, expires_at=request.expires_at + seconds)
            self._set_request(request.id, request, later)
            if (Request, request.id) in self._dirty:
                self._mark(request.id, later)
            self._journal.append(partial(self._set_request, request.id, later, request))
        self._shifted(seconds, failures=False)

    def shift_failures(self, seconds: float) -> None:
        """Remember every failure so much longer, those too that are on no shelf in memory."""
        for key, shelf in list(self.shelves.items()):
            if shelf.failures:
                later = tuple(evolve(failure, until=failure.until + seconds) for failure in shelf.failures)
                self._restock(key, evolve(shelf, failures=later))
        self._shifted(seconds, failures=True)

    def _shifted(self, seconds: float, *, failures: bool) -> None:
        old = self._dirty.get((Shift, failures))
        before = old.seconds if isinstance(old, Shift) else 0.0
        self._mark(failures, Shift(before + seconds, failures))

    def note_beat(self, now: float) -> None:
        """Write down that the metaserver is there."""
        before, self.beat = self.beat, now
        self._journal.append(lambda: setattr(self, "beat", before))
        self._mark("beat", Beat(now))

    def arm_again(self) -> None:
        """Set every timer of the open Requests anew: where time went back, some went off that are still to come."""
        for request in self.requests.values():
            heapq.heappush(self.timers, (request.expires_at, "request", request.id))

    def _term(self, attempt: Attempt, now: float) -> Lease:
        old = self.leases.get(attempt.key)
        build = self.builds.get(attempt.build_id)  # None for one that is still being aborted
        limit = self.policy(build.spec.project).time_limit if build is not None else 0.0
        overdue = old.overdue if old is not None else now + limit + OVERDUE
        return Lease(min(now + self.lease_term, overdue), overdue)

    def _change_lease(self, key: tuple[int, int], new: Lease | None) -> None:
        old = self.leases.get(key)
        self._leases_set(key, new)
        self._journal.append(lambda: self._leases_set(key, old))

    def _leases_set(self, key: tuple[int, int], new: Lease | None) -> None:
        if new is None:
            self.leases.pop(key, None)
            return
        if key not in self.leases or new.until < self.leases[key].until:
            heapq.heappush(self.timers, (new.until, "lease", key))
        self.leases[key] = new

    def forget_failure(self, failure: FailedHere, now: float) -> None:
        """Remember a failure no longer than ``now``."""
        self._mark(failure.build_id, evolve(failure, until=now))
        shelf = self.shelf(failure.shelf)
        kept = tuple(one for one in shelf.failures if one.build_id != failure.build_id)
        self._restock(failure.shelf, None if shelf.more else evolve(shelf, failures=kept))

    def note_unkept(self, key: tuple[int, int]) -> None:
        """Count the slot of a live Attempt as free: it is finished, and waits for room to keep its artifact."""
        server = self.attempts[key].server
        self.unkept.setdefault(server, {})[key] = None
        self._note_free(server)
        self._journal.append(lambda: self._forget_unkept(server, key))

    def _forget_unkept(self, server: str, key: tuple[int, int]) -> None:
        if key in self.unkept.get(server, ()):
            _drop(self.unkept, server, key)
            self._note_free(server)

    def hold_dispatch(self, *, held: bool) -> None:
        """Let no Build start, or let them start again."""
        before = self.holding
        self._hold(held)
        self._journal.append(lambda: self._hold(before))

    def _hold(self, held: bool) -> None:  # noqa: FBT001 - called with what is to be undone too
        self.holding = held
        for name in self.servers:
            self._note_free(name)

    def append(self, record: Artifact | FailedHere | Mail) -> None:
        """Add something finished: it is written, and artifacts and failures stand on their shelf, newest first."""
        match record:
            case Artifact():
                self._mark(record.id, record)
                shelf = self.shelf(record.shelf)
                others = tuple(artifact for artifact in shelf.artifacts if artifact.id != record.id)
                if record.withdrawn:
                    self._restock(record.shelf, None if shelf.more else evolve(shelf, artifacts=others))
                else:
                    self._restock(record.shelf, stocked((record, *others), shelf.failures, more=shelf.more))
            case FailedHere():
                self._mark(record.build_id, record)
                shelf = self.shelf(record.shelf)
                self._restock(record.shelf, stocked(shelf.artifacts, (record, *shelf.failures), more=shelf.more))
            case Mail():
                self._mark(record.key, record)

    def pop_timer(self) -> tuple[float, str, Any]:
        """Take the earliest timer away; a rollback brings it back."""
        timer = heapq.heappop(self.timers)
        self._journal.append(lambda: heapq.heappush(self.timers, timer))
        when, kind, key = timer
        if kind == "lease" and key in self.leases and self.leases[key].until > when:
            # A Lease is renewed often, and its timer only moved when it comes up.
            heapq.heappush(self.timers, (self.leases[key].until, kind, key))
        return timer

    def _stands(self, timer: tuple[float, str, Any]) -> bool:
        """Say whether what the timer is for still waits until then."""
        when, kind, key = timer
        match kind:
            case "request":
                return key in self.requests and self.requests[key].expires_at == when
            case "build":
                return key in self.builds and self.builds[key].not_before == when
            case "server":
                return key in self.servers and self.servers[key].quarantined_until == when
            case "lease":
                return key in self.leases
            case "absence":
                return key in self.absent
            case _:
                return key in self.refusals and self.refusals[key].until == when

    def remember_answer(self, client_id: str, seen: Seen) -> None:
        """Know a client request id until the next commit, from when on the database knows it."""
        old = self.seen.get(client_id)
        self.seen[client_id] = seen
        self._journal.append(lambda: self._restore_seen(client_id, old))

    # --- what the shell loads ----------------------------------------------------------------------------

    def load(self, records: Iterable[Request | Build | Attempt | Server | Refusal]) -> None:
        """Take in rows as the database has them, without writing them again. Builds come before their Requests."""
        for record in records:
            match record:
                case Request():
                    self._set_request(record.id, None, record)
                case Build():
                    self._set_build(record.id, None, record)
                case Attempt():
                    self._set_attempt(record.key, None, record)
                case Server():
                    self._set_server(record.name, None, record)
                case Refusal():
                    self._set_refusal((record.build_id, record.server), None, record)

    def stock(self, key: ShelfKey, shelf: Shelf) -> None:
        """Take in a shelf as the database has it; no change, so nothing to take back."""
        self.shelves.pop(key, None)
        self.shelves[key] = shelf

    def shelf(self, key: ShelfKey) -> Shelf:
        """Return a shelf that is loaded, or an empty one."""
        return self.shelves.get(key, _EMPTY)

    # --- reading -----------------------------------------------------------------------------------------

    def policy(self, project: str) -> Policy:
        """Return a project's policy; a project that is no longer configured keeps its Builds under the defaults."""
        return self.policies.get(project) or Policy(recipe_version=0, options_digest="")

    def configured(self, build: Build) -> bool:
        """Say whether the project of a Build is configured."""
        return build.spec.project in self.policies

    def compare(self, project: str) -> Mapping[str, Comparison]:
        """Return how the properties of a project compare."""
        return self.comparisons.get(project, {})

    def waiters(self, build_id: int) -> list[Request]:
        """Return the open Requests that wait for a Build, by admission."""
        return [self.requests[request_id] for request_id in sorted(self.waiting_on.get(build_id))]

    def running_attempt(self, build: Build) -> Attempt | None:
        """Return the Attempt that an open Build has now, or None when it waits for one."""
        attempt = self.attempts.get((build.id, build.epoch))
        return attempt if attempt is not None and attempt.state is not AttemptState.MISSING else None

    def expected_back(self, server: Server, now: float) -> bool:
        """Say whether contact with a server was lost so lately that it may be back any time."""
        return bool(server.missing_since) and now < server.missing_since + self.lease_term

    @property
    def offered(self) -> Mapping[str, Mapping[Value, int]]:
        """How many known servers, connected or not, offer each value of the properties whose values are names."""
        return self._offered

    def load_of(self, server: str) -> int:
        """Return how many slots of a server are taken, those that are still being aborted among them.

        What is finished there and finds no room here takes none, up to as many as there are slots.
        """
        held = len(self.attempts_of.get(server, ()))
        unkept = self.unkept.get(server)
        return held - min(len(unkept), self.servers[server].capability.max_builds) if unkept else held

    def verdict(self, build: Build, server: Server) -> Verdict:
        """Return with which offer a server, connected or not, can build ``build``, or why it cannot."""
        if build.id in self.builds and server.connected:
            offer = self.queue.capable(build).get(server.name)
            if offer is not None:
                return offer
        wanted = self.wanted(build.spec)
        found = wanted.fit(server.capability).verdict(wanted.machine(server.capability))
        return found if isinstance(found, Offer) else tuple(found)

    def fits(self, spec: BuildSpec) -> MutableMapping[Alike, Fit]:
        """Return what was found lately of servers that are alike for Builds of this platform; kept by the caller."""
        kind = (spec.project, spec.recipe_version, spec.platform, spec.native)
        found = self._fits.get(kind)
        if found is None:
            if len(self._fits) >= FITS_KEPT:
                self._fits.clear()
            found = self._fits[kind] = WeakKeyDictionary()
        return found

    def wanted(self, spec: BuildSpec) -> Wanted:
        """Return what a Build of ``spec`` needs of a build server."""
        skill = ProjectSkill(spec.project, spec.recipe_version, self.policy(spec.project).options_digest)
        return Wanted(spec, skill, self.compare(spec.project))

    def alike(self, server: str) -> Alike:
        """Return those that offer the same as a known server, itself among them."""
        return self._alike_of[server]

    def somebody_could(self, spec: BuildSpec) -> bool:
        """Say whether a server that is connected could build ``spec``, free or not."""
        wanted = self.wanted(spec)
        return any(
            wanted.makes(alike.example, alike.by_mark) is not None
            and any(not wanted.machine(self.servers[name].capability) for name in alike.servers)
            for alike in self._there
        )

    # --- indexes -----------------------------------------------------------------------------------------

    def _change(self, setter: Callable[[Any, Any, Any], None], key: object, old: Any, new: Row) -> None:  # noqa: ANN401
        self._mark(key, new)
        setter(key, old, new)
        self._journal.append(lambda: setter(key, new, old))

    def _mark(self, key: object, record: Row) -> None:
        mark = (type(record), key)
        old = self._dirty.get(mark)
        self._dirty[mark] = record
        self._journal.append(lambda: self._unmark(mark, old))

    def _unmark(self, mark: tuple[type, object], old: Row | None) -> None:
        if old is None:
            del self._dirty[mark]
        else:
            self._dirty[mark] = old

    def _restore_seen(self, client_id: str, old: Seen | None) -> None:
        if old is None:
            self.seen.pop(client_id, None)
        else:
            self.seen[client_id] = old

    def _restock(self, key: ShelfKey, shelf: Shelf | None) -> None:
        """Change a shelf that is loaded, or drop it, None: one that is not will be loaded, the change included."""
        old = self.shelves.pop(key, None)
        if old is not None:
            if shelf is not None:
                self.shelves[key] = shelf
            self._journal.append(lambda: self.shelves.__setitem__(key, old))

    def _set_request(self, key: int, old: Request | None, new: Request | None) -> None:
        old, new = _open_request(old), _open_request(new)
        if old is not None and old.build_id is not None:
            self.waiting_on.drop(old.build_id, key)
        if new is not None and new.build_id is not None:
            self.waiting_on.add(new.build_id, key)
        if old is not None and old.group is not None:
            _drop(self.group_open, old.group, key)
        if new is not None and new.group is not None:
            self.group_open.setdefault(new.group, {})[key] = None
        before = old.demand if old is not None else None
        after = new.demand if new is not None else None
        if before is not after:
            self.revisions_wanted -= len(before.acceptable) if before is not None else 0
            self.revisions_wanted += len(after.acceptable) if after is not None else 0
            for shelf in before.shelves() if before is not None else ():
                self.wanting.drop(shelf, key)
            for shelf in after.shelves() if after is not None else ():
                self.wanting.add(shelf, key)
        if new is None:
            self.requests.pop(key, None)
            return
        self.requests[key] = new
        if old is None or new.expires_at != old.expires_at:
            heapq.heappush(self.timers, (new.expires_at, "request", key))

    def _set_build(self, key: int, old: Build | None, new: Build | None) -> None:
        old, new = _open_build(old), _open_build(new)
        if old is not None and new is not None and old.spec is new.spec:
            self._move_build(old, new)
            return
        if old is not None:
            self.queue.discard(old)
            self.queue.leave(old)
            del self.build_by_key[old.key]
            self.builds_on.drop(old.spec.shelf(), old.id)
            self.confirming.pop(key, None)
            self.builds.pop(key)
        if new is not None:
            self.builds[key] = new
            self.build_by_key[new.key] = key
            self.builds_on.add(new.spec.shelf(), key)
            if self.queue.enter(new):
                self._judge_class(new)
            self._line_up(new)

    def _move_build(self, old: Build, new: Build) -> None:
        self.queue.discard(old)
        self.builds[new.id] = new
        self._line_up(new)

    def _line_up(self, build: Build) -> None:
        waits = build.state is BuildState.QUEUED
        if waits and not build.not_before:
            self.queue.add(build)
        elif waits:
            heapq.heappush(self.timers, (build.not_before, "build", build.id))
        if waits and build.failed_on:
            self.confirming[build.id] = None
        else:
            self.confirming.pop(build.id, None)

    def _judge_class(self, build: Build) -> None:
        """Find all connected servers that can build a new class: servers that are alike are asked once."""
        key, wanted = build.spec.demand_class(), self.wanted(build.spec)
        for alike in self._there:
            offer = self.queue.offer(key, alike, partial(wanted.makes, alike.example, alike.by_mark))
            if offer is not None:
                for name in alike.servers:
                    if not wanted.machine(self.servers[name].capability):
                        self.queue.judge(key, name, offer)

    def _judge_server(self, server: Server) -> None:
        """Find all classes that a server which is connected now can build."""
        alike, machine = self._alike_of[server.name], dict(server.capability.machine)

        def find(build: Build) -> Offer | None:
            return self.wanted(build.spec).makes(alike.example, alike.by_mark)

        for key, example, offer in self.queue.offers(alike, find):
            spec = example.spec
            if not unmet(spec.machine, machine, self.compare(spec.project)):
                self.queue.judge(key, server.name, offer)

    def _set_attempt(self, key: tuple[int, int], old: Attempt | None, new: Attempt | None) -> None:
        old, new = _live(old), _live(new)
        if old is not None and (new is None or (old.state, old.session) != (new.state, new.session)):
            self._forget_unkept(old.server, key)  # whoever still has it says so again
        if old is not None:
            if old.state is AttemptState.MISSING:
                _drop(self.missing_of, old.build_id, key)
            else:
                _drop(self.attempts_of, old.server, key)
        if new is None:
            self.attempts.pop(key, None)
        else:
            self.attempts[key] = new
            if new.state is AttemptState.MISSING:
                self.missing_of.setdefault(new.build_id, {})[key] = None
            else:
                self.attempts_of.setdefault(new.server, {})[key] = None
        server = new.server if new is not None else old.server if old is not None else ""
        self._note_free(server)

    def _set_server(self, key: str, old: Server | None, new: Server | None) -> None:
        old, new = _known(old), _known(new)
        if new is None:
            del self.servers[key]
        else:
            self.servers[key] = new
        if old is None or new is None or old.capability.offers != new.capability.offers:
            self._count_offers(old, -1)
            self._count_offers(new, 1)
        was = old.capability if old is not None and old.connected else None
        now = new.capability if new is not None and new.connected else None
        if was != now:
            self.queue.forget_server(key)
        if old is None or new is None or old.capability is not new.capability:
            self._compare_server(key, new)
        self._note_idle(key, new)
        self._note_there(key, there=now is not None)
        if was != now and new is not None and now is not None:
            self._judge_server(new)
        if new is not None and new.quarantined_until and new.quarantined_until != (old.quarantined_until if old else 0):
            heapq.heappush(self.timers, (new.quarantined_until, "server", key))
        if new is not None and new.missing_since:
            self.absent[key] = None
            if old is None or old.missing_since != new.missing_since:
                heapq.heappush(self.timers, (new.missing_since + self.lease_term, "absence", key))
                heapq.heappush(self.timers, (new.missing_since + OWNER_TOLD_AFTER, "absence", key))
        else:
            self.absent.pop(key, None)
        self._note_free(key)

    def _note_idle(self, name: str, server: Server | None) -> None:
        """Note how much memory the announcement of a server takes that is not connected and never built anything."""
        if server is None or server.connected or server.used_at:
            self.idle_sizes.pop(name, None)
        else:
            self.idle_sizes[name] = server.capability.size()

    def _count_offers(self, server: Server | None, by: int) -> None:
        """Count what a server offers of the properties whose values are names, as far as they look like names."""
        offers = server.capability.offers if server is not None else ()
        offered = {pair for offer in offers for pair in offer.platform if pair[0] in self._offered and is_name(pair[1])}
        for name, value in offered:
            counts = self._offered[name]
            count = counts.get(value, 0) + by
            if count > 0 and (value in counts or len(counts) < OFFERED_KNOWN):
                counts[value] = count
            else:
                counts.pop(value, None)

    def _compare_server(self, name: str, server: Server | None) -> None:
        """Put a server among those that offer the same, whether it is connected or not."""
        before = self._alike_of.pop(name, None)
        self.cpus.pop(name, None)
        if before is not None:
            before.known -= 1
            self._leave(before, name)
        if server is not None:
            capability = server.capability
            sign = (capability.offers, capability.skills)
            alike = self._alike.get(sign)
            if alike is None:
                alike = self._alike[sign] = Alike(capability)
            alike.known += 1
            self._alike_of[name] = alike
            cpus = dict(capability.machine).get("cpus", 0)
            self.cpus[name] = cpus if isinstance(cpus, int) else 0
        if before is not None and not before.known:
            del self._alike[before.example.offers, before.example.skills]

    def _note_there(self, name: str, *, there: bool) -> None:
        """Note that a server is connected, or is not: only those that are can be given anything."""
        alike = self._alike_of.get(name)
        if alike is not None and there:
            alike.enter(name)
            self._there[alike] = None
        elif alike is not None:
            self._leave(alike, name)

    def _leave(self, alike: Alike, name: str) -> None:
        if alike.leave(name) and alike in self._there:
            del self._there[alike]
            self.queue.forget_alike(alike)

    def _note_free(self, name: str) -> None:
        server = self.servers.get(name)
        if (
            server is not None
            and server.takes
            and not self.holding
            and self.load_of(name) < server.capability.max_builds
        ):
            self.free[name] = None
        else:
            self.free.pop(name, None)

    def _set_refusal(self, key: tuple[int, str], old: Refusal | None, new: Refusal | None) -> None:
        if new is None:
            self.refusals.pop(key, None)
            _drop(self.refusals_of, key[0], key[1])
            _drop(self.refused_by, key[1], key[0])
            return
        self.refusals[key] = new
        self.refusals_of.setdefault(key[0], {})[key[1]] = None
        self.refused_by.setdefault(key[1], {})[key[0]] = None
        if old is None or new.until != old.until:
            heapq.heappush(self.timers, (new.until, "refusal", key))


_EMPTY = Shelf()


def _open_request(request: Request | None) -> Request | None:
    return request if request is not None and request.state is RequestState.WAITING else None


def _open_build(build: Build | None) -> Build | None:
    return build if build is not None and build.state in (BuildState.QUEUED, BuildState.RUNNING) else None


def _known(server: Server | None) -> Server | None:
    return server if server is not None and not server.forgotten else None


def _live(attempt: Attempt | None) -> Attempt | None:
    return attempt if attempt is not None and attempt.state is not AttemptState.ENDED else None


def _drop(index: dict[Any, dict[Any, None]], key: object, member: object) -> None:
    members = index[key]
    del members[member]
    if not members:
        del index[key]
