"""Becoming a requester by a code that is mailed, and leaving again.

A code is an invitation: with it this side joins as with the line of one. What a line would say of the metaserver's
authority is believed as it is shown at first, in a line that says so, unless ``--fingerprint`` says it; between asking
for a code and showing it, it is kept beside the key.

Tested by tests/e2e/test_login.py.
"""

from __future__ import annotations

import json
import sys

from attrs import field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from buildtool.adapters.control.client import greet
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.tls.certificates import key_id
from buildtool.adapters.tls.contexts import ClientTls
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.adapters.tls.pinning import chain_at, pinned_authority
from buildtool.errors import Unauthorised, Unavailable, UsageError
from buildtool.model.access.confirmation import read_code
from buildtool.model.access.join_line import JoinLine
from buildtool.model.addresses import at_port, valid_address
from buildtool.model.names import is_digest
from buildtool.model.principal import PrincipalRole
from buildtool.model.text import moment_words
from buildtool.programs.common.joining import join, renew, store_for
from buildtool.programs.common.output import complain, put, say, say_line
from buildtool.protocol.enrolment import AskCode, CodeMailed, Leave
from buildtool.protocol.messages import Ok
from buildtool.requester.outcome import ExitCode

TRIES = 3
"""How often a code may be typed."""


@frozen
class Login:
    """A wish to log in with an e-mail address: the ``code`` that was mailed there, and whom to believe, if said."""

    email: str
    code: str = field(default="", repr=False)
    fingerprint: str = ""
    wants_json: bool = False

    @classmethod
    def of(cls, email: str, code: str, fingerprint: str, *, wants_json: bool) -> Login:
        """Return the wish that a command line says. Raises UsageError."""
        pin = fingerprint.removeprefix("sha256:")
        if pin and not is_digest(pin):
            raise UsageError("--fingerprint has 64 digits from 0 to 9 and a to f, as in the line of an invitation")
        return cls(valid_address(email), read_code(code), pin, wants_json)

    async def run(self, reactor: ReactorBase, address: tuple[str, int]) -> int:
        """Log in, or have a code mailed and say how to go on. Raises UsageError, Unauthorised, Unavailable."""
        store = store_for(address)
        own = store.load()
        if own is not None:
            raise UsageError(f"you are logged in at {at_port(*address)} already, as {own.name}: logout ends that")
        pin = self.fingerprint or store.pending()
        if not pin:
            pin = await self._trusted(reactor, address)
        if self.code:
            return self._done(await self._join(reactor, address, pin, store, self.code), store)
        told = await self._asked(reactor, address, pin)
        store.keep_pending(pin)
        if self.wants_json:
            said = {"email": told.email, "mailed_at": told.mailed_at, "expires": told.expires, "fresh": told.fresh}
            say(json.dumps(said))
            return int(ExitCode.OK)
        say_line(code_words(told))
        if not sys.stdin.isatty():
            say(f"then say: login {self.email} --code CODE")
            return int(ExitCode.OK)
        return self._done(await self._typed(reactor, address, pin, store), store)

    async def _trusted(self, reactor: ReactorBase, address: tuple[str, int]) -> str:
        where = at_port(*address)
        chain = await chain_at(machine_at(reactor, *address), where, IReactorTime(reactor), address[0])
        pin = key_id(chain[1] if len(chain) > 1 else chain[-1])  # who made the certificate that is shown
        complain(
            f"{where} is trusted at first use: the key of its authority is sha256:{pin}, as in every line that its "
            "operator's `bin/metaserver invite` prints, and --fingerprint compares it"
        )
        return pin

    async def _asked(self, reactor: ReactorBase, address: tuple[str, int], pin: str) -> CodeMailed:
        where, endpoint, timers = at_port(*address), machine_at(reactor, *address), IReactorTime(reactor)
        authority = await pinned_authority(endpoint, where, pin, timers, address[0])
        secured = wrapClientTLS(ClientTls([authority], name=address[0]), endpoint)
        session = await greet(secured, where, PrincipalRole.JOINING.value, timers)
        try:
            return await session.ask(AskCode(self.email), CodeMailed)
        finally:
            session.close()

    async def _typed(
        self, reactor: ReactorBase, address: tuple[str, int], pin: str, store: CredentialStore
    ) -> OwnIdentity:
        for left in reversed(range(TRIES)):
            code = read_code(await _answer(reactor, "code: "))
            if not code:
                raise UsageError(f"no code was typed; later, say: login {self.email} --code CODE")
            try:
                return await self._join(reactor, address, pin, store, code)
            except Unauthorised as error:
                if not left:
                    raise
                complain(str(error))
        raise UsageError("no code was typed")

    async def _join(
        self, reactor: ReactorBase, address: tuple[str, int], pin: str, store: CredentialStore, code: str
    ) -> OwnIdentity:
        own = await join(reactor, JoinLine((address,), pin, code), store)
        store.forget_pending()
        return own

    def _done(self, own: OwnIdentity, store: CredentialStore) -> int:
        where = ",".join(at_port(*one) for one in own.addresses)
        told = {"name": own.name, "role": own.role, "metaserver": where, "key": str(store.directory)}
        words = f"logged in at {where} as {own.name}; your key is in {store.directory}, and logout removes it"
        say(json.dumps(told)) if self.wants_json else say_line(words)
        return int(ExitCode.OK)


