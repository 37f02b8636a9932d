"""A copy of a working tree as it is now, with what is not committed yet: the sources of a build that is only tried."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.command import GitCommand, need
from buildtool.adapters.vcs.git_worktrees.layout import WRITTEN
from buildtool.errors import BuildToolError, GitMissing, MachineFault, SourceUnusable
from buildtool.ports.buildserver import SourceCopy
from buildtool.ports.common import Executor

NO_COMMIT = "0" * 40
"""The revision of a directory that is no work tree of git's."""

_GIT = ".git"

T = TypeVar("T")


@frozen
class TreeFacts:
    """The state of a directory for git: its commit, NO_COMMIT where it has none, and how many files differ."""

    commit: str
    changed: int = 0


class WorkingTree:
    """The ``ports.Sources`` of one directory, copied below ``places`` for each slot. Nothing of it is changed.

    Of git's work trees come the files that are tracked and those that are not ignored; of others, all. Files have the
    time and modes that they have on a build server, and below the top of a work tree there is a ``.git`` with its
    commit.
    """

    def __init__(self, source: Path, places: Path, pool: Executor) -> None:
        self._source = source
        self._places = places
        self._git = GitCommand(places / "gitconfig")
        self._pool = pool

    async def facts(self) -> TreeFacts:
        """Return what git says of the directory. Raises MachineFault for one that cannot be read."""
        return await self._pool.run(partial(_told, self._source, self._look))

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        """Return a fresh copy for this slot; its place says neither more nor less than a build server's would.

        Raises MachineFault, and SourceUnusable for a directory without any file.
        """
        place = self._places / f"tree-{slot:d}"
        return await self._pool.run(partial(_told, self._source, partial(self._copied, place, commit)))

    def close(self) -> None:
        """End what git still does."""
        self._git.close()

    # --- in a thread ------------------------------------------------------------------------------------------

    def _look(self) -> TreeFacts:
        if not self._source.is_dir():
            raise MachineFault(f"{self._source} is no directory")
        commit = self._answer("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if commit is None:
            return TreeFacts(NO_COMMIT)
        status = self._answer("--no-optional-locks", "status", "--porcelain", "--untracked-files=all", "--", ".") or ""
        return TreeFacts(commit, len(status.splitlines()))

    def _answer(self, *words: str, tree: Path | None = None) -> str | None:
        """Return what git says in the directory, None where it is none of git's, or there is no git."""
        self._places.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            answer = self._git.run(words, tree=tree or self._source)
        except GitMissing:
            return None
        return None if answer.code else answer.out.decode("utf-8", "surrogateescape").rstrip("\n")

    def _copied(self, place: Path, commit: str) -> Path:
        remove_tree(place)
        place.mkdir(mode=0o700, parents=True)
        top = self._answer("rev-parse", "--show-toplevel")
        if commit != NO_COMMIT and top is not None and os.path.realpath(top) == os.path.realpath(self._source):
            self._with_history(place, commit)
        copied = [_put(self._source / name, place / name) for name in self._names(self._source)]
        if not any(copied):
            raise SourceUnusable(f"there are no files in {self._source}")
        return place

    def _with_history(self, place: Path, commit: str) -> None:
        """Make ``.git`` of the copy, whose objects stay where they are; HEAD is the commit, without a branch."""

        def git(*words: str, tree: Path | None = None) -> None:
            need(self._git.run(words, tree=tree), SourceUnusable, f"{self._source}: ")

        git("clone", "--quiet", "--shared", "--no-checkout", "--template=", str(self._source), str(place))
        git("update-ref", "--no-deref", "HEAD", commit, tree=place)
        git("read-tree", "HEAD", tree=place)

    def _names(self, top: Path) -> Iterator[str]:
        """Yield what is to be copied of a directory, by names below it."""
        listed = self._answer("ls-files", "-z", "--cached", "--others", "--exclude-standard", tree=top)
        names = sorted({name.rstrip("/") for name in (listed or "").split("\0")} - {""})
        if not names:  # none of git's, or all of it is ignored by a work tree around it
            yield from _everything(top)
        for name in names:
            if (top / name).is_dir() and not (top / name).is_symlink():  # a submodule, or a work tree in this one
                yield from (f"{name}/{below}" for below in self._names(top / name))
            else:
                yield name


def _everything(top: Path) -> Iterator[str]:
    for directory, below, files in os.walk(top):
        links = [name for name in below if Path(directory, name).is_symlink()]
        below[:] = sorted(set(below) - {_GIT, *links})
        for name in sorted([*files, *links]):
            if name != _GIT:
                yield os.path.relpath(os.path.join(directory, name), top)  # noqa: PTH118 - names need not be UTF-8


def _put(source: Path, target: Path) -> bool:
    """Copy one file or link; return whether it is there and one of these."""
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError:  # it is tracked, and deleted
        return False
    if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode)):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())
        return True
    shutil.copyfile(source, target)
    target.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    os.utime(target, ns=(WRITTEN, WRITTEN))
    return True


def _told(source: Path, act: Callable[[], T]) -> T:
    try:
        return act()
    except BuildToolError:
        raise
    except OSError as error:
        raise MachineFault(f"cannot copy {source}: {error.filename}: {error.strerror or error}") from error
