"""``make mutants``: the program with one guard switched off at a time; each must violate something in some seed.

Nothing of the program is edited: functions and attributes are replaced from outside while a world runs. A mutant that
no seed finds means that the simulation does not look there.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from typing import Any

from attrs import evolve, frozen
from sqlalchemy import delete, false
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.control.build_server_connections import BuildServerConnections
from buildtool.adapters.control.events.followers import EventFollower
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.http.handling import TicketReader
from buildtool.adapters.mail import returned
from buildtool.adapters.mail.mailer import Mailer
from buildtool.adapters.notices.courier import Courier
from buildtool.adapters.processes.command import CommandResult
from buildtool.adapters.sql import broker_store, hours, operator_store, outbox_store, rows, schema
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.search import indexing, line_table
from buildtool.adapters.sql.search.indexing import BuildIndex
from buildtool.adapters.storage import artifacts, spool
from buildtool.adapters.tls import peers
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.buildserver import attempt as attempt_of_server
from buildtool.buildserver import guest, naming
from buildtool.buildserver.attempt import AttemptRun
from buildtool.buildserver.blame import TimeLimit
from buildtool.buildserver.delivery import Delivery
from buildtool.buildserver.server import BuildServer
from buildtool.buildserver.standstill import Standstill
from buildtool.concurrency.asker import Asker
from buildtool.concurrency.single_flight import SingleFlight, _Sharers
from buildtool.errors import BuildToolError, Unauthorised
from buildtool.metaserver import broker
from buildtool.metaserver import requests as requests_of_broker
from buildtool.metaserver.access import superseding as superseding_access
from buildtool.metaserver.access import tokens as access_tokens
from buildtool.metaserver.access.mailed_codes import MailedCodes
from buildtool.metaserver.access.tokens import TokenService, WaitingBrowsers
from buildtool.metaserver.accounts import AccountService
from buildtool.metaserver.batches import BatchDecider
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.build_servers import BuildServerService
from buildtool.metaserver.demands import DemandReader, Resolved
from buildtool.metaserver.hooking import receiving
from buildtool.metaserver.keeping.forgetting import Surveys
from buildtool.metaserver.operating.ordering import OrderService
from buildtool.metaserver.operating.several import SeveralService
from buildtool.metaserver.triggering import triggers
from buildtool.metaserver.triggering.asking import TriggerAsker
from buildtool.model.access import confirmation, enrolment, rights, tokens
from buildtool.model.access.enrolment import Book
from buildtool.model.access.identities import Identity, Invitation, KeyState
from buildtool.model.access.rights import Rights
from buildtool.model.access.tokens import TokenBook
from buildtool.model.farm.return_paths import ReturnTag
from buildtool.model.farm.weights import Weights
from buildtool.model.guest import limits, stance
from buildtool.model.matching import fitting
from buildtool.model.matching import newest as newest_of_shelves
from buildtool.model.matching.fitting import Requirements
from buildtool.model.matching.satisfaction import implies, making_satisfies, satisfies
from buildtool.model.notices.outcome import TellOutcome
from buildtool.model.options import canonical
from buildtool.model.principal import UNLIMITED, Principal, PrincipalRole
from buildtool.model.records import Attempt, AttemptEnd, AttemptState, RequestState
from buildtool.model.servers import Held, HeldState, Offer, Server, Verdict
from buildtool.model.tickets import read
from buildtool.model.triggers import looking
from buildtool.model.trust.evidence import ANYTHING, Evidence, EvidencePolicy, SandboxLevel, SourceTrust
from buildtool.ports.metaserver import OutgoingMail
from buildtool.project.definition import Project
from buildtool.protocol.hello import Hello
from buildtool.scheduling import admission, attempts, decide, dispatching, waiting
from buildtool.scheduling import decision as turn
from buildtool.scheduling.allowances import Allowances
from buildtool.scheduling.answers import Acknowledged
from buildtool.scheduling.decide import Decision
from buildtool.scheduling.events import AttemptEnded, AttemptEvent, Delivered, Registered, Submitted, Tick
from buildtool.scheduling.order import better, placing, rounds, superseding
from buildtool.scheduling.order.better import HELD
from buildtool.scheduling.order.reluctance import Reluctance
from buildtool.scheduling.servers import declining, leases, quarantine, sessions
from buildtool.scheduling.servers import owners as owners_of_servers
from buildtool.scheduling.state import capability_groups, hits, lease_table, timers
from buildtool.scheduling.state.lease_table import LeaseTable
from buildtool.scheduling.state.projects import ProjectPolicies
from buildtool.scheduling.state.records import Records
from buildtool.scheduling.state.slots import ServerSlots
from buildtool.scheduling.telling.notices import with_notices
from buildtool.web import sessions as sessions_of_pages
from tests.simulation import (
    blows,
    downtimes,
    fetching,
    hooking,
    meddlers,
    needs,
    origin,
    owners,
    projects,
    sandboxes,
    strangers,
    telling,
    triggering,
    visitors,
    waits,
)
from tests.simulation import keeping as keeping_of_worlds
from tests.simulation import limits as limits_of_worlds
from tests.simulation.disk import SimulatedDisk

Change = tuple[object, str, object]
"""Whose attribute becomes what."""


@frozen
class Mutant:
    """One guard that is off. ``changes`` are made while a world runs.

    ``circumstances`` are changes of the world itself, in which the guard matters more often than usual; a world that
    shall be sound without the mutant has them too.
    """

    name: str
    guard: str
    changes: Callable[[], Sequence[Change]]
    circumstances: Sequence[Change] = ()


def switched(mutant: Mutant) -> AbstractContextManager[None]:
    """Run with the mutant's guard off."""
    return changed((*mutant.circumstances, *mutant.changes()))


