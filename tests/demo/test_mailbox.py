"""The receiving mail server of the demo: what it says it took lies in the Maildir; what it takes is bounded."""

import mailbox
import tempfile
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from buildtool.adapters.mail.message import compose
from buildtool.adapters.mail.smtp import SmtpDelivery
from buildtool.configuration.mail_settings import MailSettings
from buildtool.demo.mailbox import CONNECTIONS, RECIPIENTS, MailboxServer
from buildtool.errors import MailRefused

reactor: Any = the_reactor


def message(address: str, body: str) -> bytes:
    return compose("farm@example.org", address, "Hi", body, key="k", now=0.0)


class Talk(Protocol):
    """Speaks SMTP by hand: sends bytes, collects what comes."""

    def __init__(self) -> None:
        self.heard = b""
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        self.gone.callback(None)


class TestMailbox(TestCase):
    timeout = 20

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "mail"
        self.received: list[str] = []

    def serve(self, **how: Any) -> MailboxServer:
        server = MailboxServer(reactor, self.path, received=self.received.append, **how)
        server.startService()
        self.addCleanup(server.stopService)
        return server

    def delivery(self, server: MailboxServer) -> SmtpDelivery:
        return SmtpDelivery(MailSettings("127.0.0.1", server.port, "farm@example.org"), reactor, Clock())

    async def test_a_mail_lies_in_the_maildir_for_each_recipient_once_the_sender_was_told_so(self) -> None:
        deliver = self.delivery(self.serve())
        for address in ("alice@localhost", "bob@localhost"):
            await deliver(address, message(address, "a\n.\n..b\nü\n"))
        assert self.received == ["alice@localhost", "bob@localhost"]
        arrived = {message["Delivered-To"]: message for message in mailbox.Maildir(self.path, create=False)}
        assert set(arrived) == {"alice@localhost", "bob@localhost"}
        text = arrived["bob@localhost"].get_payload(decode=True)
        assert text == "a\n.\n..b\nü\n".encode()
        assert arrived["bob@localhost"]["Received"].startswith("from ")

    async def test_a_mail_that_is_too_long_is_refused_and_not_stored(self) -> None:
        deliver = self.delivery(self.serve(size_limit=2000))
        with pytest.raises(MailRefused, match="552"):
            await deliver("a@localhost", message("a@localhost", "x\n" * 2000))
        assert not list(mailbox.Maildir(self.path, create=False))
        await deliver("a@localhost", message("a@localhost", "x\n"))
        assert self.received == ["a@localhost"]

    async def test_a_mail_may_not_have_more_recipients_than_the_limit(self) -> None:
        talk = await self.talk(self.serve())
        assert talk.transport is not None
        lines = [b"HELO x", b"MAIL FROM:<a@b>", *[b"RCPT TO:<a@b>"] * (RECIPIENTS + 1), b"QUIT", b""]
        talk.transport.write(b"\r\n".join(lines))
        await talk.gone
        assert talk.heard.count(b"250 Recipient") == RECIPIENTS
        assert b"452 at most" in talk.heard

    async def test_more_connections_than_the_limit_are_turned_away_at_once(self) -> None:
        server = self.serve()
        talks = [await self.talk(server) for _ in range(CONNECTIONS)]
        await (await self.talk(server)).gone
        for talk in talks:
            assert talk.transport is not None
            talk.transport.loseConnection()
            await talk.gone

    async def test_stopping_closes_every_connection(self) -> None:
        server = self.serve()
        talk = await self.talk(server)
        await server.stopService()
        await talk.gone
        assert server.port == 0

    async def talk(self, server: MailboxServer) -> Talk:
        talk = Talk()
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", server.port), talk)
        return talk
