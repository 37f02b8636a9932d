"""The transfer port's client: what it sends arrives, what it fetches is what was promised, and it never hangs."""

import hashlib
import os
import resource
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from buildtool.adapters.http.client import HttpTimeouts
from buildtool.errors import (
    BadOffset,
    BadTicket,
    BadUpload,
    BuildToolError,
    Damaged,
    NotFound,
    StorageUnavailable,
    Superseded,
    TooLong,
    Unavailable,
    WrongDigest,
)
from buildtool.model.tickets import TicketKind
from tests.adapters.http.transfers import NOW, TransferCase, digest_of, head, promise, reactor, ticket
from tests.support.rewriting import rewrite

DATA = os.urandom(3_000_000)
DIGEST = digest_of(DATA)


class ClientCase(TransferCase):
    """A client, its files, and servers that misbehave."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.place = Path(self.mktemp())
        self.place.mkdir(parents=True)
        self.file = self.place / "artifact.zip"
        self.seen: list[int] = []

    async def fails(self, kind: type[BuildToolError], call: Awaitable[object]) -> BuildToolError:
        """Await the error that is expected, of exactly this kind, in one line."""
        with pytest.raises(kind) as caught:
            await call
        assert type(caught.value) is kind, repr(caught.value)
        assert "\n" not in str(caught.value)
        assert 10 < len(str(caught.value)) < 1300
        return caught.value

    def send(self, text: str = "", digest: str = DIGEST, size: int = len(DATA)) -> Awaitable[None]:
        url = f"{self.base}/uploads/7/1"
        return self.client.upload(url, text or ticket(), str(self.file), digest, size)

    def fetch(self, url: str = "", digest: str = DIGEST, size: int = len(DATA)) -> Awaitable[None]:
        url = url or f"{self.base}/artifacts/{DIGEST}/x.zip"
        return self.client.fetch(url, str(self.file), size, digest, self.seen.append)

    def listen_with(self, said: Callable[[bytes], bytes | None], *, close: bool = True) -> str:
        """Serve, instead of HTTP, whatever ``said`` answers to a piece that was heard; None: hear nothing more."""
        made: list[Says] = []
        port = reactor.listenTCP(0, Factory.forProtocol(partial(Says, said, close, made)), interface="127.0.0.1")

        async def stop() -> None:
            for connection in made:
                connection.transport.abortConnection()
                await connection.closed
            await maybeDeferred(port.stopListening)

        self.addCleanup(stop)
        return f"http://127.0.0.1:{port.getHost().port}/x"

    def left(self) -> list[str]:
        return sorted(path.name for path in self.place.iterdir())


class Says(Protocol):
    """A server that misbehaves."""

    transport: Any

    def __init__(self, said: Callable[[bytes], bytes | None], close: bool, made: list["Says"]) -> None:
        self._said = said
        self._close = close
        self._made = made
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._made.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)

    def dataReceived(self, data: bytes) -> None:
        answer = self._said(data)
        if answer is None:
            self.transport.pauseProducing()
            return
        self.transport.write(answer)
        if self._close:
            self.transport.loseConnection()


class CalledOffTests(ClientCase):
    async def test_what_is_called_off_ends_as_called_off_and_is_never_a_reason_to_try_again(self) -> None:
        """Otherwise who follows a log that never ends goes on asking, whatever signal says to stop."""
        for answer in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"):
            heard: Deferred[None] = Deferred()

            def said(_: bytes, answer: bytes = answer, heard: Deferred[None] = heard) -> bytes:
                reactor.callLater(0, heard.callback, None)
                return answer

            asking = Deferred.fromCoroutine(self.client.log(self.listen_with(said, close=False), 0, 20.0))
            await heard
            asking.cancel()
            with pytest.raises(CancelledError):
                await asking


class UploadTests(ClientCase):
    async def test_a_file_arrives(self) -> None:
        self.file.write_bytes(DATA)
        await self.send()
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))
        assert self.stored(DIGEST).read_bytes() == DATA

    async def test_no_more_is_sent_each_second_than_was_allowed(self) -> None:
        """What goes beyond the first second's share waits, however fast the line is."""
        self.file.write_bytes(DATA)
        self.client.uploading.rate = 2_500_000.0
        began = monotonic()
        await self.send()
        assert monotonic() - began >= (len(DATA) - 2_500_000) / 2_500_000
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))

    async def test_an_empty_file_arrives(self) -> None:
        self.file.write_bytes(b"")
        await self.send(digest=digest_of(b""), size=0)
        await self.artifacts.publish(7, 1, digest_of(b""), 0)

    async def test_a_file_that_is_new_there_is_sent_without_asking_first(self) -> None:
        """Asking takes as long as the way there and back."""
        self.file.write_bytes(DATA)
        heard: list[bytes] = []

        def said(data: bytes) -> bytes:
            heard.append(data)
            return b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n"

        url = self.listen_with(said, close=False)
        await self.client.upload(url, "x", str(self.file), DIGEST, len(DATA))
        assert heard[0].startswith(b"PUT ")
        assert b"if-none-match: *" in heard[0].lower()

    async def test_an_upload_goes_on_where_the_last_one_stopped(self) -> None:
        self.file.write_bytes(DATA)
        fields = {**promise(0, len(DATA), DIGEST), "Content-Length": "3000000"}
        talk = await self.talk(head("PUT", "/uploads/7/1", fields))
        talk.say(DATA[:1_000_000])
        while not self.incoming.exists() or self.incoming.stat().st_size < 1_000_000:
            await deferLater(reactor, 0)
        first = self.incoming.stat().st_ino
        await self.send()
        assert self.incoming.stat().st_ino == first
        assert self.incoming.read_bytes() == DATA
        await talk.closed

    async def test_sending_again_what_was_published_is_harmless(self) -> None:
        self.file.write_bytes(DATA)
        await self.send()
        await self.send()
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))
        await self.send()
        await self.artifacts.publish(7, 1, DIGEST, len(DATA))

    async def test_refusals_are_told_by_their_kind(self) -> None:
        self.file.write_bytes(DATA)
        await self.fails(BadTicket, self.send("nonsense"))
        await self.fails(BadTicket, self.send(ticket(expires=NOW)))
        await self.fails(BadTicket, self.send(ticket(TicketKind.LOG)))
        await self.fails(TooLong, self.send(ticket(max_bytes=5)))
        await self.fails(NotFound, self.client.upload(f"{self.base}/no", "x", str(self.file), DIGEST, len(DATA)))
        much = 10**12
        os.truncate(self.file, much)  # a hole: the disk that it comes from need not have room for it
        await self.fails(StorageUnavailable, self.send(ticket(max_bytes=much), size=much))

    async def test_a_file_that_is_not_what_was_promised_is_not_taken(self) -> None:
        self.file.write_bytes(DATA)
        await self.fails(BadUpload, self.send(size=len(DATA) + 1))
        await self.fails(WrongDigest, self.send(digest=digest_of(b"other")))
        assert not self.incoming.exists()
        self.file.unlink()
        await self.fails(BadUpload, self.send())

    async def test_a_file_that_cannot_be_read_to_its_end_is_not_tried_for_ever(self) -> None:
        self.file.write_bytes(DATA)
        threads, file = self.client._executor, self.file

        class Shrinking:
            async def run(self, function: Callable[[], Any]) -> Any:
                result = await threads.run(function)
                os.truncate(file, 100_000)
                return result

        self.client._executor = Shrinking()
        await self.fails(BadUpload, self.send())

    async def test_a_server_that_refuses_in_the_middle_is_heard(self) -> None:
        self.file.write_bytes(DATA * 20)

        def said(heard: bytes) -> bytes | None:
            if heard.startswith(b"HEAD"):
                return b"HTTP/1.1 200 OK\r\nUpload-Offset: 0\r\nContent-Length: 0\r\n\r\n"
            if not heard.startswith(b"PUT"):
                return None
            return b"HTTP/1.1 507 No\r\nConnection: close\r\nContent-Length: 17\r\n\r\nthe disk is full\n"

        url = self.listen_with(said, close=False)
        size = 20 * len(DATA)
        call = self.client.upload(url, "x", str(self.file), DIGEST, size)
        assert "the disk is full" in str(await self.fails(StorageUnavailable, call))

    async def test_a_server_that_never_agrees_is_given_up(self) -> None:
        self.file.write_bytes(b"12345")
        heads = []

        def said(heard: bytes) -> bytes | None:
            if heard.startswith(b"HEAD"):
                heads.append(1)
                return b"HTTP/1.1 200 OK\r\nUpload-Offset: 3\r\nContent-Length: 0\r\n\r\n"
            return b"HTTP/1.1 409 No\r\nUpload-Offset: 2\r\nContent-Length: 14\r\n\r\ngo on from 2..\n"

        url = self.listen_with(said)
        error = await self.fails(BadOffset, self.client.upload(url, "x", str(self.file), DIGEST, 5))
        assert isinstance(error, BadOffset)
        assert error.length == 2
        assert 1 < len(heads) < 10

    async def test_a_lost_connection_is_unavailable(self) -> None:
        self.file.write_bytes(DATA)
        call = self.client.upload(self.listen_with(lambda _: b""), "x", str(self.file), DIGEST, len(DATA))
        await self.fails(Unavailable, call)
        await self.unlisten()
        await self.fails(Unavailable, self.send())


