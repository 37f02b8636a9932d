"""What keeps builds from a machine is told its owner in the same words everywhere, and tried without a trace."""

import argparse
import os
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.processes.sandbox.proving import ProvenSandbox
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.given.values import Given
from buildtool.configuration.settings import load_settings
from buildtool.model.guest.limits import BuildLimits
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.confinement import Confinement, confinement
from buildtool.programs.buildserver.options import DEFAULTS
from buildtool.programs.buildserver.owner_file import OwnerFile
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.doctors.buildserver import confinement_results
from buildtool.programs.doctors.visiting import report

WITHIN = Confinement(
    ProvenSandbox(SandboxLevel.WEAK, ("a build can make io_uring",), None, "install it"),
    BuildLimits(memory=1 << 30, disk=5 << 30),
    ControlGroups({"memory": Path("/sys/fs/cgroup/x")}),
    ("/home/me/bin",),
    ("paint",),
)


def test_level_reason_mend_limits_network_and_what_is_not_seen_are_told() -> None:
    rows = dict(WITHIN.rows())
    assert (rows["sandbox"], rows["  why"], rows["  mend"]) == ("weak", "a build can make io_uring", "install it")
    assert "1.0 GiB of memory, 5.0 GiB of disk, 4096 processes" in rows["a build may"]
    assert "version 1: memory" in rows["  kept by"]
    assert rows["may fetch"] == "paint"
    assert rows["not seen"].startswith("/home/me/bin ")
    bare = dict(evolve(WITHIN, limits=BuildLimits(), left_out=(), networked=()).rows())
    assert "any memory, any disk" in bare["a build may"]
    assert "--allow-network" in bare["may fetch"]
    assert "not seen" not in bare
    assert "  meanwhile" not in rows
    kept = dict(evolve(WITHIN, memory_present=2 << 30).rows())
    assert kept["  meanwhile"] == "all together 2.0 GiB of memory while its owner is at the machine"


def test_programs_are_told_the_same_in_numbers() -> None:
    told = WITHIN.as_object()
    assert told["sandbox_mend"] == "install it"
    assert told["may_fetch"] == ["paint"]
    assert told["not_seen"] == ["/home/me/bin"]
    limits = told["limits"]
    assert isinstance(limits, dict)
    assert (limits["memory"], limits["control_groups"]) == (1 << 30, ["memory"])


def start(tmp_path: Path, **said: object) -> Start:
    said = {**DEFAULTS, **said}
    owners, store = OwnerFile(tmp_path, {}), CredentialStore(tmp_path)
    return Start(load_settings(secrets=False), argparse.Namespace(**said), owners, store, None)


def test_no_build_sees_the_settings_file_which_has_secrets(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    one = start(tmp_path)
    assert path not in one.hidden(one.place())
    Given(path=path).complete(one.said)
    assert path in one.hidden(one.place())


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program that PATH finds, and that lies where no sandbox shows it."""
    made = tmp_path / "bin" / "tclsh"
    made.parent.mkdir()
    made.write_text("#!/bin/sh\necho 8.6.1\n")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    return made


def test_a_tool_that_a_sandbox_does_not_show_is_not_announced(tmp_path: Path, tool: Path) -> None:
    strict, shown = start(tmp_path, sandbox="strict"), start(tmp_path, sandbox="strict", readable=(tool.parent,))
    assert str(tool.parent) in strict.left_out()
    assert str(tool.parent) not in strict.search_path()
    assert str(tool.parent) in shown.search_path()
    assert str(tool.parent) not in shown.left_out()
    assert start(tmp_path, sandbox="none").left_out() == ()


@pytest.mark.world
def test_a_link_to_where_builds_do_not_see_is_no_tool_and_every_one_is_without_a_sandbox(
    tmp_path: Path, tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = tmp_path / "shown" / "tclsh"
    linked.parent.mkdir()
    linked.symlink_to(tool)
    monkeypatch.setenv("PATH", f"{linked.parent}:/usr/bin:/bin")

    def tools(**said: object) -> object:
        found = start(tmp_path, cross=False, **said).offered(BuildDirectory(tmp_path / "attic"))
        return found.detected["tools"]

    assert "tclsh" not in str(tools(sandbox="strict", readable=(linked.parent,)))
    assert "tclsh" in str(tools(sandbox="strict", readable=(linked.parent, tool.parent)))
    assert "tclsh" in str(tools(sandbox="none"))


@pytest.mark.world
@pytest.mark.parametrize(("said", "code", "verdict"), [("strict", 1, "problem"), ("best", 0, "warning")])
def test_the_doctor_proves_the_sandbox_and_says_what_keeps_it_from_being_one(
    said: str, code: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:/usr/bin:/bin")
    made = start(tmp_path, sandbox=said, cross=False)
    found = made.offered(BuildDirectory(tmp_path / "attic"))
    told = {one.what: one for one in confinement_results(made, found)}
    assert set(told) == {"sandbox", "limits", "path", "network"}
    assert told["sandbox"].verdict.value == verdict
    assert "No permissions to create new namespace" in told["sandbox"].words
    assert told["sandbox"].mend
    assert report(list(told.values()), as_json=False) == code


@pytest.mark.world
def test_what_the_owner_says_of_memory_is_what_is_told_before_a_start(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text('memory = 2\nmemory_present = "512MiB"\n')
    made = start(tmp_path, sandbox="none", cross=False, max_builds=2, settings=tmp_path / "guest.toml")
    found = made.offered(BuildDirectory(tmp_path / "attic"))
    within = confinement(made, BuildDirectory(tmp_path / "attic"), found)
    assert within.limits.memory == 1 << 30, "each of two builds has half"
    told = {one.what: one.words for one in confinement_results(made, found)}
    assert "a build may use 1.0 GiB of memory" in told["limits"]
    assert "all together 512.0 MiB of memory while its owner is at the machine" in told["limits"]
