"""The sandboxes of a build server: one for each Attempt, made of what its slot has. All methods block."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock

from attrs import define, field

from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox.box import INSIDE
from buildtool.adapters.processes.sandbox.bubblewrap import (
    Enclosure,
    arguments,
    covered_in,
    make_settings,
    mounts,
    settings_age,
)
from buildtool.adapters.processes.sandbox.enclosed import EnclosedKeeper
from buildtool.adapters.processes.sandbox.system_calls import filters
from buildtool.errors import ToolMissing
from buildtool.ports.buildserver import SlotPlace

FIRST_ACCOUNT = 1_900_000_000
"""The account of slot 0 where the build server runs as root; each slot has its own, of which nobody else knows.

Numbers from 1,879,048,192 on are given out by no system (systemd.io/UIDS-GIDS)."""

LOW_ACCOUNT = 60_600
"""The same where there are no numbers as high, as in most containers."""

Sandbox = EnclosedKeeper


@define(eq=False)
class Sandboxes:
    """The way to make a sandbox: ``program`` is bubblewrap, ``place`` a directory for what is made of ``/etc``.

    ``readable`` are directories that builds may read beside the system's own, ``covered`` files that none sees; in
    the systems of other files, those are the programs of ``hidden`` names.
    Sandboxes that were made ahead are used once, by the slot for which they are.
    """

    keepers: Keepers
    program: str
    place: Path
    readable: tuple[Path, ...] = ()
    covered: tuple[Path, ...] = ()
    hidden: tuple[str, ...] = ()
    _last: dict[int, Mapping[str, object]] = field(factory=dict)
    _ahead: dict[int, tuple[Mapping[str, object], Sandbox]] = field(factory=dict)
    _making: defaultdict[int, Lock] = field(factory=partial(defaultdict, Lock))
    _closed: bool = False

    def make(
        self,
        slot: int,
        tree: Path,
        place: SlotPlace,
        limits: Mapping[str, int] | None = None,
        groups: Sequence[Path] = (),
        freezer: Path | None = None,
        root: Path | None = None,
    ) -> Sandbox:
        """Make the sandbox of a slot, in which ``tree`` and ``place`` may be written in. Raises OSError.

        ``limits`` are resource limits by the name that Python has for them; ``groups`` the files of control groups that
        all processes are written into, ``freezer`` that of the one which can stop them. ``root`` has the files of
        another system, which are seen in the place of this machine's.
        """
        user = account(slot) if os.geteuid() == 0 else None
        writable = (tree, place.home, place.temporary)
        if user is not None:
            for top in writable:
                give(top, user)
        said = self.order(Enclosure(
            writable, place.temporary, self._settings(user, root), self.readable, tuple(_sealed(tree)),
            dict(limits or {}), tuple(groups), freezer, root, self._covered(root),
        ), user)  # fmt: skip
        with self._making[slot]:
            self._last[slot] = said
            ready = self._ahead.pop(slot, None)
        if ready is not None:
            with suppress(OSError):  # it has died meanwhile, say
                if _same(ready[0], said):
                    return _equipped(ready[1], said)
                ready[1].end()
        return _equipped(EnclosedKeeper(self.keepers, said), said)

    def _covered(self, root: Path | None) -> tuple[Path, ...]:
        return self.covered if root is None else covered_in(root, self.hidden)

    def make_ahead(self, slot: int) -> None:
        """Make a sandbox for the next Attempt of a slot, as its last one was. Raises OSError."""
        with self._making[slot]:  # who wants one meanwhile waits for it
            said = self._last.get(slot)
            if said is not None and slot not in self._ahead and not self._closed:
                self._ahead[slot] = said, EnclosedKeeper(self.keepers, said)

    def close(self) -> None:
        """End the sandboxes that were made ahead. Raises OSError."""
        self._closed = True
        for slot in list(self._making):
            with self._making[slot]:
                ready = self._ahead.pop(slot, None)
            if ready is not None:
                ready[1].end()

    def order(self, enclosure: Enclosure, user: int | None) -> Mapping[str, object]:
        """Return what a keeper is told to make."""
        words = arguments(self.program, enclosure, root=user is not None)
        steps, hidden = mounts(enclosure)
        return {
            "argv": [_text(word) for word in words],
            "mounts": [[_text(word) for word in step] for step in steps],
            "hidden": hidden,
            "user": user,
            "filters": [program.hex() for program in _filters()],
            "limits": enclosure.limits,
            "groups": [str(path) for path in enclosure.groups],
            "freezer": str(enclosure.freezer or ""),
        }

    def _settings(self, user: int | None, root: Path | None) -> Path:
        number = INSIDE if user is None else user
        whose = "" if root is None else f"-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
        made = self.place / f"etc-{number}{whose}-{settings_age()}"
        if not made.is_dir():
            self.place.mkdir(parents=True, exist_ok=True)
            make_settings(made, number, root)
        return made


def _text(word: str) -> str:
    return os.fsencode(word).decode("latin-1")


_OF_ALL = ("argv", "user", "filters", "freezer")


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Return whether one sandbox, before it is equipped, does for both orders."""
    return all(one[name] == other[name] for name in _OF_ALL)


def _equipped(made: Sandbox, said: Mapping[str, object]) -> Sandbox:
    try:
        made.equip(said)
    except BaseException:
        with suppress(OSError):
            made.end()
        raise
    return made


def _filters() -> tuple[bytes, ...]:
    """Return the filters of system calls, none where they cannot be made: the proof finds what that lets through."""
    try:
        return filters()
    except ToolMissing:
        return ()


def account(slot: int, uid_map: Path = Path("/proc/self/uid_map")) -> int:
    """Return the number of the account and group of a slot's builds. Raises OSError where there is none to have.

    ``uid_map`` says which accounts there are.
    """
    wanted = FIRST_ACCOUNT + slot
    spans = [tuple(map(int, line.split())) for line in uid_map.read_text(encoding="ascii").splitlines()]
    for number in (wanted, LOW_ACCOUNT + slot):
        if any(first <= number < first + count for first, _, count in spans):
            return number
    raise OSError(f"this system has no account {LOW_ACCOUNT + slot} to run builds under")


def give(top: Path, user: int) -> None:
    """Make everything below a directory an account's, except what is named elsewhere too. Raises OSError."""
    for path, found in _everything(top):
        if found.st_uid != user and not (stat.S_ISREG(found.st_mode) and found.st_nlink > 1):
            os.lchown(path, user, user)


def _everything(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    yield str(top), top.lstat()
    waiting = [str(top)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _sealed(tree: Path) -> Iterator[Path]:
    """Yield the directories of packs below a tree, whose files are those of the mirror under another name.

    What sources have is no such directory, whatever it is called: bubblewrap goes where a link leads.
    """
    own = tree / ".git"
    if not own.is_dir() or own.is_symlink():
        return
    for path, found in _everything(tree if (tree / ".gitmodules").exists() else own):
        if path.endswith("/.git/objects/pack") and stat.S_ISDIR(found.st_mode):
            yield Path(path)
