"""A Perspective Broker connection that a hostile peer can neither grow, stall nor make noisy.

It counts: bytes and time until the peer has said hello, the size and shape of each message, and the memory that a
message takes from its first byte until its answer is read: not complete, complete and not yet looked at, waiting for
its answer, answered and not read. Before hello nothing but hello can be called. The ``listener`` counts connections.
"""

# Perspective Broker has no annotations, and its methods are inherited here.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from buildtool.adapters.control.broker import PlainBroker
from buildtool.adapters.control.decoder import Bounds, Incoming, ProtocolViolation
from buildtool.adapters.control.encoder import call_bytes
from buildtool.adapters.control.limits import PEER, STRANGER, ConnectionLimits
from buildtool.adapters.network.connection_shares import ConnectionState
from buildtool.adapters.network.endpoints import address_of, has_ended, keep_alive, network_at, no_delay
from buildtool.adapters.network.slices import Slices
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.words import speaks_tls
from buildtool.concurrency.asker import Asker
from buildtool.protocol.json_text import memory_of

_NAME_LIMIT = 40

_LOOK_AFTER_GONE = 2.0
"""Seconds between two looks whether a peer that is not listened to has gone: nothing else would tell."""


class House(Protocol):
    """The count of a port's connections, and of the memory that they hold; it has them take turns."""

    slices: Slices

    def arrived(self, connection: Guarded) -> None:
        """Count a connection."""

    def heard(self, connection: Guarded) -> None:
        """Record that something came from a connection."""

    def stands(self, connection: Guarded, state: ConnectionState) -> None:
        """Record what a connection is doing."""

    def holds(self, connection: Guarded) -> None:
        """Count the memory that a connection takes."""

    def left(self, connection: Guarded) -> None:
        """Forget a connection."""


def _how_lost(reason: Failure) -> str:
    """Return how a connection ended, without the words in which Twisted says no more than that it did."""
    if reason.check(error.ConnectionDone):
        return "closed"
    return "lost" if reason.check(error.ConnectionLost) else f"lost: {reason.getErrorMessage().rstrip('.')}"


