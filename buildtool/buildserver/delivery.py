"""What a build server has finished: on disk first, offered until the metaserver has taken it, then forgotten.

Being offered is the rest of the log, the artifact's bytes, and the message that says how the Attempt ended. Whatever of
that does not get through now is tried again, for as long as it takes: only the metaserver's own word ends it, that it
has taken the end, that it never will, or that nobody wants it any more.

Tested by tests/buildserver/test_server.py.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool import errors
from buildtool.buildserver.attempt import FinishedBuild
from buildtool.buildserver.blame import Stopped, brief
from buildtool.buildserver.log_upload import PATIENCE, LogPipe
from buildtool.buildserver.ticket_holder import TicketHolder
from buildtool.concurrency.backoff import Backoff, Tries
from buildtool.concurrency.signal import Signal
from buildtool.model.guest.history import NOTHING, DoneWork
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldState, HeldVerdict, Verdict
from buildtool.ports.buildserver import MetaserverLink, Spooled, SpoolFiles, Uploads, WorkRecords
from buildtool.protocol.messages import Done, Ended, Ok, Welcome

UPLOADS = 4
"""Most artifacts that are on their way at once."""

WRONG = 5
"""How often an artifact may be refused as wrong before the machine counts as broken: its disk, memory or network."""

_RETRY = Backoff(0.5, 15.0)

Key = tuple[int, int]
"""Build and epoch."""

T = TypeVar("T")

log = Logger()


@frozen
class SpoolLimits:
    """The most that may wait here for the metaserver before orders are declined: ends, and bytes of artifacts."""

    ends: int = 64
    size: int = 20 * 1024**3


@define(eq=False)
class _Shared:
    """The things that all deliveries share: where ends are kept, whom they are told, and the Session, if any."""

    spool: SpoolFiles
    link: MetaserverLink
    uploads: Uploads
    clock: IReactorTime
    welcome: Welcome | None = None
    stopped: bool = False
    held: bool = False
    opened: Signal = field(factory=Signal)
    sending: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(UPLOADS))

    async def session(self) -> Welcome:
        """Wait for a Session and return what it began with."""
        while self.welcome is None:
            await self.opened.wait()
        return self.welcome

    async def released(self) -> None:
        """Wait while the owner lets nothing large be sent."""
        while self.held:
            await self.opened.wait()


@define(eq=False)
class Delivery:
    """One end on its way. ``log`` and ``tickets`` are not there any more when the program was started anew.

    Nor is ``project``. ``sent`` is how many bytes were sent for it. ``aborted`` says why its artifact is not wanted, or
    is empty; ``nap`` ends the pause before the next try.
    """

    kept: Spooled
    tickets: TicketHolder
    shared: _Shared
    log: LogPipe | None = None
    patience: float = PATIENCE
    project: str = ""
    sent: int = field(default=0, init=False)
    taken: bool = field(default=False, init=False)
    aborted: str = field(default="", init=False)
    nap: Signal = field(factory=Signal, init=False)
    _said: str = field(default="", init=False)
    _tries: Tries = field(factory=_RETRY.begin, init=False)
    _wrong: int = field(default=0, init=False)
    _step: Deferred[Any] | None = field(default=None, init=False)

    @property
    def key(self) -> Key:
        return (self.kept.end.build_id, self.kept.end.epoch)

    def interrupt(self) -> None:
        """Wake the delivery, whatever it waits for: what is to become of it has changed."""
        if self._step is not None:
            self._step.cancel()

    def wake(self) -> None:
        """Try again at once."""
        self._tries.reset()
        self.nap.notify()

    async def see_off(self) -> None:
        """Offer the end until it is taken, or nothing is to be offered any more."""
        try:
            while not (self.taken or self.shared.stopped):
                await self._try()
        finally:
            self._leave_log()

    def _leave_log(self) -> None:
        log, self.log = self.log, None
        if log is not None:
            log.abandon()
            self.sent += log.sent

    async def _try(self) -> None:
        """Try once to have it taken; then wait before the next try."""
        if self.aborted and isinstance(self.kept.end, Done):
            await self._end_otherwise(AttemptEnd.ABORTED, self.aborted)
        if self.shared.welcome is None:
            self._say_why("there is no connection to the metaserver")
        try:
            welcome = await self._breakable(self.shared.session())
            await self._breakable(self._send_log(welcome))
            await self._breakable(self._send_artifact(welcome))
            await self._tell()
        except Stopped as otherwise:
            await self._end_otherwise(otherwise.end, otherwise.reason)
        except (errors.Unavailable, errors.StorageUnavailable, errors.BadUpload, errors.BadTicket) as error:
            await self._put_off(str(error))
        except Exception as error:  # noqa: BLE001 - a defect must not end it: people wait for this build
            if isinstance(error, CancelledError) and (self.taken or self.aborted or self.shared.stopped):
                return
            log.failure("a defect while delivering {key}", key=self.key)
            await self._put_off(f"a defect: {type(error).__name__}: {error}")

    async def _put_off(self, why: str) -> None:
        self._say_why(why)
        try:
            await self._breakable(self.nap.wait_at_most(self._tries.next_delay(), self.shared.clock))
        except CancelledError:
            return  # the next round looks what has happened

    def _say_why(self, why: str) -> None:
        """Log why it is not delivered yet, once for each reason: it may be so for a day."""
        if why != self._said:
            self._said = why
            log.info("build {build}.{epoch} is not delivered yet: {why}", build=self.key[0], epoch=self.key[1], why=why)

    async def _send_log(self, welcome: Welcome) -> None:
        """Send the rest of the log; one that the metaserver does not take delays the end, but does not prevent it."""
        if self.log is None:
            return
        arrived = await self.log.flush(self.patience)
        if not (arrived or self.log.over) and self.shared.welcome is not welcome:
            raise errors.Unavailable("the connection was lost while the log was sent")
        self._leave_log()

    async def _send_artifact(self, welcome: Welcome) -> None:
        """Upload the artifact. If it is uploaded already this costs one question: only the metaserver knows."""
        end, path = self.kept.end, self.kept.artifact
        if not isinstance(end, Done) or path is None:
            return
        if self.shared.held:
            self._say_why("it is outside the hours in which it may use the network")
            await self.shared.released()
        url, send = f"{welcome.transfer_url}/uploads/{end.build_id}/{end.epoch}", self.shared.uploads.upload
        await self.shared.sending.acquire()
        try:
            await self.tickets.using(lambda own: send(url, own.artifact_ticket, str(path), end.digest, end.size))
            self.sent += end.size
        except errors.TooLong as error:
            raise Stopped(AttemptEnd.FAILED, f"the artifact is longer than the metaserver takes: {error}") from error
        except (errors.Unavailable, errors.StorageUnavailable):
            raise
        except errors.BuildToolError as error:
            if self._may_still(error):
                raise
            raise Stopped(AttemptEnd.BROKEN, f"the artifact cannot be uploaded: {error}") from error
        finally:
            self.shared.sending.release()

    async def _tell(self) -> None:
        """Report how the Attempt ended. This is not broken off: whether it was heard would not be known."""
        end, link = self.kept.end, self.shared.link
        try:
            answer = await link.tell(end, Ok)
        except (errors.Unavailable, errors.StorageUnavailable):
            raise
        except errors.BuildToolError as error:
            if isinstance(end, Done) and self._may_still(error):
                raise  # the file is to be sent once more
            log.warn("the end of build {build} is not taken: {why}", build=end.build_id, why=str(error))
            if isinstance(end, Done):
                raise Stopped(AttemptEnd.BROKEN, f"the artifact was not taken: {error}") from error
        else:
            if answer.stale:
                log.info("the end of build {build}.{epoch} came too late", build=end.build_id, epoch=end.epoch)
            elif self._said:
                log.info("build {build}.{epoch} is delivered now", build=end.build_id, epoch=end.epoch)
        self.taken = True

    def _may_still(self, error: errors.BuildToolError) -> bool:
        """Return whether an artifact that was refused in this way is to be sent once more."""
        self._wrong += 1
        return self._wrong < WRONG and isinstance(error, errors.BadUpload | errors.BadTicket)

    async def _end_otherwise(self, end: AttemptEnd, reason: str) -> None:
        """Replace an artifact by the reason why there is none."""
        instead = _instead(self.kept.end, end, reason)
        log.warn("build {build}: {why}", build=instead.build_id, why=instead.reason)
        try:
            self.kept = await self.shared.spool.keep(instead)
        except errors.MachineFault as error:
            log.error("the end of build {build} is not kept: {why}", build=instead.build_id, why=str(error))
            self.kept = Spooled(instead)

    async def _breakable(self, step: Coroutine[Any, Any, T]) -> T:
        """Do something that ``interrupt`` may break off in the middle. Raises CancelledError then."""
        if self.taken or self.shared.stopped:
            step.close()
            raise CancelledError
        self._step = Deferred.fromCoroutine(step)
        try:
            result: T = await self._step
        finally:
            self._step = None
        return result


class DeliveryQueue:
    """All that is finished here and not yet taken by the metaserver. Call it in the reactor's thread."""

    def __init__(
        self,
        spool: SpoolFiles,
        link: MetaserverLink,
        uploads: Uploads,
        clock: IReactorTime,
        room: SpoolLimits | None = None,
        records: WorkRecords | None = None,
    ) -> None:
        """``records`` is told what was done: when a build has ended, and once its bytes are sent."""
        self._shared = _Shared(spool, link, uploads, clock)
        self._room = room or SpoolLimits()
        self._records = records
        self._deliveries: dict[Key, Delivery] = {}
        self._settled = Signal()

    def __contains__(self, key: Key) -> bool:
        """Return whether the end of an Attempt is here."""
        return key in self._deliveries

    def held(self) -> tuple[Held, ...]:
        """Return every Attempt whose end waits here."""
        return tuple(
            Held(*key, HeldState.DONE if isinstance(delivery.kept.end, Done) else HeldState.ENDED)
            for key, delivery in self._deliveries.items()
            if not delivery.taken
        )

    @property
    def full(self) -> str:
        """Why nothing more should be begun here now, or an empty string."""
        ends = [delivery.kept.end for delivery in self._deliveries.values()]
        size = sum(end.size for end in ends if isinstance(end, Done))
        if len(ends) < self._room.ends and size < self._room.size:
            return ""
        much = f"{len(ends)} of {self._room.ends} finished builds, {size} of {self._room.size} bytes"
        return f"too much waits here until the metaserver takes it: {much}"

    # --- what comes in ----------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what an earlier run of this program could not deliver. Raises MachineFault."""
        entries = await self._shared.spool.entries()
        if entries:
            log.info("finished builds of an earlier run that wait to be delivered: {count}", count=len(entries))
        for kept in entries:
            tickets = TicketHolder(kept.end.build_id, kept.end.epoch, self._shared.link, None)
            self.offer(Delivery(kept, tickets, self._shared))

    async def keep(self, finished: FinishedBuild) -> Delivery:
        """Return what can be offered, once it is on disk. Raises nothing: what the disk refuses is the machine's."""
        end = finished.end
        self._record(finished.project, finished.work)
        try:
            kept = await self._shared.spool.keep(end, finished.artifact)
        except errors.MachineFault as error:
            log.error("the end of build {build} is not kept on disk: {why}", build=end.build_id, why=str(error))
            kept = Spooled(_instead(end, AttemptEnd.BROKEN, f"the artifact cannot be kept: {error}"))
        return Delivery(kept, finished.tickets, self._shared, finished.log, finished.patience, finished.project)

    def _record(self, project: str, work: DoneWork) -> None:
        if self._records is not None and work != NOTHING:
            self._records.add(project, work)

    def offer(self, delivery: Delivery) -> None:
        """Start to offer an end, which goes on until it is taken."""
        self._deliveries[delivery.key] = delivery
        seen = Deferred.fromCoroutine(self._see_off(delivery))
        seen.addErrback(lambda failure: log.failure("a defect while delivering {key}", failure, key=delivery.key))

    async def _see_off(self, delivery: Delivery) -> None:
        await delivery.see_off()
        self._record(delivery.project, DoneWork(up=delivery.sent))
        if not delivery.taken:
            return
        try:
            await self._shared.spool.drop(*delivery.key)
        except errors.MachineFault as error:
            log.warn("what was delivered is not deleted: {why}", why=str(error))
        del self._deliveries[delivery.key]
        if not self._deliveries:
            self._settled.notify()

    # --- what the metaserver says -----------------------------------------------------------------------

    def connected(self, welcome: Welcome) -> None:
        """Offer everything: a Session is open."""
        self._shared.welcome = welcome
        self._shared.opened.notify()
        for delivery in list(self._deliveries.values()):
            delivery.wake()

    def disconnected(self) -> None:
        """Stop offering until the next Session: this one is over."""
        self._shared.welcome = None

    def hold(self, *, held: bool) -> None:
        """Stop the sending of artifacts, but for those that are on their way, or start it again."""
        self._shared.held = held
        self._shared.opened.notify()

    def judged(self, judged: HeldVerdict) -> None:
        """Take the metaserver's verdict on an end that is here."""
        delivery = self._deliveries.get((judged.build_id, judged.epoch))
        if delivery is None:
            return
        if judged.verdict is Verdict.DROP:
            words = {"build": judged.build_id, "epoch": judged.epoch, "why": judged.reason}
            log.info("the end of build {build}.{epoch} is dropped: {why}", **words)
            delivery.taken = True
            delivery.interrupt()
        # Each heartbeat says so again: the pauses between tries that fail go on growing.
        delivery.nap.notify()

    def abort(self, key: Key, reason: str) -> bool:
        """Record in place of an artifact that it is not wanted. Return whether there is an end of that Attempt."""
        delivery = self._deliveries.get(key)
        if delivery is not None:
            delivery.aborted = reason
            delivery.interrupt()
        return delivery is not None

    # --- the program's end ------------------------------------------------------------------------------

    def settled(self) -> Deferred[None]:
        """Return a Deferred that fires when nothing waits here any more; it may be cancelled."""
        return self._settled.wait() if self._deliveries else succeed(None)

    def stop(self) -> None:
        """Offer nothing more; what was not taken stays on disk."""
        self._shared.stopped = True
        for delivery in list(self._deliveries.values()):
            delivery.interrupt()


def _instead(end: Done | Ended, how: AttemptEnd, reason: str) -> Ended:
    """Return the end that stands in place of an artifact; another end stays what it is."""
    if isinstance(end, Ended):
        return end
    return Ended(end.build_id, end.epoch, how, brief(reason), end.log_tail, end.processor)
