"""Makes a root file system of Debian's packages, by ``mmdebstrap``: fetched, their signatures checked, and unpacked.

Nothing in it is run while it is made, neither by root nor under emulation: packages are unpacked and not configured. So
it is made in half a minute, by any account. What configuring would have done and compilers need are a few links.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from buildtool.adapters.host.roots.output import output_of
from buildtool.adapters.host.roots.store import DEBIAN_ARCHES, SystemRoot
from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.storage.trees import remove_tree
from buildtool.errors import ConfigurationError, UsageError

MIRROR = "http://deb.debian.org/debian"
"""Where packages come from unless its owner says otherwise; each is checked by Debian's signature."""

ALWAYS = ("gcc", "g++", "libc6-dev", "make", "patch", "xz-utils")
"""The packages beside the essential ones and those that projects need."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,80}")
_UNREAD = ("doc", "info", "lintian", "locale", "man")
"""What is below ``/usr/share`` and no build reads: half of all files."""

_NO_SUCH_ARCH = ("doesn't support architecture", "Unable to find expected entry")
_UNREACHABLE = (
    "Could not resolve", "Could not connect", "Connection failed", "Unable to connect", "Temporary failure",
)  # fmt: skip
"""What apt says."""

_LINKS = (
    ("bin/sh", ("dash",)), ("usr/bin/cc", ("gcc",)), ("usr/bin/c++", ("g++",)), ("usr/bin/awk", ("mawk", "gawk")),
    ("usr/bin/which", ("which.debianutils",)), ("usr/bin/yacc", ("bison.yacc",)),
)  # fmt: skip
"""The links that packages make when they are configured, and to which program beside it each leads."""


def packages(said: str) -> tuple[str, ...]:
    """Return the names of packages in a text with commas. Raises UsageError for what is no such name."""
    names = tuple(one.strip() for one in said.split(",") if one.strip())
    for name in names:
        if not _PACKAGE.fullmatch(name):
            raise UsageError(f"--include: {name[:40]!r} is no name of a Debian package")
    return names


def mirror(said: str) -> str:
    """Return a mirror's address. Raises UsageError for what is none."""
    parts = urlsplit(said)
    if parts.scheme not in ("http", "https", "file") or set(said) & set("[] \t\n") or len(said) > 300:  # noqa: PLR2004
        raise UsageError(f"--mirror: {said[:80]!r} is no address such as {MIRROR}")
    return said


def program() -> str:
    """Return where mmdebstrap is. Raises ConfigurationError."""
    found = shutil.which("mmdebstrap")
    if found is None:
        raise ConfigurationError("mmdebstrap is not installed: apt-get install mmdebstrap (dnf install mmdebstrap)")
    return found


def make_files(root: SystemRoot, needed: Iterable[str], keepers: Keepers) -> None:
    """Make the files of a root: essential packages, compilers, those of ``needed`` and those its owner wants.

    What makes them is in the care of ``keepers``, so that it ends if this program is killed. Blocks for half a minute
    or more. Raises ConfigurationError with one line, OSError.
    """
    words = arguments(program(), root, sorted({*ALWAYS, *needed, *root.packages}), root=os.geteuid() == 0)
    code, said = output_of(keepers.start, CommandLine(tuple(words), root.place, {**os.environ, "LC_ALL": "C"}))
    if code != 0:
        raise ConfigurationError(reason(root, said))
    finish(root.files)


def arguments(mmdebstrap: str, of: SystemRoot, names: Sequence[str], *, root: bool) -> list[str]:
    """Return mmdebstrap's words; ``root`` says that it runs as root."""
    return [
        mmdebstrap, "--variant=extract", f"--mode={'root' if root else 'chrootless'}", "--format=directory",
        f"--architectures={DEBIAN_ARCHES[of.arch]}", "--include=?essential", f"--include={','.join(names)}",
        of.suite, str(of.files), of.mirror,
    ]  # fmt: skip


def reason(root: SystemRoot, said: str) -> str:
    """Return in one line why mmdebstrap made nothing, and what is to be done."""
    what = f"cannot make {root.name}"
    missing = re.search(r"Unable to locate package ([a-z0-9.+-]{1,80})", said)
    if "does not have a Release file" in said:
        arch = DEBIAN_ARCHES[root.arch]
        return (
            f"{what}: {root.mirror} has no release {root.suite} (any more) for {arch}; old ones are at "
            "http://archive.debian.org/debian, say --mirror"
        )
    if any(words in said for words in _NO_SUCH_ARCH):
        return f"{what}: there is no {root.suite} for {DEBIAN_ARCHES[root.arch]} at {root.mirror}"
    if missing:
        return f"{what}: there is no package {missing[1]} in {root.suite} for {DEBIAN_ARCHES[root.arch]}"
    if own := _reason_here(root, said):
        return f"{what}: {own}"
    if any(words in said for words in _UNREACHABLE):
        return f"{what}: {root.mirror} cannot be reached; --mirror says another one"
    lines = [line for line in said.splitlines() if line.startswith("E: ") and "mmdebstrap failed" not in line]
    return f"{what}: mmdebstrap says {lines[0][3:300] if lines else 'nothing'}"


def _reason_here(root: SystemRoot, said: str) -> str:
    """Return what this machine lacks, "" where it is nothing of that."""
    if "No space left on device" in said:
        return f"no space is left in {root.place.parent}, of which a gigabyte and a half is needed"
    if "NO_PUBKEY" in said or "is not signed" in said:
        return f"the key that signs {root.suite} is not known here: apt-get install debian-archive-keyring"
    return ""


def finish(files: Path) -> None:
    """Make the links that configuring would have made, and remove what no build reads. Raises OSError."""
    for name in _UNREAD:
        remove_tree(files / "usr/share" / name)
    for link, choices in _LINKS:
        path = files / link
        found = next((one for one in choices if (path.parent / one).exists()), None)
        if found is not None and not path.exists():
            path.unlink(missing_ok=True)  # one that leads into alternatives which are not there
            path.symlink_to(found)
