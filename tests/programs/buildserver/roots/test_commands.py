"""One command adds a platform; it is listed, made anew, built in, and removed; what is in the way is said in a line."""

import json
import os
import platform
from pathlib import Path

import pytest

from buildtool.adapters.host.roots.store import roots_in
from buildtool.programs.buildserver.roots.commands import needed_packages
from tests.adapters.processes.sandbox.sandboxed import bubblewrap
from tests.programs.buildserver.roots.test_offers import project
from tests.support.small_roots import small_mmdebstrap
from tests.support.trying import tried

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bubblewrap()
    return small_mmdebstrap(tmp_path_factory.mktemp("programs"))


def run(programs: Path, builds: Path, *words: str) -> tuple[int, str, str]:
    return tried(*words, builds=builds, PATH=f"{programs}:{os.environ['PATH']}")


def test_a_platform_is_added_listed_made_anew_beside_who_uses_it_and_removed(programs: Path, tmp_path: Path) -> None:
    own = platform.machine()
    code, out, err = run(programs, tmp_path, "--add-platform", own, "--suite", "bullseye", "--include", "zlib1g-dev")
    assert (code, out.splitlines()[0].partition(": ")[2]) == (0, "native, debian-11, glibc 2.31, gcc-10.2.1"), err
    asked = (programs.parent / "asked").read_text()
    assert "--include=g++,gcc,libc6-dev,make,patch,xz-utils,zlib1g-dev bullseye" in asked
    (first,) = roots_in(tmp_path)
    code, out, _ = run(programs, tmp_path, "list-platforms", "--json")
    (told,) = json.loads(out)
    assert (told["name"], told["kind"], told["why_not"], told["packages"]) == (
        first.name, "native", "", ["zlib1g-dev"],
    )  # fmt: skip
    with first.hold():
        code, out, _ = run(programs, tmp_path, "add-platform", own, "--suite", "bullseye", "--refresh", "--json")
        assert (code, json.loads(out)["packages"], json.loads(out)["new"]) == (0, ["zlib1g-dev"], True)
        assert first.files.is_dir()
    code, out, err = run(programs, tmp_path, "remove-platform", first.name)
    assert (code, out) == (0, f"{first.name} is removed\n"), err
    assert roots_in(tmp_path) == []
    assert [one.name for one in (tmp_path / "platforms").iterdir()] == [".lock"]


def test_what_cannot_be_added_is_said_in_one_line_and_leaves_nothing(programs: Path, tmp_path: Path) -> None:
    refuse = programs.parent / "refuse"
    refuse.write_text("E: The repository 'http://x buster Release' does not have a Release file.\n")
    try:
        code, out, err = run(programs, tmp_path, "add-platform", platform.machine(), "--suite", "buster")
    finally:
        refuse.unlink()
    assert (code, out) == (2, "")
    assert "has no release buster (any more)" in err.splitlines()[-1]
    assert [one.name for one in (tmp_path / "platforms").iterdir()] == [".lock"]
    for words, said in (
        (["add-platform", "arm64"], "add-platform arm64 needs a release of Debian: --suite bookworm, say"),
        (["add-platform", "z80", "--suite", "sid"], "'z80' is no architecture of Debian's"),
        (["remove-platform", "sid-amd64"], "there is no platform 'sid-amd64' here; there is none"),
    ):
        code, out, err = run(programs, tmp_path, *words)
        assert (code, out) == (2, "")
        assert said in err


def test_without_a_sandbox_it_refuses_before_anything_is_fetched(tmp_path: Path) -> None:
    """Nothing keeps the files of two systems apart there."""
    programs = small_mmdebstrap(tmp_path)
    (programs / "bwrap").write_text("#!/bin/sh\necho 'no namespaces here' >&2\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    code, out, err = run(programs, tmp_path / "builds", "add-platform", platform.machine(), "--suite", "bullseye")
    assert (code, out) == (2, "")
    assert "other systems are built in only within a sandbox, and there is none: " in err.splitlines()[-1]
    assert not (tmp_path / "asked").exists()


def test_the_packages_of_the_tools_that_recipes_need_come_along() -> None:
    assert needed_packages([project(tools=("cmake", "ninja", "cc"))]) == {"cmake", "ninja-build", "gcc"}
