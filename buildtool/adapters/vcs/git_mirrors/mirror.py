"""A mirror on disk: made, found to be as it was left, and made anew when it is not.

A mirror that any disk, hand or program has damaged must neither answer wrongly nor be taken for a fault of its origin.
So before it is written to, and whenever git fails in it, it is compared with how it was left (``stamp``); one that
differs is read through, and one in which anything is not as its name says is made anew from all that can be read.
Everything here blocks, and whoever calls it holds the mirror's lock.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from buildtool.adapters.storage.trees import plain_bytes, remove_tree, thaw_all
from buildtool.adapters.vcs.git.command import NOWHERE, GitCommand, explain, need
from buildtool.adapters.vcs.git.gitdir import Tag
from buildtool.adapters.vcs.git.ids import SHA1_DIGITS, SHA256_DIGITS, RepositoryObjects, loose
from buildtool.adapters.vcs.git_mirrors.looks import PASSING, look, stamp
from buildtool.adapters.vcs.git_mirrors.salvage import salvage, text_of
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import mask
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.errors import MachineFault

KNOWN_LIMIT = 20_000
"""How many commit ids are remembered per mirror as being there."""

READ_LIMIT = 3_600.0
"""Seconds that reading a whole mirror through may take."""

SOUND_FOR = 600.0
"""Seconds for which a mirror that was read through and found sound is not suspected again."""

log = Logger()

_HEAD = b"ref: refs/heads/main\n"
_OF_SUBMODULES = re.compile(r"submodule\..*\.(?:url|active)\n", re.DOTALL)


@define(eq=False)
class Mirror:
    """One repository's mirror on disk, and what is known of it without asking git.

    A thread that writes in it, or adds a work tree to it, holds ``lock``. ``owed`` are pins that got lost with a mirror
    that was made anew, and are set again once their commits are there. Before ``sound_until``, in seconds of the
    monotonic clock, it is not read through again only because git failed in it. ``tags`` are those of an origin on this
    machine, with the state in which it had them. ``seen`` is how it looked when it was seen to, or "".
    """

    url: str
    path: Path
    lock: DeferredLock = field(factory=DeferredLock)
    known: OrderedDict[str, None] = field(factory=OrderedDict)
    pinned: OrderedDict[str, None] = field(factory=OrderedDict)
    owed: set[str] = field(factory=set)
    sound_until: float = float("-inf")
    tags: tuple[str, dict[str, Tag]] | None = None
    seen: str = ""
    _settings: str = field(init=False)
    _read: tuple[int, ...] = field(default=(), init=False)
    _digits: int = field(default=0, init=False)

    @_settings.default
    def _path_of_settings(self) -> str:
        return str(self.settings)

    @property
    def settings(self) -> Path:
        """Where the mirror's own configuration is kept as it was made."""
        return self.path.with_suffix(".config")

    @property
    def stamp(self) -> Path:
        """Where is kept how the mirror was left."""
        return self.path.with_suffix(".stamp")

    @property
    def old(self) -> Path:
        """Where a damaged mirror is while another one takes its place."""
        return self.path.with_name(f"{self.path.name}.old")

    @property
    def digits(self) -> int:
        """How long the mirror's ids are, in hex digits; 0 when it was not made yet.

        Asked for with every request: what the file says is read when it is another than it was.
        """
        try:
            found = os.lstat(self._settings)
            state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            if state != self._read:
                said = plain_bytes(self.settings)
                self._digits, self._read = SHA256_DIGITS if b"sha256" in said else SHA1_DIGITS, state
        except OSError:
            return 0
        return self._digits

    def forget(self) -> None:
        """Forget what is known of the mirror; what was pinned is owed."""
        self.owed.update(self.pinned)
        self.known.clear()
        self.pinned.clear()

    def remember(self, commit: str) -> str:
        """Remember that ``commit`` is a commit of the mirror, and return it."""
        return remember(self.known, commit)


def remember(ids: OrderedDict[str, None], commit: str) -> str:
    """Remember ``commit`` among ``ids``, of which the oldest goes when they are too many, and return it."""
    keep_newest(ids, commit, None, KNOWN_LIMIT)
    return commit


