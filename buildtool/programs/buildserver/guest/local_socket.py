"""The socket in a build server's directory by which its owner commands it: a line of JSON each way.

Only who owns the build server, or root, is answered; who it is, the system says.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from attrs import define
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from buildtool.adapters.control.operator_endpoint import (
    NAME,
    ControlPort,
    listen_control,
    operator_at,
    short_address,
)
from buildtool.errors import BuildToolError, NoBuildServer, Unauthorised, UsageError
from buildtool.programs.common.output import called

LONGEST_LINE = 8 * 1024
MOST_CONNECTIONS = 8

PATIENCE = 5.0
"""Seconds that whoever connects has to ask, and a build server to answer."""

Answering = Callable[[Mapping[str, object]], dict[str, object]]


class _OwnerLine(LineReceiver, TimeoutMixin):
    """One connection: one question, one answer."""

    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE

    def __init__(self, factory: OwnerFactory) -> None:
        self._factory = factory

    @property
    def _transport(self) -> ITCPTransport:
        return cast("ITCPTransport", self.transport)

    def connectionMade(self) -> None:
        """Check who it is."""
        self._factory.open += 1
        self.setTimeout(PATIENCE)  # type: ignore[no-untyped-call]
        if self._factory.open > MOST_CONNECTIONS:
            self._transport.abortConnection()
            return
        try:
            operator_at(self.transport)
        except Unauthorised as error:
            self._say({"error": str(error)})

    def lineReceived(self, line: bytes) -> None:
        """Answer a question."""
        try:
            asked = json.loads(line.decode())
            if not isinstance(asked, dict):
                raise UsageError("a question is one JSON object")
            answer = self._factory.answer(asked)
        except BuildToolError as error:
            answer = {"error": str(error)}
        except (ValueError, RecursionError):
            answer = {"error": "a question is one JSON object on one line"}
        self._say(answer)

    def lineLengthExceeded(self, _line: bytes) -> None:
        """End the connection."""
        self._transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count it no more."""
        self._factory.open -= 1
        self.setTimeout(None)  # type: ignore[no-untyped-call]

    def _say(self, answer: Mapping[str, object]) -> None:
        self._transport.write(json.dumps(answer).encode() + self.delimiter)
        self._transport.loseConnection()


@define(eq=False)
class OwnerFactory(Factory):
    """A maker of the owner's connections; ``answer`` answers a question. It raises BuildToolError."""

    answer: Answering
    open: int = 0
    noisy = False  # its log would have all that it is made of

    def buildProtocol(self, addr: IAddress | None) -> _OwnerLine:
        """Return the protocol of one connection."""
        return _OwnerLine(self)


def listen_to_owner(reactor: ReactorBase, directory: Path, answer: Answering) -> ControlPort:
    """Listen for the owner in a build server's directory. Raises StorageUnavailable, ConfigurationError."""
    return listen_control(reactor, directory, OwnerFactory(answer))


def ask_server(directory: Path, asked: Mapping[str, object]) -> dict[str, object]:
    """Return the answer of the build server that uses ``directory``. Blocks. Raises NoBuildServer, UsageError."""
    path = directory / NAME
    silent = f"the build server named {directory.name} in {directory.parent} gave no answer within {PATIENCE:g} seconds"
    try:
        with short_address(path) as address, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(address)
            connection.sendall(json.dumps(asked).encode() + b"\n")
            said = b""
            while more := connection.recv(LONGEST_LINE):
                said += more
    except OSError as error:
        raise _not_running(directory, error) from error
    try:
        answer = json.loads(said.decode())
    except ValueError as error:
        raise NoBuildServer(silent) from error
    if not isinstance(answer, dict):
        raise NoBuildServer(silent)
    if "error" in answer:
        raise UsageError(str(answer["error"]))
    return answer


def _not_running(directory: Path, error: OSError) -> NoBuildServer:
    name, place = directory.name, directory.parent
    if isinstance(error, PermissionError):
        return NoBuildServer(f"the build server named {name} in {place} answers its own account and root alone")
    if isinstance(error, TimeoutError):
        return NoBuildServer(f"the build server named {name} in {place} does not answer")
    return NoBuildServer(
        f"no build server named {name} runs in {place}: start it with {called('buildserver.py')} --name {name}, or say "
        "with --name and --config which one is meant"
    )
