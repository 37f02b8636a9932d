"""Root file systems are kept by name, the newest is used, and what a build server has is not taken away from it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.roots.store import (
    DEBIAN_ARCHES,
    TRYING,
    SystemRoot,
    alone,
    begun,
    damaged_in,
    debian_arch,
    kept,
    named,
    remove,
    roots_in,
)
from buildtool.errors import ConfigurationError
from buildtool.model.platforms import ARCHES

ROOT = SystemRoot(
    Path(), "bullseye", "x86_64", "http://deb.example/debian", ["zlib1g-dev"], 7.5, "glibc", "2.31", "debian-11",
    "gcc-10.2.1",
)  # fmt: skip


def add(build_dir: Path, root: SystemRoot = ROOT, marked: str = "") -> SystemRoot:
    with alone(build_dir) as top:
        new = begun(top, root)
        (new.files / "usr/bin").mkdir(parents=True)
        (new.files / "mark").write_text(marked)
        return kept(top, new)


def test_what_was_kept_is_found_by_its_name_as_it_was(tmp_path: Path) -> None:
    made = add(tmp_path)
    assert made.name == "bullseye-amd64"
    assert roots_in(tmp_path) == [made]
    assert named(tmp_path, "bullseye-amd64") == evolve(ROOT, place=made.place)
    with pytest.raises(ConfigurationError, match="no platform 'sid-amd64' here; there is bullseye-amd64"):
        named(tmp_path, "sid-amd64")


def test_what_is_made_anew_takes_the_place_of_the_older_one_which_stays_while_it_is_held(tmp_path: Path) -> None:
    first = add(tmp_path, marked="first")
    with first.hold():
        second = add(tmp_path, marked="second")
        assert (first.files / "mark").read_text() == "first"
        assert roots_in(tmp_path) == [second]
    third = add(tmp_path)
    assert not first.place.exists()
    assert not second.place.exists()
    assert [one.name for one in third.place.parent.iterdir()] == [third.place.name]


def test_what_a_build_server_has_is_not_removed_before_that_has_ended(tmp_path: Path) -> None:
    made = add(tmp_path)
    with made.hold(), alone(tmp_path) as top, pytest.raises(ConfigurationError, match="in use by a build server"):
        remove(top, made.name)
    assert roots_in(tmp_path) == [made]
    with alone(tmp_path) as top:
        remove(top, made.name)
    assert roots_in(tmp_path) == []
    assert [one.name for one in (tmp_path / "platforms").iterdir()] == [".lock"]
    with pytest.raises(ConfigurationError, match="was removed meanwhile"):
        made.hold()


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        "x" * 70_000,
        "[" * 60_000,
        '{"suite": 3}',
        json.dumps({"suite": "sid", "arch": "../x", "mirror": "m"}),
    ],
    ids=["empty", "list", "nothing", "long", "deep", "number", "architecture"],
)
def test_what_is_damaged_is_not_there_and_goes_when_it_is_made_anew(damage: str, tmp_path: Path) -> None:
    made = add(tmp_path)
    (made.place / "about.json").write_text(damage)
    assert roots_in(tmp_path) == []
    assert roots_in(tmp_path / "nowhere") == []
    new = add(tmp_path)
    assert roots_in(tmp_path) == [new]
    assert not made.place.exists()


@pytest.mark.parametrize("damage", [Path.touch, Path.mkdir, os.mkfifo], ids=["empty", "directory", "pipe"])
def test_what_is_damaged_is_told_and_can_be_removed(damage: Callable[[Path], None], tmp_path: Path) -> None:
    made = add(tmp_path)
    assert damaged_in(tmp_path) == []
    (made.place / "about.json").unlink()
    damage(made.place / "about.json")
    (tmp_path / "platforms/empty").mkdir()
    assert (roots_in(tmp_path), damaged_in(tmp_path)) == ([], [made.name])
    with alone(tmp_path) as top:
        remove(top, made.name)
    assert damaged_in(tmp_path) == []
    assert not made.place.parent.exists()


def test_what_else_lies_beside_root_file_systems_is_let_be(tmp_path: Path) -> None:
    note = add(tmp_path).place.parent / "notes"
    note.touch()
    made = add(tmp_path)
    assert (note.exists(), roots_in(tmp_path)) == (True, [made])


def test_one_that_calls_itself_otherwise_than_its_directory_is_not_there(tmp_path: Path) -> None:
    made = add(tmp_path)
    said = json.loads((made.place / "about.json").read_text())
    (made.place / "about.json").write_text(json.dumps({**said, "suite": "sid"}))
    assert roots_in(tmp_path) == []


def test_two_commands_do_not_change_them_at_once_and_what_one_left_half_made_goes(tmp_path: Path) -> None:
    with (
        alone(tmp_path) as top,
        pytest.raises(ConfigurationError, match="another command makes or removes"),
        alone(tmp_path),
    ):
        pass
    begun(top, ROOT)
    (top / f"{TRYING}x" / "tree").mkdir(parents=True)
    with alone(tmp_path) as top:
        assert [one.name for one in top.iterdir()] == [".lock"]


def test_a_directory_that_cannot_be_written_in_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "platforms").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot write in .*platforms"), alone(tmp_path):
        pass


def test_architectures_are_called_as_debian_or_as_linux_does() -> None:
    assert debian_arch("arm64") == debian_arch("aarch64") == "aarch64"
    assert set(DEBIAN_ARCHES) <= set(ARCHES)
    assert all(debian_arch(said) == arch for arch, said in DEBIAN_ARCHES.items())
    with pytest.raises(ConfigurationError, match="'z80' is no architecture of Debian's: say amd64"):
        debian_arch("z80")


def test_programs_are_looked_for_in_the_root_and_not_on_the_machine(tmp_path: Path) -> None:
    made = add(tmp_path)
    (made.files / "usr/bin/gcc").write_text("")
    assert made.has("gcc")
    assert not made.has("sh")
