"""Commits of mirrors as files that build servers fetch where the origin does not give them out any more.

A bundle is git's own format: a few lines of refs and a pack. It has the commit, all that leads to it, and the tags
that lead to it or to what came before it, so that ``git describe`` says the same. Where the origin is shallow, the
commits at which its history was cut off are told in refs of their own (``refs/shallow/ID``). A bundle of tags has the
objects of those tags alone, for who has the commit already.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as WaitedLongEnough
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.command import need
from buildtool.adapters.vcs.git.ids import BUNDLE_HEADERS, Unreadable
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.adapters.vcs.svn.refs import is_svn
from buildtool.concurrency.asker import Asker, working_for
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import BuildToolError, MachineFault, NotFound, StorageUnavailable
from buildtool.ports.common import Executor
from buildtool.ports.metaserver import BeingMade, Bundle

KEPT_FOR = 3_600.0
"""Seconds for which a bundle is kept after it was last asked for."""

KEPT = 16
"""Most bundles that are kept at once, and as many of tags alone."""

PATIENCE = 20.0
"""Seconds that who asks waits for a bundle that is being made, before they are told to ask again."""

FRESH_WITHIN = 20.0
"""Seconds that the origin has to tell tags that are newer than the mirror."""

TAGS_FRESH = 1.0
"""Seconds for which tags are told again that were told: who asks how long they are fetches them then.

