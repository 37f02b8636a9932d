"""Where zig's compiler is, and what it says of itself. Everything here blocks."""

from __future__ import annotations

import hashlib
import re
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from buildtool.adapters.host.programs import output_of
from buildtool.adapters.host.zig.targets import ZigKnowledge, knowledge_of

ASKED = 20.0
"""Seconds that zig has to say what it makes: a cold disk reads a large program."""


@frozen
class ZigProgram:
    """A zig that is there: ``path`` is the program itself, ``key`` another word for each build of it."""

    path: Path
    version: str
    key: str
    known: ZigKnowledge

    def is_the_same(self) -> bool:
        """Return whether the program that is there now is the one that was asked."""
        try:
            return _key(self.path, self.version) == self.key
        except OSError:
            return False


def installed_at(build_dir: Path) -> Path:
    """Return the directory into which ``--add-toolchain zig`` installs."""
    return build_dir / "toolchains" / "zig"


def find_zig(
    build_dir: Path, search: str | None = None, seen: Callable[[str], bool] = lambda _: True
) -> ZigProgram | None:
    """Return the first zig that works of those in the build directory, this program's environment, and PATH.

    ``search`` replaces PATH, and ``seen`` is asked whether builds may start a program of PATH's.
    """
    return next((found for place in _places(build_dir, search, seen) if (found := _asked(place)) is not None), None)


def _places(build_dir: Path, search: str | None, seen: Callable[[str], bool]) -> Iterator[Path]:
    yield installed_at(build_dir) / "ziglang" / "zig"
    yield Path(sysconfig.get_path("platlib")) / "ziglang" / "zig"
    there = shutil.which("zig", path=search)
    if there is not None and seen(there):
        yield Path(there)


def _asked(place: Path) -> ZigProgram | None:
    try:
        program = place.resolve(strict=True)
    except OSError:
        return None
    version = (output_of([str(program), "version"], time_limit=ASKED) or "").strip()
    if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?:[-+.][0-9A-Za-z.+-]{1,40})?", version):
        return None
    known = knowledge_of(output_of([str(program), "targets"], time_limit=ASKED) or "")  # the first 16 KiB have it
    if known is None:
        return None
    try:
        return ZigProgram(program, version, _key(program, version), known)
    except OSError:
        return None  # somebody has just removed it


def _key(program: Path, version: str) -> str:
    # Another build of one version is another program; what an update through pip leaves has other times.
    status = program.stat()
    sign = f"{program} {status.st_size} {status.st_mtime_ns}"
    return f"zig-{version}-{hashlib.sha256(sign.encode()).hexdigest()[:8]}"
