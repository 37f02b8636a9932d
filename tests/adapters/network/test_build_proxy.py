"""The proxy of a sandbox: a real client inside reaches the named hosts, no others, and only while it is open."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from buildtool.adapters.host.recipe_commands import BuildBounds, CommandRunner, RecipeCommands
from buildtool.adapters.network.build_proxy import HEAD_LIMIT, ProxyRequest, understood
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.runner import Processes
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.runtime.threads import Threads
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.model.guest.limits import BuildLimits
from buildtool.project.fetching import NamedHost
from tests.adapters.processes.sandbox.sandboxed import Slot, bubblewrap
from tests.support.packages import require

reactor: Any = global_reactor
LARGE = 400_000


class Said(http.server.BaseHTTPRequestHandler):
    """Says which path was asked for, and who the request said that it was for."""

    def do_GET(self) -> None:
        if self.path == "/large":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(LARGE))
            return
        text = f"{self.path} of {self.headers['Host']} {self.headers['Proxy-Connection']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Log nothing."""


@contextmanager
def served() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Said)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.world
class Proxied(TestCase):
    """Programs in a sandbox with a way to one host."""

    timeout = 60

    async def made(self, rate: float | None = None) -> CommandRunner:
        require("curl", "curl")
        pool = Threads(reactor, 4, "proxy")
        self.addCleanup(pool.stop)
        keepers = Keepers(3)
        self.addCleanup(keepers.close)
        processes = Processes(reactor, keepers)
        self.addCleanup(lambda: Deferred.fromCoroutine(processes.stop_all("the test is over")))
        top = Path(self.mktemp()).resolve()
        slot = Slot(top / "slot").make()
        self.tree = slot.tree
        commands = RecipeCommands(
            processes, pool, reactor, Sandboxes(keepers, bubblewrap(), top / "made"), BuildBounds(BuildLimits()),
            TokenBucket(reactor, rate),
        )  # fmt: skip
        runner = await commands.enclose(0, slot.tree, slot.place)
        self.addCleanup(lambda: Deferred.fromCoroutine(runner.end()))
        return runner

    async def curl(self, runner: CommandRunner, environment: Any, *words: str) -> tuple[int | None, str]:
        heard: list[bytes] = []

        async def hear(data: bytes) -> None:
            heard.append(data)

        ended = await runner.start(
            ["curl", "-sS", "--max-time", "20", *words], self.tree, {"PATH": "/usr/bin:/bin", **environment},
            on_output=hear, time_limit=40.0, silence_limit=40.0,
        ).ended  # fmt: skip
        return ended.code, b"".join(heard).decode()

    async def test_named_hosts_are_reached_both_ways_others_are_refused_and_all_is_noted(self) -> None:
        runner, noted = await self.made(), list[str]()
        with served() as port, served() as other:
            way = await runner.open_network([NamedHost("localhost", port)], noted.append)
            url = f"http://localhost:{port}/a/b?c=d"
            code, text = await self.curl(runner, way.environment, url)
            assert (code, text) == (0, f"/a/b?c=d of localhost:{port} None\n")
            code, text = await self.curl(runner, way.environment, "--proxytunnel", url)
            assert (code, text) == (0, f"/a/b?c=d of localhost:{port} None\n")
            code, text = await self.curl(runner, way.environment, f"http://localhost:{other}/")
            assert (code, text) == (0, f"the recipe does not name localhost:{other}\n")
            code, _ = await self.curl(runner, way.environment, "--proxytunnel", f"http://127.0.0.1:{port}/")
            assert code, "another name of the same host is not named"
            code, _ = await self.curl(runner, {}, url)
            assert code == 7, "without the proxy there is no way"
            came, went = await way.close()
            assert came > 2 * len(f"/a/b?c=d of localhost:{port} None\n"), "with the heads of both answers"
            assert went > 2 * len("GET /a/b?c=d HTTP/1.1")
            code, _ = await self.curl(runner, way.environment, url)
            assert code == 7, "the network has ended"
        assert noted == [
            f"[network: localhost:{port} reached]",
            f"[network: localhost:{other} refused, which the recipe does not name]",
            f"[network: 127.0.0.1:{port} refused, which the recipe does not name]",
        ]

    async def test_no_more_comes_to_the_commands_each_second_than_the_owner_allows(self) -> None:
        runner = await self.made(rate=300_000.0)
        with served() as port:
            way = await runner.open_network([NamedHost("localhost", port)], lambda _: None)
            began = time.monotonic()
            words = ("--proxytunnel", "-o", "it", f"http://localhost:{port}/large")
            assert await self.curl(runner, way.environment, *words) == (0, "")
            assert time.monotonic() - began >= (LARGE - 300_000) / 300_000
            assert (self.tree / "it").stat().st_size == LARGE
            came, _ = await way.close()
            assert LARGE < came < LARGE + 10_000

    async def test_a_name_without_a_port_leads_to_the_public_internet_only(self) -> None:
        runner, noted = await self.made(), list[str]()
        with socket.socket() as listening:
            try:
                listening.bind(("127.0.0.1", 80))
            except OSError:
                return  # something has it, and would answer
            listening.listen()
            way = await runner.open_network([NamedHost("localhost")], noted.append)
            _, text = await self.curl(runner, way.environment, "http://localhost/")
            assert "no host of the public internet" in text
            await way.close()
        assert "not reached" in noted[0]

    async def test_nonsense_is_answered_and_harms_nobody(self) -> None:
        runner = await self.made()
        way = await runner.open_network([NamedHost("localhost", 1)], lambda _: None)
        port = way.environment["http_proxy"].rpartition(":")[2]
        script = (
            f"printf '{{}}' | head -c {2 * HEAD_LIMIT} /dev/zero | curl -sS --max-time 10 telnet://127.0.0.1:{port}"
        )
        heard: list[bytes] = []

        async def hear(data: bytes) -> None:
            heard.append(data)

        await runner.start(
            ["sh", "-c", script],
            self.tree,
            {"PATH": "/usr/bin:/bin"},
            on_output=hear,
            time_limit=30.0,
            silence_limit=30.0,
        ).ended
        assert b"400" in b"".join(heard)
        _, text = await self.curl(runner, way.environment, "http://localhost:1/")
        assert "refused" in text.lower()
        await way.close()


def test_heads_are_understood_as_what_they_ask_for() -> None:
    assert understood(b"CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org:443") == ProxyRequest("pypi.org", 443, b"")
    found = understood(
        b"GET http://a.org/x HTTP/1.1\r\nHost: a.org\r\nProxy-Authorization: secret\r\nConnection: keep-alive"
    )
    assert found == ProxyRequest("a.org", 80, b"GET /x HTTP/1.1\r\nConnection: close\r\nHost: a.org\r\n\r\n")
    for target in (b"GET /", b"CONNECT a", b"CONNECT a:0", b"CONNECT a:70000", b"CONNECT u@a:1", b"GET https://a/"):
        assert understood(target + b" HTTP/1.1") is None, target
    for wrong in (b"", b"get http://a/ HTTP/1.1", b"GET http:///x HTTP/1.1", b"CONNECT a:1 HTTP/2"):
        assert understood(wrong) is None, wrong


@given(st.binary(max_size=200))
def test_whatever_a_build_sends_is_understood_or_not_and_raises_nothing(head: bytes) -> None:
    found = understood(head)
    assert found is None or (found.host and 0 < found.port < 65536)
