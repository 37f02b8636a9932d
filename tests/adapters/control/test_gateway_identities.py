"""Joining, and who is there by their key: real sockets, TLS and Perspective Broker, decided by the real service."""

from __future__ import annotations

import time
from typing import Any

from attrs import define
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.authority import Authority
from buildtool.adapters.tls.certificates import Identified, Key, key_id, new_key, read_certificate
from buildtool.adapters.tls.contexts import CONTROL, ClientTls, ServerTls
from buildtool.adapters.tls.one_port import OnePort, listening
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.adapters.tls.pinning import pinned_authority
from buildtool.adapters.tls.signer import FarmSigner, request_text
from buildtool.errors import StorageUnavailable, Unauthorised, Unavailable
from buildtool.metaserver.accounts import AccountService, open_accounts
from buildtool.model.access.join_line import read_join_line
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.enrolment import Credentials, InviteOne, Join, Renew, RevokeOne
from buildtool.protocol.messages import AskStatus
from tests import messages
from tests.fakes import FakeBuildServerService, FakeRequestService
from tests.support.memory import MemoryStore

OPERATOR = Principal(PrincipalRole.OPERATOR, name="root (uid 0)")
DAY = 86_400.0


@define
class Now:
    """The wall time, which a test may move."""

    moved: float = 0.0

    def wall(self) -> float:
        return time.time() + self.moved


