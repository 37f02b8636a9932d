"""Work trees of the mirrors: one per repository and slot, reused by switching and cleaning.

Switching a reused tree costs a tenth of a fresh one. A fresh one is made for a slot's first build since the program
began, and when switching fails, which also covers whatever a build did to the tree or to git's own files in it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.internet.defer import DeferredLock

from buildtool.adapters.trees import remove_tree
from buildtool.adapters.vcs_command import GitCommand, explain, unreachable
from buildtool.adapters.vcs_git import FETCH_LIMIT, GitMirror, Mirror, directory_name
from buildtool.adapters.vcs_process import Answer, TimedOut
from buildtool.adapters.vcs_refs import mask
from buildtool.errors import MachineFault, RepositoryUnreachable
from buildtool.ports import Executor, SourceCopy

_STRANGERS = ("? ", "! ")
"""How git's lines about files begin that the commit does not have."""


class _DirtyError(Exception):
    """A work tree could not be brought to the commit by switching."""


class Worktrees:
    """Checks out commits below one directory, which belongs to this program alone. Call it in the reactor's thread."""

    def __init__(self, mirror: GitMirror, directory: Path, pool: Executor) -> None:
        self._mirror = mirror
        self._command: GitCommand = mirror.command
        self._directory = directory
        self._pool = pool
        self._locks: dict[Path, DeferredLock] = {}
        self._made: set[Path] = set()
        self._at: dict[Path, str] = {}

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        """Return a directory that holds exactly ``commit`` (a full id), submodules included, and nothing else.

        The directory is the same for every checkout of ``url`` in ``slot``, which only one build uses at a time.
        ``copy`` is as for ``GitMirror.fetch_commit``. Raises what that does, and MachineFault if this machine cannot
        check out.
        """
        await self._mirror.restore(url)
        await self._mirror.fetch_commit(url, commit, copy)
        mirror = self._mirror.mirror(url)
        path = self._directory / directory_name(url) / f"slot-{slot:d}"
        lock = self._locks.setdefault(path, DeferredLock())
        await lock.run(self._bring, mirror, path, commit.lower())
        return path

    async def _bring(self, mirror: Mirror, path: Path, commit: str) -> None:
        """Make ``path`` hold ``commit``."""
        # What an earlier run of the program left may still be written to by a build that outlived it.
        if path in self._made and await self._pool.run(lambda: self._reuse(mirror, path, commit)):
            return
        # While git registers a work tree, a fetch or another registration that looks at all of them fails: one at a
        # time. The files are written afterwards, which is what takes long.
        await mirror.lock.run(self._pool.run, lambda: self._make(mirror, path, commit))
        await self._pool.run(lambda: self._fill(mirror, path, commit))
        self._made.add(path)

    def _reuse(self, mirror: Mirror, path: Path, commit: str) -> bool:
        """Switch the tree that is there (blocking); False if there is none or it cannot be switched."""
        if not _belongs(path, mirror.path):
            return False
        try:
            if not self._is_still(path, commit):
                self._switch(mirror, path, commit)
        except _DirtyError:
            return False
        except (TimedOut, OSError) as error:
            raise _fault(mirror, path, commit, error) from error
        return True

    def _is_still(self, path: Path, commit: str) -> bool:
        """Say whether the tree is at ``commit`` already, and clean but for what a build left there, which goes.

        Builds of one commit with different options are common, and this takes half of what switching takes.
        """
        if self._at.get(path) != commit or (path / ".gitmodules").exists() or _is_locked(path):
            return False
        here, unclean = self._look(path, commit)
        if not here or any(not line.startswith(_STRANGERS) for line in unclean):
            return False
        if not unclean and not _has_empty_directory(path):
            return True
        self._step(path, "clean", "-ffdxq")
        return self._look(path, commit) == (True, [])

    def _make(self, mirror: Mirror, path: Path, commit: str) -> None:
        """Register a fresh work tree without files (blocking)."""
        arguments = ("worktree", "add", "--quiet", "--force", "--force", "--no-checkout", "--detach", str(path), commit)
        try:
            remove_tree(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._need(self._command.run(arguments, git_dir=mirror.path))
        except (_DirtyError, TimedOut, OSError) as error:
            raise _fault(mirror, path, commit, error) from error

    def _fill(self, mirror: Mirror, path: Path, commit: str) -> None:
        """Write the files of a fresh work tree (blocking)."""
        try:
            self._switch(mirror, path, commit)
        except (_DirtyError, TimedOut, OSError) as error:
            raise _fault(mirror, path, commit, error) from error

    def _switch(self, mirror: Mirror, path: Path, commit: str) -> None:
        self._step(path, "checkout", "--quiet", "--force", "--detach", commit, "--")
        self._step(path, "clean", "-ffdxq")
        if (path / ".gitmodules").exists():
            self._submodules(mirror, path)
        here, unclean = self._look(path, commit)
        if not here:
            raise _DirtyError(f"HEAD is not {commit} after the checkout")
        if unclean:
            raise _DirtyError(f"the tree is not clean after the checkout: {unclean[0]}")
        self._at[path] = commit

    def _look(self, path: Path, commit: str) -> tuple[bool, list[str]]:
        """Return whether HEAD is ``commit``, and a line for everything that is not as the commit has it."""
        said = self._step(
            path,
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=all",
            "--ignored",
            "--ignore-submodules=none",
        )
        lines = said.text.splitlines()
        return f"# branch.oid {commit}" in lines, [line for line in lines if not line.startswith("#")]

    def _submodules(self, mirror: Mirror, path: Path) -> None:
        self._step(path, "submodule", "--quiet", "sync", "--recursive", url=mirror.url)
        arguments = ("submodule", "--quiet", "update", "--init", "--recursive", "--force", "--checkout")
        try:
            answer = self._command.run(arguments, tree=path, url=mirror.url, limit=FETCH_LIMIT)
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot read the submodules of {mask(mirror.url)}: {error}") from error
        if answer.code:
            raise unreachable(f"{mirror.url} (a submodule)", answer)
        self._step(path, "submodule", "--quiet", "foreach", "--recursive", "git clean -ffdxq")

    def _step(self, path: Path, *arguments: str, url: str | None = None) -> Answer:
        return self._need(self._command.run(arguments, tree=path, url=url))

    def _need(self, answer: Answer) -> Answer:
        if answer.code:
            raise _DirtyError(explain(answer))
        return answer


def _fault(mirror: Mirror, path: Path, commit: str, error: Exception) -> MachineFault:
    said = (error.strerror or error) if isinstance(error, OSError) else error
    return MachineFault(f"cannot check out {commit} of {mask(mirror.url)} in {path}: {said}")


def _has_empty_directory(path: Path) -> bool:
    """Whether there is a directory with nothing in it: git neither has such nor tells of them."""
    return any(not directories and not files for _, directories, files in os.walk(path))


def _is_locked(path: Path) -> bool:
    """Whether a git process was killed while it wrote in the tree ``path``, so that no other will."""
    return (_git_dir(path) / "index.lock").exists()


def _git_dir(path: Path) -> Path:
    """Return where git keeps what it knows of the tree ``path``. Raises OSError, ValueError."""
    return Path((path / ".git").read_text(encoding="utf-8").removeprefix("gitdir: ").rstrip("\n"))


def _belongs(path: Path, mirror: Path) -> bool:
    """Whether ``path`` is a work tree of ``mirror``, and not of some repository that a build put in its place."""
    try:
        link = path / ".git"
        if not stat.S_ISREG(link.lstat().st_mode):
            return False
        named = _git_dir(path)
        back = (named / "gitdir").read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError, ValueError):
        return False
    return named.parent == mirror.resolve() / "worktrees" and Path(back) == path.resolve() / ".git"
