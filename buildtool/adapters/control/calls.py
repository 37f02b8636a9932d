"""Calls over a guarded connection, both ways: what a peer may call here, and how this side calls a peer.

A call carries one message (and perhaps references to objects), an answer is one message or ``Refused``. Exceptions
never cross the wire: what cannot be done is data.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, TypeVar, cast

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.spread import pb

from buildtool.adapters.control.connection import Guarded
from buildtool.adapters.control.decoder import ProtocolViolation
from buildtool.concurrency.asker import working_for
from buildtool.errors import BuildToolError, InternalError, Unavailable, by_code
from buildtool.protocol import codec
from buildtool.protocol.messages import Refused

CALL_TIMEOUT = 30.0
"""Seconds that an answer may take, unless the call is one that has to fetch something first."""

T = TypeVar("T", bound=attrs.AttrsInstance)

_CODES = by_code()


class RemoteEndpoint(pb.Referenceable):
    """An object that a peer may call: ``takes`` names its methods, each with the class of its message.

    ``remote_NAME`` is a coroutine function of that message, and of as many references as ``references`` says (none), or
    returns what can be awaited. It returns a message, or raises BuildToolError, which is answered as Refused. An
    unexpected exception is written to the log and answered as an internal error without its text. Messages are byte
    strings of JSON, unless it ``greets``: then they are dictionaries of Perspective Broker's own.
    """

    takes: ClassVar[Mapping[str, type[attrs.AttrsInstance]]] = {}
    references: ClassVar[Mapping[str, int]] = {}
    greets: ClassVar[bool] = False

    def remoteMessageReceived(self, broker: Guarded, message: str, args: Any, kw: object) -> Any:  # noqa: ANN401
        """Answer a call of ``message``. Raises ProtocolViolation where it does not have the form of one."""
        if message not in self.takes:
            raise ProtocolViolation(f"called {message!r}, which there is not here")
        sound = type(args) is list and len(args) == 2 + self.references.get(message, 0) and kw == [b"dictionary"]
        if not sound or args[0] != b"tuple" or type(args[1]) is not (list if self.greets else bytes):
            raise ProtocolViolation(f"called {message!r} in a wrong way")
        arguments = broker.unserialize(args)
        if not all(isinstance(reference, pb.RemoteReference) for reference in arguments[1:]):
            raise ProtocolViolation(f"called {message!r} in a wrong way")
        with working_for(broker.asker):
            return Deferred.fromCoroutine(self._answer(broker, message, *arguments))

    async def _answer(self, broker: Guarded, name: str, data: object, *references: pb.RemoteReference) -> object:
        try:
            waiting = self.handler(name)(self.read(name, data), *references)
            del data  # while it waits only what the handler needs of it takes memory
            answer = await waiting
            return self.write(answer)
        except BuildToolError as error:
            return self.write(refusal(error))
        except Exception:  # noqa: BLE001 - a defect must not reach the peer, nor leave it without an answer
            broker.complaints.defect(f"a defect while {broker.peer} called {name}", Failure())
            return self.write(refusal(InternalError("a mistake happened here; the details are in this side's log")))

    def handler(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return what answers a call of ``name``. Raises BuildToolError where it may not be called now."""
        method: Callable[..., Awaitable[Any]] = getattr(self, f"remote_{name}")
        return method

    def read(self, name: str, data: object) -> attrs.AttrsInstance:
        """Return the message of a call. Raises DecodeError."""
        return codec.decode(self.takes[name], data)

    def write(self, answer: Any) -> object:  # noqa: ANN401 - a message, unless it greets
        """Return what is sent for an answer. Raises EncodeError."""
        return codec.text_of(answer)


async def call(
    reference: pb.RemoteReference,
    name: str,
    message: attrs.AttrsInstance,
    expected: type[T],
    *references: pb.Referenceable,
    clock: IReactorTime,
    within: float = CALL_TIMEOUT,
) -> T:
    """Call a peer and return its answer, an ``expected``.

    Raises the error that it refused with, DecodeError for an answer that is none, and Unavailable when there is no
    answer ``within`` so many seconds or no connection any more.
    """
    answer = decoded(await call_plain(reference, name, message, *references, clock=clock, within=within), expected)
    if isinstance(answer, Refused):
        raise error_of(answer)
    return answer


async def call_plain(
    reference: pb.RemoteReference,
    name: str,
    message: attrs.AttrsInstance,
    *references: pb.Referenceable,
    clock: IReactorTime,
    within: float = CALL_TIMEOUT,
) -> object:
    """Call a peer and return whatever it answered ``within`` so many seconds. Raises EncodeError, Unavailable."""
    return await ask(reference, name, codec.text_of(message), *references, clock=clock, within=within)


async def ask(
    reference: pb.RemoteReference, name: str, *arguments: object, clock: IReactorTime, within: float = CALL_TIMEOUT
) -> object:
    """Call a peer with what is sent as it is; return its answer ``within`` so many seconds. Raises Unavailable."""
    try:
        waiting: Deferred[object] = reference.callRemote(name, *arguments)
        return await waiting.addTimeout(within, clock)
    except (pb.PBConnectionLost, pb.DeadReferenceError) as error:
        why = getattr(reference.broker, "why", "") or "the connection was lost"
        raise Unavailable(f"no answer to {name!r}: {why}") from error
    except defer.TimeoutError as error:
        raise Unavailable(f"no answer to {name!r} within {within:g} s") from error
    except pb.Error as error:
        raise Unavailable(f"no answer to {name!r}: the other side failed to give one") from error


def decoded(data: object, expected: type[T]) -> T | Refused:
    """Return an answer, which is either what was expected or a refusal. Raises DecodeError."""
    either = cast("types.UnionType", expected | Refused)
    return cast("T | Refused", codec.decode(either, data))


def refusal(error: BuildToolError) -> Refused:
    """Return what is answered where ``error`` was raised: its code, and its message in one line."""
    return Refused(error.code, " ".join(str(error).split()) or error.code)


def error_of(refused: Refused) -> BuildToolError:
    """Return the error that a peer refused with."""
    return _CODES.get(refused.code, BuildToolError)(refused.message)