@contextmanager
def changed(changes: Sequence[Change]) -> Iterator[None]:
    """Run with these changes."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    for owner, name, instead in changes:
        setattr(owner, name, instead)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


MUTANTS: list[Mutant] = []


def _mutant(
    guard: str, *circumstances: Change
) -> Callable[[Callable[[], Sequence[Change]]], Callable[[], Sequence[Change]]]:
    def add(changes: Callable[[], Sequence[Change]]) -> Callable[[], Sequence[Change]]:
        MUTANTS.append(Mutant(changes.__name__.replace("_", "-"), guard, changes, circumstances))
        return changes

    return add


# --- what builds are found by, and what charts are drawn of ----------------------------------------------


@_mutant("a build is found in the state that it is in, not in the one in which it began")
def state_left_in_the_index() -> Sequence[Change]:
    class Still:
        def run(self, *_: object) -> None:
            """Move nothing."""

    return [(indexing, "_MOVED", Still())]


@_mutant("numbers of terms are forgotten with the transaction in which they were to be written")
def terms_of_failed_commits_kept() -> Sequence[Change]:
    return [(BuildIndex, "forget", lambda _self: None)]


@_mutant("lists tell of an ended build as it is, also where its attempt ends later")
def later_ends_not_told() -> Sequence[Change]:
    original = line_table.write

    def write(connection: Any, builds: Any, _attempts: Any, artifacts: Any, requests: Any) -> None:
        original(connection, builds, (), artifacts, requests)

    return [(line_table, "write", write)]


@_mutant("a machine's builds are found by its name also where it was not the first to try")
def later_servers_not_indexed() -> Sequence[Change]:
    original = BuildIndex.write

    def write(self: BuildIndex, connection: Any, builds: Any, attempts: Any, requests: Any) -> None:
        original(self, connection, builds, [one for one in attempts if one.epoch == 1], requests)

    return [(BuildIndex, "write", write)]


@_mutant("charts add what happens to what happened in the same hour")
def hour_begun_anew() -> Sequence[Change]:
    original = hours.add

    def add(happened: Any, now: float, connection: Any) -> None:
        connection.execute(delete(schema.hours).where(schema.hours.c.hour == int(now // hours.HOUR)))
        original(happened, now, connection)

    return [(hours, "add", add)]


@_mutant("monitoring counts what is committed, and each of it once")
def counted_though_it_failed() -> Sequence[Change]:
    original = Broker._commit

    async def commit(self: Broker, entries: Any, rows: Any, happened: Any, now: float) -> None:
        try:
            await original(self, entries, rows, happened, now)
        except BuildToolError:
            self.counts.committed(entries, rows, 0.0)
            raise

    return [(Broker, "_commit", commit)]


# --- the broker and its database ------------------------------------------------------------------------


@_mutant("pages are told of an event after its commit")
def event_told_too_early() -> Sequence[Change]:
    original = SqlBrokerStore.commit

    async def commit(self: SqlBrokerStore, rows: Any, happened: Any, now: float) -> None:
        told, self._committed = self._committed, None
        if happened and told is not None:
            newest = await self._database.run(lambda connection: broker_store._LAST_EVENT.run(connection).scalar() or 0)
            told(newest + len(happened), happened)
        try:
            await original(self, rows, happened, now)
        finally:
            self._committed = told

    return [(SqlBrokerStore, "commit", commit)]


@_mutant("pages are told that there is something that they are not told")
def gap_not_told() -> Sequence[Change]:
    original = EventFollower.take

    def take(self: EventFollower, first: int, events: Any) -> None:
        self.last = first - 1
        original(self, first, events)

    return [(EventFollower, "take", take)]


@_mutant("a decision is committed before anybody is told")
def told_before_commit() -> Sequence[Change]:
    original = SqlBrokerStore.commit

    async def commit(self: SqlBrokerStore, *what: Any) -> None:
        Deferred.fromCoroutine(original(self, *what)).addErrback(lambda _: None)

    return [(SqlBrokerStore, "commit", commit)]


@_mutant("who began with a newer term is the only one who commits")
def term_not_compared() -> Sequence[Change]:
    return [(Database, "_check_hold", lambda self, connection: None)]


@_mutant("after a failed commit the database is believed, not the memory")
def memory_believed() -> Sequence[Change]:
    async def commit(self: Broker, *what: Any) -> None:
        await self.store.commit(*what)

    return [(Broker, "_commit", commit)]


@_mutant("the same client id is one request")
def client_id_forgotten() -> Sequence[Change]:
    async def answered(self: SqlBrokerStore, client_ids: Any) -> dict[str, Any]:
        return {}

    original = SqlBrokerStore.known

    async def known(self: SqlBrokerStore, keys: Any, client_ids: Any, now: float) -> Any:
        shelves, _ = await original(self, keys, client_ids, now)
        return shelves, {}

    return [(SqlBrokerStore, "answered", answered), (SqlBrokerStore, "known", known)]


@_mutant("a hit is looked for on the disk before it is promised")
def file_not_looked_for() -> Sequence[Change]:
    return [(BatchDecider, "_without_files", lambda self, entry, now: ([], True))]


_SEND = Broker.send


async def _asked_for_as_it_arrives(self: Broker, event: Any) -> Any:
    """Send an event; with an artifact that arrives comes, in the same batch, somebody who asks for just that."""
    waiting = self.state.waiters(event.build_id) if isinstance(event, Delivered) else ()
    if not waiting:
        return await _SEND(self, event)
    Deferred.fromCoroutine(_SEND(self, Tick())).addErrback(lambda _: None)  # while it is committed the others gather
    delivered = Deferred.fromCoroutine(_SEND(self, event))
    twin = Submitted(f"{event.build_id:024x}{event.epoch:08x}", "", "", waiting[0].demand)
    Deferred.fromCoroutine(_SEND(self, twin)).addErrback(lambda _: None)
    return await delivered


@_mutant(
    "where no hit was found it is looked for again once a shelf has changed", (Broker, "send", _asked_for_as_it_arrives)
)
def old_miss_believed() -> Sequence[Change]:
    original = hits._is_same

    def is_same(look: Any, demand: Any, shelves: Any) -> bool:
        return original(look, demand, shelves) or (look[0] is demand and look[2] is None)

    return [(hits, "_is_same", is_same)]


# --- who builds what --------------------------------------------------------------------------------------


@_mutant("whoever has a name is asked before another machine gets it")
def twin_fences_at_once() -> Sequence[Change]:
    async def silence(self: BuildServerConnections, server: str, session: int) -> float:
        return math.inf

    return [(BuildServerConnections, "silence", silence)]


@_mutant("only the newest session of a server is believed")
def old_session_believed() -> Sequence[Change]:
    def current(turn: Any, event: AttemptEvent) -> Attempt | None:
        attempt = turn.state.attempts.get((event.build_id, event.epoch))
        return attempt if attempt is not None and attempt.server == event.server else None

    def service_current(self: BuildServerService, by: Principal, build_id: int, epoch: int) -> Attempt | None:
        attempt = self.broker.state.attempts.get((build_id, epoch))
        return attempt if attempt is not None and attempt.server == by.name else None

    return [
        (BuildServerConnections, "fence", lambda self, server, session: None),
        (attempts, "current", current),
        (BuildServerService, "_current", service_current),
    ]


@_mutant("a server is believed about its own attempts only")
def anybody_believed() -> Sequence[Change]:
    def current(turn: Any, event: AttemptEvent) -> Attempt | None:
        found: Attempt | None = turn.state.attempts.get((event.build_id, event.epoch))
        return found

    return [(attempts, "current", current)]


@_mutant("a report is about the epoch that it names")
def epoch_not_compared() -> Sequence[Change]:
    def newest(of: Any, server: str, build_id: int, epoch: int) -> Attempt | None:
        build = of.builds.get(build_id)
        attempt = of.attempts.get((build_id, build.epoch)) if build is not None else None
        attempt = attempt or of.attempts.get((build_id, epoch))
        return attempt if attempt is not None and attempt.server == server else None

    def current(turn: Any, event: AttemptEvent) -> Attempt | None:
        return newest(turn.state, event.server, event.build_id, event.epoch)

    def service_current(self: BuildServerService, by: Principal, build_id: int, epoch: int) -> Attempt | None:
        return newest(self.broker.state, by.name, build_id, epoch)

    return [(attempts, "current", current), (BuildServerService, "_current", service_current)]


@_mutant("a batch that ends early answers nobody whom it did not come to")
def answered_unheard() -> Sequence[Change]:
    def put_back(self: BatchDecider, entries: Sequence[Any]) -> None:
        for entry in entries:
            entry.decision = Decision(Acknowledged(), ())
            entry.answer()

    return [(BatchDecider, "put_back", put_back)]


@_mutant("a build goes to a server that can build it")
def any_server_will_do() -> Sequence[Change]:
    def makes(self: Requirements, capability: Any, by_mark: Any, forbidden: Any = ()) -> Offer:
        offer: Offer = capability.offers[0]
        return offer

    return [(Requirements, "makes", makes)]


@_mutant("a server has only so many slots")
def slots_without_end() -> Sequence[Change]:
    return [(ServerSlots, "load_of", lambda self, server: 0)]


@_mutant("who refused is not asked again at once")
def refusal_forgotten() -> Sequence[Change]:
    return [(attempts, "_remember", lambda *what: None)]


@_mutant("what waits for a better machine is held back once, and no longer than was said", (waits, "MATTERS", 1.0))
def held_back_again() -> Sequence[Change]:
    original = better.held_back

    def held_back(turn: Any, build: Any, name: str, *more: Any) -> bool:
        before = turn.state.refusals.get((build.id, name))
        if before is not None and before.count == HELD and before.until <= turn.now:
            turn.state.put(evolve(before, until=turn.now + 60.0))
            return True
        return original(turn, build, name, *more)

    return [(dispatching, "held_back", held_back)]


@_mutant("where a build failed it is not repeated")
def repeated_where_it_failed() -> Sequence[Change]:
    def may_take(turn: Any, build: Any, server: str) -> bool:
        refusal = turn.state.refusals.get((build.id, server))
        return refusal is None or refusal.until <= turn.now

    return [(dispatching, "may_take", may_take)]


@_mutant("a server in quarantine gets nothing")
def quarantine_ignored() -> Sequence[Change]:
    takes = property(lambda self: self.connected and not (self.paused or self.draining))
    return [(Server, "takes", takes)]


@_mutant("a finished build ends a quarantine, but not a pause by hand")
def pause_undone() -> Sequence[Change]:
    original = quarantine.absolve

    def absolve(turn: Any, name: str) -> None:
        original(turn, name)
        turn.state.put(evolve(turn.state.servers[name], paused=""))

    return [(quarantine, "absolve", absolve)]


@_mutant("a slot that is free again is filled")
def free_slot_forgotten() -> Sequence[Change]:
    return [(decide, "fill", lambda turn, name: None)]


@_mutant("what waits again, or is admitted anew, is started in the order of places")
def newest_first() -> Sequence[Change]:
    original = decide._in_order
    return [(decide, "_in_order", lambda state, again: original(state, again)[::-1])]


# --- the order ------------------------------------------------------------------------------------------


@_mutant("each build of a share that has nothing else moves the clock on")
def ageing_off() -> Sequence[Change]:
    return [(placing, "clock_after", lambda base: base), (rounds, "clock_after", lambda base: base)]


@_mutant("who has much waiting stands behind themselves")
def no_turns() -> Sequence[Change]:
    return [(placing, "tag_of", lambda base, *_others: base)]


@_mutant("a build is charged to the best-placed of those who wait for it")
def charged_to_nobody() -> Sequence[Change]:
    original = placing._placed

    def placed(turn: Any, request: Any, base: float, build: Any) -> Any:
        found = original(turn, request, base, build)
        return found if build.place == request.id else evolve(found, share="")

    return [(placing, "_placed", placed)]


@_mutant("when the best-placed leaves, somebody else is charged")
def left_to_who_is_gone() -> Sequence[Change]:
    return [(placing, "replace", lambda turn, build_id: None)]


@_mutant("a build that is tried again keeps its place")
def retry_loses_its_place() -> Sequence[Change]:
    original = attempts.requeue

    def requeue(turn: Any, build: Any) -> None:
        original(turn, evolve(build, tag=build.tag + 1.0))

    return [(attempts, "requeue", requeue)]


@_mutant("with --supersede nobody else's request ends")
def another_superseded() -> Sequence[Change]:
    def waiting_alike(state: Any, newer: Any) -> list[Any]:
        own = newer.demand.spec
        return [
            one
            for one in state.requests.values()
            if one.demand.spec.shelf[:4] == own.shelf[:4] and superseding._unbuilt(state, one)
        ]

    return [(superseding, "waiting_alike", waiting_alike), (superseding_access, "waiting_alike", waiting_alike)]


@_mutant("who takes another's place with --supersede stands where that one stood")
def place_not_inherited() -> Sequence[Change]:
    original = superseding.heir_of
    return [(admission, "heir_of", lambda *asked, **how: evolve(original(*asked, **how), tag=1e9))]


@_mutant("only an operator moves a build forward")
def nice_below_zero() -> Sequence[Change]:
    return [(requests_of_broker, "_nice", lambda message: message.nice)]


@_mutant("who asked for a request moves it back only", (meddlers, "SELDOM", 150.0))
def lowered_forward() -> Sequence[Change]:
    original = OrderService._move

    def move(self: Any, request: Any, nice: int, by: str) -> Awaitable[Any]:
        return original(self, request, nice, by or "who asked")

    return [(OrderService, "_move", move)]


@_mutant("a build goes with its request when an operator moves that")
def raised_without_its_build() -> Sequence[Change]:
    return [(placing, "renice", lambda *_asked: None)]


@_mutant("places are the same after a restart")
def place_lost_at_restart() -> Sequence[Change]:
    original = rows.build_of

    def build_of(row: Any) -> Any:
        return evolve(original(row), tag=0.0, base=0.0)

    return [(rows, "build_of", build_of)]


@_mutant("a share of greater weight has more turns")
def weight_ignored() -> Sequence[Change]:
    return [(Weights, "of_share", lambda self, share: 1.0)]


@_mutant("two builds of one key are never open: who comes second joins")
def nobody_joins() -> Sequence[Change]:
    return [(admission, "_joinable", lambda turn, request: None)]


# --- leases -----------------------------------------------------------------------------------------------


@_mutant("when a lease ends, the build waits for somebody else")
def lease_without_end() -> Sequence[Change]:
    return [(leases, "expire_lease", lambda turn, attempt: None)]


@_mutant("a heartbeat renews the leases of what is held")
def heartbeat_renews_nothing() -> Sequence[Change]:
    original = leases.judge

    def judge(turn: Any, server: Server, held: Held) -> Any:
        kept = turn.state.leases.of.get(held.key)
        judged = original(turn, server, held)
        if kept is not None and held.key in turn.state.leases.of:
            turn.state.leases._change(held.key, kept)
        return judged

    return [(leases, "judge", judge)]


@_mutant("a restarted metaserver gives every lease a full term")
def stale_leases_at_restart() -> Sequence[Change]:
    def start(self: LeaseTable, now: float) -> None:
        for key, attempt in self._tables.attempts.items():
            if attempt.state is not AttemptState.MISSING:
                self._set(key, None, evolve(self._fresh(attempt, now), until=now))

    return [(LeaseTable, "start", start)]


@_mutant("what was asked for lives as long when the clock is set")
def expiry_not_shifted() -> Sequence[Change]:
    return [(Records, "shift_requests", lambda self, seconds: None)]


@_mutant("a missing attempt that comes back goes on")
def nobody_comes_back() -> Sequence[Change]:
    def judge_missing(turn: Any, server: Server, attempt: Attempt, held: Held) -> Any:
        attempts.close_attempt(turn, attempt, AttemptEnd.LOST, attempt.reason)
        return leases._told(held, Verdict.DROP, "too late")

    return [(leases, "_judge_missing", judge_missing)]


@_mutant("a late success is delivered, although somebody else builds it by now")
def late_success_thrown_away() -> Sequence[Change]:
    original = leases._judge_missing

    def judge_missing(turn: Any, server: Server, attempt: Attempt, held: Held) -> Any:
        as_ended = evolve(held, state=HeldState.ENDED) if held.state is HeldState.DONE else held
        return original(turn, server, attempt, as_ended)

    return [(leases, "_judge_missing", judge_missing)]


@_mutant("a late failure is only noted")
def late_failure_counts() -> Sequence[Change]:
    original = attempts.ended

    def ended(turn: Any, event: Any) -> Any:
        attempt = attempts.current(turn, event)
        if attempt is not None and attempt.state is AttemptState.MISSING:
            attempts.end(turn, attempt, event.end, event.reason, event.log_tail)
            return Acknowledged()
        return original(turn, event)

    return [(decide, "ANSWERS", {**decide.ANSWERS, AttemptEnded: ended})]


@_mutant("a strike for an absence is given back at the return")
def strike_kept() -> Sequence[Change]:
    return [(quarantine, "give_strike_back", lambda turn, name, project: None)]


@_mutant("what comes back without an attempt has lost it")
def absent_attempts_believed() -> Sequence[Change]:
    return [(sessions, "_lose_what_is_not_there", lambda turn, server: None)]


@_mutant("a build server that is told to drop something drops it")
def drop_ignored() -> Sequence[Change]:
    return [(BuildServer, "judged", lambda self, verdicts: None)]


@_mutant("a lost connection stops no build")
def lost_connection_ends_builds() -> Sequence[Change]:
    original = BuildServer.disconnected

    def disconnected(self: BuildServer, reason: str) -> None:
        original(self, reason)
        for held in self._open.values():
            if held.run is not None:
                held.run.stop(AttemptEnd.LOST, reason)

    return [(BuildServer, "disconnected", disconnected)]


# --- outcomes and who is told -------------------------------------------------------------------------------


@_mutant("everybody who waits for a build is told")
def only_the_first_is_told() -> Sequence[Change]:
    original = turn._end

    def end(of: Any, ended: Any, build_id: int | None) -> None:
        mails = dict(of.mails)
        original(of, ended, build_id)
        if any(mail.build_id == build_id for mail in mails.values()):
            of.mails = mails

    return [(turn, "_end", end)]


@_mutant("requests that were made together are told together, when the last has ended")
def summary_too_early() -> Sequence[Change]:
    original = turn.sum_up

    def sum_up(of: Any, ended: Any, group: int) -> None:
        kept, of.state.records.group_open = of.state.records.group_open, {}
        original(of, ended, group)
        of.state.records.group_open = kept

    return [(turn, "sum_up", sum_up)]


@_mutant("who joined by range or by attempt is admitted anew when that comes to nothing")
def no_readmission() -> Sequence[Change]:
    def tell_unsuccessful(of: Any, waiting: Any, how: RequestState, reason: str) -> None:
        for request in waiting:
            turn.disappoint(of, request, how, reason)

    return [(attempts, "tell_unsuccessful", tell_unsuccessful)]


@_mutant("a failure is repeated elsewhere before it is final")
def no_confirmation() -> Sequence[Change]:
    return [(attempts, "capable_elsewhere", lambda turn, build: False)]


def _ending_as(was: AttemptEnd, instead: AttemptEnd) -> Sequence[Change]:
    original = attempts.end

    def end(of: Any, attempt: Attempt, how: AttemptEnd, reason: str, log_tail: str = "") -> None:
        original(of, attempt, instead if how is was else how, reason, log_tail)

    return [(attempts, "end", end)]


@_mutant("a machine's failure is not the project's")
def machine_blamed_on_project() -> Sequence[Change]:
    return _ending_as(AttemptEnd.BROKEN, AttemptEnd.FAILED)


@_mutant("a mistake of the project is held against no machine")
def mistake_blamed_on_machine() -> Sequence[Change]:
    return _ending_as(AttemptEnd.MISTAKEN, AttemptEnd.BROKEN)


@_mutant("a mistake of the project is final at once")
def mistake_tried_again() -> Sequence[Change]:
    return [(attempts, "_project_mistaken", attempts._project_failed)]


@_mutant("a mail is marked as sent after the mail server took it")
def marked_before_sent() -> Sequence[Change]:
    original = Mailer._try

    async def try_(self: Mailer, outgoing: Any) -> Callable[[], Awaitable[None]]:
        await self._store.sent(outgoing.mail.key, self._wall.wall())
        return await original(self, outgoing)

    return [(Mailer, "_try", try_)]


@_mutant("a mail that is put off is tried again")
def put_off_for_good() -> Sequence[Change]:
    def later(self: Mailer, outgoing: Any, reason: str) -> Callable[[], Awaitable[None]]:
        return partial(self._store.refused, outgoing.mail.key, self._wall.wall(), reason)

    return [(Mailer, "_later", later)]


@_mutant("what a digest leaves out is told in another one")
def digest_tells_of_the_first_only() -> Sequence[Change]:
    original = outbox_store._digest

    def digest(key: str, members: list[OutgoingMail]) -> OutgoingMail:
        return original(key, members[:1])

    return [(outbox_store, "_digest", digest)]


# --- files ------------------------------------------------------------------------------------------------


@_mutant("an artifact has the bytes that its digest says")
def digest_not_compared() -> Sequence[Change]:
    return _digest_changes()


def _digest_changes() -> Sequence[Change]:
    class Believing:
        """Says that everything has the digest that was promised."""

        def __init__(self, promised: str) -> None:
            self._promised = promised

        def hexdigest(self) -> str:
            return self._promised

        def update(self, data: bytes) -> None:
            """Whatever it is."""

    original = artifacts.ArtifactStore.publish

    async def publish(self: artifacts.ArtifactStore, build_id: int, epoch: int, digest: str, size: int) -> None:
        kept = self.uploads._received.get((build_id, epoch))
        if kept is not None:
            kept.hasher = Believing(digest)  # type: ignore[assignment] # that is the mutation
        await original(self, build_id, epoch, digest, size)

    return [(artifacts.ArtifactStore, "publish", publish)]


@_mutant("an artifact is read before it is given out")
def damaged_given_out() -> Sequence[Change]:
    original = artifacts._open_verified

    def open_verified(*what: Any) -> tuple[int, Any, bool]:
        file, stamp, _ = original(*what)
        return file, stamp, True

    return [(artifacts, "_open_verified", open_verified)]


@_mutant("a file is synced before its row says that it is there")
def file_not_synced() -> Sequence[Change]:
    original = SimulatedDisk.sync

    def sync(self: SimulatedDisk, file: int) -> None:
        if "/incoming/" in str(self._handles[file].path):
            return
        original(self, file)

    return [(SimulatedDisk, "sync", sync)]


@_mutant("what a build server has finished is synced before it is offered")
def spool_not_synced() -> Sequence[Change]:
    original, keep, keeping = SimulatedDisk.sync, spool._keep, list[SimulatedDisk]()

    def unsynced_keep(disk: SimulatedDisk, *rest: Any) -> list[str]:
        keeping.append(disk)
        try:
            return keep(disk, *rest)
        finally:
            keeping.remove(disk)

    def sync(self: SimulatedDisk, file: int) -> None:
        if self not in keeping:
            original(self, file)

    return [
        (spool, "_keep", unsynced_keep),
        (SimulatedDisk, "sync", sync),
        (SimulatedDisk, "sync_directory", _no_spool_names(SimulatedDisk.sync_directory)),
    ]


def _no_spool_names(original: Any) -> Any:
    def sync_directory(self: SimulatedDisk, path: Any) -> None:
        if "/spool" not in str(path):
            original(self, path)

    return sync_directory


@_mutant("what is finished stays on the build server's disk until it is taken")
def spool_dropped_too_early() -> Sequence[Change]:
    original = Delivery._tell

    async def tell(self: Delivery) -> None:
        await self.shared.spool.drop(*self.key)
        await original(self)

    return [(Delivery, "_tell", tell)]


@_mutant("a ticket is for one attempt")
def ticket_for_everything() -> Sequence[Change]:
    def check(self: Any, request: Any, kind: Any, build_id: int, epoch: int) -> Any:
        text = (request.header("Authorization") or "").partition(" ")[2]
        return read(text, self._keys.build(build_id), self._clock.wall())

    return [(TicketReader, "check", check)]


# --- who is there, and what they may ------------------------------------------------------------------------


@_mutant("a revoked key is nobody's")
def revoked_key_believed() -> Sequence[Change]:
    def usable(book: Book, key: str) -> Identity:
        return book.keys[key]

    def known(self: AccountService, key: str) -> Any:
        async def found() -> Identity:
            identity = self.book.keys.get(key)
            if identity is not None and identity.state is KeyState.REVOKED:
                return identity
            return await original(self, key)

        return found()

    original = AccountService._known
    return [(enrolment, "_usable", usable), (AccountService, "_known", known)]


@_mutant("what a revoked machine builds is waited for no longer")
def revoked_machine_waited_for() -> Sequence[Change]:
    original = BuildServerConnections.dismiss

    def dismiss(self: BuildServerConnections, key: str, why: str) -> None:
        original(self, key, why)
        for connection in self._connections.values():
            connection.final = False

    return [(BuildServerConnections, "dismiss", dismiss)]


@_mutant("the connections of a key end when it is revoked")
def revoked_live_connection_stays() -> Sequence[Change]:
    return [(Gateway, "end_key", lambda self, key, why: None)]


@_mutant("an invitation is used up in the commit that makes its key known")
def token_burnt_too_early() -> Sequence[Change]:
    original = AccountService._commit

    async def commit(self: AccountService, change: Any) -> None:
        used = tuple(row for row in change.rows if isinstance(row, Invitation) and row.key and not row.void)
        if used:
            await original(self, evolve(change, rows=used, happened=()))
        await original(self, change)

    return [(AccountService, "_commit", commit)]


@_mutant("an invitation is for the first key that is shown with it")
def token_used_twice() -> Sequence[Change]:
    original = enrolment.joined

    def joined(book: Book, token: str, key: str, *rest: Any) -> Any:
        invitation = book.invitations.get(token)
        if invitation is not None and invitation.key not in ("", key):
            book = evolve_book(book, evolve(invitation, key=""))
        return original(book, token, key, *rest)

    return [(enrolment, "joined", joined)]


def evolve_book(book: Book, *rows: Any) -> Book:
    """Return a copy of a book with other rows."""
    copy = Book()
    copy.take((*book.keys.values(), *book.invitations.values(), *rows))
    return copy


def _invitations_as(change: Callable[[Invitation, str, float], Invitation]) -> Sequence[Change]:
    """Return that whoever joins is judged by another invitation than the one that was made, which stays as it is."""
    original = enrolment.joined

    def joined(book: Book, token: str, key: str, certificate: str, expires: float, life: str, now: float) -> Any:
        found = book.invitations.get(token)
        if found is None:
            return original(book, token, key, certificate, expires, life, now)
        taken = evolve_book(book, change(found, life, now))
        identity, decided = original(taken, token, key, certificate, expires, life, now)
        rows = tuple(evolve(found, key=row.key) if isinstance(row, Invitation) else row for row in decided.rows)
        return identity, evolve(decided, rows=rows)

    return [(enrolment, "joined", joined)]


@_mutant("an invitation expires")
def expired_invitation_taken() -> Sequence[Change]:
    return _invitations_as(lambda found, _life, now: evolve(found, expires=max(found.expires, now + 1.0)))


@_mutant("an invitation does not outlive a restore")
def older_life_invitation_taken() -> Sequence[Change]:
    changes = _invitations_as(lambda found, life, _now: evolve(found, life=life))
    return [*changes, (enrolment, "void_all", lambda book, life: ())]


@_mutant("an invitation that was made void is refused")
def void_invitation_taken() -> Sequence[Change]:
    return _invitations_as(lambda found, _life, _now: evolve(found, void=""))


@_mutant("a key acts only after its confirmation was committed")
def unconfirmed_key_acts() -> Sequence[Change]:
    async def known(self: AccountService, key: str) -> Identity:
        return enrolment.known(self.book, key)

    return [(AccountService, "_known", known)]


@_mutant("a name stays with the key that has it")
def name_taken_over() -> Sequence[Change]:
    original = enrolment.confirmed

    def confirmed(book: Book, key: str, now: float) -> Any:
        taking = [evolve(one, replaces=True) for one in book.invitations.values() if one.key == key]
        return original(evolve_book(book, *taking), key, now)

    changes = _invitations_as(lambda found, _life, _now: evolve(found, replaces=True))
    return [*changes, (enrolment, "confirmed", confirmed)]


@_mutant("the key that a new one replaces is revoked")
def two_keys_of_one_name() -> Sequence[Change]:
    original = enrolment.confirmed

    def confirmed(book: Book, key: str, now: float) -> Any:
        change = original(book, key, now)
        kept = tuple(row for row in change.rows if not isinstance(row, Identity) or row.state is not KeyState.REVOKED)
        return evolve(change, rows=kept)

    return [(enrolment, "confirmed", confirmed)]


@_mutant("who comes to renew does nothing else")
def renew_acts_otherwise() -> Sequence[Change]:
    original = KeyHolders.__call__

    async def identify(self: KeyHolders, stranger: Principal, transport: object, hello: Hello) -> Principal:
        found = await original(self, stranger, transport, hello)
        if found.role is not PrincipalRole.RENEWING:
            return found
        identity = await self.known(stranger, found.key)
        return evolve(found, role=identity.role)

    return [(KeyHolders, "__call__", identify)]


@_mutant("a certificate that has expired lets nobody act")
def expired_certificate_believed() -> Sequence[Change]:
    return [(peers, "life_of", lambda certificate: (0.0, math.inf))]


@_mutant("a key is in the role that it was invited in")
def role_believed() -> Sequence[Change]:
    original = KeyHolders.__call__

    async def identify(self: KeyHolders, stranger: Principal, transport: object, hello: Hello) -> Principal:
        try:
            return await original(self, stranger, transport, hello)
        except Unauthorised as error:
            if "not a " not in str(error):
                raise
            somebody = await original(self, stranger, transport, evolve(hello, role=PrincipalRole.RENEWING.value))
            return evolve(somebody, role=PrincipalRole(hello.role))

    return [(KeyHolders, "__call__", identify)]


@_mutant("what a role may not do at all does not come to its service")
def right_not_checked() -> Sequence[Change]:
    return [(Rights, "check_role", lambda self, by, act: None)]


@_mutant("what somebody may do to what is their own they may not do to what is not")
def ownership_ignored() -> Sequence[Change]:
    return [(rights, "_owned", lambda by, subject: True)]


@_mutant("a project is built by those only who may, from the next build on")
def anybody_may_build() -> Sequence[Change]:
    return [(ProjectPolicies, "forbidden", lambda self, server: frozenset())]


@_mutant("of many that are ended at once those are left alone that the caller may not end")
def ownership_ignored_by_many() -> Sequence[Change]:
    return [(SeveralService, "_may", lambda self, *what: True)]


@_mutant("after a commit of which nobody knows whether it took effect, the keys are read anew")
def doubtful_keys_believed() -> Sequence[Change]:
    original = AccountService._commit

    async def commit(self: AccountService, change: Any) -> None:
        try:
            await original(self, change)
        finally:
            self._act.in_doubt = False

    return [(AccountService, "_commit", commit)]


@_mutant("what everybody asks for is counted")
def limit_not_counted() -> Sequence[Change]:
    return [(Allowances, "take", lambda self, *what: None)]


@_mutant("only so many requests of one wait at a time")
def open_requests_not_counted() -> Sequence[Change]:
    return [(Allowances, "places", lambda self, *what: None)]


# --- tokens, sessions and mailed links ------------------------------------------------------------------------

_BUSY: Change = (visitors, "SELDOM", 60.0)
"""Visitors do something every half minute."""


@_mutant("a token that was revoked is nobody's", _BUSY)
def ended_token_believed() -> Sequence[Change]:
    def take(self: TokenBook, rows: Any) -> None:
        self.of.update((row.digest, evolve(row, ended=False)) for row in rows)

    return [(TokenBook, "take", take)]


@_mutant("a token whose end could not be written holds no more until that is known", _BUSY)
def doubtful_token_believed() -> Sequence[Change]:
    async def commit(self: TokenService, rows: Any, *happened: Any) -> None:
        with self._act.committing():
            await self.store.commit(rows, happened, self.clock.wall())
        self.book.take(rows)

    return [(TokenService, "_commit", commit)]


def _shown_as(change: Callable[[Any, Any, float], tuple[Any, Any, float]]) -> Sequence[Change]:
    """Return that who shows a token is judged by another token, identity or time."""
    original = tokens.bearer

    def bearer(book: TokenBook, digest: str, identity: Any, stranger: Principal, now: float) -> Principal:
        token = book.of.get(digest)
        if token is None:
            return original(book, digest, identity, stranger, now)
        token, identity, now = change(token, identity, now)
        other = TokenBook()
        other.take((token,))
        return original(other, digest, identity, stranger, now)

    return [(tokens, "bearer", bearer)]


@_mutant("a token expires", _BUSY)
def expired_token_believed() -> Sequence[Change]:
    return _shown_as(lambda token, identity, _now: (token, identity, 0.0))


@_mutant("a token ends with the key that it is of", _BUSY)
def token_of_a_revoked_key() -> Sequence[Change]:
    return _shown_as(lambda token, identity, now: (token, identity and evolve(identity, state=KeyState.ACTIVE), now))


@_mutant("a token does what it was limited to", _BUSY)
def limits_of_a_token_ignored() -> Sequence[Change]:
    return _shown_as(lambda token, identity, now: (evolve(token, acts=()), identity, now))


@_mutant("a token makes no other that may do more", _BUSY)
def wider_token_made() -> Sequence[Change]:
    original = tokens.made
    return [(tokens, "made", lambda book, by, *rest: original(book, evolve(by, limits=UNLIMITED), *rest))]


@_mutant("what is made with a token ends with it", _BUSY)
def child_outlives_its_token() -> Sequence[Change]:
    return [(tokens, "_parent", lambda book, digest: "")]


@_mutant("a token makes none that holds longer", _BUSY)
def longer_token_made() -> Sequence[Change]:
    original = tokens.made

    def made(book: TokenBook, by: Principal, wish: Any, digest: str, life: str, now: float) -> Any:
        return evolve(original(book, by, wish, digest, life, now), expires=now + wish.lasts)

    return [(tokens, "made", made)]


@_mutant("nothing is made with a token that ended while its holder waited for their turn", _BUSY)
def ended_while_it_waited() -> Sequence[Change]:
    return [(TokenService, "_check_holds", lambda self, by: None)]


@_mutant("a token does not outlive a restore", _BUSY)
def older_life_token_believed() -> Sequence[Change]:
    async def read(self: TokenService) -> TokenBook:
        book = TokenBook()
        book.take(await self.store.tokens())
        return book

    return [(TokenService, "read", read)]


@_mutant("who is thrown out has no tokens and sessions any more", _BUSY)
def thrown_out_stays_signed_in() -> Sequence[Change]:
    return [(tokens, "of_name", lambda book, name: [])]


@_mutant("a mailed link signs in once", _BUSY)
def link_used_twice() -> Sequence[Change]:
    async def used(self: MailedCodes, token: str) -> None:
        """Leave the code as it is."""

    return [(MailedCodes, "used", used)]


_SET_BACK: Sequence[Change] = ((blows, "CLOCK_SET", (15.0,)), (blows, "CLOCK_STEPS", (-300.0, -200.0)))
"""Somebody sets the metaserver's clock back by minutes, every four minutes."""


