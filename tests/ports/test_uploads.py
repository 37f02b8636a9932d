"""``Uploads``: the transfer port's client, what the simulation has in its place, and the build server's fake.

The first two talk to one and the same port. The fake keeps logs as that does; of artifacts it notes who sent which.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import TestCase

from buildtool.adapters.http.transfer_client import AT_ONCE
from buildtool.adapters.runtime.threads import Inline, Threads
from buildtool.errors import BadOffset, BadTicket, BadUpload, NotFound, TooLong, Unavailable, WrongDigest
from buildtool.model.tickets import TicketKind
from buildtool.ports.buildserver import Uploads
from tests.adapters.http.transfers import NOW, TransferCase, digest_of, reactor, ticket
from tests.fakes_build import FakeUploads
from tests.simulation.clock import Life, VirtualTime
from tests.simulation.faults import Faults
from tests.simulation.network import Network
from tests.simulation.trace import Trace
from tests.simulation.transfers import SimulatedUploads

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object

LIMIT = 1_000


class AppendingLogs(ABC, Base):
    """What holds of logs, whoever appends."""

    uploads: Uploads
    log_ticket = ticket(TicketKind.LOG, max_bytes=LIMIT)
    log_url = "http://metaserver.example/logs/7/1"

    @abstractmethod
    async def log(self) -> bytes:
        """Return what has arrived."""

    def append(self, offset: int, data: bytes) -> Awaitable[int]:
        return self.uploads.append_log(self.log_url, self.log_ticket, offset, data)

    async def test_a_log_grows_by_what_is_appended(self) -> None:
        assert await self.append(0, b"hello ") == 6
        assert await self.append(6, b"\xff\0") == 8
        assert await self.append(8, b"") == 8
        assert await self.log() == b"hello \xff\0"

    async def test_what_is_there_already_is_skipped_and_the_whole_length_is_answered(self) -> None:
        """So whoever did not hear the answer sends the same again, or the same and more."""
        await self.append(0, b"hello ")
        assert await self.append(0, b"hello ") == 6
        assert await self.append(3, b"lo there") == 11
        assert await self.append(0, b"hello ") == 11
        assert await self.append(2, b"") == 11
        assert await self.log() == b"hello there"

    async def test_a_gap_is_refused_with_the_length_that_is_there(self) -> None:
        for length, data in ((0, b"hello"), (5, b"")):
            with pytest.raises(BadOffset) as caught:
                await self.append(9, b"x")
            assert caught.value.length == length
            await self.append(length, data)
        assert await self.log() == b"hello"

    async def test_what_would_be_too_long_is_refused_whole(self) -> None:
        await self.append(0, b"a" * (LIMIT - 1))
        with pytest.raises(TooLong):
            await self.append(LIMIT - 1, b"bb")
        assert await self.append(LIMIT - 1, b"b") == LIMIT
        assert await self.append(LIMIT - 1, b"b") == LIMIT, "it is there already"


class SendingArtifacts(AppendingLogs):
    """What holds of artifacts too, where they are sent indeed: to the port of a TransferCase."""

    base: str
    state: Path
    artifacts: Any
    logs: Any
    ended: set[tuple[int, int]]

    async def log(self) -> bytes:
        found: bytes = await self.logs.read(7, 1, 0, LIMIT)
        return found

    def send(
        self, data: bytes, text: str = "", digest: str = "", size: int | None = None, there: bytes | None = None
    ) -> Awaitable[None]:
        """Send ``data``, or what is ``there`` in its place by now."""
        path = Path(self.mktemp())
        path.write_bytes(data if there is None else there)
        said = (digest or digest_of(data), len(data) if size is None else size)
        return self.uploads.upload(f"{self.base}/uploads/7/1", text or ticket(), str(path), *said)

    @property
    def incoming(self) -> Path:
        return self.state / "incoming" / "7-1"

    async def published(self, data: bytes) -> None:
        """Publish what was sent, which must be whole."""
        await self.artifacts.publish(7, 1, digest_of(data), len(data))

    async def test_a_log_that_is_finished_takes_nothing_more_but_what_it_has(self) -> None:
        await self.append(0, b"hello")
        await self.logs.finish(7, 1)
        assert await self.append(0, b"hello") == 5
        with pytest.raises(BadUpload):
            await self.append(5, b"x")

    async def test_a_ticket_that_is_none_or_for_something_else_is_refused(self) -> None:
        for bad in ("nonsense", ticket(expires=NOW), ticket(TicketKind.LOG), ticket(build_id=8)):
            with pytest.raises(BadTicket):
                await self.send(b"data", bad)
        for bad in ("nonsense", ticket(TicketKind.LOG, expires=NOW), ticket(), ticket(TicketKind.LOG, epoch=2)):
            with pytest.raises(BadTicket):
                await self.uploads.append_log(self.log_url, bad, 0, b"x")

    async def test_a_file_of_any_size_arrives_and_may_be_sent_again_at_any_time(self) -> None:
        for data in (b"", b"data", b"large" * AT_ONCE):
            for _ in range(2):
                await self.send(data)
            assert self.incoming.read_bytes() == data
            for _ in range(2):
                await self.published(data)
                assert not self.incoming.exists()
                await self.send(data)
            await self.artifacts.discard(7, 1)

    async def test_what_has_arrived_is_not_sent_again(self) -> None:
        for data in (b"some data", b"large" * AT_ONCE):
            part = await self.artifacts.uploads.begin(7, 1, 0, len(data), lambda: None)
            await part.write([data[: len(data) // 2]])
            await part.close()
            await self.send(data)
            await self.published(data)

    async def test_what_an_earlier_try_left_of_other_bytes_is_in_nobodys_way(self) -> None:
        part = await self.artifacts.uploads.begin(7, 1, 0, 50, lambda: None)
        await part.write([b"of another build of the same, and longer"])
        await part.close()
        await self.send(b"some data")
        await self.published(b"some data")

    async def test_a_file_that_is_not_as_it_was_when_it_was_packed_is_not_sent(self) -> None:
        for there in (b"dat", b"data and more"):
            with pytest.raises(BadUpload):
                await self.send(b"data", there=there)
        with pytest.raises(BadUpload):
            await self.uploads.upload(f"{self.base}/uploads/7/1", ticket(), self.mktemp(), digest_of(b""), 0)
        assert not self.incoming.exists()

    async def test_other_bytes_than_were_promised_are_refused_and_thrown_away(self) -> None:
        with pytest.raises(WrongDigest):
            await self.send(b"data", digest=digest_of(b"atad"))
        assert not self.incoming.exists()
        await self.send(b"data")

    async def test_more_than_the_ticket_allows_is_refused(self) -> None:
        with pytest.raises(TooLong):
            await self.send(b"data", ticket(max_bytes=3))
        await self.send(b"data", ticket(max_bytes=4))

    async def test_nothing_is_taken_for_an_attempt_that_has_ended(self) -> None:
        self.ended.add((7, 1))
        with pytest.raises(NotFound):
            await self.send(b"data")
        assert not self.incoming.exists()

    async def test_what_is_called_off_ends_as_called_off_and_leaves_the_way_free(self) -> None:
        """Soon the port takes its connection for gone, and nothing has to be superseded."""
        data = b"large" * AT_ONCE
        for turns in range(1, 12):
            sending: Deferred[None] = Deferred.fromCoroutine(self.send(data))  # type: ignore[arg-type]
            for _ in range(turns):
                await deferLater(reactor, 0)
            if sending.called:
                break
            sending.cancel()
            with pytest.raises(CancelledError):
                await sending
            while self.artifacts.uploads._open:
                await deferLater(reactor, 0)
        await self.send(data)
        await self.published(data)

    @abstractmethod
    async def gone(self) -> None:
        """Let nobody listen any more."""

    async def test_while_nobody_listens_everything_is_unavailable(self) -> None:
        await self.gone()
        with pytest.raises(Unavailable):
            await self.append(0, b"x")
        with pytest.raises(Unavailable):
            await self.send(b"data")


@pytest.mark.world
class OverHttp(SendingArtifacts, TransferCase):
    """The real client, over TCP."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.uploads = self.client
        self.log_url = f"{self.base}/logs/7/1"

    async def gone(self) -> None:
        await self.unlisten()


@pytest.mark.world
class Simulated(SendingArtifacts, TransferCase):
    """What build servers of the simulation have: its time passes as fast as it can."""

    def pool(self) -> Inline | Threads:
        return Inline()

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        rng, time = random.Random(1), VirtualTime()  # noqa: S311 - no secret
        network = Network(time, rng, Trace(time), Faults(rng))
        network.node("meta")
        self.listening = Life(time, "meta")
        network.listen("transfer", self.listening, self.site)
        self.uploads = SimulatedUploads(network, Life(time, "anna"), "anna", self.read)
        self.log_url = f"{self.base}/logs/7/1"
        passing = LoopingCall(time.step)
        passing.start(0)
        self.addCleanup(passing.stop)

    def read(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise BadUpload(f"{path} cannot be read") from error

    async def gone(self) -> None:
        self.listening.ended = True


class Faked(AppendingLogs, TestCase):
    """What the build server's tests have."""

    def setUp(self) -> None:
        self.uploads = self.fake = FakeUploads(log_limit=LIMIT)

    async def log(self) -> bytes:
        return self.fake.log
