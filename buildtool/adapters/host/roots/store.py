"""The root file systems that a build server has: a directory each, in it one for each time that it was made.

What was made anew stands beside the older one until no build server has that any more, since builds may run in it.
"""

from __future__ import annotations

import fcntl
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from attrs import asdict, evolve, field, frozen, validators

from buildtool.adapters.storage.trees import plain_bytes, remove_tree
from buildtool.errors import ConfigurationError
from buildtool.model.platforms import ARCHES, canonical_arch

DEBIAN_ARCHES = {
    "x86_64": "amd64", "i686": "i386", "aarch64": "arm64", "armv7l": "armhf", "armv5tel": "armel", "ppc64le": "ppc64el",
    "riscv64": "riscv64", "s390x": "s390x", "mips64el": "mips64el", "mipsel": "mipsel", "loongarch64": "loong64",
}  # fmt: skip
"""Debian's name of each architecture that there is a Debian for."""

SUITE = re.compile(r"[a-z][a-z0-9.-]{1,30}")

TRYING = ".trying-"
"""How directories begin in which one is tried."""

_ABOUT, _FILES = "about.json", "files"
_ABOUT_MOST = 64 * 1024
_GENERATION = re.compile(r"([0-9]{1,9})-[0-9a-f]{8}")
_text = validators.instance_of(str)
_texts = validators.deep_iterable(_text, validators.instance_of(list))


@frozen
class SystemRoot:
    """The root file system of another release or architecture, as it was made and tried.

    ``arch`` is our name, ``compiler`` family and version (``gcc-12.2.0``), ``packages`` what its owner asked for beside
    what always is there, and ``made_at`` wall time in seconds. ``place`` has its files and what is said here.
    """

    place: Path
    suite: str = field(validator=validators.matches_re(SUITE))
    arch: str = field(validator=validators.in_(DEBIAN_ARCHES))
    mirror: str = field(validator=_text)
    packages: list[str] = field(validator=_texts)
    made_at: float = field(validator=validators.instance_of(float))
    libc: str = field(default="", validator=_text)
    libc_version: str = field(default="", validator=_text)
    os_release: str = field(default="", validator=_text)
    compiler: str = field(default="", validator=_text)

    @property
    def name(self) -> str:
        """What it is called: ``bookworm-arm64``."""
        return f"{self.suite}-{DEBIAN_ARCHES[self.arch]}"

    @property
    def files(self) -> Path:
        """The directory that is its ``/``."""
        return self.place / _FILES

    def hold(self) -> BinaryIO:
        """Keep this root from being removed until the returned file is closed. Raises ConfigurationError."""
        stream: BinaryIO | None = None
        try:
            stream = (self.place / _ABOUT).open("rb")
            fcntl.flock(stream, fcntl.LOCK_SH)
            (self.place / _ABOUT).stat()  # who removes it holds it meanwhile
        except OSError as error:
            if stream is not None:
                stream.close()
            raise ConfigurationError(f"{self.name} was removed meanwhile: {error.strerror}") from error
        return stream

    def has(self, program: str) -> bool:
        """Return whether a program is in its PATH."""
        return any((self.files / place / program).exists() for place in ("usr/local/bin", "usr/bin", "bin"))


def debian_arch(said: str) -> str:
    """Return our name of an architecture that there is a Debian for. Raises ConfigurationError."""
    arch = canonical_arch(said)
    if arch not in DEBIAN_ARCHES or arch not in ARCHES:
        raise ConfigurationError(
            f"{said[:40]!r} is no architecture of Debian's: say {', '.join(DEBIAN_ARCHES.values())}"
        )
    return arch


def roots_in(build_dir: Path) -> list[SystemRoot]:
    """Return the root file systems that are there, each as it was made last, by their names."""
    found = (_newest(one) for one in sorted(_top(build_dir).glob("[a-z]*")))
    return [one for one in found if one is not None]


def damaged_in(build_dir: Path) -> list[str]:
    """Return the names of root file systems of which only what cannot be used is there: it takes room."""
    there = {one.name for one in roots_in(build_dir)}
    return sorted(one.name for one in _top(build_dir).glob("[a-z]*") if one.name not in there and _generations(one))


