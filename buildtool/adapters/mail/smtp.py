"""One mail to one address: a conversation with the mail server by Twisted's SMTP sender, and what became of it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator, IReactorTCP, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.mail import smtp
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.adapters.mail.tls import client_context
from buildtool.adapters.network.endpoints import machine_at
from buildtool.configuration.mail_settings import MailSettings
from buildtool.errors import ConfigurationError, MailDeferred, MailRefused, MailServerTrouble, MailUndelivered
from buildtool.model.addresses import at_port, valid_address

PATIENCE = 60.0
"""Seconds that a whole delivery may take."""

FAREWELL = 5.0
"""Seconds that the mail server has for ending the conversation once the mail's fate is known."""

_ANSWER_LINES = 100
_ANSWER_SHOWN = 300
_SHORTEST = 4
"""A password of fewer characters stands in many a word, and is no secret either."""

_OUR_SIDE = frozenset({421, 454, 530, 534, 535, 538})
"""Codes that speak of the server or of our login to it, whatever they are the answer to (RFC 5321, RFC 4954)."""

_STAGES = {
    b"EHLO": "EHLO", b"HELO": "HELO", b"STARTTLS": "STARTTLS", b"AUTH": "login", b"MAIL": "MAIL FROM",
    b"RCPT": "RCPT TO", b"DATA": "DATA", b".": "the end of the mail", b"RSET": "RSET", b"QUIT": "QUIT",
}  # fmt: skip
_LINE_START = re.compile(rb"^\.", re.MULTILINE)


