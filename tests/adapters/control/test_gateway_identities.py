"""Joining, and who is there by their key: real sockets, TLS and Perspective Broker, decided by the real service."""

from __future__ import annotations

import random
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.tls.authority import Authority
from buildtool.adapters.tls.certificates import (
    Identified,
    Key,
    certificate_text,
    key_id,
    key_text,
    new_key,
    read_certificate,
)
from buildtool.adapters.tls.contexts import ClientTls, ServerTls
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.adapters.tls.one_port import OnePort, listening
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.adapters.tls.pinning import pinned_authority
from buildtool.adapters.tls.signer import FarmSigner, request_text
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import NotFound, StorageUnavailable, Unauthorised, Unavailable, UsageError
from buildtool.metaserver.accounts import AccountService, open_accounts
from buildtool.model.access.join_line import JoinLine, read_join_line
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.enrolment import AskIdentities, Credentials, InviteOne, Join, Renew, RevokeOne, RotateAuthority
from buildtool.protocol.messages import AskStatus
from tests import messages
from tests.fakes import FakeBuildServerService, FakeRequestService
from tests.simulation.disk import Crashed, SimulatedDisk
from tests.support.memory import MemoryBurnt, MemoryStore

OPERATOR = Principal(PrincipalRole.OPERATOR, name="root (uid 0)")
DAY = 86_400.0


@define
class Now:
    """The wall time, which a test may move."""

    moved: float = 0.0

    def wall(self) -> float:
        return time.time() + self.moved


class KeyedCase(TestCase):
    """A control port that knows peers by keys, with a clock that a test may move."""

    timeout = 60

    async def _serve(self, life: float = 30 * DAY) -> None:
        from twisted.internet import reactor

        self.clock: Any = IReactorTime(reactor)
        self.now = Now()
        self.authority = Authority.load(self._path("tls"), self.now.wall())
        self.store = MemoryStore()
        self.burnt = MemoryBurnt()
        self.gone: list[tuple[str, str]] = []
        self.accounts = await self._accounts("first", life)
        holders = KeyHolders(self.accounts.known, self.now)
        gateway = Gateway(self.clock, identify=holders, authority=lambda: self.authority.fingerprint)
        requests = FakeRequestService({12: messages.waiting()})
        factory = gateway.factory(
            requests.handlers, FakeBuildServerService().handlers, {**self.accounts.joining, **self.accounts.keeping}
        )
        self.tls = ServerTls(
            self.authority.server(["127.0.0.1"], self.now.wall()), self.authority.chain(self.now.wall()),
            self.authority.believed(self.now.wall()),
        )  # fmt: skip
        port = OnePort({CONTROL: factory}, self.clock, ViolationLog(self.clock))
        made = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(listening(self.tls, port))
        self.addCleanup(made.stopListening)
        self.listening = made
        self.addCleanup(gateway.close)
        self.port = made.getHost().port

    def _path(self, name: str) -> Path:
        return Path(self.mktemp()) / name

    async def _accounts(self, life: str, lasts: float) -> AccountService:
        numbers = iter(range(100))
        return await open_accounts(
            AccountService(
                self.store,
                self.now,
                FarmSigner(self.authority, Inline(), lambda: lasts),
                life,
                lambda: [("127.0.0.1", self.port)],
                lambda key, why: self.gone.append((key, why)),
                lambda: 400 * DAY,
                lambda: f"token-{next(numbers)}-{'x' * 20}",
                self.burnt,
            )
        )

    def _endpoint(self) -> Any:
        from twisted.internet import reactor

        return HostnameEndpoint(reactor, "127.0.0.1", self.port)

    async def _greet(self, role: str, identity: Identified | None, **tls: Any) -> Session:
        endpoint = wrapClientTLS(ClientTls(self.authority.believed(self.now.wall()), identity, **tls), self._endpoint())
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
        assert read_certificate("".join(told.authorities).encode()) == self.authority.believed(self.now.wall())
        return Identified(key, read_certificate(told.certificate.encode())[0])

    def _serve_again(self) -> None:
        """Show what the authority has by now, as the metaserver does after a change."""
        now = self.now.wall()
        self.tls.take(
            self.authority.server(["127.0.0.1"], now), self.authority.chain(now), self.authority.believed(now)
        )


