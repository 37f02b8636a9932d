"""bin/webserver: its command line, its one-line errors, and pages over real sockets from a real database."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, PartialDownloadError, ResponseFailed
from twisted.web.resource import Resource
from twisted.web.server import Request

from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.storage.artifacts import stored_path
from buildtool.configuration.description import describe
from buildtool.configuration.settings import Settings, load_settings
from buildtool.programs.common.listening import listen
from buildtool.programs.webserver.site import PagesSite, StateReader, tools_for, web_site
from buildtool.programs.webserver.visits import BODY_LIMIT, DROPPED
from buildtool.web.section import Upstream
from tests.support.inline import run
from tests.support.warm_starts import finished
from tests.web.fake_pages import FakeLogs, NoQuestions
from tests.web.farm import LOG, farm
from tests.web.seeded import configure, fill, fill_artifact

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.world


NOBODY = NoQuestions()


class Silent(Protocol):
    """Sends nothing by itself, and tells when it is cut off."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.ended.callback(None)


class SendsMuch(Silent):
    """Sends a request whose body never ends."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"x" * 1024
        for _ in range(2 * DROPPED // len(piece)):
            self.transport.write(b"400\r\n" + piece + b"\r\n")


class OverSockets(TestCase):
    """The pages of a real database and real log files, over a real socket."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.settings: Settings = load_settings(configure(directory))
        run(fill(self.settings.state_dir))
        self.reader = StateReader(reactor, self.settings.state_dir)  # type: ignore[arg-type]
        self.addCleanup(lambda: Deferred.fromCoroutine(self.reader.close()))
        tools = tools_for(reactor, lambda: self.settings, self.reader.artifacts)
        logs, clock = self.reader.logs, WallClock()
        site = web_site(self.settings, self.reader.pages, logs, clock, Upstream(NOBODY), tools=tools)
        self.site = site
        port: Any = listen(reactor, site, "127.0.0.1", 0, "web_port")  # type: ignore[arg-type]
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.number = port.getHost().port
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.http = HTTPClient(Agent(reactor, pool=pool))

    async def get(self, path: str) -> tuple[int, bytes]:
        response = await self.http.get(f"http://127.0.0.1:{self.number}{path}")
        return response.code, await response.content()

    async def test_every_kind_of_page_comes_from_the_database(self) -> None:
        for path in ("/", "/builds?state=failed", "/build/3", "/buildservers", "/health"):
            status, body = await self.get(path)
            self.assertEqual(status, 200, body)
        self.assertIn(b"wdith", (await self.get("/build/3"))[1])
        self.assertEqual((await self.get("/build/9"))[0], 404)

    async def test_a_log_comes_from_its_file(self) -> None:
        self.assertEqual(await self.get("/logs/3"), (200, LOG.encode()))
        status, body = await self.get("/logs/3?attempt=1")
        self.assertEqual(
            (status, body),
            (410, b"The log of build 3, attempt 1, is not kept any more: it has expired, or was damaged.\n"),
        )

    async def test_an_artifact_comes_from_its_file_and_one_that_was_changed_does_not(self) -> None:
        (made, *_) = farm().artifacts
        digest = hashlib.sha256(LOG.encode()).hexdigest()
        await fill_artifact(self.settings.state_dir, evolve(made, id=99, digest=digest), LOG.encode())
        self.assertEqual(await self.get(f"/api/v1/artifacts/{digest}"), (200, LOG.encode()))
        path = stored_path(self.settings.state_dir, digest)
        path.write_bytes(LOG.encode()[:-1] + b"x")
        status, body = await self.get(f"/api/v1/artifacts/{digest}")
        self.assertEqual((status, json.loads(body)["code"]), (410, "damaged"))
        path.unlink()
        self.assertEqual((await self.get(f"/api/v1/artifacts/{digest}"))[0], 404)

    async def test_a_long_log_survives_a_slow_way(self) -> None:
        """Longer than what sockets hold, so that the sender has to wait for the visitor."""
        log = b"".join(b"line %d\n" % number for number in range(700_000))
        await self.reader.logs.append(4, 1, 0, log, len(log))
        status, body = await self.get("/logs/4")
        self.assertEqual(status, 200)
        self.assertTrue(body == log)

    async def test_half_a_log_does_not_look_like_a_whole_one(self) -> None:
        """A log that is cleared away while it is read breaks the connection off."""
        store = FakeLogs({(3, 2): b"x" * 10_000_000}, gone_from=1)
        site = web_site(self.settings, self.reader.pages, store, WallClock(), Upstream(NOBODY))
        port: Any = listen(reactor, site, "127.0.0.1", 0, "web_port")  # type: ignore[arg-type]
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.number = port.getHost().port
        with self.assertRaises((PartialDownloadError, ResponseFailed)):
            await self.get("/logs/3")

    async def test_a_body_that_is_too_long_is_refused_in_one_line_once_all_of_it_came(self) -> None:
        for size, status in ((BODY_LIMIT, b"400"), (BODY_LIMIT + 1, b"413")):
            visitor = Silent()
            await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", self.number), visitor)
            assert visitor.transport is not None
            visitor.transport.write(
                b"POST /api/v1/explain HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (size, b"x" * size)
            )
            await visitor.ended
            head, _, body = visitor.received.partition(b"\r\n\r\n")
            self.assertEqual(head.split()[1], status)
        told = json.loads(body)
        self.assertEqual(
            (told["code"], told["detail"]), ("too-long", "a body has at most 64 KiB here: send less at once")
        )

    async def test_a_body_without_end_is_cut_off(self) -> None:
        """Nothing of it is kept, and nothing answered."""
        visitor = SendsMuch()
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", self.number), visitor)
        await visitor.ended
        self.assertEqual(visitor.received, b"")

    async def test_what_is_no_request_is_said_to_be_none_and_nothing_is_logged(self) -> None:
        """Whatever a visitor sends is answered, in a line that no defect of ours is written for."""
        odd = (
            b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 20_000),
            b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"a" * 40_000),
            b"POST / HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5_000),
            b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            b"GET /\x1b[31m HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\r\n\r\n",
        )
        for request in odd:
            visitor = Silent()
            await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", self.number), visitor)
            assert visitor.transport is not None
            visitor.transport.write(request)
            await visitor.ended
            self.assertTrue(visitor.received.startswith(b"HTTP/1.1 400 "), (request[:40], visitor.received))

    async def test_silent_visitors_make_room_for_whoever_comes(self) -> None:
        """However many hold a connection and say nothing, every other visitor is answered."""
        self.site.admitting.most = 3
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.number)
        idle: list[Any] = [await connectProtocol(endpoint, Silent()) for _ in range(3)]
        while len(self.site.admitting) < 3:
            await deferLater(reactor, 0)
        for _ in range(5):
            self.assertEqual((await self.get("/health"))[0], 200)
        await idle[0].ended
        self.assertEqual(idle[0].received, b"")
        for visitor in idle[1:]:
            visitor.transport.abortConnection()
            await visitor.ended
        while len(self.site.admitting):
            await deferLater(reactor, 0)


