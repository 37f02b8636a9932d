"""What build servers tell, checked and handed to the broker as events; and what the broker's decisions ask for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.asker import asker
from buildtool.domain.estimates import duration_words
from buildtool.domain.incarnations import Keys
from buildtool.domain.matching import by_mark, by_rank
from buildtool.domain.messages import (
    Abort,
    Answer,
    AttemptAccepted,
    AttemptEnded,
    Delivered,
    Disconnected,
    Dispatch,
    DrainBegun,
    Effect,
    Fence,
    HeldJudged,
    HeldReported,
    MailWritten,
    NameHeld,
    NoPlace,
    Noted,
    Registered,
    RequestMoved,
    SessionOpened,
)
from buildtool.domain.model import (
    ARTIFACT_NAME_LIMIT,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    Capability,
    Held,
    RequestState,
    Verdict,
)
from buildtool.domain.tickets import Ticket, TicketKind, sign
from buildtool.errors import (
    BuildToolError,
    Fenced,
    InternalError,
    NameTaken,
    NotFound,
    Overloaded,
    StorageUnavailable,
    UsageError,
)
from buildtool.metaserver.broker import Broker, wasted
from buildtool.metaserver.comings import Comings
from buildtool.metaserver.telling import Teller
from buildtool.ports import ArtifactFiles, BuildServers, Clock, Followers, LogFiles, Notifier
from buildtool.project import Project
from buildtool.protocol import (
    AbortOrder,
    Accepted,
    Done,
    Draining,
    Ended,
    Heard,
    Heartbeat,
    Ok,
    Order,
    Register,
    RenewTickets,
    Tickets,
    Welcome,
)
from buildtool.settings import Settings
from buildtool.wire import encode, size_of

log = Logger()

TICKET_GRACE = 3_600.0
"""Seconds that a ticket holds beyond the project's time limit; later ones are renewed over PB."""

LOG_SLACK = 64 * 1024
"""Bytes that a log may have beyond the project's limit, for the lines that say what was left out."""

SOURCE_LIMIT = 16 * 1024**3
"""Most bytes of a commit with its history that are given to a build server."""

_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MOST_BUILDS = 256
_MOST_OFFERS = 64
_MOST_HELD = 512
_MOST_SECONDS = 366 * 86_400.0

CAPABILITY_LIMIT = 64 * 1024
"""Most bytes, as the wire counts them, of what a build server announces: it stays in memory and on the pages."""

WORD_LIMIT = 400
"""Most characters of one property's value: reasons for waiting quote it."""

ANNOUNCED_MOST = 500
"""Most members of each kind in what a build server announces: they are looked through when builds are given out."""

OFFERS_A_MARK = 8
"""Of one os, arch and libc so many offers of a build server are used, the native ones first: they differ in versions,
and each is compared with what every build needs."""

TELL_AGAIN = 5.0
"""Seconds before a requester who waits is told again of an end that could not be read."""

INSTANCE_LIMIT = 200
"""Most characters of what names a build directory."""

ASKED = 3.0
"""Seconds of silence after which an earlier Session of the very same machine is over."""


async def _unheard(_build_id: int, _epoch: int, _reason: str) -> None:
    """Nobody is to be told that an artifact cannot be kept."""


