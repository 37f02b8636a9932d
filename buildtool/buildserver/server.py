"""The build server's shell: takes orders or declines them, keeps its slots, and hands on what is finished.

A connection that is lost stops nothing: what builds goes on, and what is finished waits on disk (``delivering``) until
the metaserver has taken it. At each login, and with each heartbeat, the metaserver hears what is here and says what is
to become of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildtool.buildserver.attempt import AttemptRun, AttemptTools, AttemptWork, FinishedBuild
from buildtool.buildserver.blame import brief
from buildtool.buildserver.delivery import Delivery, DeliveryQueue, Key
from buildtool.buildserver.order_check import ProjectQuestions, ServerOffer
from buildtool.buildserver.ticket_holder import TicketHolder
from buildtool.concurrency.signal import Signal
from buildtool.errors import BuildToolError, Declined, StorageUnavailable, Unavailable
from buildtool.model.guest.hours import DaySpan
from buildtool.model.guest.stance import OPEN, Motion, Stance
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldVerdict, OwnerNotice, Verdict
from buildtool.ports.buildserver import MetaserverLink
from buildtool.ports.common import Executor
from buildtool.protocol.messages import AbortOrder, Accepted, Draining, Ended, Ok, Order, Tickets, Welcome

log = Logger()

_TELL_AGAIN = 5.0

LEAVING = 10.0
"""Seconds that what is finished has to be taken when the program ends; it stays on disk otherwise."""


@define
class _Open:
    """An Attempt that was ordered and is not finished. ``run`` is None until it is accepted."""

    order: Order
    slot: int
    session: int
    run: AttemptRun | None = None
    aborted: str = ""

    @property
    def key(self) -> Key:
        return (self.order.build_id, self.order.epoch)

    def abort(self, reason: str) -> None:
        self.aborted = reason
        if self.run is not None:
            self.run.stop(AttemptEnd.ABORTED, reason)


class BuildServer:
    """The ``ports.Orders`` of a build server. Call it in the reactor's thread."""

    def __init__(
        self,
        offered: ServerOffer,
        tools: AttemptTools,
        link: MetaserverLink,
        deliveries: DeliveryQueue,
        pool: Executor,
        *,
        hasten: Callable[[], None] = lambda: None,
    ) -> None:
        """``pool`` is where client checkers run, since they may look at the disk.

        ``hasten`` is called when the metaserver should hear at once of what is held, or what the owner wishes.
        """
        self._hasten = hasten
        self.busy_at = 0.0  # when a build began or ended last, by the clock of the tools
        self.begun: Callable[[], None] = lambda: None  # is called when a build begins
        self.offered = offered  # what orders are held against, from now on
        self._tools = tools
        self._link = link
        self._deliveries = deliveries
        self._pool = pool
        self._questions = ProjectQuestions(tools, pool)
        self._free = list(range(offered.max_builds))
        self._open: dict[Key, _Open] = {}
        self._welcome: Welcome | None = None
        self._stopping = ""
        self._draining = ""
        self._stance = OPEN
        self._away: tuple[tuple[float, float], ...] = ()
        self._idling = Signal()

    @property
    def running(self) -> int:
        """How many Attempts have a slot."""
        return self.offered.max_builds - len(self._free)

    # --- what the metaserver asks -----------------------------------------------------------------------

    async def build(self, order: Order) -> Accepted:
        """Take an Attempt, which then goes on by itself. Raises Declined with the reason for not taking it."""
        try:
            return await self._take(order)
        except Declined as error:
            words = {"build": order.build_id, "epoch": order.epoch, "project": order.project, "why": str(error)}
            log.info("build {build}.{epoch} of {project} declined: {why}", **words)
            raise

    async def _take(self, order: Order) -> Accepted:
        key, welcome = (order.build_id, order.epoch), self._welcome
        if welcome is None:
            raise Declined("there is no session yet")
        known = self._open.get(key)
        if key in self._deliveries or (known is not None and known.run is not None):
            return Accepted(*key)  # the order was sent again
        if known is not None:
            raise Declined("this order was sent already, and is still being looked at")
        if self._stopping or not self._stance.begins:
            raise Declined(self._stopping or self._stance.words)
        project, offer = self.offered.understood(order)
        if not self._free:
            raise Declined(f"busy: {self.running} of {self.offered.max_builds} builds are running")
        if self._deliveries.full:
            raise Declined(self._deliveries.full)
        held = _Open(order, self._free.pop(0), welcome.session)
        self._open[key] = held
        try:
            url, mistake = await self._questions.ask(project, order, lambda: self.running - 1)
            self._check_wanted(held)  # much may have happened while the checkers looked around
        except BaseException:
            self._release(held)
            raise
        work = AttemptWork(
            order=order,
            project=project,
            url=url,
            tools=dict(offer.tools),
            slot=held.slot,
            artifact_limit=min(project.artifact_limit, welcome.artifact_limit),
            log_limit=min(project.log_limit, welcome.log_limit),
            tickets=TicketHolder(*key, self._link, Tickets(order.log_ticket, order.artifact_ticket)),
            mistake=mistake,
            copy_url=f"{welcome.transfer_url}/sources/{order.build_id}/{order.epoch}",
        )
        run = held.run = AttemptRun(work, self._tools, self._pool)
        words = {"build": key[0], "epoch": key[1], "project": order.project, "request": order.request}
        log.info("build {build}.{epoch} of {project} begins", **words)
        self.begun()
        self.busy_at = self._tools.clock.seconds()
        # The answer goes out first: the metaserver hears that the build was taken before anything else of it.
        started = deferLater(self._tools.clock, 0, lambda: Deferred.fromCoroutine(self._see_through(run, held)))
        started.addErrback(lambda failure: log.failure("a defect in build {key}", failure, key=key))
        return Accepted(*key)

    async def abort(self, order: AbortOrder) -> Ok:
        key, reason = (order.build_id, order.epoch), brief(order.reason) or "aborted"
        held = self._open.get(key)
        if held is not None:
            log.info("build {build} is stopped: {why}", build=order.build_id, why=reason)
            held.abort(reason)
        elif not self._deliveries.abort(key, reason):
            return Ok(stale=True)
        return Ok()

    def held(self) -> tuple[Held, ...]:
        runs = ((key, held.run) for key, held in self._open.items())
        building = tuple(Held(*key, frozen=run.frozen) for key, run in runs if run is not None)
        return (*building, *self._deliveries.held())

    def notice(self) -> OwnerNotice:
        """Return what the owner wishes now, as the metaserver is told it."""
        return OwnerNotice(self._stance.words, self._stance.until_at or 0.0, self._away)

    def connected(self, welcome: Welcome) -> None:
        """Start to serve a Session that was opened."""
        self._welcome = welcome
        self.judged(welcome.verdicts)
        self._deliveries.connected(welcome)
        if self._draining:
            self._announce_draining(welcome)

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        """Stop or drop what is not wanted any more; everything else goes on."""
        for one in verdicts:
            held = self._open.get((one.build_id, one.epoch))
            if held is None:
                self._deliveries.judged(one)
            elif one.verdict is Verdict.DROP:
                log.info("build {build}.{epoch} is dropped: {why}", build=one.build_id, epoch=one.epoch, why=one.reason)
                held.abort(brief(one.reason) or "the metaserver does not wait for it any more")

    def disconnected(self, reason: str) -> None:
        """Forget the Session, which ended. What builds goes on."""
        self._welcome = None
        self._deliveries.disconnected()
        if self._open:
            log.info("builds that go on without the metaserver: {count} ({why})", count=len(self._open), why=reason)

    # --- its owner --------------------------------------------------------------------------------------

    def settle(self, stance: Stance, away: Sequence[DaySpan] = ()) -> None:
        """Apply what the owner wishes: builds run, stand still or are handed back; the metaserver hears of a change."""
        before = self.notice(), self.held()
        self._stance, self._away = stance, tuple((one.begins, one.ends) for one in away)
        self._deliveries.hold(held=not stance.transfers)
        for held in self._open.values():
            if held.run is None:
                continue
            match stance.running:
                case Motion.GO_ON:
                    held.run.thaw()
                case Motion.FREEZE:
                    held.run.freeze(stance.words)
                case Motion.HAND_BACK:
                    held.run.stop(AttemptEnd.RETURNED, stance.words)
        if before != (self.notice(), self.held()):
            self._hasten()

    async def drain(self, reason: str) -> None:
        """Take no more orders, finish and deliver what is here, and return when all of it was taken."""
        self._stopping = self._draining = reason
        if self._welcome is not None:
            self._announce_draining(self._welcome)
        await self._idle()
        await self._deliveries.settled()

    async def hand_back(self, reason: str) -> None:
        """Take no more orders, stop what runs and say that it is returned; return when nothing of it runs any more.

        What is finished and not taken within LEAVING seconds, or while there is no connection, stays on disk.
        """
        self._stopping, self._draining = reason, ""
        for held in self._open.values():
            if held.run is not None:
                held.run.stop(AttemptEnd.RETURNED, reason)
        await self._idle()
        if self._welcome is not None:
            try:
                await self._deliveries.settled().addTimeout(LEAVING, self._tools.clock)
            except defer.TimeoutError:
                log.warn(
                    "finished builds that are not taken yet, and stay on disk: {count}",
                    count=len(self._deliveries.held()),
                )
        self._deliveries.stop()

    async def _idle(self) -> None:
        """Wait until no Attempt runs. An order that is still looked at will be declined: nobody waits for checkers."""
        while self._runs():
            await self._idling.wait()

    def _runs(self) -> bool:
        return any(held.run is not None for held in self._open.values())

    def _announce_draining(self, welcome: Welcome) -> None:
        saying = Deferred.fromCoroutine(self._say_draining(welcome))
        saying.addErrback(lambda failure: log.failure("a defect while saying that it drains", failure))

    async def _say_draining(self, welcome: Welcome) -> None:
        """Report to this Session's metaserver, until it answers, that no more orders are taken."""
        while self._welcome is welcome and self._draining:
            try:
                await self._link.tell(Draining(self._draining), Ok)
            except Unavailable:
                return  # the next Session is told
            except BuildToolError as error:
                log.warn("the metaserver could not be told of draining: {why}", why=str(error))
                if not isinstance(error, StorageUnavailable):
                    return
                await deferLater(self._tools.clock, _TELL_AGAIN, lambda: None)
            else:
                return

    # --- inside -----------------------------------------------------------------------------------------

    def _check_wanted(self, held: _Open) -> None:
        closed = "" if self._stance.begins else self._stance.words
        if self._stopping or held.aborted or closed:
            raise Declined(self._stopping or held.aborted or closed)
        if self._welcome is None or self._welcome.session != held.session:
            raise Declined("the session has ended")

    async def _see_through(self, run: AttemptRun, held: _Open) -> None:
        delivery: Delivery | None = None
        try:
            finished = await run.run()
            _log_finished(finished)
            delivery = await self._deliveries.keep(finished)
            await run.clear()
        finally:
            self._release(held, delivery)
        if held.aborted:
            # It may have come too late to stop anything.
            self._deliveries.abort(held.key, held.aborted)

    def _release(self, held: _Open, delivery: Delivery | None = None) -> None:
        """The slot is free; what was made in it is offered after that, since the answer may bring the next order."""
        del self._open[held.key]
        self.busy_at = self._tools.clock.seconds()
        self._free.append(held.slot)
        self._free.sort()
        if delivery is not None:
            self._deliveries.offer(delivery)
        if not self._runs():
            self._idling.notify()


def _log_finished(finished: FinishedBuild) -> None:
    end = finished.end
    words = end.end.value if isinstance(end, Ended) else AttemptEnd.SUCCEEDED.value
    why = f": {end.reason}" if isinstance(end, Ended) else ""
    log.info("build {build}.{epoch} {words}{why}", build=end.build_id, epoch=end.epoch, words=words, why=why)