@pytest.mark.parametrize("length", [None, 5, 10**6, 10**4000])
def test_the_body_of_a_request_is_in_memory_whatever_length_is_said(length: int | None) -> None:
    """What a visitor says of it takes neither a descriptor nor a file where those for a while are kept."""
    site = PagesSite(Resource())
    channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    assert channel is not None
    channel.makeConnection(StringTransport())
    request = site.requestFactory(channel)
    channel.setTimeout(None)
    request.gotLength(length)
    assert isinstance(request.content, BytesIO)


class LongPage(Resource):
    """The same long text at every address."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"x" * 60_000


class Deaf(StringTransport):
    """A connection whose peer reads nothing: what is written stays, and whoever writes is told so."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.value()) > 64 * 1024 and self.producer is not None:
            self.producer.pauseProducing()


@pytest.mark.parametrize(("transport", "answers"), [(Deaf, 4), (StringTransport, 500)])
def test_who_reads_no_answers_is_not_answered_without_end(transport: type[StringTransport], answers: int) -> None:
    """Requests that come in one piece are answered as long as what was answered is read."""
    channel = PagesSite(LongPage()).buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
    assert channel is not None
    visitor = transport()
    channel.makeConnection(visitor)
    for _ in range(500):
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert visitor.value().count(b"HTTP/1.1 200 OK") == answers
    channel.connectionLost(Failure(ConnectionDone()))


