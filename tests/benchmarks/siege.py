"""What honest people with keys notice while 500 connections from as many addresses do their worst, all of it by TLS."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from attrs import frozen

from buildtool.adapters.tls.certificates import certificate_text, key_text
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.demo.local_farm import LocalFarm, Program
from buildtool.protocol.codec import encode
from tests.benchmarks.clients import submit_of
from tests.benchmarks.figures import Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import ROOT, World, progress, resident_mib

CONNECTIONS = 500
ARTIFACTS = 50
RATE = 5.0
"""Visits a second of each of five kinds."""

REST = 8.0
SECONDS = 20.0
"""Seconds of visits at rest, and while it is besieged."""

CALM = 15.0
"""Seconds after which whatever is left of the enemies is looked at: longer than a handshake may take."""

OWNER = "bench@example.org"
FIGURES = (
    "siege_rest_ms_p99", "siege_ms_p99", "siege_failed_visits", "siege_mib", "siege_log_lines_a_connection",
    "siege_log_kib_an_hour", "siege_descriptors_left",
)  # fmt: skip


@frozen
class Besieged:
    """What was noticed: milliseconds of honest visits at rest and meanwhile, and what the metaserver did and kept."""

    rest: list[float]
    meanwhile: list[float]
    failed: list[str]
    mib: float
    lines: int
    log_kib: float
    connections: dict[str, int]
    descriptors: int

    def figures(self) -> tuple[float, ...]:
        """Return the values of ``FIGURES``."""
        made = max(1, sum(self.connections.values()))
        an_hour = 3_600 / SECONDS
        return (
            p99(self.rest), p99(self.meanwhile), len(self.failed), self.mib, self.lines / made,
            self.log_kib * an_hour, self.descriptors,
        )  # fmt: skip


def p99(took: list[float]) -> float:
    """Return the time within which 99 of 100 visits were over, in the unit of ``took``."""
    return quantiles(took, n=100)[98]


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    if not board.wants(*FIGURES):
        return
    progress(f"a siege by {CONNECTIONS} connections")
    found = besieged(world, "besieged", SECONDS)
    progress(f"  {found.connections}, failed visits {sorted(set(found.failed))[:3]}")
    for name, value in zip(FIGURES, found.figures(), strict=True):
        board.put(name, [value])


def besieged(world: World, farm_name: str, seconds: float, connections: int = CONNECTIONS) -> Besieged:
    """Besiege a farm of its own, whose port speaks TLS to holders of keys."""
    state = world.state_dir(farm_name)
    fill(state, (built(world, number, state) for number in range(1, ARTIFACTS + 1)))
    with world.farm(farm_name) as farm:
        farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(farm.directory / "home")}
        metaserver = farm.start_metaserver("--web")
        pid = metaserver.process.pid
        honest, revoked = _key(farm, "bench"), _key(farm, "gone")
        _run(farm, "metaserver", "revoke", "gone")
        visits = _visiting(world, farm, honest)
        _took(visits(REST / 4))
        rest = visits(REST)
        before, open_before, said = resident_mib(pid), _descriptors(pid), len(metaserver.lines)
        enemies = _enemies(farm, revoked, seconds + REST / 2, connections)
        time.sleep(REST / 4)
        meanwhile = visits(seconds)
        most = resident_mib(pid)
        over = json.loads(enemies.wait_for(r"over (.*)", 60.0)[1])
        enemies.kill()
        time.sleep(CALM)
        most = max(most, resident_mib(pid))
        left = _descriptors(pid) - open_before
        lines = metaserver.lines[said:]
    log = sum(len(line.encode()) + 1 for line in lines) / 1024
    failed = [f"{name}: {why}" for one in (rest, meanwhile) for name, it in one.items() for why in it["failed"]]
    return Besieged(_took(rest), _took(meanwhile), failed, most - before, len(lines), log, over, max(0, left))


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _run(farm: LocalFarm, program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(farm.root / "bin" / program), *words],
        env=farm.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def _key(farm: LocalFarm, name: str) -> Path:
    """Join as a requester; return a file with the key and its certificate."""
    line = _run(farm, "metaserver", "invite", name, "--role", "requester", "--owner", OWNER)
    home = farm.directory / f"home-{name}"
    farm.extra["XDG_CONFIG_HOME"] = str(home)
    _run(farm, "startcompile.py", "join", line)
    (where,) = (home / "buildtool" / "metaservers").iterdir()
    own = CredentialStore(where).load()
    assert own is not None
    path = farm.directory / f"{name}.pem"
    path.write_bytes(key_text(own.identified.key) + certificate_text([own.identified.certificate]))
    return path


def _enemies(farm: LocalFarm, revoked: Path, seconds: float, connections: int) -> Program:
    asked = {
        "port": farm.ports["BUILDTOOL_PB_PORT"],
        "seconds": seconds,
        "connections": connections,
        "revoked": str(revoked),
    }
    path = farm.directory / "siege.json"
    path.write_text(json.dumps(asked) + "\n")
    # What enemies compute is done on their own machines. Where a session has a priority too, nice alone says nothing to
    # the programs of other sessions.
    lowest = "{ echo 19 > /proc/$$/autogroup; } 2> /dev/null; exec nice -n 19"
    words = ["sh", "-c", f'{lowest} "$0" -m tests.hostile.siege < "$1"', sys.executable, str(path)]
    program = Program.start("siege", words, farm.environment(PYTHONPATH=str(ROOT)))
    program.wait_for("under way")
    return program


def _visiting(world: World, farm: LocalFarm, key: Path) -> Any:
    asked: dict[str, Any] = {"commits": world.commits, "local": world.local}
    submissions = [encode(submit_of(asked, number)) for number in range(1, ARTIFACTS + 1)]
    port = farm.ports["BUILDTOOL_PB_PORT"]

    def visits(seconds: float) -> dict[str, Any]:
        words = {"control": port, "transfer": port, "web": port, "key": str(key)}
        done = subprocess.run(
            [sys.executable, "-m", "tests.hostile.honest"],
            input=json.dumps(words | {"seconds": seconds, "rate": RATE, "submissions": submissions}) + "\n",
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds + 120,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return visits


def _took(visits: dict[str, Any]) -> list[float]:
    return sorted(each for one in visits.values() for each in one["took"])
