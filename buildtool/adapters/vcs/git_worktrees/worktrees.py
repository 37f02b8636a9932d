"""Work trees of commits: one directory per repository and slot, in which each commit is laid out exactly.

What a build could write is believed nowhere: trees are compared by content, with objects that are what their ids say,
starting from the commit's id. What is remembered of a tree is in memory only, so that the first checkout of a slot
since the program began makes it afresh. ``.git`` is made anew for every checkout and is the build's own.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from buildtool.adapters.runtime.threads import HelperPools
from buildtool.adapters.storage.trees import detach_mounts, plain_bytes, remove_tree, thaw
from buildtool.adapters.vcs.git.command import need
from buildtool.adapters.vcs.git.gitdir import Tag, make_git_dir, write_index, write_settings, write_tags
from buildtool.adapters.vcs.git.objects import shown
from buildtool.adapters.vcs.git.reader import Blob, DamagedMirror, ObjectCache, ObjectReader
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror, Mirror, directory_name
from buildtool.adapters.vcs.git_worktrees.attributes import AttributeCache, Conversions
from buildtool.adapters.vcs.git_worktrees.layout import Layout
from buildtool.adapters.vcs.git_worktrees.packs import Packs
from buildtool.adapters.vcs.git_worktrees.submodules import Submodule, SubmoduleReader
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import is_full_id, mask, without_login
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import (
    BuildToolError,
    CommitGone,
    MachineFault,
    NotFound,
    RepositoryUnreachable,
    SourceUnusable,
    StorageUnavailable,
    Unavailable,
    UnknownRef,
)
from buildtool.ports.buildserver import CommitCopy, SourceCopy
from buildtool.ports.common import Executor
from buildtool.protocol.source_parts import DEPTH_LIMIT, SourceKind, SourcePart

FILES_LIMIT = 1_000_000
"""Of how many files that lie in trees the sizes are remembered; a tree that was forgotten is made afresh."""

THREADS = 2
"""In how many threads beside its own a checkout reads large files and packs."""

REACHING_LIMIT = 1_000
"""Of how many commits the tags that reach them are remembered."""

log = Logger()

_ATTEMPTS = 3
_NO_LOGIN = (
    "origin_logins are the metaserver's alone, which gives out a submodule only where one entry of them leads to it "
    "and to the project's repository: put it there, or where build servers may read it"
)


@frozen
class _Place:
    """What to lay out where: a commit of a repository, its origin's tags, and ``inside``, a submodule's path or ""."""

    mirror: Mirror
    commit: str
    path: Path
    tags: dict[str, Tag]
    inside: str = ""


@frozen
class _Wanted:
    """A commit that is to be laid out at ``path``: the Build's own or, ``inside`` it, that of a submodule."""

    url: str = field(repr=False)
    commit: str
    path: Path
    copy: SourceCopy | None
    inside: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The place in the Build's tree, for people; "" for the Build's own."""
        return "/".join(shown(os.fsencode(one)) for one in self.inside)

    def copied(self, kind: SourceKind) -> CommitCopy | None:
        """Return what fetches a part of it from the metaserver, if anything does."""
        copy = self.copy
        if copy is None:
            return None
        return lambda path: copy(path, SourcePart(kind, self.inside))

    def submodule(self, one: Submodule) -> _Wanted:
        """Return a submodule's commit."""
        path = os.fsdecode(one.path)
        return _Wanted(one.url, one.commit, self.path / path, self.copy, (*self.inside, path))


@define
class _Trees:
    """The sizes of what lies in each directory, as it was left when it was laid out last."""

    _sizes: OrderedDict[Path, dict[bytes, int]] = field(factory=OrderedDict)
    _lock: Lock = field(factory=Lock)

    def of(self, path: Path) -> dict[bytes, int] | None:
        return self._sizes.get(path)

    def keep(self, path: Path, sizes: dict[bytes, int]) -> None:
        with self._lock:
            self._sizes[path] = sizes
            self._sizes.move_to_end(path)
            while len(self._sizes) > 1 and sum(map(len, self._sizes.values())) > FILES_LIMIT:
                self._sizes.popitem(last=False)

    def forget(self, path: Path) -> None:
        with self._lock:
            self._sizes.pop(path, None)


