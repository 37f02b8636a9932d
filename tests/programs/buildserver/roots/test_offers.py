"""Root file systems are offered where they run, were chosen, and are not what the machine makes by itself."""

from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.roots.store import SystemRoot
from buildtool.errors import UsageError
from buildtool.model.servers import OfferKind
from buildtool.programs.buildserver.capability import (
    AnnouncedCapability,
    announced,
    restricted,
    with_roots,
    without_roots,
)
from buildtool.programs.buildserver.platforms import PlatformChoice
from buildtool.programs.buildserver.roots.offers import lacking, root_offers
from buildtool.project import Plan, Project, ProjectOptions, Recipe
from tests.adapters.host.roots.test_store import ROOT, add

HERE: dict[str, Detected] = {
    "os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little", "libc": "glibc", "libc_version": "2.36",
    "cpu_level": "x86-64-v3", "tools": ("gcc",), "cc_version": "gcc-12.2.0",
}  # fmt: skip
ARM = evolve(ROOT, suite="bookworm", arch="aarch64", libc_version="2.36", os_release="debian-12", compiler="gcc-12.2.0")
SAME = evolve(ROOT, suite="bookworm", libc_version="2.36")


def project(**machine: tuple[str, ...]) -> Project:
    return Project(
        "paint", ProjectOptions((), ()), Recipe(1, lambda _: Plan([], []), machine=machine), lambda _: "/nowhere"
    )


def offered(
    build_dir: Path,
    choice: PlatformChoice | None = None,
    *,
    sandboxed: bool = True,
    why: str = "",
) -> AnnouncedCapability:
    def tried(_root: SystemRoot, _own: str) -> tuple[str, str]:
        return why, "mend it" if why else ""

    chosen = PlatformChoice() if choice is None else choice
    plain = announced([project()], HERE, max_builds=1, admin="", software="")
    roots = root_offers(build_dir, chosen, HERE, sandboxed=sandboxed, tried=tried)
    return restricted(with_roots(plain, roots, [project()]), chosen)


def told(found: AnnouncedCapability) -> list[tuple[str, object, object, str | None]]:
    return [
        (
            one.kind.value,
            dict(one.platform).get("arch"),
            dict(one.platform).get("libc_version"),
            dict(one.tools).get("ROOT"),
        )
        for one in found.offers
    ]


def test_an_older_release_is_native_and_another_architecture_is_emulated_after_the_machines_own(tmp_path: Path) -> None:
    for one in (ROOT, ARM, SAME):
        add(tmp_path, one)
    found = offered(tmp_path)
    assert told(found) == [
        ("native", "x86_64", "2.36", None),
        ("emulated", "aarch64", "2.36", "bookworm-arm64"),
        ("native", "x86_64", "2.31", "bullseye-amd64"),
    ]
    assert dict(found.offers[2].tools)["CC_VERSION"] == "gcc-10.2.1"
    assert "CC" not in dict(found.offers[2].tools), "only what is there is offered"
    assert told(without_roots(found)) == told(found)[:1]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("bullseye", ["bullseye-amd64"]), ("bookworm-arm64", ["bookworm-arm64"]), ("emulated", ["bookworm-arm64"]),
     ("arm64", ["bookworm-arm64"]), ("native", [None, "bullseye-amd64"])],
)  # fmt: skip
def test_its_owner_chooses_by_release_name_kind_or_architecture(
    name: str, kinds: list[str | None], tmp_path: Path
) -> None:
    add(tmp_path)
    add(tmp_path, ARM)
    found = offered(tmp_path, PlatformChoice((name,)))
    assert [root for *_, root in told(found)] == kinds
    assert [one.unchosen for one in found.roots].count(True) == 2 - len([one for one in kinds if one])


def test_what_does_not_run_now_is_not_offered_and_says_why(tmp_path: Path) -> None:
    add(tmp_path, ARM)
    found = offered(tmp_path, why="nothing runs it")
    assert told(found) == [("native", "x86_64", "2.36", None)]
    assert (found.roots[0].why, found.roots[0].mend) == ("nothing runs it", "mend it")
    found = offered(tmp_path, sandboxed=False)
    assert len(found.offers) == 1
    assert found.roots[0].why == "there is no sandbox to build in it"
    with pytest.raises(UsageError):
        offered(tmp_path, PlatformChoice(("emulated",)), sandboxed=False)


def test_what_a_recipe_needs_and_a_root_lacks_is_known_before_a_build_is_taken(tmp_path: Path) -> None:
    root = add(tmp_path)
    (root.files / "usr/bin/make").write_text("")
    found = root_offers(tmp_path, PlatformChoice(), HERE, sandboxed=True, tried=lambda _root, _own: ("", ""))
    assert lacking(found, [project(tools=("make", "cmake"))]) == {"bullseye-amd64": {"paint": ("cmake",)}}
    assert lacking(
        found,
        [
            project(tools=("make",)),
        ],
    ) == {"bullseye-amd64": {}}
    assert found[0].kind is OfferKind.NATIVE