@_mutant("a mailed link that was used stays used when the clock is set back", _BUSY, *_SET_BACK)
def link_used_until_now() -> Sequence[Change]:
    original = confirmation.confirmed

    def confirmed(row: Any, now: float, *, used: bool) -> Any:
        return evolve(original(row, now, used=False), expires=now) if used else original(row, now, used=False)

    return [(confirmation, "confirmed", confirmed)]


@_mutant("of two that come with one link together one is signed in", _BUSY)
def link_used_by_two() -> Sequence[Change]:
    return [(WaitingBrowsers, "done", lambda self, email: None)]


@_mutant("a mailed link signs in the browser that asked for it", _BUSY)
def link_in_any_browser() -> Sequence[Change]:
    return [(WaitingBrowsers, "is_one", lambda self, email, browser, now: True)]


@_mutant("a mailed link signs in within half an hour", _BUSY)
def link_followed_late() -> Sequence[Change]:
    return [(access_tokens, "BROWSER_WAITS", math.inf)]


@_mutant("pages believe for some seconds who somebody is", _BUSY)
def believed_for_ever() -> Sequence[Change]:
    return [(sessions_of_pages, "_BELIEVED", 86_400.0)]


# --- mails that come back -------------------------------------------------------------------------------------


@_mutant("only the farm makes addresses that mails come back to")
def made_up_return_believed() -> Sequence[Change]:
    return [(ReturnTag, "is_of", lambda self, key, email: True)]


