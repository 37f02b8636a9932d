"""The mailer: takes mails that are due out of the outbox, delivers them, and writes down what became of each.

At least once: a mail is marked as sent only after the mail server took it, so one that was taken right before a
crash is sent again, under the same Message-ID.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.adapters.mail.letter import Letter
from buildtool.adapters.mail.message import Deliver, compose_letter
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.rates import FairShares, RateBudget
from buildtool.concurrency.signal import Signal
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import (
    ConfigurationError,
    MailDeferred,
    MailRefused,
    MailServerTrouble,
    StorageUnavailable,
    UsageError,
)
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import OutboxStore, OutgoingMail

Render = Callable[[OutgoingMail, float], Coroutine[Any, Any, Letter]]
"""Turns a mail and the wall time into what it says."""


def _none(_outgoing: OutgoingMail) -> bool:
    """Return that a mail is not withheld."""
    return False


RETRY = Backoff(10, 3600, spread=0.25)
"""For a mail that the mail server asks to try again later."""

PAUSE = Backoff(2, 300, spread=0.25)
"""For all mail while the mail server is away: the queue waits, then one mail finds out whether it is back."""

STEP = 10.0
"""Seconds by which wall time may run away from the monotonic clock before it is believed to have been set."""

GIVE_UP_AFTER = 7 * 86_400.0
"""Seconds after which a mail that the server keeps putting off is given up (while the server is away, none is)."""

GIVE_UP_TRIES = 24
"""How often a mail is tried at least before it is given up, so that a wall clock set wrong gives up none."""


WITHHELD = "not sent: this address has ended mails about it"
"""What is noted of a mail that is not sent."""

HOUR = 3_600.0
"""The time that the settings' rates are for, in seconds."""


@frozen
class MailerLimits:
    """The bounds of the mailer; times in seconds.

    ``sweep`` is between two looks that nothing asked for, ``lanes`` how many deliveries run at once, ``batch`` how many
    mails are in memory, ``grace`` what deliveries under way have when it stops. ``together`` is for how long mails are
    held back that are put together.
    """

    retry: Backoff = RETRY
    pause: Backoff = PAUSE
    sweep: float = 60.0
    lanes: int = 4
    batch: int = 16
    grace: float = 5.0
    together: float = HOUR


class MailRates:
    """The bounds on the mails that go to one address in an hour, and on those that one asker causes."""

    def __init__(self, settings: MailSettings | None) -> None:
        self.of = _rates_of(settings)
        to_address, by_asker = self.of
        self._to_address = FairShares(RateBudget(to_address, to_address / HOUR))
        self._by_asker = FairShares(RateBudget(by_asker, by_asker / HOUR))

    def parted(self, due: Iterable[OutgoingMail], now: float) -> tuple[list[OutgoingMail], list[OutgoingMail]]:
        """Return the mails that may go at ``now``, in seconds of the clock, and those that are too many.

        Codes are bounded where they are asked for: a person waits for them.
        """
        to_address, by_asker = Counter[str](), Counter[str]()
        may_go, held = [], []
        for one in due:
            address, asker = one.mail.email, one.mail.asker
            room = bool(one.members) or self._to_address.has_room(address, now, to_address[address])
            if (
                one.tries
                or one.mail.purpose
                or (room and (not asker or self._by_asker.has_room(asker, now, by_asker[asker])))
            ):
                may_go.append(one)
                to_address[address] += not one.tries
                by_asker[asker] += not one.tries
            else:
                held.append(one)
        return may_go, held

    def take(self, outgoing: OutgoingMail, now: float) -> None:
        """Count a mail that is sent; what is tried again was counted before."""
        if not outgoing.tries:
            self._to_address.take(outgoing.mail.email, now)
            self._by_asker.take(outgoing.mail.asker, now)


