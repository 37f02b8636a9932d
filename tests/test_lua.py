"""The example of a project that nobody here wrote: its import is the same everywhere, its recipe does what it says."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.storage.archive.packing import make_zip
from buildtool.configuration.settings import load_settings
from buildtool.model.platforms import Value
from buildtool.project.recipe import Plan, Wanted
from buildtool.project.recipe_check import check_recipes
from tests.support.imported import ROOT, import_sources, need_sources
from tests.support.packages import require

COMMITS = {
    "v5.4.2": "400b42ac5e07174dd38929f1e909792fc425092e",
    "v5.4.4": "b724f97b13ac2eb3fc537ece43a12513ae552db9",
    "v5.4.7": "4795d943285c6617d2f810c7eb32e0977846b023",
}

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("lua")]  # the sources are downloaded once


PROJECT = load_settings(ROOT / "examples/lua/farm.py", secrets=False).project("lua")
QUIET = {"syntax_highlight": "none", "_disable_config": True}
LINUX: dict[str, Value] = {"os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little"}


def plan_for(
    source: Path,
    *,
    kind: str = "native",
    tools: dict[str, str] | None = None,
    platform: dict[str, Value] | None = None,
    **given: Value,
) -> Plan:
    return PROJECT.recipe.plan(
        Wanted(
            options=dict(PROJECT.options.compile_values(given)), platform=platform or LINUX, kind=kind,
            tools=tools or {"CC": "gcc", "AR": "ar", "STRIP": "strip"}, source=source, revision="0" * 40, cpus=2,
        )
    )  # fmt: skip


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_sources("lua")
    place = tmp_path_factory.mktemp("lua") / "lua.git"
    done = import_sources("lua", place)
    assert done.returncode == 0, done.stderr
    return place


def checkout(repository: Path, tag: str, place: Path) -> Path:
    place.mkdir(parents=True)
    whole = subprocess.run(["git", "-C", str(repository), "archive", tag], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=place, input=whole, check=True)
    return place


def run(plan: Plan, source: Path) -> str:
    """Run a plan's commands as a build server does, and return what they said."""
    said = ""
    for command in plan.commands:
        done = subprocess.run(
            command.argv, cwd=source, env={"PATH": os.environ["PATH"], **plan.environment}, capture_output=True,
            text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout
    return said


def need_compiler() -> None:
    require("gcc", "gcc")
    require("make", "make")


# --- the import -------------------------------------------------------------------------------------------------


def test_every_machine_imports_the_same_commits_under_annotated_tags(repository: Path) -> None:
    for tag, commit in COMMITS.items():
        assert git(repository, "cat-file", "-t", tag) == "tag"
        assert git(repository, "rev-parse", f"{tag}^{{commit}}") == commit
    assert git(repository, "rev-parse", "main") == COMMITS["v5.4.7"]
    size = sum(path.stat().st_size for path in repository.rglob("*") if path.is_file())
    assert size < 1024 * 1024


def test_a_repository_that_was_imported_is_left_alone_and_another_is_not_touched(
    repository: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert import_sources("lua", repository).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before
    other = tmp_path / "other.git"
    other.mkdir()
    done = import_sources("lua", other)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("lacks a release: move it away, or name another place")
    assert not list(other.iterdir())


def nothing_to_be_had(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine whose only mirror is not there."""
    require("apt-get", "apt")
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb file:{tmp_path}/debian bookworm main\n")
    settings = tmp_path / "apt.conf"
    settings.write_text(f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "{tmp_path}/none";\n')
    return {**os.environ, "APT_CONFIG": str(settings)}


def test_source_packages_that_are_not_to_be_had_are_told_in_one_line(tmp_path: Path) -> None:
    done = import_sources(
        "lua", tmp_path / "lua.git", "--cache", str(tmp_path / "cache"), **nothing_to_be_had(tmp_path)
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Lua 5.4.2 (bullseye) is not to be had" in line
    assert f"{tmp_path}/debian" in line
    assert not (tmp_path / "lua.git").exists()


def test_a_cached_archive_that_is_another_one_is_not_imported(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".cache" / "lua", tmp_path / "cache")
    (tmp_path / "cache" / "lua5.4_5.4.4.orig.tar.gz").write_bytes(b"something else")
    environment = nothing_to_be_had(tmp_path)
    done = import_sources("lua", tmp_path / "lua.git", "--cache", str(tmp_path / "cache"), **environment)
    assert done.returncode == 1, "it would have to be downloaded"
    assert "5.4.4" in done.stderr


def test_a_machine_without_apt_is_told_which_files_to_put_where(tmp_path: Path) -> None:
    done = import_sources("lua", tmp_path / "lua.git", "--cache", str(tmp_path / "cache"), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "put lua5.4_5.4.2.orig.tar.gz, " in done.stderr


def test_what_the_system_knows_of_packages_stays_as_it_is(tmp_path: Path) -> None:
    require("apt-get", "apt")
    need_sources("lua")
    places = [Path("/etc/apt"), Path("/var/lib/apt/lists"), Path("/var/cache/apt")]

    def known() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for place in places for path in sorted(place.rglob("*"))}

    before = known()
    done = import_sources("lua", tmp_path / "lua.git", "--cache", str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert known() == before
    with tarfile.open(tmp_path / "cache" / "lua5.4_5.4.7.orig.tar.gz") as tar:
        assert "lua-5.4.7/src/lua.c" in tar.getnames()


# --- the tutorial -----------------------------------------------------------------------------------------------


def test_the_smallest_configuration_of_the_tutorial_builds_lua(repository: Path, tmp_path: Path) -> None:
    need_compiler()
    document = publish_doctree((ROOT / "docs/tutorial.rst").read_text("utf-8"), settings_overrides=QUIET)
    project, farm = (b.astext() for b in islice(code_of(document), 2))
    (tmp_path / "config.py").write_text(project)
    (tmp_path / "farm.py").write_text(farm)
    settings = load_settings(tmp_path / "farm.py", secrets=False)
    check_recipes(settings.projects, thorough=True)
    mine = settings.project("mine")
    assert mine.path_to_url("") == str(tmp_path / "mine.git")
    source = checkout(repository, "v5.4.7", tmp_path / "source")
    tools = {"CC": "gcc -O0"}
    plan = mine.recipe.plan(
        Wanted(options={}, platform=LINUX, kind="native", tools=tools, source=source, revision="0" * 40, cpus=2)
    )
    run(plan, source)
    assert all((source / name).exists() for name in plan.deliverables)


def code_of(document: nodes.document) -> Iterator[nodes.literal_block]:
    return (b for b in document.findall(nodes.literal_block) if "python" in b["classes"])


# --- the recipe -------------------------------------------------------------------------------------------------


@given(
    short=st.booleans(), compat=st.booleans(), modules=st.booleans(), assertions=st.booleans(),
    apicheck=st.booleans(), optimize=st.sampled_from(["2", "3", "s", "0"]),
)  # fmt: skip
def test_every_option_reaches_the_compiler(
    short: bool, compat: bool, modules: bool, assertions: bool, apicheck: bool, optimize: str
) -> None:
    plan = plan_for(
        Path("/source"), numbers="32bit" if short else "64bit", compat=compat, modules=modules,
        assertions=assertions, apicheck=apicheck, optimize=optimize,
    )  # fmt: skip
    (build,) = [command for command in plan.commands if command.name == "build"]
    (cflags,) = [word for word in build.argv if word.startswith("CFLAGS=")]
    assert ("-DLUA_COMPAT_5_3" in cflags) == compat
    assert ("-DLUA_USE_LINUX" in cflags) == modules
    assert ("-DLUAI_ASSERT" in cflags) == assertions
    assert ("-DLUA_USE_APICHECK" in cflags) == apicheck
    assert f" -O{optimize} " in cflags
    assert (plan.commands[0].argv[0] == "sed") == short
    assert "/source" not in str(plan), "nothing that differs between machines gets into the commands"


def test_a_cross_build_uses_the_tools_of_its_platform_and_is_checked_only_where_it_can_run() -> None:
    tools = {name: f"powerpc-linux-gnu-{name.lower()}" for name in ("AR", "RANLIB", "STRIP")}
    tools["CC"] = "powerpc-linux-gnu-gcc"
    ppc: dict[str, Value] = {"os": "linux", "arch": "ppc", "bits": 32, "byteorder": "big"}
    unseen = plan_for(Path("/source"), kind="cross", tools=tools, platform=ppc)
    words = [word for command in unseen.commands for word in command.argv]
    for word in ("CC=powerpc-linux-gnu-gcc", "AR=powerpc-linux-gnu-ar rcD", "RANLIB=powerpc-linux-gnu-ranlib -D"):
        assert word in words
    assert "powerpc-linux-gnu-strip" in words
    assert not any("lua/bin/lua" in command.argv[:1] for command in unseen.commands)
    tools["RUN"] = "qemu-ppc-static -L /usr/powerpc-linux-gnu"
    seen = plan_for(Path("/source"), kind="cross", tools=tools, platform=ppc)
    checks = [command.argv for command in seen.commands if command.name.startswith("self-check")]
    assert [argv[:3] for argv in checks] == [("qemu-ppc-static", "-L", "/usr/powerpc-linux-gnu")] * 3
    assert 'bits = 32, byteorder = "big"' in checks[0][5]


@pytest.mark.parametrize("tag", sorted(COMMITS))
def test_each_release_is_built_with_everything_unlike_the_default(repository: Path, tag: str, tmp_path: Path) -> None:
    need_compiler()
    source = checkout(repository, tag, tmp_path / "source")
    plan = plan_for(
        source, numbers="32bit", compat=False, modules=False, assertions=True, apicheck=True, optimize="0"
    )  # fmt: skip
    said = run(plan, source)
    for line in ("ok integers true", "ok floats true", "ok compat false", "ok modules false", "ok compiled 3.14"):
        assert line in said
    assert all((source / name).exists() for name in plan.deliverables)
    assert b"__assert_fail" in (source / "lua/bin/lua").read_bytes(), "assertions are in"
    header = (source / "lua/include/luaconf.h").read_text()
    assert "\n#define LUA_32BITS 1\n" in header, "who uses the library learns how it was made"


def test_a_self_check_that_finds_another_lua_fails(repository: Path, tmp_path: Path) -> None:
    need_compiler()
    source = checkout(repository, "v5.4.7", tmp_path / "source")
    run(plan_for(source, optimize="0"), source)
    wrong = plan_for(source, optimize="0", compat=False)
    (check,) = [command for command in wrong.commands if command.name == "self-check"]
    done = subprocess.run(check.argv, cwd=source, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "compat: true instead of false" in done.stderr


def test_two_checkouts_in_different_places_give_the_same_artifact(repository: Path, tmp_path: Path) -> None:
    need_compiler()
    digests = set()
    for place in (tmp_path / "a", tmp_path / "quite/another place"):
        source = checkout(repository, "v5.4.7", place)
        plan = plan_for(source, optimize="0", assertions=True)
        run(plan, source)
        digests.add(make_zip(source, plan.deliverables, tmp_path / "out.zip").digest)
    assert len(digests) == 1
