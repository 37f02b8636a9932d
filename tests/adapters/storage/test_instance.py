"""The instance of a build directory: the same after a restart, another one for a copy, and nobody else's to read."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from buildtool.adapters.storage import instance as machines
from buildtool.adapters.storage.instance import load_instance
from buildtool.errors import ConfigurationError


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A build directory."""
    made = tmp_path / "attic"
    made.mkdir()
    return made


def test_it_is_random_and_stays_whatever_the_directory_is_called(here: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    mine, other = load_instance(here), load_instance(tmp_path / "other")
    assert len(mine) == len(other) == 64
    assert mine != other
    assert load_instance(here) == mine
    assert load_instance(here.rename(tmp_path / "renamed")) == mine


def test_a_copy_of_the_directory_has_another_one(here: Path, tmp_path: Path) -> None:
    mine = load_instance(here)
    shutil.copytree(here, tmp_path / "copy")
    theirs = load_instance(tmp_path / "copy")
    assert theirs != mine
    assert load_instance(tmp_path / "copy") == theirs
    shutil.rmtree(here / "instance", ignore_errors=True)
    shutil.copy2(tmp_path / "copy" / "instance", here / "instance")
    assert load_instance(here) not in (mine, theirs), "nor does the file alone bring it along"


def test_a_copy_of_the_whole_machine_has_another_one(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the copy got a machine-id of its own, which is what machine-ids are for."""
    where = tmp_path / "machine-id"
    monkeypatch.setattr(machines, "MACHINE_IDS", (tmp_path / "absent", where))
    where.write_text("1" * 32 + "\n")
    mine = load_instance(here)
    where.write_text("2" * 32 + "\n")
    assert load_instance(here) != mine
    where.unlink()
    nameless = load_instance(here)
    assert load_instance(here) == nameless, "a machine that has no id is always the same"


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_its_owner_can_read_it_whatever_the_umask(here: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load_instance(here)
    finally:
        os.umask(before)
    assert stat.S_IMODE((here / "instance").stat().st_mode) == 0o600
    assert [path.name for path in here.iterdir()] == ["instance"]


@pytest.mark.parametrize("content", [b"", b"x", b"a" * 500, b"a" * 64 + b" " + b"b" * 64 + b"\n"])
def test_what_is_none_is_made_anew(here: Path, content: bytes) -> None:
    (here / "instance").write_bytes(content)
    made = load_instance(here)
    assert load_instance(here) == made
    assert made.encode() not in content


def test_what_cannot_be_read_is_one_line(here: Path, tmp_path: Path) -> None:
    os.mkfifo(here / "instance")
    load_instance(here)  # nobody waits for whoever might write into it
    (here / "instance").unlink()
    (tmp_path / "elsewhere").write_text("secret")
    (here / "instance").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"build_dir: cannot read or write .*instance"):
        load_instance(here)