@define
class ServerDesk:
    """Implements ``ports.BuildServerDesk`` over a broker."""

    settings: Settings
    broker: Broker
    artifacts: ArtifactFiles
    tickets: TicketOffice
    servers: BuildServers
    unkept: Callable[[int, int, str], Awaitable[object]] = _unheard
    _comings: Comings = field(factory=Comings, init=False)

    async def register(self, message: Register) -> Welcome:
        """Open a new Session. Raises UsageError for a name or capability that cannot be, NameTaken, Overloaded."""
        if not _SERVER_NAME.match(message.server):
            raise UsageError(
                f"build server name {message.server!r} is not usable: letters, digits, dot, - and _, at most 63"
            )
        capability = message.capability
        if not 1 <= capability.max_builds <= _MOST_BUILDS or len(capability.offers) > _MOST_OFFERS:
            raise UsageError(
                f"a build server takes 1 to {_MOST_BUILDS} builds and offers at most {_MOST_OFFERS} platforms"
            )
        check_bounded(capability)
        check_held(message.held)
        if len(message.instance) > INSTANCE_LIMIT:
            raise UsageError(f"the instance of a build server has at most {INSTANCE_LIMIT} characters")
        capability = _useful(message.server, capability)
        where = asker().address
        instance = sha256(message.instance.encode()).hexdigest() if message.instance else ""
        answer = await self._open(Registered(message.server, capability, message.held, instance, where))
        self._comings.opened(message.server, self.broker.timers.seconds())
        on = sum(one.verdict is not Verdict.DROP for one in answer.verdicts)
        with_what = f"; builds that it has: {len(message.held)}, that go on: {on}" if message.held else ""
        words = {"name": message.server, "session": answer.session, "with_what": with_what}
        log.info("build server {name} connected, session {session}{with_what}", **words)
        projects = self.settings.projects
        return Welcome(
            session=answer.session,
            transfer_url=self.settings.transfer_url,
            artifact_limit=max((project.artifact_limit for project in projects), default=0),
            log_limit=max((project.log_limit for project in projects), default=0),
            lease=self.broker.state.lease_term,
            verdicts=answer.verdicts,
        )

    async def _open(self, event: Registered) -> SessionOpened:
        """Open a Session, once whoever has the name was asked and is not there. Raises NameTaken, Overloaded."""
        answer = await self.broker.send(event)
        if isinstance(answer, NameHeld) and answer.session:
            silent = await self.servers.silence(event.server, answer.session)
            # Another machine waits for longer: one that is only slow for a moment must not lose its name to it.
            if silent >= (ASKED if answer.kin else self.broker.state.lease_term / 2):
                answer = await self.broker.send(evolve(event, silent=answer.session))
        match answer:
            case SessionOpened():
                return answer
            case NameHeld():
                raise self._taken(event, answer)
            case NoPlace():
                raise Overloaded(
                    f"{answer.known} build servers are known and connected or in use, which is the most: try again "
                    "later, or have the operator forget some (bin/metaserver --forget SERVER)"
                )
            case _:
                raise InternalError("the metaserver answered a login with something else")

    def _taken(self, event: Registered, held: NameHeld) -> NameTaken:
        now, wall = self.broker.timers.seconds(), self.broker.clock.wall()
        if self._comings.refused(event.server, now):
            log.warn(
                "build server {name}: another machine wants that name, from {other}; it has it from {where} since {at}",
                name=event.server,
                other=event.origin or "an unknown address",
                where=held.origin or "an unknown address",
                at=datetime.fromtimestamp(held.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            )
        since, where = duration_words(max(0.0, wall - held.since)), held.origin or "an unknown address"
        own = "give this one a name of its own with --name"
        if held.session:
            return NameTaken(
                f"another machine is build server {event.server}: it has been connected from {where} for {since}; {own}"
            )
        left = duration_words(max(0.0, held.until - wall))
        return NameTaken(
            f"another machine is build server {event.server}: it was lost {since} ago at {where}, and may come back "
            f"within {left}; wait until then, or {own}"
        )

    def problems(self) -> tuple[str, ...]:
        """Return which names two machines share, and which do not stay; it implements ``conditions.Source``."""
        return self._comings.problems(self.broker.timers.seconds())

    async def disconnected(self, server: str, session: int, reason: str, *, clean: bool) -> None:
        """The connection of a Session ended."""
        log.info("build server {name} left: {reason}", name=server, reason=reason)
        await self.broker.send(Disconnected(server, session, reason, clean))

    async def accepted(self, server: str, session: int, message: Accepted) -> Ok:
        """The build server took an Attempt."""
        return _ok(await self.broker.send(AttemptAccepted(server, session, message.build_id, message.epoch)))

    async def ended(self, server: str, session: int, message: Ended) -> Ok:
        """An Attempt ended without an artifact. Raises UsageError when it claims success without one."""
        if message.end is AttemptEnd.SUCCEEDED:
            raise UsageError("an attempt that succeeded is told with its artifact")
        event = AttemptEnded(
            server, session, message.build_id, message.epoch, message.end, message.reason, message.log_tail
        )
        build = self.broker.state.builds.get(message.build_id)
        told = _ok(await self.broker.send(event))
        if message.end is AttemptEnd.REFUSED and build is not None and not told.stale:
            words = {"build": build.id, "epoch": message.epoch, "project": build.spec.project, "name": server}
            log.info("build {build}.{epoch} of {project} declined by {name}: {why}", why=message.reason, **words)
        return told

    async def done(self, server: str, session: int, message: Done) -> Ok:
        """Publish an Attempt's artifact. Raises UsageError, BadUpload, StorageUnavailable."""
        if not _FILE_NAME.match(message.name) or len(message.name) > ARTIFACT_NAME_LIMIT:
            raise UsageError(f"artifact name {message.name!r} is not usable: letters, digits and _.+- only")
        if not _DIGEST.match(message.digest) or not _DIGEST.match(message.content_digest) or message.size < 0:
            raise UsageError("an artifact comes with its size and two SHA-256 digests in hex")
        if not 0 <= message.seconds <= _MOST_SECONDS:
            raise UsageError(f"no build takes {message.seconds:g} seconds: what it took is from 0 to {_MOST_SECONDS:g}")
        attempt = self._current(server, session, message.build_id, message.epoch)
        if attempt is None or attempt.state is not AttemptState.ABORTING:
            if attempt is None:
                return Ok(stale=True)
            await self._publish(message)
        event = Delivered(
            server,
            session,
            message.build_id,
            message.epoch,
            message.digest,
            message.content_digest,
            message.size,
            message.name,
            message.seconds,
            message.log_tail,
        )
        return _ok(await self.broker.send(event))

    async def _publish(self, message: Done) -> None:
        try:
            await self.artifacts.publish(message.build_id, message.epoch, message.digest, message.size)
        except StorageUnavailable as error:
            await self.unkept(message.build_id, message.epoch, str(error))
            raise

    async def heartbeat(self, server: str, session: int, message: Heartbeat) -> Heard:
        """Renew the Leases of what a build server has. Raises Fenced for a Session that is over."""
        check_held(message.held)
        answer = await self.broker.send(HeldReported(server, session, message.held))
        if not isinstance(answer, HeldJudged) or answer.stale:
            raise Fenced(f"session {session} of build server {server} is over: log in again")
        return Heard(answer.verdicts)

    async def draining(self, server: str, session: int, message: Draining) -> Ok:
        """Give a build server nothing more in this Session."""
        known = self.broker.state.servers.get(server)
        if known is not None and not known.draining:
            log.info("build server {name} drains: {why}", name=server, why=message.reason)
        return _ok(await self.broker.send(DrainBegun(server, session, message.reason)))

    async def renew(self, server: str, session: int, message: RenewTickets) -> Tickets:
        """Give fresh tickets. Raises NotFound when the Attempt is no longer this Session's."""
        attempt = self._current(server, session, message.build_id, message.epoch)
        build = self.broker.state.builds.get(message.build_id)
        if attempt is None or build is None:
            raise NotFound(f"epoch {message.epoch} of build {message.build_id} is no longer yours")
        both = self.tickets.both(build.spec, message.build_id, message.epoch)
        if not message.source:
            return both
        return evolve(both, source_ticket=self.tickets.source(build.spec, message.build_id, message.epoch))

    def _current(self, server: str, session: int, build_id: int, epoch: int) -> Attempt | None:
        attempt = self.broker.state.attempts.get((build_id, epoch))
        if attempt is None or attempt.server != server or attempt.session != session:
            return None
        return attempt


@define
class TicketOffice:
    """Signs transfer tickets under the metaserver's keys."""

    settings: Settings
    clock: Clock
    keys: Keys

    def both(self, spec: BuildSpec, build_id: int, epoch: int) -> Tickets:
        """Return a log and an artifact ticket, bounded by the project's limits."""
        project = self.settings.project(spec.project)
        return Tickets(
            log_ticket=self._ticket(project, TicketKind.LOG, build_id, epoch, project.log_limit + LOG_SLACK),
            artifact_ticket=self._ticket(project, TicketKind.ARTIFACT, build_id, epoch, project.artifact_limit),
        )

    def source(self, spec: BuildSpec, build_id: int, epoch: int) -> str:
        """Return a ticket for what the metaserver has of the Build's commit."""
        return self._ticket(self.settings.project(spec.project), TicketKind.SOURCE, build_id, epoch, SOURCE_LIMIT)

    def _ticket(self, project: Project, kind: TicketKind, build_id: int, epoch: int, most: int) -> str:
        expires = int(self.clock.wall() + project.time_limit + TICKET_GRACE)
        return sign(Ticket(kind, build_id, epoch, most, expires), self.keys.build(build_id))


@define
class Acts:
    """Implements ``broker.Performer``: sends orders, nudges the mailer, tells followers, tidies up."""

    servers: BuildServers
    followers: Followers
    notifier: Notifier
    logs: LogFiles
    artifacts: ArtifactFiles
    teller: Teller
    tickets: TicketOffice
    timers: IReactorTime
    _running: set[Deferred[None]] = field(factory=set, init=False)
    _pauses: set[Deferred[None]] = field(factory=set, init=False)

    def perform(self, effect: Effect) -> None:
        """Do one act, in the order of the decisions."""
        match effect:
            case Dispatch():
                _say_given(effect.attempt, effect.build)
                self.servers.dispatch(effect.attempt.server, effect.attempt.session, self._order(effect))
            case Abort():
                order = AbortOrder(effect.build_id, effect.epoch, effect.reason)
                self.servers.abort(effect.server, effect.session, order)
            case Fence():
                self.servers.fence(effect.server, effect.session)
            case MailWritten():
                self.notifier.nudge()
            case RequestMoved():
                if self.followers.follows(effect.request.id):
                    self._background(self._tell(effect), f"telling followers of request {effect.request.id}")

    def attempt_ended(self, attempt: Attempt) -> None:
        """Say it; compress the log; throw away what was uploaded in vain."""
        _say_ended(attempt)
        self.finish_log(attempt.build_id, attempt.epoch)
        if wasted(attempt):
            what = f"discarding what build {attempt.build_id}, epoch {attempt.epoch}, uploaded"
            self._background(self.artifacts.discard(attempt.build_id, attempt.epoch), what)

    def finish_log(self, build_id: int, epoch: int) -> None:
        """Compress the log of an Attempt that has ended; one that is finished already stays as it is."""
        what = f"finishing the log of build {build_id}, epoch {epoch}"
        self._background(self.logs.finish(build_id, epoch), what)

    async def settle(self) -> None:
        """Wait for what runs in the background; nothing is tried again any more."""
        for pause in list(self._pauses):
            pause.cancel()
        await DeferredList(list(self._running))

    async def _tell(self, effect: RequestMoved) -> None:
        """Tell who follows a Request how it stands; of its end again until it can be read what there is to tell."""
        while self.followers.follows(effect.request.id):
            try:
                told = await self.teller.told(effect.request)
            except StorageUnavailable as error:
                if effect.request.state is RequestState.WAITING:
                    raise
                log.warn("the end of request {id} is told later: {why}", id=effect.request.id, why=error)
                pause: Deferred[None] = deferLater(self.timers, TELL_AGAIN)
                self._pauses.add(pause)
                try:
                    await pause
                finally:
                    self._pauses.discard(pause)
            else:
                self.followers.moved(told)
                return

    def _background(self, act: Coroutine[Any, Any, None], what: str) -> None:
        def failed(failure: Failure) -> None:
            if failure.check(CancelledError):
                log.warn("{what}: broken off", what=what)
            elif failure.check(BuildToolError):
                log.warn("{what}: {error}", what=what, error=failure.getErrorMessage())
            else:
                log.failure("{what} failed", failure, what=what)

        running = Deferred.fromCoroutine(act)
        self._running.add(running)
        running.addErrback(failed)
        running.addBoth(lambda _: self._running.discard(running))

    def _order(self, effect: Dispatch) -> Order:
        attempt, build = effect.attempt, effect.build
        return make_order(attempt, build, self.tickets, self.teller)


def _say_given(attempt: Attempt, build: Build) -> None:
    words = {"build": build.id, "epoch": attempt.epoch, "project": build.spec.project, "name": attempt.server}
    log.info("build {build}.{epoch} of {project} is given to {name}", **words)


def _say_ended(attempt: Attempt) -> None:
    end = attempt.end.value if attempt.end is not None else "over"
    why = f": {attempt.reason}" if attempt.reason else ""
    words = {"build": attempt.build_id, "epoch": attempt.epoch, "name": attempt.server, "end": end, "why": why}
    log.info("build {build}.{epoch} on {name}: {end}{why}", **words)


def check_bounded(capability: Capability) -> None:
    """Raise UsageError for a capability that is longer than any machine's, or has a value that nobody can read."""
    offers, skills = capability.offers, capability.skills
    counts = [("properties of its machine", len(capability.machine)), ("projects", len(skills))]
    counts += [("properties of a platform", max((len(offer.platform) for offer in offers), default=0))]
    counts += [("tools of an offer", max((len(offer.tools) for offer in offers), default=0))]
    values = [value for offer in offers for _, value in (*offer.platform, *offer.tools)]
    for value in (*values, *(value for _, value in capability.machine)):
        words = value if isinstance(value, tuple) else (value,)
        counts.append(("members of one property", len(words) if isinstance(value, tuple) else 1))
        if any(len(str(word)) > WORD_LIMIT for word in words):
            raise UsageError(f"a property of a build server has at most {WORD_LIMIT} characters")
    for what, count in counts:
        if count > ANNOUNCED_MOST:
            raise UsageError(f"a build server announces at most {ANNOUNCED_MOST} {what}, not {count}")
    size = size_of(encode(capability))
    if size > CAPABILITY_LIMIT:
        raise UsageError(f"a build server announces at most {CAPABILITY_LIMIT} bytes, not {size}")


def _useful(name: str, capability: Capability) -> Capability:
    """Return a capability with no more offers of one os, arch and libc than are held against a build."""
    kept = {id(offer) for offers in by_mark(capability.offers).values() for offer in by_rank(offers)[:OFFERS_A_MARK]}
    left = len(capability.offers) - len(kept)
    if not left:
        return capability
    words = {"name": name, "count": left, "most": OFFERS_A_MARK}
    log.warn("{name} offers more than {most} platforms of one os, arch and libc: {count} are not used", **words)
    return evolve(capability, offers=tuple(offer for offer in capability.offers if id(offer) in kept))


def check_held(held: tuple[Held, ...]) -> None:
    """Raise UsageError for more Attempts than a build server can have, or one that is named twice."""
    if len(held) > _MOST_HELD or len({one.key for one in held}) < len(held):
        raise UsageError(f"a build server has at most {_MOST_HELD} attempts, each once")


def make_order(attempt: Attempt, build: Build, tickets: TicketOffice, teller: Teller) -> Order:
    """Return what a build server is told to build. Raises UnknownProject when it is no longer configured."""
    spec = build.spec
    both = tickets.both(spec, build.id, attempt.epoch)
    return Order(
        build_id=build.id,
        epoch=attempt.epoch,
        project=spec.project,
        source=spec.source,
        revision=spec.revision,
        recipe_version=spec.recipe_version,
        options=spec.options,
        platform=attempt.platform,
        kind=attempt.kind,
        log_ticket=both.log_ticket,
        artifact_ticket=both.artifact_ticket,
        log_url=teller.addresses.log(build.id, attempt.epoch),
    )


def _ok(answer: Answer) -> Ok:
    return Ok(stale=isinstance(answer, Noted) and answer.stale)