class Guarded(PlainBroker):
    """One connection. ``admit`` lifts a stranger's bounds; ``drop`` ends it at once, ``leave`` when all is written.

    ``peer`` is the other side's address for people, ``why`` the reason for which it ended, ``capabilities`` are those
    that the peer named in its hello, and ``heard_at`` is when it was heard of last, in seconds of ``clock``. A client's
    side trusts its server no more than the other way round, but waits for no hello; ``meets_tls`` is whether the server
    waited for TLS.
    """

    factory: Any

    def __init__(
        self,
        clock: IReactorTime,
        complaints: ViolationLog,
        limits: ConnectionLimits | None = None,
        *,
        is_client: bool,
        house: House | None = None,
    ) -> None:
        """``house`` counts this connection, and the memory that it holds."""
        super().__init__(PEER if is_client else STRANGER, is_client=is_client)
        self.clock = clock
        self.complaints = complaints
        self.limits = limits or ConnectionLimits()
        self.known = is_client
        self.peer = self.why = ""
        self.asker = Asker()
        self.key = ""
        self.capabilities: frozenset[str] = frozenset()
        self.heard_at = clock.seconds()
        self._house = house
        self._silence = _Silence(self)
        self._reading = _Reading(self)
        self._stall: IDelayedCall | None = None
        self._budget = self.limits.stranger_bytes
        self._patient = 0
        self._calls = self._waiting = self._unread = 0
        self._working = False
        self.meets_tls = False

    # --- its life ---------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Start to count what comes."""
        address = self.transport.getPeer()
        self.peer = address_of(address)
        self.asker = Asker(network_at(address), id(self))
        if self._house is not None:
            self._house.arrived(self)
        no_delay(self.transport)
        self.transport.registerProducer(self, True)
        super().connectionMade()
        if self.known:
            keep_alive(self.transport)
            self._silence.timer = self.first_word(self.clock)
        else:
            self._silence.before_hello()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Stop counting, and tell those who asked to be told."""
        self.why = self.why or f"the connection{' to the metaserver' if self.isClient else ''} was {_how_lost(reason)}"
        for timer in (self._silence.timer, self._reading.timer, self._stall):
            if timer is not None and timer.active():
                timer.cancel()
        if self._house is not None:
            self._house.left(self)
        self.incoming = Incoming(STRANGER)
        super().connectionLost(reason)
        self.asker.leave()
        if self.isClient and not self.ready.called:
            self.ready.errback(reason)

    def admit(self, bounds: Bounds) -> None:
        """Record that the peer said hello: from now on its messages may be as long as ``bounds`` says."""
        if self.known or self.disconnected:
            return
        self.known = True
        keep_alive(self.transport)  # of a stranger it is known soon enough
        self.incoming.bounds = bounds
        self._stands()
        self._silence.after_hello()

    def drop(self, why: str) -> None:
        """End the connection at once and say why in the log."""
        if not self.why and not self.disconnected:
            self.why = why
            self.complaints.say(f"connection with {self.peer} closed: {why}")
            self.transport.abortConnection()

    def leave(self, why: str) -> None:
        """End the connection when everything is written."""
        if not self.why and not self.disconnected:
            self.why = why
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # --- its state --------------------------------------------------------------------------------------

    @property
    def patient(self) -> int:
        """For how many things that may never happen the peer waits: orders, news of what it follows."""
        return self._patient

    @patient.setter
    def patient(self, count: int) -> None:
        self._patient = count
        self._stands()

    @property
    def waits(self) -> bool:
        """Whether the peer waits for something of ours, and is right to be silent."""
        return bool(self._patient or self._calls)

    @property
    def held(self) -> int:
        """About how many bytes of memory this connection's messages take, whatever state they are in."""
        return self.incoming.held + self._waiting + self._unread

    def _stands(self) -> None:
        if self._house is None:
            return
        if not self.known:
            state = ConnectionState.STRANGER
        elif self._stall is not None:
            state = ConnectionState.BUSY
        else:
            state = ConnectionState.WAITS if self._patient or self._calls else ConnectionState.IDLE
        self._house.stands(self, state)

    def _account(self) -> None:
        """Count the memory, and read on or pause, as what is under way asks for."""
        if self._house is not None and not self.disconnected:
            self._house.holds(self)
        if not (self.why or self.disconnected):
            self._reading.pause(bool(self.incoming) or not self._listens())

    # --- what comes in ----------------------------------------------------------------------------------

    def dataReceived(self, chunk: bytes) -> None:
        """Take what arrived, as far as bounds allow."""
        if self.why or self.disconnected:
            return
        if self.isClient and not self.currentDialect and not self.incoming and speaks_tls(chunk):
            self.meets_tls = True
            self.transport.abortConnection()
            return
        self.heard_at = self._silence.since = self.clock.seconds()
        if self._house is not None:
            self._house.heard(self)
        if not self.known:
            self._budget -= len(chunk)
            if self._budget < 0:
                self.drop(f"sent {self.limits.stranger_bytes} bytes without a hello")
                return
        anew = not self.incoming
        self.incoming.put(chunk)
        self._work(anew=anew)

    def _work(self, *, anew: bool = False) -> None:
        """Look at what has come, now or when it is this connection's turn; ``anew`` if nothing was left from before."""
        if self._working:
            return
        if self._house is None:
            self.look(bool)
        elif not (self.incoming and self._listens()) or not self._house.slices.ask(self, ahead=anew):
            self._account()

    def look(self, enough: Callable[[], bool]) -> bool:
        """Perform what has come complete, one after the other, as long as the peer has not enough under way.

        Ends early when it is ``enough``; says whether there is more. Whatever the peer provokes ends its connection,
        not the program.
        """
        self._working = True
        try:
            while self.incoming and self._listens():
                expression = self.incoming.take()
                if expression is not None:
                    self.callExpressionReceived(expression)
                if enough():
                    break
        except ProtocolViolation as breach:
            self.drop(str(breach))
        except Exception:  # noqa: BLE001 - see above
            self.complaints.defect(f"connection with {self.peer}: a defect", Failure())
            self.drop("it ran into a defect of this program")
        finally:
            self._working = False
        self._account()
        return bool(self.incoming) and self._listens()

    def _listens(self) -> bool:
        """Return whether more of the peer is looked at; one call, however large, may always wait for its answer."""
        if self._stall is not None or self._calls >= self.limits.calls or self.why or self.disconnected:
            return False
        return not self._calls or self._waiting < self.limits.waiting

    def proto_message(self, *call: Any) -> None:  # noqa: ANN401
        """Call a method of an object that was handed out. Raises ProtocolViolation."""
        request_id, object_id, name, answer_required, arguments, keywords = call
        sound = type(request_id) is int and type(object_id) in (int, bytes) and type(name) is bytes
        if not sound or len(name) > _NAME_LIMIT or not name.isalpha():
            raise ProtocolViolation("sent a call that is none")
        if not self.known and (object_id, name) != (b"root", b"hello"):
            raise ProtocolViolation("called something before it said hello")
        target = self.localObjects.get(object_id)
        if target is None:
            raise ProtocolViolation("called an object that it was not given")
        weight = max(self.incoming.weight, _memory_of(arguments))
        answer: Deferred[Any] = target.object.remoteMessageReceived(self, name.decode(), arguments, keywords)
        self._calls += 1
        self._waiting += weight
        if self._calls == 1:
            self._stands()
        answer.addBoth(self._answered, request_id if answer_required else None, weight)

    def _answered(self, outcome: object, request_id: int | None, weight: int) -> None:
        """Send what a call came to, where an answer is wanted, and go on with what has come meanwhile."""
        try:
            if isinstance(outcome, Failure):
                outcome.raiseException()
            if request_id is not None and not self.disconnected:  # Twisted's broker can write nothing any more
                self.sendCall(b"answer", request_id, self.serialize(outcome))
        except Exception:  # noqa: BLE001 - an answer that cannot be made ends its connection, not the program
            self.complaints.defect(f"connection with {self.peer}: an answer could not be made", Failure())
            self.drop("it could not be answered")
        self._calls -= 1
        self._waiting -= weight
        self._silence.since = self.clock.seconds()
        if not self._calls:
            self._stands()
        if not self._working:
            self._work()

    # --- what goes out ----------------------------------------------------------------------------------

    def sendCall(self, *exp: object) -> None:
        """Send a command."""
        data = call_bytes(exp)
        self.transport.write(data)
        if self._stall is None:
            return
        self._unread += len(data)
        self._account()
        if self._unread > self.limits.unread:
            self.drop(f"left {self._unread} bytes of answers unread")

    def pauseProducing(self) -> None:
        """Pause reading until the peer has read what was written."""
        if self._stall is None and not self.disconnected:
            self._stall = self.clock.callLater(
                self.limits.stall_time, self.drop, f"left answers unread for {self.limits.stall_time:g} s"
            )
            self._stands()
        self._account()

    def resumeProducing(self) -> None:
        """Resume reading: the peer reads again."""
        if self._stall is not None and self._stall.active():
            self._stall.cancel()
        self._stall = None
        self._unread = 0
        self._stands()
        self._work()