def named(build_dir: Path, name: str) -> SystemRoot:
    """Return the root file system of a name. Raises ConfigurationError."""
    there = {one.name: one for one in roots_in(build_dir)}
    if name not in there:
        raise ConfigurationError(f"there is no platform {name[:60]!r} here; there is {', '.join(there) or 'none'}")
    return there[name]


@contextmanager
def alone(build_dir: Path) -> Iterator[Path]:
    """Keep others from making or removing any meanwhile; give where they are kept. Raises ConfigurationError."""
    top = _top(build_dir)
    try:
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (top / ".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigurationError(f"another command makes or removes platforms in {top}: wait for it") from error
            for left in (*top.glob(".new-*"), *top.glob(f"{TRYING}*")):
                remove_tree(left)
            yield top
    except OSError as error:
        raise ConfigurationError(f"cannot write in {top}: {error.strerror or error}") from error


def begun(top: Path, root: SystemRoot) -> SystemRoot:
    """Return the same with a directory of its own that has no files yet. Raises OSError."""
    place = top / f".new-{secrets.token_hex(4)}"
    place.mkdir(mode=0o700)
    return evolve(root, place=place)


def kept(top: Path, made: SystemRoot) -> SystemRoot:
    """Put what was begun, made and tried where it is found from now on, and remove what is older. Raises OSError."""
    own = top / made.name
    own.mkdir(mode=0o700, exist_ok=True)
    number = 1 + max((int(one[1]) for one in map(_number, own.iterdir()) if one), default=0)
    said = asdict(made, filter=lambda attribute, _: attribute.name != "place")
    (made.place / _ABOUT).write_text(json.dumps(said, sort_keys=True), encoding="utf-8")
    final = own / f"{number}-{secrets.token_hex(4)}"
    made.place.rename(final)
    sweep(top, made.name)
    return evolve(made, place=final)


def sweep(top: Path, name: str) -> None:
    """Remove what is older than the newest of a name, but for what a build server still has. Raises OSError."""
    newest = _newest(top / name)
    for one in _generations(top / name):
        if newest is None or one != newest.place:
            _removed(top, one)


def swept(root: SystemRoot) -> None:
    """Remove a root that was made anew while it was held, now that it is not; else the next refresh would."""
    if len(_generations(root.place.parent)) > 1:
        with suppress(ConfigurationError, OSError), alone(root.place.parents[2]) as top:
            sweep(top, root.name)


def remove(top: Path, name: str) -> None:
    """Remove a root file system, damaged or not. Raises ConfigurationError where a build server has it, OSError."""
    sweep(top, name)
    newest = _newest(top / name)
    if newest is not None and not _removed(top, newest.place):
        raise ConfigurationError(f"{name} is in use by a build server: stop or restart that one first")
    with suppress(OSError):  # an older one is still used
        (top / name).rmdir()


def _removed(top: Path, place: Path) -> bool:
    """Remove a directory unless a build server holds it; return whether it is gone."""
    gone = top / f".new-{secrets.token_hex(4)}"
    with ExitStack() as held:
        if (place / _ABOUT).is_file():  # all else nobody has
            stream = held.enter_context((place / _ABOUT).open("rb"))
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        place.rename(gone)
    remove_tree(gone)
    return True


def _top(build_dir: Path) -> Path:
    return build_dir / "platforms"


def _generations(own: Path) -> list[Path]:
    """Return what was made of one name, each time; what is not there has none."""
    try:
        return sorted(one for one in own.iterdir() if _number(one))
    except OSError:
        return []


def _number(place: Path) -> re.Match[str] | None:
    return _GENERATION.fullmatch(place.name)


def _newest(own: Path) -> SystemRoot | None:
    made = sorted((int(number[1]), one) for one in _generations(own) if (number := _number(one)))
    return next((root for _, one in reversed(made) if (root := _read(one)) is not None and root.name == own.name), None)


def _read(place: Path) -> SystemRoot | None:
    """Return what a directory says of itself; None for one that is damaged, which the next refresh removes."""
    try:
        said = json.loads(plain_bytes(place / _ABOUT, _ABOUT_MOST))
        return SystemRoot(place, **said) if (place / _FILES).is_dir() else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
