"""What a build server has finished: on disk first, offered until the metaserver has taken it, then forgotten.

Being offered is the rest of the log, the artifact's bytes, and the message that says how the Attempt ended. Whatever of
that does not get through now is tried again, for as long as it takes: only the metaserver's own word ends it, that it
has taken the end, that it never will, or that nobody wants it any more.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.attempt import Finished, Passes, brief
from buildtool.buildlog import PATIENCE, LogPipe
from buildtool.domain.model import AttemptEnd, Held, HeldState, Judged, Verdict
from buildtool.errors import (
    BadTicket,
    BadUpload,
    BuildToolError,
    MachineFault,
    StorageUnavailable,
    TooLong,
    Unavailable,
)
from buildtool.ports import MetaserverLink, Spooled, SpoolFiles, Uploads
from buildtool.protocol import Done, Ended, Welcome

UPLOADS = 4
"""Most artifacts that are on their way at once."""

WRONG = 5
"""How often an artifact may be refused as wrong before the machine counts as broken: its disk, memory or network."""

_RETRY_FIRST, _RETRY_MOST = 0.5, 15.0

Key = tuple[int, int]
"""Build and epoch."""

T = TypeVar("T")


@frozen
class Room:
    """How much may wait here for the metaserver before no more orders are taken: ends, and bytes of artifacts."""

    ends: int = 64
    size: int = 20 * 1024**3


class _Otherwise(Exception):
    """The artifact will never be taken: the Attempt ends in another way."""

    def __init__(self, end: AttemptEnd, reason: str) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = brief(reason)


@define(eq=False)
class Parcel:
    """One end on its way. ``log`` and ``passes`` are not there any more when the program was started anew.

    ``step`` is what is being waited for, as far as it may be broken off; ``nap`` the pause before the next try.
    """

    kept: Spooled
    passes: Passes
    log: LogPipe | None = None
    patience: float = PATIENCE
    taken: bool = False
    aborted: str = ""
    said: str = ""
    delay: float = _RETRY_FIRST
    wrong: int = 0
    step: Deferred[Any] | None = None
    nap: Deferred[None] | None = None

    @property
    def key(self) -> Key:
        return (self.kept.end.build_id, self.kept.end.epoch)

    def may_still(self, error: BuildToolError) -> bool:
        """Say whether an artifact that was refused in this way is to be sent once more."""
        self.wrong += 1
        return self.wrong < WRONG and isinstance(error, BadUpload | BadTicket)

    def interrupt(self) -> None:
        """What is to become of it has changed: whatever it waits for, it looks again."""
        if self.step is not None:
            self.step.cancel()

    def wake(self) -> None:
        """Try again at once."""
        self.delay = _RETRY_FIRST
        self.rise()

    def rise(self) -> None:
        """The pause is over."""
        if self.nap is not None:
            nap, self.nap = self.nap, None
            nap.callback(None)


class Deliveries:
    """Everything that is finished here and not yet taken by the metaserver. Call it in the reactor's thread."""

    _log = Logger()

    def __init__(
        self,
        spool: SpoolFiles,
        link: MetaserverLink,
        uploads: Uploads,
        clock: IReactorTime,
        room: Room | None = None,
    ) -> None:
        self._spool = spool
        self._link = link
        self._uploads = uploads
        self._clock = clock
        self._room = room or Room()
        self._parcels: dict[Key, Parcel] = {}
        self._welcome: Welcome | None = None
        self._stopped = False
        self._sending = DeferredSemaphore(UPLOADS)
        self._arrivals: list[Deferred[None]] = []
        self._settled: list[Deferred[None]] = []

    def __contains__(self, key: Key) -> bool:
        """Say whether the end of an Attempt is here."""
        return key in self._parcels

    def held(self) -> tuple[Held, ...]:
        """Return every Attempt whose end waits here."""
        return tuple(
            Held(*key, HeldState.DONE if isinstance(parcel.kept.end, Done) else HeldState.ENDED)
            for key, parcel in self._parcels.items()
            if not parcel.taken
        )

    @property
    def full(self) -> str:
        """Why nothing more should be begun here now, or an empty string."""
        ends = [parcel.kept.end for parcel in self._parcels.values()]
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
            passes = Passes(kept.end.build_id, kept.end.epoch, self._link.renew, None)
            self.offer(Parcel(kept, passes))

    async def keep(self, finished: Finished) -> Parcel:
        """Return what can be offered, once it is on disk. Raises nothing: what the disk refuses is the machine's."""
        end = finished.end
        try:
            kept = await self._spool.keep(end, finished.artifact)
        except MachineFault as error:
            self._log.error("the end of build {build} is not kept on disk: {why}", build=end.build_id, why=str(error))
            kept = Spooled(_instead(end, AttemptEnd.BROKEN, f"the artifact cannot be kept: {error}"))
        return Parcel(kept, finished.passes, finished.log, finished.patience)

    def offer(self, parcel: Parcel) -> None:
        """Begin to offer an end, which goes on until it is taken."""
        self._parcels[parcel.key] = parcel
        seen = Deferred.fromCoroutine(self._see_off(parcel))
        seen.addErrback(lambda failure: self._log.failure("a defect while delivering {key}", failure, key=parcel.key))

    # --- what the metaserver says -----------------------------------------------------------------------

    def connected(self, welcome: Welcome) -> None:
        """A Session is open: everything is offered."""
        self._welcome = welcome
        arrivals, self._arrivals = self._arrivals, []
        for waiter in arrivals:
            waiter.callback(None)
        for parcel in list(self._parcels.values()):
            parcel.wake()

    def disconnected(self) -> None:
        """The Session is over: what is offered waits for the next one."""
        self._welcome = None

    def judged(self, judged: Judged) -> None:
        """Hear what is to become of an end that is here."""
        parcel = self._parcels.get((judged.build_id, judged.epoch))
        if parcel is None:
            return
        if judged.verdict is Verdict.DROP:
            words = {"build": judged.build_id, "epoch": judged.epoch, "why": judged.reason}
            self._log.info("the end of build {build}.{epoch} is dropped: {why}", **words)
            parcel.taken = True
            parcel.interrupt()
        # Each heartbeat says so again: the pauses between tries that fail go on growing.
        parcel.rise()

    def abort(self, key: Key, reason: str) -> bool:
        """An artifact is not wanted any more: say so in its place. Return whether there is an end of that Attempt."""
        parcel = self._parcels.get(key)
        if parcel is not None:
            parcel.aborted = reason
            parcel.interrupt()
        return parcel is not None

    # --- the program's end ------------------------------------------------------------------------------

    def settled(self) -> Deferred[None]:
        """Return a Deferred that fires when nothing waits here any more; it may be cancelled."""
        waiter: Deferred[None] = Deferred()
        if self._parcels:
            self._settled.append(waiter)
        else:
            waiter.callback(None)
        return waiter

    def stop(self) -> None:
        """Offer nothing more; what was not taken stays on disk."""
        self._stopped = True
        for parcel in list(self._parcels.values()):
            parcel.interrupt()

    # --- one of them ------------------------------------------------------------------------------------

    async def _see_off(self, parcel: Parcel) -> None:
        try:
            while not (parcel.taken or self._stopped):
                await self._try(parcel)
        finally:
            if parcel.log is not None:
                parcel.log.abandon()
        if parcel.taken:
            await self._forget(parcel)

    async def _try(self, parcel: Parcel) -> None:
        """Try once to have it taken; then wait before the next try."""
        if parcel.aborted and isinstance(parcel.kept.end, Done):
            await self._end_otherwise(parcel, AttemptEnd.ABORTED, parcel.aborted)
        if self._welcome is None:
            self._say_why(parcel, "there is no connection to the metaserver")
        try:
            welcome = await self._breakable(parcel, self._session())
            await self._breakable(parcel, self._send_log(parcel, welcome))
            await self._breakable(parcel, self._send_artifact(parcel, welcome))
            await self._tell(parcel)
        except _Otherwise as otherwise:
            await self._end_otherwise(parcel, otherwise.end, otherwise.reason)
        except (Unavailable, StorageUnavailable, BadUpload, BadTicket) as error:
            await self._put_off(parcel, str(error))
        except Exception as error:  # noqa: BLE001 - a defect must not end it: people wait for this build
            if isinstance(error, CancelledError) and (parcel.taken or parcel.aborted or self._stopped):
                return
            self._log.failure("a defect while delivering {key}", key=parcel.key)
            await self._put_off(parcel, f"a defect: {type(error).__name__}: {error}")

    async def _put_off(self, parcel: Parcel, why: str) -> None:
        self._say_why(parcel, why)
        delay, parcel.delay = parcel.delay, min(2 * parcel.delay, _RETRY_MOST)
        await self._pause(parcel, delay)

    def _say_why(self, parcel: Parcel, why: str) -> None:
        """Log why something is not delivered yet, once for each reason: it may be so for a day."""
        if why != parcel.said:
            parcel.said = why
            words = {"build": parcel.key[0], "epoch": parcel.key[1], "why": why}
            self._log.info("build {build}.{epoch} is not delivered yet: {why}", **words)

    async def _session(self) -> Welcome:
        while self._welcome is None:
            arrival: Deferred[None] = Deferred()
            self._arrivals.append(arrival)
            await arrival
        return self._welcome

    async def _send_log(self, parcel: Parcel, welcome: Welcome) -> None:
        """Send the rest of the log; one that the metaserver does not take delays the end, but does not prevent it."""
        log = parcel.log
        if log is None:
            return
        arrived = await log.flush(parcel.patience)
        if not (arrived or log.over) and self._welcome is not welcome:
            raise Unavailable("the connection was lost while the log was sent")
        log.abandon()
        parcel.log = None

    async def _send_artifact(self, parcel: Parcel, welcome: Welcome) -> None:
        """Upload the artifact. One that is there already costs a question: whether it still is only they know."""
        end, path = parcel.kept.end, parcel.kept.artifact
        if not isinstance(end, Done) or path is None:
            return
        url, send = f"{welcome.transfer_url}/uploads/{end.build_id}/{end.epoch}", self._uploads.upload
        await self._sending.acquire()
        try:
            await parcel.passes.using(lambda own: send(url, own.artifact_ticket, str(path), end.digest, end.size))
        except TooLong as error:
            raise _Otherwise(AttemptEnd.FAILED, f"the artifact is longer than the metaserver takes: {error}") from error
        except (Unavailable, StorageUnavailable):
            raise
        except BuildToolError as error:
            if parcel.may_still(error):
                raise
            raise _Otherwise(AttemptEnd.BROKEN, f"the artifact cannot be uploaded: {error}") from error
        finally:
            self._sending.release()

    async def _tell(self, parcel: Parcel) -> None:
        """Say how it ended. This is not broken off: whether it was heard would not be known."""
        end = parcel.kept.end
        try:
            answer = await (self._link.done(end) if isinstance(end, Done) else self._link.ended(end))
        except (Unavailable, StorageUnavailable):
            raise
        except BuildToolError as error:
            if isinstance(end, Done) and parcel.may_still(error):
                raise  # the file is to be sent once more
            self._log.warn("the end of build {build} is not taken: {why}", build=end.build_id, why=str(error))
            if isinstance(end, Done):
                raise _Otherwise(AttemptEnd.BROKEN, f"the artifact was not taken: {error}") from error
        else:
            if answer.stale:
                self._log.info("the end of build {build}.{epoch} came too late", build=end.build_id, epoch=end.epoch)
            elif parcel.said:
                self._log.info("build {build}.{epoch} is delivered now", build=end.build_id, epoch=end.epoch)
        parcel.taken = True

    async def _end_otherwise(self, parcel: Parcel, end: AttemptEnd, reason: str) -> None:
        """Replace an artifact by the reason why there is none."""
        instead = _instead(parcel.kept.end, end, reason)
        self._log.warn("build {build}: {why}", build=instead.build_id, why=reason)
        try:
            parcel.kept = await self._spool.keep(instead)
        except MachineFault as error:
            self._log.error("the end of build {build} is not kept: {why}", build=instead.build_id, why=str(error))
            parcel.kept = Spooled(instead)

    async def _forget(self, parcel: Parcel) -> None:
        try:
            await self._spool.drop(*parcel.key)
        except MachineFault as error:
            self._log.warn("what was delivered is not deleted: {why}", why=str(error))
        del self._parcels[parcel.key]
        if not self._parcels:
            settled, self._settled = self._settled, []
            for waiter in settled:
                waiter.callback(None)

    # --- waiting ----------------------------------------------------------------------------------------

    async def _breakable(self, parcel: Parcel, step: Coroutine[Any, Any, T]) -> T:
        """Do something that ``interrupt`` may break off in the middle. Raises CancelledError then."""
        if parcel.taken or self._stopped:
            step.close()
            raise CancelledError
        parcel.step = Deferred.fromCoroutine(step)
        try:
            result: T = await parcel.step
        finally:
            parcel.step = None
        return result

    async def _pause(self, parcel: Parcel, seconds: float) -> None:
        async def pause() -> None:
            nap: Deferred[None] = Deferred()
            parcel.nap = nap
            timer = self._clock.callLater(seconds, parcel.rise)
            try:
                await nap
            finally:
                parcel.nap = None
                if timer.active():
                    timer.cancel()

        try:
            await self._breakable(parcel, pause())
        except CancelledError:
            return  # the next round looks what has happened


def _instead(end: Done | Ended, how: AttemptEnd, reason: str) -> Ended:
    """Return the end that stands in place of an artifact; another end stays what it is."""
    if isinstance(end, Ended):
        return end
    return Ended(end.build_id, end.epoch, how, brief(reason), end.log_tail)
