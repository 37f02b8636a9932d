"""The packs of a mirror, proved to hold what their ids say, and linked into git directories that are made anew.

A pack that git has verified once offers each object by the digest of what it holds, whoever wrote it. What was verified
is remembered here, in memory, by the digest of the whole file; a file that has another one later was damaged. Nothing
else of a mirror is used: no refs, settings, alternates, loose objects or indices over several packs.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git.command import GitCommand, need
from buildtool.adapters.vcs.git.reader import DamagedMirror
from buildtool.adapters.vcs.process import TimedOut
from buildtool.concurrency.bounded_cache import keep_newest

PROVING_LIMIT = 3600.0
"""Seconds that git may take to verify one pack."""

KNOWN_LIMIT = 20_000
"""How many packs are remembered."""

_CHUNK = 1 << 23
"""Bytes of a pack that are read at once: large, since between two of them other threads are waited for."""
_ATTEMPTS = 5
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}
_FANOUT = 2


class Packs:
    """The packs of all mirrors, as far as known. The methods block and may be called from several threads at once."""

    def __init__(self, command: GitCommand) -> None:
        self._command = command
        self._proved: OrderedDict[bytes, bytes] = OrderedDict()

    def link(self, mirror: Path, git_dir: Path) -> tuple[Path, ...]:
        """Install all packs of ``mirror`` in ``git_dir``, and no others, and return them; they are yet to be proved.

        Raises DamagedMirror, MachineFault, OSError.
        """
        into = git_dir / "objects" / "pack"
        for _ in range(_ATTEMPTS):
            try:
                self._gather_loose(mirror)
                names = sorted(_packs(mirror / "objects" / "pack"))
                wanted = {f"{name}{kind}" for name in names for kind in (".pack", ".idx")}
                for left in into.iterdir():
                    if left.name not in wanted:
                        remove_tree(left)
                for one in sorted(wanted):
                    _link(mirror / "objects" / "pack" / one, into / one)
            except FileNotFoundError:  # a fetch put packs together meanwhile
                continue
            break
        else:
            raise DamagedMirror("its packs come and go")
        if not names:
            raise DamagedMirror("it has no packs")
        return tuple(into / f"{name}.pack" for name in names)

    def prove(self, git_dir: Path, packs: Iterable[Path]) -> None:
        """Check that packs of a git directory hold what their ids say. Raises DamagedMirror, MachineFault."""
        for pack in packs:
            self._prove(git_dir, pack)

    def _prove(self, git_dir: Path, pack: Path) -> None:
        index = pack.with_suffix(".idx")
        now, index_now = _digest(pack), _digest(index)
        if self._proved.get(now) == index_now:
            return
        arguments = ("index-pack", "--verify", str(pack))
        try:
            answer = self._command.run(arguments, git_dir=git_dir, limit=PROVING_LIMIT, settings={})
        except TimedOut as error:
            raise DamagedMirror(f"{pack.name}: {error}") from error
        need(answer, DamagedMirror, f"{pack.name}: ")
        keep_newest(self._proved, now, index_now, KNOWN_LIMIT)

    def _gather_loose(self, mirror: Path) -> None:
        """Put objects that lie alone into a pack, since packs are what can be proved."""
        loose = sorted(_loose(mirror / "objects"))
        if not loose:
            return
        given = "".join(f"{one}\n" for one in loose).encode("ascii")
        base = mirror / "objects" / "pack" / "pack"
        for arguments, said in (
            (("pack-objects", "--quiet", "--honor-pack-keep", str(base)), given),
            (("prune-packed", "--quiet"), b""),
        ):
            try:
                need(self._command.run(arguments, git_dir=mirror, given=said, settings={}), DamagedMirror)
            except TimedOut as error:
                raise DamagedMirror(str(error)) from error


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedMirror(f"{path.name} is no file")
        yield descriptor
    finally:
        os.close(descriptor)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with _reading(path) as descriptor:
            while chunk := os.read(descriptor, _CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DamagedMirror(f"{path.name}: {error.strerror}") from error
    return digest.digest()


def _packs(directory: Path) -> Iterator[str]:
    """Return the names of the packs that have an index. Raises DamagedMirror."""
    found = dict(_entries(directory))
    for name, is_file in found.items():
        stem, dot, kind = name.rpartition(".")
        if kind != "pack" or f"{stem}{dot}idx" not in found:
            continue
        if not is_file or not found[f"{stem}.idx"]:
            raise DamagedMirror(f"{name} is no file")
        yield stem


def _loose(objects: Path) -> Iterator[str]:
    for name, _ in _entries(objects):
        if len(name) == _FANOUT and set(name) <= set("0123456789abcdef"):
            for rest, is_file in _entries(objects / name):
                if not is_file:
                    raise DamagedMirror(f"{name}{rest} is no file")
                if set(rest) <= set("0123456789abcdef"):
                    yield f"{name}{rest}"


def _entries(directory: Path) -> Iterator[tuple[str, bool]]:
    """Return what is in a directory, and whether it is a file. Raises DamagedMirror for no directory."""
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            raise DamagedMirror(f"{directory.name} is no directory")
        with os.scandir(directory) as found:
            yield from [(entry.name, entry.is_file(follow_symlinks=False)) for entry in found]
    except OSError as error:
        raise DamagedMirror(f"{directory.name}: {error.strerror}") from error


def _link(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        if os.path.samestat(source.lstat(), target.lstat()):
            return
        remove_tree(target)
    try:
        os.link(source, target, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    try:
        with _reading(source) as descriptor, target.open("xb") as copy:
            while chunk := os.read(descriptor, _CHUNK):
                copy.write(chunk)
    except PermissionError as error:
        raise DamagedMirror(f"{source.name}: {error.strerror}") from error
