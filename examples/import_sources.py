#!/usr/bin/env python3
"""Make a git repository of an example's releases, one annotated tag each, out of Debian's source packages.

    examples/import_sources.py NAME [REPOSITORY] [--cache DIR]

NAME is lua, zlib, cpython or pypy. REPOSITORY is where NAME/config.py looks for it: var/NAME.git of the checkout. The
packages come through apt-get, from the mirrors that this machine is configured with, by deb-src lines in a
configuration and state of this script's own: nothing of the system's is changed, and no root is needed. What was
downloaded is kept in the cache (.cache/NAME of the checkout) and checked against the digests below, so that every
machine makes the same commits. Where there is no apt-get, put the files into the cache by hand.

It needs Python 3.11 or newer and git, and nothing else: copy it when your own sources come as archives, too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PATIENCE = 300
"""Seconds that each call of apt-get may take."""


class ImportFailed(Exception):
    """What went wrong, in one line for the person who started this."""


@dataclass(frozen=True)
class Archive:
    """One archive of a source package as it left the authors: Debian's own changes are in another one.

    ``place`` is the directory of the sources into which it goes, "" for their top.
    """

    name: str
    digest: str
    place: str = ""


@dataclass(frozen=True)
class Release:
    """One release: its version, the Debian release whose package has it, when it was made, the archives' SHA-256."""

    version: str
    suite: str
    made: datetime
    archives: tuple[Archive, ...]

    @property
    def tag(self) -> str:
        return f"v{self.version}"


@dataclass(frozen=True)
class Sources:
    """The releases of a project, in the order in which they become commits of main."""

    name: str
    title: str
    package: str
    releases: tuple[Release, ...]

    @property
    def archives(self) -> list[str]:
        return [archive.name for release in self.releases for archive in release.archives]


def _release(version: str, suite: str, made: datetime, *archives: tuple[str, ...]) -> Release:
    return Release(version, suite, made, tuple(Archive(*one) for one in archives))


ALL: Mapping[str, Sources] = {one.name: one for one in (
    Sources("lua", "Lua", "lua5.4", (
        _release("5.4.2", "bullseye", datetime(2020, 12, 3, tzinfo=UTC), ("lua5.4_5.4.2.orig.tar.gz",
                 "11570d97e9d7303c0a59567ed1ac7c648340cd0db10d5fd594c09223ef2f524f")),
        _release("5.4.4", "bookworm", datetime(2022, 1, 26, tzinfo=UTC), ("lua5.4_5.4.4.orig.tar.gz",
                 "164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61")),
        _release("5.4.7", "trixie", datetime(2024, 6, 25, tzinfo=UTC), ("lua5.4_5.4.7.orig.tar.gz",
                 "9fbf5e28ef86c69858f6d3d34eccc32e911c1a28b4120ff3e84aaa70cfbf1e30")),
    )),
    Sources("zlib", "zlib", "zlib", (
        _release("1.2.13", "bookworm", datetime(2022, 10, 13, tzinfo=UTC), ("zlib_1.2.13.dfsg.orig.tar.bz2",
                 "71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1")),
    )),
    Sources("cpython", "CPython", "python3.11", (
        _release("3.11.2", "bookworm", datetime(2023, 2, 7, tzinfo=UTC), ("python3.11_3.11.2.orig.tar.gz",
                 "2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849")),
    )),
    # Two archives: PyPy's own, and the CPython 2.7 that translates it, which Debian has nowhere else.
    Sources("pypy", "PyPy", "pypy3", (
        _release("7.3.11", "bookworm", datetime(2022, 12, 29, tzinfo=UTC),
                 ("pypy3_7.3.11+dfsg.orig.tar.xz",
                  "3e03fdd9d014b9f6465736344566eb38efec13654feab9a2b1c15f7027687d0b"),
                 ("pypy3_7.3.11+dfsg.orig-cpython27.tar.xz",
                  "b62c0e7937551d0cc02b8fd5cb0f544f9405bafc9a54d3808ed4594812edef43", "cpython27")),
    )),
)}  # fmt: skip
"""By the name that the script is called with."""