class MirrorKeeper:
    """A keeper of mirrors: makes them, and checks that they are sound."""

    def __init__(self, command: GitCommand) -> None:
        self._command = command

    def objects(self, mirror: Mirror) -> RepositoryObjects:
        """Return what asks the mirror about its objects."""
        return RepositoryObjects(self._command, mirror.path, mirror.digits)

    def make(self, mirror: Mirror, digits: int) -> None:
        """Make the mirror unless it is there with ids of so many digits. Raises MachineFault."""
        if mirror.path.exists():
            if mirror.digits == digits:
                return
            log.warn("{url} has ids of another kind than before: its mirror is made anew", url=mask(mirror.url))
            self._attempt(mirror, lambda: remove_tree(mirror.path))
            mirror.forget()
            mirror.owed.clear()
        self._attempt(mirror, lambda: self._init(mirror, digits).rename(mirror.path))
        self.left(mirror)

    def see_to(self, mirror: Mirror, *, thorough: bool = False) -> bool:
        """Check a mirror that is there, and repair it; return whether it had to be made anew.

        One that is as it was left is not read, unless ``thorough`` and not read just before. Raises MachineFault.
        """
        suspected = thorough and time.monotonic() >= mirror.sound_until
        if not suspected and self.is_untouched(mirror):
            return False
        mirror.seen, seen = "", look_of(mirror)
        if os.path.lexists(mirror.path):
            thaw_all(mirror.path, mirror.stamp, mirror.settings)
            if why := unfit(mirror.path):
                self.make_anew(mirror, why)
                return True
            self._attempt(mirror, lambda: unlock(mirror.path))
            as_left = self._is_as_left(mirror)
            if as_left and not suspected:
                mirror.seen = seen
                return False
            why = self._fault(mirror)
            if not why:
                mirror.sound_until = time.monotonic() + SOUND_FOR
                if not as_left:
                    mirror.forget()
                    self.left(mirror)
                return False
        elif mirror.old.exists():
            why = "it was being made anew when the program ended"
        elif mirror.digits or mirror.known or mirror.pinned:
            why = "it is gone"
        else:
            return False
        self.make_anew(mirror, why)
        return True

    def is_untouched(self, mirror: Mirror) -> bool:
        """Return whether nothing was done to the mirror since it was checked: what was found then still holds."""
        return bool(mirror.seen) and look_of(mirror) == mirror.seen

    def left(self, mirror: Mirror) -> None:
        """Record how the mirror is: whatever differs from that later was not done by this program."""
        if self.is_untouched(mirror):
            return
        fresh = mirror.stamp.with_suffix(".stamp-new")

        def write() -> None:
            now = stamp(mirror.path).encode("ascii")
            if _said(mirror.stamp) != now:
                remove_tree(fresh)
                fresh.write_bytes(now)
                fresh.replace(mirror.stamp)

        self._attempt(mirror, write)

    def is_harmless(self, mirror: Mirror) -> bool:
        """Return whether the settings differ only by what git itself notes of submodules."""

        def names(path: Path) -> set[str] | None:
            answer = self._command.run(("config", "--file", str(path), "--null", "--list"), git_dir=NOWHERE)
            entries = answer.text.split("\0")
            return None if answer.code else {entry for entry in entries if not _OF_SUBMODULES.match(entry)}

        now = names(mirror.path / "config")
        return now is not None and now == names(mirror.settings)

    def _is_as_left(self, mirror: Mirror) -> bool:
        try:
            if plain_bytes(mirror.stamp) != stamp(mirror.path).encode("ascii"):
                return False
            return plain_bytes(mirror.path / "config") == plain_bytes(mirror.settings)
        except OSError:
            return False

    def _fault(self, mirror: Mirror) -> str:
        """Read the whole mirror and return what is wrong with it, "" if nothing is."""
        try:
            if plain_bytes(mirror.path / "HEAD") != _HEAD:
                return "its HEAD is not as it was made"
            changed = plain_bytes(mirror.path / "config") != plain_bytes(mirror.settings)
            if changed and not self.is_harmless(mirror):
                return "its configuration is not as it was made"
            return self._fault_of_packs(mirror) or self._fault_of_files(mirror) or self._fault_of_links(mirror)
        except OSError as error:
            return f"{error.strerror}: {error.filename}"
        except TimedOut as error:
            raise MachineFault(f"cannot read the mirror {mirror.path} through: {error}") from error

    def _fault_of_packs(self, mirror: Mirror) -> str:
        names = {one.name for one in (mirror.path / "objects" / "pack").iterdir()}
        packs = {name.removesuffix(".pack") for name in names if name.endswith(".pack")}
        lone = packs ^ {name.removesuffix(".idx") for name in names if name.endswith(".idx")}
        if lone:
            return f"of {min(lone)} either pack or index is missing"
        if not packs:
            return ""
        indexes = [str(mirror.path / "objects" / "pack" / f"{one}.idx") for one in sorted(packs)]
        answer = self._command.run(("verify-pack", *indexes), git_dir=mirror.path, limit=READ_LIMIT)
        return explain(answer) if answer.code else ""

    def _fault_of_files(self, mirror: Mirror) -> str:
        return next(
            (f"the object {one} is damaged" for one, sound in loose(mirror.path, mirror.digits) if not sound), ""
        )

    def _fault_of_links(self, mirror: Mirror) -> str:
        arguments = ("fsck", "--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress")
        answer = self._command.run(arguments, git_dir=mirror.path, limit=READ_LIMIT)
        return (explain(answer) if answer.err.strip() else answer.text.splitlines()[-1][:200]) if answer.code else ""

    def make_anew(self, mirror: Mirror, why: str) -> None:
        """Put a new mirror with all that can be read of the old one in its place. Raises MachineFault."""
        words = {"path": mirror.path, "url": mask(mirror.url), "why": why}
        log.warn("the mirror {path} of {url} is damaged, and made anew: {why}", **words)
        digits = mirror.digits or likely_digits(mirror)
        mirror.forget()

        def replace() -> None:
            if os.path.lexists(mirror.path):
                remove_tree(mirror.old)
                mirror.path.rename(mirror.old)
            new = self._init(mirror, digits)
            if mirror.old.is_dir() and not mirror.old.is_symlink():
                make_fit(mirror.old)
                mirror.owed |= salvage(self._command, mirror.old, new, digits, mirror.owed)
            new.rename(mirror.path)
            remove_tree(mirror.old)

        self._attempt(mirror, replace)
        self.left(mirror)

    def _init(self, mirror: Mirror, digits: int) -> Path:
        """Return an empty repository that is to become the mirror."""
        new = mirror.path.with_name(f"{mirror.path.name}.new")
        remove_tree(new)
        new.parent.mkdir(exist_ok=True)  # and no more: a state directory that was moved away comes back to its place
        form = "sha256" if digits == SHA256_DIGITS else "sha1"
        arguments = ("init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(new))
        need(self._command.run(arguments), MachineFault, f"cannot make the mirror {mirror.path}: ")
        remove_tree(mirror.settings)
        shutil.copyfile(new / "config", mirror.settings)
        return new

    def _attempt(self, mirror: Mirror, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            raise MachineFault(f"cannot keep the mirror {mirror.path}: {error.strerror}") from error


def _said(stamp_file: Path) -> bytes:
    """Return how a mirror was left, b"" where nothing says so."""
    try:
        return plain_bytes(stamp_file)
    except OSError:
        return b""


def look_of(mirror: Mirror) -> str:
    """Return how a mirror looks, with the files beside it that say how it was left and made."""
    return look(mirror.path, mirror.stamp, mirror.settings)


def unfit(mirror: Path) -> str:
    """Return why no program may be let into a mirror, or "": all in it must be directories and readable files.

    What else a build may have put there (a FIFO, a link) would be waited for, or followed.
    """
    inside = [os.fspath(mirror)]
    while inside:
        directory = inside.pop()
        try:
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                return f"{os.path.relpath(directory, mirror)} is no directory"
            with os.scandir(directory) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        inside.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False) or not os.access(entry.path, os.R_OK):
                        return f"{os.path.relpath(entry.path, mirror)} is no file that can be read"
        except OSError as error:
            return f"{os.path.relpath(directory, mirror)}: {error.strerror}"
    return ""


def make_fit(mirror: Path) -> None:
    """Take everything out of what was a mirror that a program could wait for or follow elsewhere. Raises OSError."""
    mirror.chmod(stat.S_IRWXU)
    for parent, directories, names in os.walk(mirror):
        for name in (*directories, *names):
            one = Path(parent, name)
            mode = one.lstat().st_mode
            if stat.S_ISREG(mode):
                one.chmod(stat.S_IRUSR | stat.S_IWUSR)
            elif stat.S_ISDIR(mode):
                one.chmod(stat.S_IRWXU)
            else:
                one.unlink()


def unlock(path: Path) -> None:
    """Remove what a git process left locked when it was killed; nothing else uses the mirror, and no git runs.

    So goes what says nothing of the mirror's state, which no damage shows in, where git could not write it anew.
    """
    for parent, directories, names in os.walk(path):
        for name in (*directories, *names):
            one = Path(parent, name)
            if name.endswith(".lock") or (parent == str(path) and name in {*PASSING, "shallow"} and not one.is_file()):
                remove_tree(one)
        directories[:] = [name for name in directories if os.path.lexists(os.path.join(parent, name))]  # noqa: PTH118 - as fast as can be


def likely_digits(mirror: Mirror) -> int:
    """Return how long the ids of a mirror are whose configuration is lost: what was seen of it, or its refs, show."""
    for one in (*mirror.known, *mirror.pinned, *mirror.owed):
        return len(one)
    for file in (mirror.path / "packed-refs", *(mirror.path / "refs").rglob("*")):
        if re.search(r"(?m)^[0-9a-f]{64}(?: |$)", text_of(file)):
            return SHA256_DIGITS
    return SHA1_DIGITS
