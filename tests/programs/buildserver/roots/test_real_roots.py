"""Real releases of Debian, this machine's and emulated ones: the testproject is built in each, and what came out runs.

They are fetched from Debian's mirror and kept for all tests of a run.
"""

import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildtool.adapters.host.roots.emulation import REGISTERED, obstacle
from buildtool.adapters.host.roots.store import named
from buildtool.adapters.host.roots.trying import why_not
from buildtool.adapters.processes.sandbox.bubblewrap import system_words
from tests.adapters.processes.sandbox.sandboxed import bubblewrap
from tests.support.packages import require, require_that
from tests.support.trying import tried

pytestmark = [pytest.mark.world, pytest.mark.long, pytest.mark.xdist_group("real-roots")]

ROOTS = (("amd64", "bullseye"), ("arm64", "bookworm"), ("riscv64", "trixie"))
"""The last is the first release that has it."""

PATIENCE = 1_200.0


@contextmanager
def registered(*arches: str) -> Iterator[None]:
    """Have the kernel run programs of other architectures, as systemd does where it runs; none is registered then."""
    if not REGISTERED.joinpath("register").exists() and os.geteuid() == 0:
        subprocess.run(["mount", "-t", "binfmt_misc", "none", REGISTERED], check=False)
    own = [one for one in arches if obstacle(one)[0]]
    try:
        for one in own:
            text = Path(f"/usr/lib/binfmt.d/qemu-{one}.conf").read_bytes()
            REGISTERED.joinpath("register").write_bytes(text)
    except OSError as error:
        require_that(present=False, what=f"emulators cannot be registered ({error})", remedy=obstacle(own[0])[1])
    try:
        yield
    finally:
        for one in own:
            REGISTERED.joinpath(f"qemu-{one}").write_bytes(b"-1")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a build directory in which the platforms were added, each by the command of its own."""
    require("mmdebstrap", "mmdebstrap")
    require("qemu-aarch64-static", "qemu-user-static")
    bubblewrap()
    top = tmp_path_factory.mktemp("builds")

    def add(one: tuple[str, str]) -> None:
        # Each in a directory of its own: in one they are made one after the other.
        arch, suite = one
        code, out, err = tried("--add-platform", arch, "--suite", suite, builds=top / arch, patience=PATIENCE)
        assert code == 0, err
        assert out.startswith(f"{suite}-{arch}: "), out

    with registered("aarch64", "riscv64"):
        with ThreadPoolExecutor(len(ROOTS)) as pool:
            list(pool.map(add, ROOTS))
        yield top


@pytest.mark.parametrize(("arch", "suite"), ROOTS)
def test_the_testproject_is_built_in_a_release_tests_itself_there_and_runs_there(
    builds: Path, tmp_path: Path, arch: str, suite: str
) -> None:
    """It was compiled by that release's compiler for its library; where it is quick, twice with the same bytes."""
    name, output = f"{suite}-{arch}", tmp_path / "kept"
    once = [] if arch == "amd64" else ["--once"]
    words = ["try", "testproject", "--source", "testproject/source", "--platforms", name, "--output", str(output)]
    code, out, err = tried(*words, *once, builds=builds / arch, patience=PATIENCE)
    assert code == 0, out + err
    root = named(builds / arch, name)
    kind = "native" if arch == "amd64" else "emulated"
    assert f"platform   {kind}: arch={root.arch} " in out
    assert f"libc_version={root.libc_version} " in out
    assert "ok crc32: 3421780262" in out, "its own tests ran"
    (archive,) = output.iterdir()
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "unpacked")
    (tmp_path / "unpacked/tally").chmod(0o755)
    ran = subprocess.run(
        ["bwrap", "--unshare-pid", *system_words(root.files), "--proc", "/proc",
         "--ro-bind", tmp_path / "unpacked", "/here", "/here/tally", "--selftest"],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    assert b"ok different words: 3" in ran.stdout


def test_the_library_of_the_older_release_is_older_than_this_machines(builds: Path) -> None:
    root = named(builds / "amd64", "bullseye-amd64")
    assert (root.libc, root.libc_version, root.os_release) == ("glibc", "2.31", "debian-11")
    assert re.fullmatch(r"gcc-10\.[0-9.]+", root.compiler)
    assert os.confstr("CS_GNU_LIBC_VERSION") != "glibc 2.31"


def test_what_is_not_registered_any_more_is_not_offered(builds: Path) -> None:
    root, entry = named(builds / "riscv64", "trixie-riscv64"), REGISTERED / "qemu-riscv64"
    assert why_not(root, "x86_64") == ("", "")
    entry.write_bytes(b"0")
    try:
        why, mend = why_not(root, "x86_64")
    finally:
        entry.write_bytes(b"1")
    assert why == "qemu-riscv64 is registered and switched off"
    assert mend == f"as root: echo 1 > {entry}"