def main() -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(description="Import an example's releases as tags of a git repository.")
    parser.add_argument("name", choices=ALL, metavar="NAME", help=f"whose releases: {', '.join(ALL)}")
    parser.add_argument("repository", nargs="?", type=Path, metavar="REPOSITORY", help="default: var/NAME.git")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where downloads are kept (default: .cache/NAME)")
    given = parser.parse_args()
    sources = ALL[given.name]
    repository = given.repository or ROOT / "var" / f"{sources.name}.git"
    try:
        imported(sources, repository.absolute(), (given.cache or ROOT / ".cache" / sources.name).absolute())
    except ImportFailed as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{Path(__file__).name}: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"{repository}: {', '.join(release.tag for release in sources.releases)}")
    return 0


def imported(sources: Sources, repository: Path, cache: Path) -> None:
    """Make the repository, whole or not at all; one that has the tags already is left as it is."""
    if repository.exists():
        if all(tagged(repository, release) for release in sources.releases):
            return
        raise ImportFailed(f"{repository} is there and lacks a release: move it away, or name another place")
    archives = [downloaded(sources, release, cache) for release in sources.releases]
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=repository.parent) as place:
        made = Path(place) / "repository"
        git(["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--initial-branch=main", str(made)])
        stream = b"".join(
            part
            for number, (release, found) in enumerate(zip(sources.releases, archives, strict=True), start=1)
            for part in commit(number, sources.title, release, found)
        )
        git(["-C", str(made), "fast-import", "--quiet", "--date-format=raw"], stream)
        git(["-C", str(made), "repack", "-a", "-d", "-f", "--quiet"])
        made.rename(repository)


# --- git ------------------------------------------------------------------------------------------------


def commit(number: int, title: str, release: Release, archives: Sequence[Path]) -> Iterator[bytes]:
    """Write a release as git fast-import reads it: a commit of its own after the one before, and a tag."""
    who = f"{title} <{title.lower()}@localhost> {release.made.timestamp():.0f} +0000"
    said = f"{title} {release.version}".encode()
    yield f"commit refs/heads/main\nmark :{number}\nauthor {who}\ncommitter {who}\n".encode()
    yield _DATA % (len(said), said)
    yield (f"from :{number - 1}\n" if number > 1 else "").encode() + b"deleteall\n"
    for archive, path in zip(release.archives, archives, strict=True):
        with tarfile.open(path) as tar:
            yield from files(tar, f"{archive.place}/" if archive.place else "")
    yield f"tag {release.tag}\nfrom :{number}\ntagger {who}\n".encode() + _DATA % (len(said), said)


def files(tar: tarfile.TarFile, place: str) -> Iterator[bytes]:
    """Write the files of an archive below ``place`` as git fast-import reads them."""
    for member in tar:  # in their order: to go back in a compressed archive is to begin again
        # Without the directory that names the release.
        name = place + member.name.removeprefix("./").partition("/")[2]
        content = tar.extractfile(member) if member.isreg() else None
        if content is not None:
            mode = "100755" if member.mode & 0o100 else "100644"
            data = content.read()
        elif member.issym():
            mode, data = "120000", member.linkname.encode()
        else:
            continue
        yield f"M {mode} inline {name}\n".encode(errors="surrogateescape") + _DATA % (len(data), data)


_DATA = b"data %d\n%s\n"


