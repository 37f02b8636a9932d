"""The courier of one target: it tells what lies in the outbox for it, one notice after the other, at least once.

A notice is marked as told only after the target took it, so one that was taken right before a crash is told again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.signal import Signal
from buildtool.errors import BuildToolError, StorageUnavailable
from buildtool.model.notices.outcome import TellOutcome
from buildtool.ports.common import Clock
from buildtool.ports.notices import NoticeStore, OutgoingNotice, Tell

__all__ = ["Courier", "CourierPace"]

log = Logger()


RETRY, PAUSE = Backoff(20, 3_600, spread=0.25), Backoff(20, 1_800, spread=0.25)


@frozen
class CourierPace:
    """The pace of a courier; times in seconds.

    ``retry`` is for one notice that is put off, ``pause`` for all while the target takes nothing: both begin late
    enough that a try which timed out here has come to its end there. ``gap`` lies between two notices, ``sweep``
    between two looks that nothing asked for. What is older than ``give_up`` and was tried ``tries`` times is not tried
    again.
    """

    retry: Backoff = RETRY
    pause: Backoff = PAUSE
    gap: float = 0.0
    sweep: float = 60.0
    batch: int = 16
    give_up: float = 3 * 86_400.0
    tries: int = 12


@define(eq=False)
class Courier:
    """The one who tells a ``target``. ``clock`` runs the timers, ``wall`` says what is due.

    While the target is in trouble one notice finds out whether it is back.
    """

    target: str
    store: NoticeStore
    clock: IReactorTime
    wall: Clock
    tell: Tell
    pace: CourierPace = field(factory=CourierPace)
    away: str = field(default="", init=False)
    _running: bool = field(default=False, init=False)
    _loop: Deferred[None] | None = field(default=None, init=False)
    _flying: Deferred[TellOutcome] | None = field(default=None, init=False)
    _wake: Signal = field(factory=Signal, init=False)
    _nudged: bool = field(default=False, init=False)
    _troubles: int = field(default=0, init=False)
    _paused_until: float = field(default=0.0, init=False)
    _unwritten: Callable[[], Awaitable[None]] | None = field(default=None, init=False)

    def start(self, after: Deferred[None] | None = None) -> None:
        """Start telling what waits, once ``after`` has fired: the courier before has ended then."""
        self._running = True
        self._loop = Deferred.fromCoroutine(self._run(after))

    async def stop(self, grace: float = 0.0) -> None:
        """Stop telling; what is under way has ``grace`` seconds to finish, and else is told again after a restart."""
        self._running = False
        self.nudge()
        hurry = self.clock.callLater(grace, self._break_off)
        if self._loop is not None:
            await self._loop
        if hurry.active():
            hurry.cancel()

    def nudge(self) -> None:
        """Wake the courier: there is something new to tell."""
        self._nudged = True
        self._wake.notify()

    def _break_off(self) -> None:
        if self._flying is not None:
            self._flying.cancel()

    async def _run(self, after: Deferred[None] | None) -> None:
        if after is not None:
            await after
        while self._running:
            self._nudged = False
            wait = await self._round()
            paused = self._paused_until - self.clock.seconds()
            if self._running and wait > 0 and (paused > 0 or not self._nudged):
                await self._wake.wait_at_most(max(wait, paused), self.clock)

    async def _round(self) -> float:
        """Tell a few of what is due; return the seconds until the next look."""
        paused = self._paused_until - self.clock.seconds()
        if paused > 0:
            return paused
        try:
            if await self._tell_due():
                return max(0.0, self._paused_until - self.clock.seconds())
            next_due = await self.store.next_due(self.target)
        except StorageUnavailable as error:
            log.warn("the outbox of notices cannot be used now: {error}", error=error)
            return self.pace.pause.first
        except Exception:  # noqa: BLE001 - a defect must not end the courier; it is logged, and tried again later
            log.failure("the courier of {target} met a defect of this program", target=self.target)
            return self.pace.sweep
        return self.pace.sweep if next_due is None else min(self.pace.sweep, max(1.0, next_due - self.wall.wall()))

    async def _tell_due(self) -> bool:
        """Tell a few of what is due; return whether anything was."""
        await self._write()
        now = self.wall.wall()
        due = await self.store.due(self.target, now, now + self.pace.retry.most, self.pace.batch)
        for outgoing in due[: 1 if self._troubles else None]:
            await self._tell(outgoing)
            if not self._running or self._paused_until > self.clock.seconds():
                break
            if self.pace.gap:
                await self._wake_after(self.pace.gap)
        return bool(due)

    async def _wake_after(self, seconds: float) -> None:
        """Return after so many seconds, or once it is to stop."""
        until = self.clock.seconds() + seconds
        while self._running and (left := until - self.clock.seconds()) > 0:
            await self._wake.wait_at_most(left, self.clock)

    async def _tell(self, outgoing: OutgoingNotice) -> None:
        """Try one notice, and write down what came of it; until that is written nothing else is told."""
        try:
            self._flying = Deferred.fromCoroutine(self._tried(outgoing))
            outcome = await self._flying
        except CancelledError:
            return  # it stops; what became of it is not known, so it is told again
        finally:
            self._flying = None
        self._unwritten = partial(self._note, outgoing, outcome)
        await self._write()

    async def _tried(self, outgoing: OutgoingNotice) -> TellOutcome:
        try:
            return await self.tell(outgoing)
        except BuildToolError as error:
            return TellOutcome(told=False, reason=str(error), whole=True)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect at one notice is logged and must not hold up the others
            log.failure("telling {target} met a defect of this program", target=self.target)
            return TellOutcome(told=False, reason="this program could not tell it: see the metaserver's log")

    async def _write(self) -> None:
        if self._unwritten is not None:
            await self._unwritten()
            self._unwritten = None

    async def _note(self, outgoing: OutgoingNotice, outcome: TellOutcome) -> None:
        now, notice = self.wall.wall(), outgoing.notice
        if outcome.told:
            await self.store.told(outgoing, now)
            self._is_back()
        elif outcome.final or (now - notice.at > self.pace.give_up and outgoing.tries + 1 >= self.pace.tries):
            why = outcome.reason if outcome.final else f"given up after {outgoing.tries + 1} tries: {outcome.reason}"
            await self.store.given_up(outgoing, now, why)
            log.warn("{target} is not told of {key}: {why}", target=self.target, key=notice.key, why=why)
        else:
            seconds = _delay(self.pace.retry, outgoing.tries, notice.key)
            await self.store.deferred(outgoing, now + max(seconds, outcome.wait or 0.0), outcome.reason)
            log.info("{target} is told of {key} later: {why}", target=self.target, key=notice.key, why=outcome.reason)
        if outcome.whole:
            self._is_away(outcome)
        elif outcome.wait is not None:
            self._paused_until = self.clock.seconds() + outcome.wait
        elif not outcome.told:
            self._is_back()  # it answers, though not as it should

    def _is_away(self, outcome: TellOutcome) -> None:
        seconds = outcome.wait or _delay(self.pace.pause, self._troubles, self.target)
        self._troubles += 1
        if not self.away:
            since = datetime.fromtimestamp(self.wall.wall(), UTC)
            self.away = f"{self.target} is not told anything since {since:%Y-%m-%d %H:%M} UTC: {outcome.reason}"
        self._paused_until = self.clock.seconds() + seconds
        words = {"target": self.target, "seconds": seconds, "why": outcome.reason}
        log.warn("{target} is left alone for {seconds:.0f} s: {why}", **words)

    def _is_back(self) -> None:
        if self._troubles:
            log.info("{target} is told again", target=self.target)
        self._troubles, self.away = 0, ""


def _delay(backoff: Backoff, tries: int, key: str) -> float:
    """Return the delay in seconds after so many tries; it is the same for the same ``key`` and count."""
    draw = int.from_bytes(hashlib.sha256(f"{tries}:{key}".encode()).digest()[:4], "big") / 2**32
    return backoff.delay(tries, draw)
