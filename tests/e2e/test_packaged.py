"""Compilers that a distribution has as packages make a machine build for other systems, in the sandbox, without zig."""

import shutil
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import frozen

from buildtool.adapters.host.packaged_toolchains import PACKAGES
from buildtool.demo.local_farm import LocalFarm, import_sources, local_farm
from buildtool.demo.narrator import asked
from buildtool.model.binaries.recognition import HEAD, targets_of
from tests.support.packages import require

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("packaged")]  # the tests share a farm

ROOT = Path(__file__).resolve().parents[2]
FROM = {one.os: one.packages for one in PACKAGES if one.arch != "i686"}


def runs(os: str) -> bool:
    """Return whether this machine has what runs programs of a system, so that the recipe's own check is made."""
    return os == "linux" or shutil.which({"windows": "wine", "wasi": "wasmtime"}[os]) is not None


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """The deployment's own configuration with the testproject, and one build server with what this machine has."""
    require("git", "git")
    require("gcc", "gcc libc6-dev")
    require("make", "make")
    directory = tmp_path_factory.mktemp("packaged")
    repository = directory / "testproject.git"
    import_sources(ROOT / "testproject" / "source", repository)
    with local_farm(directory / "farm", ROOT / "config.py", BUILDTOOL_TESTPROJECT_REPOSITORY=str(repository)) as made:
        made.start_metaserver()
        made.start_build_server("anna", "--sandbox", "strict")
        yield made


@frozen
class Case:
    """A system, how it is asked for, by which compiler it is made, and what comes of it."""

    os: str
    asking: str
    compiler: str
    made_by: str
    platform: Mapping[str, str]
    name: str


CASES = (
    Case("linux", "--libc=musl", "musl-gcc", "musl-gcc -static", {"arch": "x86_64", "libc": "musl"}, "tally"),
    Case(
        "windows", "--os=windows", "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-gcc", {"arch": "x86_64"}, "tally.exe"
    ),
    Case(
        "wasi", "--os=wasi", "wasm-ld", "clang --target=wasm32-wasi", {"arch": "wasm32", "libc": "wasi-libc"},
        "tally.wasm",
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.os)
def test_a_program_is_made_by_the_compiler_of_a_package_and_is_what_was_asked_for(farm: LocalFarm, case: Case) -> None:
    require(case.compiler, f"--no-install-recommends {FROM[case.os]}")
    answer = asked(farm, case.asking, "--foreground", f"--output={case.os}.zip", "anna@example.org")
    artifact = answer["artifact"]
    assert (artifact["kind"], artifact["sandbox"]) == ("cross", "strict")
    assert case.platform.items() | {("os", case.os)} <= artifact["platform"].items()
    with zipfile.ZipFile(farm.directory / f"{case.os}.zip") as archive:
        (target,) = targets_of(archive.read(case.name)[:HEAD])
    assert (target.os, target.arch) == (case.os, case.platform["arch"])
    with urllib.request.urlopen(answer["log_url"]) as log:  # noqa: S310 - of this test's own farm
        said = log.read().decode()
    assert case.made_by in said
    assert ("self-check" in said) == runs(case.os), said
