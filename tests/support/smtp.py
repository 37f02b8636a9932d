"""Real SMTP servers for tests: one that behaves as it is told, one that says nothing, and certificates for them."""

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Callable
from email.errors import NonASCIILocalPartDefect
from email.message import EmailMessage
from email.parser import Parser
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol, ServerFactory

ANSWERS = {"accept": "250 taken", "defer": "451 come again", "refuse": "550 no such user", "full": "421 too busy"}


class SmtpServer:
    """A mail server on a port of its own in a thread of its own, which keeps what it took in ``messages``.

    ``mood`` maps a recipient to how they are answered: a key of ANSWERS, or a whole answer; ``at_data`` is the answer
    to the message itself. Stopped and started again it listens on the same port. ``implicit`` has it begin with TLS,
    ``utf8`` take addresses in UTF-8; ``senders`` are those of what it took, and ``shown`` whose certificates it saw.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        login_in_clear: bool = False,
        implicit: bool = False,
        utf8: bool = False,
    ) -> None:
        self.mood: dict[str, str] = {}
        self.at_data = "accept"
        self.at_sender = "accept"
        self.messages: list[tuple[str, EmailMessage]] = []
        self.raw: list[bytes] = []
        self.secured: list[bool] = []
        self.tries = 0
        self.port = 0
        self.senders: list[str | None] = []
        self.shown: list[Any] = []
        self._implicit = implicit
        self._utf8 = utf8
        self._tls = tls
        self._login = login
        self._login_in_clear = login_in_clear
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._listening: asyncio.Server | None = None
        self._open: list[SMTP] = []

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Stop listening and close every connection; ``start`` listens again."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)

    def end(self) -> None:
        """Stop for good."""
        if self._thread is not None:
            self.stop()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._listening = await self._loop.create_server(
            self._protocol, "127.0.0.1", self.port, ssl=self._tls if self._implicit else None
        )
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for conversation in self._open:
            if isinstance(conversation.transport, asyncio.WriteTransport):
                conversation.transport.abort()
        self._open.clear()
        mine = asyncio.current_task()
        left = [each for each in asyncio.all_tasks() if each is not mine]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _protocol(self) -> SMTP:
        conversation = SMTP(
            self,
            hostname="mail.test",
            tls_context=None if self._implicit else self._tls,
            enable_SMTPUTF8=self._utf8,
            auth_required=self._login is not None and not self._login_in_clear,
            auth_require_tls=not self._login_in_clear,
            authenticator=self._authenticate,
            loop=self._loop,
        )
        self._open.append(conversation)
        return conversation

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._login is not None and not session.authenticated:
            return "530 log in first"
        if self.at_sender == "accept":
            envelope.mail_from = address
        return ANSWERS.get(self.at_sender, self.at_sender)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.tries += 1
        mood = self.mood.get(address, "accept")
        if mood == "drop":
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        if mood == "accept":
            envelope.rcpt_tos.append(address)
        return ANSWERS.get(mood, mood)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.at_data == "accept":
            content = envelope.original_content
            assert content is not None
            self.raw.append(content)
            self.messages.append((envelope.rcpt_tos[0], parse(content.replace(b"\r\n", b"\n"))))
            secure = server.transport.get_extra_info("ssl_object") if server.transport is not None else None
            self.secured.append(secure is not None)
            self.senders.append(envelope.mail_from)
            self.shown.append(secure.getpeercert() if secure is not None else None)
        return ANSWERS.get(self.at_data, self.at_data)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and self._login == (data.login.decode(), data.password.decode())
        return AuthResult(success=good, handled=False)


class SilentServer(ServerFactory):
    """Takes connections, says ``first`` and no more; ``reached`` fires once a client has heard all there is."""

    noisy = False

    def __init__(self, first: bytes = b"") -> None:
        self._first = first
        self.reached: Deferred[None] = Deferred()
        self.connections: list[Protocol] = []
        self.gone: Deferred[None] = Deferred()

    def listen(self, reactor: Any) -> IListeningPort:
        port: IListeningPort = reactor.listenTCP(0, self, interface="127.0.0.1")
        return port

    def buildProtocol(self, addr: object) -> Protocol:
        return _Silent(self, self._first)


class _Silent(Protocol):
    def __init__(self, server: SilentServer, first: bytes) -> None:
        self._server = server
        self._first = first

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._server.connections.append(self)
        if self._first:
            self.transport.write(self._first)
        else:
            self._reached()

    def dataReceived(self, data: bytes) -> None:
        self._reached()

    def connectionLost(self, reason: object = None) -> None:
        if not self._server.gone.called:
            self._server.gone.callback(None)

    def _reached(self) -> None:
        if not self._server.reached.called:
            self._server.reached.callback(None)


class ScriptedServer(ServerFactory):
    """Says ``greeting``, then for each line that it hears what ``answer`` makes of it (None hangs up)."""

    noisy = False

    def __init__(self, greeting: bytes, answer: Callable[[bytes], bytes | None]) -> None:
        self.greeting = greeting
        self.answer = answer
        self.heard: list[bytes] = []

    def listen(self, reactor: Any) -> IListeningPort:
        port: IListeningPort = reactor.listenTCP(0, self, interface="127.0.0.1")
        return port

    def buildProtocol(self, addr: object) -> Protocol:
        return _Scripted(self)


class _Scripted(Protocol):
    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._heard = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._server.greeting)

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self._heard += data
        while b"\r\n" in self._heard:
            line, self._heard = self._heard.split(b"\r\n", 1)
            self._server.heard.append(line)
            said = self._server.answer(line)
            if said is None:
                self.transport.loseConnection()
            else:
                self.transport.write(said)


def parse(message: bytes) -> EmailMessage:
    """Return a message as an e-mail program reads it, which must find nothing wrong with its form."""
    read = Parser(_class=EmailMessage, policy=default).parsestr(message.decode())
    assert not read.defects
    defects = [defect for value in read.values() for defect in value.defects]
    # The library calls an address in UTF-8 a defect (RFC 6532 does not), and only that is none here.
    assert all(isinstance(defect, NonASCIILocalPartDefect) for defect in defects)
    return read


def mail_text(message: EmailMessage) -> str:
    """Return the text of a message, whatever other forms it comes in."""
    part = message.get_body(("plain",))
    assert part is not None
    text: str = part.get_content()
    return text


def mail_html(message: EmailMessage) -> str:
    """Return the HTML of a message, which has its text before it."""
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    part = message.get_body(("html",))
    assert part is not None
    html: str = part.get_content()
    return html


class Authority:
    """A certificate authority of the test's own: for servers, of one name or address, and for who connects to them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), None)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, name: str, *, asks: bool = False) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate for ``name``, which ``asks`` for one of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file(name))
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.pem.decode())
        return context

    def file(self, name: str) -> Path:
        """Return a new PEM file with a key and a certificate for ``name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            who: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            who = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test server")])
        certificate = self._sign(subject, key, x509.BasicConstraints(ca=False, path_length=None), who)
        path = self._directory / f"{certificate.serial_number:x}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        who: x509.GeneralName | None,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(constraints, critical=True)
        )
        if who is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([who]), critical=False)
        return builder.sign(self._key, hashes.SHA256())
