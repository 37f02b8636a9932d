"""A root file system is believed once its compiler made a program in the sandbox, and seen there in place of ours."""

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.roots.store import SystemRoot
from buildtool.adapters.host.roots.trying import tried, why_not
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox.proving import prove
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.errors import ConfigurationError
from buildtool.model.trust.evidence import SandboxLevel
from tests.adapters.host.roots.test_store import ROOT
from tests.adapters.processes.sandbox.sandboxed import Boxed, Slot, bubblewrap
from tests.support.small_roots import small_root

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SystemRoot:
    bubblewrap()
    top = tmp_path_factory.mktemp("root")
    small_root(top / "files")
    return evolve(ROOT, place=top, arch=platform.machine(), libc="", libc_version="", os_release="", compiler="")


@pytest.fixture
def sandboxes(tmp_path: Path) -> Iterator[Sandboxes]:
    keepers = Keepers(1)
    yield Sandboxes(keepers, bubblewrap(), tmp_path / "made")
    keepers.close()


def test_what_its_compiler_says_is_read_and_not_what_this_machine_is(
    made: SystemRoot, sandboxes: Sandboxes, tmp_path: Path
) -> None:
    found = tried(made, sandboxes, tmp_path)
    assert (found.libc, found.libc_version, found.compiler, found.os_release) == (
        "glibc", "2.31", "gcc-10.2.1", "debian-11",
    )  # fmt: skip
    assert [one.name for one in tmp_path.iterdir()] == ["made"]


def test_a_compiler_that_makes_programs_for_elsewhere_or_none_is_not_believed(
    made: SystemRoot, sandboxes: Sandboxes, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="what its compiler makes does not run"):
        tried(evolve(made, arch="riscv64"), sandboxes, tmp_path)
    broken = evolve(made, place=tmp_path / "broken")
    shutil.copytree(made.files, broken.files, symlinks=True)
    (broken.files / "usr/bin/gcc").write_text("#!/bin/sh\necho 'gcc: error: no luck' >&2\nexit 1\n")
    with pytest.raises(ConfigurationError, match="bullseye-amd64 does not build here: gcc: error: no luck"):
        tried(broken, sandboxes, tmp_path)


def test_builds_see_its_files_and_settings_and_nothing_of_this_machines_and_cannot_write_there(
    made: SystemRoot, sandboxes: Sandboxes, tmp_path: Path
) -> None:
    slot = Slot(tmp_path / "slot").make()
    boxed = Boxed(sandboxes.make(0, slot.tree, slot.place, root=made.files), slot)
    try:
        assert boxed.shell("cat /etc/os-release").output.startswith("ID=debian\nVERSION_ID=")
        assert set(boxed.run("ls", "/usr/bin").output.split()) == {
            one.name for one in (made.files / "usr/bin").iterdir()
        }
        assert boxed.shell("cp /usr/lib/answer /usr/bin/new").code != 0
        assert boxed.shell("cp /usr/lib/answer new").code == 0
    finally:
        boxed.sandbox.end()
    assert not (made.files / "usr/bin/new").exists()
    again = Boxed(sandboxes.make(0, slot.tree, slot.place), slot)  # the slot's next build is this machine's own again
    try:
        assert again.shell("ls /usr/lib/answer").code != 0
    finally:
        again.sandbox.end()


def test_a_sandbox_with_it_is_as_strict_as_with_this_machines_own_files(made: SystemRoot, tmp_path: Path) -> None:
    keepers = Keepers(1)
    try:
        own = prove(keepers, tmp_path / "own", [], [])
        other = prove(keepers, tmp_path / "other", [], [], made.files)
    finally:
        keepers.close()
    assert other.level is own.level
    assert other.level is not SandboxLevel.NONE


def test_one_whose_programs_do_not_run_is_said_to_be_so_before_anything_is_offered(
    made: SystemRoot, tmp_path: Path
) -> None:
    assert why_not(made, platform.machine()) == ("", "")
    empty = evolve(made, place=tmp_path)
    (empty.files / "usr/bin").mkdir(parents=True)
    assert why_not(empty, platform.machine())[0] == "its compiler is not there any more"
    (empty.files / "usr/bin/gcc").touch()
    assert "its programs do not run: " in why_not(empty, platform.machine())[0]
