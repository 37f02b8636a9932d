"""Waiting in the foreground: how the request stands, and its log, both until the end and over lost connections.

Tested by tests/requester/test_requester.py.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.rates import RateBudget, RateLimiter
from buildtool.concurrency.signal import Signal
from buildtool.errors import BuildToolError, Expired, NotFound, Unavailable
from buildtool.ports.requester import Console, Downloads, MetaserverClient
from buildtool.protocol.messages import Follow, RequestStatus
from buildtool.requester.text import came_back, clean, moved, waits

LOG_WAIT = 20.0
"""Seconds that the transfer port keeps a question for more of a log before it answers with nothing."""

LOG_LAST = 10.0
"""Seconds that the rest of a log may take after the request has ended."""

SHOWN = RateBudget(100, 2)
"""Lines about changes that are shown at once, and each second after that: 64 builds at once have about that many."""

SUMMED_UP_AFTER = 5.0
"""Seconds after the first line that was left out, it is said how many there were."""

_RETRY = Backoff(0.5, 10.0)


@define(eq=False)
class ChangeLines:
    """A limit on the lines about changes that ``console`` shows."""

    console: Console
    timers: IReactorTime
    _rates: RateLimiter = field(factory=lambda: RateLimiter(SHOWN, SHOWN), init=False)

    def say(self, line: str) -> None:
        """Show a line, if there is room for one more."""
        if self._has_room():
            self.console.say(line)

    def moved(self, told: RequestStatus, line: str) -> None:
        """Show that one of several Requests has moved, if there is room for one more."""
        if self._has_room():
            self.console.moved(told, line)

    def _has_room(self) -> bool:
        now = self.timers.seconds()
        shown = self._rates.allows("", "", 1, now)
        self.sum_up(now - SUMMED_UP_AFTER)
        return shown

    def sum_up(self, before: float | None = None) -> None:
        """Show how many lines were left out since a time no later than ``before`` (monotonic), or at all."""
        for left in self._rates.left_out(self.timers.seconds() if before is None else before):
            self.console.say(f"{left.count:,} more changes were not shown")


@define(eq=False)
class FollowedRequest:
    """The status of a Request, as far as it is known here; those that wait for a change are woken.

    ``wall`` returns wall time, by which the clock here is ``ahead`` of the metaserver's.
    """

    told: RequestStatus
    console: Console
    changes: ChangeLines
    wall: Callable[[], float]
    ahead: float = 0.0
    changed: Signal = field(factory=Signal, init=False)

    @classmethod
    def fresh(
        cls, told: RequestStatus, console: Console, changes: ChangeLines, wall: Callable[[], float]
    ) -> FollowedRequest:
        """Return one that was asked for just now, which tells by how much the clock here is ahead of there."""
        return cls(told, console, changes, wall, wall() - told.asked_at if told.asked_at else 0.0)

    def show(self) -> None:
        """Show how it stands, and for how long it has."""
        since = self.told.since
        self.console.state(self.told, max(self.wall() - self.ahead - since, 0.0) if since else 0.0)

    def hear(self, now: RequestStatus, *, told_already: bool = False) -> None:
        """Record a status of the Request. What comes after its end is not believed."""
        if now.request_id != self.told.request_id or not waits(self.told):
            return
        before, self.told = self.told, now
        if waits(now) and not told_already:
            for line in moved(before, now):
                self.changes.say(line)
        self.show()
        self.changed.notify()

    def goes_on(self) -> bool:
        """Return whether the Request has not ended."""
        return waits(self.told)

    async def hear_over(self, client: MetaserverClient, away: float | None = None) -> str:
        """Follow over one connection, until the end of the Request or of the connection; return why that ended.

        Where the metaserver was ``away`` for so many seconds, one line tells what changed meanwhile.
        """
        before = self.told
        now = await client.follow(Follow(before.request_id, before.token), self.hear)
        if away is not None and now.request_id == before.request_id:
            self.changes.say(came_back(before, now, away))
        self.hear(now, told_already=away is not None)
        return await until_closed(client, self.changed, self.goes_on)


async def until_closed(client: MetaserverClient, changed: Signal, goes_on: Callable[[], bool]) -> str:
    """Wait while something goes on over a connection; return why the connection ended, "" if it has not."""
    reason: list[str] = []

    def closed(why: object) -> None:
        reason.append(str(why))
        changed.notify()

    client.closed().addBoth(closed)
    while goes_on() and not reason:
        await changed.wait()
    return reason[0] if reason else ""


@define(eq=False)
class LogShower:
    """A display of the log of each Attempt, one after another, while the Request is followed."""

    followed: FollowedRequest
    downloads: Downloads
    console: Console
    timers: IReactorTime

    def start(self) -> Deferred[None]:
        """Start the display. The Deferred fires when all is shown; cancel it to stop before."""
        return Deferred.fromCoroutine(self._show_all())

    async def finish(self, showing: Deferred[None]) -> None:
        """Wait for the rest of the log, not longer than ``LOG_LAST``."""
        self.followed.changed.notify()
        late = self.timers.callLater(LOG_LAST, showing.cancel)
        try:
            await showing
        except CancelledError:
            self.console.say("the rest of the log has not come in time")
        finally:
            if late.active():
                late.cancel()

    async def _show_all(self) -> None:
        shown = ""
        while True:
            url = self.followed.told.log_url
            if url and url != shown:
                shown = url
                await self._show(url)
            elif not waits(self.followed.told):
                return
            else:
                await self.followed.changed.wait()

    async def _show(self, url: str) -> None:
        """Show one log from its beginning until it is finished, or another Attempt has taken over."""
        offset, tries, vain = 0, _RETRY.begin(), 0
        while True:
            try:
                data, finished = await self.downloads.log(url, offset, LOG_WAIT)
            except Expired as error:
                self.console.say(clean(str(error)))
                return
            except (Unavailable, NotFound) as error:
                vain += 1
                if not waits(self.followed.told) and (isinstance(error, NotFound) or vain > 2):  # noqa: PLR2004
                    return
                if self.followed.told.log_url != url:
                    return
                await deferLater(self.timers, tries.next_delay())
                continue
            except BuildToolError as error:
                self.console.say(f"the log cannot be shown: {clean(str(error))}")
                return
            tries.reset()
            vain = 0
            self.console.log(data)
            offset += len(data)
            if finished or (not data and self.followed.told.log_url != url):
                return
