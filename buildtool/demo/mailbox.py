"""``python -m buildtool.demo.mailbox``: a mail server for trials: every mail, for whomever, goes into one Maildir."""

from __future__ import annotations

import argparse
import mailbox
import sys
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTCP
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.model.text import printable
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.program import StopRequest, run

PROGRAM = "mailbox"

SIZE_LIMIT = 1024 * 1024
"""The longest mail that is taken, in bytes."""

CONNECTIONS = 20
"""How many may talk to it at once."""

RECIPIENTS = 50
"""How many recipients one mail may have."""


class MailboxServer(Service):
    """A mail server on ``interface`` and ``port`` (0 takes a free one; ``port`` says which), storing in ``directory``.

    Each recipient has a copy of their own with ``Return-Path`` and ``Delivered-To`` headers, on disk before the sender
    is told so; ``received`` is then called with the recipient.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        directory: Path,
        *,
        port: int = 0,
        interface: str = "127.0.0.1",
        size_limit: int = SIZE_LIMIT,
        received: Callable[[str], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._interface = interface
        self._wanted = port
        self._listening: IListeningPort | None = None
        self._factory = _Factory(_Delivery(directory, size_limit, received or (lambda _recipient: None)))

    @property
    def port(self) -> int:
        """The port that it listens on, 0 while it does not."""
        return int(self._listening.getHost().port) if self._listening else 0  # type: ignore[attr-defined]

    def startService(self) -> None:
        Service.startService(self)
        self._listening = self._reactor.listenTCP(self._wanted, self._factory, interface=self._interface)

    def stopService(self) -> Deferred[object]:
        Service.stopService(self)
        listening, self._listening = self._listening, None
        self._factory.hang_up()
        return maybeDeferred(listening.stopListening) if listening else succeed(None)


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, delivery: _Delivery) -> None:
        self._delivery = delivery
        self._open: set[_Conversation] = set()

    def buildProtocol(self, addr: IAddress | None) -> _Conversation | None:
        if len(self._open) >= CONNECTIONS:
            return None
        conversation = _Conversation(self._delivery)
        conversation.factory = self
        self._open.add(conversation)
        return conversation

    def ended(self, conversation: _Conversation) -> None:
        self._open.discard(conversation)

    def hang_up(self) -> None:
        for conversation in tuple(self._open):
            conversation.transport.abortConnection()


class _Conversation(smtp.ESMTP):
    timeout = 60
    noisy = False
    factory: Any
    transport: Any

    def __init__(self, delivery: _Delivery) -> None:
        smtp.ESMTP.__init__(self)
        self.delivery = delivery

    def validateTo(self, user: smtp.User) -> object:
        if len(self._to) >= RECIPIENTS:
            raise smtp.SMTPServerError(452, f"at most {RECIPIENTS} recipients")
        return smtp.ESMTP.validateTo(self, user)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        smtp.ESMTP.connectionLost(self, reason)
        self.factory.ended(self)


@implementer(smtp.IMessageDelivery)
class _Delivery:
    def __init__(self, directory: Path, size_limit: int, received: Callable[[str], None]) -> None:
        self._maildir = mailbox.Maildir(directory, create=True)
        self._size_limit = size_limit
        self._received = received

    def validateFrom(self, helo: object, origin: smtp.Address) -> smtp.Address:
        return origin

    def validateTo(self, user: smtp.User) -> Callable[[], _Message]:
        recipient, sender = str(user.dest), str(user.orig)
        return lambda: _Message(recipient, self._size_limit, partial(self._store, sender))

    def receivedHeader(self, helo: tuple[bytes | None, object], origin: object, recipients: list[smtp.User]) -> bytes:
        by = "".join(char for char in (helo[0] or b"").decode("ascii", "replace")[:255] if char.isprintable())
        return f"Received: from {by or 'unknown'} by localhost; {formatdate()}".encode("ascii", "replace")

    def _store(self, sender: str, recipient: str, message: bytes) -> None:
        head = f"Return-Path: <{sender}>\nDelivered-To: {recipient}\n"
        self._maildir.add(head.encode("ascii", "replace") + message)
        self._received(recipient)


@implementer(smtp.IMessage)
class _Message:
    """One copy of one mail, in memory until it is whole."""

    def __init__(self, recipient: str, limit: int, store: Callable[[str, bytes], None]) -> None:
        self._recipient = recipient
        self._left = limit
        self._store = store
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self._left -= len(line) + 2
        if self._left < 0:
            self._lines.clear()
            raise smtp.SMTPServerError(552, b"the mail is too long")
        self._lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        return maybeDeferred(self._store, self._recipient, b"\n".join(self._lines) + b"\n")

    def connectionLost(self) -> None:
        self._lines.clear()


def main() -> int:
    """Run until told to stop; every mail is announced on stdout once it is on disk."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Receives mail for anybody into one Maildir.")
    parser.add_argument("directory", type=Path, help="the Maildir")
    parser.add_argument("--port", type=int, default=0, help="where to listen (default: a free port, which is printed)")
    arguments = parser.parse_args()

    def received(recipient: str) -> None:
        print(f"mail for {printable(recipient)}", flush=True)

    async def serve(reactor: ReactorBase, stop: StopRequest) -> int:
        server = MailboxServer(IReactorTCP(reactor), arguments.directory, port=arguments.port, received=received)
        server.startService()
        print(f"listening on port {server.port}", flush=True)
        await stop.asked()
        await server.stopService()
        return EXIT_OK

    return run(PROGRAM, serve)


if __name__ == "__main__":
    sys.exit(main())
