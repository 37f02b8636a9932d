"""A disk in memory that keeps after a crash what was synced, and of the rest what chance leaves.

It is as unkind as POSIX allows. What a file holds is durable once the file was synced, what names a directory has once
the directory was: of everything since, a crash keeps any part. For a file that is its first few writes, the last of
them perhaps torn or all zeros (the size came before the data); for each name in a directory any of the files it stood
for since, so that a rename may have happened in one directory and not in the other.
"""

from __future__ import annotations

import enum
import errno
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define, field, frozen

from buildtool.adapters.storage.filesystem import FileStatus, OpenMode

ZEROS = 0.2
"""How likely the last write that a crash keeps is zeros."""


class Crashed(BaseException):
    """The machine went down. Nothing catches this but the test, and no operation does anything from here on."""


class Fault(enum.Enum):
    """What may be done to an operation."""

    FULL = "full"
    """No room: ENOSPC for whatever needs some. Part of a write may be there."""
    ERROR = "error"
    """EIO. Part of a write may be there; after a failed sync, what was not synced will never be."""
    SLOW = "slow"
    """It takes long, which the hook is told; then it is done."""


@frozen
class Operation:
    """One operation on a disk: its number from 0 on, the method's name, and the path it is about."""

    number: int
    name: str
    path: str


@define
class _Write:
    """A change of what a file holds, since the last sync: bytes at the end, or a new length."""

    data: bytes
    length: int | None = None
    doomed: bool = False

    def apply(self, to: bytearray) -> None:
        if self.length is None:
            to += bytes(len(self.data)) if self.doomed else self.data
        else:
            del to[self.length :]


@define(eq=False)
class _File:
    inode: int
    mtime_ns: int
    data: bytearray = field(factory=bytearray)
    durable: bytes = b""
    writes: list[_Write] = field(factory=list)
    links: int = 0
    opened: int = 0

    def sync(self) -> None:
        self.durable = self._replayed(len(self.writes)) if any(w.doomed for w in self.writes) else bytes(self.data)
        self.writes.clear()

    def lose(self, chance: random.Random) -> bool:
        """Keep what a crash leaves; say whether that is only part of a write."""
        kept = chance.randint(0, len(self.writes))
        last = None if kept == len(self.writes) else self.writes[kept]
        data, torn = bytearray(self._replayed(kept)), False
        if last is not None and last.data:
            part = last.data[: chance.randint(0, len(last.data))]
            torn = 0 < len(part) < len(last.data)
            data += bytes(len(part)) if last.doomed or chance.random() < ZEROS else part
        self.durable, self.data = bytes(data), data
        self.writes.clear()
        return torn

    def _replayed(self, count: int) -> bytes:
        data = bytearray(self.durable)
        for write in self.writes[:count]:
            write.apply(data)
        return bytes(data)


@define(eq=False)
class _Directory:
    inode: int
    mtime_ns: int
    entries: dict[str, _File | _Directory] = field(factory=dict)
    durable: dict[str, _File | _Directory] = field(factory=dict)
    since: dict[str, list[_File | _Directory | None]] = field(factory=dict)
    """For each name that was changed since the last sync, what it has stood for, in order."""

    def put(self, name: str, node: _File | _Directory | None) -> None:
        self.since.setdefault(name, []).append(node)
        if node is None:
            del self.entries[name]
        else:
            self.entries[name] = node

    def sync(self) -> None:
        self.durable = dict(self.entries)
        self.since.clear()

    def lose(self, chance: random.Random) -> bool:
        """Keep what a crash leaves; say whether that is less than there was."""
        before = self.entries
        self.entries = dict(self.durable)
        for name, history in self.since.items():
            kept = chance.choice([self.durable.get(name), *history])
            self.entries.pop(name, None)
            if kept is not None:
                self.entries[name] = kept
        self.sync()
        return self.entries != before


@define
class _Handle:
    file: _File
    mode: OpenMode
    path: Path


