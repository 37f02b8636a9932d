"""What mmdebstrap is told, what is made of what it says, and the links without which compilers are not found."""

from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.roots.making import MIRROR, arguments, finish, mirror, packages, reason
from buildtool.errors import UsageError
from tests.adapters.host.roots.test_store import ROOT

ARM = evolve(ROOT, suite="bookworm", arch="aarch64", place=Path("/b/new"), mirror=MIRROR)


@pytest.mark.parametrize("root", [True, False])
def test_packages_are_unpacked_and_nothing_of_theirs_is_run(*, root: bool) -> None:
    words = arguments("/bin/mmdebstrap", ARM, ["gcc", "make"], root=root)
    assert {"--variant=extract", "--architectures=arm64", "--include=?essential", "--include=gcc,make"} <= set(words)
    assert words[-3:] == ["bookworm", "/b/new/files", MIRROR]
    assert ("--mode=root" in words) is root


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "E: The repository 'http://deb.debian.org/debian buster Release' does not have a Release file.",
            "has no release bookworm (any more) for arm64; old ones are at http://archive.debian.org/debian, say",
        ),
        (
            "tar: ./x: Cannot write: No space left on device\nE: tar --extract failed: 512",
            "no space is left in /b, of which a gigabyte and a half is needed",
        ),
        ("N: Skipping acquire, since it doesn't support architecture 'arm64'", "there is no bookworm for arm64 at"),
        ("E: Unable to locate package tcc", "there is no package tcc in bookworm for arm64"),
        ("W: GPG error: NO_PUBKEY 0E98404D386FA1D9", "apt-get install debian-archive-keyring"),
        ("E: Temporary failure resolving 'deb.debian.org'", "cannot be reached; --mirror says another one"),
        ("I: x\nE: something\nE: mmdebstrap failed to run", "mmdebstrap says something"),
        ("", "mmdebstrap says nothing"),
    ],
)
def test_why_nothing_was_made_is_one_line(said: str, why: str) -> None:
    line = reason(ARM, f"I: running apt-get update...\n{said}\n")
    assert line.startswith("cannot make bookworm-arm64: ")
    assert why in line
    assert "\n" not in line


def test_the_compiler_is_found_under_its_usual_names_and_what_nobody_reads_is_gone(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("usr/bin/gcc", "usr/bin/g++", "usr/bin/gawk", "bin/dash"):
        (tmp_path / name).write_text(name)
    (tmp_path / "usr/bin/c++").write_text("its own")
    (tmp_path / "usr/bin/awk").symlink_to("/etc/alternatives/no-such-awk")
    (tmp_path / "usr/share/doc/gcc").mkdir(parents=True)
    finish(tmp_path)
    assert (tmp_path / "usr/bin/cc").read_text() == "usr/bin/gcc"
    assert (tmp_path / "usr/bin/c++").read_text() == "its own"
    assert (tmp_path / "usr/bin/awk").read_text() == "usr/bin/gawk"
    assert (tmp_path / "bin/sh").read_text() == "bin/dash"
    assert not (tmp_path / "usr/bin/yacc").is_symlink()
    assert not (tmp_path / "usr/share/doc").exists()


@pytest.mark.parametrize("said", ["gcc -o", "--x", "Gcc", "a" * 90, "gcc;make"])
def test_what_is_no_package_or_mirror_is_never_given_to_mmdebstrap(said: str) -> None:
    with pytest.raises(UsageError, match="is no name of a Debian package"):
        packages(said)
    with pytest.raises(UsageError, match="is no address such as"):
        mirror(f"http://x/ [trusted=yes] {said}")
    with pytest.raises(UsageError, match="is no address such as"):
        mirror(said)


def test_packages_are_said_with_commas() -> None:
    assert packages("zlib1g-dev, python3,,libstdc++6") == ("zlib1g-dev", "python3", "libstdc++6")
