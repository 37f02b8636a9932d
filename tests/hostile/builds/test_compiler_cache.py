"""What a hostile build does to its copy of a compiler's warm cache reaches neither the store nor the next build."""

import platform
import sys
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.host.zig.finding import find_zig, installed_at
from buildtool.adapters.host.zig.toolchains import Runners
from buildtool.adapters.host.zig.warm_store import WarmStore
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Offer
from tests.hostile.builds.scene import PLATFORM, Asked, digest_below, scene
from tests.support.packages import require
from tests.support.zigs import compiled, small_zig

pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the small zig is for x86_64"),
    pytest.mark.xdist_group("hostile builds"),
]

TARGET = "x86_64-linux-gnu.2.17"
HONEST = 'cd "$HOME/.cache/zig" && find . -type f | sort | xargs sha256sum > "$OLDPWD/listing"'
POISON = """\
cd "$HOME/.cache/zig"
find . -type f | while read -r file; do echo poison >> "$file"; echo poison > "$file.more"; done
echo poison >> "$1/o/$2/libc.a"
mv o mine
ln -s "$1/o" o
echo poison >> "o/$2/libc.a"
ln "$1/o/$2/libc.a" linked && echo poison >> linked
cat "mine/$2/libc.a"
exit 0
"""


def test_a_build_that_poisons_its_copy_of_the_cache_changes_nothing_for_the_next_one(tmp_path: Path) -> None:
    require("gcc", "gcc libc6-dev")
    small_zig(installed_at(tmp_path) / "ziglang")
    zig = find_zig(tmp_path, "/nowhere")
    assert zig is not None
    with scene(tmp_path / "machine") as machine:
        store = WarmStore(zig, tmp_path / "machine" / "compilers", Runners("x86_64"))
        machine.tools = evolve(
            machine.tools, workshop=BuildSlots(tmp_path / "machine" / "slots", machine.pool, {}, store.seed)
        )
        machine.offer = Offer(PLATFORM, tools=(("CC", f"{zig.path} cc -target {TARGET} -s"),))
        honest = Asked([["sh", "-c", HONEST]], ["listing"])
        first = machine.build(honest)
        assert first.digest, first.log
        kept = digest_below(store.place)
        cache = str(store.place / TARGET / "cache")
        hostile = machine.build(Asked([["sh", "-c", POISON, "sh", cache, TARGET]]))
        assert hostile.end is AttemptEnd.SUCCEEDED, hostile.log
        assert f"the library of {TARGET}\npoison" in hostile.log, "it wrote into its own"
        assert digest_below(store.place) == kept
        assert machine.build(honest).digest == first.digest
        assert machine.harm() == ""
    assert compiled(zig.path) == [TARGET]
