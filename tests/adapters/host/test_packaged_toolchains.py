"""Compilers that distributions have as packages are found by their names, and offered once what they make is right."""

import os
import platform
import shutil
from pathlib import Path

import pytest

from buildtool.adapters.host.packaged_toolchains import PACKAGES, Package, packaged_toolchains
from buildtool.adapters.host.toolchains import NamedToolchain, Toolchain, survey
from buildtool.adapters.host.zig.toolchains import Runners
from buildtool.model.servers import OfferKind
from tests.model.binaries.heads import START, WASI_IMPORT, wasm
from tests.support.packages import require

MUSL, WINDOWS, _, WASI = PACKAGES


def there(directory: Path, *names: str) -> str:
    """Return a PATH in which there are programs of these names, and nothing else."""
    for name in names:
        program = directory / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return str(directory)


def found(search: str, arch: str = "x86_64", system: str = "linux", files: Path = Path("/")) -> list[NamedToolchain]:
    return list(packaged_toolchains(system, arch, search, files))


def test_nothing_is_looked_for_twice_or_where_its_compiler_is_not(tmp_path: Path) -> None:
    assert found(there(tmp_path, "ar", "ranlib", "llvm-ar", "wasm-ld")) == []


def test_musl_is_for_the_machines_own_processor_and_brings_its_library_along(tmp_path: Path) -> None:
    search = there(tmp_path, "musl-gcc", "ar")
    (one,) = found(search, "aarch64")
    assert (one.triple, one.arch, one.libc, one.libc_version) == ("aarch64-linux-musl", "aarch64", "musl", "1.0")
    assert one.tools == {"CC": "musl-gcc -static", "AR": "ar"}, "only what is there is named"
    assert found(search, "aarch64", "darwin") == []
    assert found(search, "pdp11") == []


def test_a_clang_is_for_wasi_only_where_there_is_its_library(tmp_path: Path) -> None:
    search = there(tmp_path, "clang", "llvm-ar")
    assert found(search, files=tmp_path) == []
    (tmp_path / "usr/lib/wasm32-wasi").mkdir(parents=True)
    (one,) = found(search, files=tmp_path)
    assert (one.os, one.arch, one.libc) == ("wasi", "wasm32", "wasi-libc")
    assert one.tools == {"CC": "clang --target=wasm32-wasi", "AR": "llvm-ar"}


def test_what_runs_its_programs_is_asked_for_and_believed_once_it_has_run_one_in_a_home_of_its_own(
    tmp_path: Path,
) -> None:
    search = os.pathsep.join((there(tmp_path, "clang"), "/usr/bin", "/bin"))
    (tmp_path / "made").write_bytes(wasm(WASI_IMPORT, START))
    (tmp_path / "clang").write_text(f'#!/bin/sh\ncase "$3" in */program.wasm) cp {tmp_path}/made "$3";; esac\n')
    (tmp_path / "runs").write_text(f'#!/bin/sh\necho "$HOME" > {tmp_path}/home\necho built by buildtool\n')
    (tmp_path / "runs").chmod(0o755)
    (tmp_path / "usr/lib/wasm32-wasi").mkdir(parents=True)
    (named,) = (one for one in found(search, files=tmp_path) if one.os == "wasi")
    ways = [("false",), (str(tmp_path / "runs"),)]
    (one,) = survey([named], search, ways=lambda _: ways).toolchains
    assert (one.tools["RUN"], one.packaged) == (str(tmp_path / "runs"), True)
    assert (tmp_path / "home").read_text().strip() not in {os.environ.get("HOME"), ""}
    (none,) = survey([named], search, ways=lambda _: ways[:1]).toolchains
    assert "RUN" not in none.tools


@pytest.mark.parametrize(
    ("compiler", "package", "os", "libc", "version"),
    [
        ("musl-gcc", MUSL, "linux", {"musl"}, "gcc-"),
        ("x86_64-w64-mingw32-gcc", WINDOWS, "windows", {"msvcrt", "ucrt"}, "gcc-"),
        ("wasm-ld", WASI, "wasi", {"wasi-libc"}, "clang-"),
    ],
    ids=("musl", "windows", "wasi"),
)
def test_the_compilers_of_debian_are_tried_and_say_what_they_are(
    compiler: str, package: Package, os: str, libc: set[str], version: str
) -> None:
    require(compiler, f"--no-install-recommends {package.packages}")
    machine = platform.machine()
    (named,) = (one for one in packaged_toolchains("linux", machine) if (one.os, one.arch != "i686") == (os, True))
    tried = survey([named], ways=Runners(machine))
    assert tried.rejected == ()
    (one,) = tried.toolchains
    assert isinstance(one, Toolchain)
    assert (one.os, one.kind, one.packaged) == (os, OfferKind.CROSS, True)
    assert one.libc in libc, "as it is linked, not as it was guessed"
    assert one.tools["CC_VERSION"].startswith(version)
    runner = {"linux": "env", "windows": "wine", "wasi": "wasmtime"}[os]
    assert ("RUN" in one.tools) == (shutil.which(runner) is not None)
