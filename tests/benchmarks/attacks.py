"""What honest people notice while somebody attacks, with each attack alone and with all of them together."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import Any

from attrs import frozen

from buildtool.demo.local_farm import LocalFarm, Program
from buildtool.protocol.codec import encode
from tests.benchmarks.clients import submit_of
from tests.benchmarks.figures import ATTACKED, Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import ROOT, World, progress, resident_mib
from tests.hostile.attacks import ATTACKS

ARTIFACTS = 200
RATE = 10.0
"""Visits a second of each of five kinds."""

SECONDS = 8.0
REST = 4.0
"""Seconds of visits before the attack, and for the attack to begin."""

CALM = 12.0
"""Seconds after the attack until what it left in memory is looked at."""

_PATIENCE = 120.0


@frozen
class Noticed:
    """What was noticed of one attack: milliseconds of honest visits at rest and meanwhile, and what it left behind."""

    rest: list[float]
    meanwhile: list[float]
    failed: list[str]
    left_mib: float
    log_kib: float
    end_s: float

    @property
    def p99(self) -> float:
        return quantiles(self.meanwhile, n=100)[98]


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    wanted = {name: figure for name, figure in ATTACKED.items() if board.wants(figure)}
    sums = ("attack_failed_visits", "attack_left_mib", "attack_log_kib", "attack_end_s")
    if not wanted and not board.wants(*sums):
        return
    every: dict[str, Noticed] = {}
    for name in wanted or ATTACKED:
        progress(f"an attack: {name}")
        every[name] = one = attacked(world, [name] if name in ATTACKS else list(ATTACKS), f"attacked-{name}")
        progress(
            f"  at rest p99 {quantiles(one.rest, n=100)[98]:.1f} ms, meanwhile {one.p99:.1f} ms, "
            f"{len(one.failed)} of {len(one.failed) + len(one.meanwhile)} failed {sorted(set(one.failed))[:2]}, "
            f"{one.left_mib:.0f} MiB left, {one.log_kib:.0f} KiB of log, ended in {one.end_s:.1f} s"
        )
    board.put("attack_rest_ms_p99", [quantiles(one.rest, n=100)[98] for one in every.values()])
    for name, one in every.items():
        board.put(ATTACKED[name], [one.p99])
    board.put(sums[0], [len(one.failed) for one in every.values()], sum(len(one.failed) for one in every.values()))
    board.put(sums[1], [one.left_mib for one in every.values()], max(one.left_mib for one in every.values()))
    board.put(sums[2], [one.log_kib for one in every.values()], max(one.log_kib for one in every.values()))
    board.put(sums[3], [one.end_s for one in every.values()], max(one.end_s for one in every.values()))


def attacked(world: World, names: Sequence[str], farm_name: str, seconds: float = SECONDS) -> Noticed:
    """Attack a farm of its own, with honest people before and meanwhile."""
    state = world.state_dir(farm_name)
    fill(state, (built(world, number, state) for number in range(1, ARTIFACTS + 1)))
    with world.farm(farm_name) as farm:
        farm.start_mail()
        metaserver = farm.start_metaserver("--web")
        rest = _visits(world, farm, REST)
        before = resident_mib(metaserver.process.pid)
        attack = _attack(world, farm, names, seconds + REST)
        meanwhile = _visits(world, farm, seconds)
        attack.wait_for("over", _PATIENCE)
        attack.kill()
        time.sleep(CALM)
        left = resident_mib(metaserver.process.pid) - before
        again = _attack(world, farm, names, 2 * REST)
        time.sleep(REST)
        began = time.monotonic()
        metaserver.stop()
        ended = time.monotonic() - began
        again.kill()
        log = sum(len(line.encode()) + 1 for line in metaserver.lines) / 1024
    return Noticed(_took(rest), _took(meanwhile), _failed(rest) + _failed(meanwhile), left, log, ended)


def _attack(world: World, farm: LocalFarm, names: Sequence[str], seconds: float) -> Program:
    asked = _ports(farm) | {
        "attacks": list(names),
        "seconds": seconds,
        "skill": [world.project.name, world.project.recipe.version, world.project.options.digest()],
        "commit": world.commits[-1],
        "option": "number",
    }
    path = farm.directory / "attack.json"
    path.write_text(json.dumps(asked) + "\n")
    words = ["sh", "-c", 'exec "$0" -m tests.hostile < "$1"', sys.executable, str(path)]
    program = Program.start("attack", words, farm.environment(PYTHONPATH=str(ROOT)))
    program.wait_for("under way")
    return program


def _visits(world: World, farm: LocalFarm, seconds: float) -> dict[str, Any]:
    local = world.local
    asked: dict[str, Any] = {"commits": world.commits, "local": local}
    submissions = [encode(submit_of(asked, number)) for number in range(1, ARTIFACTS + 1)]
    words = _ports(farm) | {"seconds": seconds, "rate": RATE, "submissions": submissions}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.honest"],
        input=json.dumps(words) + "\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + _PATIENCE,
        check=True,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _ports(farm: LocalFarm) -> dict[str, Any]:
    names = {"control": "BUILDTOOL_PB_PORT", "transfer": "BUILDTOOL_TRANSFER_PORT", "web": "BUILDTOOL_WEB_PORT"}
    return {name: farm.ports[variable] for name, variable in names.items()}


def _took(visits: dict[str, Any]) -> list[float]:
    return sorted(each for one in visits.values() for each in one["took"])


def _failed(visits: dict[str, Any]) -> list[str]:
    return [f"{name}: {why}" for name, one in visits.items() for why in one["failed"]]
