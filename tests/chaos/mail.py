"""A mail server with moods: it puts off some mails, and hangs up on some right after it has taken them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.smtp import ANSWERS, SmtpServer

PUT_OFF = 2
"""How often at most the mails to one address are put off: the metaserver waits longer each time."""


class MoodyServer(SmtpServer):
    """Keeps what it took in ``messages``; ``heard`` is called with each, in the server's own thread.

    One of ``defers`` is put off, and of one of ``drops`` the sender never learns that it was taken.
    """

    def __init__(self, draw: random.Random, heard: Callable[[str, EmailMessage], None]) -> None:
        super().__init__()
        self.defers = 0.0
        self.drops = 0.0
        self.dropped = 0
        self.deferred: dict[str, int] = {}
        self._draw = draw
        self._heard = heard

    def calm(self) -> None:
        """Take everything from now on."""
        self.defers = self.drops = 0.0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._draw.random() < self.defers and self.deferred.get(address, 0) < PUT_OFF:
            self.deferred[address] = self.deferred.get(address, 0) + 1
            return ANSWERS["defer"]
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        said = await super().handle_DATA(server, session, envelope)
        self._heard(*self.messages[-1])
        if self._draw.random() < self.drops:
            self.dropped += 1
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return said
