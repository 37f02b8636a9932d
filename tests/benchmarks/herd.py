"""A whole farm returns in the same second: how long until all of it is registered, and what others notice of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles

from attrs import define, frozen

from buildtool.adapters.tls.authority import Authority
from buildtool.adapters.tls.certificates import certificate_text, key_id, key_text, life_of, new_key
from buildtool.model.access.identities import Identity, KeyState
from buildtool.model.options import canonical
from buildtool.model.principal import PrincipalRole
from buildtool.model.servers import Capability, Offer, ProjectSkill
from buildtool.protocol.codec import encode
from buildtool.protocol.messages import Register
from tests.benchmarks.figures import TLS, Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import ROOT, World, progress, reached

SERVERS = 1_000
NAMES = [f"light-{number}" for number in range(SERVERS)]
PROCESSES = 4

RUNS = 3
ARTIFACTS = 200
RATE = 50.0
"""Requests a second meanwhile: hits, of which each is told how long it took."""

WATCH = 20.0
"""Seconds for which they go on asking: longer than the return may take."""

LEAD = 3.0
"""Seconds for which they ask before the farm returns."""

_PATIENCE = 120.0
_FARM = "herd"


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    for side in ("", TLS):
        registered, asked = f"{side}herd_1000_registered_s", f"{side}herd_request_ms_p99"
        if board.wants(registered, asked):
            progress(f"{SERVERS:,} build servers return in the same second{' by TLS' if side else ''}")
            runs = _runs(world, f"{side}{_FARM}", keyed=bool(side))
            board.put(registered, [run.seconds for run in runs])
            board.put(asked, [quantiles(run.took, n=100)[98] for run in runs])


def _runs(world: World, name: str, *, keyed: bool) -> list[_Run]:
    state = world.state_dir(name)
    with world.farm(name, keyed=keyed) as farm, ExitStack() as herds:
        if keyed:
            farm.start_metaserver().stop()  # it makes the authority that signs for all
        farm_keys = _keys(state) if keyed else None
        fill(state, (built(world, number, state) for number in range(1, ARTIFACTS + 1)))
        if farm_keys is not None:
            fill(state, ((one,) for one in farm_keys.identities))
        farm.start_metaserver()
        where = reached(farm)
        parts = [herds.enter_context(_part(world, where, number, farm_keys)) for number in range(PROCESSES)]
        # They were here before: the first time makes their rows, and is not counted.
        _come(parts)
        _leave(parts)
        return [_measured(world, where, parts) for _ in range(RUNS)]


@frozen
class _FarmKeys:
    """The keys of all light build servers, by name as PEM with their certificates, and the authority's certificate."""

    authority: str
    held: dict[str, tuple[str, str]]
    identities: list[Identity]


def _keys(state: Path) -> _FarmKeys:
    """Make a key for each of them, signed by the metaserver's authority."""
    now = time.time()
    authority = Authority.load(state / "tls", now)
    found = _FarmKeys(certificate_text(authority.believed(now)).decode(), {}, [])
    for name in NAMES:
        key = new_key()
        made = authority.sign(key.public_key(), name, now)
        text = certificate_text([made]).decode()
        found.held[name] = key_text(key).decode(), text
        role, ends = PrincipalRole.BUILD_SERVER, life_of(made)[1]
        found.identities.append(Identity(key_id(made), name, role, KeyState.ACTIVE, now, text, ends))
    return found


@frozen
class _Run:
    """Seconds until all were registered, and milliseconds of each request that was sent until then."""

    seconds: float
    took: list[float]


def _measured(world: World, where: dict[str, object], parts: list[_Part]) -> _Run:
    """Let the farm return while others ask for what there is."""
    with ThreadPoolExecutor(1) as others:
        words = {**where, "artifacts": ARTIFACTS, "rate": RATE, "seconds": WATCH, "seed": 1}
        asking = others.submit(lambda: world.client("steady", **words))
        time.sleep(LEAD)
        began = time.time()
        seconds = _come(parts)
        sent = asking.result(_PATIENCE)["sent"]
    _leave(parts)
    if not sent[0][0] < began < began + seconds < sent[-1][0]:
        raise RuntimeError(f"requests were not made all the time: from {sent[0]} to {sent[-1]}, return at {began}")
    return _Run(seconds, [milliseconds for at, milliseconds in sent if began <= at <= began + seconds])


@define(eq=False)
class _Part:
    """The light build servers of one process."""

    process: subprocess.Popen[str]

    def say(self, word: str) -> None:
        """Tell it to do something."""
        if self.process.stdin is None:
            raise RuntimeError("a process without stdin")
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Return the line that it says next."""
        line = self.process.stdout.readline() if self.process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"light build servers ended with {self.process.wait()}")
        return line.strip()


@contextmanager
def _part(world: World, where: dict[str, object], number: int, keys: _FarmKeys | None) -> Iterator[_Part]:
    count = SERVERS // PROCESSES
    names = NAMES[number * count : (number + 1) * count]
    asked = {
        "names": names,
        # Each comes from a network of its own, as donors do; all of 127.0.0.0/8 is this machine itself.
        "addresses": [f"127.{1 + number}.{each}.2" for each in range(count)],
        "register": encode(_register(world)),
        "seed": number,
        "keys": [keys.held[name] for name in names] if keys is not None else [],
        "authority": keys.authority if keys is not None else "",
    }
    words = [sys.executable, "-m", "tests.benchmarks.light", str(where["port"])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        part = _Part(process)
        try:
            part.say(json.dumps(asked))
            part.hear()
            yield part
        finally:
            process.kill()


def _register(world: World) -> Register:
    """Return what each of them announces: little, but enough to build."""
    project = world.project
    skill = ProjectSkill(project.name, project.recipe.version, project.options.digest())
    machine = canonical({"memory": 4_096, "disk": 10_000, "cpus": 2})
    return Register("light", Capability((Offer(world.spec(1).platform),), machine, (skill,)))


def _come(parts: list[_Part]) -> float:
    """Let all of them log in, and return the seconds until the last was registered."""
    for part in parts:
        part.say("go")
    return max(float(part.hear()) for part in parts)


def _leave(parts: list[_Part]) -> None:
    for part in parts:
        part.say("leave")
    for part in parts:
        part.hear()
