"""A Perspective Broker connection that a hostile peer can neither grow, stall nor make noisy.

Twisted's broker trusts its peer from the first byte on. This one counts: bytes and time until the peer has said
hello, the size and shape of each message, and connections; and the memory that a message takes from its first byte
until its answer is read: not complete, complete and not yet looked at, waiting for its answer, answered and not read.
It writes a bounded number of lines about whoever goes beyond. Before hello nothing but hello can be called, and at no
time anything but the methods of objects that were handed out.
"""

# Perspective Broker has no annotations, and its methods are inherited here.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.spread.jelly import SecurityOptions

from buildtool.adapters.control.decoder import Bounds, Expressions, ProtocolViolation, plain
from buildtool.adapters.control.encoder import Encoded, call_bytes, encoded
from buildtool.adapters.control.slices import Slices
from buildtool.adapters.network.connection_shares import ConnectionShares, ConnectionState, NoRoom
from buildtool.adapters.network.memory_budget import MemoryBudget
from buildtool.adapters.network.open_files import room_for
from buildtool.concurrency.asker import Asker
from buildtool.errors import DecodeError
from buildtool.model.addresses import network_of
from buildtool.protocol.json_text import TextBounds, memory_of, parsed

__all__ = ["ConnectionLimits", "Guarded", "GuardedFactory", "ProtocolViolation", "ViolationLog"]

_log = Logger()

STRANGER = Bounds(size=4 * 1024)
"""What one message may be until hello is said."""

REQUESTER = Bounds(size=512 * 1024, texts=TextBounds(20_000))
"""What one message of a requester may be."""

PEER = Bounds(size=700_000, texts=TextBounds(100_000))
"""What one message of a build server, or of the metaserver itself, may be."""

_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 120_000))
"""A peer that is gone without a word is noticed within two minutes (seconds; the last one in milliseconds)."""

_ARGUMENTS = {b"version": 1, b"message": 6, b"answer": 2, b"error": 2, b"decref": 1, b"didNotUnderstand": 1}
"""The commands of Perspective Broker that are understood, and how many arguments each has."""

_NAME_LIMIT = 40

_PART = 8 * 1024
"""Bytes that are parsed at once."""

_LOOK_AFTER_GONE = 2.0
"""Seconds between two looks whether a peer that is not listened to has gone: nothing else would tell."""

_CLOSE_WAIT = 8
"""The state in which Linux has a connection that its peer has ended; the first byte of ``TCP_INFO``."""


@frozen
class ConnectionLimits:
    """The limits of connections; times in seconds, sizes in bytes.

    Of ``connections`` each network has a share, see ``ConnectionShares``. ``stranger_bytes`` and ``hello_time`` bound a
    stranger, ``idle_time`` a requester who neither asks nor waits, ``stall_time`` how long a peer may leave our answers
    unread and ``unread`` how many bytes of them. ``calls`` of one peer run at once, and as many as take ``waiting``
    bytes; further ones are not read before. ``held`` bounds the memory of all messages of all peers.
    """

    connections: int = 2_000
    stranger_bytes: int = 8 * 1024
    hello_time: float = 10.0
    idle_time: float = 600.0
    stall_time: float = 60.0
    calls: int = 64
    waiting: int = 4 * 1024**2
    unread: int = 8 * 1024**2
    held: int = 64 * 1024**2


class ViolationLog:
    """A log of peers that misbehave: at most ``most`` lines in ``period`` seconds, then how many more there were."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, most: int = 10, period: float = 60.0) -> None:
        self._clock = clock
        self._most = most
        self._period = period
        self._said = 0
        self._swallowed = 0
        self._since = -period

    def say(self, line: str) -> None:
        """Write one line, unless there have been enough of them."""
        if self._room():
            self._log.warn("{line}", line=line)

    def defect(self, what: str, failure: Failure) -> None:
        """Write down a mistake of this program's own, with its traceback."""
        if self._room():
            self._log.failure("{what}", failure, what=what)

    def _room(self) -> bool:
        now = self._clock.seconds()
        if now - self._since >= self._period:
            if self._swallowed:
                self._log.warn("{count} more lines about connections were left out", count=self._swallowed)
            self._since, self._said, self._swallowed = now, 0, 0
        if self._said >= self._most:
            self._swallowed += 1
            return False
        self._said += 1
        return True