class Mailer(Service):
    """A service that delivers what lies in the outbox; a ``ports.Notifier``.

    Woken by ``nudge``, by the time at which the next mail is due, and every ``sweep`` since wake-ups get lost.
    ``clock`` runs the timers, ``wall`` says what is due. With ``settings`` None nothing is sent and all is kept.
    ``withholds`` returns whether a mail is not to be sent, since whom it is for has ended mails like it.
    """

    _log = Logger()

    def __init__(
        self,
        store: OutboxStore,
        clock: IReactorTime,
        wall: Clock,
        settings: MailSettings | None,
        render: Render,
        deliver: Deliver,
        pace: MailerLimits = MailerLimits(),
    ) -> None:
        self.withholds: Callable[[OutgoingMail], bool] = _none
        self._store = store
        self._clock = clock
        self._wall = wall
        self._settings = settings
        self._render = render
        self._deliver = deliver
        self._pace = pace
        self._loop: Deferred[None] | None = None
        self._flying: tuple[Deferred[None], ...] = ()
        self._wake = Signal()
        self._nudged = False
        self._halted = False
        self._troubles = 0
        self._paused_until = 0.0
        self._away = ""
        self._unwritten: dict[str, Callable[[], Awaitable[None]]] = {}
        self._rates = MailRates(settings)
        self._apart: float | None = None

    def startService(self) -> None:
        Service.startService(self)
        if self._settings is None:
            self._log.info("mail = None in config.py: no mail is sent, all of it is kept in the outbox")
            return
        self._loop = Deferred.fromCoroutine(self._run())

    def configure(self, settings: MailSettings | None, render: Render, deliver: Deliver) -> None:
        """Take other settings: from now on what waits is sent with them, or kept where they are None."""
        if self._settings is None or settings is None or self._rates.of != _rates_of(settings):
            self._rates = MailRates(settings)
        self._settings, self._render, self._deliver = settings, render, deliver
        self._troubles, self._away, self._paused_until = 0, "", 0.0
        if self.running and settings is not None and self._loop is None:
            self._loop = Deferred.fromCoroutine(self._run())
        self.nudge()

    def stopService(self) -> Deferred[None] | None:
        """Stop the service; deliveries under way have ``grace`` seconds to finish, others come after a restart."""
        Service.stopService(self)
        loop, self._loop = self._loop, None
        if loop is None:
            return None
        hurry = self._clock.callLater(self._pace.grace, self._break_off)

        async def ended() -> None:
            await loop
            if hurry.active():
                hurry.cancel()

        self.nudge()
        return Deferred.fromCoroutine(ended())

    def nudge(self, targets: Collection[str] = ()) -> None:
        self._nudged = True
        self._wake.notify()

    def problems(self) -> tuple[str, ...]:
        """Return since when the mail server takes nothing, and why, if that is so."""
        return (self._away,) if self._away else ()

    async def _run(self) -> None:
        while self.running:
            self._nudged = False
            wait = await self._round() if self._settings is not None else self._pace.sweep
            if self.running and not self._nudged and wait > 0:
                await self._wake.wait_at_most(wait, self._clock)

    async def _round(self) -> float:
        """Send one batch of what is due; return the seconds until the next look."""
        paused = self._paused_until - self._clock.seconds()
        if paused > 0:
            return paused
        try:
            await self._write(tuple(self._unwritten))
            await self._follow_clock()
            now = self._wall.wall()
            due = await self._store.due(now, self._pace.batch)
            if due:
                await self._send(await self._within_rates(await wanted(due, self.withholds, self._store, now), now))
                return max(0.0, self._paused_until - self._clock.seconds())
            next_due = await self._store.next_due()
        except StorageUnavailable as error:
            self._log.warn("the outbox cannot be used now: {error}", error=error)
            return self._pace.pause.first
        except Exception:  # noqa: BLE001 - a defect must not end the mailer; it is logged, and tried again later
            self._log.failure("the mailer met a defect of this program")
            return self._pace.sweep
        if next_due is None:
            return self._pace.sweep
        return min(self._pace.sweep, max(1.0, next_due - self._wall.wall()))

    async def _follow_clock(self) -> None:
        """Shift what waits for a time by a step of the clock, so that none waits longer for it."""
        now = self._wall.wall()
        apart = now - self._clock.seconds()
        stepped = apart - self._apart if self._apart is not None else 0.0
        if self._apart is None or abs(stepped) >= STEP:
            await self._store.shift(stepped, now, now + self._pace.retry.most)
            self._apart = apart

    def _again_in(self, seconds: float) -> float:
        """Return the wall time after so many seconds, by the clock as it was when what waits was shifted last."""
        return (self._apart or 0.0) + self._clock.seconds() + seconds

    async def _within_rates(self, due: Iterable[OutgoingMail], now: float) -> list[OutgoingMail]:
        """Return the mails that may go now; all others are held back, to be put together for their address later."""
        may_go, held = self._rates.parted(due, self._clock.seconds())
        if held:
            await self._store.hold([one.mail.key for one in held], now, now + self._pace.together)
        for one in held:
            words = {"name": one.mail.email, "asker": one.mail.asker or "the farm itself"}
            self._log.info("too many mails to {name}, or asked for from {asker}: they are put together", **words)
        return may_go

    async def _send(self, due: Sequence[OutgoingMail]) -> None:
        if not due:
            return
        # While the server is in trouble one mail finds out whether it is back: the one that was tried least, so that
        # a mail at which the server stumbles does not hold up the others.
        waiting = deque([min(due, key=lambda outgoing: outgoing.tries)] if self._troubles else due)
        self._halted = False
        count = min(self._pace.lanes, len(waiting))
        self._flying = tuple(Deferred.fromCoroutine(self._lane(waiting)) for _ in range(count))
        failures: list[Failure] = []
        for lane in self._flying:
            lane.addErrback(failures.append)
        await DeferredList(self._flying)
        self._flying = ()
        for failure in failures:
            if not failure.check(CancelledError):
                failure.raiseException()

    async def _lane(self, waiting: deque[OutgoingMail]) -> None:
        while waiting and self.running and not self._halted and self._settings is not None:
            outgoing = waiting.popleft()
            key = outgoing.mail.key
            self._unwritten[key] = await self._try(outgoing)
            try:
                await self._write((key,))
            except StorageUnavailable:
                self._halted = True  # what became of the mail is kept in mind, and written before anything is sent
                raise

    async def _write(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self._unwritten[key]()
            del self._unwritten[key]

    async def _try(self, outgoing: OutgoingMail) -> Callable[[], Awaitable[None]]:
        """Try one mail; return what writes down what became of it."""
        mail = outgoing.mail
        store = self._store
        self._rates.take(outgoing, self._clock.seconds())
        try:
            await self._deliver(mail.email, *await self._message(outgoing))
        except (MailRefused, UsageError) as error:
            self._server_answered()
            self._log.warn("mail {key} is refused for good: {reason}", key=mail.key, reason=str(error))
            return partial(store.refused, mail.key, self._wall.wall(), str(error))
        except MailDeferred as error:
            self._server_answered()
            return self._later(outgoing, str(error))
        except MailServerTrouble as error:
            self._trouble(error)
            again = self._again_in(delay(self._pace.pause, outgoing.tries, mail.key))
            return partial(store.deferred, mail.key, again, str(error))
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect at one mail is logged and must not hold up the others
            self._log.failure("mail {key} cannot be made: a defect of this program", key=mail.key)
            return self._later(outgoing, "this program could not make the mail: see the metaserver's log")
        self._server_answered()
        return partial(store.sent, mail.key, self._wall.wall())

    async def _message(self, outgoing: OutgoingMail) -> tuple[bytes, str]:
        """Return a mail as a message, and the address that it comes back to."""
        settings = self._settings
        if settings is None:
            raise ConfigurationError("mail = None in config.py: no mail is sent")
        now = self._wall.wall()
        letter = await self._render(outgoing, now)
        mail = outgoing.mail
        told = "digest" if outgoing.members else mail.purpose or mail.outcome.value
        extra = {"X-Buildtool-Server": mail.server} if mail.server else {"X-Buildtool-Outcome": told}
        if mail.build_id is not None:
            extra["X-Buildtool-Build"] = str(mail.build_id)
        message = compose_letter(settings.sender, mail.email, letter, key=mail.key, now=now, extra=extra.items())
        return message, letter.returns_to or settings.sender

    def _later(self, outgoing: OutgoingMail, reason: str) -> Callable[[], Awaitable[None]]:
        mail, now = outgoing.mail, self._wall.wall()
        if now - mail.created_at > GIVE_UP_AFTER and outgoing.tries >= GIVE_UP_TRIES:
            return partial(self._store.refused, mail.key, now, f"given up after {outgoing.tries + 1} tries: {reason}")
        self._log.info("mail {key} is put off: {reason}", key=mail.key, reason=reason)
        again = self._again_in(delay(self._pace.retry, outgoing.tries, mail.key))
        return partial(self._store.deferred, mail.key, again, reason)

    def _trouble(self, error: MailServerTrouble) -> None:
        if self._halted:
            return  # another lane met the same trouble
        self._halted = True
        seconds = delay(self._pace.pause, self._troubles, "server")
        self._troubles += 1
        if not self._away:
            since = datetime.fromtimestamp(self._wall.wall(), UTC)
            self._away = f"mail waits since {since:%Y-%m-%d %H:%M} UTC: {error}"
        self._paused_until = self._clock.seconds() + seconds
        self._log.warn("mail waits {delay:.0f} s: {reason}", delay=seconds, reason=str(error))

    def _server_answered(self) -> None:
        if self._troubles:
            self._log.info("the mail server takes mail again")
        self._troubles, self._away = 0, ""

    def _break_off(self) -> None:
        if self._flying:
            self._log.warn("cut off: mail under way, which is sent again after the next start")
        for delivery in self._flying:
            delivery.cancel()


async def wanted(
    due: Iterable[OutgoingMail], withholds: Callable[[OutgoingMail], bool], store: OutboxStore, now: float
) -> list[OutgoingMail]:
    """Return the mails that their addresses have not ended; ``now``, in wall time, all others are done with.

    Raises StorageUnavailable.
    """
    found: list[OutgoingMail] = []
    ended: list[str] = []
    for one in due:
        left = tuple(member for member in one.members or (one,) if not withholds(member))
        ended += [member.mail.key for member in one.members or (one,) if member not in left]
        if left:
            found.append(evolve(one, members=left) if one.members else one)
    if ended:
        await store.withheld(ended, now, WITHHELD)
    return found


def delay(backoff: Backoff, tries: int, key: str) -> float:
    """Return the delay in seconds after ``tries`` earlier tries; it is the same for the same ``key`` and count."""
    draw = int.from_bytes(hashlib.sha256(f"{tries}:{key}".encode()).digest()[:4], "big") / 2**32
    return backoff.delay(tries, draw)


def _rates_of(settings: MailSettings | None) -> tuple[int, int]:
    return (settings.per_address, settings.per_asker) if settings is not None else (1, 1)