def tagged(repository: Path, release: Release) -> bool:
    """Whether a repository has a release."""
    asked = ["git", "-C", str(repository), "rev-parse", "--quiet", "--verify", f"{release.tag}^{{commit}}"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def git(words: Sequence[str], stream: bytes = b"") -> None:
    """Run git without anybody's configuration: it must always make the same."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(["git", *words], env=environment, input=stream, capture_output=True, check=False)
    except FileNotFoundError:
        raise ImportFailed("there is no git on this machine") from None
    if done.returncode:
        raise ImportFailed(f"git failed: {one_line(done.stderr.decode(errors='replace'))}")


# --- downloads ------------------------------------------------------------------------------------------


def downloaded(sources: Sources, release: Release, cache: Path) -> list[Path]:
    """Return the archives of a release in the cache, downloaded if they are not there."""
    kept = [cache / archive.name for archive in release.archives]
    wanted = [archive.digest for archive in release.archives]
    if all(path.exists() for path in kept) and [digest(path) for path in kept] == wanted:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import-") as place:
        Path(place).chmod(0o755)  # apt-get as root downloads as a user of its own, who has to get in
        apt = Apt(Path(place), sources)
        for archive, found, path in zip(release.archives, apt.source(release), kept, strict=True):
            if digest(found) != archive.digest:
                raise ImportFailed(f"{archive.name} of {release.suite} is not the one that was imported before")
            fresh = cache / f"{archive.name}.{os.getpid()}"
            shutil.copyfile(found, fresh)
            fresh.replace(path)
    return kept


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Apt:
    """The system's apt-get, with configuration, lists and cache of its own below ``place``."""

    def __init__(self, place: Path, sources: Sources) -> None:
        if not shutil.which("apt-get"):
            names = ", ".join(sources.archives)
            raise ImportFailed(f"there is no apt-get on this machine: put {names} into the cache (--cache) by hand")
        self.place = place
        self.sources = sources
        self.environment = dict(os.environ) | {"LC_ALL": "C"}
        self.mirrors = self._mirrors()
        self._configure()

    def source(self, release: Release) -> list[Path]:
        """Download a release's archives from the first mirror that has them."""
        problems = []
        for mirror in self.mirrors:
            signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
            (self.place / "sources.list").write_text(f"deb-src {signed}{mirror} {release.suite} main\n")
            try:
                self._apt("update")
                self._apt("source", "--download-only", "--tar-only", f"{self.sources.package}/{release.suite}")
            except ImportFailed as error:
                problems.append(f"{mirror}: {error}")
                continue
            found = [self.place / archive.name for archive in release.archives]
            if all(path.exists() for path in found):
                return found
            problems.append(f"{mirror} has another version")
        # The first is the archive that the machine itself was installed from: what it says tells most.
        said = problems[0] if problems else "the system's apt configuration names no mirror"
        what = f"{self.sources.title} {release.version} ({release.suite})"
        raise ImportFailed(f"the source package of {what} is not to be had: {said}")

    def _mirrors(self) -> list[str]:
        """Return the archives that the system's own configuration names, those of a distribution's base first."""
        (self.place / "none" / "partial").mkdir(parents=True)
        listed = self._apt("update", "--print-uris", "-o", f"Dir::State::lists={self.place / 'none'}")
        found = dict.fromkeys(re.findall(r"^'(\S+?)/dists/\S+'", listed, re.MULTILINE))
        return sorted(found, key=lambda one: not one.endswith("/debian"))

    def _configure(self) -> None:
        """Let apt-get read the system's configuration (a proxy, for instance) with other places and without hooks."""
        hook = re.compile(r"(APT::Update|DPkg)::(Pre|Post)-")
        lines = [line for line in self._run("apt-config", "dump").splitlines() if not hook.match(line)]
        for directory in ("lists/partial", "cache/archives/partial", "empty"):
            (self.place / directory).mkdir(parents=True)
        places = {
            "Dir::State": self.place,
            "Dir::State::lists": self.place / "lists",
            "Dir::Cache": self.place / "cache",
            "Dir::Etc::main": self.place / "empty" / "apt.conf",
            "Dir::Etc::parts": self.place / "empty",
            "Dir::Etc::sourcelist": self.place / "sources.list",
            "Dir::Etc::sourceparts": self.place / "empty",
            "Dir::Etc::preferencesparts": self.place / "empty",
            "Acquire::Retries": 2,
            "APT::Update::Error-Mode": "any",
        }
        own = self.place / "apt.conf"
        own.write_text("\n".join([*lines, *(f'{name} "{value}";' for name, value in places.items())]) + "\n")
        self.environment["APT_CONFIG"] = str(own)

    def _apt(self, *words: str) -> str:
        return self._run("apt-get", "-q", *words)

    def _run(self, *words: str) -> str:
        try:
            done = subprocess.run(
                words, cwd=self.place, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", check=False, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ImportFailed(f"{words[0]} did not end within {PATIENCE} s") from None
        if done.returncode:
            raise ImportFailed(f"{words[0]} failed: {one_line(done.stderr)}")
        return done.stdout


def one_line(said: str) -> str:
    """Return the first error that a program told, on one line."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    telling = next((line for line in lines if re.match(r"(E|Err|fatal|error)\b", line)), None)
    return telling or (lines[-1] if lines else "it said nothing")


if __name__ == "__main__":
    sys.exit(main())