class AppendTests(ClientCase):
    def append(self, offset: int, data: bytes, text: str = "") -> Awaitable[int]:
        return self.client.append_log(f"{self.base}/logs/7/1", text or ticket(TicketKind.LOG), offset, data)

    async def test_a_log_grows_and_repeats_are_harmless(self) -> None:
        assert await self.append(0, b"hello ") == 6
        assert await self.append(0, b"hello ") == 6
        assert await self.append(3, b"lo there") == 11
        assert await self.logs.read(7, 1, 0, 99) == b"hello there"

    async def test_refusals_are_told_by_their_kind(self) -> None:
        await self.append(0, b"hello")
        error = await self.fails(BadOffset, self.append(9, b"x"))
        assert isinstance(error, BadOffset)
        assert error.length == 5
        await self.fails(BadTicket, self.append(5, b"x", "nonsense"))
        await self.fails(TooLong, self.append(5, b"x", ticket(TicketKind.LOG, max_bytes=5)))
        await self.logs.finish(7, 1)
        await self.fails(Superseded, self.append(5, b"x"))


class FetchTests(ClientCase):
    async def test_an_artifact_is_fetched_with_progress(self) -> None:
        await self.publish(DATA)
        await self.fetch()
        assert self.file.read_bytes() == DATA
        assert self.left() == ["artifact.zip"]
        assert self.seen == sorted(self.seen)
        assert self.seen[-1] == len(DATA)

    async def test_an_empty_one_is_fetched(self) -> None:
        digest = await self.publish(b"")
        await self.fetch(f"{self.base}/artifacts/{digest}/x", digest, 0)
        assert self.left() == ["artifact.zip"]

    async def test_a_fetch_goes_on_where_the_last_one_stopped(self) -> None:
        await self.publish(DATA)
        part = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + DATA[:1_000_000]
        await self.fails(Unavailable, self.fetch(self.listen_with(lambda heard: part)))
        assert not self.file.exists()
        self.seen.clear()
        await self.fetch()
        assert self.seen[0] == 1_000_000
        assert self.file.read_bytes() == DATA
        assert self.left() == ["artifact.zip"]

    async def test_a_full_disk_is_not_left_fuller(self) -> None:
        await self.publish(DATA)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # the kernel then takes no more either
        try:
            await self.fails(StorageUnavailable, self.fetch())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert self.left() == []

    async def test_a_server_without_ranges_sends_it_from_the_beginning(self) -> None:
        part = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"
        await self.fails(Unavailable, self.fetch(self.listen_with(lambda _: part + DATA[:1_000_000])))
        await self.fetch(self.listen_with(lambda _: part + DATA))
        assert self.file.read_bytes() == DATA

    async def test_other_bytes_than_promised_are_thrown_away(self) -> None:
        await self.publish(DATA)
        self.file.write_bytes(b"what was there before")
        await self.fails(WrongDigest, self.fetch(digest=digest_of(b"other")))
        assert self.left() == ["artifact.zip"]
        assert self.file.read_bytes() == b"what was there before"

    async def test_more_or_fewer_bytes_than_promised_are_not_taken(self) -> None:
        await self.publish(DATA)
        for size in (len(DATA) - 1, len(DATA) + 1, 0):
            await self.fails(BadUpload, self.fetch(size=size))
        endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 9
        await self.fails(BadUpload, self.fetch(self.listen_with(lambda _: endless), size=10))
        assert self.left() == []

    async def test_what_a_server_says_is_passed_on_in_one_bounded_line(self) -> None:
        text = b"no such\r\nthing \x1b[31m" + b"x" * 100_000
        answer = b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        error = str(await self.fails(NotFound, self.fetch(self.listen_with(lambda _: answer))))
        assert "no such thing [31m" in error

    async def test_damaged_and_unknown_artifacts_are_told_apart(self) -> None:
        await self.fails(NotFound, self.fetch())
        await self.publish(DATA)
        rewrite(self.stored(DIGEST), DATA[:-1] + b"?")
        await self.fails(Damaged, self.fetch())
        assert self.left() == []

    async def test_what_is_no_http_and_no_address_is_unavailable(self) -> None:
        for answer in (b"SSH-2.0-OpenSSH\r\n", b"\x00" * 50, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b""):
            await self.fails(Unavailable, self.fetch(self.listen_with(lambda _, answer=answer: answer)))  # type: ignore[misc]
        for url in ("file:///etc/passwd", "x", "http://", "http://a b/", "http://\xe9/"):
            await self.fails(Unavailable, self.fetch(url))

    async def test_a_place_that_cannot_be_written_is_told(self) -> None:
        await self.publish(DATA)
        self.file = self.place / "missing" / "x"
        await self.fails(StorageUnavailable, self.fetch())

    async def test_a_link_in_its_place_is_replaced_and_what_it_leads_to_stays(self) -> None:
        await self.publish(DATA)
        for target in (self.state / "of-somebody", self.state / "nowhere"):
            self.file.unlink(missing_ok=True)
            (self.state / "of-somebody").write_bytes(b"else")
            self.file.symlink_to(target.absolute())
            await self.fetch()
            assert not self.file.is_symlink()
            assert self.file.read_bytes() == DATA
            assert (self.state / "of-somebody").read_bytes() == b"else"
            assert not (self.state / "nowhere").exists()

    async def test_a_link_or_a_directory_where_its_part_or_itself_would_be_is_told_and_left_alone(self) -> None:
        await self.publish(DATA)
        other = self.state / "of-somebody"
        other.write_bytes(b"else")
        part = self.file.with_name(f".{self.file.name}.{DIGEST[:16]}.part")
        part.symlink_to(other.absolute())
        await self.fails(StorageUnavailable, self.fetch())
        assert other.read_bytes() == b"else"
        part.unlink()
        self.file.mkdir()
        await self.fails(StorageUnavailable, self.fetch())
        assert self.left() == ["artifact.zip"]

    async def test_two_fetches_of_the_same_file_at_once_both_succeed(self) -> None:
        await self.publish(DATA)
        two: list[Deferred[None]] = [Deferred.fromCoroutine(self.fetch()) for _ in range(2)]  # type: ignore[arg-type]
        for one in two:
            await one
        assert self.file.read_bytes() == DATA
        assert self.left() == ["artifact.zip"]


