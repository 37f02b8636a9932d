"""What every measurement starts from: a directory, a repository, farms of real programs, clients of their own."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from buildtool.adapters.host.detectors import DETECTORS
from buildtool.configuration.settings import load_settings
from buildtool.demo.local_farm import LocalFarm, Program
from buildtool.model.matching.requiring import machine_required, platform_required
from buildtool.model.platforms import Value
from buildtool.model.records import BuildSpec
from buildtool.model.trust.evidence import TRUSTED_ONLY
from buildtool.programs.startcompile.errands import detected
from buildtool.project.definition import Project
from tests.support.origins import Origin

CONFIG = Path(__file__).resolve().parent / "config.py"
ROOT = CONFIG.parent.parent.parent

REVISIONS = 20
FILES = 200
CHANGED = 20
"""How many of the files differ from one revision to the next."""

PAYLOAD = 64 * 1024
_CLIENT_SECONDS = 300.0


def progress(words: str) -> None:
    """Say on stderr what goes on."""
    print(f"# {words}", file=sys.stderr, flush=True)


@define
class World:
    """One run of the benchmarks, below ``directory``, which is the run's own."""

    directory: Path
    commits: list[str] = field(factory=list)
    project: Project = field(init=False)
    local: dict[str, Value] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.commits = self._import()
        os.environ |= self.environment
        self.project = load_settings(CONFIG).projects[0]
        self.local = detected(self.project, DETECTORS)

    @property
    def repository(self) -> Path:
        return self.directory / "noop.git"

    @property
    def environment(self) -> dict[str, str]:
        return {"BENCH_REPOSITORY": str(self.repository)}

    # --- the project -------------------------------------------------------------------------------------

    def _import(self) -> list[str]:
        """Make a repository with ``REVISIONS`` revisions of ``FILES`` files, and return the commits' ids."""
        origin = Origin(self.repository)
        draw = random.Random(5)
        (self.repository / "payload").write_bytes(draw.randbytes(PAYLOAD))
        commits = []
        for revision in range(REVISIONS):
            files = range(FILES - 1) if not revision else range(revision, FILES - 1, FILES // CHANGED)
            for number in files:
                path = self.repository / f"part-{number % 10}" / f"file-{number:03d}.c"
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"/* revision {revision} */\n" + f"int value_{number} = {draw.random()};\n" * 50)
            commits.append(origin.commit_all(f"revision {revision}"))
        return commits

    def spec(self, number: int) -> BuildSpec:
        """Return the Build that ``submit number`` of a client on this machine asks for."""
        options = self.project.options
        return BuildSpec(
            project=self.project.name,
            source="",
            revision=self.commits[number % REVISIONS],
            recipe_version=self.project.recipe.version,
            options=options.compile_values({"number": number}),
            platform=platform_required(options, {}, self.local),
            machine=machine_required(options, {}, self.project.recipe.machine),
            policy=TRUSTED_ONLY,
        )

    # --- programs ----------------------------------------------------------------------------------------

    @contextmanager
    def farm(self, name: str, *, keyed: bool = False) -> Iterator[LocalFarm]:
        """A farm of this name, stopped at the end; one of the same name finds what an earlier one left.

        A ``keyed`` one believes nobody without a key, and speaks TLS.
        """
        keys = {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(self.directory / name / "home")} if keyed else {}
        farm = LocalFarm(self.directory / name, CONFIG, self.environment | keys)
        try:
            yield farm
        finally:
            farm.stop()

    def state_dir(self, name: str) -> Path:
        """Return the metaserver's directory of the farm of this name."""
        return self.directory / name / "metaserver"

    @contextmanager
    def peer(self, module: str, *arguments: str) -> Iterator[int]:
        """A program of this package that listens; gives its port."""
        words = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
        program = Program.start(module, words, {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"})
        try:
            yield int(program.wait_for(r"listening on port (\d+)")[1])
        finally:
            program.kill()

    def client(self, kind: str, **asked: object) -> dict[str, Any]:
        """Run a client in a process of its own and return what it measured."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.clients", kind],
            input=json.dumps(asked | {"commits": self.commits, "local": self.local}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_CLIENT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the client {kind} ended with {done.returncode}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found


def is_keyed(farm: LocalFarm) -> bool:
    """Return whether a farm believes nobody without a key."""
    return farm.extra.get("BUILDTOOL_TRUSTED") == "nobody"


def invited(farm: LocalFarm, name: str, *words: str) -> str:
    """Return the line with which somebody joins a farm whose metaserver runs."""
    return _run(farm, "metaserver", "invite", name, *words)


def reached(farm: LocalFarm) -> dict[str, object]:
    """Return what a client is told of a farm whose metaserver runs: its port, and the key to show, if it needs one."""
    found: dict[str, object] = {"port": farm.ports["BUILDTOOL_PB_PORT"]}
    if is_keyed(farm):
        home = Path(farm.extra["XDG_CONFIG_HOME"])
        if not home.exists():
            line = invited(farm, "bench", "--role", "requester", "--owner", "bench@example.org")
            _run(farm, "startcompile.py", "join", line)
        (key,) = home.glob("buildtool/metaservers/*")
        found["identity"] = str(key)
    return found


def _run(farm: LocalFarm, program: str, *words: str) -> str:
    done = subprocess.run(
        [farm.python, str(farm.root / "bin" / program), *words],
        env=farm.environment(),
        cwd=farm.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def start_servers(farm: LocalFarm, names: list[str], *, boxed: bool = False) -> None:
    """Start build servers, all at once, and wait until they are registered; ``boxed`` ones build in a sandbox."""
    level = "strict" if boxed else "none"
    lines = {name: ["--join", invited(farm, name)] if is_keyed(farm) else [] for name in names}
    started = [
        farm.start(
            name,
            [str(farm.root / "bin" / "buildserver.py"), "--name", name, "--sandbox", level, *lines[name]],
            BUILDTOOL_BUILD_DIR=str(farm.directory / f"build-{name}"),
        )
        for name in names
    ]
    for program in started:
        program.wait_for(r"registered")


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells nothing of its memory")


def make_file(path: Path, size: int) -> str:
    """Write ``size`` bytes that do not compress, and return their SHA-256."""
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(0, size, 1024 * 1024):
            piece = os.urandom(min(1024 * 1024, size))
            hasher.update(piece)
            file.write(piece)
    return hasher.hexdigest()


def settled(values: Mapping[str, Any], name: str) -> float:
    """Return a number that a client measured."""
    return float(values[name])


@contextmanager
def world(parent: Path) -> Iterator[World]:
    """A world below ``parent``, removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    directory = parent / f"run-{os.getpid()}"
    try:
        yield World(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
