"""The client's side of the transfer port: sending logs and artifacts, fetching artifacts, following logs.

Implements ``ports.Uploads`` and ``ports.Downloads``. Nothing waits for ever: connecting is bounded, and so is the time
in which nothing at all flows. One call is one try; who calls decides whether and when to try again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildtool.adapters.http.client import TEXT_LIMIT, FarmTls, HttpClient, HttpTimeouts, site
from buildtool.adapters.http.client_bodies import FileBody, SmallBody
from buildtool.adapters.storage.filesystem import storage_unavailable
from buildtool.adapters.storage.partial_download import PartialDownload
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.errors import BadOffset, BadUpload, StorageUnavailable, TooLong, Unavailable, WrongDigest
from buildtool.model.logs.index import Phase
from buildtool.model.logs.marks import LogMark
from buildtool.ports.common import Executor
from buildtool.protocol.logs.answers import read_phases
from buildtool.protocol.logs.marks import LOG_MARKS, marks_text

T = TypeVar("T")

LOG_LIMIT = 4 * 1024 * 1024
"""Most bytes of log that are taken in one answer."""

AT_ONCE = 256 * 1024
"""A file of at most so many bytes is sent in one request, over a connection that is kept."""

COPY_TRIES = 5
"""How often the fetch of a commit that breaks off is taken up again."""

COPY_PAUSE = 2.0
"""Seconds between two questions whether a commit is packed."""

COPY_MAKING = 1_800.0
"""Seconds that the metaserver has to pack a commit."""

NO_HEADERS: Mapping[str, str] = {}

RESUMES = 3
"""How often one ``upload`` follows a server that has another idea of how much it has got."""


class TransferClient:
    """A client of transfer ports. ``executor`` runs what touches files; ``farm`` says how to speak to the own farm.

    ``uploading`` bounds how many bytes of logs and artifacts are sent each second, ``downloading`` how many come.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        executor: Executor,
        patience: HttpTimeouts | None = None,
        farm: FarmTls | None = None,
        downloading: TokenBucket | None = None,
    ) -> None:
        self.uploading = TokenBucket(reactor)
        self._executor = executor
        self._clock = reactor
        self._asker = HttpClient(reactor, patience or HttpTimeouts(), farm, downloading=downloading)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._asker.close()

    # --- ports.Uploads ---------------------------------------------------------------------------------

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
        """Append to a log as the port says; BadOffset has in ``length`` how many bytes the other end has."""
        body = SmallBody(data)
        headers = {**_ticket(ticket), "Upload-Offset": str(offset)}
        if marks:
            headers[LOG_MARKS] = marks_text(marks)
        await self.uploading.take(len(data))
        async with self._asker.asked("POST", url, headers, body) as response:
            await response.expect(HTTPStatus.OK)
            await response.body(TEXT_LIMIT)
            return response.number("Log-Length")

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        headers = {**_ticket(ticket), "Upload-Digest": digest, "Upload-Length": str(size)}
        first = {**headers, "Upload-Offset": "0"}
        try:
            if size <= AT_ONCE and self.uploading.rate is None:
                await self._put_at_once(url, first, path, size)
            else:
                # Mostly nothing of it is there: to ask first would take as long as a megabyte on a far line.
                await self._put(url, {**first, "If-None-Match": "*"}, path, 0, size)
        except BadOffset:
            pass  # it wants to be asked
        else:
            return
        for again in range(RESUMES, -1, -1):
            async with self._asker.asked("HEAD", url, headers) as response:
                await response.expect(HTTPStatus.OK)
                offset = response.number("Upload-Offset")
            if offset > size:
                raise BadUpload(f"{site(url)} has {offset} bytes of a file of {size}")
            try:
                await self._put(url, {**headers, "Upload-Offset": str(offset)}, path, offset, size)
            except BadOffset:
                if not again:
                    raise
            else:
                return

    async def _put_at_once(self, url: str, headers: Mapping[str, str], path: str, size: int) -> None:
        """Send a small file whole: to ask first how much of it is there would take as long."""
        try:
            body = SmallBody(await self._executor.run(partial(_whole, path, size)))
        except OSError as error:
            raise BadUpload(f"{path} cannot be read: {error.strerror}") from error
        async with self._asker.asked("PUT", url, headers, body) as response:
            await response.expect(HTTPStatus.CREATED)
            await response.body(TEXT_LIMIT)

    async def _put(self, url: str, headers: Mapping[str, str], path: str, offset: int, size: int) -> None:
        try:
            descriptor = await self._executor.run(partial(_open_sized, path, size))
        except OSError as error:
            raise BadUpload(f"{path} cannot be read: {error.strerror}") from error
        body = FileBody(self._executor, descriptor, offset, size, self.uploading)
        try:
            async with self._asker.asked("PUT", url, headers, body) as response:
                await response.expect(HTTPStatus.CREATED)
                await response.body(TEXT_LIMIT)
        finally:
            body.stopProducing()
            await body.done

    # --- ports.Downloads -------------------------------------------------------------------------------

    async def fetch(
        self,
        url: str,
        path: str,
        size: int,
        digest: str,
        progress: Callable[[int], None],
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """Fetch a file of so many bytes as the port says; ``headers`` say who asks, where that is needed."""
        await self._fetch(url, Path(path), size, digest, progress, headers)

    async def _fetch(
        self, url: str, target: Path, size: int, digest: str, progress: Callable[[int], None], more: Mapping[str, str]
    ) -> None:
        part = await self._disk(target, partial(PartialDownload.begin, target, size, digest))
        try:
            progress(part.length)
            if part.length < size or not size:
                await self._receive(url, target, part, size, progress, more)
            arrived = part.hasher.hexdigest()
            if arrived != digest:
                await self._disk(target, part.remove)
                raise WrongDigest(
                    f"what {site(url)} sent has SHA-256 {arrived}, not {digest}: it was thrown away, fetch it again"
                )
            await self._disk(target, partial(part.publish, target))
        except StorageUnavailable:
            await self._disk(target, part.remove)  # a full disk is not helped by half of it
            raise
        finally:
            await self._disk(target, part.close)

    async def _receive(
        self,
        url: str,
        target: Path,
        part: PartialDownload,
        size: int,
        progress: Callable[[int], None],
        more: Mapping[str, str],
    ) -> None:
        resumed = {"Range": f"bytes={part.length}-", "If-Range": f'"{part.digest}"'} if part.length else {}
        headers = {**more, **resumed}
        async with self._asker.asked("GET", url, headers) as response:
            await response.expect(HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
            if response.code == HTTPStatus.OK and part.length:
                await self._disk(target, part.restart)
            if response.length != size - part.length:
                raise BadUpload(f"{site(url)} sends {response.length} bytes where {size - part.length} were promised")
            async for pieces in response.pieces():
                if part.length + sum(map(len, pieces)) > size:
                    raise BadUpload(f"{site(url)} sends more than the {size} bytes that were promised")
                await self._disk(target, partial(part.write, pieces))
                progress(part.length)
        if part.length != size:
            raise Unavailable(f"{site(url)} sent {part.length} of {size} bytes: what came is kept, try again")

    # --- ports.SourceCopies ----------------------------------------------------------------------------

    async def fetch_copy(self, url: str, ticket: str, path: Path) -> int:
        """Fetch a copy as the port says, asking until it is made; what breaks off goes on from where it was."""
        tries_left = COPY_TRIES
        while True:
            try:
                size, digest = await self._copy_ready(url, ticket)
                await self._fetch(url, path, size, digest, lambda _: None, _ticket(ticket))
            except (Unavailable, BadUpload) as error:
                # It may have been packed again meanwhile, into other bytes.
                if not tries_left or isinstance(error, TooLong):
                    raise
                tries_left -= 1
                await deferLater(self._clock, COPY_PAUSE, lambda: None)
            else:
                return size

    async def _copy_ready(self, url: str, ticket: str) -> tuple[int, str]:
        """Wait until the copy is made; return its size and digest. Raises Unavailable."""
        until = self._clock.seconds() + COPY_MAKING
        while self._clock.seconds() < until:
            async with self._asker.asked("HEAD", url, _ticket(ticket)) as response:
                await response.expect(HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND)
                if response.code == HTTPStatus.OK:
                    return response.number("Source-Length"), response.header("ETag").strip('"')
                absent = response.code == HTTPStatus.NOT_FOUND
            if absent:  # why, only the answer to GET has room for
                async with self._asker.asked("GET", url, _ticket(ticket)) as response:
                    await response.expect()
            await deferLater(self._clock, COPY_PAUSE, lambda: None)
        raise Unavailable(f"{site(url)} did not pack the sources within {COPY_MAKING:g} s")

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """Read a log as the port says, waiting up to ``wait`` seconds. Raises Unavailable, NotFound, BadOffset."""
        query = f"{url}?offset={offset}&wait={max(int(wait), 0)}"
        async with self._asker.asked("GET", query, {}, wait=wait) as response:
            await response.expect(HTTPStatus.OK)
            data = await response.body(LOG_LIMIT)
            return data, response.header("Log-Finished") == "yes"

    async def phases(self, url: str) -> tuple[Phase, ...]:
        """Read what a log's index tells of its phases. Raises Unavailable, NotFound, DecodeError."""
        async with self._asker.asked("GET", f"{url}/index", {}) as response:
            await response.expect(HTTPStatus.OK)
            return read_phases(await response.body(LOG_LIMIT))

    async def _disk(self, target: Path, function: Callable[[], T]) -> T:
        try:
            return await self._executor.run(function)
        except OSError as error:
            raise storage_unavailable(f"write {target}", error) from error


def _open_sized(path: str, size: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    there = os.fstat(descriptor).st_size
    if there != size:
        os.close(descriptor)
        raise BadUpload(f"{path} has {there} bytes, not {size}: it has changed since it was packed")
    return descriptor


def _whole(path: str, size: int) -> bytes:
    descriptor = _open_sized(path, size)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - what was opened is a descriptor
        return file.read(size)


def _ticket(text: str) -> dict[str, str]:
    return {"Authorization": f"Ticket {text}"}
