"""Deleting what builds leave: whatever they make, all of it goes, and it can be cut short at any step."""

import os
import stat
import subprocess
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.storage.trees import remove_tree
from buildtool.ports.buildserver import Halted

KINDS = ("directory", "file", "link", "broken link", "link out", "pipe", "read-only", "closed")


def grow(root: Path, random: Random, size: int, keep: Path) -> None:
    """Make a tree of ``size`` things of all kinds below ``root``."""
    places = [root]
    closed = []
    for number in range(size):
        place = random.choice(places)
        name = place / random.choice((f"n{number}", f".deleted-{os.getpid()}-{number}", f"\udcff{number}"))
        match random.choice(KINDS):
            case "file":
                name.write_text("x")
            case "link":
                name.symlink_to(".")
            case "broken link":
                name.symlink_to("nowhere")
            case "link out":
                name.symlink_to(keep)
            case "pipe":
                os.mkfifo(name)
            case kind:
                name.mkdir()
                places.append(name)
                if kind != "directory":
                    closed.append((name, 0o555 if kind == "read-only" else 0))
    for name, mode in reversed(closed):
        name.chmod(mode)


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.lists(st.integers(0, 60), max_size=3))
def test_all_of_it_goes_and_nothing_else(random: Random, size: int, cuts: list[int]) -> None:
    """Cut short any number of times, the next deleting takes the rest; what links lead to stays."""
    with TemporaryDirectory() as directory:
        keep = Path(directory) / "keep"
        keep.mkdir()
        (keep / "file").write_text("kept")
        before = stat.S_IMODE(keep.stat().st_mode)
        top = Path(directory) / "top"
        top.mkdir()
        grow(top, random, size, keep)
        for cut in cuts:
            left = cut

            def check() -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Halted("enough")

            try:
                remove_tree(top, check)
            except Halted:
                assert top.exists()
        remove_tree(top)
        assert [path.name for path in Path(directory).iterdir()] == ["keep"]
        assert (keep / "file").read_text() == "kept"
        assert stat.S_IMODE(keep.stat().st_mode) == before


def test_a_tree_deeper_than_any_path_and_any_recursion_goes(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("directory-of-a-name-that-is-rather-long", dir_fd=here)
        inner = os.open("directory-of-a-name-that-is-rather-long", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    remove_tree(top)
    assert not top.exists()


def test_a_file_or_link_in_its_place_goes_by_itself(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "absent"):
        remove_tree(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_comes_again_and_again_is_not_waited_for(tmp_path: Path) -> None:
    """A process that outlived its build may go on writing: that is said instead."""
    (tmp_path / "top" / "inner").mkdir(parents=True)
    (tmp_path / "top" / "inner" / "file").touch()

    def check() -> None:
        (tmp_path / "top" / "inner" / f"file{os.urandom(4).hex()}").touch()

    with pytest.raises(OSError, match="not empty"):
        remove_tree(tmp_path / "top", check)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
def test_what_root_made_immutable_is_deleted_too(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b" / "c").mkdir(parents=True)
    kept = [top / "a" / "file", top / "a" / "b" / "c" / "file", top / "a" / "b" / "c", top / "a"]
    for path in kept[:2]:
        path.write_text("x")
    if subprocess.run(["chattr", "+i", *map(str, kept)], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no immutable files")
    remove_tree(top)
    assert not top.exists()