class SmtpDelivery:
    """A delivery through the mail server of ``settings``; called with an address and the bytes of a message.

    ``clock`` is what the time-outs run on. ``trust_root`` replaces the system's trusted authorities (which
    ``SSL_CERT_FILE`` in the environment replaces too).
    """

    def __init__(
        self,
        settings: MailSettings,
        reactor: IReactorTCP,
        clock: IReactorTime,
        *,
        trust_root: object | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._clock = clock
        self._trust_root = trust_root
        self._patience = patience
        self._name = f"the mail server {at_port(settings.host, settings.port)}"

    async def __call__(self, address: str, message: bytes, returns_to: str = "") -> str:
        """Return what the server said when it took the mail; ``returns_to`` is the envelope's sender, if not ours.

        Raises MailRefused, MailDeferred, or MailServerTrouble, and UsageError for what is no address.
        """
        exchange = _Exchange(self._settings, valid_address(address), valid_address(returns_to or self._settings.sender))
        whole = Deferred.fromCoroutine(self._converse(exchange, message))
        whole.addTimeout(self._patience, self._clock)
        try:
            await whole
        except defer.TimeoutError as error:
            if exchange.outcome is None:
                raise MailServerTrouble(
                    f"{self._name} did not answer within {self._patience:g} s ({exchange.stage})"
                ) from error
        match exchange.outcome:
            case str() as answer:
                return answer
            case MailUndelivered() as problem:
                raise problem
            case None:
                raise MailServerTrouble(f"{self._name} closed the connection ({exchange.stage})")

    async def _converse(self, exchange: _Exchange, message: bytes) -> None:
        settings = self._settings
        endpoint = machine_at(self._reactor, settings.host, settings.port, self._patience)
        context = self._context()
        if settings.implicit_tls and context is not None:
            endpoint = wrapClientTLS(context, endpoint)
        letter = _Letter(settings, context, exchange, message)
        try:
            await endpoint.connect(letter)
        except DNSLookupError as error:
            raise MailServerTrouble(
                f"{self._name}: no such name, or no answer from DNS: check mail.host in config.py"
            ) from error
        except ConnectError as error:
            raise MailServerTrouble(
                f"{self._name} cannot be reached ({_unreachable(error)}): check that it runs, and mail.host and "
                f"mail.port in config.py"
            ) from error
        try:
            await exchange.decided
            exchange.over.addTimeout(FAREWELL, self._clock)
            try:
                await exchange.over
            except defer.TimeoutError:
                return  # the mail's fate is known; that the server does not hang up is no reason to ask again
        finally:
            exchange.abort()

    def _context(self) -> IOpenSSLClientConnectionCreator | None:
        if not self._settings.speaks_tls:
            return None
        try:
            return client_context(self._settings, self._trust_root)
        except ConfigurationError as error:
            raise MailServerTrouble(f"{self._name}: {error}") from error


class _Exchange:
    """One try at one mail; ``decided`` fires once with its outcome, ``over`` with the end of the connection."""

    def __init__(self, settings: MailSettings, address: str, sender: str) -> None:
        self.settings = settings
        self.address = address
        self.sender = sender
        self.name = f"the mail server {at_port(settings.host, settings.port)}"
        self.stage = "connecting"
        self.secured = False
        self.outcome: str | MailUndelivered | None = None
        self.decided: Deferred[None] = Deferred()
        self.over: Deferred[None] = Deferred()
        self._transport: Any = None
        self._secrets = tuple(_spellings(settings)) if len(settings.password) >= _SHORTEST else ()

    def said(self, answer: bytes | str) -> str:
        """Return a server's answer as one printable line of bounded length, without the password that it may repeat."""
        text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _said(text)

    def connected(self, transport: object) -> None:
        self._transport = transport
        self.stage = "greeting"

    def decide(self, outcome: str | MailUndelivered) -> None:
        if self.outcome is None:
            self.outcome = outcome
        if not self.decided.called:
            self.decided.callback(None)

    def lost(self, reason: Failure, *, shaking_hands: bool) -> None:
        if self.outcome is None:
            self.decide(self._broken_off(reason, shaking_hands=shaking_hands))
        self._transport = None
        if not self.over.called:
            self.over.callback(None)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abortConnection()

    def answered(self, code: int, answer: str) -> None:
        """Decide by the server's answer to the envelope or to the mail."""
        said = f"{code} {answer}".strip()
        if code // 100 == 2:  # noqa: PLR2004 - the class of codes that say yes
            self.decide(said + (" (over TLS)" if self.secured else ""))
        elif code in _OUR_SIDE or code <= 0:
            hint = ": check mail.username and the password" if code in _OUR_SIDE - {421, 454} else ""
            self.decide(MailServerTrouble(f"{self.name} takes no mail now: {said}{hint}"))
        elif self.stage == _STAGES[b"MAIL"]:
            self.decide(
                MailServerTrouble(f"{self.name} does not accept the sender {self.sender}: {said}: check mail.sender")
            )
        elif code // 100 == 5:  # noqa: PLR2004 - the class of codes that say no for good
            self.decide(MailRefused(f"{self.name} refused the mail to {self.address}: {said}"))
        else:
            self.decide(MailDeferred(f"{self.name} did not take the mail to {self.address} now: {said}"))

    def cannot_spell(self) -> None:
        """Decide for a server that takes addresses in ASCII only, where one of ours is not."""
        why = "takes no addresses with letters beyond a to z (SMTPUTF8)"
        if self.sender.isascii():
            self.decide(MailRefused(f"{self.name} {why}, so nothing can be sent to {self.address}"))
        else:
            self.decide(MailServerTrouble(f"{self.name} {why}, and the sender {self.sender} is one: check mail.sender"))

    def failed(self, error: smtp.SMTPClientError) -> None:
        """Decide by an error before the mail was begun: greeting, TLS, login, or not SMTP at all."""
        said = f"{error.code} {self.said(error.resp)}" if error.code > 0 else self.said(error.resp)
        match error:
            case smtp.TLSRequiredError():
                why = "a login asks for it" if self.settings.starttls != "required" else "mail.starttls is required"
                what = f"does not offer STARTTLS, but {why}"
            case smtp.TLSError():
                what = f"offers STARTTLS but declined it: {said}"
            case smtp.AUTHRequiredError():
                what = "offers no login that we can use: check mail.username and mail.starttls"
            case smtp.AUTHDeclinedError() | smtp.AuthenticationError():
                what = f"did not let us log in: {said}: check mail.username and the password"
            case smtp.EHLORequiredError():
                what = "does not speak ESMTP, which STARTTLS and login need"
            case smtp.SMTPConnectError():
                what = f"turned us away: {said}"
            case _:
                what = f"does not speak SMTP ({self.stage}): {said}: check mail.port"
        self.decide(MailServerTrouble(f"{self.name} {what}"))

    def _broken_off(self, reason: Failure, *, shaking_hands: bool) -> MailServerTrouble:
        if shaking_hands:
            return MailServerTrouble(
                f"{self.name}: TLS failed: {_said(str(reason.value))}: check mail.host, the server's certificate and "
                f"who signed it (SSL_CERT_FILE names further authorities; mail.verify turns the check off)"
            )
        return MailServerTrouble(f"{self.name} closed the connection ({self.stage})")


@implementer(IHandshakeListener)
class _Sender(smtp.ESMTPSender):
    """Twisted's sender, telling its Exchange what happens, and stricter in what it takes from a server."""

    debug = False  # or the conversation, password included, would be kept for error messages
    factory: Any
    _at_line_start = True
    _takes_utf8 = False

    def connectionMade(self) -> None:
        self.factory.exchange.connected(self.transport)
        smtp.ESMTPSender.connectionMade(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        smtp.ESMTPSender.connectionLost(self, reason)
        exchange = self.factory.exchange
        exchange.lost(reason, shaking_hands=self._tlsMode and not exchange.secured)

    def handshakeCompleted(self) -> None:
        self.factory.exchange.secured = True

    def sendLine(self, line: bytes) -> None:
        verb = line.partition(b" ")[0]
        self.factory.exchange.stage = _STAGES.get(verb, self.factory.exchange.stage)
        if verb == b"MAIL" and self._wide:
            line += b" SMTPUTF8 BODY=8BITMIME"
        smtp.ESMTPSender.sendLine(self, line)

    def lineReceived(self, line: bytes) -> None:
        if len(self.resp) >= _ANSWER_LINES:
            self.sendError(smtp.SMTPProtocolError(-1, b"an answer without an end"))
            return
        smtp.ESMTPSender.lineReceived(self, line)

    def esmtpState_starttls(self, code: int, resp: bytes) -> None:
        # What came along with the answer came in the clear, from anybody; it must not pass for an answer under TLS.
        if LineReceiver.clearLineBuffer(self):
            self.sendError(smtp.SMTPProtocolError(-1, b"more than one answer to STARTTLS"))
            return
        smtp.ESMTPSender.esmtpState_starttls(self, code, resp)

    def esmtpState_serverConfig(self, code: int, resp: bytes) -> None:
        self._takes_utf8 = b"SMTPUTF8" in {line.split(None, 1)[0].upper() for line in resp.splitlines() if line.split()}
        smtp.ESMTPSender.esmtpState_serverConfig(self, code, resp)

    def smtpState_from(self, code: int, resp: bytes) -> None:
        if not self.done and self._wide and not self._takes_utf8:
            self.factory.exchange.cannot_spell()
            self.done = 1  # no mail is left, so that the conversation ends
        smtp.ESMTPSender.smtpState_from(self, code, resp)

    @property
    def _wide(self) -> bool:
        exchange = self.factory.exchange
        return not (exchange.address.isascii() and exchange.sender.isascii())

    def getMailFrom(self) -> smtp.Address | None:
        first, self.done = not self.done, 1
        return _Mailbox(self.factory.exchange.sender) if first else None

    def getMailTo(self) -> list[smtp.Address]:
        return [_Mailbox(self.factory.exchange.address)]

    def transformChunk(self, chunk: bytes) -> bytes:
        # Twisted's own sees no dot at the start of a line that is the start of a chunk: what follows a lone dot
        # in a log could then pass for commands.
        TimeoutMixin.resetTimeout(self)
        stuffed = _LINE_START.sub(b"..", chunk)
        if not self._at_line_start and chunk.startswith(b"."):
            stuffed = stuffed[1:]
        self._at_line_start = chunk.endswith(b"\n")
        return stuffed.replace(b"\n", b"\r\n")

    def sentMail(self, code: int, resp: bytes, numOk: int, addresses: Sequence[Any], log: object) -> None:
        answer = addresses[-1][2] if addresses and not numOk else resp  # each is an address, a code, and an answer
        self.factory.exchange.answered(code, self.factory.exchange.said(answer))

    def sendError(self, exc: Exception) -> None:
        # Anything else is the message's transfer, broken off because the connection ends: connectionLost tells.
        if isinstance(exc, smtp.SMTPClientError):
            self.factory.exchange.failed(exc)
        smtp.SMTPClient.sendError(self, exc)


class _Mailbox(smtp.Address):
    """An address as it stands in an envelope, in UTF-8 (RFC 6531); Twisted's own has ASCII only."""

    def __init__(self, address: str) -> None:
        local, _, domain = address.rpartition("@")
        self.local, self.domain = local.encode(), domain.encode()


class _Letter(smtp.ESMTPSenderFactory):
    """Makes the one sender of one mail. A password is never sent in the clear unless ``starttls`` is ``never``."""

    noisy = False
    protocol = _Sender

    def __init__(self, settings: MailSettings, context: object | None, exchange: _Exchange, message: bytes) -> None:
        smtp.ESMTPSenderFactory.__init__(
            self,
            settings.username.encode(),
            settings.password.encode(),
            b"",  # both addresses are the sender's to tell, see _Mailbox
            [b""],
            io.BytesIO(message.replace(b"\r\n", b"\n").replace(b"\r", b"\n")),
            Deferred(),
            retries=0,
            contextFactory=context,
            heloFallback=True,
            requireAuthentication=bool(settings.username),
            requireTransportSecurity=settings.needs_tls,
        )
        self.exchange = exchange


def _spellings(settings: MailSettings) -> Iterable[str]:
    """Yield the password as it goes to the server, which may quote what it did not like: AUTH LOGIN, AUTH PLAIN."""
    password, user = settings.password.encode(), settings.username.encode()
    for one in (b"\0".join((b"", user, password)), b"\0".join((user, user, password)), password):
        yield base64.b64encode(one).decode()
    yield settings.password


def _said(text: str) -> str:
    """Return a text of others as one printable line of bounded length."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _ANSWER_SHOWN else line[: _ANSWER_SHOWN - 3] + "..."


def _unreachable(error: ConnectError) -> str:
    return _said(str(error)).rstrip(".") or type(error).__name__
