"""Working copies of Subversion: one per URL and slot, reused by reverting, cleaning and switching.

A fresh one is made for a slot's first build since the program began, when switching fails, and when anything in
``.svn`` has another content than it was left with: a build could write there what svn would then take for the
repository's. What is believed of ``.svn`` is in memory alone. Externals are never fetched: they are other people's
repositories, at revisions that no BuildKey knows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import DeferredLock

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git_mirrors.mirrors import directory_name
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.adapters.vcs.svn.command import CHECKOUT_LIMIT, SvnCommand, codes, explain, failure, is_away, unclean
from buildtool.adapters.vcs.svn.refs import Address, address, full_id, full_number
from buildtool.errors import MachineFault, RepositoryUnreachable
from buildtool.ports.buildserver import SourceCopy
from buildtool.ports.common import Executor

_CHUNK = 1 << 20
_LOCAL = ("155", "200", "000")
"""The first digits of errors that are this machine's: the working copy's, its database's, the system's."""


class _DirtyError(Exception):
    """A working copy could not be brought to the revision by switching."""


class SvnSources:
    """The ``ports.Sources`` below ``directory``, this program's alone. Call it in the reactor's thread."""

    def __init__(self, command: SvnCommand, directory: Path, pool: Executor) -> None:
        self._command = command
        self._directory = directory
        self._pool = pool
        self._locks: dict[Path, DeferredLock] = {}
        self._checked: dict[Path, tuple[int, bytes]] = {}

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        """Return a directory that holds exactly ``commit`` (``r123``) of ``url``, and nothing else but ``.svn``.

        The directory is the same for every checkout of ``url`` in ``slot``, which only one build uses at a time.
        Raises UnknownRef, RepositoryUnreachable, and MachineFault if this machine cannot check out.
        """
        where = address(url)
        number = full_number(commit, url)
        path = self._directory / directory_name(url) / f"slot-{slot:d}"
        lock = self._locks.setdefault(path, DeferredLock())
        await lock.run(self._pool.run, lambda: self._bring(where, path, number))
        return path

    def _bring(self, where: Address, path: Path, number: int) -> None:
        """Make ``path`` hold the revision (blocking)."""
        try:
            # What an earlier run of the program left may still be written to by a build that outlived it.
            known = self._checked.get(path)
            if known is None or not self._is_as_left(path, known[1]) or not self._reused(where, path, number, known[0]):
                self._checked.pop(path, None)
                self._make(where, path, number)
            self._checked[path] = (_now(path.with_suffix(".checked")), digest_of(path / ".svn"))
        except (_DirtyError, TimedOut, OSError) as error:
            said = (error.strerror or error) if isinstance(error, OSError) else error
            raise MachineFault(f"cannot check out {full_id(number)} of {mask(where.url)} in {path}: {said}") from error

    def _is_as_left(self, path: Path, digest: bytes) -> bool:
        try:
            return _is_copy(path) and digest_of(path / ".svn") == digest
        except OSError:
            return False

    def _reused(self, where: Address, path: Path, number: int, since: int) -> bool:
        """Switch the copy; one whose repository is away is still believed, as svn itself has left it by then."""
        try:
            return self._reuse(where, path, number, since)
        except RepositoryUnreachable:
            self._checked[path] = (since, digest_of(path / ".svn"))
            raise

    def _reuse(self, where: Address, path: Path, number: int, since: int) -> bool:
        """Switch the copy that is there; False if it cannot be switched, not even after unlocking it."""
        for unlock in (False, True):
            try:
                if unlock:  # a svn that was killed left it locked, or in the middle of something
                    self._step(path, "cleanup")
                _expose(path, since)
                self._switch(where, path, number)
            except (_DirtyError, OSError):
                continue
            return True
        return False

    def _make(self, where: Address, path: Path, number: int) -> None:
        remove_tree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        arguments = ("checkout", "--quiet", "--ignore-externals", f"--revision={number}", where.at(str(number)))
        answer = self._network(where, [*arguments, path.name], path.parent)
        if answer.code:
            if not is_away(answer) and any(code.startswith(_LOCAL) for code in codes(answer)):
                raise _DirtyError(explain(answer))
            raise failure(where, answer, full_id(number))
        self._check(path, number)

    def _switch(self, where: Address, path: Path, number: int) -> None:
        # "." is the whole copy, and no path of ours can be mistaken for one with a peg revision.
        self._step(path, "revert", "--quiet", "--recursive", ".")
        self._step(path, "cleanup", "--remove-unversioned", "--remove-ignored", ".")
        switch = ("switch", "--quiet", "--ignore-externals", "--ignore-ancestry", "--set-depth=infinity")
        answer = self._network(where, [*switch, f"--revision={number}", where.at(str(number)), "."], path)
        if answer.code and is_away(answer):
            raise failure(where, answer, full_id(number))
        _need(answer)
        self._check(path, number)

    def _check(self, path: Path, number: int) -> None:
        """Raise _DirtyError unless the copy is at the revision in all its parts, with nothing changed or added."""
        state = self._command.state_of(path)
        if state != str(number):
            raise _DirtyError(f"svnversion says {state[:40]!r} after the checkout")
        left = unclean(self._step(path, "status", "--xml", "--no-ignore", "--ignore-externals", ".").out)
        if left:
            raise _DirtyError(f"the copy is not clean after the checkout: {left[0][:200]}")

    def _network(self, where: Address, arguments: Sequence[str], cwd: Path) -> ProcessOutput:
        try:
            return self._command.run(arguments, cwd=cwd, login=where, limit=CHECKOUT_LIMIT)
        except TimedOut as error:
            raise RepositoryUnreachable(f"cannot read {mask(where.url)}: {error}") from error

    def _step(self, path: Path, *arguments: str) -> ProcessOutput:
        return _need(self._command.run(arguments, cwd=path))


def _need(answer: ProcessOutput) -> ProcessOutput:
    if answer.code:
        raise _DirtyError(explain(answer))
    return answer


def _expose(top: Path, since: int) -> None:
    """Make sure that svn finds whatever was done to a copy since its clock showed ``since``. Raises OSError.

    svn believes a file to be unchanged that has its old size and time, and where a build put a symbolic link in the
    place of a versioned directory, svn would follow it and clean what is there. So files that were touched in any way
    get a new time, and links are removed; reverting brings the versioned ones back.
    """
    inside = [str(top)]
    while inside:
        with os.scandir(inside.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    Path(entry.path).unlink()
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name != ".svn":
                        inside.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    Path(entry.path).unlink()  # svn would wait for a FIFO
                elif (found := entry.stat(follow_symlinks=False)).st_nlink > 1:
                    Path(entry.path).unlink()  # what is written there would be written elsewhere
                elif found.st_ctime_ns >= since:
                    os.utime(entry.path)


def digest_of(top: Path) -> bytes:
    """Return a digest of the names, kinds and contents of all below a directory. Raises OSError; no FIFO is opened."""
    digest = hashlib.sha256()
    inside = [os.fspath(top)]
    while inside:
        directory = inside.pop()
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = os.fsencode(os.path.relpath(entry.path, top))
            if entry.is_dir(follow_symlinks=False):
                inside.append(entry.path)
                digest.update(b"directory %b\0" % name)
                continue
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as stream:
                size = os.fstat(descriptor).st_size
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "it is no file", entry.path)
                digest.update(b"file %d %b\0" % (size, name))
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
    return digest.digest()


def _now(marker: Path) -> int:
    """Return the time by the clock that the file system gives its files, in nanoseconds. Raises OSError."""
    remove_tree(marker)
    marker.touch()
    return marker.stat().st_ctime_ns


def _is_copy(path: Path) -> bool:
    """Whether ``path`` is a working copy of its own, and svn would not go looking for one in the directories above."""
    try:
        kinds = [(path / name).lstat().st_mode for name in ("", ".svn", ".svn/wc.db")]
    except OSError:
        return False
    return stat.S_ISDIR(kinds[0]) and stat.S_ISDIR(kinds[1]) and stat.S_ISREG(kinds[2])