class SimulatedDisk:
    """Implements ``Disk``. Everything that happens by chance is drawn from ``chance``, so a seed repeats it.

    ``capacity`` is in bytes, or None without bound. ``fault`` is asked before each operation what is to go wrong with
    it, and ``slow`` is told of those that take long. At the operation whose number is ``crash_at`` the machine goes
    down: this one and all later ones raise Crashed, until ``crash`` brings it up again. ``counts`` says how often each
    kind of trouble came: ``full``, ``error``, ``slow``, ``failed sync``, ``torn write``, ``lost name``, ``crash``.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        capacity: int | None = None,
        fault: Callable[[Operation], Fault | None] | None = None,
        slow: Callable[[Operation], None] | None = None,
    ) -> None:
        self._chance = chance
        self.capacity = capacity
        self.fault = fault
        self.slow = slow
        self.crash_at: int | None = None
        self.operations = 0
        self.counts: Counter[str] = Counter()
        self._down = False
        self._used = 0
        self._inodes = 1
        self._handles: dict[int, _Handle] = {}
        self._last_handle = 2
        self._first_handle = 3
        self._root = _Directory(1, 0)

    # --- what a test does to it ------------------------------------------------------------------------

    def crash(self) -> None:
        """Cut the power: keep what was synced and some of the rest, close all files, and come up again."""
        self.stop()
        self.counts["crash"] += 1
        self._lose_names()
        self._used = 0
        for node in _files(self._root):
            if not node.links:
                self.counts["torn write"] += node.lose(self._chance)
                self._used += len(node.data)
            node.links += 1

    def stop(self) -> None:
        """End the program that uses it, as kill -9 does: its files are closed, and nothing is lost.

        What is left of that program in memory may still close them, and whatever else it does to them raises Crashed.
        """
        for handle in self._handles.values():
            self._close(handle)
        self._handles.clear()
        self._first_handle = self._last_handle + 1
        self._down = False
        self.crash_at = None

    def files(self, path: Path | None = None) -> dict[str, bytes]:
        """Return what all files hold, by their paths; only those below ``path`` when there is one."""
        start = self._root if path is None else self._find(path)
        assert isinstance(start, _Directory)
        prefix = "" if path is None else f"{path}/"
        return {f"{prefix}{name}": bytes(node.data) for name, node in _walk(start) if isinstance(node, _File)}

    def put(self, path: Path, data: bytes) -> None:
        """Have a file, and the directories above it, that were there before the first operation."""
        place = self._root
        for name in _parts(path.parent):
            found = place.entries.get(name)
            if found is None:
                found = _Directory(self._inode(), self._now())
                place.put(name, found)
                place.sync()
            assert isinstance(found, _Directory)
            place = found
        file = _File(self._inode(), self._now(), bytearray(data), data, links=1)
        self._drop(place.entries.get(path.name))
        place.put(path.name, file)
        place.durable[path.name] = file
        del place.since[path.name]
        self._used += len(data)

    def damage(self, path: Path) -> None:
        """Turn one bit of a file over, behind the file system's back."""
        file = self._find(path)
        assert isinstance(file, _File)
        assert file.data
        position = self._chance.randrange(len(file.data))
        file.data[position] ^= 1 << self._chance.randrange(8)
        file.durable = bytes(file.data)
        file.writes.clear()

    # --- Disk ------------------------------------------------------------------------------------------

    def open(self, path: Path, mode: OpenMode) -> int:
        self._begin("open", path, needs_room=not self._there(path))
        directory, name = self._place(path)
        node = directory.entries.get(name)
        if node is None:
            if mode in {OpenMode.READ, OpenMode.APPEND}:
                raise _error(errno.ENOENT, path)
            node = _File(self._inode(), self._now(), links=1)
            directory.put(name, node)
        elif mode is OpenMode.NEW:
            raise _error(errno.EEXIST, path)
        elif isinstance(node, _Directory):
            if mode is not OpenMode.READ:
                raise _error(errno.EISDIR, path)
            raise AssertionError(f"{path} is a directory, and no store opens one but to sync it")
        elif mode is OpenMode.EMPTY:
            self._cut(node, 0)
        node.opened += 1
        self._last_handle += 1
        self._handles[self._last_handle] = _Handle(node, mode, path)
        return self._last_handle

    def close(self, file: int) -> None:
        handle = self._handles.pop(file, None)
        if handle is not None:
            self._close(handle)
        elif file >= self._first_handle:
            raise _error(errno.EBADF)

    def pread(self, file: int, size: int, position: int) -> bytes:
        handle = self._handle("pread", file)
        return bytes(handle.file.data[position : position + size])

    def append(self, file: int, data: bytes) -> None:
        trouble: OSError | None = None
        try:
            handle = self._handle("append", file, needs_room=True)
        except OSError as error:
            handle, trouble = self._open(file), error
            data = data[: self._chance.randint(0, max(len(data) - 1, 0))]
        if handle.mode is OpenMode.READ and data:  # nothing is written without a call
            raise _error(errno.EBADF)
        room = len(data) if self.capacity is None else max(self.capacity - self._used, 0)
        if len(data) > room:
            self.counts[Fault.FULL.value] += 1
            data, trouble = data[:room], _error(errno.ENOSPC)
        if data:
            handle.file.data += data
            handle.file.writes.append(_Write(bytes(data)))
            handle.file.mtime_ns = self._now()
            self._used += len(data)
        if trouble is not None:
            raise trouble

    def truncate(self, file: int, size: int) -> None:
        handle = self._handle("truncate", file)
        if handle.mode is OpenMode.READ:
            raise _error(errno.EINVAL)
        assert size <= len(handle.file.data), "no store makes a file longer but by writing"
        self._cut(handle.file, size)

    def status(self, file: int) -> FileStatus:
        return _status(self._handle("status", file).file)

    def sync(self, file: int) -> None:
        try:
            handle = self._handle("sync", file)
        except OSError:
            self.counts["failed sync"] += 1
            for write in self._open(file).file.writes:
                write.doomed = True
            raise
        handle.file.sync()

    def sync_directory(self, path: Path) -> None:
        self._begin("sync_directory", path)
        self._directory(path).sync()

    def look(self, path: Path) -> FileStatus:
        self._begin("look", path)
        return _status(self._find(path))

    def names(self, path: Path) -> list[str]:
        self._begin("names", path)
        return list(self._directory(path).entries)

    def make_directory(self, path: Path) -> None:
        self._begin("make_directory", path, needs_room=not self._there(path))
        directory, name = self._place(path)
        if name in directory.entries:
            raise _error(errno.EEXIST, path)
        directory.put(name, _Directory(self._inode(), self._now()))

    def remove_directory(self, path: Path) -> None:
        self._begin("remove_directory", path)
        if self._directory(path).entries:
            raise _error(errno.ENOTEMPTY, path)
        directory, name = self._place(path)
        directory.put(name, None)

    def rename(self, source: Path, target: Path) -> None:
        self._begin("rename", source, needs_room=True)
        (old, old_name), (new, new_name) = self._place(source), self._place(target)
        node, replaced = self._find(source), new.entries.get(new_name)
        assert isinstance(node, _File), "no store renames a directory"
        if isinstance(replaced, _Directory):
            # Linux looks first whether the file lies in what it is to replace.
            raise _error(errno.ENOTEMPTY if source.is_relative_to(target) else errno.EISDIR, target)
        if node is replaced:
            return  # two names of one file: POSIX has both of them stay
        self._drop(replaced)
        new.put(new_name, node)
        old.put(old_name, None)

    def link(self, source: Path, target: Path) -> None:
        self._begin("link", source, needs_room=True)
        node = self._find(source)
        directory, name = self._place(target)
        if name in directory.entries:
            raise _error(errno.EEXIST, target)
        assert isinstance(node, _File), "no system links directories"
        node.links += 1
        directory.put(name, node)

    def unlink(self, path: Path) -> None:
        self._begin("unlink", path)
        node = self._find(path)
        if isinstance(node, _Directory):
            raise _error(errno.EISDIR, path)
        directory, name = self._place(path)
        directory.put(name, None)
        self._drop(node)

    def free(self, path: Path) -> int:
        self._begin("free", path)
        self._find(path)
        return 2**62 if self.capacity is None else max(self.capacity - self._used, 0)

    # --- inside ----------------------------------------------------------------------------------------

    def _begin(self, name: str, path: Path, *, needs_room: bool = False) -> None:
        """Count an operation, and do to it what is to be done."""
        if self._down or self.operations == self.crash_at:
            self._down = True
            raise Crashed
        operation = Operation(self.operations, name, str(path))
        self.operations += 1
        fault = None if self.fault is None else self.fault(operation)
        if fault is None or (fault is Fault.FULL and not needs_room):
            return
        self.counts[fault.value] += 1
        if fault is Fault.SLOW:
            if self.slow is not None:
                self.slow(operation)
            return
        raise _error(errno.ENOSPC if fault is Fault.FULL else errno.EIO, path)

    def _handle(self, name: str, number: int, *, needs_room: bool = False) -> _Handle:
        handle = self._open(number)
        self._begin(name, handle.path, needs_room=needs_room)
        return handle

    def _open(self, number: int) -> _Handle:
        if self._down or number < self._first_handle:
            raise Crashed
        if number not in self._handles:
            raise _error(errno.EBADF)
        return self._handles[number]

    def _close(self, handle: _Handle) -> None:
        handle.file.opened -= 1
        self._let_go(handle.file)

    def _drop(self, node: _File | _Directory | None) -> None:
        """A name of a file is gone."""
        if isinstance(node, _File):
            node.links -= 1
            self._let_go(node)

    def _let_go(self, file: _File) -> None:
        if not file.links and not file.opened:
            self._used -= len(file.data)

    def _cut(self, file: _File, size: int) -> None:
        self._used -= len(file.data) - size
        del file.data[size:]
        file.writes.append(_Write(b"", size))
        file.mtime_ns = self._now()

    def _lose_names(self) -> None:
        """Lose names, from the top down; what is left has its links to be counted anew."""
        waiting = [self._root]
        while waiting:
            here = waiting.pop()
            for node in [*here.durable.values(), *(one for past in here.since.values() for one in past)]:
                if isinstance(node, _File):
                    node.links = 0
            self.counts["lost name"] += here.lose(self._chance)
            waiting += [node for node in here.entries.values() if isinstance(node, _Directory)]

    def _inode(self) -> int:
        self._inodes += 1
        return self._inodes

    def _now(self) -> int:
        """A time that is later with each operation."""
        return self.operations + 1

    def _find(self, path: Path) -> _File | _Directory:
        node: _File | _Directory = self._root
        for name in _parts(path):
            if isinstance(node, _File):
                raise _error(errno.ENOTDIR, path)
            if name not in node.entries:
                raise _error(errno.ENOENT, path)
            node = node.entries[name]
        return node

    def _there(self, path: Path) -> bool:
        try:
            self._find(path)
        except OSError:
            return False
        return True

    def _directory(self, path: Path) -> _Directory:
        node = self._find(path)
        if isinstance(node, _File):
            raise _error(errno.ENOTDIR, path)
        return node

    def _place(self, path: Path) -> tuple[_Directory, str]:
        return self._directory(path.parent), path.name


def _walk(directory: _Directory, prefix: str = "") -> Iterator[tuple[str, _File | _Directory]]:
    for name, node in directory.entries.items():
        yield f"{prefix}{name}", node
        if isinstance(node, _Directory):
            yield from _walk(node, f"{prefix}{name}/")


def _files(directory: _Directory) -> list[_File]:
    return [node for _, node in _walk(directory) if isinstance(node, _File)]


def _parts(path: Path) -> tuple[str, ...]:
    assert ".." not in path.parts, path
    return path.parts[1:] if path.is_absolute() else path.parts


def _status(node: _File | _Directory) -> FileStatus:
    if isinstance(node, _File):
        return FileStatus(
            node.inode, len(node.data), node.mtime_ns, node.links, plain=True, directory=False, ctime_ns=node.mtime_ns
        )
    return FileStatus(node.inode, 0, node.mtime_ns, 2, plain=False, directory=True, ctime_ns=node.mtime_ns)


def _error(number: int, path: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([str(path)] if path is not None else []))
