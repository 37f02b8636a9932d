"""The doctors of build server and requester, by breaking each thing: real sockets, real TLS, real files."""

from __future__ import annotations

import json
import socket
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from buildtool.adapters.control import gateway
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.tls.certificates import (
    Identified,
    certificate_text,
    client_certificate,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.adapters.tls.contexts import ANY_HTTP, ServerTls
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.adapters.tls.one_port import OnePort, listening
from buildtool.adapters.tls.words import CONTROL
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.model.access.metaserver_addresses import MetaserverAddress, Speech
from buildtool.model.checkup.verdicts import CheckResult, CheckVerdict
from buildtool.programs.common.joining import FarmEndpoint
from buildtool.programs.doctors.buildserver import tool_results
from buildtool.programs.doctors.visiting import Visit, disk_result, own_farm, visit
from buildtool.protocol.enrolment import Credentials
from tests.fakes import FakeBuildServerService, FakeRequestService
from tests.fakes_build import project

HOUR = 3_600.0


def the_reactor() -> Any:
    """Return the reactor, as it is rather than as it is declared."""
    from twisted.internet import reactor

    return reactor


class Clock(Resource):
    """A page that tells a time which is ``ahead`` by so many seconds."""

    isLeaf = True

    def __init__(self, ahead: float) -> None:
        super().__init__()
        self.ahead = ahead

    def render_HEAD(self, request: Request) -> bytes:
        request.setHeader(b"date", formatdate(time.time() + self.ahead, usegmt=True).encode())
        return b""


class Silent(Protocol):
    """A server that says something else than TLS or Perspective Broker."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"220 mail.example.org ESMTP\r\n")
        self.transport.loseConnection()


class DoctorTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = new_authority("farm", time.time())

    def _spoken(self) -> Any:
        made = Gateway(IReactorTime(the_reactor()))
        return made.factory(FakeRequestService().handlers, FakeBuildServerService().handlers)

    def _listen(self, factory: object) -> int:
        made = the_reactor().listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(made.stopListening)
        return int(made.getHost().port)

    def _tls(self, *, ahead: float = 0.0, began: float = 0.0, lives: float = HOUR) -> int:
        """Return the port of a metaserver that speaks TLS; its certificate began so many seconds ago."""
        key, clock = new_key(), IReactorTime(the_reactor())
        when = time.time() - began
        shown = Identified(key, server_certificate(self.authority, key.public_key(), ["127.0.0.1"], when, lives))
        spoken = {CONTROL: self._spoken(), ANY_HTTP: Site(Clock(ahead))}
        tls = ServerTls(shown, [self.authority.certificate], [self.authority.certificate])
        return self._listen(listening(tls, OnePort(spoken, clock, ViolationLog(clock))))

    def _farm(self, port: int, *, began: float = 0.0, lives: float = HOUR) -> FarmEndpoint:
        """Return a machine's key at the farm, with a certificate that began so many seconds ago."""
        store = CredentialStore(self.directory / "identity")
        key = store.key()
        made = client_certificate(self.authority, key.public_key(), "attic", time.time() - began, lives)
        text = certificate_text([made]).decode()
        roots = (certificate_text([self.authority.certificate]).decode(),)
        store.keep(Credentials("attic", "build server", text, 0.0, roots), [("127.0.0.1", port)])
        farm, wrong = own_farm(the_reactor(), store)
        assert farm is not None
        assert not wrong
        return farm

    async def _visit(
        self, address: MetaserverAddress, farm: FarmEndpoint | None = None, clock_port: int = 1
    ) -> dict[str, CheckResult]:
        """Return the verdicts by what they are about, the worst of each."""
        found: dict[str, CheckResult] = {}
        for one in await visit(the_reactor(), Visit([address], "build server", clock_port), farm):
            if one.what not in found or found[one.what].verdict is CheckVerdict.OK:
                found[one.what] = one
        return found

    def _troubles(self, found: dict[str, CheckResult]) -> dict[str, CheckVerdict]:
        return {what: one.verdict for what, one in found.items() if one.verdict is not CheckVerdict.OK}

    async def test_where_all_is_well_every_verdict_says_so(self) -> None:
        port = self._tls()
        found = await self._visit(MetaserverAddress("127.0.0.1", port), self._farm(port))
        self.assertEqual(self._troubles(found), {})
        self.assertEqual(set(found), {"certificate", "name", "port", "TLS", "fingerprint", "clock", "protocol"})

    async def test_a_plain_metaserver_is_well_too_and_its_clock_is_asked_at_the_transfer_port(self) -> None:
        port, transfers = self._listen(self._spoken()), self._listen(Site(Clock(600.0)))
        found = await self._visit(MetaserverAddress("127.0.0.1", port), clock_port=transfers)
        self.assertEqual(self._troubles(found), {"clock": CheckVerdict.PROBLEM})
        self.assertIn("10 min slow", found["clock"].words)

    async def test_a_name_that_there_is_not_and_a_port_at_which_nothing_listens(self) -> None:
        found = await self._visit(MetaserverAddress("farm.invalid", 1))
        self.assertEqual(self._troubles(found), {"name": CheckVerdict.PROBLEM})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            dead = probe.getsockname()[1]
        found = await self._visit(MetaserverAddress("127.0.0.1", dead))
        self.assertEqual(self._troubles(found), {"port": CheckVerdict.PROBLEM})
        self.assertIn("nothing listens at 127.0.0.1", found["port"].words)

    async def test_a_port_that_speaks_something_else(self) -> None:
        port = self._listen(Factory.forProtocol(Silent))
        found = await self._visit(MetaserverAddress("127.0.0.1", port, Speech.TLS))
        self.assertEqual(self._troubles(found), {"TLS": CheckVerdict.PROBLEM})
        found = await self._visit(MetaserverAddress("127.0.0.1", port))
        self.assertEqual(found["protocol"].verdict, CheckVerdict.PROBLEM)

    async def test_another_farm_at_that_address(self) -> None:
        port = self._tls()
        farm = self._farm(port)
        self.authority = new_authority("another farm", time.time())
        other = self._tls()
        found = await self._visit(MetaserverAddress("127.0.0.1", other), farm)
        self.assertEqual(self._troubles(found), {"fingerprint": CheckVerdict.PROBLEM, "protocol": CheckVerdict.PROBLEM})

    async def test_a_directory_of_authorities_that_cannot_be_read(self) -> None:
        address = MetaserverAddress("127.0.0.1", self._tls(), Speech.TLS, str(self.directory / "none"))
        found = await self._visit(address)
        self.assertIn("is no directory", found["TLS"].words)

    async def test_a_companys_authority_says_nothing_of_the_key_of_the_farm_that_was_joined(self) -> None:
        company = new_authority("Company CA", time.time()).certificate
        (self.directory / "company.pem").write_bytes(certificate_text([company]))
        port = self._tls()
        address = MetaserverAddress("127.0.0.1", port, Speech.TLS, str(self.directory))
        self.assertEqual(self._troubles(await self._visit(address, self._farm(port))), {})
        self.assertIn("of no authority in trustRoots=", (await self._visit(address))["protocol"].words)

    async def test_the_metaserver_s_certificate_and_the_own_have_expired_or_soon_will(self) -> None:
        port = self._tls(began=0.9 * HOUR)
        found = await self._visit(MetaserverAddress("127.0.0.1", port), self._farm(port))
        self.assertEqual(self._troubles(found), {"certificate": CheckVerdict.WARNING})
        port = self._tls(began=2 * HOUR)
        found = await self._visit(MetaserverAddress("127.0.0.1", port), self._farm(port, began=2 * HOUR))
        self.assertEqual(found["certificate"].verdict, CheckVerdict.PROBLEM)
        self.assertIn("has expired", found["certificate"].words)

    async def test_a_clock_that_is_wrong_is_told_by_how_much(self) -> None:
        port = self._tls(ahead=-7 * HOUR)
        found = await self._visit(MetaserverAddress("127.0.0.1", port), self._farm(port))
        self.assertEqual(self._troubles(found), {"clock": CheckVerdict.PROBLEM})
        self.assertIn("7 h", found["clock"].words)
        self.assertIn("fast", found["clock"].words)

    async def test_a_metaserver_of_another_version_and_the_command_that_updates(self) -> None:
        port = self._listen(self._spoken())
        for theirs, mend in ((9, "venv"), (2, "ask the operator")):
            self.patch(gateway, "PROTOCOL_VERSION", theirs)
            found = await self._visit(MetaserverAddress("127.0.0.1", port))
            self.assertEqual(found["protocol"].verdict, CheckVerdict.PROBLEM)
            self.assertIn(mend, found["protocol"].mend)

    def test_a_key_that_is_damaged(self) -> None:
        farm = self._farm(1)
        (farm.store.directory / "key.pem").write_text("x")
        none, (told,) = own_farm(the_reactor(), farm.store)
        self.assertIsNone(none)
        self.assertEqual((told.what, told.verdict), ("key", CheckVerdict.PROBLEM))


def test_a_disk_without_room_and_one_that_is_not_there_yet(tmp_path: Path) -> None:
    assert disk_result("build_dir", tmp_path / "a" / "b", 1, 1).verdict is CheckVerdict.OK
    assert disk_result("build_dir", tmp_path, 2**62, 1).verdict is CheckVerdict.WARNING
    assert disk_result("build_dir", tmp_path, 2**62, 2**62).verdict is CheckVerdict.PROBLEM


def test_a_compiler_that_is_missing_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machine has no program but an installer, which is never run."""
    one = project()
    one = evolve(
        one,
        recipe=evolve(one.recipe, machine={"tools": ("gcc", "zig")}, packages={"zig": {"fedora": "zig zig-libs"}}),
    )
    (tmp_path / "dnf").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "dnf").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    git, told = tool_results([one])
    assert (git.verdict, git.mend) == (CheckVerdict.PROBLEM, "sudo dnf install git")
    assert (told.verdict, told.mend) == (CheckVerdict.PROBLEM, "sudo dnf install gcc zig zig-libs")


def test_the_programs_tell_what_is_wrong_and_end_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a configuration that is wrong; the rest of the programs' own part is in tests/e2e/test_doctors.py."""
    from buildtool.programs.buildserver.main import main

    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.py").write_text("hots = 'x'\n")
    assert main(["doctor", "--config", str(tmp_path / "config.py"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert "did you mean 'host'?" in told["checks"][0]["words"]
