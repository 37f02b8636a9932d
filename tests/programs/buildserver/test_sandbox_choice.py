"""The owner's choice of a sandbox: what is said wrongly, what is seen of PATH, and what is refused at the start."""

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from buildtool.adapters.processes.sandbox.proving import ProvenSandbox
from buildtool.errors import ConfigurationError
from buildtool.model.servers import Offer
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver import sandbox_choice as choosing
from buildtool.programs.buildserver.sandbox_choice import (
    declared,
    directories,
    left_out,
    sandbox_choice,
    sandbox_of,
    search_path,
    wanted,
)


def test_a_level_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    assert [sandbox_choice(one) for one in ("strict", "weak", "none", "best")] == ["strict", "weak", "none", "best"]
    with pytest.raises(ArgumentTypeError, match="'full' is none of best, strict, weak, none"):
        sandbox_choice("full")


def test_a_machine_that_joined_a_farm_wants_a_strict_one_and_any_other_the_best() -> None:
    assert (wanted(None, joined=True), wanted(None, joined=False), wanted("none", joined=True)) == (
        "strict",
        "best",
        "none",
    )


def test_what_builds_may_read_are_directories_that_are_there(tmp_path: Path) -> None:
    assert directories(f"{tmp_path},/usr") == (tmp_path, Path("/usr"))
    for wrong in ("relative", f"{tmp_path}/nowhere", "/etc/hostname"):
        with pytest.raises(ArgumentTypeError, match="is no directory on this machine"):
            directories(wrong)
    for all_of_it in ("/", "/usr/.."):
        with pytest.raises(ArgumentTypeError, match="is all of this machine"):
            directories(all_of_it)


def test_path_is_without_what_a_sandbox_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/home/me/bin:/usr/bin:/opt/cross/bin::relative")
    assert search_path(sandboxed=False, readable=()) == "/home/me/bin:/usr/bin:/opt/cross/bin::relative"
    assert search_path(sandboxed=True, readable=()) == "/usr/bin"
    assert search_path(sandboxed=True, readable=(Path("/opt/cross"),)) == "/usr/bin:/opt/cross/bin"


def test_directories_of_path_that_builds_do_not_see_are_named_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:{tmp_path}:/nowhere/at/all::")
    assert left_out(sandboxed=True, readable=()) == (str(tmp_path),)
    assert left_out(sandboxed=True, readable=(tmp_path,)) == left_out(sandboxed=False, readable=()) == ()


def test_the_toolchains_of_the_owners_file_are_seen(tmp_path: Path) -> None:
    offers = [
        Offer((), tools=(("CC", "/opt/ppc/bin/gcc -mcpu=603"), ("AR", "/opt/ppc/bin/ar"), ("HOST", "/no/program"))),
        Offer((), tools=(("CC", "gcc"), ("LD", "/usr/bin/ld"))),
    ]
    assert declared(offers, (tmp_path,)) == (tmp_path, Path("/opt/ppc"))


def test_less_than_what_is_wanted_keeps_a_build_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ProvenSandbox(SandboxLevel.WEAK, ("a build can make io_uring",), None, "install something")
    monkeypatch.setattr(choosing, "prove", lambda *_: found)
    with pytest.raises(ConfigurationError, match=r"has a weak one: a build can make io_uring; install something; mend"):
        sandbox_of("strict", None, tmp_path, [], [])
    for choice in ("weak", "best"):
        assert sandbox_of(choice, None, tmp_path, [], []) is found


def test_without_a_sandbox_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "prove", None)
    assert sandbox_of("none", None, tmp_path, [], []).sandboxes is None
