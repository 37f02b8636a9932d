"""Zig's cache is warmed once, and each build has a copy of its own: what one writes there no other one sees."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.zig.finding import ZigProgram, find_zig, installed_at
from buildtool.adapters.host.zig.targets import ZigTarget
from buildtool.adapters.host.zig.toolchains import Runners, toolchains_of
from buildtool.adapters.host.zig.warm_store import WarmStore, WarmTarget
from buildtool.errors import MachineFault
from buildtool.ports.buildserver import Halt, Halted
from tests.support.packages import require
from tests.support.zigs import compiled, nice_given, small_zig

pytestmark = pytest.mark.world


@pytest.fixture
def zig(tmp_path: Path) -> ZigProgram:
    require("gcc", "gcc libc6-dev")
    small_zig(installed_at(tmp_path) / "ziglang")
    found = find_zig(tmp_path, os.environ["PATH"])
    assert found is not None
    return found


@pytest.fixture
def store(zig: ZigProgram, tmp_path: Path) -> WarmStore:
    own = os.uname().machine
    return WarmStore(zig, tmp_path / "compilers", Runners("x86_64" if own == "x86_64" else "aarch64"))


def target(store: WarmStore, name: str) -> ZigTarget:
    return next(one for one in store.zig.known.targets if one.name == name)


def tools(store: WarmStore, words: str) -> dict[str, str]:
    return {"CC": f"{store.zig.path} cc -target {words}"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_a_target_is_tried_once_and_then_known_also_at_the_next_start(store: WarmStore, tmp_path: Path) -> None:
    own = target(store, "x86_64-linux-gnu")
    assert store.warm(own) is None
    found = store.try_target(own)
    assert (found.oldest, found.run) == ("2.17", ("env",))
    assert f"glibc {found.here}" == os.confstr("CS_GNU_LIBC_VERSION")
    again = WarmStore(store.zig, store.top, store.runners)
    again.tidy()
    assert again.warm(own) == found
    assert again.try_target(own) == found
    assert compiled(store.zig.path) == ["x86_64-linux-gnu.2.17"]
    assert not [one for one in store.place.iterdir() if one.name.startswith(".")]


def test_an_architecture_whose_oldest_library_is_younger_begins_with_that(store: WarmStore) -> None:
    with pytest.raises(MachineFault, match=r"zig makes programs for .* where riscv64-linux-gnu was asked for"):
        store.try_target(target(store, "riscv64-linux-gnu"))  # the small one cannot, but it was asked again
    assert compiled(store.zig.path) == ["riscv64-linux-gnu.2.27"]


def test_what_zig_says_is_the_reason_where_it_makes_nothing(store: WarmStore) -> None:
    with pytest.raises(MachineFault, match="zig makes no program for x86_64-linux-musl: error: no luck"):
        store.try_target(target(store, "x86_64-linux-musl"))
    assert store.warm(target(store, "x86_64-linux-musl")) is None


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_no_build_sees_what_another_one_wrote_into_its_cache(store: WarmStore, tmp_path: Path) -> None:
    words = "x86_64-linux-gnu.2.28"
    homes = [tmp_path / name for name in ("mallory", "anna")]
    store.seed(tools(store, words), homes[0])
    own = homes[0] / ".cache/zig"
    for path in sorted(own.rglob("*")):
        if path.is_file():
            with path.open("r+b") as there:  # in place: another name of the same file would have this, too
                there.write(b"poison")
            path.with_suffix(".more").write_bytes(b"poison")
    store.seed(tools(store, words), homes[1])
    shutil.rmtree(own)
    for place in (homes[1], store.place):
        files = [one for one in place.rglob("*") if one.is_file()]
        assert any(one.name == "libc.a" for one in files)
        assert not [one for one in files if one.suffix == ".more" or one.read_bytes().startswith(b"poison")]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_a_build_compiles_no_library_that_is_warm_and_one_that_is_not_is_kept(store: WarmStore, tmp_path: Path) -> None:
    words = "x86_64-linux-gnu.2.28"
    for name in ("first", "second"):
        store.seed(tools(store, words), tmp_path / name)
        environment = {"HOME": str(tmp_path / name), "PATH": os.environ["PATH"]}
        (tmp_path / name / "a.c").write_text("int main(void) { return 0; }\n")
        done = subprocess.run(
            [*tools(store, words)["CC"].split(), "a.c"], env=environment, cwd=tmp_path / name, check=False
        )
        assert done.returncode == 0
    assert compiled(store.zig.path) == [words]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_what_nobody_waits_for_gives_way_to_all_and_what_a_build_waits_for_as_builds_do(
    store: WarmStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = nice_given(tmp_path / "bin", monkeypatch)
    store.try_target(target(store, "x86_64-linux-gnu"))
    store.seed(tools(store, "x86_64-linux-gnu.2.28"), tmp_path / "first")
    store.nice = lambda: 7
    store.seed(tools(store, "x86_64-linux-gnu.2.36"), tmp_path / "second")
    assert given() == ["15", "7"], "0 is not said"


def test_other_compilers_get_nothing_and_a_target_that_is_unknown_is_said(store: WarmStore, tmp_path: Path) -> None:
    assert store.seed({"CC": "gcc"}, tmp_path / "home") == 0
    assert store.seed({}, tmp_path / "home") == 0
    assert not (tmp_path / "home").exists()
    with pytest.raises(MachineFault, match=r"makes nothing for x86_64-linux-gnu\.2\.99"):
        store.seed(tools(store, "x86_64-linux-gnu.2.99"), tmp_path / "home")


def test_warming_ends_at_once_when_it_is_to_and_leaves_nothing_half_made(store: WarmStore) -> None:
    halt = Halt()
    halt.ask("the build server stops")
    slow = store.zig.path.read_text(encoding="ascii").replace("exec cc", "sleep 1000; exec cc")
    store.zig.path.write_text(slow, encoding="ascii")
    with pytest.raises(Halted):
        store.try_target(target(store, "x86_64-linux-gnu"), halt.check)
    assert not [one for one in store.place.iterdir() if one.is_dir()]


def test_another_zig_starts_with_caches_of_its_own_and_the_old_ones_go(store: WarmStore, tmp_path: Path) -> None:
    (store.top / "zig-0.1.0-00000000" / "x").mkdir(parents=True)
    store.place.mkdir()
    (store.place / ".half").mkdir()
    store.tidy()
    assert [one.name for one in store.top.iterdir()] == [store.place.name]
    assert not list(store.place.iterdir())


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_only_what_is_asked_for_now_and_then_goes_where_there_is_too_much(
    store: WarmStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildtool.adapters.host.zig.warm_store.KEPT", 2)
    store.try_target(target(store, "x86_64-linux-gnu"))
    for number, version in enumerate(("2.27", "2.28", "2.36")):
        store.seed(tools(store, f"x86_64-linux-gnu.{version}"), tmp_path / version)
        os.utime(store.place / f"x86_64-linux-gnu.{version}", (number, number))
    left = {one.name for one in store.place.iterdir() if one.is_dir()}
    assert left == {"x86_64-linux-gnu.2.17", "x86_64-linux-gnu.2.36"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_what_debugging_needs_is_added_to_a_target_later_and_what_builds_have_meanwhile_stays(
    store: WarmStore, tmp_path: Path
) -> None:
    noting = store.zig.path.read_text(encoding="ascii").replace("shift 2\n", 'shift 2\necho "$@" >> "$0.words"\n')
    store.zig.path.write_text(noting, encoding="ascii")
    another = find_zig(tmp_path, os.environ["PATH"])
    assert another is not None
    store = evolve(store, zig=another)
    own = target(store, "x86_64-linux-gnu")
    assert not store.lacks_debugged(own), "it was not even tried"
    found = store.try_target(own)
    store.seed(tools(store, "x86_64-linux-gnu.2.17"), tmp_path / "before")
    assert store.lacks_debugged(own)
    store.add_debugged(own)
    assert not store.lacks_debugged(own)
    assert store.warm(own) == found
    store.seed(tools(store, "x86_64-linux-gnu.2.17"), tmp_path / "after")
    assert (tmp_path / "after/.cache/zig/o/x86_64-linux-gnu.2.17/libc.a").is_file()
    words = store.zig.path.with_suffix(".words").read_text(encoding="ascii").splitlines()
    assert [line.partition(" program.c")[0] for line in words] == ["-s -O2", "-s -O2 -g"]
    assert not [one for one in store.place.iterdir() if one.name.startswith(".")]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_a_target_that_cannot_be_debugged_stays_as_it_is(store: WarmStore) -> None:
    own = target(store, "x86_64-linux-gnu")
    found = store.try_target(own)
    store.zig.path.write_text("#!/bin/sh\necho error: no >&2\nexit 1\n", encoding="ascii")
    with pytest.raises(MachineFault, match="makes no program with debugging information: error: no"):
        store.add_debugged(own)
    assert store.warm(own) == found
    assert store.lacks_debugged(own)


def test_nothing_is_built_by_another_zig_than_was_announced(store: WarmStore, tmp_path: Path) -> None:
    refused = partial(store.seed, tools(store, "x86_64-linux-gnu.2.17"), tmp_path / "home")
    store.zig.path.unlink()
    with pytest.raises(MachineFault, match="zig was replaced since this build server was started: restart it"):
        refused()
    small_zig(store.zig.path.parent)
    with pytest.raises(MachineFault, match="zig was replaced"):
        refused()


WASI = ZigTarget("wasm32-wasi-musl", "wasm32", "wasi", "wasi-libc")


def test_a_script_is_run_by_the_interpreter_itself_where_the_path_has_but_links(tmp_path: Path) -> None:
    script = tmp_path / "run-wasi.py"
    script.touch()
    (tmp_path / "python3").symlink_to(sys.executable)
    python = str(Path(sys.executable).resolve())
    assert list(Runners("x86_64", str(tmp_path), wasi=script)(WASI)) == [(python, "-I", str(script))]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the small zig makes programs of this machine's own")
def test_what_runs_programs_is_looked_for_again_once_it_is_another_one_and_nothing_is_compiled_for_that(
    store: WarmStore,
) -> None:
    own = target(store, "x86_64-linux-gnu")
    before = WarmStore(store.zig, store.top, lambda _target: [])
    assert before.try_target(own).run is None
    before.add_debugged(own)
    assert before.warm(own) is not None
    assert store.warm(own) is None, "it was tried on a machine on which nothing ran it"
    assert store.try_target(own).run == ("env",)
    assert not store.lacks_debugged(own)
    assert before.warm(own) is None, "what has run it is there no more"
    assert before.try_target(own).run is None
    assert compiled(store.zig.path) == ["x86_64-linux-gnu.2.17"]
    assert sorted(one.name for one in (store.place / "x86_64-linux-gnu.2.17").iterdir()) == ["cache", "probe.json"]


def test_what_builds_do_not_see_runs_nothing(store: WarmStore, tmp_path: Path) -> None:
    hidden = tmp_path / "opt" / "wasmtime"
    hidden.parent.mkdir()
    hidden.write_text("#!/bin/sh\n")
    hidden.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "wasmtime").symlink_to(hidden)
    runners = Runners("x86_64", str(tmp_path / "bin"))
    assert list(runners(WASI)) == [("wasmtime", "run", "--dir=.")]
    assert not list(evolve(runners, seen=lambda one: not Path(one).resolve().is_relative_to(hidden.parent))(WASI))


@pytest.mark.parametrize(
    ("run", "here", "expected"),
    [
        (None, None, [("2.17", "2.44", False)]),
        (("env",), "2.36", [("2.17", "2.36", True), ("2.44", "2.44", False)]),
        (("env",), "2.99", [("2.17", "2.44", True)]),
        (("qemu-x86_64",), None, [("2.17", "2.44", True)]),
    ],
)
def test_programs_for_newer_libraries_than_there_are_here_are_not_said_to_run(
    store: WarmStore, run: tuple[str, ...] | None, here: str | None, expected: list[tuple[str, str, bool]]
) -> None:
    made = toolchains_of(store.zig, WarmTarget(target(store, "x86_64-linux-gnu"), "2.17", run, here))
    assert [(one.libc_version, one.up_to, "RUN" in one.tools) for one in made] == expected
    assert all(one.tools["CC"] == f"{store.zig.path} cc -target x86_64-linux-gnu.{{libc_version}} -s" for one in made)
    assert all(one.tools["CC_VERSION"] == "zig-0.99.1" for one in made)
