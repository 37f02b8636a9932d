"""Becoming a requester by a code that is mailed, and leaving again.

A code is an invitation: with it this side joins as with the line of one. What a line would say of the farm's authority
is said by ``--fingerprint``; else by the metaserver, where its certificate is one that is believed here; else it is
believed as it is shown at first. A line says which. Between asking for a code and showing it, it is kept with the key.
The code itself is not sent, only a proof of it that is good for this authority alone: to who answers in its place it is
of no use.

Tested by tests/e2e/test_login.py and tests/programs/startcompile/test_logging_in.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from attrs import evolve, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.control.client import greet
from buildtool.adapters.network.in_turn import InTurn
from buildtool.adapters.tls.certificates import key_id
from buildtool.adapters.tls.contexts import ClientTls, OverTls
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.adapters.tls.pinning import chain_at, pinned_authority
from buildtool.adapters.tls.words import tls_errors
from buildtool.errors import Unauthorised, Unavailable, UsageError
from buildtool.model.access.confirmation import proof_of, read_code
from buildtool.model.access.join_line import JoinLine
from buildtool.model.access.metaserver_addresses import MetaserverAddress, Speech
from buildtool.model.addresses import at_port, valid_address
from buildtool.model.names import is_digest
from buildtool.model.principal import PrincipalRole
from buildtool.model.text import moment_words
from buildtool.programs.common.joining import PEOPLE, farm_at, join, renew, store_for
from buildtool.programs.common.output import complain, say, say_line
from buildtool.programs.common.reaching import machine_of, way_to
from buildtool.programs.operating.terminal import typed
from buildtool.programs.startcompile.command_line import Arguments
from buildtool.protocol.enrolment import AskCode, CodeMailed, Leave
from buildtool.protocol.messages import Ok
from buildtool.requester.outcome import ExitCode

T = TypeVar("T")

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

    async def run(self, reactor: ReactorBase, addresses: Sequence[MetaserverAddress]) -> int:
        """Log in at the first address that answers, or have a code mailed and say how to go on.

        Raises UsageError, Unauthorised, Unavailable.
        """
        _check_encrypted(addresses)
        farm = await farm_at(reactor, set(_places(addresses)))
        if farm is not None:
            where = ",".join(at_port(*one) for one in farm.own.addresses)
            raise UsageError(f"you are logged in at {where} already, as {farm.own.name}: logout ends that")
        store = store_for(_places(addresses)[0])
        pin = self.fingerprint or store.pending()
        if not pin:
            pin = await in_turn(addresses, partial(believed_authority, reactor))
        if self.code:
            return self._done(await self._join(reactor, addresses, pin, store, self.code), store)
        told = await in_turn(addresses, partial(self._asked, reactor, pin))
        store.keep_pending(pin)
        if self.wants_json:
            said = {"email": told.email, "mailed_at": told.mailed_at, "expires": told.expires, "fresh": told.fresh}
            say(json.dumps(said))
            return int(ExitCode.OK)
        say_line(code_words(told))
        if not sys.stdin.isatty():
            say(f"then say: login {self.email} --code CODE")
            return int(ExitCode.OK)
        return self._done(await self._typed(reactor, addresses, pin, store), store)

    async def _asked(self, reactor: ReactorBase, pin: str, address: MetaserverAddress) -> CodeMailed:
        machine, timers = machine_of(reactor, address), IReactorTime(reactor)
        authority = await pinned_authority(machine, address.where, pin, timers, address.host)
        secured = OverTls(ClientTls([authority], name=address.host), machine)
        session = await greet(secured, address.where, PrincipalRole.JOINING.value, timers)
        try:
            return await session.ask(AskCode(self.email), CodeMailed)
        finally:
            session.close()

    async def _typed(
        self, reactor: ReactorBase, addresses: Sequence[MetaserverAddress], pin: str, store: CredentialStore
    ) -> OwnIdentity:
        for left in reversed(range(TRIES)):
            code = read_code(await typed(reactor, "code: "))
            if not code:
                raise UsageError(f"no code was typed; later, say: login {self.email} --code CODE")
            try:
                return await self._join(reactor, addresses, pin, store, code)
            except Unauthorised as error:
                if not left:
                    raise
                complain(str(error))
        raise UsageError("no code was typed")

    async def _join(
        self, reactor: ReactorBase, addresses: Sequence[MetaserverAddress], pin: str, store: CredentialStore, code: str
    ) -> OwnIdentity:
        own = await join(reactor, JoinLine(_places(addresses), pin, proof_of(code, pin)), store, PEOPLE)
        store.forget_pending()
        return own

    def _done(self, own: OwnIdentity, store: CredentialStore) -> int:
        where = ",".join(at_port(*one) for one in own.addresses)
        told = {"name": own.name, "role": own.role, "metaserver": where, "key": str(store.directory)}
        words = f"logged in at {where} as {own.name}; your key is in {store.directory}, and logout removes it"
        say(json.dumps(told)) if self.wants_json else say_line(words)
        return int(ExitCode.OK)


async def believed_authority(reactor: ReactorBase, address: MetaserverAddress) -> str:
    """Return the fingerprint of the authority of the farm at an address, and print why it is believed.

    That is what the metaserver says whose certificate is one that is believed here, by the system's authorities or by
    those that the address names. Where it is none, it is what is shown there, unless the address names authorities.
    Raises Unavailable, ConfigurationError.
    """
    machine, timers, where = machine_of(reactor, address), IReactorTime(reactor), address.where
    try:
        way = way_to(reactor, evolve(address, speech=Speech.TLS), None)
        session = await greet(InTurn((way,)), where, PrincipalRole.JOINING.value, timers)
    except Unavailable as error:
        if address.trust_roots or not isinstance(error.__cause__, tls_errors()):
            raise
    else:
        session.close()
        if is_digest(pin := session.theirs.authority):
            complain(
                f"{where} shows a certificate that is believed here, and says that the key of its farm's authority is "
                f"sha256:{pin}: that is what is checked from now on"
            )
            return pin
    chain = await chain_at(machine, where, timers, address.host)
    if not chain:
        raise Unavailable(f"what answers at {where} does not speak TLS as a metaserver does")
    pin = key_id(chain[1] if len(chain) > 1 else chain[-1])  # who made the certificate that is shown
    complain(
        f"{where} is trusted at first use: the key of its authority is sha256:{pin}, as in every line that its "
        "operator's `bin/metaserver invite` prints, and --fingerprint compares it"
    )
    return pin


async def in_turn(addresses: Sequence[MetaserverAddress], do: Callable[[MetaserverAddress], Awaitable[T]]) -> T:
    """Return what is done at the first address that answers. Raises Unavailable, which says all that went wrong."""
    problems: list[Unavailable] = []
    for one in addresses:
        try:
            return await do(one)
        except Unavailable as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    raise Unavailable("; ".join(map(str, problems)))


def _places(addresses: Sequence[MetaserverAddress]) -> tuple[tuple[str, int], ...]:
    return tuple((one.host, one.port) for one in addresses)


def _check_encrypted(addresses: Sequence[MetaserverAddress]) -> None:
    for one in addresses:
        if one.speech is Speech.PLAIN:
            raise UsageError(f"tcp:{one.where} is plain, and keys are given by TLS only: say tls:{one.where}")


def code_words(told: CodeMailed) -> str:
    """Return in one line whether a code was mailed, and until when it holds."""
    when = "was mailed" if told.fresh else f"was mailed already, at {moment_words(told.mailed_at)},"
    return f"a code {when} to {told.email}; it holds until {moment_words(told.expires)}"


@frozen
class Logout:
    """A wish to give up the own key at a metaserver."""

    wants_json: bool = False

    async def run(self, reactor: ReactorBase, addresses: Sequence[MetaserverAddress]) -> int:
        """Revoke the own key there, and remove it here; print that. Raises UsageError, Unavailable."""
        _check_encrypted(addresses)
        where, farm = " or ".join(one.where for one in addresses), await farm_at(reactor, set(_places(addresses)))
        if farm is None:
            raise UsageError(f"you are not logged in at {where}")
        own, store = farm.own, farm.store
        try:
            await in_turn(addresses, partial(_leave, reactor, own, store))
        except Unavailable as error:
            raise Unavailable(
                f"{error}; so your key was not revoked there, and is kept: say logout again, or have the operator "
                f"revoke {own.name} and delete {store.directory}"
            ) from error
        store.remove()
        words = f"logged out at {where}: the key of {own.name} is revoked there and removed here"
        say(json.dumps({"name": own.name, "metaserver": where})) if self.wants_json else say_line(words)
        return int(ExitCode.OK)


async def _leave(reactor: ReactorBase, own: OwnIdentity, store: CredentialStore, address: MetaserverAddress) -> None:
    """Revoke the own key. The connection ends with it, so that the answer may be lost: then it is asked for again."""
    timers = IReactorTime(reactor)
    try:
        secured = OverTls(own.tls(any_time=True, host=address.host), machine_of(reactor, address))
        session = await greet(secured, address.where, PrincipalRole.RENEWING.value, timers)
        try:
            await session.ask(Leave(), Ok)
        except Unavailable:
            await renew(reactor, store, own)
            raise
        finally:
            session.close()
    except Unauthorised:
        return  # it is revoked already


async def joined(reactor: ReactorBase, line: JoinLine, said: Arguments) -> int:
    """Join a farm, and print as who, and how to ask there where the configuration names another metaserver.

    Raises what ``join`` does.
    """
    store = store_for(line.addresses[0])
    own = await join(reactor, line, store, PEOPLE)
    told = {"name": own.name, "role": own.role, "metaserver": line.where, "key": str(store.directory)}
    words = f"joined {line.where} as {own.name}; your key is in {store.directory}"
    if said.addresses and {(one.host, one.port) for one in said.addresses}.isdisjoint(line.addresses):
        place = f"tls:{at_port(*line.addresses[0])}"
        other = f"{said.settings.path if said.settings is not None else 'what was said'} names another metaserver"
        words += f"; {other}, so say --host {place}, or set BUILDTOOL_HOST to that"
    say(json.dumps(told)) if said.json else say_line(words)
    return int(ExitCode.OK)
