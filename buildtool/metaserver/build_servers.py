"""What build servers tell and ask: checked, and passed to the broker as events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256

import attrs
from attrs import define, evolve, field
from twisted.logger import Logger

from buildtool import errors
from buildtool.concurrency.rates import FairShares, RateBudget
from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.problems import LoginHistory
from buildtool.metaserver.ticket_office import TicketOffice
from buildtool.model.access.rights import platform_names
from buildtool.model.matching.fitting import by_mark, by_rank
from buildtool.model.names import ARTIFACT_NAME_WORDS, SERVER_NAME_WORDS, is_artifact_name, is_digest, is_server_name
from buildtool.model.principal import Principal, Scope
from buildtool.model.properties import may_be_named
from buildtool.model.records import Attempt, AttemptEnd, AttemptState
from buildtool.model.servers import Capability, Held, OwnerNotice, Server, Verdict
from buildtool.model.text import duration_words, one_line
from buildtool.ports.metaserver import ArtifactFiles, BuildServers, ConnectionEnded, Handlers
from buildtool.protocol import messages
from buildtool.protocol.codec import encode, size_of
from buildtool.scheduling import events
from buildtool.scheduling.answers import Acknowledged, HeldVerdicts, NameHeld, NameLimitReached, SessionOpened

log = Logger()

_MOST_BUILDS = 256
_MOST_OFFERS = 64
_MOST_HELD = 512
_MOST_SECONDS = 366 * 86_400.0
_MOST_PROCESSOR = 4_096 * _MOST_SECONDS

CAPABILITY_LIMIT = 64 * 1024
"""Most bytes, as the wire counts them, of what a build server announces: it stays in memory and on the pages."""

WORD_LIMIT = 400
"""Most characters of one property's value: reasons for waiting quote it."""

ANNOUNCED_MOST = 500
"""Most members of each kind in what a build server announces: they are looked through when builds are given out."""

OFFERS_A_MARK = 8
"""Of one os, arch and libc so many offers of a build server are used, the native ones first: they differ in versions,
and each is compared with what every build needs."""

INSTANCE_LIMIT = 200
"""Most characters of what names a build directory."""

CLOSED_LIMIT = 200
"""Most characters of why a build server takes nothing now."""

OWNER_CHANGES = RateBudget(20, 1 / 5)
"""How often the owner of one build server may change what they wish, or have builds stand still or go on: at once, and
each second after that. A shorter presence than that is told late."""