@_mutant("a mail that is late, or was answered, did not come back")
def late_mail_taken_for_lost() -> Sequence[Change]:
    original = returned._said
    return [(returned, "_said", lambda block, name: "failed" if name == "Action" else original(block, name))]


@_mutant("a mail that came back is noted on all Requests that it told of")
def return_noted_on_the_first() -> Sequence[Change]:
    return [(operator_store, "_told_with", lambda first: false())]


@_mutant("a mail that came back is noted on no Request that another mail told of")
def return_noted_on_others() -> Sequence[Change]:
    requests = schema.requests.c
    return [(operator_store, "_told_with", lambda first: requests.email == first.email)]


# --- refs, which move -------------------------------------------------------------------------------------------

_PUSHED: Sequence[Change] = ((origin, "LOOKS", (60.0,)), (origin, "MOVES", 1.0))
"""Looks at the refs take long, and somebody pushes during each."""


@_mutant("who asks during a look at the refs waits for the next one", *_PUSHED)
def stale_look_shared() -> Sequence[Change]:
    async def share(self: SingleFlight[Any], key: str, act: Any) -> Any:
        running = self._next.get(key)
        if running is not None:
            return await running.join()
        running = self._next[key] = _Sharers(Asker(), act)
        mine = running.join()

        async def run() -> None:
            outcome: Any
            try:
                outcome = await act()
            except BuildToolError:
                outcome = Failure()
            del self._next[key]
            running.tell(outcome)

        Deferred.fromCoroutine(run())
        return await mine

    return [(SingleFlight, "share", share)]


