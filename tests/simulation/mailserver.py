"""The mail server, and what lies in everybody's mailbox."""

from __future__ import annotations

import email.message
from collections import defaultdict
from collections.abc import Callable
from email import message_from_bytes
from typing import Any

from attrs import define, field, frozen

from buildtool.adapters.mail.message import Deliver
from buildtool.errors import MailDeferred, MailRefused, MailServerTrouble
from tests.simulation.clock import Life
from tests.simulation.faults import Faults
from tests.simulation.trace import Trace

SMTP_TIMEOUT = 300.0


@frozen
class Letter:
    """One mail in a mailbox. The same ``message_id`` twice is one mail to its reader."""

    address: str
    message_id: str
    outcome: str
    body: str


@define(eq=False)
class MailServer:
    """Takes mail, puts it off, refuses it, goes away in the middle.

    ``arrived`` hears of each that was taken, and of the address that it would come back to.
    """

    faults: Faults
    trace: Trace
    arrived: Callable[[Letter, str], None]
    boxes: defaultdict[str, list[Letter]] = field(factory=lambda: defaultdict(list))

    def delivery(self, life: Life) -> Deliver:
        """Return how the mailer of one life hands mails over."""

        async def deliver(address: str, message: bytes, returns_to: str) -> str:
            faults = self.faults
            await life.pause(0.05)
            if faults.happens("mail_defer"):
                raise MailDeferred("450 try again later")
            if faults.happens("mail_drop"):
                if faults.rng.random() < 0.3:
                    await life.pause(SMTP_TIMEOUT)
                raise MailServerTrouble("the mail server closed the connection")
            if address.startswith("unknown"):
                raise MailRefused("550 no such mailbox")
            self._take(address, message_from_bytes(message), returns_to)
            if faults.happens("mail_duplicate"):
                await life.pause(faults.rng.choice((0.05, SMTP_TIMEOUT)))
                raise MailServerTrouble("the mail server took the mail and closed the connection")
            await life.pause(0.05)
            return "250 taken"

        return deliver

    def _take(self, address: str, message: email.message.Message[Any, Any], returns_to: str) -> None:
        (plain, *_) = (part for part in message.walk() if part.get_content_type() == "text/plain")
        text = plain.get_payload(decode=True)
        body = text.decode() if isinstance(text, bytes) else ""
        letter = Letter(address, str(message["Message-ID"]), str(message["X-Buildtool-Outcome"]), body)
        self.trace.say("mail", f"{address} {letter.outcome} {letter.message_id[:12]}")
        self.boxes[address].append(letter)
        self.arrived(letter, returns_to)
