"""What the broker's decisions ask for is done: orders, aborts, mail, and news for whoever follows a Request."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.errors import BuildToolError, StorageUnavailable
from buildtool.metaserver.request_status import RequestStatusReader
from buildtool.metaserver.ticket_office import TicketOffice
from buildtool.model.records import Attempt, AttemptEnd, Build, RequestState
from buildtool.ports.metaserver import ArtifactFiles, BuildServers, Followers, LogFiles, Notifier
from buildtool.protocol.messages import AbortOrder, Order
from buildtool.scheduling.effects import Abort, Dispatch, Effect, Fence, MailWritten, NoticesWritten, RequestMoved

log = Logger()

TELL_AGAIN = 5.0
"""Seconds before a requester who waits is told again of an end that could not be read."""


@define
class EffectPerformer:
    """The ``broker.Performer``: sends orders, wakes what tells others, sends followers news, cleans up."""

    servers: BuildServers
    followers: Followers
    notifier: Notifier
    logs: LogFiles
    artifacts: ArtifactFiles
    status_reader: RequestStatusReader
    tickets: TicketOffice
    timers: IReactorTime
    _running: set[Deferred[None]] = field(factory=set, init=False)
    _pauses: set[Deferred[None]] = field(factory=set, init=False)

    def perform(self, effect: Effect) -> None:
        """Start what an effect asks for; effects come in the order of the decisions."""
        match effect:
            case Dispatch():
                _log_given(effect.attempt, effect.build)
                self.servers.dispatch(
                    effect.attempt.server, effect.attempt.session, self._order(effect.attempt, effect.build)
                )
            case Abort():
                order = AbortOrder(effect.build_id, effect.epoch, effect.reason)
                self.servers.abort(effect.server, effect.session, order)
            case Fence():
                self.servers.fence(effect.server, effect.session)
            case MailWritten():
                self.notifier.nudge()
            case NoticesWritten():
                self.notifier.nudge(effect.targets)
            case RequestMoved():
                if self.followers.follows(effect.request.id):
                    self._background(self._tell(effect), f"telling followers of request {effect.request.id}")

    def attempt_ended(self, attempt: Attempt) -> None:
        """Write the end of an Attempt to the log, compress its own, and delete what it uploaded in vain."""
        _log_ended(attempt)
        self.finish_log(attempt.build_id, attempt.epoch)
        if attempt.end is not AttemptEnd.SUCCEEDED:
            what = f"discarding what build {attempt.build_id}, epoch {attempt.epoch}, uploaded"
            self._background(self.artifacts.discard(attempt.build_id, attempt.epoch), what)

    def finish_log(self, build_id: int, epoch: int) -> None:
        """Compress the log of an Attempt that has ended; one that is finished already stays as it is."""
        what = f"finishing the log of build {build_id}, epoch {epoch}"
        self._background(self.logs.finish(build_id, epoch), what)

    async def settle(self) -> None:
        """Wait until what runs in the background has ended; nothing is tried again any more."""
        for pause in list(self._pauses):
            pause.cancel()
        await DeferredList(list(self._running))

    async def _tell(self, effect: RequestMoved) -> None:
        """Send followers how a Request stands; retry the final status until its rows can be read.

        Raises StorageUnavailable for any other status.
        """
        while self.followers.follows(effect.request.id):
            try:
                status = await self.status_reader.read(effect.request)
            except StorageUnavailable as error:
                if effect.request.state is RequestState.WAITING:
                    raise
                log.warn("the end of request {request} is told later: {why}", request=effect.request.id, why=error)
                pause: Deferred[None] = deferLater(self.timers, TELL_AGAIN)
                self._pauses.add(pause)
                try:
                    await pause
                finally:
                    self._pauses.discard(pause)
            else:
                self.followers.moved(status)
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

    def _order(self, attempt: Attempt, build: Build) -> Order:
        """Return what a build server is told to build. Raises UnknownProject when it is no longer configured."""
        spec = build.spec
        tickets = self.tickets.both(spec, build.id, attempt.epoch)
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
            log_ticket=tickets.log_ticket,
            artifact_ticket=tickets.artifact_ticket,
            log_url=self.status_reader.addresses.log(build.id, attempt.epoch),
            request=build.place,
            sandbox=spec.policy.sandbox,
        )


def _log_given(attempt: Attempt, build: Build) -> None:
    words = {"build": build.id, "epoch": attempt.epoch, "project": build.spec.project, "name": attempt.server}
    strange = build.spec.policy.source.words
    of = f", {strange}," if strange else ""
    log.info("build {build}.{epoch} of {project}{of} is given to {name}", request=build.place, of=of, **words)


def _log_ended(attempt: Attempt) -> None:
    end = attempt.end.value if attempt.end is not None else "over"
    why = f": {attempt.reason}" if attempt.reason else ""
    words = {"build": attempt.build_id, "epoch": attempt.epoch, "name": attempt.server, "end": end, "why": why}
    log.info("build {build}.{epoch} on {name}: {end}{why}", **words)
