"""Deleting, and reading with care, whatever a build left behind.

Links are never followed, mounts are taken away first (a bind mount within one file system has the same device on both
sides, so it is only the kernel's table that tells), nothing is opened but directories, and depth costs neither
recursion nor descriptors: what lies deeper is moved up first. What may not be written (Go's module cache) is made
writable.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path

_MOVED = ".deleted"
"""How a directory is called that was moved up to be deleted; two numbers follow."""

_ROUNDS = 3
"""How often a directory is emptied that is not empty after all."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# From linux/fs.h: the flags of chattr(1) that keep even root from deleting.
_GET_FLAGS, _SET_FLAGS, _KEEPING = 0x80086601, 0x40086602, 0x10 | 0x20
_NO_FLAGS, _FLAGS = bytes(8), struct.Struct("=q")
_ATTRIBUTES = frozenset({"security.capability", "system.posix_acl_access", "system.posix_acl_default"})
_TABLE = Path("/proc/self/mountinfo")
_DETACH, _NO_FOLLOW = 2, 8
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_PLAIN_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
"""Of what the kernel's table escapes nothing."""

_PLACE = 4

_ON_LINUX = sys.platform == "linux"
_AS_ROOT = _ON_LINUX and os.geteuid() == 0


def never() -> None:
    """Perform no check."""


def remove_tree(path: Path, check: Callable[[], None] = never) -> None:
    """Delete ``path``, if it is there, whatever its depth and modes. Blocks.

    ``check`` is called between small steps: what it raises ends the deleting, and the rest may be deleted later.
    Raises OSError for what cannot be deleted.
    """
    detach_mounts(path, itself=True)
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(parent, path.name, check)
    finally:
        os.close(parent)


def remove_at(parent: int, name: str, check: Callable[[], None] = never) -> None:
    """Delete what is called ``name`` in an open directory, as ``remove_tree`` does."""
    try:
        top = open_directory(parent, name)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        _unlink(parent, name)
        return
    try:
        _Removal(top, check).run()
    finally:
        os.close(top)  # first: a file system is slow to let go of what is deleted while it is open
    _allowed(parent, name, lambda: os.rmdir(name, dir_fd=parent))


def open_directory(parent: int, name: str) -> int:
    """Open a directory for reading, made accessible if need be. Raises NotADirectoryError for all else, links too."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)
        return os.open(name, _DIRECTORY, dir_fd=parent)


def plain_bytes(path: Path, most: int = 1 << 20) -> bytes:
    """Return what is in a file of at most ``most`` bytes; nothing else is opened or waited for. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise OSError(errno.EINVAL, "it is no file of ours", os.fspath(path))
        return stream.read(most)


class _Removal:
    """Empties one open directory. Those in it are moved up to it before they are emptied: no path grows with depth."""

    def __init__(self, top: int, check: Callable[[], None]) -> None:
        self._top = top
        self._check = check
        self._numbers = count(1)
        self._waiting: list[str] = []

    def run(self) -> None:
        """Empty it. Raises OSError, and what ``check`` raises."""
        self._empty(self._top)
        while self._waiting:
            name = self._waiting.pop()
            for left in reversed(range(_ROUNDS)):
                here = open_directory(self._top, name)
                try:
                    self._empty(here)
                finally:
                    os.close(here)
                if self._is_removed(name, last=not left):
                    break

    def _empty(self, here: int) -> None:
        """Delete the files of a directory, and let what is below it wait."""
        _thaw(here)
        if stat.S_IMODE(os.fstat(here).st_mode) & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(here, stat.S_IRWXU)
        with os.scandir(here) as entries:
            for entry in entries:
                self._check()
                if not entry.is_dir(follow_symlinks=False):
                    _unlink(here, entry.name)
                elif here == self._top:
                    self._waiting.append(entry.name)
                else:
                    self._waiting.append(self._move_up(here, entry.name))

    def _move_up(self, here: int, name: str) -> str:
        new = self._free_name()
        os.close(open_directory(here, name))
        # Only who may write in a directory may move it.
        _allowed(here, name, lambda: os.chmod(name, stat.S_IRWXU, dir_fd=here))
        _allowed(here, name, lambda: os.rename(name, new, src_dir_fd=here, dst_dir_fd=self._top))
        return new

    def _is_removed(self, name: str, *, last: bool) -> bool:
        try:
            _allowed(self._top, name, lambda: os.rmdir(name, dir_fd=self._top))
        except OSError as error:
            if last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def _free_name(self) -> str:
        """Return a name in the directory that nothing has: a build, or a deleting that was cut short, may have some."""
        for number in self._numbers:
            name = f"{_MOVED}-{os.getpid()}-{number}"
            try:
                os.stat(name, dir_fd=self._top, follow_symlinks=False)
            except FileNotFoundError:
                return name
        raise AssertionError("numbers do not end")