class GatewayIdentityTests(TestCase):
    timeout = 30

    async def _serve(self, life: float = 30 * DAY) -> None:
        from twisted.internet import reactor

        self.clock: Any = IReactorTime(reactor)
        self.now = Now()
        self.authority = Authority.load(self._path("tls"), self.now.wall())
        self.store = MemoryStore()
        self.gone: list[tuple[str, str]] = []
        self.accounts = await self._accounts("first", life)
        holders = KeyHolders(self.accounts.known, self.now)
        gateway = Gateway(self.clock, identify=holders)
        requests = FakeRequestService({12: messages.waiting()})
        factory = gateway.factory(
            requests.handlers, FakeBuildServerService().handlers, {**self.accounts.joining, **self.accounts.keeping}
        )
        self.tls = ServerTls(
            self.authority.server(["127.0.0.1"], self.now.wall()), self.authority.chain(self.now.wall()),
            self.authority.believed,
        )  # fmt: skip
        port = OnePort({CONTROL: factory}, self.clock, ViolationLog(self.clock))
        made = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(listening(self.tls, port))
        self.addCleanup(made.stopListening)
        self.addCleanup(gateway.close)
        self.port = made.getHost().port

    def _path(self, name: str) -> Any:
        from pathlib import Path

        return Path(self.mktemp()) / name

    async def _accounts(self, life: str, lasts: float) -> AccountService:
        numbers = iter(range(100))
        return await open_accounts(
            AccountService(
                self.store,
                self.now,
                FarmSigner(self.authority, lasts),
                life,
                lambda: [("127.0.0.1", self.port)],
                lambda key, why: self.gone.append((key, why)),
                400 * DAY,
                lambda: f"token-{next(numbers)}-{'x' * 20}",
            )
        )

    def _endpoint(self) -> Any:
        from twisted.internet import reactor

        return HostnameEndpoint(reactor, "127.0.0.1", self.port)

    async def _greet(self, role: str, identity: Identified | None, **tls: Any) -> Session:
        endpoint = wrapClientTLS(ClientTls(self.authority.believed, identity, **tls), self._endpoint())
        session = await greet(endpoint, f"127.0.0.1:{self.port}", role, self.clock)
        self.addCleanup(session.close)
        return session

    async def _invite(self, name: str = "anna", **said: Any) -> str:
        said = {"role": "build server", "lasts": DAY, **said}
        return (await self.accounts.invite(OPERATOR, InviteOne(name, **said))).line

    async def _join(self, line: str, key: Key) -> Identified:
        session = await self._greet("joining", None)
        token = read_join_line(line).token
        told = await session.ask(Join(token, request_text(key, "me")), Credentials)
        session.close()
        assert read_certificate("".join(told.authorities).encode()) == self.authority.believed
        return Identified(key, read_certificate(told.certificate.encode())[0])

    async def test_who_is_invited_joins_with_one_line_and_is_known_from_then_on(self) -> None:
        await self._serve()
        line = read_join_line(await self._invite())
        assert line.addresses == (("127.0.0.1", self.port),)
        found = await pinned_authority(self._endpoint(), "there", line.fingerprint, self.clock)
        assert found == self.authority.believed[0]
        anna = await self._join(str(line), new_key())
        session = await self._greet("build server", anna)
        assert not session.broker.disconnected
        kinds = [(one.kind, one.subject) for one in self.store.happened]
        assert kinds == [("invited", "anna"), ("joined", "anna"), ("confirmed", "anna")]

    async def test_another_farm_at_the_address_is_noticed_before_anything_is_sent(self) -> None:
        await self._serve()
        with self.assertRaisesRegex(Unauthorised, "not the metaserver of this invitation"):
            await pinned_authority(self._endpoint(), "there", "0" * 64, self.clock)

    async def test_nobody_without_a_key_or_in_another_role_gets_further_than_hello(self) -> None:
        await self._serve()
        anna = await self._join(await self._invite(), new_key())
        with self.assertRaisesRegex(Unauthorised, "without a key: join first"):
            await self._greet("build server", None)
        with self.assertRaisesRegex(Unauthorised, "is a build server's, not a requester's"):
            await self._greet("requester", anna)
        session = await self._greet("joining", None)
        with self.assertRaises(Unavailable):
            await session.ask(AskStatus(1, "t"), Credentials)

    async def test_a_key_that_was_cut_off_gets_the_same_certificate_and_another_one_is_refused(self) -> None:
        await self._serve()
        line, key = await self._invite(), new_key()
        first = await self._join(line, key)
        assert (await self._join(line, key)).certificate == first.certificate
        with self.assertRaisesRegex(Unauthorised, "used already, with another key"):
            await self._join(line, new_key())
        assert self.store.happened[-1].kind == "invitation-shown-twice"

    async def test_a_commit_that_took_effect_and_failed_all_the_same_is_believed_as_it_is(self) -> None:
        await self._serve()
        line, key = await self._invite(), new_key()
        self.store.problems, self.store.took_effect = [StorageUnavailable("no answer")], True
        with self.assertRaises(StorageUnavailable):
            await self._join(line, key)
        assert key_id((await self._join(line, key)).certificate) == key_id(key)

    async def test_a_certificate_that_has_expired_can_be_renewed_and_nothing_else(self) -> None:
        await self._serve(life=2.0)
        anna = await self._join(await self._invite(), new_key())
        await self.accounts.known(key_id(anna.key))
        self.now.moved = 5.0
        with self.assertRaisesRegex(Unauthorised, "has expired: it has to be renewed first"):
            await self._greet("build server", anna)
        session = await self._greet("renewing", anna)
        told = await session.ask(Renew(), Credentials)
        again = Identified(anna.key, read_certificate(told.certificate.encode())[0])
        assert told.name == "anna"
        await self._greet("build server", again, any_time=True)

    async def test_who_is_revoked_is_told_so_and_their_connections_are_ended(self) -> None:
        await self._serve()
        anna = await self._join(await self._invite(), new_key())
        await self._greet("build server", anna)
        await self.accounts.revoke(OPERATOR, RevokeOne("anna", "it was sold"))
        assert self.gone == [(key_id(anna.key), "the key of anna was revoked: it was sold")]
        with self.assertRaisesRegex(Unauthorised, "the key of anna was revoked: it was sold"):
            await self._greet("build server", anna)

    async def test_invitations_do_not_outlive_a_restore(self) -> None:
        await self._serve()
        line = await self._invite()
        accounts = await self._accounts("second", DAY)
        with self.assertRaisesRegex(Unauthorised, "is void, since the metaserver was restored"):
            await accounts.join(OPERATOR, Join(read_join_line(line).token, request_text(new_key(), "me")))
