"""Hostile recipes, built by a real build server: each ends as it must, machine and next build are unharmed.

And each does harm where there is no sandbox, unless something else keeps it from that: so these tests can fail.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.adapters.host import recipe_commands
from buildtool.model.records import AttemptEnd
from tests.adapters.processes.sandbox.sandboxed import bubblewrap
from tests.adapters.processes.sandbox.test_box import AS_USER
from tests.hostile.builds.attacks import ATTACKS, Attack, said
from tests.hostile.builds.scene import Scene, scene

pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the attacks are for x86_64"),
    pytest.mark.xdist_group("hostile builds"),
]

EACH = pytest.mark.parametrize("attack", ATTACKS, ids=[one.name for one in ATTACKS])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("machine")) as made:
        yield made


@EACH
def test_a_hostile_build_harms_neither_the_machine_nor_the_next_build(
    attack: Attack, machine: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_commands, "KILL_AFTER", 0.3)
    ran = attack.run(machine)
    assert ran.end is attack.end, ran.log[-3000:]
    assert attack.reason in ran.reason
    assert attack.harmless or not said(ran)
    assert len(ran.log) <= (attack.log_limit or len(ran.log)) + 4096
    assert machine.harm() == ""
    after = machine.honest()
    assert (after.end, after.digest) == (AttemptEnd.SUCCEEDED, machine.reference), after.log[-3000:]
    assert machine.harm() == ""


@pytest.mark.long
@EACH
def test_without_a_sandbox_a_hostile_build_does_harm(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_commands, "KILL_AFTER", 0.3)
    if attack.else_kept.startswith("it would"):
        pytest.skip(attack.else_kept)
    with scene(tmp_path, sandboxed=False) as machine:
        ran = attack.run(machine)
        harm = machine.harm() or ("" if attack.harmless else said(ran))
        assert bool(harm) != bool(attack.else_kept), (harm, ran)


@pytest.mark.skipif(AS_USER in os.environ or os.geteuid() != 0, reason="this is the run as a user")
def test_all_of_this_holds_for_another_user_than_root(tmp_path: Path) -> None:
    names = " or ".join(f"[{one.name}]" for one in ATTACKS if one.account)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        f"neither_the_machine and ({names})",
    ]
    done = subprocess.run(
        [bubblewrap(), "--unshare-user", "--uid", "1234", "--gid", "1234", "--dev-bind", "/", "/", *words],
        env={**os.environ, AS_USER: "1", "PYTEST_ADDOPTS": f"--basetemp={tmp_path / 'user'}"},
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert f"{sum(one.account for one in ATTACKS)} passed" in done.stdout