def code_words(told: CodeMailed) -> str:
    """Return in one line whether a code was mailed, and until when it holds."""
    when = "was mailed" if told.fresh else f"was mailed already, at {moment_words(told.mailed_at)},"
    return f"a code {when} to {told.email}; it holds until {moment_words(told.expires)}"


@frozen
class Logout:
    """A wish to give up the own key at a metaserver."""

    wants_json: bool = False

    async def run(self, reactor: ReactorBase, address: tuple[str, int]) -> int:
        """Revoke the own key there, and remove it here; print that. Raises UsageError, Unavailable."""
        where, store = at_port(*address), store_for(address)
        own = store.load()
        if own is None:
            raise UsageError(f"you are not logged in at {where}")
        try:
            await _leave(reactor, address, own, store)
        except Unavailable as error:
            raise Unavailable(
                f"{error}; so your key was not revoked there, and is kept: say logout again, or have the operator "
                f"revoke {own.name} and delete {store.directory}"
            ) from error
        store.remove()
        words = f"logged out at {where}: the key of {own.name} is revoked there and removed here"
        say(json.dumps({"name": own.name, "metaserver": where})) if self.wants_json else say_line(words)
        return int(ExitCode.OK)


async def _leave(reactor: ReactorBase, address: tuple[str, int], own: OwnIdentity, store: CredentialStore) -> None:
    """Revoke the own key. The connection ends with it, so that the answer may be lost: then it is asked for again."""
    timers = IReactorTime(reactor)
    try:
        secured = wrapClientTLS(own.tls(any_time=True, host=address[0]), machine_at(reactor, *address))
        session = await greet(secured, at_port(*address), PrincipalRole.RENEWING.value, timers)
        try:
            await session.ask(Leave(), Ok)
        except Unavailable:
            await renew(reactor, store, own)
            raise
        finally:
            session.close()
    except Unauthorised:
        return  # it is revoked already


class _Typing(LineOnlyReceiver):
    """What is typed: one line."""

    delimiter = b"\n"
    MAX_LENGTH = 1_000

    def __init__(self) -> None:
        self.line: Deferred[bytes] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Take the line."""
        if not self.line.called:
            self.line.callback(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take nothing, where the input has ended."""
        if not self.line.called:
            self.line.callback(b"")


async def _answer(reactor: ReactorBase, prompt: str) -> str:
    put(sys.stderr, prompt)
    typing = _Typing()
    terminal = StandardIO(typing, reactor=reactor)
    try:
        return (await typing.line).decode("utf-8", "replace").strip()
    finally:
        terminal.loseConnection()
