"""The files that recipes declare: fetched once, kept by their SHA-256, and verified each time that they are given out.

Tested by tests/adapters/http/test_declared_downloads.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from buildtool.adapters.http.client import HttpClient
from buildtool.errors import BadUpload, BuildFailed, MachineFault, NotFound, Unavailable
from buildtool.model.text import size_words
from buildtool.ports.common import Executor
from buildtool.project.fetching import Download

LARGEST = 4 << 30
"""Bytes of the largest file that is fetched."""

REDIRECTS = 5
"""How often a host may say that a file is elsewhere."""

_ELSEWHERE = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_CHUNK = 1 << 20


class DownloadCache:
    """The ``ports.DeclaredDownloads`` below a directory that no build sees."""

    def __init__(self, place: Path, client: HttpClient, pool: Executor) -> None:
        self._place = place
        self._client = client
        self._pool = pool

    async def put(self, download: Download, tree: Path, note: Callable[[str], None]) -> int:
        """Put a declared file where a build wants it, from the cache or its host; return how many bytes were fetched.

        Raises MachineFault, BuildFailed.
        """
        kept, size = self._place / download.sha256, 0
        try:
            if not await self._pool.run(partial(_is_whole, kept, download.sha256)):
                note(f"[fetching {download.url}]")
                size = await self._fetch(download, kept)
                note(f"[fetched {size_words(size)}, SHA-256 {download.sha256}]")
            await self._pool.run(partial(_copy, kept, tree, download.path))
        except OSError as error:
            raise MachineFault(f"cannot keep {download.url}: {error.strerror or error}") from error
        return size

    async def _fetch(self, download: Download, kept: Path) -> int:
        """Fetch a file into the cache, and return its size in bytes."""
        part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
        await self._pool.run(partial(self._place.mkdir, parents=True, exist_ok=True, mode=0o700))
        try:
            with part.open("wb") as stream:
                digest, size = hashlib.sha256(), 0
                async for piece in self._pieces(download.url):
                    size += len(piece)
                    if size > LARGEST:
                        raise BuildFailed(f"{download.url} has more than {size_words(LARGEST)}")
                    digest.update(piece)
                    await self._pool.run(partial(stream.write, piece))
            if digest.hexdigest() != download.sha256:
                raise BuildFailed(
                    f"{download.url} has SHA-256 {digest.hexdigest()} and not {download.sha256}, as the recipe declares"
                )
            await self._pool.run(partial(part.replace, kept))
            return size
        except (Unavailable, BadUpload, NotFound) as error:
            raise MachineFault(f"cannot fetch {download.url}: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    async def _pieces(self, url: str) -> AsyncIterator[bytes]:
        """Yield the pieces of a file's body, following where it is said to be. Raises Unavailable and others."""
        for _ in range(REDIRECTS + 1):
            async with self._client.asked("GET", url, {"Accept-Encoding": "identity"}) as answer:
                if answer.code not in _ELSEWHERE:
                    await answer.expect(HTTPStatus.OK)
                    async for batch in answer.pieces():
                        for piece in batch:
                            yield piece
                    return
                url = _next(url, answer.header("Location"))
        raise Unavailable(f"it is said to be elsewhere more than {REDIRECTS} times")


def _next(url: str, location: str) -> str:
    """Return where a file is said to be. Raises Unavailable where that is no URL, or leads out of TLS."""
    found = urljoin(url, location)
    scheme = urlsplit(found).scheme
    if scheme not in ("http", "https") or (url.startswith("https:") and scheme != "https"):
        raise Unavailable(f"it is said to be at {location[:200]!r}")
    return found


def _is_whole(path: Path, sha256: str) -> bool:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                digest.update(piece)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha256


def _copy(kept: Path, tree: Path, path: str) -> None:
    """Copy a file to ``path`` below a tree, through no link that a commit has there. Raises OSError, BuildFailed."""
    place = tree
    *above, name = Path(path).parts
    for part in above:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise BuildFailed(
                f"{path} is where a download is put, but the sources have no directory {place.name} there"
            )
        place.mkdir(exist_ok=True)
    target = place / name
    if target.is_dir() and not target.is_symlink():
        raise BuildFailed(f"{path} is where a download is put, but the sources have a directory there")
    target.unlink(missing_ok=True)
    with kept.open("rb") as source, target.open("xb") as made:
        shutil.copyfileobj(source, made, _CHUNK)