class LogTests(ClientCase):
    async def test_a_log_is_followed_to_its_end(self) -> None:
        url = f"{self.base}/logs/7/1"
        first = Deferred.fromCoroutine(self.client.log(url, 0, 20))
        while not self.logs._watchers:
            await deferLater(reactor, 0)
        await self.logs.append(7, 1, 0, b"a\xff\n", 99)
        assert await first == (b"a\xff\n", False)
        second = Deferred.fromCoroutine(self.client.log(url, 3, 20))
        while not self.logs._watchers:
            await deferLater(reactor, 0)
        await self.logs.finish(7, 1)
        assert await second == (b"", True)
        assert await self.client.log(url, 0, 0) == (b"a\xff\n", True)

    async def test_a_log_that_is_not_there_is_not_found(self) -> None:
        await self.fails(NotFound, self.client.log(f"{self.base}/logs/7/1", 0, 0))

    async def test_a_server_that_sends_without_end_is_not_listened_to(self) -> None:
        endless = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(6_000_000)
        await self.fails(BadUpload, self.client.log(self.listen_with(lambda _: endless), 0, 0))


class PatienceTests(ClientCase):
    patience = HttpTimeouts(connect=0.2, stall=0.2, answer=0.2)

    async def test_a_server_that_stops_is_not_waited_for(self) -> None:
        """It says nothing, or nothing more, or it takes nothing more."""
        self.file.write_bytes(DATA * 20)
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\nbeginning"

        def takes_nothing(heard: bytes) -> bytes | None:
            return b"HTTP/1.1 200 OK\r\nUpload-Offset: 0\r\nContent-Length: 0\r\n\r\n" if b"HEAD" in heard else None

        for url in (self.listen_with(lambda _: None), self.listen_with(lambda _: ok, close=False)):
            assert "nothing" in str(await self.fails(Unavailable, self.fetch(url)))
        url = self.listen_with(takes_nothing, close=False)
        call = self.client.upload(url, "x", str(self.file), hashlib.sha256(b"").hexdigest(), 20 * len(DATA))
        assert "nothing" in str(await self.fails(Unavailable, call))
        assert str(self.file) not in open_files()


def open_files() -> list[str]:
    return [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
