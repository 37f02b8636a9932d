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
from attrs import evolve

from buildtool.adapters.host import recipe_commands
from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.recipe_commands import BuildBounds
from buildtool.model.records import AttemptEnd
from tests.adapters.processes.sandbox.sandboxed import bubblewrap
from tests.adapters.processes.sandbox.test_box import AS_USER
from tests.hostile.builds.attacks import ATTACKS, BOMBS, BUSY, Attack, said
from tests.hostile.builds.scene import LIMITS, PYTHON, Asked, Scene, scene
from tests.support.packages import require_that

pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the attacks are for x86_64"),
    pytest.mark.xdist_group("hostile builds"),
]

ALL = [*ATTACKS, *BOMBS]
BEARABLE = [one for one in ALL if not one.else_kept.startswith("it would")]
"""Those that can be let loose on the machine of the tests: the others would end everything here, or fill its memory."""

EACH = pytest.mark.parametrize("attack", ATTACKS, ids=[one.name for one in ATTACKS])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    groups = ControlGroups.found(f"hostile-{os.getpid()}")
    with scene(tmp_path_factory.mktemp("bounded"), bounds=BuildBounds(LIMITS, 1, groups)) as made:
        yield made
    groups.close()


def is_contained(attack: Attack, machine: Scene) -> None:
    """Run an attack, and see to its end, the machine and the next build."""
    ran = attack.run(machine)
    assert ran.end is attack.end, ran.log[-3000:]
    assert attack.reason in ran.reason
    assert attack.harmless or not said(ran)
    assert len(ran.log) <= attack.log_limit + 4096
    assert machine.harm() == ""
    after = machine.honest()
    assert (after.end, after.digest) == (AttemptEnd.SUCCEEDED, machine.reference), after.log[-3000:]
    assert machine.harm() == ""


@EACH
def test_a_hostile_build_harms_neither_the_machine_nor_the_next_build(
    attack: Attack, machine: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_commands, "KILL_AFTER", 0.3)
    is_contained(attack, machine)


@pytest.mark.parametrize("attack", BOMBS, ids=[one.name for one in BOMBS])
def test_a_build_that_would_have_all_of_the_machine_ends_by_its_limit(
    attack: Attack, bounded: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_commands, "KILL_AFTER", 0.3)
    is_contained(attack, bounded)


WORK = "for _ in range(15_000_000): pass"
TRIES = 4


@pytest.mark.long
@pytest.mark.parametrize("attack", BUSY, ids=[one.name for one in BUSY])
def test_an_honest_build_beside_a_busy_one_takes_twice_its_time_at_most(attack: Attack, bounded: Scene) -> None:
    require_that(
        present="cpu" in bounded.groups.places, what="no control groups for processors",
        remedy="run as root, or as a unit with Delegate=yes",
    )  # fmt: skip
    honest = Asked([[PYTHON, "-c", WORK]])
    # Whatever else this machine does while it runs tests takes time as well, though hardly each time.
    ratios = []
    for _ in range(TRIES):
        alone = bounded.build(honest).seconds
        hostile, beside = bounded.builds([evolve(attack.asked(bounded), time_limit=3 * alone + 1), honest])
        assert "took longer than" in hostile.reason
        ratios.append(beside.seconds / alone)
        if ratios[-1] <= 2:
            break
    assert ratios[-1] <= 2, ratios
    assert bounded.harm() == ""


@pytest.mark.long
@pytest.mark.parametrize("attack", BEARABLE, ids=[one.name for one in BEARABLE])
def test_without_a_sandbox_a_hostile_build_does_harm(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_commands, "KILL_AFTER", 0.3)
    with scene(tmp_path, sandboxed=False) as machine:
        ran = attack.run(machine)
        harm = machine.harm() or ("" if attack.harmless else said(ran))
        assert bool(harm) != bool(attack.else_kept), (harm, ran)


@pytest.mark.long
@pytest.mark.skipif(AS_USER in os.environ or os.geteuid() != 0, reason="this is the run as a user")
def test_all_of_this_holds_for_another_user_than_root(tmp_path: Path) -> None:
    some = [one.name for one in ALL if one.account]
    names = f"not without_a_sandbox and ({' or '.join(f'[{one}]' for one in some)})"
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__, "-k", names]
    done = subprocess.run(
        [bubblewrap(), "--unshare-user", "--uid", "1234", "--gid", "1234", "--dev-bind", "/", "/", *words],
        env={**os.environ, AS_USER: "1", "PYTEST_ADDOPTS": f"--basetemp={tmp_path / 'user'}"},
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert f"{len(some)} passed" in done.stdout