def _unlink(parent: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        _allowed(parent, name, lambda: os.unlink(name, dir_fd=parent))


def _allowed(parent: int, name: str, act: Callable[[], None]) -> None:
    """Do something to what is in a directory; if that is not allowed, once more without what forbids it."""
    try:
        act()
    except PermissionError:
        _thaw(parent)
        kind = stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        if kind in {stat.S_IFREG, stat.S_IFDIR}:
            with contextlib.suppress(OSError):
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
                try:
                    _thaw(opened)
                finally:
                    os.close(opened)
        act()


def thaw(path: Path) -> None:
    """Take from a directory what chattr(1) may have put on it that would keep it as it is. Raises OSError."""
    opened = os.open(path, _DIRECTORY)
    try:
        _thaw(opened)
    finally:
        os.close(opened)


def thaw_all(*paths: Path) -> None:
    """Take from files, and directories with all in them, what chattr(1) may have put on them. Blocks."""
    if not _AS_ROOT:
        return
    for top in paths:
        inside = [Path(parent, name) for parent, below, names in os.walk(top) for name in (*below, *names)]
        for one in (top, *inside):
            with contextlib.suppress(OSError):
                if stat.S_IFMT(one.lstat().st_mode) in {stat.S_IFREG, stat.S_IFDIR}:
                    opened = os.open(one, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                    try:
                        _thaw(opened)
                    finally:
                        os.close(opened)


def make_plain(opened: int, status: os.stat_result, owner: int = 0) -> bool:
    """Take from an open file or directory what builds may have put on it beside its mode; say if there was any.

    That is who owns it, unless that is ``owner`` (of what root makes), and the flags of chattr(1), as far as root's
    builds can set them, access control lists (those of a directory rule the modes of all that is made in it),
    capabilities, and attributes of users. Raises OSError.
    """
    found = _AS_ROOT and _thaw(opened)
    if _AS_ROOT and status.st_uid != owner:
        with contextlib.suppress(OSError):  # a file system of another machine may give all to one user
            os.fchown(opened, owner, owner)
            found = True
    names = _listed(opened)
    return _stripped(opened, names) or found if names else found


def _stripped(opened: int, names: Iterable[str]) -> bool:
    """Take from an open file or directory those of its extended attributes that builds may have put on it."""
    found = False
    for name in names:
        if name in _ATTRIBUTES:
            os.removexattr(opened, name)
        elif name.startswith("user."):
            with contextlib.suppress(OSError):  # it does nothing
                os.removexattr(opened, name)
        else:
            continue
        found = True
    return found


def make_plain_directory(path: Path, mode: int) -> None:
    """Make a directory have this mode, and nothing else that a build may have put on it. Raises OSError."""
    try:
        opened = os.open(path, _DIRECTORY)
    except PermissionError:
        path.chmod(mode)
        opened = os.open(path, _DIRECTORY)
    try:
        found = os.fstat(opened)
        if make_plain(opened, found) or stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(opened, mode)
    finally:
        os.close(opened)


def _listed(opened: int) -> Sequence[str]:
    """Return the names of extended attributes, none where there can be none."""
    if not _ON_LINUX:
        return ()
    try:
        return os.listxattr(opened)
    except OSError:
        return ()


def _thaw(opened: int) -> bool:
    """Take from an open file or directory what chattr(1) may have put on it: only root's builds can do that."""
    if not _AS_ROOT:
        return False
    try:
        (flags,) = _FLAGS.unpack(fcntl.ioctl(opened, _GET_FLAGS, _NO_FLAGS))
        if flags & _KEEPING:
            fcntl.ioctl(opened, _SET_FLAGS, _FLAGS.pack(flags & ~_KEEPING))
            return True
    except OSError:
        pass  # a file system without flags
    return False


# --- mounts ---------------------------------------------------------------------------------------------


def detach_mounts(path: Path, *, itself: bool) -> None:
    """Take away whatever is mounted below ``path``, or on ``itself`` too. Blocks.

    Raises OSError, naming the place, for what this user may not unmount: nothing of the tree may be touched then.
    """
    try:
        table = _TABLE.read_bytes()
    except FileNotFoundError:
        return  # not Linux
    name = os.fsencode(path.name)
    if _PLAIN_NAME.issuperset(name) and b"/" + name not in table:
        return  # a place below would have the name in it, as it is; to find where a path leads takes longer
    for place in reversed(mounted(table, os.fsencode(Path(os.path.realpath(path.parent)) / path.name), itself=itself)):
        _detach(place)


def mounted(table: bytes, top: bytes, *, itself: bool) -> list[bytes]:
    """Return the places of mounts below ``top`` according to the kernel's table, in the order of their mounting."""
    found = []
    for line in table.splitlines():
        words = line.split(b" ")
        if len(words) > _PLACE:
            place = _ESCAPED.sub(lambda one: bytes([int(one[1], 8)]), words[_PLACE])
            if place.startswith(top.rstrip(b"/") + b"/") or (itself and place == top):
                found.append(place)
    return found


def _detach(place: bytes) -> None:
    unmount = ctypes.CDLL(None, use_errno=True).umount2
    if unmount(place, _DETACH | _NO_FOLLOW) != 0 and ctypes.get_errno() not in {errno.EINVAL, errno.ENOENT}:
        why = os.strerror(ctypes.get_errno())
        raise OSError(errno.EBUSY, f"something is mounted there, and cannot be unmounted ({why})", os.fsdecode(place))
