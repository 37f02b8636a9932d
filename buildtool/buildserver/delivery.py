"""What a build server has finished: on disk first, offered until the metaserver has taken it, then forgotten.

Being offered is the rest of the log, the artifact's bytes, and the message that says how the Attempt ended. Whatever of
that does not get through now is tried again, for as long as it takes: only the metaserver's own word ends it, that it
has taken the end, that it never will, or that nobody wants it any more.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.buildserver.attempt import Finished
from buildtool.buildserver.blame import brief
from buildtool.buildserver.log_upload import PATIENCE, LogPipe
from buildtool.buildserver.ticket_holder import TicketHolder
from buildtool.concurrency.backoff import Backoff, Tries
from buildtool.concurrency.signal import Signal
from buildtool.errors import (
    BadTicket,
    BadUpload,
    BuildToolError,
    MachineFault,
    StorageUnavailable,
    TooLong,
    Unavailable,
)
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldState, Judged, Verdict
from buildtool.ports.buildserver import MetaserverLink, Spooled, SpoolFiles, Uploads
from buildtool.protocol.messages import Done, Ended, Welcome

UPLOADS = 4
"""Most artifacts that are on their way at once."""

WRONG = 5
"""How often an artifact may be refused as wrong before the machine counts as broken: its disk, memory or network."""

_RETRY = Backoff(0.5, 15.0)

Key = tuple[int, int]
"""Build and epoch."""

T = TypeVar("T")


@frozen
class SpoolLimits:
    """The most that may wait here for the metaserver before orders are declined: ends, and bytes of artifacts."""

    ends: int = 64
    size: int = 20 * 1024**3


class _Otherwise(Exception):
    """The artifact will never be taken: the Attempt ends in another way."""

    def __init__(self, end: AttemptEnd, reason: str) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = brief(reason)


@define(eq=False)
class Delivery:
    """One end on its way. ``log`` and ``tickets`` are not there any more when the program was started anew.

    ``step`` is what is being waited for, as far as it may be broken off; ``nap`` the pause before the next try.
    """

    kept: Spooled
    tickets: TicketHolder
    log: LogPipe | None = None
    patience: float = PATIENCE
    taken: bool = False
    aborted: str = ""
    said: str = ""
    tries: Tries = field(factory=_RETRY.begin)
    wrong: int = 0
    step: Deferred[Any] | None = None
    nap: Signal = field(factory=Signal)

    @property
    def key(self) -> Key:
        return (self.kept.end.build_id, self.kept.end.epoch)

    def may_still(self, error: BuildToolError) -> bool:
        """Return whether an artifact that was refused in this way is to be sent once more."""
        self.wrong += 1
        return self.wrong < WRONG and isinstance(error, BadUpload | BadTicket)

    def interrupt(self) -> None:
        """Wake the delivery, whatever it waits for: what is to become of it has changed."""
        if self.step is not None:
            self.step.cancel()

    def wake(self) -> None:
        """Try again at once."""
        self.tries.reset()
        self.nap.notify()


class DeliveryQueue:
    """All that is finished here and not yet taken by the metaserver. Call it in the reactor's thread."""

    _log = Logger()

    def __init__(
        self,
        spool: SpoolFiles,
        link: MetaserverLink,
        uploads: Uploads,
        clock: IReactorTime,
        room: SpoolLimits | None = None,
    ) -> None:
        self._spool = spool
        self._link = link
        self._uploads = uploads
        self._clock = clock
        self._room = room or SpoolLimits()
        self._deliveries: dict[Key, Delivery] = {}
        self._welcome: Welcome | None = None
        self._stopped = False
        self._sending = DeferredSemaphore(UPLOADS)
        self._arrivals = Signal()
        self._settled = Signal()

    def __contains__(self, key: Key) -> bool:
        """Say whether the end of an Attempt is here."""
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
        entries = await self._spool.entries()
        if entries:
            self._log.info("finished builds of an earlier run that wait to be delivered: {count}", count=len(entries))
        for kept in entries:
            tickets = TicketHolder(kept.end.build_id, kept.end.epoch, self._link.renew, None)
            self.offer(Delivery(kept, tickets))

    async def keep(self, finished: Finished) -> Delivery:
        """Return what can be offered, once it is on disk. Raises nothing: what the disk refuses is the machine's."""
        end = finished.end
        try:
            kept = await self._spool.keep(end, finished.artifact)
        except MachineFault as error:
            self._log.error("the end of build {build} is not kept on disk: {why}", build=end.build_id, why=str(error))
            kept = Spooled(_instead(end, AttemptEnd.BROKEN, f"the artifact cannot be kept: {error}"))
        return Delivery(kept, finished.tickets, finished.log, finished.patience)

    def offer(self, delivery: Delivery) -> None:
        """Start to offer an end, which goes on until it is taken."""
        self._deliveries[delivery.key] = delivery
        seen = Deferred.fromCoroutine(self._see_off(delivery))
        seen.addErrback(lambda failure: self._log.failure("a defect while delivering {key}", failure, key=delivery.key))

    # --- what the metaserver says -----------------------------------------------------------------------

    def connected(self, welcome: Welcome) -> None:
        """Offer everything: a Session is open."""
        self._welcome = welcome
        self._arrivals.notify()
        for delivery in list(self._deliveries.values()):
            delivery.wake()

    def disconnected(self) -> None:
        """Stop offering until the next Session: this one is over."""
        self._welcome = None

    def judged(self, judged: Judged) -> None:
        """Take the metaserver's verdict on an end that is here."""
        delivery = self._deliveries.get((judged.build_id, judged.epoch))
        if delivery is None:
            return
        if judged.verdict is Verdict.DROP:
            words = {"build": judged.build_id, "epoch": judged.epoch, "why": judged.reason}
            self._log.info("the end of build {build}.{epoch} is dropped: {why}", **words)
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
        self._stopped = True
        for delivery in list(self._deliveries.values()):
            delivery.interrupt()

    # --- one of them ------------------------------------------------------------------------------------

    async def _see_off(self, delivery: Delivery) -> None:
        try:
            while not (delivery.taken or self._stopped):
                await self._try(delivery)
        finally:
            if delivery.log is not None:
                delivery.log.abandon()
        if delivery.taken:
            await self._forget(delivery)

    async def _try(self, delivery: Delivery) -> None:
        """Try once to have it taken; then wait before the next try."""
        if delivery.aborted and isinstance(delivery.kept.end, Done):
            await self._end_otherwise(delivery, AttemptEnd.ABORTED, delivery.aborted)
        if self._welcome is None:
            self._say_why(delivery, "there is no connection to the metaserver")
        try:
            welcome = await self._breakable(delivery, self._session())
            await self._breakable(delivery, self._send_log(delivery, welcome))
            await self._breakable(delivery, self._send_artifact(delivery, welcome))
            await self._tell(delivery)
        except _Otherwise as otherwise:
            await self._end_otherwise(delivery, otherwise.end, otherwise.reason)
        except (Unavailable, StorageUnavailable, BadUpload, BadTicket) as error:
            await self._put_off(delivery, str(error))
        except Exception as error:  # noqa: BLE001 - a defect must not end it: people wait for this build
            if isinstance(error, CancelledError) and (delivery.taken or delivery.aborted or self._stopped):
                return
            self._log.failure("a defect while delivering {key}", key=delivery.key)
            await self._put_off(delivery, f"a defect: {type(error).__name__}: {error}")

    async def _put_off(self, delivery: Delivery, why: str) -> None:
        self._say_why(delivery, why)
        try:
            await self._breakable(delivery, delivery.nap.wait_at_most(delivery.tries.next_delay(), self._clock))
        except CancelledError:
            return  # the next round looks what has happened

    def _say_why(self, delivery: Delivery, why: str) -> None:
        """Log why something is not delivered yet, once for each reason: it may be so for a day."""
        if why != delivery.said:
            delivery.said = why
            words = {"build": delivery.key[0], "epoch": delivery.key[1], "why": why}
            self._log.info("build {build}.{epoch} is not delivered yet: {why}", **words)

    async def _session(self) -> Welcome:
        while self._welcome is None:
            await self._arrivals.wait()
        return self._welcome

    async def _send_log(self, delivery: Delivery, welcome: Welcome) -> None:
        """Send the rest of the log; one that the metaserver does not take delays the end, but does not prevent it."""
        log = delivery.log
        if log is None:
            return
        arrived = await log.flush(delivery.patience)
        if not (arrived or log.over) and self._welcome is not welcome:
            raise Unavailable("the connection was lost while the log was sent")
        log.abandon()
        delivery.log = None

    async def _send_artifact(self, delivery: Delivery, welcome: Welcome) -> None:
        """Upload the artifact. One that is there already costs a question: whether it still is only they know."""
        end, path = delivery.kept.end, delivery.kept.artifact
        if not isinstance(end, Done) or path is None:
            return
        url, send = f"{welcome.transfer_url}/uploads/{end.build_id}/{end.epoch}", self._uploads.upload
        await self._sending.acquire()
        try:
            await delivery.tickets.using(lambda own: send(url, own.artifact_ticket, str(path), end.digest, end.size))
        except TooLong as error:
            raise _Otherwise(AttemptEnd.FAILED, f"the artifact is longer than the metaserver takes: {error}") from error
        except (Unavailable, StorageUnavailable):
            raise
        except BuildToolError as error:
            if delivery.may_still(error):
                raise
            raise _Otherwise(AttemptEnd.BROKEN, f"the artifact cannot be uploaded: {error}") from error
        finally:
            self._sending.release()

    async def _tell(self, delivery: Delivery) -> None:
        """Say how it ended. This is not broken off: whether it was heard would not be known."""
        end = delivery.kept.end
        try:
            answer = await (self._link.done(end) if isinstance(end, Done) else self._link.ended(end))
        except (Unavailable, StorageUnavailable):
            raise
        except BuildToolError as error:
            if isinstance(end, Done) and delivery.may_still(error):
                raise  # the file is to be sent once more
            self._log.warn("the end of build {build} is not taken: {why}", build=end.build_id, why=str(error))
            if isinstance(end, Done):
                raise _Otherwise(AttemptEnd.BROKEN, f"the artifact was not taken: {error}") from error
        else:
            if answer.stale:
                self._log.info("the end of build {build}.{epoch} came too late", build=end.build_id, epoch=end.epoch)
            elif delivery.said:
                self._log.info("build {build}.{epoch} is delivered now", build=end.build_id, epoch=end.epoch)
        delivery.taken = True

    async def _end_otherwise(self, delivery: Delivery, end: AttemptEnd, reason: str) -> None:
        """Replace an artifact by the reason why there is none."""
        instead = _instead(delivery.kept.end, end, reason)
        self._log.warn("build {build}: {why}", build=instead.build_id, why=reason)
        try:
            delivery.kept = await self._spool.keep(instead)
        except MachineFault as error:
            self._log.error("the end of build {build} is not kept: {why}", build=instead.build_id, why=str(error))
            delivery.kept = Spooled(instead)

    async def _forget(self, delivery: Delivery) -> None:
        try:
            await self._spool.drop(*delivery.key)
        except MachineFault as error:
            self._log.warn("what was delivered is not deleted: {why}", why=str(error))
        del self._deliveries[delivery.key]
        if not self._deliveries:
            self._settled.notify()

    # --- waiting ----------------------------------------------------------------------------------------

    async def _breakable(self, delivery: Delivery, step: Coroutine[Any, Any, T]) -> T:
        """Do something that ``interrupt`` may break off in the middle. Raises CancelledError then."""
        if delivery.taken or self._stopped:
            step.close()
            raise CancelledError
        delivery.step = Deferred.fromCoroutine(step)
        try:
            result: T = await delivery.step
        finally:
            delivery.step = None
        return result


def _instead(end: Done | Ended, how: AttemptEnd, reason: str) -> Ended:
    """Return the end that stands in place of an artifact; another end stays what it is."""
    if isinstance(end, Ended):
        return end
    return Ended(end.build_id, end.epoch, how, brief(reason), end.log_tail)
