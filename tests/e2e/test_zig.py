"""One machine with zig builds for others: what it can make is announced when it was tried, and made as asked for."""

import os
from pathlib import Path

import pytest

from buildtool.adapters.host.zig.finding import installed_at
from buildtool.demo.local_farm import import_sources, local_farm
from buildtool.demo.narrator import asked
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