AWAY_MOST = 16
LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, in seconds of wall time."""

ASKED = 3.0
"""Seconds of silence after which an earlier Session of the very same machine is over."""


async def _unheard(_build_id: int, _epoch: int, _reason: str) -> None:
    """Ignore that an artifact cannot be kept."""


@define
class BuildServerService:
    """A service for build servers, over a broker. Every method raises BuildToolError for what cannot be taken in."""

    configuration: CurrentConfiguration
    broker: Broker
    artifacts: ArtifactFiles
    tickets: TicketOffice
    servers: BuildServers
    unkept: Callable[[int, int, str], Awaitable[object]] = _unheard
    _logins: LoginHistory = field(factory=LoginHistory, init=False)
    _changes: FairShares = field(factory=lambda: FairShares(OWNER_CHANGES), init=False)

    @property
    def handlers(self) -> Handlers:
        """What build servers may tell and ask."""
        return {
            messages.Register: self.register,
            ConnectionEnded: self.disconnected,
            messages.Accepted: self.accepted,
            messages.Ended: self.ended,
            messages.Done: self.done,
            messages.Heartbeat: self.heartbeat,
            messages.Draining: self.draining,
            messages.RenewTickets: self.renew,
        }

    async def register(self, by: Principal, message: messages.Register) -> messages.Welcome:
        """Open a new Session. Raises UsageError for a name or capability that cannot be, NameTaken, Overloaded."""
        if not is_server_name(message.server):
            raise errors.UsageError(f"build server name {message.server!r} is not usable: {SERVER_NAME_WORDS}")
        capability = message.capability
        if not 1 <= capability.max_builds <= _MOST_BUILDS or len(capability.offers) > _MOST_OFFERS:
            raise errors.UsageError(
                f"a build server takes 1 to {_MOST_BUILDS} builds and offers at most {_MOST_OFFERS} platforms"
            )
        check_bounded(capability)
        check_held(message.held)
        if len(message.instance) > INSTANCE_LIMIT:
            raise errors.UsageError(f"the instance of a build server has at most {INSTANCE_LIMIT} characters")
        capability = _useful(message.server, _within(by.limits, capability))
        instance = sha256(message.instance.encode()).hexdigest() if message.instance else ""
        login = events.Registered(
            message.server,
            capability,
            message.held,
            instance,
            by.address,
            owner=by.owner,
            notice=checked_notice(message.notice),
        )
        answer = await self._open(login)
        self._logins.opened(message.server, self.broker.timers.seconds())
        on = sum(one.verdict is not Verdict.DROP for one in answer.verdicts)
        with_what = f"; builds that it has: {len(message.held)}, that go on: {on}" if message.held else ""
        words = {"name": message.server, "session": answer.session, "with_what": with_what}
        log.info("build server {name} connected, session {session}{with_what}", **words)
        projects = self.configuration.settings.projects
        return messages.Welcome(
            session=answer.session,
            transfer_url=self.configuration.settings.transfer_url,
            artifact_limit=max((project.artifact_limit for project in projects), default=0),
            log_limit=max((project.log_limit for project in projects), default=0),
            lease=self.broker.state.leases.term,
            verdicts=answer.verdicts,
        )

    async def _open(self, event: events.Registered) -> SessionOpened:
        """Open a Session, once whoever has the name was asked and is not there. Raises NameTaken, Overloaded."""
        answer = await self.broker.send(event)
        if isinstance(answer, NameHeld) and answer.session:
            silent = await self.servers.silence(event.server, answer.session)
            # Another machine waits for longer: one that is only slow for a moment must not lose its name to it.
            if silent >= (ASKED if answer.kin else self.broker.state.leases.term / 2):
                answer = await self.broker.send(evolve(event, silent=answer.session))
        match answer:
            case SessionOpened():
                return answer
            case NameHeld():
                raise self._taken(event, answer)
            case NameLimitReached():
                raise errors.Overloaded(
                    f"{answer.known} build servers are known and connected or in use, which is the most: try again "
                    "later, or have the operator forget some (bin/metaserver forget SERVER)"
                )
            case _:
                raise errors.InternalError("the metaserver answered a login with something else")

    def _taken(self, event: events.Registered, held: NameHeld) -> errors.NameTaken:
        now, wall = self.broker.timers.seconds(), self.broker.clock.wall()
        if self._logins.refused(event.server, now):
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
            return errors.NameTaken(
                f"another machine is build server {event.server}: it has been connected from {where} for {since}; {own}"
            )
        left = duration_words(max(0.0, held.until - wall))
        return errors.NameTaken(
            f"another machine is build server {event.server}: it was lost {since} ago at {where}, and may come back "
            f"within {left}; wait until then, or {own}"
        )

    def problems(self) -> tuple[str, ...]:
        """Return which names two machines share, and which do not stay, one line each."""
        return self._logins.problems(self.broker.timers.seconds())

    async def disconnected(self, by: Principal, message: ConnectionEnded) -> messages.Ok:
        """Record that the connection of a Session ended. Raises StorageUnavailable."""
        log.info("build server {name} left: {reason}", name=by.name, reason=message.reason)
        return await self._record(events.Disconnected, by, message)

    async def accepted(self, by: Principal, message: messages.Accepted) -> messages.Ok:
        """Record that a build server took an Attempt. Raises StorageUnavailable."""
        return await self._record(events.AttemptAccepted, by, message)

    async def ended(self, by: Principal, message: messages.Ended) -> messages.Ok:
        """Record that an Attempt ended without an artifact. Raises UsageError when it claims success without one."""
        if message.end is AttemptEnd.SUCCEEDED:
            raise errors.UsageError("an attempt that succeeded is told with its artifact")
        _check_processor(message.processor)
        build = self.broker.state.builds.get(message.build_id)
        ok = await self._record(events.AttemptEnded, by, message)
        if message.end is AttemptEnd.REFUSED and build is not None and not ok.stale:
            words = {"build": build.id, "epoch": message.epoch, "project": build.spec.project, "name": by.name}
            log.info("build {build}.{epoch} of {project} declined by {name}: {why}", why=message.reason, **words)
        return ok

    async def done(self, by: Principal, message: messages.Done) -> messages.Ok:
        """Publish an Attempt's artifact. Raises UsageError, BadUpload, UnsafeArchive, StorageUnavailable."""
        if not is_artifact_name(message.name):
            raise errors.UsageError(f"artifact name {message.name!r} is not usable: {ARTIFACT_NAME_WORDS}")
        if not (is_digest(message.digest) and is_digest(message.content_digest)) or message.size < 0:
            raise errors.UsageError("an artifact comes with its size and two SHA-256 digests in hex")
        if not 0 <= message.seconds <= _MOST_SECONDS:
            raise errors.UsageError(
                f"no build takes {message.seconds:g} seconds: what it took is from 0 to {_MOST_SECONDS:g}"
            )
        _check_processor(message.processor)
        if not all(may_be_named(value) for _, value in message.need):
            raise errors.UsageError("what an artifact needs is told in numbers and short words")
        attempt = self._current(by, message.build_id, message.epoch)
        if attempt is None or attempt.state is not AttemptState.ABORTING:
            if attempt is None:
                return messages.Ok(stale=True)
            await self._publish(by, message)
        if attempt is not None:  # others wait by what earlier builds took: no longer than was seen
            seen = max(0.0, self.broker.believed() - attempt.offered_at)
            message = evolve(message, seconds=min(message.seconds, seen))
        return await self._record(events.Delivered, by, message)

    async def _publish(self, by: Principal, message: messages.Done) -> None:
        try:
            await self.artifacts.publish(message.build_id, message.epoch, message.digest, message.size)
        except errors.StorageUnavailable as error:
            await self.unkept(message.build_id, message.epoch, str(error))
            raise
        except errors.UnsafeArchive as error:
            await self._unsafe(by, message, str(error))
            raise

    async def _unsafe(self, by: Principal, message: messages.Done, why: str) -> None:
        """End an Attempt whose machine delivered what its own packing never makes; it does not say so itself."""
        words = {"build": message.build_id, "epoch": message.epoch, "name": by.name, "why": why}
        log.warn("build {build}.{epoch}: the artifact of {name} is refused: {why}", **words)
        key, reason = (message.build_id, message.epoch), f"{by.name} delivered an artifact that is refused: {why}"
        await self.broker.send(events.AttemptEnded(by.name, by.session, *key, AttemptEnd.BROKEN, reason))

    async def heartbeat(self, by: Principal, message: messages.Heartbeat) -> messages.HeartbeatAnswer:
        """Renew the Leases of what a build server has. Raises Fenced for a Session that is over."""
        check_held(message.held)
        known = self.broker.state.servers.get(by.name)
        held, notice = message.held, checked_notice(message.notice)
        if known is not None:
            held, notice = self._in_measure(known, held, notice)
        if known is not None and known.closed != notice.closed:
            words = f"takes nothing now: {notice.closed}" if notice.closed else "takes builds again"
            log.info("build server {name} {words}", name=by.name, words=words)
        answer = await self.broker.send(events.HeldReported(by.name, by.session, held, notice))
        if not isinstance(answer, HeldVerdicts) or answer.stale:
            raise errors.Fenced(f"session {by.session} of build server {by.name} is over: log in again")
        return messages.HeartbeatAnswer(answer.verdicts)

    def _in_measure(
        self, known: Server, held: tuple[Held, ...], notice: OwnerNotice
    ) -> tuple[tuple[Held, ...], OwnerNotice]:
        """Return what a heartbeat says of the owner, or what was known where that changes too often.

        Each change is committed, and told to everybody who follows what is built there. What is left out now is
        said again by the next heartbeat.
        """

        def frozen(one: Held) -> bool:
            attempt = self.broker.state.attempts.get(one.key)
            return attempt is not None and attempt.frozen_at is not None

        so_far = OwnerNotice(known.closed, known.closed_until, known.away)
        if notice == so_far and not any(one.frozen != frozen(one) for one in held):
            return held, notice
        now = self.broker.timers.seconds()
        if self._changes.has_room(known.name, now):
            self._changes.take(known.name, now)
            return held, notice
        return tuple(evolve(one, frozen=frozen(one)) for one in held), so_far

    async def draining(self, by: Principal, message: messages.Draining) -> messages.Ok:
        """Record that a build server takes nothing more in this Session. Raises StorageUnavailable."""
        known = self.broker.state.servers.get(by.name)
        if known is not None and not known.draining:
            log.info("build server {name} drains: {why}", name=by.name, why=message.reason)
        return await self._record(events.DrainBegun, by, message)

    async def renew(self, by: Principal, message: messages.RenewTickets) -> messages.Tickets:
        """Return fresh tickets for a running Attempt. Raises NotFound when it is no longer this Session's."""
        attempt = self._current(by, message.build_id, message.epoch)
        build = self.broker.state.builds.get(message.build_id)
        if attempt is None or build is None:
            raise errors.NotFound(f"epoch {message.epoch} of build {message.build_id} is no longer yours")
        both = self.tickets.both(build.spec, message.build_id, message.epoch)
        if not message.source:
            return both
        return evolve(both, source_ticket=self.tickets.source(build.spec, message.build_id, message.epoch))

    async def _record(
        self, event: Callable[..., events.Event], by: Principal, message: attrs.AttrsInstance
    ) -> messages.Ok:
        """Record what a build server tells: an event with the message's own fields. Raises StorageUnavailable."""
        answer = await self.broker.send(event(by.name, by.session, **attrs.asdict(message, recurse=False)))
        return messages.Ok(stale=isinstance(answer, Acknowledged) and answer.stale)

    def _current(self, by: Principal, build_id: int, epoch: int) -> Attempt | None:
        """Return an Attempt if it is of the Session that calls."""
        attempt = self.broker.state.attempts.get((build_id, epoch))
        if attempt is None or (attempt.server, attempt.session) != (by.name, by.session):
            return None
        return attempt