@define(eq=False)
class _Silence:
    """Ends a connection over which no hello comes in time, and later neither a question nor an answer for long.

    ``since`` is when there was one last.
    """

    connection: Guarded
    since: float = field(init=False)
    timer: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.since = self.connection.clock.seconds()

    def before_hello(self) -> None:
        there, most = self.connection, self.connection.limits.hello_time
        self.timer = there.clock.callLater(most, there.drop, f"said no hello within {most:g} s")

    def after_hello(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.connection.clock.callLater(self.connection.limits.idle_time, self._look)

    def _look(self) -> None:
        """Drop a peer that has neither said nor waited for anything for long, or look again later."""
        there, most = self.connection, self.connection.limits.idle_time
        left = most if there.waits else self.since + most - there.clock.seconds()
        if left <= 0:
            there.drop(f"was idle for {most:g} s")
        else:
            self.timer = there.clock.callLater(left, self._look)


@define(eq=False)
class _Reading:
    """Reads on or does not. While nothing is read, nothing would tell that the peer has gone: so it is looked after."""

    connection: Guarded
    timer: IDelayedCall | None = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)

    def pause(self, pause: bool) -> None:  # noqa: FBT001 - the one thing that is said
        if pause is self._paused:
            return
        self._paused = pause
        if not pause:
            self.connection.transport.resumeProducing()
            return
        self.connection.transport.pauseProducing()
        if self.timer is None:
            self.timer = self.connection.clock.callLater(_LOOK_AFTER_GONE, self._look)

    def _look(self) -> None:
        self.timer = None
        if not self._paused:
            return
        if has_ended(self.connection.transport):
            self.connection.drop("it has gone while it waited for answers")
        else:
            self.timer = self.connection.clock.callLater(_LOOK_AFTER_GONE, self._look)


def _memory_of(arguments: object) -> int:
    """Return the memory that the objects of a call's message will take."""
    text = arguments[1] if type(arguments) is list and len(arguments) > 1 else None
    return memory_of(text) if type(text) is bytes else 0
