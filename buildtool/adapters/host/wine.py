"""What wine needs in a home to run programs for Windows. Everything here blocks.

In a home that it does not know, wine copies all of its libraries, which takes seconds and 700 MB: too much for each
build. A program needs a drive with those libraries, which may as well be a link to them.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from buildtool.errors import MachineFault

QUIET = ("env", "WINEDEBUG=-all")
"""What keeps wine from telling on the program's own output of what is missing for windows on a screen."""

PACKAGES = "wine64 wine"
"""Debian's packages; what they recommend is for programs with windows."""

PROGRAMS = ("wine", "wine64")

_LIBRARIES = ("lib/*-linux-gnu/wine", "lib64/wine", "lib/wine")
_KIND = "x86_64-windows"


def wines(search: str | None = None) -> Iterator[tuple[str, ...]]:
    """Yield the words before a program for Windows, for each wine of PATH, which ``search`` replaces."""
    for name in PROGRAMS:
        if libraries_of(name, search) is not None:
            yield (*QUIET, name)


def libraries_of(name: str, search: str | None = None) -> Path | None:
    """Return the directory of a wine's own libraries, by its name in PATH; None where it is not to be found."""
    program = shutil.which(name, path=search)
    if program is None:
        return None
    top = Path(program).resolve().parent.parent
    places = (place / _KIND for pattern in _LIBRARIES for place in sorted(top.glob(pattern)))
    return next((place for place in places if (place / "kernel32.dll").is_file()), None)


def seed_wine(tools: Mapping[str, str], home: Path, search: str | None = None) -> None:
    """Make the drive of a wine by which ``tools`` run programs, if they do, in a home. Raises MachineFault."""
    name = next((word for word in shlex.split(tools.get("RUN", "")) if word in PROGRAMS), None)
    libraries = libraries_of(name, search) if name is not None else None
    if libraries is not None:
        make_drive(home, libraries)


def make_drive(home: Path, libraries: Path) -> None:
    """Make wine's drive C and its names of drives in a home, unless they are there. Raises MachineFault."""
    top = home / ".wine"
    try:
        (top / "drive_c" / "windows").mkdir(parents=True, exist_ok=True)
        (top / "dosdevices").mkdir(exist_ok=True)
        for name, place in (
            ("drive_c/windows/system32", libraries),
            ("dosdevices/c:", "../drive_c"),
            ("dosdevices/z:", "/"),
        ):
            if not (top / name).is_symlink():
                (top / name).symlink_to(place)
        # Wine compares this with its own date, and would set up all of Windows where it differs.
        (top / ".update-timestamp").write_text("disable\n", encoding="ascii")
    except OSError as error:
        raise MachineFault(f"cannot make a drive for wine in {home}: {error.strerror or error}") from error