As long as making them took, where that was longer than ``PATIENCE``, for who was told to ask again.
"""

MAKING_LIMIT = 1_800.0
"""Seconds that packing may take."""

ROOM = 256 * 1024 * 1024
"""Bytes that stay free on the disk when bundles are made."""

log = Logger()

T = TypeVar("T")


class Patience(Generic[T]):
    """A maker of what takes long, once for all who ask for the same, each of whom waits for it for a while."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._making: SingleFlight[T] = SingleFlight()

    async def wait(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """Return what is made, by the one who asked first. Raises BeingMade where that takes long."""
        making = Deferred.fromCoroutine(self._shared(key, make))
        try:
            return await making.addTimeout(PATIENCE, self._clock)
        except WaitedLongEnough as error:
            raise BeingMade("the sources are being packed: ask again in a moment") from error

    async def _shared(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        # Made for nobody in particular: who asks first may be told to ask again before it is ready.
        with working_for(Asker()):
            return await self._making.share(key, make)


class Bundles:
    """The bundles of commits, made, shared, kept and thrown away in a directory of this program's own."""

    def __init__(self, mirror: GitMirror, directory: Path, pool: Executor, clock: IReactorTime) -> None:
        self._mirror = mirror
        self._directory = directory
        self._pool = pool
        self._clock = clock
        self._made: OrderedDict[tuple[str, str], tuple[Bundle, float]] = OrderedDict()
        self._tagged: OrderedDict[tuple[str, str], tuple[Bundle, float]] = OrderedDict()
        self._making: Patience[Bundle] = Patience(clock)
        self._packing = DeferredLock()
        self._look: IDelayedCall | None = None

    async def start(self) -> None:
        """Delete what an earlier run left. Raises StorageUnavailable."""

        def clear() -> None:
            try:
                remove_tree(self._directory)
            except OSError as error:
                raise StorageUnavailable(f"cannot clear {self._directory}: {error.strerror}") from error

        await self._pool.run(clear)

    def stop(self) -> None:
        """Cancel the periodic look at the bundles."""
        if self._look is not None and self._look.active():
            self._look.cancel()

    async def of(self, url: str, commit: str) -> Bundle:
        """Return the bundle of a commit that is in the mirror of ``url``.

        Raises NotFound where it is not, or cannot be; BeingMade; MachineFault and StorageUnavailable.
        """
        if is_svn(url):
            raise NotFound("a Subversion repository keeps all of its revisions: there is no copy of them here")
        key = (url, commit)
        bundle = self._made[key][0] if key in self._made else None
        if bundle is None or not await self._pool.run(partial(_is_there, bundle)):
            self._made.pop(key, None)
            bundle = await self._making.wait(f"{commit} {url}", lambda: self._make(url, commit))
        self._made[key] = (bundle, self._clock.seconds())
        self._made.move_to_end(key)
        return bundle

    async def tags(self, url: str, commit: str) -> Bundle:
        """Return the bundle of the tags that reach a commit at the origin now, or did when it was asked last.

        Raises NotFound, BeingMade, MachineFault and StorageUnavailable.
        """
        if is_svn(url):
            raise NotFound("a Subversion repository has no tags of git's")
        bundle, fresh_until = self._tagged.get((url, commit), (None, 0.0))
        fresh = bundle is not None and self._clock.seconds() < fresh_until
        if bundle is None or not fresh or not await self._pool.run(partial(_is_there, bundle)):
            return await self._making.wait(f"tags {commit} {url}", lambda: self._make_tags(url, commit))
        return bundle

    async def _make(self, url: str, commit: str) -> Bundle:
        mirror = self._mirror.mirror(url)
        found = self._made.get((url, commit))
        if found is not None:
            return found[0]  # it was made while this waited for its turn
        await self._freshen(url)
        await self._forget_old(room_for=1)
        # One after the other, since it may take long and others wait for threads of the pool.
        write = partial(self._write, mirror, commit)
        bundle = await self._packing.run(self._mirror.reading, url, lambda: self._pool.run(write))
        log.info(
            "packed {commit} of {url} for build servers: {size} bytes", commit=commit, url=mask(url), size=bundle.size
        )
        self._made[url, commit] = (bundle, self._clock.seconds())
        self._look_later()
        return bundle

    async def _make_tags(self, url: str, commit: str) -> Bundle:
        mirror, began = self._mirror.mirror(url), self._clock.seconds()
        await self._freshen(url)
        await self._forget_old(room_for=1)
        write = partial(self._write, mirror, commit, tags=True)
        bundle = await self._mirror.reading(url, lambda: self._pool.run(write))
        now = self._clock.seconds()
        took = now - began
        self._tagged[url, commit] = (bundle, now + (took if took >= PATIENCE else TAGS_FRESH))
        self._tagged.move_to_end((url, commit))
        self._look_later()
        return bundle

    def _look_later(self) -> None:
        if self._look is None or not self._look.active():
            self._look = self._clock.callLater(KEPT_FOR, self._tidy)

    async def _freshen(self, url: str) -> None:
        """Get the newest tags, if the origin tells them soon."""
        waiting = Asker()
        later = self._clock.callLater(FRESH_WITHIN, waiting.leave)
        try:
            with working_for(waiting):
                await self._mirror.refresh(url)
        except BuildToolError as error:
            log.debug("a bundle is made of what there is: {why}", why=str(error))
        finally:
            if later.active():
                later.cancel()

    def _write(self, mirror: Mirror, commit: str, *, tags: bool = False) -> Bundle:
        """Write a bundle (blocking), of tags alone or of all. Raises NotFound, Unreadable, MachineFault.

        Raises StorageUnavailable too.
        """
        kind = self._mirror.keeper.objects(mirror).kinds((commit,)).get(commit)
        if kind is None or kind.commit != commit:
            raise NotFound(f"commit {commit} is not here")
        refs = [(commit, f"refs/pins/{commit}"), *self._tags(mirror, commit), *([] if tags else _cuts(mirror))]
        known = f"-{commit}\n" if tags else ""  # what who takes it has already
        digits = len(commit)
        name = hashlib.sha256(f"{mirror.url}\n{commit}{known}".encode()).hexdigest()[:32]
        target, base = self._directory / f"{name}.bundle", self._directory / f"{name}.new"
        try:
            self._directory.mkdir(exist_ok=True)
            if not tags:
                self._check_room(mirror)
            wanted = [one for one, name in refs if not name.startswith("refs/shallow/")]
            packed = self._pack(mirror, base, [*wanted, *([f"^{commit}"] if tags else [])])
            header = BUNDLE_HEADERS[digits] + known + "".join(f"{one} {name}\n" for one, name in refs) + "\n"
            with packed.open("rb") as pack, base.open("wb") as out:
                out.write(header.encode("utf-8", "surrogateescape"))
                shutil.copyfileobj(pack, out, 1024 * 1024)
            packed.unlink()
            base.replace(target)
            with target.open("rb") as whole:
                digest = hashlib.file_digest(whole, "sha256").hexdigest()
                size = whole.seek(0, 2)
        except OSError as error:
            raise StorageUnavailable(f"cannot pack sources in {self._directory}: {error.strerror}") from error
        finally:
            for left in self._directory.glob(f"{base.name}*"):
                left.unlink(missing_ok=True)
        return Bundle(target, size, digest)

    def _check_room(self, mirror: Mirror) -> None:
        needed = 2 * sum(one.stat().st_size for one in (mirror.path / "objects" / "pack").glob("*.pack")) + ROOM
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            raise StorageUnavailable(f"no room to pack sources: {free} bytes are free, up to {needed} are needed")

    def _pack(self, mirror: Mirror, base: Path, ids: Sequence[str]) -> Path:
        given = "".join(f"{one}\n" for one in ids).encode("ascii")
        arguments = ("pack-objects", "--quiet", "--revs", "--delta-base-offset", str(base))
        try:
            answer = self._mirror.command.run(arguments, git_dir=mirror.path, given=given, limit=MAKING_LIMIT)
        except TimedOut as error:
            raise MachineFault(f"cannot pack {mask(mirror.url)}: {error}") from error
        need(answer, Unreadable)
        return base.with_name(f"{base.name}-{answer.text}.pack")

    def _tags(self, mirror: Mirror, commit: str) -> list[tuple[str, str]]:
        """Return the tags that ``commit`` or what came before it has, each with its id."""
        found: list[tuple[str, str]] = []

        def tag(line: bytes) -> None:
            one, _, name = line.decode("utf-8", "surrogateescape").partition(" ")
            if name:
                found.append((one, name))

        arguments = ("for-each-ref", f"--merged={commit}", "--format=%(objectname) %(refname)", "refs/tags")
        need(self._mirror.command.run(arguments, git_dir=mirror.path, on_line=tag), Unreadable)
        return found

    async def _forget_old(self, *, room_for: int = 0) -> None:
        """Throw away what nobody asked for of late, and what was not asked for longest where there are too many."""
        now = self._clock.seconds()
        paths: list[Path] = []
        for made in (self._made, self._tagged):
            old = [key for key, (_, used) in made.items() if now >= used + KEPT_FOR]
            old += [key for key in made if key not in old][: max(0, len(made) - len(old) - KEPT + room_for)]
            paths += [made.pop(key)[0].path for key in old]
        if paths:
            await self._pool.run(lambda: _unlink(paths))

    def _tidy(self) -> None:
        """Look whether bundles are to go, and again later while there are any."""

        def done(_: object) -> None:
            if self._made or self._tagged:
                self._look = self._clock.callLater(KEPT_FOR / 4, self._tidy)

        tidying = Deferred.fromCoroutine(self._forget_old())
        tidying.addErrback(lambda failure: log.warn("old bundles stay: {why}", why=failure.getErrorMessage()))
        tidying.addCallback(done)


def _cuts(mirror: Mirror) -> list[tuple[str, str]]:
    try:
        lines = (mirror.path / "shallow").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error
    return [(one, f"refs/shallow/{one}") for one in lines]


def _is_there(bundle: Bundle) -> bool:
    """Return whether the file is there (blocking); what it holds, whoever fetches it compares with the digest."""
    try:
        return bundle.path.stat().st_size == bundle.size
    except OSError:
        return False


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
