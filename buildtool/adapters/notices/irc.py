"""A channel of IRC that is told: one connection, made when there is something to say, by Twisted's own client."""

# Twisted's client carries few annotations, so calling it is no mistake of this module.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.words.protocols.irc import IRCClient, symbolic_to_numeric

from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.tls.contexts import OverTls
from buildtool.adapters.tls.words import tls_errors, tls_words
from buildtool.errors import Unavailable
from buildtool.model.notices.channel import channel_line, is_news
from buildtool.model.notices.notice import Notice
from buildtool.model.notices.outcome import TellOutcome
from buildtool.model.notices.targets import IrcLogin, IrcTarget
from buildtool.model.text import one_line
from buildtool.ports.notices import OutgoingNotice

PATIENCE = 20.0
"""Seconds in which a server has to let us in, and to answer."""

NICKS = 10
"""Most nicks that a server may call taken before it is left."""

CHUNK = 400
"""Characters in which a password is sent by SASL."""

ENDS = "this program ends"
"""Why a connection is closed that is not wanted any more."""

REFUSALS = {
    "403": "there is no such channel", "405": "we are in too many channels", "432": "the server takes no such nick",
    "464": "the password is wrong", "465": "we are banned from the server", "471": "the channel is full",
    "473": "the channel is for those who are invited", "474": "we are banned from the channel",
    "475": "the key of the channel is wrong", "477": "the channel is for registered nicks",
    "404": "nothing may be said in the channel", "902": "the account is locked", "904": "the password is wrong",
    "905": "the password is too long", "908": "the server does not take SASL PLAIN",
}  # fmt: skip
"""What a server refuses, by the number of its answer."""


@frozen
class IrcSecrets:
    """The secrets for a channel: the password, and the key of the channel; "" where there is none."""

    password: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


class Speaker(IRCClient):
    """A connection to a server. ``ready`` fires once the channel is joined, or with why it is not."""

    versionName = None
    lineRate = None
    heartbeatInterval = 120

    def __init__(self, target: IrcTarget, secrets: IrcSecrets) -> None:
        self.target, self.secrets = target, secrets
        self.nickname = target.nick
        self.username = self.realname = target.nick  # type: ignore[assignment] # Twisted says None where there is none
        if target.login is IrcLogin.SERVER:
            self.password = f":{secrets.password}"  # type: ignore[assignment] # as above; it may have spaces
        self.ready: Deferred[None] = Deferred()
        self.heard: Deferred[None] | None = None
        self.over = ""
        self.lines = self.collisions = 0

    def register(self, nickname: str, hostname: str = "-", servername: str = "-") -> None:
        if self.target.login is IrcLogin.SASL:
            self.sendLine("CAP REQ :sasl")
        IRCClient.register(self, nickname, hostname or "-", servername or "-")

    def irc_CAP(self, _prefix: str, params: Sequence[str]) -> None:
        if "ACK" in params:
            self.sendLine("AUTHENTICATE PLAIN")
        elif "NAK" in params:
            self.give_up("the server does not take SASL")

    def irc_AUTHENTICATE(self, _prefix: str, _params: Sequence[str]) -> None:
        account = self.target.nick.encode()
        said = base64.b64encode(b"\0".join((account, account, self.secrets.password.encode()))).decode()
        chunks = [said[at : at + CHUNK] for at in range(0, len(said), CHUNK)]
        for one in [*chunks, *(["+"] if len(chunks[-1]) == CHUNK else [])]:
            self.sendLine(f"AUTHENTICATE {one}")

    def lineReceived(self, line: bytes) -> None:
        """Take a line in whatever encoding others write."""
        IRCClient.lineReceived(self, line.decode("utf-8", "replace"))

    def signedOn(self) -> None:
        if self.target.login is IrcLogin.NICKSERV:
            self.sendLine(f"PRIVMSG NickServ :IDENTIFY {self.secrets.password}")
        self.join(self.target.channel, self.secrets.key or None)

    def joined(self, channel: str) -> None:
        if channel.lower() == self.target.channel.lower() and not self.ready.called:
            self.ready.callback(None)

    def kickedFrom(self, channel: str, kicker: str, message: str) -> None:
        self.give_up(f"{kicker} put us out of {channel}: {message}")

    def irc_ERROR(self, _prefix: str, params: Sequence[str]) -> None:
        self.give_up(" ".join(params))

    def irc_PONG(self, _prefix: str, params: Sequence[str]) -> None:
        if self._mark() not in params:
            return  # it answers Twisted's own question whether it is there, or a line that nobody waits for any more
        heard, self.heard = self.heard, None
        if heard is not None:
            heard.callback(None)

    def irc_unknown(self, prefix: str, command: str, params: Sequence[str]) -> None:
        number = symbolic_to_numeric.get(command, command)
        if number == "903":
            self.sendLine("CAP END")
        elif number in REFUSALS:
            self.give_up(REFUSALS[number])

    def alterCollidedNick(self, nickname: str) -> str:
        """Return a nick no longer than one that is taken: some servers take nine characters and no more."""
        self.collisions += 1
        if self.collisions >= NICKS:
            self.give_up("our nick is taken, and so are those like it")
        kept = nickname.rstrip("_")
        return f"{kept[:-1]}{'_' * (len(nickname) - len(kept) + 1)}"

    def irc_ERR_ERRONEUSNICKNAME(self, _prefix: str, _params: Sequence[str]) -> None:
        self.give_up(REFUSALS["432"])

    def irc_ERR_PASSWDMISMATCH(self, _prefix: str, _params: Sequence[str]) -> None:
        self.give_up(REFUSALS["464"])

    def ctcpQuery(self, user: str, channel: str, messages: object) -> None:
        """Answer nothing: who asks is a stranger."""

    def say_line(self, line: str) -> Deferred[None]:
        """Send a line to the channel; return what fires once the server has taken it."""
        self.heard = Deferred()
        self.lines += 1
        self.sendLine(f"PRIVMSG {self.target.channel} :{line}")
        self.sendLine(f"PING :{self._mark()}")
        return self.heard

    def _mark(self) -> str:
        """Return what the server repeats once it has read the newest line."""
        return f"told{self.lines}"

    def give_up(self, why: str) -> None:
        """Close the connection; what waits for it is told why."""
        self.over = self.over or one_line(why, 200)
        if self.transport is not None:
            self.transport.loseConnection()
        self._end()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # as Twisted calls it
        IRCClient.connectionLost(self, reason)
        error = reason.value
        self.over = self.over or (tls_words(error) if isinstance(error, tls_errors()) else "it closed the connection")
        self._end()

    def _end(self) -> None:
        heard, self.heard = self.heard, None
        for waiting in (self.ready, heard):
            if waiting is not None and not waiting.called:
                waiting.errback(Failure(Unavailable(self.over)))


