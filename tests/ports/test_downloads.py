"""``Downloads``: the clients of transfer port and API, and the requester's fake, follow logs and fetch alike.

The fake writes no files: what is done with those is in tests/adapters/http/test_transfer_client.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from buildtool.client.connection import ApiConnection
from buildtool.client.farm_urls import read_farm_url
from buildtool.client.transfers import ApiDownloads
from buildtool.errors import BadOffset, DecodeError, NotFound
from buildtool.model.records import BuildState
from buildtool.model.trust.evidence import Evidence, SandboxLevel
from buildtool.ports.requester import Downloads
from buildtool.programs.webserver.site import PagesSite
from buildtool.web.app import WebApp, make_urls
from buildtool.web.section import Tools
from tests.adapters.http.transfers import TransferCase, digest_of, reactor
from tests.fakes import FakeDownloads
from tests.support.memory import WallClock
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import artifact, build
from tests.web.visitor import PUBLIC, TRANSFER

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object

DATA = b"an artifact" * 1_000
Answer = tuple[bytes, bool]


class DownloadsContract(ABC, Base):
    """What holds of both."""

    timeout = 20
    downloads: Downloads
    log_url = "http://metaserver.example/logs/7/1"
    artifact_url = "http://metaserver.example/artifacts/x/y"

    @abstractmethod
    async def grow(self, data: bytes) -> None:
        """Append to the log."""

    @abstractmethod
    async def finish(self) -> None:
        """Let nothing more be appended."""

    def log(self, offset: int, wait: float = 0.0) -> Coroutine[Any, Any, Answer]:
        return self.downloads.log(self.log_url, offset, wait)

    async def asked(self, offset: int) -> Deferred[Answer]:
        """Return the answer to a question that has arrived and waits."""
        waiting = Deferred.fromCoroutine(self.log(offset, 15.0))
        for _ in range(30):
            await deferLater(reactor, 0.002)
        assert not waiting.called
        return waiting

    async def test_what_there_is_comes_at_once_from_anywhere_and_with_it_whether_that_is_all(self) -> None:
        await self.grow(b"a\xff\nb")
        for wait in (0.0, 15.0):
            assert await self.log(0, wait) == (b"a\xff\nb", False)
            assert await self.log(3, wait) == (b"b", False)
        assert await self.log(4) == (b"", False)
        await self.finish()
        for wait in (0.0, 15.0):
            assert await self.log(3, wait) == (b"b", True)
            assert await self.log(4, wait) == (b"", True)

    async def test_whoever_waits_hears_of_more_and_of_the_end_as_soon_as_there_is_any(self) -> None:
        await self.grow(b"begin")
        waiting = await self.asked(5)
        await self.grow(b" and go on")
        assert await waiting == (b" and go on", False)
        waiting = await self.asked(15)
        await self.finish()
        assert await waiting == (b"", True)

    async def test_a_log_that_has_not_begun_is_waited_for_and_otherwise_not_found(self) -> None:
        with pytest.raises(NotFound):
            await self.log(0)
        waiting = await self.asked(0)
        await self.grow(b"begin")
        assert await waiting == (b"begin", False)

    async def test_whoever_has_waited_long_enough_is_answered_with_nothing(self) -> None:
        assert await self.log(0, 1.0) == (b"", False)

    async def test_nothing_is_behind_the_end(self) -> None:
        await self.grow(b"begin")
        for wait in (0.0, 15.0):
            with pytest.raises(BadOffset) as caught:
                await self.log(9, wait)
            assert caught.value.length == 5

    async def test_a_question_that_is_called_off_ends_as_called_off(self) -> None:
        await self.grow(b"begin")
        waiting = await self.asked(5)
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting

    async def test_a_log_without_marks_has_no_phases_and_one_that_is_not_there_is_not_found(self) -> None:
        with pytest.raises(NotFound):
            await self.downloads.phases(self.log_url.replace("/7/", "/8/"))
        await self.grow(b"begin")
        assert tuple(await self.downloads.phases(self.log_url)) == ()

    async def test_what_has_come_of_an_artifact_is_told_from_nothing_to_all_of_it(self) -> None:
        seen: list[int] = []
        path = str(Path(self.mktemp()).absolute())
        await self.downloads.fetch(self.artifact_url, path, len(DATA), digest_of(DATA), seen.append)
        assert seen == sorted(seen)
        assert (seen[0], seen[-1]) == (0, len(DATA))


@pytest.mark.world
class OverHttp(DownloadsContract, TransferCase):
    """The real client, over TCP."""

    downloads: Downloads

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.downloads = self.client
        self.log_url = f"{self.base}/logs/7/1"
        self.artifact_url = f"{self.base}/artifacts/{await self.publish(DATA)}/x.zip"
        self.length = 0

    async def grow(self, data: bytes) -> None:
        self.length = await self.logs.append(7, 1, self.length, data, 1_000)

    async def finish(self) -> None:
        await self.logs.finish(7, 1)


@pytest.mark.world
class OverApi(OverHttp):
    """The client of the API, over TCP: what waits there, waits a tenth of the seconds."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        made = build(7, BuildState.RUNNING, 60.0, epoch=1)
        self.pages = pages = FakePages([made], artifacts=[evolve(artifact(made, 7), digest=digest_of(DATA))])
        tools = Tools(later=lambda seconds: deferLater(reactor, seconds / 10), artifacts=self.artifacts)
        app = WebApp(pages, self.logs, make_urls(PUBLIC, TRANSFER), WallClock(NOW), tools=tools)
        port = reactor.listenTCP(0, PagesSite(app.resource()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = read_farm_url(f"http://127.0.0.1:{port.getHost().port}")
        api = ApiConnection.to(self.url, reactor)
        self.addCleanup(api.close)
        self.downloads = ApiDownloads(api, self.client)
        self.log_url = self.url.log(7, 1)
        self.artifact_url = "http://192.0.2.1:1/nothing/is/asked/here"

    async def test_what_is_no_log_of_this_farm_is_not_asked_for(self) -> None:
        for url in ("http://192.0.2.1/logs/7/1", self.log_url + "&x", self.url.api, f"{self.url.log(7, 1)}/1"):
            with pytest.raises(DecodeError, match="no log of the farm"):
                await self.downloads.log(url, 0, 0.0)

    async def test_why_an_artifact_is_not_sent_is_one_line(self) -> None:
        with pytest.raises(NotFound, match=r"answers 404: there is no artifact of that digest$"):
            await self.downloads.fetch("", str(Path(self.mktemp()).absolute()), 1, "0" * 64, lambda _: None)

    async def test_one_that_was_made_in_less_than_is_demanded_is_refused_in_one_line_and_not_written(self) -> None:
        path = Path(self.mktemp()).absolute()

        async def fetch(sandbox: SandboxLevel) -> None:
            await self.downloads.fetch("", str(path), len(DATA), digest_of(DATA), lambda _: None, sandbox)

        self.downloads: ApiDownloads
        (weak,) = self.pages.artifacts = [
            evolve(one, evidence=Evidence(SandboxLevel.WEAK)) for one in self.pages.artifacts
        ]
        with pytest.raises(NotFound, match=r"404: what has that digest needs a strict sandbox, has a weak one$"):
            await fetch(SandboxLevel.STRICT)
        assert not path.exists()
        self.pages.artifacts.append(evolve(weak, evidence=Evidence(SandboxLevel.STRICT)))
        await fetch(SandboxLevel.STRICT)
        assert path.read_bytes() == DATA


@pytest.mark.world
class Faked(DownloadsContract, TestCase):
    """What the requester's tests have."""

    def setUp(self) -> None:
        self.downloads = self.fake = FakeDownloads(reactor)

    async def grow(self, data: bytes) -> None:
        self.fake.grow(self.log_url, data)

    async def finish(self) -> None:
        self.fake.grow(self.log_url, b"", finished=True)