def _check_processor(seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds <= _MOST_PROCESSOR:
        raise errors.UsageError(
            f"no build uses {seconds:g} seconds of processors: that is from 0 to {_MOST_PROCESSOR:g}"
        )


def check_bounded(capability: Capability) -> None:
    """Raise UsageError for a capability that is longer than any machine's, or has a value that cannot be read."""
    offers, skills = capability.offers, capability.skills
    counts = [("properties of its machine", len(capability.machine)), ("projects", len(skills))]
    counts += [("properties of a platform", max((len(offer.platform) for offer in offers), default=0))]
    counts += [("tools of an offer", max((len(offer.tools) for offer in offers), default=0))]
    values = [value for offer in offers for _, value in (*offer.platform, *offer.tools, *offer.up_to)]
    for value in (*values, *(value for _, value in capability.machine)):
        words = value if isinstance(value, tuple) else (value,)
        counts.append(("members of one property", len(words) if isinstance(value, tuple) else 1))
        if any(len(str(word)) > WORD_LIMIT for word in words):
            raise errors.UsageError(f"a property of a build server has at most {WORD_LIMIT} characters")
    for what, count in counts:
        if count > ANNOUNCED_MOST:
            raise errors.UsageError(f"a build server announces at most {ANNOUNCED_MOST} {what}, not {count}")
    size = size_of(encode(capability))
    if size > CAPABILITY_LIMIT:
        raise errors.UsageError(f"a build server announces at most {CAPABILITY_LIMIT} bytes, not {size}")


def _within(scope: Scope, capability: Capability) -> Capability:
    """Return a capability without the projects and platforms that a key is not for."""
    skills = tuple(one for one in capability.skills if not scope.projects or one.project in scope.projects)
    offers = tuple(
        offer
        for offer in capability.offers
        if not scope.platforms or platform_names(offer.platform) & {*scope.platforms}
    )
    return evolve(capability, skills=skills, offers=offers)


def _useful(name: str, capability: Capability) -> Capability:
    """Return a capability with no more offers of one os, arch and libc than are held against a build."""
    kept = {id(offer) for offers in by_mark(capability.offers).values() for offer in by_rank(offers)[:OFFERS_A_MARK]}
    left = len(capability.offers) - len(kept)
    if not left:
        return capability
    words = {"name": name, "count": left, "most": OFFERS_A_MARK}
    log.warn("{name} offers more than {most} platforms of one os, arch and libc: {count} are not used", **words)
    return evolve(capability, offers=tuple(offer for offer in capability.offers if id(offer) in kept))


def checked_notice(notice: OwnerNotice) -> OwnerNotice:
    """Return what a machine's owner wishes, as it may be shown. Raises UsageError for what is longer or impossible."""
    moments = [notice.until, *(moment for span in notice.away for moment in span)]
    if len(notice.away) > AWAY_MOST or not all(0 <= moment <= LAST_MOMENT for moment in moments):
        raise errors.UsageError(
            f"a build server announces at most {AWAY_MOST} spans in which it is away, each in wall time that there is"
        )
    return evolve(notice, closed=one_line(notice.closed, CLOSED_LIMIT))


def check_held(held: tuple[Held, ...]) -> None:
    """Raise UsageError for more Attempts than a build server can have, or one that is named twice."""
    if len(held) > _MOST_HELD or len({one.key for one in held}) < len(held):
        raise errors.UsageError(f"a build server has at most {_MOST_HELD} attempts, each once")
