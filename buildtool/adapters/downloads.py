"""The client's side of the transfer port: sending logs and artifacts, fetching artifacts, following logs.

Implements ``ports.Uploads`` and ``ports.Downloads``. Nothing waits for ever: connecting is bounded, and so is the time
in which nothing at all flows. One call is one try; who calls decides whether and when to try again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.asking import TEXT_LIMIT, Asker, FileBody, Patience, SmallBody, site
from buildtool.adapters.disk import storage_unavailable
from buildtool.adapters.part import Part
from buildtool.errors import BadOffset, BadUpload, Unavailable, WrongDigest
from buildtool.ports import Executor

T = TypeVar("T")

LOG_LIMIT = 4 * 1024 * 1024
"""Most bytes of log that are taken in one answer."""

AT_ONCE = 256 * 1024
"""A file of at most so many bytes is sent in one request, over a connection that is kept."""

RESUMES = 3
"""How often one ``upload`` follows a server that has another idea of how much it has got."""


class TransferClient:
    """Sends to, and fetches from, transfer ports. ``executor`` runs what touches files."""

    def __init__(self, reactor: IReactorTime, executor: Executor, patience: Patience | None = None) -> None:
        self._executor = executor
        self._asker = Asker(reactor, patience or Patience())

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._asker.close()

    # --- ports.Uploads ---------------------------------------------------------------------------------

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes) -> int:
        """As the port says; BadOffset tells by its ``length`` how far the log at the other end has got."""
        body = SmallBody(data)
        headers = {**_ticket(ticket), "Upload-Offset": str(offset)}
        async with self._asker.asked("POST", url, headers, body) as response:
            await response.expect(HTTPStatus.OK)
            await response.body(TEXT_LIMIT)
            return response.number("Log-Length")

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        headers = {**_ticket(ticket), "Upload-Digest": digest, "Upload-Length": str(size)}
        first = {**headers, "Upload-Offset": "0"}
        try:
            if size <= AT_ONCE:
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
        body = FileBody(self._executor, descriptor, offset, size)
        try:
            async with self._asker.asked("PUT", url, headers, body) as response:
                await response.expect(HTTPStatus.CREATED)
                await response.body(TEXT_LIMIT)
        finally:
            body.stopProducing()
            await body.done

    # --- ports.Downloads -------------------------------------------------------------------------------

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        target = Path(path)
        part = await self._disk(target, partial(Part.begin, target, size, digest))
        try:
            progress(part.length)
            if part.length < size or not size:
                await self._receive(url, target, part, size, progress)
            arrived = part.hasher.hexdigest()
            if arrived != digest:
                await self._disk(target, part.remove)
                raise WrongDigest(
                    f"what {site(url)} sent has SHA-256 {arrived}, not {digest}: it was thrown away, fetch it again"
                )
            await self._disk(target, partial(part.publish, target))
        finally:
            await self._disk(target, part.close)

    async def _receive(self, url: str, target: Path, part: Part, size: int, progress: Callable[[int], None]) -> None:
        headers = {"Range": f"bytes={part.length}-", "If-Range": f'"{part.digest}"'} if part.length else {}
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

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """As the port says. Raises Unavailable, NotFound, BadOffset."""
        query = f"{url}?offset={offset}&wait={max(int(wait), 0)}"
        async with self._asker.asked("GET", query, {}, wait=wait) as response:
            await response.expect(HTTPStatus.OK)
            data = await response.body(LOG_LIMIT)
            return data, response.header("Log-Finished") == "yes"

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