@define(eq=False)
class IrcTeller:
    """A way to tell one channel. ``page`` returns the URL of what a notice is about."""

    target: IrcTarget
    secrets: IrcSecrets
    reactor: IReactorTime
    page: Callable[[Notice], str]
    _open: Speaker | None = field(default=None, init=False)
    _joining: DeferredLock = field(factory=DeferredLock, init=False)
    _closed: bool = field(default=False, init=False)

    async def tell(self, outgoing: OutgoingNotice) -> TellOutcome:
        """Send a line where a notice is worth one. Raises Unavailable."""
        if not is_news(outgoing.notice, outgoing.before, every=self.target.every):
            return TellOutcome(told=True)
        speaker = await self._speaker()
        await self._waited(speaker.say_line(channel_line(outgoing.notice, self.page(outgoing.notice))), speaker)
        return TellOutcome(told=True)

    async def look(self) -> str:
        """Join the channel, where we are not in it; return "". Raises Unavailable, which says why we are not let in."""
        await self._speaker()
        return ""

    def close(self) -> None:
        """Close the connection, and make no other."""
        self._closed = True
        speaker, self._open = self._open, None
        if speaker is not None and not speaker.over:
            speaker.give_up(ENDS)

    async def _speaker(self) -> Speaker:
        """Return the connection once it is in the channel: one, however many want it at once. Raises Unavailable."""
        await self._joining.acquire()
        try:
            if self._closed:
                raise Unavailable(f"{self.target.host}: {ENDS}")
            return await self._joined()
        finally:
            self._joining.release()

    async def _joined(self) -> Speaker:
        if self._open is not None and not self._open.over:
            return self._open
        where = f"{self.target.host}:{self.target.port}"
        speaker = Speaker(self.target, self.secrets)
        try:
            await self._endpoint().connect(Factory.forProtocol(lambda: speaker))
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            raise Unavailable(f"{where}: {' '.join(str(error).split())}") from error
        self._open = speaker
        if self._closed:
            self.close()
        await self._waited(speaker.ready, speaker)
        return speaker

    def _endpoint(self) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = machine_at(self.reactor, self.target.host, self.target.port, PATIENCE)
        return OverTls(optionsForClientTLS(self.target.host), endpoint) if self.target.tls else endpoint

    async def _waited(self, waiting: Deferred[None], speaker: Speaker) -> None:
        waiting.addTimeout(PATIENCE, self.reactor)
        try:
            await waiting
        except TookTooLong as error:
            speaker.give_up("it did not answer in time")
            raise Unavailable(f"{self.target.host}: it did not answer in time") from error
        except CancelledError:
            speaker.give_up(ENDS)
            raise
        except Unavailable as error:
            raise Unavailable(f"{self.target.host}: {error}") from error