# --- the program -----------------------------------------------------------------------------------------------


def webserver(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run bin/webserver to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BUILDTOOL_")}
    return finished(
        [sys.executable, str(ROOT / "bin/webserver"), *map(str, arguments)], env=clean | environment, cwd="/"
    )


def test_help_has_an_example_and_the_exit_codes() -> None:
    done = webserver("--help")
    assert done.returncode == 0
    assert "bin/webserver --config" in done.stdout
    assert "exit codes:" in done.stdout
    assert webserver("--version").stdout.startswith("buildtool ")


def test_a_configuration_can_be_checked_without_a_metaserver(tmp_path: Path) -> None:
    done = webserver("--config", configure(tmp_path), "--port", 0, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    *described, port = done.stdout.splitlines()
    said = [line for line in described if line.startswith("set ")]
    assert described == [*describe(load_settings(tmp_path / "config.py")), *said]
    assert said[0].split() == ["set", "port", "=", "0,", "by", "the", "command", "line"]
    assert port.split() == ["--port", "0,", "in", "place", "of", "the", "web", "port"]


@pytest.mark.parametrize("port", ["http", "-1", "65536", "9" * 40, "٣"])
def test_a_port_that_is_none_is_refused_by_name(tmp_path: Path, port: str) -> None:
    done = webserver("--config", configure(tmp_path), f"--port={port}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("webserver: --port: ")
    assert "is no port" in line


def test_without_a_database_one_line_says_what_to_start_first(tmp_path: Path) -> None:
    done = webserver("--config", configure(tmp_path), "--port", 0)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("webserver: there is no database at ")
    assert "start bin/metaserver" in line
    assert list((tmp_path / "state").iterdir()) == []


def test_without_a_configuration_one_line_names_it(tmp_path: Path) -> None:
    done = webserver("--config", tmp_path / "none.py")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "none.py") in line


def test_a_taken_port_is_one_line_that_names_port_and_setting(tmp_path: Path) -> None:
    path = configure(tmp_path)
    run(fill(tmp_path / "state"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        done = webserver("--config", path, BUILDTOOL_WEB_PORT=str(number))
        flagged = webserver("--config", path, "--port", number)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"port {number} on 127.0.0.1 is taken" in line
    assert "web_port" in line
    assert flagged.returncode == 1
    assert flagged.stderr.endswith("stop that one, or give --port a free port\n")


def test_a_port_is_refused_where_the_pages_listen_on_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = configure(tmp_path)
    for words in (("--port", 81), ("check-config", "--port", 81)):
        done = webserver(*words, "--config", path, BUILDTOOL_WEB_BIND=f"unix:{tmp_path}/web")
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"the pages listen on unix:{tmp_path}/web (web_bind), which has no port" in line


def test_it_serves_until_it_is_told_to_stop_and_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    path = configure(tmp_path)
    run(fill(tmp_path / "state"))
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "bin/webserver"), "--config", str(path), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stderr is not None
        try:
            first = program.stderr.readline()
            said = re.search(r"pages on http://127\.0\.0\.1:(\d+)/", first)
            assert said is not None, first
            with socket.create_connection(("127.0.0.1", int(said[1])), timeout=20) as visitor:
                visitor.sendall(b"GET /build/1 HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: visitor.recv(65_536), b""))
            program.send_signal(signal.SIGTERM)
            left = program.stderr.read()
            program.wait(timeout=20)
        finally:
            program.kill()  # does nothing to one that has ended
    assert answer.startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"))
    assert b"</html>" in answer
    assert program.returncode == 0
    assert "SIGTERM" in left
    assert "Traceback" not in left
