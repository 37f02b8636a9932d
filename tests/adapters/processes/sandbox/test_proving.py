"""The proof of a sandbox bites: whatever is taken out of the sandbox is found, and named with what is to be done."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox import proving, sandboxes
from buildtool.adapters.processes.sandbox.bubblewrap import Enclosure
from buildtool.adapters.processes.sandbox.proving import PROFILE, ProvenSandbox, prove
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.errors import ToolMissing
from buildtool.model.trust.evidence import SandboxLevel
from tests.adapters.processes.sandbox.sandboxed import bubblewrap
from tests.support.packages import require_that

pytestmark = pytest.mark.world

Told = dict[str, object]


@pytest.fixture
def keepers() -> Iterator[Keepers]:
    made = Keepers(1)
    yield made
    made.close()


def proven(keepers: Keepers | None, tmp_path: Path) -> ProvenSandbox:
    bubblewrap()
    (tmp_path / "key").write_text("secret")
    return prove(keepers, tmp_path / "sandbox", [tmp_path / "key"], [])


def test_the_sandbox_of_this_machine_is_strict(keepers: Keepers, tmp_path: Path) -> None:
    found = proven(keepers, tmp_path)
    assert (found.level, found.notes) == (SandboxLevel.STRICT, ())
    assert found.sandboxes is not None
    assert proving.makes_any()
    assert not (tmp_path / "sandbox" / "proof").exists()


def machine_settings() -> list[str]:
    names = ("kernel/shmall", "user/max_inotify_instances", "user/max_inotify_watches", "user/max_user_namespaces")
    return [Path("/proc/sys", name).read_text() for name in names]


def without(*words: str) -> Callable[[Told], Told]:
    def change(told: Told) -> Told:
        argv = told["argv"]
        assert isinstance(argv, list)
        return {**told, "argv": [word for word in argv if word not in words]}

    return change


def more(*words: str) -> Callable[[Told], Told]:
    def change(told: Told) -> Told:
        argv = told["argv"]
        assert isinstance(argv, list)
        return {**told, "argv": [*argv[:-5], *words, *argv[-5:]]}

    return change


def unfiltered(told: Told) -> Told:
    return {**told, "filters": []}


def unfiltered_arguments(told: Told) -> Told:
    filters = told["filters"]
    assert isinstance(filters, list)
    return {**told, "filters": filters[:1]}


def as_root(told: Told) -> Told:
    return {**told, "user": 0}


LEAKS = {
    "the network": (without("--unshare-net"), SandboxLevel.NONE, "network"),
    "others' processes": (more("--ro-bind", "/proc", "/proc"), SandboxLevel.NONE, "processes"),
    "the owner's files": (
        more("--ro-bind", "/home", "/home", "--bind", "/var", "/var"),
        SandboxLevel.NONE,
        "can be seen",
    ),
    "the system": (more("--perms", "1777", "--tmpfs", "/etc"), SandboxLevel.NONE, "can write in /etc"),
    "root": (as_root, SandboxLevel.NONE, "is root"),
    "the process that holds it": (as_root, SandboxLevel.NONE, "look into process 2"),
    "shared memory": (without("--unshare-ipc"), SandboxLevel.WEAK, "shared memory"),
    "memory": (more("--perms", "1777", "--tmpfs", "/var/more"), SandboxLevel.WEAK, "can write in /var/more"),
    "system calls": (unfiltered, SandboxLevel.WEAK, "io_uring"),
    "older system calls": (unfiltered_arguments, SandboxLevel.WEAK, "sockets of any kind"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_each_leak_is_found_and_lowers_the_level(
    leak: str, keepers: Keepers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, level, words = LEAKS[leak]
    require_that(present=Path("/var/log").exists(), what="no /var/log", remedy="mkdir /var/log")
    if leak == "older system calls" and os.uname().machine != "x86_64":
        pytest.skip("there are none on this processor")
    real = Sandboxes.order

    def leaking(self: Sandboxes, enclosure: Enclosure, user: int | None) -> Mapping[str, object]:
        return change(dict(real(self, enclosure, user)))

    monkeypatch.setattr(Sandboxes, "order", leaking)
    before = machine_settings()
    found = proven(keepers, tmp_path)
    assert machine_settings() == before, "what leaks changes nothing of the machine"
    assert found.level is level
    assert any(words in note for note in found.notes), found.notes


def test_a_machine_without_bubblewrap_is_told_how_to_get_it(
    keepers: Keepers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(proving, "USUAL", str(tmp_path))
    found = prove(keepers, tmp_path / "sandbox", [], [])
    assert (found.level, found.notes, found.sandboxes) == (SandboxLevel.NONE, ("bubblewrap is not installed",), None)
    assert "apt-get install bubblewrap (Debian" in found.mend
    assert not proving.makes_any()


def test_a_machine_without_libseccomp_is_told_how_to_get_it(
    keepers: Keepers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> tuple[bytes, ...]:
        raise ToolMissing("libseccomp is missing")

    monkeypatch.setattr(proving, "filters", missing)
    monkeypatch.setattr(sandboxes, "filters", missing)
    found = proven(keepers, tmp_path)
    assert found.level is SandboxLevel.WEAK
    assert found.notes[0] == "libseccomp is missing"
    assert "apt-get install libseccomp2" in found.mend


def test_other_systems_have_none_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert prove(None, tmp_path, [], []).notes == ("there is no sandbox for darwin",)


@pytest.mark.parametrize(
    ("setting", "value", "mend"),
    [
        ("apparmor_restrict_unprivileged_userns", "1", f"cp {PROFILE} /etc/apparmor.d/bwrap"),
        ("unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ],
)
def test_what_keeps_bubblewrap_from_its_work_is_named_with_the_mend(
    setting: str, value: str, mend: str, keepers: Keepers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:/usr/bin:/bin")
    monkeypatch.setattr(proving, "_setting", lambda path: value if path.endswith(setting) else "")
    found = prove(keepers, tmp_path / "sandbox", [], [])
    assert found.level is SandboxLevel.NONE
    assert found.sandboxes is None
    assert "setting up uid map: Permission denied" in found.notes[0]
    assert mend in found.mend
    assert not proving.makes_any()
    assert PROFILE.is_file()
