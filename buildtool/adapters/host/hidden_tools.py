"""Programs that a machine has and its builds are not to have, as ``--without`` names them.

They are not in PATH: directories that have one are left out for ones with links to all else that is there. In a
sandbox they are covered as well, so that their whole path is of no use either.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from buildtool.adapters.processes.sandbox.bubblewrap import PROGRAMS_IN
from buildtool.errors import ConfigurationError, UsageError

_ALIASES_SHOWN = 12


@frozen
class HiddenTools:
    """The programs that are hidden: their ``names``, PATH as it is (``plain``), and PATH without them (``search``).

    What a sandbox covers is ``covered``: the files themselves, not links to them.
    """

    names: tuple[str, ...]
    plain: str
    search: str
    covered: tuple[Path, ...] = ()

    def hides(self, program: str) -> bool:
        """Return whether a program, or a path of one, is hidden."""
        return Path(program).name in self.names

    def path_for(self, *, sandboxed: bool) -> str:
        """Return PATH as builds have it."""
        return self.plain if sandboxed else self.search

    def words(self, *, sandboxed: bool) -> str:
        """Return how well they are hidden, for people; empty where none is."""
        if not self.names:
            return ""
        how = "in PATH and at their place" if sandboxed else "in PATH: whoever names one by its whole path starts it"
        return f"builds do not find {', '.join(self.names)} {how}"


def hide_tools(
    names: Iterable[str], search: str, place: Path, *, sandboxed: bool, usual: Iterable[str] = PROGRAMS_IN
) -> HiddenTools:
    """Return how programs of these names are hidden from builds with ``search`` for PATH. Blocks.

    In a sandbox they are covered in ``usual`` directories as well.
    Directories without them are made below ``place``. Raises UsageError for a program that a sandbox can only cover
    together with others, and ConfigurationError where nothing can be made in ``place``.
    """
    hidden = tuple(dict.fromkeys(names))
    if not hidden:
        return HiddenTools((), search, search)
    listed = search.split(os.pathsep)
    try:
        shown = {one: _without(Path(one), hidden, place) for one in listed if Path(one).is_absolute()}
    except OSError as error:
        raise ConfigurationError(
            f"--without: {error.filename or place} cannot be read or made: {error.strerror}"
        ) from error
    without = os.pathsep.join(shown.get(one, one) for one in listed)
    if not sandboxed:
        return HiddenTools(hidden, search, without)
    directories = list(dict.fromkeys(Path(one).resolve() for one in (*listed, *usual) if Path(one).is_absolute()))
    covered = {there.resolve(): there.name for there in _found(directories, hidden)}
    _check_aliases(covered, directories, hidden)
    return HiddenTools(hidden, search, without, tuple(sorted(covered)))


def clear_old_directories(place: Path, search: str) -> None:
    """Remove directories that were made for another PATH, or before programs were installed."""
    for made in place.glob("*"):
        if str(made) not in search:
            shutil.rmtree(made, ignore_errors=True)


def _found(directories: Iterable[Path], hidden: Iterable[str]) -> Iterator[Path]:
    """Yield the programs of these names."""
    for directory in directories:
        for name in hidden:
            there = directory / name
            if there.is_file() and os.access(there, os.X_OK):
                yield there


def _without(directory: Path, hidden: tuple[str, ...], place: Path) -> str:
    """Return a directory of PATH, or one with links to all that is in it but what is hidden. Raises OSError."""
    if not any(_found([directory], hidden)):
        return str(directory)
    sign = f"{directory} {directory.stat().st_mtime_ns} {sorted(hidden)}"
    made = place / hashlib.sha256(sign.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if made.is_dir():
        return str(made)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=place))
    try:
        for name in os.listdir(directory):
            if name not in hidden:
                (making / name).symlink_to(directory / name)
        making.rename(made)
    except FileExistsError:
        return str(made)  # another start was quicker
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return str(made)


def _check_aliases(covered: dict[Path, str], directories: Iterable[Path], hidden: tuple[str, ...]) -> None:
    """Raise UsageError where a file that is covered is also a program of another name."""
    others: dict[Path, set[str]] = {}
    for directory in directories:
        try:
            entries = list(os.scandir(directory))
        except OSError:
            continue  # nothing in it can be found by name, either
        for entry in entries:
            if entry.name not in hidden and (entry.is_symlink() or Path(entry.path) in covered):
                real = Path(os.path.realpath(entry.path))  # also of a link in a loop
                if real in covered:
                    others.setdefault(real, set()).add(entry.name)
    for real, names in others.items():
        if len(names) > _ALIASES_SHOWN:
            raise UsageError(
                f"--without {covered[real]}: {real} is {len(names)} other programs as well, so a sandbox cannot hide "
                "that one alone"
            )
        raise UsageError(
            f"--without {covered[real]}: that is {real}, which is also called {', '.join(sorted(names))}: say "
            f"--without {','.join((*hidden, *sorted(names)))}"
        )
