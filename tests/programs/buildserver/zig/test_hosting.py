"""While a build server runs, zig's targets are tried one by one, and those that work are announced in a few logins."""

import os
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.toolchains import Toolchain, ToolchainSurvey
from buildtool.adapters.host.zig.finding import installed_at
from buildtool.adapters.host.zig.installing import RUNNER
from buildtool.adapters.runtime.threads import Inline
from buildtool.errors import UsageError
from buildtool.model.servers import OfferKind
from buildtool.programs.buildserver.capability import AnnouncedCapability, announced, restricted, warmed
from buildtool.programs.buildserver.platforms import PlatformChoice
from buildtool.programs.buildserver.sandbox_choice import declared
from buildtool.programs.buildserver.zig.hosting import BUSY, ZigHosting
from buildtool.programs.buildserver.zig.offers import zig_offers
from tests.fakes_build import project
from tests.support.packages import require, require_that
from tests.support.zigs import compiled, nice_given, small_zig

pytestmark = pytest.mark.world

DETECTED: dict[str, Detected] = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.36"}
OWN = "x86_64-linux-gnu"


class Host:
    """A machine with the small zig, its hosting, and what was announced."""

    def __init__(self, top: Path, names: tuple[str, ...] | None = None, *packaged: Toolchain) -> None:
        require("gcc", "gcc libc6-dev")
        require_that(
            present=os.uname().machine == "x86_64", what="an x86_64", remedy="use one: the small zig makes for it"
        )
        there = installed_at(top) / "ziglang" / "zig"
        self.program = there if there.exists() else small_zig(there.parent)
        self.top, self.choice, self.packaged = top, PlatformChoice(names), ToolchainSurvey(packaged)
        self.clock, self.may, self.told = Clock(), True, list[AnnouncedCapability]()
        self.hosting = ZigHosting(
            self.clock, Inline(), self.found(), [project()], lambda: self.may, self.told.append
        )  # fmt: skip

    def found(self) -> AnnouncedCapability:
        zig = zig_offers(self.top, self.top / "compilers", self.choice, DETECTED, os.environ["PATH"], lambda _: True)
        made = announced([project()], DETECTED, max_builds=1, admin="", software="", found=self.packaged)
        return restricted(warmed(made.with_zig(zig), [project()]), self.choice)

    def start(self) -> None:
        Deferred.fromCoroutine(self.hosting.start())

    def pass_time(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        for _ in range(20):
            self.clock.advance(0)


def triples(found: AnnouncedCapability) -> list[str]:
    return [dict(one.tools).get("HOST", "") for one in found.offers]


def test_what_zig_makes_goes_before_what_a_package_makes_which_stands_until_zig_was_tried(tmp_path: Path) -> None:
    alike = Toolchain("x86_64", OfferKind.CROSS, "glibc", "2.17", {"CC": "old-gcc", "HOST": OWN}, packaged=True)
    other = evolve(alike, os="windows", libc="msvcrt", libc_version=None, tools={"CC": "mingw-gcc", "HOST": "mingw"})
    host = Host(tmp_path, ("native", OWN, "windows"), other, alike)
    assert triples(host.hosting.found) == ["", "mingw", OWN]
    host.start()
    host.pass_time()
    (told,) = host.told
    assert triples(told)[0] == ""
    assert triples(told)[-1] == "mingw", "what zig has nothing for stays, behind what it makes"
    made = [dict(one.tools) for one in told.offers if dict(one.tools).get("HOST") == OWN]
    assert {tools["CC_VERSION"] for tools in made} == {"zig-0.99.1"}


def test_beside_builds_targets_are_tried_gently_and_where_nothing_is_built_as_builds_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is busy with something else, whoever waits for a platform would wait without end."""
    given = nice_given(tmp_path / "bin", monkeypatch)
    numbers = []
    for name, idle in (("building", False), ("idle", True)):
        host = Host(tmp_path / name, ("native", OWN))
        zig = host.hosting.found.zig
        assert zig is not None
        zig.store.nice, host.hosting.idle = lambda: 3, partial(bool, idle)
        host.start()
        host.pass_time()
        numbers.append(given()[0])
        (tmp_path / "bin" / "log").unlink()
    assert numbers == ["15", "3"]


def test_builds_see_from_the_start_what_will_run_their_programs_once_that_was_tried(tmp_path: Path) -> None:
    script = installed_at(tmp_path).resolve() / RUNNER
    program = small_zig(script.parent / "ziglang")
    script.touch()
    targets = program.with_name("zig.targets")
    targets.write_text(targets.read_text("ascii").replace("x86_64-windows-gnu", "wasm32-wasi-musl"), "ascii")
    found = Host(tmp_path, ("native", "wasi")).hosting.found
    assert triples(found) == [""]
    assert script.parent in declared((*found.offers, *found.coming), [])


def test_what_works_is_announced_with_its_range_and_what_does_not_is_left_out(tmp_path: Path) -> None:
    host = Host(tmp_path, ("native", OWN, "x86_64-linux-musl"))
    assert triples(host.hosting.found) == [""]
    assert [dict(one.tools)["HOST"] for one in host.hosting.found.coming] == [OWN, "x86_64-linux-musl"]
    host.start()
    host.pass_time()
    (told,) = host.told
    here = os.confstr("CS_GNU_LIBC_VERSION")
    assert here is not None
    assert triples(told)[:2] == ["", OWN]
    assert (dict(told.offers[1].platform)["libc_version"], dict(told.offers[1].up_to)["libc_version"]) == (
        "2.17", here.split()[1],
    )  # fmt: skip
    assert "x86_64-linux-musl" not in triples(told)
    again = Host(tmp_path, ("native", OWN))
    assert triples(again.hosting.found)[:2] == ["", OWN], "it is known at the next start"
    again.start()
    again.pass_time()
    assert again.told == []


def test_nothing_is_tried_while_the_owner_wants_the_machine(tmp_path: Path) -> None:
    host = Host(tmp_path, ("native", OWN))
    host.may = False
    host.start()
    host.pass_time(BUSY)
    assert compiled(host.program) == []
    host.may = True
    host.pass_time(BUSY)
    assert compiled(host.program) == [f"{OWN}.2.17"]
    assert len(host.told) == 1


def test_what_debugging_needs_is_compiled_when_all_is_offered_and_the_owner_is_away(tmp_path: Path) -> None:
    host = Host(tmp_path, ("native", OWN))
    zig = host.hosting.found.zig
    assert zig is not None
    host.start()
    host.may = False
    host.pass_time()
    host.may = True
    host.pass_time(BUSY)
    assert len(host.told) == 1
    assert zig.plain() == []
    assert zig.warm()
    assert zig.store.lacks_debugged(zig.targets[0]) is False


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("musl",), ["x86_64-linux-musl"]),
        (("windows", "native"), ["x86_64-w64-mingw32"]),
        (("zig", "riscv64"), [OWN, "x86_64-linux-musl", "x86_64-w64-mingw32", "riscv64-linux-gnu"]),
        (("riscv64",), ["riscv64-linux-gnu"]),
    ],
)
def test_the_owner_chooses_by_system_library_architecture_or_compiler(
    tmp_path: Path, names: tuple[str, ...], chosen: list[str]
) -> None:
    assert [dict(one.tools)["HOST"] for one in Host(tmp_path, names).hosting.found.coming] == chosen


def test_a_name_for_which_there_is_nothing_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this machine cannot build for 's390x'"):
        Host(tmp_path, ("native", "s390x"))


def test_without_cross_compilers_there_is_no_zig(tmp_path: Path) -> None:
    small_zig(installed_at(tmp_path) / "ziglang")
    choice = PlatformChoice(None, cross=False)
    assert zig_offers(tmp_path, tmp_path, choice, DETECTED, os.environ["PATH"], lambda _: True) is None
    assert zig_offers(tmp_path / "none", tmp_path, PlatformChoice(None), DETECTED, "/nowhere", lambda _: True) is None