class Worktrees:
    """The checkouts of commits below one directory of this program's own. Call it in the reactor's thread."""

    def __init__(self, mirror: GitMirror, directory: Path, pool: Executor) -> None:
        self._mirror = mirror
        self._command = mirror.command
        self._directory = directory
        self._pool = pool
        self._packs = Packs(mirror.command)
        self._memory = ObjectCache()
        self._rules = AttributeCache()
        self._modules = SubmoduleReader(mirror.command)
        self._trees = _Trees()
        self._helpers = HelperPools(THREADS)
        self._lock = Lock()
        self._making = Lock()
        self._locks: dict[Path, DeferredLock] = {}
        self._tags: dict[str, dict[str, Tag]] = {}
        self._silent: set[str] = set()
        self._reaching: OrderedDict[tuple[str, str], tuple[dict[str, Tag], dict[str, Tag]]] = OrderedDict()

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        """Return a directory that holds exactly ``commit`` (a full id), submodules included, and nothing else.

        The directory is the same for every checkout of ``url`` in ``slot``, which only one build uses at a time. It
        has a ``.git`` of its own, with the commit and all tags that reach it. ``copy`` is as for
        ``GitMirror.fetch_commit``. Raises what that does, SourceUnusable, and MachineFault if this machine cannot check
        out.
        """
        path = self._directory / directory_name(url) / f"slot-{slot:d}"
        lock = self._locks.setdefault(path, DeferredLock())
        await self._pool.run(self._open_up)
        await lock.run(self._bring, _Wanted(url, commit.lower(), path, copy))
        return path

    def _open_up(self) -> None:
        """Make (blocking) the directories that a build may have closed or replaced."""
        try:
            self._see_to(self._directory.parent, self._directory, self._mirror.directory)
            for one in (self._directory, self._mirror.directory):
                detach_mounts(one, itself=False)
        except OSError as error:
            raise MachineFault(f"cannot use {error.filename or self._directory}: {error.strerror}") from error

    def _see_to(self, *directories: Path) -> None:
        """Make the directories that several slots use. Raises OSError."""
        with self._making:  # or what one checkout has just made would be taken for what a build left
            for one in directories:
                _real(one)

    async def _bring(self, asked: _Wanted) -> None:
        url, copy = asked.url, asked.copied(SourceKind.COMMIT)
        commit = await self._mirror.fetch_commit(url, asked.commit, copy)
        place = _Place(
            self._mirror.mirror(url), commit, asked.path, await self._current_tags(asked, commit), asked.shown
        )
        try:
            found = await self._pool.run(lambda: self._lay_out(place))
        except DamagedMirror as error:
            await self._mirror.renew(url, commit, str(error), copy)
            found = await self._again(place)
        for one in found:
            if one.wanted:
                await self._bring_submodule(asked.submodule(one))

    async def _again(self, place: _Place) -> tuple[Submodule, ...]:
        try:
            return await self._pool.run(lambda: self._lay_out(place))
        except DamagedMirror as error:
            raise MachineFault(
                f"the mirror of {mask(place.mirror.url)} was damaged again as soon as it was made: {error}"
            ) from error

    async def _bring_submodule(self, one: _Wanted) -> None:
        where = one.shown
        if len(one.inside) > DEPTH_LIMIT:
            raise SourceUnusable(f"the submodule {where!r} lies in more than {DEPTH_LIMIT} others")
        try:
            await self._bring(one)
        except (UnknownRef, CommitGone) as error:
            raise SourceUnusable(
                f"the submodule {where!r} is at commit {one.commit}, which {mask(one.url)} does not have: "
                "push it there, or name another in its place"
            ) from error
        except RepositoryUnreachable as error:
            asked = any(one in str(error) for one in ("Authentication failed", "could not read Username"))
            mend = f"; {_NO_LOGIN}" if asked else ""
            raise SourceUnusable(f"the submodule {where!r} cannot be fetched: {error}{mend}") from error

    # --- tags -------------------------------------------------------------------------------------------------

    async def _current_tags(self, asked: _Wanted, commit: str) -> dict[str, Tag]:
        """Return the tags that the origin has now, all of which are in the mirror.

        If it tells this machine none, those that reach ``commit`` as the metaserver knows them; if that does neither,
        those that came here.
        """
        url = asked.url
        mirror = self._mirror.mirror(url)
        for _ in range(_ATTEMPTS):
            try:
                listed = await self._mirror.tags.now(mirror)
                if listed == self._tags.get(url, {}):
                    break
                await self._mirror.refresh(url)
            except RepositoryUnreachable as error:
                return await self._tags_without_origin(asked, commit, error)
            self._tags[url] = listed
        self._silent.discard(url)
        return self._tags.get(url, {})

    async def _tags_without_origin(self, asked: _Wanted, commit: str, why: BuildToolError) -> dict[str, Tag]:
        url, copy = asked.url, asked.copied(SourceKind.TAGS)
        if copy is not None:
            try:
                return await self._mirror.tags_of(url, commit, copy)
            except (NotFound, Unavailable, StorageUnavailable) as error:
                why = error
        if url not in self._silent:  # and not at each build
            self._silent.add(url)
            log.warn(
                "the tags of {url} are those that came with its commits, until it tells them: {why}",
                url=mask(url), why=str(why),
            )  # fmt: skip
        # Not those that were remembered: what the metaserver sent since then is in the mirror alone.
        return await self._mirror.tags.kept(self._mirror.mirror(url))

    def _tags_that_reach(self, place: _Place) -> dict[str, Tag]:
        """Return (blocking) the tags of the place's commit and of what came before it."""
        key = (place.mirror.url, place.commit)
        if not place.tags:
            return {}
        known = self._reaching.get(key)
        if known is not None and known[0] == place.tags:
            return known[1]
        git_dir = place.path / ".git"
        write_tags(git_dir, place.tags)
        arguments = ("for-each-ref", f"--merged={place.commit}", "--format=%(refname)", "refs/tags")
        answer = need(self._command.run(arguments, git_dir=git_dir, settings={}), DamagedMirror)
        reaching = answer.out.decode("utf-8", "surrogateescape").split("\n")
        found = {name: place.tags[name] for name in reaching if name in place.tags}
        with self._lock:
            keep_newest(self._reaching, key, (place.tags, found), REACHING_LIMIT)
        return found

    # --- files ------------------------------------------------------------------------------------------------

    def _lay_out(self, place: _Place) -> tuple[Submodule, ...]:
        """Make the directory hold the commit (blocking), and return its submodules. Raises DamagedMirror too."""
        try:
            return self._laid_out(place)
        except (TimedOut, OSError) as error:
            raise _fault(place, error) from error
        except SourceUnusable as error:
            if not place.inside:
                raise
            raise SourceUnusable(f"in the submodule {place.inside!r}: {error}") from error

    def _laid_out(self, place: _Place) -> tuple[Submodule, ...]:
        sizes = self._directory_for(place)
        git_dir, url = place.path / ".git", without_login(place.mirror.url)
        make_git_dir(git_dir, place.commit, url)
        packs = self._packs.link(place.mirror.path, git_dir)
        with self._helpers.help() as threads, ObjectReader(self._command, git_dir, self._memory) as reader:
            proof = threads.submit(self._packs.prove, git_dir, packs)
            manifest = reader.manifest(place.commit)
            _write_shallow(place.mirror.path, git_dir, reader)
            found = self._modules.of(reader, manifest, place.mirror.url)
            conversions = Conversions(
                self._command, git_dir, place.mirror.url, manifest, reader, self._rules, proof.result
            )
            wanted = conversions.wanted()
            # Builds in sandboxes have an account of their own, to which their tree was given: so it need not be again.
            owner = place.path.lstat().st_uid if os.geteuid() == 0 else 0
            layout = Layout(manifest, _Contents(reader, conversions), wanted, sizes, threads, owner)
            placed = layout.bring(os.fspath(place.path))
            proof.result()
        for one in found:
            if not one.wanted:
                _empty(place.path / os.fsdecode(one.path))
        if found:
            names = {one.name: without_login(one.url) for one in found if one.wanted}
            write_settings(git_dir, place.commit, url, names)
        write_tags(git_dir, self._tags_that_reach(place))
        write_index(git_dir, placed, len(manifest.root))
        here = {one.object_id for one in placed} | set(wanted.values())
        self._trees.keep(place.path, {one: size for one, size in sizes.items() if one in here})
        return found

    def _directory_for(self, place: _Place) -> dict[bytes, int]:
        """Make the place a directory of its own, and return the sizes of what may be in it."""
        known = self._trees.of(place.path)
        self._trees.forget(place.path)
        if not place.inside:
            self._see_to(self._directory, place.path.parent)
            if known is None:
                # What an earlier run of the program left may still be written to by a build that outlived it.
                remove_tree(place.path)
        _real(place.path)
        return known or {}


