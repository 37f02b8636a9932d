"""Perspective Broker as both sides speak it here: its calls and answers, with plain data and references, nothing else.

Twisted's broker trusts its peer: what comes may name classes, and what goes out is found out part by part. Of this one
the methods of objects that were handed out can be called, and whatever is not as it must be is a ProtocolViolation.
"""

# Perspective Broker has no annotations, and its methods are inherited here.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.spread.jelly import SecurityOptions

from buildtool.adapters.control.decoder import Bounds, Incoming, ProtocolViolation, plain
from buildtool.adapters.control.encoder import Encoded, call_bytes, encoded
from buildtool.errors import DecodeError
from buildtool.protocol.json_text import parsed

_ARGUMENTS = {b"version": 1, b"message": 6, b"answer": 2, b"error": 2, b"decref": 1, b"didNotUnderstand": 1}
"""The commands of Perspective Broker that are understood, and how many arguments each has."""

SERVER_FIRST = 0.1
"""Seconds for which a client leaves the first word to its server, before it says itself what it speaks.

A port that waits for TLS never has that word, and answers this one at once.
"""

_METHODS = {command: f"proto_{command.decode()}" for command in _ARGUMENTS}


class PlainBroker(pb.Broker):
    """One side of a conversation; ``incoming`` is what came of the other's and was not looked at.

    ``ready`` fires when both sides have agreed to speak Perspective Broker.
    """

    knownDialects = [b"pb"]  # noqa: RUF012 - Banana's own attribute
    transport: Any
    waitingForAnswers: Any
    connects: Any

    def __init__(self, bounds: Bounds, *, is_client: bool) -> None:
        """``bounds`` is the most that one message of the peer may be."""
        security = SecurityOptions()
        security.allowBasicTypes()
        super().__init__(is_client, security)
        self.incoming = Incoming(bounds)
        self.ready: Deferred[None] = Deferred()
        self._said = False

    def first_word(self, clock: IReactorTime) -> IDelayedCall | None:
        """Start to wait for the server's first word, where it may be one that waits for TLS in vain.

        By TLS the server speaks anyway, and what this side writes before the handshake has ended keeps it from reading
        on, and so that from ending.
        """
        tls = hasattr(self.transport, "getPeerCertificate")
        return None if tls else clock.callLater(SERVER_FIRST, self.say_dialect)

    def say_dialect(self) -> None:
        """Send what is spoken here, Perspective Broker, unless it was sent."""
        if not self._said:
            self._said = True
            self.sendEncoded(b"pb")

    def connectionReady(self) -> None:
        """Start the exchange, since both sides have agreed to speak Perspective Broker."""
        self.sendCall(b"version", self.version)
        self.connects = None
        self.ready.callback(None)

    def callExpressionReceived(self, obj: object) -> None:
        """Check the dialect first; then each expression is a command. Raises ProtocolViolation."""
        if self.currentDialect:
            self.expressionReceived(obj)
        elif not self.isClient and obj == b"pb":
            self._selectDialect(b"pb")
        elif self.isClient and type(obj) is list and b"pb" in obj:
            self.say_dialect()
            self._selectDialect(b"pb")
        else:
            raise ProtocolViolation("does not speak Perspective Broker")

    def expressionReceived(self, sexp: object) -> None:
        """Perform one of the commands that are understood. Raises ProtocolViolation."""
        command = sexp[0] if type(sexp) is list and sexp else None
        if type(sexp) is not list or type(command) is not bytes or _ARGUMENTS.get(command) != len(sexp) - 1:
            raise ProtocolViolation("sent a command that is none")
        getattr(self, _METHODS[command])(*sexp[1:])

    def proto_version(self, vnum: object) -> None:
        """Compare the versions of Perspective Broker itself. Raises ProtocolViolation."""
        if vnum != self.version:
            raise ProtocolViolation("speaks another version of Perspective Broker")

    def proto_didNotUnderstand(self, command: object) -> None:
        """Raise ProtocolViolation: nothing is ever sent that the other side could not understand."""
        raise ProtocolViolation("did not understand us")

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
            return parsed(part, self.incoming.bounds.texts)
        except DecodeError as error:
            raise ProtocolViolation(f"sent {error}") from None

    def serialize(self, object: Any, *_about: object, **_more: object) -> Encoded:  # noqa: A002, ANN401
        """Return plain data, and references to objects of ours, as they go out."""
        return encoded(object, self.registerReference)

    def sendCall(self, *exp: object) -> None:
        """Send a command."""
        self.transport.write(call_bytes(exp))
