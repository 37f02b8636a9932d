"""One browser that hears what changes: server-sent events, of topics that its visitor may see, and no faster than read.

Of an event each message says the newest number, so that a connection that was cut goes on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from buildtool.errors import BuildToolError, Unauthorised
from buildtool.model.access.rights import Act
from buildtool.model.options import Canonical
from buildtool.model.principal import Principal

from ..access import Access
from .hub import LiveHub
from .topics import PageChange

log = Logger()

EVENT_STREAM = "text/event-stream; charset=utf-8"

LIFE = 900.0
"""Seconds after which a stream ends, so that who a visitor is and what they may see is looked at anew."""

UNREAD = 30.0
"""Seconds for which a browser may leave what was sent unread."""

RETRY = 2_000
"""Milliseconds after which a browser connects again."""


def message(kind: str, data: str, seq: int = 0) -> bytes:
    """Return one message of a stream; ``seq`` is where a browser goes on, 0 for a message that says nothing of that."""
    number = f"id: {seq}\n" if seq else ""
    return f"{number}event: {kind}\ndata: {data}\n\n".encode()


@implementer(IPushProducer)
@define(eq=False)
class Stream:
    """A ``hub.Listener`` that is a browser. ``ended`` fires when nothing more is sent.

    ``known`` asks anew who the visitor is by the secret that they showed, if they did: it is asked when something
    happened to who has their name, so that a stream ends with the right to it.
    """

    request: Request
    by: Principal
    access: Access
    hub: LiveHub
    left: Callable[[], None] = lambda: None
    known: Callable[[], Awaitable[Principal]] | None = None
    ended: Deferred[None] = field(init=False)
    _until: float = field(init=False)
    _all: bool = field(default=False, init=False)
    _told: int = field(default=0, init=False)
    _clogged_at: float | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)
    _doubtful: bool = field(default=False, init=False)
    _asks: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = Deferred(lambda _: self._leave())
        self._until = self.hub.timers.seconds() + LIFE

    def start(self, last: int | None) -> None:
        """Start to send what happens, and what did after the event ``last`` where a browser has heard that."""
        self._look()
        self.request.registerProducer(self, True)
        self.request.write(f"retry: {RETRY}\n\n".encode())
        self._told = self.hub.last
        missed = self.hub.after(last) if last is not None else None
        if missed is not None:
            self.changed(missed)
        self._sign_of_life()
        self.hub.listeners[self] = None

    def changed(self, change: PageChange) -> None:
        """Send that something changed, unless the browser is behind: then it is told of all of it later."""
        if self._clogged_at is not None or self._over:
            return
        self._told = change.seq
        if change.reset:
            self.request.write(message("reset", "", change.seq))
        elif text := change.text if self._all else change.text_for(self._sees):
            self.request.write(message("changed", text, change.seq))

    def beat(self) -> None:
        """Send how the metaserver stands; end the stream of who left it unread, or may not hear it any more."""
        now = self.hub.timers.seconds()
        if self._clogged_at is not None:
            if now - self._clogged_at >= UNREAD:
                self._leave()
                self.request.channel.forceAbortClient()
            return
        try:
            self._look()
        except Unauthorised:
            self.end()
            return
        if now >= self._until:
            self.end()
        else:
            self._sign_of_life()

    def doubted(self, names: Collection[str] | None) -> None:
        """Find out whether the visitor is still who they were, where something happened to who has their name."""
        if self.known is None or not (names is None or {self.by.name, self.by.owner} & {*names}):
            return
        self._doubtful = True
        if not self._asks:
            self._asks = True
            Deferred.fromCoroutine(self._ask(self.known)).addErrback(_defect)

    async def _ask(self, known: Callable[[], Awaitable[Principal]]) -> None:
        try:
            while self._doubtful and not self._over:
                self._doubtful = False
                if await known() != self.by:
                    self.end()
        except Unauthorised:
            self.end()
        except BuildToolError as error:
            log.info("it is not known whether a visitor is still who they were: {error}", error=error)
        finally:
            self._asks = False

    def end(self) -> None:
        """End the stream in order: the browser connects again."""
        if not self._over:
            self._leave()
            self.ended.callback(None)

    def _look(self) -> None:
        """Find out what the visitor may hear of. Raises Unauthorised."""
        self.access.check_role(self.by, Act.SEE_FARM)
        self._all = self.access.projects(self.by) is None

    def _sees(self, project: str, platform: Canonical) -> bool:
        return self.access.sees(self.by, project, Act.SEE_BUILD, platform)

    def _sign_of_life(self) -> None:
        since = self.hub.away_since
        if since is None:
            self.request.write(message("alive", f"{self.hub.clock.wall():.3f}", self._told))
        else:
            self.request.write(message("silent", f"{since:.3f}", self._told))

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            self.hub.listeners.pop(self, None)
            if self.request.channel is not None:  # else the connection has ended already
                self.request.unregisterProducer()
            self.left()

    # --- as the connection takes it -------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Send nothing until what was sent is read."""
        if self._clogged_at is None:
            self._clogged_at = self.hub.timers.seconds()

    def resumeProducing(self) -> None:
        """Send at once all that happened meanwhile."""
        self._clogged_at = None
        missed = self.hub.after(self._told)
        if missed is not None:
            self.changed(missed)

    def stopProducing(self) -> None:
        """Stop sending: the visitor left."""
        self._leave()


def _defect(failure: object) -> None:
    log.failure("a visitor could not be asked for", failure)  # type: ignore[arg-type] # an errback's