@_mutant("what a ref means is asked anew for each submission")
def ref_remembered() -> Sequence[Change]:
    original, resolved = DemandReader.read, dict[int, Resolved]()

    async def read(self: DemandReader, project: Any, url: str, message: Any, _resolved: Any) -> Any:
        return await original(self, project, url, message, resolved.setdefault(id(self), Resolved()))

    return [(DemandReader, "read", read)]


@_mutant("of what is asked for at once one ref is one commit", *_PUSHED)
def each_looks_alone() -> Sequence[Change]:
    original = DemandReader.read

    async def read(self: DemandReader, project: Any, url: str, message: Any, _resolved: Any) -> Any:
        return await original(self, project, url, message, Resolved())

    return [(DemandReader, "read", read)]


@_mutant("what waits is for what its ref meant when it was asked for")
def waits_for_what_it_means_now() -> Sequence[Change]:
    original = Broker.send

    async def send(self: Broker, event: Any) -> Any:
        if isinstance(event, Submitted):
            for row in self.state.requests.values():
                if row.demand.ref == event.demand.ref and row.state is RequestState.WAITING:
                    self.state.put(evolve(row, demand=event.demand))
        return await original(self, event)

    return [(Broker, "send", send)]


# --- in what sandbox something is made ----------------------------------------------------------------------