@frozen
class _Contents:
    """What the files of one commit hold: blobs as they are, and what git made of some. Implements ``ContentSource``."""

    reader: ObjectReader
    conversions: Conversions

    def blobs(self, ids: Sequence[bytes]) -> Iterator[Blob]:
        return self.reader.blobs(ids)

    def converted(self, paths: Sequence[bytes]) -> Iterator[Blob]:
        return self.conversions.converted(paths)


def _write_shallow(mirror: Path, git_dir: Path, reader: ObjectReader) -> None:
    """Write into a git directory where the history of a shallow origin ends: where parents are missing indeed."""
    try:
        said = plain_bytes(mirror / "shallow").split()
    except OSError:
        return
    ids = [bytes.fromhex(one.decode("ascii")) for one in said if is_full_id(one.decode("ascii", "replace"))]
    ends = [one for one in ids if reader.ends_at(one)]
    if ends:
        (git_dir / "shallow").write_text("".join(f"{one.hex()}\n" for one in ends), encoding="ascii")


def _real(path: Path) -> None:
    """Make a directory that can be used, and is no link to one. Raises OSError."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = 0
    if not stat.S_ISDIR(mode):
        remove_tree(path)
        path.mkdir(parents=True)
        return
    # A build may have closed it.
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        path.chmod(stat.S_IRWXU)
    thaw(path)


def _empty(path: Path) -> None:
    remove_tree(path)
    path.mkdir()


def _fault(place: _Place, error: Exception) -> MachineFault:
    said = (error.strerror or error) if isinstance(error, OSError) else error
    named = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
    return MachineFault(f"cannot check out {place.commit} of {mask(place.mirror.url)} in {place.path}: {said}{named}")
