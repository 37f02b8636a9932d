"""One machine with zig builds for others: what it can make is announced when it was tried, and made as asked for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.adapters.host.wine import PACKAGES
from buildtool.adapters.host.zig.finding import installed_at
from buildtool.demo.local_farm import import_sources, local_farm
from buildtool.demo.narrator import asked
from tests.support.imported import need_sources
from tests.support.packages import require, require_that
from tests.support.zigs import compiled, small_zig

pytestmark = pytest.mark.world

ROOT = Path(__file__).resolve().parents[2]


def test_a_library_version_that_no_machine_has_is_built_for_and_is_a_hit_for_newer_ones(tmp_path: Path) -> None:
    require("gcc", "gcc libc6-dev")
    require("make", "make")
    require_that(present=os.uname().machine == "x86_64", what="an x86_64", remedy="use one: the small zig makes for it")
    repository, builds = tmp_path / "testproject.git", tmp_path / "builds"
    import_sources(ROOT / "testproject" / "source", repository)
    zig = small_zig(installed_at(builds) / "ziglang")
    with local_farm(
        tmp_path / "farm", ROOT / "config.py", BUILDTOOL_TESTPROJECT_REPOSITORY=str(repository), TMPDIR=str(tmp_path)
    ) as farm:
        farm.start_metaserver()
        chosen = ("--platforms", "native,x86_64-linux-gnu")
        server = farm.start_build_server("anna", *chosen, BUILDTOOL_BUILD_DIR=str(builds))
        server.wait_for(r"zig makes programs for x86_64-linux-gnu; still to be tried: 0")
        server.wait_for(r"registered")
        words = ("--table-size=77", "--foreground", "anna@example.org")
        made = [
            asked(farm, "--output", f"{version}.zip", f"--libc-version={version}", *words)
            for version in ("2.28", "2.30", "2.17")
        ]
    assert [one["answer"] for one in made] == ["dispatched", "hit", "dispatched"]
    assert [one["artifact"]["platform"]["libc_version"] for one in made] == ["2.28", "2.28", "2.17"]
    assert {one["artifact"]["kind"] for one in made} == {"cross"}
    assert compiled(zig) == ["x86_64-linux-gnu.2.17", "x86_64-linux-gnu.2.28"], "each once, and by no build"


@pytest.mark.long
@pytest.mark.xdist_group("platforms")
def test_one_machine_builds_three_projects_for_a_dozen_platforms_and_runs_all_but_those_for_macos(
    tmp_path: Path,
) -> None:
    require("make", "make")
    require("gcc", "gcc libc6-dev")
    require("wine", f"--no-install-recommends {PACKAGES}")
    require("qemu-s390x-static", "qemu-user-static")
    require("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross")
    require_that(present=os.uname().machine == "x86_64", what="an x86_64", remedy="use one: it runs three of glibc")
    for name in ("lua", "zlib"):
        need_sources(name)
    words = [sys.executable, "-m", "buildtool.demo.demo_platforms", "--directory", str(tmp_path / "demo")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3_000)
    assert done.returncode == 0, done.stdout + done.stderr
    row = r"^(testproject|lua|zlib) +(\S+) +(\S+) +(\S+(?: [0-9.]+)?) +\d+ +(\S+(?: machine)?) +(by its headers.*)$"
    rows = re.findall(row, done.stdout, re.MULTILINE)
    platforms = {(system, arch, libc) for _, system, arch, libc, _, _ in rows}
    assert len(rows) == 3 * len(platforms) >= 36, done.stdout
    assert sum(libc.startswith("glibc ") and arch == "x86_64" for _, arch, libc in platforms) == 3
    assert len({arch for _, arch, libc in platforms if libc.startswith("musl")}) == 4
    assert {("linux", "ppc"), ("windows", "x86_64"), ("darwin", "aarch64"), ("wasi", "wasm32")} < {
        (system, arch) for system, arch, _ in platforms
    }
    for project, system, arch, _, by, checked in rows:
        assert ("and run: " in checked, by != "-") == ((system != "darwin",) * 2), (project, system, arch, checked)
