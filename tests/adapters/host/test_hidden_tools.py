"""Programs that are hidden are not found by name, all others are as before; a sandbox covers no other with them."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.adapters.host.hidden_tools import HiddenTools, clear_old_directories, hide_tools
from buildtool.errors import ConfigurationError, UsageError
from tests.support.lanes import examples

NAMES = ("cc", "gcc", "make", "perl", "xz")
LINKS = st.dictionaries(st.sampled_from(NAMES), st.none() | st.sampled_from(NAMES), min_size=1)
"""By name: a program of its own, or a link to another one, which need not be there."""


def machine(top: Path, *directories: dict[str, str | None]) -> str:
    """Make directories of programs; return them as PATH."""
    for number, programs in enumerate(directories):
        directory = top / f"bin{number}"
        directory.mkdir()
        for name, target in programs.items():
            if target is None:
                (directory / name).write_text(f"#!/bin/sh\necho {number} {name}\n")
                (directory / name).chmod(0o755)
            else:
                (directory / name).symlink_to(target)
    return os.pathsep.join(str(top / f"bin{number}") for number in range(len(directories)))


def found(name: str, search: str) -> Path | None:
    there = shutil.which(name, path=search)
    return None if there is None else Path(there).resolve()


@settings(max_examples=examples(20))
@given(LINKS, LINKS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_what_is_hidden_is_not_in_path_and_all_else_is_where_it_was(
    one: dict[str, str | None], two: dict[str, str | None], hidden: set[str]
) -> None:
    with TemporaryDirectory() as top:
        search = machine(Path(top), one, two)
        without = hide_tools(hidden, search, Path(top) / "without", sandboxed=False)
        for name in NAMES:
            assert found(name, without.search) == (None if name in hidden else found(name, search)), name
        assert hide_tools(hidden, search, Path(top) / "without", sandboxed=False) == without


@settings(max_examples=examples(20))
@given(LINKS, LINKS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_a_sandbox_covers_what_is_hidden_and_no_other_program_or_it_is_said_what_else_that_is(
    one: dict[str, str | None], two: dict[str, str | None], hidden: set[str]
) -> None:
    with TemporaryDirectory() as top:
        search = machine(Path(top), one, two)
        names, tries = sorted(hidden), 0
        while True:
            try:
                without = hide_tools(names, search, Path(top) / "without", sandboxed=True, usual=())
                break
            except UsageError as error:
                tries += 1
                assert tries < len(NAMES)
                names = str(error).rpartition("--without ")[2].split(",")  # as it is said
        assert set(hidden) <= set(names)
        for name in NAMES:
            for directory in search.split(os.pathsep):
                real = found(name, directory)
                assert (real in without.covered) == (real is not None and name in names)


def test_nothing_hidden_changes_nothing_and_makes_nothing(tmp_path: Path) -> None:
    search = machine(tmp_path, {"cc": None})
    for names in ((), ("ld",)):
        without = hide_tools(names, search, tmp_path / "without", sandboxed=True, usual=())
        assert (without.search, without.covered) == (search, ())
    assert not (tmp_path / "without").exists()
    assert hide_tools((), search, tmp_path, sandboxed=True, usual=()).words(sandboxed=True) == ""


def test_a_program_that_is_many_cannot_be_hidden_by_covering_it(tmp_path: Path) -> None:
    search = machine(tmp_path, {"busybox": None, **{f"tool{number}": "busybox" for number in range(20)}})
    with pytest.raises(UsageError, match="is 20 other programs as well"):
        hide_tools(["busybox"], search, tmp_path / "without", sandboxed=True, usual=())
    assert hide_tools(["tool0"], search, tmp_path / "without", sandboxed=False).hides("/usr/bin/tool0")


def test_a_program_that_was_installed_meanwhile_is_found_at_the_next_start_and_the_old_directory_goes(
    tmp_path: Path,
) -> None:
    search, place = machine(tmp_path, {"cc": None, "make": None}), tmp_path / "without"
    before = hide_tools(["cc"], search, place, sandboxed=False)
    os.utime(tmp_path / "bin0", ns=(0, 0))
    (tmp_path / "bin0" / "new").symlink_to("make")
    after = hide_tools(["cc"], search, place, sandboxed=False)
    assert found("new", after.search) == (tmp_path / "bin0" / "make").resolve()
    clear_old_directories(place, after.search)
    assert [str(one) for one in place.iterdir()] == [after.search] != [before.search]


def test_where_nothing_can_be_made_it_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^--without: .*file.* cannot be read or made: Not a directory$"):
        hide_tools(["cc"], machine(tmp_path, {"cc": None}), tmp_path / "file" / "without", sandboxed=False)


def test_what_is_hidden_is_said_with_how_well() -> None:
    without = HiddenTools(("cc",), "/usr/bin", "/made")
    assert "whole path" in without.words(sandboxed=False)
    assert "at their place" in without.words(sandboxed=True)
    assert (without.path_for(sandboxed=True), without.path_for(sandboxed=False)) == ("/usr/bin", "/made")
