"""Declared files are fetched once, are what was declared, and go where they belong and nowhere else."""

import hashlib
import http.server
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from buildtool.adapters.http.client import HttpClient, HttpTimeouts
from buildtool.adapters.http.declared_downloads import DownloadCache
from buildtool.adapters.runtime.threads import Threads
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BuildFailed, MachineFault
from buildtool.project.fetching import Download
from tests.programs.buildserver.test_main import unused_port

reactor: Any = global_reactor
CONTENT = b"sources\n" * 10_000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Files(http.server.BaseHTTPRequestHandler):
    """Has one file, at several addresses."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        where = {"/moved": "/file", "/round": "/round", "/away": "ftp://elsewhere/file"}.get(self.path)
        if where is not None:
            self.send_response(302)
            self.send_header("Location", where)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/file":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Log nothing."""


@pytest.mark.world
class Declared(TestCase):
    """Files from a real server."""

    timeout = 30

    def setUp(self) -> None:
        self.asked: list[str] = []
        handler = type("Handler", (Files,), {"asked": self.asked})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.site = f"http://127.0.0.1:{server.server_address[1]}"
        pool = Threads(reactor, 2, "downloads")
        self.addCleanup(pool.stop)
        self.downloading = TokenBucket(reactor)
        client = HttpClient(reactor, HttpTimeouts(), downloading=self.downloading)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        self.top = Path(self.mktemp()).resolve()
        self.tree = self.top / "tree"
        self.tree.mkdir(parents=True)
        self.cache = DownloadCache(self.top / "downloads", client, pool)
        self.noted: list[str] = []

    async def put(self, path: str, where: str = "vendor/it", sha: str = SHA) -> None:
        await self.cache.put(Download(f"{self.site}{path}", sha, where), self.tree, self.noted.append)

    async def test_a_file_is_fetched_once_and_verified_at_each_use(self) -> None:
        await self.put("/moved")
        await self.put("/file", "again")
        assert (self.tree / "vendor/it").read_bytes() == (self.tree / "again").read_bytes() == CONTENT
        assert self.asked == ["/moved", "/file"]
        assert len(self.noted) == 2
        kept = next((self.top / "downloads").iterdir())
        kept.write_bytes(b"damaged")
        await self.put("/file")
        assert (self.tree / "vendor/it").read_bytes() == CONTENT
        assert [path.name for path in (self.top / "downloads").iterdir()] == [SHA]

    async def test_no_more_comes_each_second_than_was_allowed(self) -> None:
        """What goes beyond the first second's share waits, however fast the line is."""
        self.downloading.rate = 65_000.0
        began = monotonic()
        await self.put("/file")
        assert monotonic() - began >= (len(CONTENT) - 65_000) / 65_000
        assert (self.tree / "vendor/it").read_bytes() == CONTENT

    async def test_another_file_than_was_declared_is_the_projects_failure_and_is_not_kept(self) -> None:
        with pytest.raises(BuildFailed, match=f"has SHA-256 {SHA} and not b{{64}}, as the recipe declares"):
            await self.put("/file", sha="b" * 64)
        assert not list((self.top / "downloads").iterdir())
        assert not (self.tree / "vendor").exists()

    async def test_one_that_cannot_be_had_is_the_machines(self) -> None:
        for path, said in (
            ("/none", "answers 404"),
            ("/round", "elsewhere more than 5 times"),
            ("/away", "ftp://elsewhere/file"),
        ):
            with pytest.raises(MachineFault, match=said):
                await self.put(path)
        gone = Download(f"http://127.0.0.1:{unused_port()}/x", SHA, "x")
        with pytest.raises(MachineFault, match="cannot fetch"):
            await self.cache.put(gone, self.tree, self.noted.append)

    async def test_it_is_put_through_no_link_of_the_commits(self) -> None:
        outside = self.top / "outside"
        outside.mkdir()
        (self.tree / "vendor").symlink_to(outside)
        (self.tree / "link").symlink_to(outside / "file")
        (self.tree / "directory").mkdir()
        with pytest.raises(BuildFailed, match="no directory vendor"):
            await self.put("/file")
        await self.put("/file", "link")
        assert not (self.tree / "link").is_symlink()
        with pytest.raises(BuildFailed, match="have a directory there"):
            await self.put("/file", "directory")
        assert not list(outside.iterdir())