def _how_lost(reason: Failure) -> str:
    """Return how a connection ended, without the words in which Twisted says no more than that it did."""
    if reason.check(error.ConnectionDone):
        return "closed"
    return "lost" if reason.check(error.ConnectionLost) else f"lost: {reason.getErrorMessage().rstrip('.')}"


class Guarded(pb.Broker):
    """One connection. ``admit`` lifts a stranger's bounds; ``drop`` ends it at once, ``leave`` when all is written.

    A client's side trusts its server no more than the other way round, but has nobody to wait for a hello from.
    """

    knownDialects = [b"pb"]  # noqa: RUF012 - Banana's own attribute
    transport: Any
    factory: Any
    waitingForAnswers: Any
    connects: Any

    def __init__(
        self,
        clock: IReactorTime,
        complaints: ViolationLog,
        limits: ConnectionLimits | None = None,
        *,
        is_client: bool,
        house: GuardedFactory | None = None,
    ) -> None:
        """``house`` counts this connection, and the memory that it holds.

        ``capabilities`` are those that the peer names in its hello.
        """
        security = SecurityOptions()
        security.allowBasicTypes()
        super().__init__(is_client, security)
        self.clock = clock
        self.complaints = complaints
        self.limits = limits or ConnectionLimits()
        self.known = is_client
        self.why = ""
        self.asker = Asker()
        self.ready: Deferred[None] = Deferred()
        self._house = house
        self.capabilities: frozenset[str] = frozenset()
        self._expressions = Expressions(PEER if is_client else STRANGER)
        self._budget = self.limits.stranger_bytes
        self._heard = self._last = clock.seconds()
        self._watch: IDelayedCall | None = None
        self._stall: IDelayedCall | None = None
        self._gone: IDelayedCall | None = None
        self._patient = 0
        self._calls = 0
        self._unparsed = bytearray()
        self._queue: deque[tuple[object, int]] = deque()
        self._weight = self._queued = self._waiting = self._unread = 0
        self._working = self._paused = False

    # --- its life ---------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Start to count what comes."""
        self.asker = Asker(_network(self.transport.getPeer()), id(self))
        if self._house is not None:
            self._house.arrived(self)
        no_delay(self.transport)
        self.transport.registerProducer(self, True)
        super().connectionMade()
        if self.known:
            keep_alive(self.transport)
        else:
            self._watch = self.clock.callLater(
                self.limits.hello_time, self.drop, f"said no hello within {self.limits.hello_time:g} s"
            )

    def connectionReady(self) -> None:
        """Start the exchange, since both sides have agreed to speak Perspective Broker."""
        self.sendCall(b"version", self.version)
        self.connects = None
        self.ready.callback(None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Stop counting, and tell those who asked to be told."""
        self.why = self.why or f"the connection{' to the metaserver' if self.isClient else ''} was {_how_lost(reason)}"
        for timer in (self._watch, self._stall, self._gone):
            if timer is not None and timer.active():
                timer.cancel()
        if self._house is not None:
            self._house.left(self)
        self._expressions = Expressions(STRANGER)
        self._queue.clear()
        self._unparsed.clear()
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
        self._expressions.bounds = bounds
        self._stands()
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.clock.callLater(self.limits.idle_time, self._look)

    def drop(self, why: str) -> None:
        """End the connection at once and say why in the log."""
        if not self.why and not self.disconnected:
            self.why = why
            self.complaints.say(f"connection with {self.peer()} closed: {why}")
            self.transport.abortConnection()

    def leave(self, why: str) -> None:
        """End the connection when everything is written."""
        if not self.why and not self.disconnected:
            self.why = why
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def peer(self) -> str:
        """Return the other side's address for people."""
        return address_of(self.transport.getPeer())

    # --- how it stands ----------------------------------------------------------------------------------

    @property
    def patient(self) -> int:
        """For how many things that may never happen the peer waits: orders, news of what it follows."""
        return self._patient

    @patient.setter
    def patient(self, count: int) -> None:
        self._patient = count
        self._stands()

    @property
    def silent_for(self) -> float:
        """For how many seconds nothing was heard of the peer."""
        return self.clock.seconds() - self._last

    @property
    def held(self) -> int:
        """About how many bytes of memory this connection's messages take, whatever state they are in."""
        return len(self._unparsed) + self._expressions.held + self._queued + self._waiting + self._unread

    def _stands(self) -> None:
        if self._house is None:
            return
        if not self.known:
            standing = ConnectionState.STRANGER
        elif self._stall is not None:
            standing = ConnectionState.BUSY
        else:
            standing = ConnectionState.WAITS if self._patient or self._calls else ConnectionState.IDLE
        self._house.stands(self, standing)

    def _account(self) -> None:
        if self._house is not None and not self.disconnected:
            self._house.holds(self)

    # --- what comes in ----------------------------------------------------------------------------------

    def dataReceived(self, chunk: bytes) -> None:
        """Take what arrived, as far as bounds allow."""
        if self.why or self.disconnected:
            return
        self._heard = self._last = self.clock.seconds()
        if self._house is not None:
            self._house.heard(self)
        self._bounded(self._take, chunk)

    def _bounded(self, act: Callable[..., None], *arguments: object) -> None:
        """Do something with what the peer sent; whatever it provokes ends its connection, not the program."""
        try:
            act(*arguments)
        except ProtocolViolation as breach:
            self.drop(str(breach))
        except Exception:  # noqa: BLE001 - see above
            self.complaints.defect(f"connection with {self.peer()}: a defect", Failure())
            self.drop("it ran into a defect of this program")

    def _take(self, chunk: bytes) -> None:
        if not self.known:
            self._budget -= len(chunk)
            if self._budget < 0:
                raise ProtocolViolation(f"sent {self.limits.stranger_bytes} bytes without a hello")
        anew = not (self._queue or self._unparsed)
        self._unparsed += chunk
        self._work(anew=anew)

    def _parse(self) -> None:
        """Parse a part of what came: as objects it takes many times the memory, so the rest stays as it is."""
        part = bytes(self._unparsed[:_PART])
        del self._unparsed[:_PART]
        expressions = self._expressions.feed(part)
        self._queue.extend(zip(expressions, self._expressions.weights, strict=True))
        self._queued += sum(self._expressions.weights)

    def _work(self, *, anew: bool = False) -> None:
        """Look at what has come, now or when it is this connection's turn; ``anew`` if nothing was left from before."""
        if self._working:
            return
        if self._house is None:
            self.look(bool)
        elif not self._has_work() or not self._house.slices.ask(self, anew=anew):
            self._account()
            self._flow()

    def look(self, enough: Callable[[], bool]) -> bool:
        """Perform what has come complete, one after the other, as long as the peer has not enough under way.

        Ends early when it is ``enough``; returns whether there is more.
        """
        self._working = True
        try:
            self._bounded(self._look_until, enough)
        finally:
            self._working = False
        self._account()
        self._flow()
        return self._has_work()

    def _look_until(self, enough: Callable[[], bool]) -> None:
        while self._has_work():
            if self._queue:
                expression, self._weight = self._queue.popleft()
                self._queued -= self._weight
                self.callExpressionReceived(expression)
            else:
                self._parse()
            if enough():
                return

    def _has_work(self) -> bool:
        return bool(self._queue or self._unparsed) and self._listens() and not (self.why or self.disconnected)

    def _listens(self) -> bool:
        """Say whether more of the peer is looked at; one call, however large, may always wait for its answer."""
        if self._stall is not None or self._calls >= self.limits.calls:
            return False
        return not self._calls or self._waiting < self.limits.waiting

    def _flow(self) -> None:
        """Read on, or do not, as what is under way asks for."""
        pause = bool(self._queue or self._unparsed) or not self._listens()
        if self.why or self.disconnected or pause is self._paused:
            return
        self._paused = pause
        if not pause:
            self.transport.resumeProducing()
            return
        self.transport.pauseProducing()
        if self._gone is None:
            self._gone = self.clock.callLater(_LOOK_AFTER_GONE, self._look_after_gone)

    def _look_after_gone(self) -> None:
        self._gone = None
        if not self._paused:
            return
        if has_ended(self.transport):
            self.drop("it has gone while it waited for answers")
        else:
            self._gone = self.clock.callLater(_LOOK_AFTER_GONE, self._look_after_gone)

    def callExpressionReceived(self, obj: object) -> None:
        """Check the dialect first; then each expression is a command. Raises ProtocolViolation."""
        if self.currentDialect:
            self.expressionReceived(obj)
        elif not self.isClient and obj == b"pb":
            self._selectDialect(b"pb")
        elif self.isClient and type(obj) is list and b"pb" in obj:
            self.sendEncoded(b"pb")
            self._selectDialect(b"pb")
        else:
            raise ProtocolViolation("does not speak Perspective Broker")

    def expressionReceived(self, sexp: object) -> None:
        """Perform one of the commands that are understood. Raises ProtocolViolation."""
        command = sexp[0] if type(sexp) is list and sexp else None
        if type(sexp) is not list or type(command) is not bytes or _ARGUMENTS.get(command) != len(sexp) - 1:
            raise ProtocolViolation("sent a command that is none")
        getattr(self, f"proto_{command.decode()}")(*sexp[1:])

    def proto_version(self, vnum: object) -> None:
        """Compare the versions of Perspective Broker itself. Raises ProtocolViolation."""
        if vnum != self.version:
            raise ProtocolViolation("speaks another version of Perspective Broker")

    def proto_didNotUnderstand(self, command: object) -> None:
        """Raise ProtocolViolation: nothing is ever sent that the other side could not understand."""
        raise ProtocolViolation("did not understand us")

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
        weight = max(self._weight, _memory_of(arguments))
        result: Deferred[Any] = target.object.remoteMessageReceived(self, name.decode(), arguments, keywords)
        self._calls += 1
        self._waiting += weight
        if self._calls == 1:
            self._stands()
        if answer_required:
            result.addCallback(self._sendAnswer, request_id)
        result.addErrback(self._unanswerable)
        result.addBoth(self._answered, weight)

    def _answered(self, _result: object, weight: int) -> None:
        self._calls -= 1
        self._waiting -= weight
        self._heard = self.clock.seconds()
        if not self._calls:
            self._stands()
        if not self._working:
            self._work()

    def _unanswerable(self, failure: Failure) -> None:
        self.complaints.defect(f"connection with {self.peer()}: an answer could not be made", failure)
        self.drop("it could not be answered")

    def proto_answer(self, requestID: object, netResult: object) -> None:
        """Deliver an answer to the call that waits for it."""
        answer = self.unserialize(netResult)  # may end the connection, and with it all that waits
        self._asker(requestID).callback(answer)

    def proto_error(self, requestID: object, fail: object) -> None:
        """Fail the call that waits, since the other side did; whatever it says about that is not looked at."""
        self._asker(requestID).errback(Failure(pb.Error("the other side failed to answer")))

    def _asker(self, request_id: object) -> Deferred[Any]:
        found = self.waitingForAnswers.pop(request_id, None) if type(request_id) is int else None
        if found is None:
            raise ProtocolViolation("answered what was not asked")
        answer: Deferred[Any] = found
        return answer

    def proto_decref(self, objectID: object) -> None:
        """Forget an object on behalf of the other side, which was given it. Raises ProtocolViolation."""
        if type(objectID) is not int or objectID not in self.localObjects:
            raise ProtocolViolation("gave back an object that it was not given")
        pb.Broker.proto_decref(self, objectID)

    def unserialize(self, sexp: object, perspective: object = None) -> Any:  # noqa: ANN401
        """Return the plain data of messages, and references. Raises ProtocolViolation."""
        found = plain(sexp, lambda number: pb.RemoteReference(None, self, number, True))
        return tuple(map(self._message, found)) if type(found) is tuple else self._message(found)

    def _message(self, part: object) -> object:
        """Return what a message's text holds, or whatever else it is. Raises ProtocolViolation."""
        if type(part) is not bytes:
            return part
        try:
            return parsed(part, self._expressions.bounds.texts)
        except DecodeError as error:
            raise ProtocolViolation(f"sent {error}") from None

    # --- what goes out ----------------------------------------------------------------------------------

    def serialize(self, object: Any, *_about: object, **_more: object) -> Any:  # noqa: A002, ANN401
        """Return plain data, and references to objects of ours, as they go out."""
        if isinstance(object, Deferred):
            return object.addCallback(self._encoded)
        return self._encoded(object)

    def _encoded(self, data: object) -> Encoded:
        return encoded(data, self.registerReference)

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
        self._flow()

    def resumeProducing(self) -> None:
        """Resume reading: the peer reads again."""
        if self._stall is not None and self._stall.active():
            self._stall.cancel()
        self._stall = None
        self._unread = 0
        self._stands()
        self._work()

    def _look(self) -> None:
        """Drop a peer that has neither said nor waited for anything for long, or look again later."""
        left = self._heard + self.limits.idle_time - self.clock.seconds()
        if self.patient or self._calls:
            left = self.limits.idle_time
        if left <= 0:
            self.drop(f"was idle for {self.limits.idle_time:g} s")
        else:
            self._watch = self.clock.callLater(left, self._look)


class GuardedFactory(Factory):
    """A listener: makes a ``Guarded`` for each connection that there is room for, with a root object of its own."""

    noisy = False

    def __init__(
        self, root: Callable[[Guarded], pb.Referenceable], clock: IReactorTime, limits: ConnectionLimits | None = None
    ) -> None:
        self._root = root
        self._clock = clock
        self.limits = limits or ConnectionLimits()
        self.complaints = ViolationLog(clock)
        self._connections: ConnectionShares[Guarded] = ConnectionShares(room_for(self.limits.connections))
        self._memory: MemoryBudget[Guarded] = MemoryBudget(self.limits.held)
        self.slices = Slices(clock)

    def buildProtocol(self, addr: IAddress | None) -> Guarded | None:
        """Return the connection's protocol, or None (which closes it) when there is no room for one more."""
        try:
            other = self._connections.make_room(_network(addr), self._clock.seconds())
        except NoRoom as full:
            self.complaints.say(f"connection with {address_of(addr)} not taken: {full}")
            return None
        if other is not None:
            self._end(other, "it made room for somebody else, having been idle for longest")
        made = Guarded(self._clock, self.complaints, self.limits, is_client=False, house=self)
        made.factory = self
        made.localObjects[b"root"] = pb.Local(self._root(made))
        return made

    @property
    def memory(self) -> int:
        """About how many bytes of memory the messages of all connections take."""
        return self._memory.total

    def arrived(self, connection: Guarded) -> None:
        """Count a connection."""
        self._connections.arrived(connection, _network(connection.transport.getPeer()), self._clock.seconds())

    def heard(self, connection: Guarded) -> None:
        """Record that something came from a connection."""
        self._connections.heard(connection, self._clock.seconds())

    def stands(self, connection: Guarded, standing: ConnectionState) -> None:
        """Record what a connection is doing."""
        self._connections.stands(connection, standing, self._clock.seconds())

    def left(self, connection: Guarded) -> None:
        """Forget a connection, and the memory that it took."""
        self._memory.takes(connection, _network(connection.transport.getPeer()), 0)
        self._connections.left(connection)

    def holds(self, connection: Guarded) -> None:
        """Count the memory that a connection takes, and close those that take most where that is too much."""
        if connection not in self._connections:
            return
        self._memory.takes(connection, self._connections.network(connection), connection.held)
        while (heaviest := self._memory.too_much()) is not None:
            self._end(heaviest, f"its messages took {heaviest.held} bytes of memory, the most when there was no more")

    def _end(self, connection: Guarded, why: str) -> None:
        connection.drop(why)
        self.left(connection)

    def close(self, why: str) -> None:
        """End all connections, each when everything is written."""
        if len(self._connections):
            what = "1 connection" if len(self._connections) == 1 else f"{len(self._connections)} connections"
            _log.info("cut off: {what}, since {why}", what=what, why=why)
        for connection in self._connections:
            connection.leave(why)


def _memory_of(arguments: object) -> int:
    """Return the memory that the objects of a call's message will take."""
    text = arguments[1] if type(arguments) is list and len(arguments) > 1 else None
    return memory_of(text) if type(text) is bytes else 0


def no_delay(transport: object) -> None:
    """Set that small messages are sent at once, as far as this transport can."""
    found = _internet_socket(transport)
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def keep_alive(transport: object) -> None:
    """Set that the system finds out when a peer is gone, as far as this transport and system can."""
    found = _internet_socket(transport)
    if found is None:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _internet_socket(transport: object) -> socket.socket | None:
    found = getattr(transport, "socket", None)
    internet = isinstance(found, socket.socket) and found.family in (socket.AF_INET, socket.AF_INET6)
    return found if internet else None


def address_of(address: object) -> str:
    """Return an address for people."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return f"{host}:{port}" if host is not None else str(address)[:80]


def has_ended(transport: object) -> bool:
    """Return whether the peer has ended the connection before all it sent was read; False where that is unknown."""
    found = getattr(transport, "socket", None)
    if not isinstance(found, socket.socket) or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        return found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[:1] == bytes((_CLOSE_WAIT,))
    except OSError:
        return False


def _network(address: object) -> str:
    return network_of(str(getattr(address, "host", "")))