class GatewayIdentityTests(KeyedCase):
    async def test_who_is_invited_joins_with_one_line_and_is_known_from_then_on(self) -> None:
        await self._serve()
        line = read_join_line(await self._invite())
        assert line.addresses == (("127.0.0.1", self.port),)
        found = await pinned_authority(self._endpoint(), "there", line.fingerprint, self.clock)
        assert found == self.authority.believed(self.now.wall())[0]
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
        await self.accounts.known(OPERATOR, key_id(anna.key))
        self.now.moved = 5.0
        with self.assertRaisesRegex(Unauthorised, "has expired by the metaserver.s clock: it has to be renewed"):
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

    async def test_a_revocation_that_failed_and_may_have_taken_effect_ends_connections_at_once(self) -> None:
        await self._serve()
        anna = await self._join(await self._invite(), new_key())
        await self._greet("build server", anna)
        self.store.problems, self.store.took_effect = [StorageUnavailable("no answer")], True
        with self.assertRaises(StorageUnavailable):
            await self.accounts.revoke(OPERATOR, RevokeOne("anna", "it was sold"))
        assert self.gone == [(key_id(anna.key), "the key of anna was revoked: it was sold")]
        with self.assertRaisesRegex(Unauthorised, "the key of anna was revoked: it was sold"):
            await self._greet("build server", anna)
        with self.assertRaisesRegex(NotFound, "every key of anna is revoked already"):
            await self.accounts.revoke(OPERATOR, RevokeOne("anna", "it was sold"))

    async def test_invitations_do_not_outlive_a_restore(self) -> None:
        await self._serve()
        line = await self._invite()
        accounts = await self._accounts("second", DAY)
        with self.assertRaisesRegex(Unauthorised, "is void, since the metaserver was restored"):
            await accounts.join(OPERATOR, Join(read_join_line(line).token, request_text(new_key(), "me")))

    # --- the age of keys ------------------------------------------------------------------------------------

    async def _renewed(self, anna: Identified) -> Identified:
        session = await self._greet("renewing", anna, any_time=True)
        told = await session.ask(Renew(), Credentials)
        session.close()
        assert told.now == pytest.approx(self.now.wall(), abs=30)
        return Identified(anna.key, read_certificate(told.certificate.encode())[0])

    def _events(self) -> list[tuple[str, str]]:
        return [(one.kind, one.subject) for one in self.store.happened]

    async def test_after_a_change_of_authority_old_lines_old_certificates_and_new_ones_are_all_good(self) -> None:
        await self._serve()
        old_line = read_join_line(await self._invite("ben"))
        anna = await self._join(await self._invite(), new_key())
        old = self.authority.believed(self.now.wall())
        told = await self.accounts.rotate(OPERATOR, RotateAuthority())
        self._serve_again()
        new_line = read_join_line(await self._invite("cid"))
        assert old_line.fingerprint != new_line.fingerprint
        assert f"sha256:{new_line.fingerprint}" in told.words[0]
        assert f"sha256:{old_line.fingerprint}" in told.words[1]
        (listed,) = [one for one in (await self.accounts.identities(OPERATOR, AskIdentities())).found if one.key]
        assert listed.old_authority
        for line in (old_line, new_line):
            root = await pinned_authority(self._endpoint(), "there", line.fingerprint, self.clock)
            endpoint = wrapClientTLS(ClientTls([root]), self._endpoint())
            session = await greet(endpoint, "there", "joining", self.clock)
            await session.ask(Join(line.token, request_text(new_key(), "me")), Credentials)
            session.close()
        # One that believes the old authority alone, and shows its certificate, is let in and moves over.
        endpoint = wrapClientTLS(ClientTls(old, anna), self._endpoint())
        session = await greet(endpoint, "there", "build server", self.clock)
        session.close()
        again = await self._renewed(anna)
        assert self.authority.signs_for(again.certificate)
        assert not self.authority.signs_for(anna.certificate)
        found = (await self.accounts.identities(OPERATOR, AskIdentities())).found
        assert not any(one.old_authority for one in found)
        assert ("authority-rotated", "farm") in self._events()

    async def test_the_old_authority_is_believed_until_whoever_was_away_may_not_come_back_any_more(self) -> None:
        await self._serve()
        now = self.now.wall()
        self.authority.rotate(now, 100.0)
        assert len(self.authority.believed(now + 99)) == 2
        assert len(self.authority.believed(now + 101)) == 1
        for _ in range(6):
            self.authority.rotate(now, 100.0)
        with self.assertRaisesRegex(UsageError, "8 authorities are believed already"):
            await self.accounts.rotate(OPERATOR, RotateAuthority())
        self.authority.rotate(now + 101)

    async def test_who_was_away_too_long_is_refused_and_the_operator_reads_it_once_an_hour(self) -> None:
        await self._serve(life=2.0)
        anna = await self._join(await self._invite(), new_key())
        await self.accounts.known(OPERATOR, key_id(anna.key))
        self.now.moved = 399 * DAY
        await self._renewed(anna)
        self.now.moved = 2 * 400 * DAY
        for _ in range(2):
            session = await self._greet("renewing", anna, any_time=True)
            with self.assertRaisesRegex(Unauthorised, "not used for more than 400 days: ask the operator"):
                await session.ask(Renew(), Credentials)
        assert self._events().count(("key-refused", "anna")) == 1

    async def test_a_revoked_key_that_tries_again_is_recorded_with_where_it_came_from(self) -> None:
        await self._serve()
        anna = await self._join(await self._invite(), new_key())
        await self.accounts.revoke(OPERATOR, RevokeOne("anna", "it was sold"))
        for role in ("build server", "renewing"):
            with self.assertRaisesRegex(Unauthorised, "was revoked: it was sold"):
                await self._greet(role, anna)
        assert self._events().count(("key-refused", "anna")) == 1
        assert "from 127.0.0.1" in self.store.happened[-1].detail

    async def test_a_line_that_somebody_else_used_is_a_problem_until_the_operator_acts(self) -> None:
        await self._serve()
        line = await self._invite()
        await self._join(line, new_key())
        assert self.accounts.problems() == ()
        with self.assertRaises(Unauthorised):
            await self._join(line, new_key())
        (problem,) = self.accounts.problems()
        assert "the invitation of anna was shown again with another key, from 127.0.0.1" in problem
        await self.accounts.revoke(OPERATOR, RevokeOne("anna"))
        assert self.accounts.problems() == ()

    async def test_what_is_burnt_is_kept_outside_of_the_database_before_it_is_told(self) -> None:
        await self._serve()
        line, key = await self._invite(), new_key()
        self.burnt.problem = StorageUnavailable("the disk is full")
        with self.assertRaises(StorageUnavailable):
            await self._join(line, key)
        anna = await self._join(line, key)
        await self.accounts.revoke(OPERATOR, RevokeOne("anna", "it was sold"))
        assert [(one.name, bool(one.token), one.reason) for one in self.burnt.kept] == [
            ("anna", True, ""), ("anna", False, "it was sold"),
        ]  # fmt: skip
        # A database that is put back has forgotten all of it; what is kept beside it has not.
        older = MemoryStore()
        self.store = older
        forgetful = await self._accounts("first", DAY)
        with self.assertRaisesRegex(Unauthorised, "it was sold"):
            await forgetful.known(OPERATOR, key_id(anna.key))
        assert ("revoked", "anna") in [(one.kind, one.subject) for one in older.happened]

    async def test_whatever_write_of_the_metaserver_fails_a_retry_with_the_same_key_joins(self) -> None:
        await self._serve()
        for number, (fails, effect) in enumerate(((1, False), (1, True), (2, False), (2, True))):
            line, key = await self._invite(f"anna{number}"), new_key()
            self.store.took_effect = effect
            self.store.problems = [None] * (fails - 1) + [StorageUnavailable("no answer")]
            try:
                anna = await self._join(line, key)
                await self.accounts.known(OPERATOR, key_id(key))
            except StorageUnavailable:
                anna = await self._join(line, key)
            self.store.problems, self.store.took_effect = [], False
            assert (await self._join(line, key)).certificate == anna.certificate
            assert (await self.accounts.known(OPERATOR, key_id(key))).name == f"anna{number}"
            with self.assertRaisesRegex(Unauthorised, "used already"):
                await self._join(line, new_key())

    async def test_whenever_the_joiner_is_killed_a_retry_makes_it_who_it_would_have_been(self) -> None:
        await self._serve()
        for step in range(60):
            disk = SimulatedDisk(random.Random(step))  # noqa: S311 - a seed is to repeat what it draws
            disk.put(Path("build/lock"), b"")
            store = CredentialStore(Path("build/identity"), disk)
            line = read_join_line(await self._invite(f"anna{step}"))
            disk.crash_at = step
            try:
                first = await self._joined(store, line)
            except Crashed:
                first = None
            untouched = disk.operations <= step
            disk.crash() if step % 2 else disk.stop()
            again = await self._joined(store, line)
            assert again.name == f"anna{step}"
            assert first is None or again.identified.certificate == first.identified.certificate
            assert key_id(again.identified.key) == key_id(again.identified.certificate)
            found = store.load()
            assert found is not None
            assert found.identified.certificate == again.identified.certificate
            if untouched:
                return
        raise AssertionError("it was never whole")

    async def _joined(self, store: CredentialStore, line: JoinLine) -> OwnIdentity:
        """Join as ``programs.common.joining`` does: the key is kept first, the certificate last."""
        key = store.key()
        session = await self._greet("joining", None)
        told = await session.ask(Join(line.token, request_text(key, "joining")), Credentials)
        session.close()
        return store.keep(told, line.addresses)

    async def test_no_session_of_tls_is_resumed_so_that_a_revoked_key_is_always_looked_up(self) -> None:
        await self._serve()
        anna = await self._join(await self._invite(), new_key())
        kept = self._path("client.pem")
        kept.parent.mkdir(parents=True)
        kept.write_bytes(key_text(anna.key) + certificate_text([anna.certificate]))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.minimum_version = context.maximum_version = version
            context.load_verify_locations(
                cadata=certificate_text(self.authority.believed(self.now.wall())).decode("ascii")
            )
            context.load_cert_chain(kept)
            context.set_alpn_protocols([CONTROL.decode()])
            first = await deferToThread(self._shake, context, None)
            assert first is None or not await deferToThread(self._resumes, context, first)

    def _shake(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        with context.wrap_socket(plain, session=session) as talk:
            talk.recv(1_000)  # Perspective Broker speaks first, and tickets of TLS 1.3 come before that
            return talk.session

    def _resumes(self, context: ssl.SSLContext, session: ssl.SSLSession) -> bool:
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        with context.wrap_socket(plain, session=session) as talk:
            return bool(talk.session_reused)