_SANDBOXES = (sandboxes, "MATTERS", 1.0)
"""There are sandboxes in every world, not only in some."""


def _whatever_it_was_made_in(asked: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``satisfies`` without its look at the evidence."""
    return lambda artifact, *rest: asked(evolve(artifact, evidence=_STRICT), *rest)


_STRICT = Evidence(SandboxLevel.STRICT)


@_mutant("an artifact is a hit only where it was made in a sandbox that does", _SANDBOXES)
def evidence_not_asked_at_hit() -> Sequence[Change]:
    return [(newest_of_shelves, "satisfies", _whatever_it_was_made_in(satisfies))]


@_mutant("a running build is joined only where its attempt runs in a sandbox that does", _SANDBOXES)
def evidence_not_asked_at_join() -> Sequence[Change]:
    def would(have: Any, kind: Any, _evidence: Evidence, *rest: Any) -> bool:
        return making_satisfies(have, kind, _STRICT, *rest)

    return [(admission, "making_satisfies", would)]


@_mutant("a waiting build is joined only where it demands a sandbox that does", _SANDBOXES)
def policy_not_asked_at_join() -> Sequence[Change]:
    def promised(given: Any, wanted: Any, *rest: Any) -> bool:
        return implies(evolve(given, policy=wanted.policy), wanted, *rest)

    return [(admission, "implies", promised)]


@_mutant("an artifact ends the waiting of those only for whom its sandbox does", _SANDBOXES)
def evidence_not_asked_at_completion() -> Sequence[Change]:
    return [(attempts, "satisfies", _whatever_it_was_made_in(satisfies))]


@_mutant("a build goes only to a machine whose sandbox does", _SANDBOXES)
def evidence_not_asked_at_dispatch() -> Sequence[Change]:
    return [(module, "acceptable", lambda *_: []) for module in (fitting, capability_groups)]


@_mutant("what a project demands of the sandbox counts for everybody who asks for it", _SANDBOXES)
def level_of_the_project_forgotten() -> Sequence[Change]:
    return [(Project, "least", property(lambda _self: ANYTHING))]


@_mutant("no more is believed of an artifact than its machine announced when it was given the build", _SANDBOXES)
def more_believed_than_announced() -> Sequence[Change]:
    return [(Evidence, "at_most", lambda _announced, said: said)]


@_mutant("no more is believed of an artifact than its machine says of it", _SANDBOXES)
def less_said_than_believed() -> Sequence[Change]:
    return [(Evidence, "at_most", lambda announced, _said: announced)]


@_mutant("what was made in less than its build demands is no artifact", _SANDBOXES)
def less_delivered_than_demanded() -> Sequence[Change]:
    return [(attempts, "acceptable", lambda *_: [])]


@_mutant("two builds that demand different sandboxes are two builds", _SANDBOXES)
def policy_not_in_the_key() -> Sequence[Change]:
    return [(EvidencePolicy, "demands", lambda _self: [])]


# --- what files need of a machine's C library ---------------------------------------------------------------

_NEEDS = (needs, "MATTERS", 1.0)
"""Machines have versions of a C library in every world, not only in some."""


@_mutant("what files need counts for hits, where it is less than their machine announced", _NEEDS)
def need_ignored_at_hit() -> Sequence[Change]:
    return [(newest_of_shelves, "satisfies", lambda artifact, *rest: satisfies(evolve(artifact, need=()), *rest))]


@_mutant("what files need is what was measured in them, and not what their machine announced", _NEEDS)
def announced_taken_for_measured() -> Sequence[Change]:
    return [(naming, "measured_need", lambda _files, platform, *_: canonical(platform))]


@_mutant("what files need is stored", _NEEDS)
def need_lost_in_the_database() -> Sequence[Change]:
    original = rows.artifact_of

    return [(rows, "artifact_of", lambda *row: evolve(original(*row), need=()))]


# --- whose commits are trusted ------------------------------------------------------------------------------

_STRANGERS = (strangers, "MATTERS", 1.0)
"""There is a pull request in every world, not only in some."""


def _taken_for_own(known: Any) -> Any:
    """Return an artifact, of which it is believed that it was made of the project's own commits."""
    return evolve(known, evidence=evolve(known.evidence, source=SourceTrust.TRUSTED))


@_mutant("nobody who asks for a commit of the project's own is given what was built of a stranger's", _STRANGERS)
def untrusted_artifact_served() -> Sequence[Change]:
    return [(newest_of_shelves, "satisfies", lambda artifact, *rest: satisfies(_taken_for_own(artifact), *rest))]


@_mutant("what was built of a stranger's commit ends nobody else's waiting", _STRANGERS)
def untrusted_artifact_handed_out() -> Sequence[Change]:
    return [(attempts, "satisfies", lambda artifact, *rest: satisfies(_taken_for_own(artifact), *rest))]


@_mutant("a build of a stranger's commit is another one than of the same commit on a branch", _STRANGERS)
def trust_not_in_the_key() -> Sequence[Change]:
    return [(SourceTrust, "marks", property(lambda _self: []))]


@_mutant("a commit is held against the refs of its project", _STRANGERS)
def every_commit_trusted() -> Sequence[Change]:
    async def trust(self: DemandReader, project: Any, source: str, url: str, commit: str) -> SourceTrust:
        return SourceTrust.TRUSTED

    return [(DemandReader, "_trust", trust)]


@_mutant("whether a source was trusted is stored", _STRANGERS)
def trust_lost_in_the_database() -> Sequence[Change]:
    original = rows.artifact_of

    return [(rows, "artifact_of", lambda *row: _taken_for_own(original(*row)))]


# --- triggers -----------------------------------------------------------------------------------------------

_TRIGGERS = (triggering, "MATTERS", 1.0)
"""The project builds by itself in every world, not only in some."""


@_mutant("what a trigger asks for once more has the ids that it had", _TRIGGERS)
def trigger_ids_made_anew() -> Sequence[Change]:
    count = iter(range(1, 10**9))
    return [(TriggerAsker, "_id", lambda *_: f"{next(count):032x}")]


@_mutant("a trigger remembers what it has asked for, and not what it has seen", _TRIGGERS)
def seen_taken_for_asked() -> Sequence[Change]:
    original = looking.remembered

    def remembered(trigger: Any, memory: Any, found: Any, settled: Any, *rest: Any) -> Any:
        return original(trigger, memory, found, {**found, **settled}, *rest)

    return [(triggers, "remembered", remembered)]


_HOOKS = (hooking, "MATTERS", 1.0)


@_mutant("a delivery is taken where its signature is one of the project's secrets", _TRIGGERS, _HOOKS)
def signature_not_checked() -> Sequence[Change]:
    def proved(headers: Any, body: Any, secrets: Any, *, by_tls: bool) -> None:
        return None

    return [(receiving, "proved", proved)]


@_mutant("a delivery that came before hints nothing", _TRIGGERS, _HOOKS)
def delivery_id_ignored() -> Sequence[Change]:
    made = count()

    def mark_of(headers: Any, body: Any) -> str:
        return str(next(made))

    return [(receiving, "mark_of", mark_of)]


@_mutant("a trigger looks by itself, whether or not it is told to", _TRIGGERS, (hooking, "MATTERS", 0.0))
def poll_switched_off() -> Sequence[Change]:
    original = looking.due

    def due(trigger: Any, memory: Any, now: float, *, hinted: bool = False) -> float:
        return math.inf if memory.asked and not hinted else original(trigger, memory, now, hinted=hinted)

    return [(triggers, "due", due)]


# --- what is kept -------------------------------------------------------------------------------------------

_KEPT = (keeping_of_worlds, "MATTERS", 1.0)
"""Logs and artifacts go in every world, not only in some."""


@_mutant("what was given out lately is spared", _KEPT)
def grace_ignored() -> Sequence[Change]:
    return [(Surveys, "thing", lambda _self, kept: kept.thing)]


@_mutant("what is promised after it was chosen stays", _KEPT)
def promise_ignored() -> Sequence[Change]:
    return [(hits.HitFinder, "_noted", lambda _self, found: found)]


# --- telling a forge ----------------------------------------------------------------------------------------

_FORGE = (telling, "MATTERS", 1.0)
"""A forge is told in every world, not only in some."""


@_mutant("what was not answered is told again", _FORGE)
def unanswered_taken_for_told() -> Sequence[Change]:
    async def tried(courier: Any, outgoing: Any) -> TellOutcome:
        try:
            return await courier.tell(outgoing)  # type: ignore[no-any-return] # as a courier's is
        except BuildToolError:
            return TellOutcome(told=True)

    return [(Courier, "_tried", tried)]


@_mutant("what waits to be told is written with what it tells of", _FORGE)
def notices_not_committed() -> Sequence[Change]:
    count = iter(range(1, 10**9))

    def sometimes(state: Any, rows: Any, now: float) -> Any:
        return with_notices(state, rows, now) if next(count) % 5 else rows

    return [(broker, "with_notices", sometimes)]


# --- owners who come and go ---------------------------------------------------------------------------------

_OWNERS = (owners, "MATTERS", 1.0)
"""Machines have owners in every world, not only in some."""


@_mutant("a frozen build's lease is renewed as any other", _OWNERS)
def freeze_ends_a_lease() -> Sequence[Change]:
    original = leases.judge

    def judge(turn: Any, server: Server, held: Held) -> Any:
        kept = turn.state.leases.of.get(held.key)
        judged = original(turn, server, held)
        if held.frozen and kept is not None and held.key in turn.state.leases.of:
            turn.state.leases._change(held.key, kept)
        return judged

    return [(leases, "judge", judge)]


@_mutant("the time in which a build stands still is no time that it takes", _OWNERS)
def frozen_time_counts() -> Sequence[Change]:
    original = Standstill.end

    def end(self: Standstill) -> float:
        rested = self.rested
        took = original(self)
        self.rested = rested
        return took

    return [(Standstill, "end", end)]


@_mutant("what builds stands still while its machine's owner is there", _OWNERS)
def owner_not_heeded() -> Sequence[Change]:
    return [(AttemptRun, "freeze", lambda self, reason: None)]


@_mutant("a build that is handed back is no strike", _OWNERS)
def hand_back_is_a_strike() -> Sequence[Change]:
    rules = {**declining.RULES, AttemptEnd.RETURNED: declining.RULES[AttemptEnd.BROKEN]}
    return [(declining, "RULES", rules)]


_LIMITS = (limits_of_worlds, "MATTERS", 1.0)
"""Builds need more than there is in every world."""

_IMPATIENT = (_OWNERS, (owners, "PATIENCE", (30.0,)), (owners, "STAYS", (200.0,)))
"""Owners come for longer than they let a build stand still: much is handed back."""


@_mutant("who gives a build up again and again is asked less and less often", *_IMPATIENT, _LIMITS)
def declines_do_not_grow() -> Sequence[Change]:
    given_up = (AttemptEnd.RETURNED, AttemptEnd.LIMITED)
    return [(declining, "RULES", {**declining.RULES, **{it: evolve(declining.RULES[it], grows="") for it in given_up}})]


@_mutant("who gave builds up of late is given none that somebody else could take", *_IMPATIENT, _LIMITS)
def reluctant_asked_first() -> Sequence[Change]:
    return [(Reluctance, "of", lambda _self, _name, _now: 0)]


@_mutant("who comes back as it was is not asked sooner for what it gave up", *_IMPATIENT, _LIMITS)
def declines_forgotten_at_login() -> Sequence[Change]:
    return [(sessions, "_is_another", lambda _before, _now: True)]


@_mutant("a machine whose owner wants it gets no build", _OWNERS)
def closed_machine_asked() -> Sequence[Change]:
    takes = property(lambda self: self.connected and not (self.quarantined_until or self.paused or self.draining))
    return [(Server, "takes", takes)]


@_mutant("what is frozen for longer than its owner is patient is handed back", _OWNERS)
def patience_without_end() -> Sequence[Change]:
    original = stance.judge_stance

    def judge_stance(*what: Any, **more: Any) -> Any:
        return original(*what, **{**more, "frozen_for": 0.0})

    return [(guest, "judge_stance", judge_stance)]


# --- downtimes that are announced ---------------------------------------------------------------------------

_DOWNTIMES = (downtimes, "MATTERS", 1.0)
"""Machines are away in every world."""

_SOON = (timers, "OWNER_TOLD_AFTER", 600.0)
"""Owners are mailed sooner that their machine is missing."""


@_mutant("nobody is mailed about a machine while its owner said that it is away", _DOWNTIMES, _SOON)
def downtime_mailed_about() -> Sequence[Change]:
    def told_at(server: Server) -> float:
        return server.missing_since + timers.OWNER_TOLD_AFTER if server.missing_since else 0.0

    return [(timers, "_owner_told_at", told_at)]


@_mutant(
    "nobody is mailed in the second of two downtimes either",
    *(_DOWNTIMES, _SOON, (downtimes, "AGAIN", (0.0,)), (downtimes, "WAYS", ("crashes",))),
)
def second_downtime_mailed_about() -> Sequence[Change]:
    def told_at(server: Server) -> float:
        told = server.missing_since + timers.OWNER_TOLD_AFTER if server.missing_since else 0.0
        away = server.away_until(told)
        return away + timers.OWNER_TOLD_AFTER if away else told

    return [(timers, "_owner_told_at", told_at)]


@_mutant("who announced a downtime once is mailed about a machine that is missing at another time", _DOWNTIMES, _SOON)
def never_mailed_again() -> Sequence[Change]:
    original = timers._owner_told_at
    return [(timers, "_owner_told_at", lambda server: 0.0 if server.away else original(server))]


@_mutant("what an owner announces is known from the message on that says so", _DOWNTIMES)
def downtime_not_believed() -> Sequence[Change]:
    original = owners_of_servers.note_wishes

    def note_wishes(of: Any, server: Server, notice: Any) -> Server:
        return original(of, server, evolve(notice, away=server.away))

    return [(leases, "note_wishes", note_wishes)]


@_mutant("why says of a machine that is away that its owner said so", _DOWNTIMES)
def why_knows_no_downtime() -> Sequence[Change]:
    original = waiting._Look._keeps

    def keeps(self: Any, server: Server) -> Any:
        return original(self, evolve(server, away=()))

    return [(waiting._Look, "_keeps", keeps)]


@_mutant(
    "nobody waits for a machine that is away to repeat a failure",
    *(_DOWNTIMES, _OWNERS, (downtimes, "WAYS", ("stays",)), (projects, "FAILING", (0.8,))),
)
def away_machine_waited_for() -> Sequence[Change]:
    return [(leases, "settle_confirmations", lambda _of: None)]


# --- limits that are exceeded, and what is fetched ----------------------------------------------------------


@_mutant("a build that needs more memory than its machine has is not the project's failure", _LIMITS)
def machines_limit_blamed_on_project() -> Sequence[Change]:
    return [(limits, "ENDS", {**limits.ENDS, limits.Limited.MEMORY: AttemptEnd.FAILED})]


@_mutant("a build with more processes than any may have is the project's failure", _LIMITS)
def projects_limit_blamed_on_machine() -> Sequence[Change]:
    return [(limits, "ENDS", {**limits.ENDS, limits.Limited.PROCESSES: AttemptEnd.LIMITED})]


@_mutant("a build that its machine's owner gives less time than it needs is not the project's failure", _LIMITS)
def owners_time_blamed_on_project() -> Sequence[Change]:
    return [(TimeLimit, "end", property(lambda _self: AttemptEnd.FAILED))]


@_mutant("what is killed from outside is not the project's failure")
def killed_blamed_on_project() -> Sequence[Change]:
    return [(CommandResult, "killed_from_outside", property(lambda _self: False))]


@_mutant("the last line of the log says which limit was exceeded, its value and the peak", _LIMITS)
def limit_without_its_value() -> Sequence[Change]:
    return [(limits.ExceededLimit, "words", lambda self: f"it exceeded the limit of {self.what.value}")]


@_mutant("a machine is not struck for a limit that it has", _LIMITS)
def limit_is_a_strike() -> Sequence[Change]:
    rules = {**declining.RULES, AttemptEnd.LIMITED: declining.RULES[AttemptEnd.BROKEN]}
    return [(declining, "RULES", rules)]


@_mutant(
    "the time in which a build stands still counts against no limit",
    *(_OWNERS, (owners, "PATIENCE", (7_200.0,)), (owners, "STAYS", (2_000.0,))),
    *(_LIMITS, (limits_of_worlds, "TIME_LIMITS", (700.0,)), (lease_table, "OVERDUE", 300.0)),
)
def frozen_time_limit_counts_on() -> Sequence[Change]:
    return [(lease_table, "_excused", lambda _attempt, _now: 0.0), (lease_table, "MOST_FROZEN", 0.0)]


_FETCHING = (fetching, "MATTERS", 1.0)
"""Something is fetched in every world."""


@_mutant("the network ends between fetching and building", _FETCHING)
def network_outlasts_fetching() -> Sequence[Change]:
    async def close(_self: object) -> None:
        """Leave it open."""

    return [(fetching.SimulatedWay, "close", close)]


@_mutant("nothing is fetched on a machine whose owner does not allow that", _FETCHING)
def fetched_without_leave() -> Sequence[Change]:
    return [(attempt_of_server, "check_allowed", lambda *_: None)]


@_mutant("what builds knows no way to the network any more", _FETCHING)
def way_out_told_to_builds() -> Sequence[Change]:
    original = naming.own_environment

    def environment(*given: Any) -> Any:
        return {**original(*given), fetching.PROXY: "http://127.0.0.1:9"}

    return [(attempt_of_server, "own_environment", environment)]


@_mutant("what a machine announced at an earlier login does not count", _SANDBOXES)
def earlier_login_believed() -> Sequence[Change]:
    original = sessions.register

    def register(of: Any, event: Any) -> Any:
        old = of.state.servers.get(event.server)
        believed = event.capability if old is None else evolve(event.capability, sandbox=old.capability.sandbox)
        return original(of, evolve(event, capability=believed))

    return [(decide, "ANSWERS", {**decide.ANSWERS, Registered: register})]
