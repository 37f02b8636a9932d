"""TLS as an endpoint string asks for it: real sockets, real certificates, and what is not right about them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.by_endpoint import authorities_in, mistrust_words, tls_to
from buildtool.adapters.tls.certificates import (
    FARM,
    Identified,
    certificate_text,
    client_certificate,
    key_id,
    key_text,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.adapters.tls.contexts import ANY_HTTP, ServerTls
from buildtool.adapters.tls.one_port import OnePort, listening
from buildtool.adapters.tls.own_certificate import OwnCertificate
from buildtool.adapters.tls.words import CONTROL, tls_errors, tls_words
from buildtool.errors import ConfigurationError
from buildtool.model.access.metaserver_addresses import read_addresses
from tests.adapters.tls.test_one_port import Listens, Speaking


class Hears(Listens):
    """One that is told of every end that TLS makes."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(*tls_errors()):
            self.ended.errback(reason)
        else:
            self.ended.callback(self.heard)


class EndpointTests(TestCase):
    timeout = 20

    own: OwnCertificate | None = None

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        now = time.time()
        self.authority = new_authority(f"{FARM}1", now)
        (self.directory / "authority-1.pem").write_bytes(certificate_text([self.authority.certificate]))

    async def _ask(self, host: str, more: str, names: tuple[str, ...]) -> bytes:
        """Return what a metaserver with these names says to whoever connects by an endpoint string."""
        from twisted.internet import reactor

        clock, key = IReactorTime(reactor), new_key()
        shown = Identified(key, server_certificate(self.authority, key.public_key(), names, time.time()))
        port = OnePort({CONTROL: Speaking("control"), ANY_HTTP: Speaking("http")}, clock, ViolationLog(clock))
        tls = ServerTls(shown, [self.authority.certificate], [self.authority.certificate], self.own)
        made = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(listening(tls, port))
        self.addCleanup(made.stopListening)
        (address,) = read_addresses(f"tls:{host}:{made.getHost().port}{more}", "--host")
        listens = Hears()
        endpoint = wrapClientTLS(tls_to(address), HostnameEndpoint(reactor, address.host, address.port))
        await endpoint.connect(Factory.forProtocol(lambda: listens))
        return await listens.ended

    async def test_the_string_names_who_is_believed_and_the_control_protocol_is_asked_for(self) -> None:
        roots = f":trustRoots={self.directory}"
        for host, names in (("127.0.0.1", ("127.0.0.1",)), ("localhost", ("localhost",))):
            self.assertEqual(await self._ask(host, roots, names), b"control nobody")

    async def test_files_with_a_certificate_and_its_key_are_shown(self) -> None:
        key = new_key()
        certificate = client_certificate(self.authority, key.public_key(), "ben", time.time())
        (self.directory / "ben.crt").write_bytes(certificate_text([certificate]))
        (self.directory / "ben.key").write_bytes(key_text(key))
        files = f":certificate={self.directory}/ben.crt:privateKey={self.directory}/ben.key"
        told = await self._ask("127.0.0.1", f":trustRoots={self.directory}{files}", ("127.0.0.1",))
        self.assertEqual(told, f"control {key_id(key)}".encode())

    async def test_without_more_the_systems_authorities_are_believed_where_a_certificate_of_one_is_shown(self) -> None:
        """The metaserver shows it on its own port, and to others the farm's; its host's name counts as any site's."""
        public, key = new_authority("Public Trust", time.time()), new_key()
        roots = self.directory / "system.pem"
        roots.write_bytes(certificate_text([public.certificate]))
        before = os.environ.get("SSL_CERT_FILE")
        self.addCleanup(lambda: os.environ.pop("SSL_CERT_FILE") and before and os.environ.update(SSL_CERT_FILE=before))
        os.environ["SSL_CERT_FILE"] = str(roots)
        self.own = OwnCertificate(key, server_certificate(public, key.public_key(), ["localhost"], time.time()), ())
        self.assertEqual(await self._ask("localhost", "", ("127.0.0.1",)), b"control nobody")
        farms = f":trustRoots={self.directory}/farm"
        (self.directory / "farm").mkdir()
        (self.directory / "authority-1.pem").rename(self.directory / "farm" / "a.pem")
        self.assertEqual(await self._ask("127.0.0.1", farms, ("127.0.0.1",)), b"control nobody")
        with pytest.raises(tls_errors()) as caught:
            await self._ask("127.0.0.1", "", ("127.0.0.1",))
        self.assertIn("is not for the host that was said", tls_words(caught.value))

    async def test_where_no_farm_is_named_the_metaserver_is_asked_for_the_certificate_that_its_operator_brought(
        self,
    ) -> None:
        """A company's authority has signed it, and knows nothing of the farm's own."""
        company, key = new_authority("Company CA", time.time()), new_key()
        (self.directory / "company").mkdir()
        (self.directory / "company" / "a.pem").write_bytes(certificate_text([company.certificate]))
        roots = f":trustRoots={self.directory}/company"
        with pytest.raises(tls_errors()) as caught:
            await self._ask("localhost", roots, ("localhost",))
        self.assertIn("of no authority in trustRoots=", tls_words(caught.value, "of no authority in trustRoots="))
        self.own = OwnCertificate(key, server_certificate(company, key.public_key(), ["localhost"], time.time()), ())
        self.assertEqual(await self._ask("localhost", roots, ("127.0.0.1",)), b"control nobody")
        with pytest.raises(tls_errors()):
            await self._ask("127.0.0.1", roots, ("127.0.0.1",))
        shutil.copy(self.directory / "authority-1.pem", self.directory / "company")
        self.assertEqual(await self._ask("127.0.0.1", roots, ("127.0.0.1",)), b"control nobody")

    async def test_a_certificate_for_another_host_or_of_an_unknown_authority_is_not_believed(self) -> None:
        (self.directory / "other").mkdir()
        other = new_authority("other", time.time()).certificate
        (self.directory / "other" / "b.pem").write_bytes(certificate_text([other]))
        for more, words in (
            (f":trustRoots={self.directory}", "is not for the host that was said"),
            (f":trustRoots={self.directory}/other", f"of no authority in trustRoots={self.directory}/other (put"),
            ("", "of no authority that this machine's system believes (join the farm with a line"),
        ):
            with pytest.raises(tls_errors()) as caught:
                await self._ask("127.0.0.1", more, ("farm.example.org",))
            (address,) = read_addresses(f"tls:127.0.0.1:1{more}", "--host")
            self.assertIn(words, tls_words(caught.value, mistrust_words(address)))

    def _refused(self, directory: Path) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            authorities_in(directory)
        return str(caught.exception)

    def test_a_directory_is_read_whole_and_the_file_without_a_certificate_is_named(self) -> None:
        other = new_authority("other", time.time())
        (self.directory / "b.pem").write_bytes(certificate_text([other.certificate]))
        (self.directory / "notes.txt").write_text("not looked at")
        self.assertEqual(authorities_in(self.directory), (self.authority.certificate, other.certificate))
        (self.directory / "b.pem").rename(self.directory / "elsewhere")
        (self.directory / "b.pem").symlink_to("elsewhere")
        self.assertEqual(authorities_in(self.directory), (self.authority.certificate, other.certificate))
        (self.directory / "c.pem").write_bytes(key_text(new_key()))
        self.assertIn(f"{self.directory}/c.pem: it holds no certificate", self._refused(self.directory))

    def test_a_directory_that_is_not_there_or_holds_none_is_told(self) -> None:
        self.assertIn("is no directory", self._refused(self.directory / "none"))
        (self.directory / "authority-1.pem").unlink()
        self.assertIn("holds no file *.pem", self._refused(self.directory))

    def test_files_that_are_none_to_show_are_named(self) -> None:
        (address,) = read_addresses(f"tls:h:1:certificate={self.directory}/c:privateKey={self.directory}/k", "--host")
        with self.assertRaisesRegex(ConfigurationError, f"{self.directory}/c cannot be read"):
            tls_to(address)
        (self.directory / "c").write_bytes(certificate_text([self.authority.certificate]))
        with self.assertRaisesRegex(ConfigurationError, f"{self.directory}/k cannot be read"):
            tls_to(address)
        (self.directory / "k").write_text("x")
        with self.assertRaisesRegex(ConfigurationError, f"{self.directory}/k: it holds no private key"):
            tls_to(address)
        (self.directory / "k").write_bytes(key_text(new_key()))
        with self.assertRaisesRegex(ConfigurationError, f"{self.directory}/c is not of the key {self.directory}/k"):
            tls_to(address)
