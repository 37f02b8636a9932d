"""A small program in a signed repository, installed beside another one, started, watched and gone back from.

Its commands are real ones; only time passes as fast as nothing happens.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.model.updating.record import UpdateRecord
from buildtool.programs.buildserver.following.choice import FollowChoice
from buildtool.programs.updating.choice import UpdateChoice
from buildtool.programs.updating.place import VersionPlace
from buildtool.programs.updating.rounds import RoundEnd, UpdateRound
from tests.support.signed_origin import SignedOrigin, make_key

ENVIRONMENT = """\
import os, sys
if open("how").read().strip() == "no-network":
    print("ERROR: Could not find a version that satisfies the requirement attrs", file=sys.stderr)
    sys.exit(1)
os.makedirs(".venv/bin")
os.symlink(sys.executable, ".venv/bin/python")
"""
CHECK = """#!/bin/sh
test "$(cat how)" != bad-config || { echo "config.py: unknown setting 'x'" >&2; exit 2; }
"""
START = """#!/bin/sh
test "$(cat how)" != no-start || { echo "Job for metaserver.service failed" >&2; exit 1; }
echo "$(cat how)" >> ../../../started
"""
READY = """#!/bin/sh
test "$(cat how)" != never-ready && test ! -e ../../../down
"""
SAME = """#!/bin/sh
wc -l < ../../../started
test "$(cat how)" != dies || echo >> ../../../looks
test "$(cat how)" != dies || test "$(wc -l < ../../../looks)" -lt 4 || echo another
"""
BACKUP = """#!/bin/sh
mkdir -p "$2" && cat how > "$2/made"
"""


class Killed(BaseException):
    """The end of an update by a signal that nothing can be done about."""


class Installed:
    """An installation of that program, and all that an operator says of it."""

    def __init__(self, place: Path, keys: Path) -> None:
        self.owner, self.other = keys / "owner", keys / "other"
        self.origin = SignedOrigin(place / "origin")
        for name, text in {
            ".ci/venv.py": ENVIRONMENT, "bin/check": CHECK, "bin/start": START, "bin/ready": READY, "bin/same": SAME,
            "bin/metaserver": BACKUP, "buildtool/__init__.py": "",
        }.items():  # fmt: skip
            path = self.origin.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        (place / "place").mkdir()
        self.world = place
        self.place = VersionPlace(place / "place", sync=lambda: None)
        self.choice = UpdateChoice(
            place=self.place.path,
            source=FollowChoice(self.origin.url, "main", (keys / "owner.pub",), False, 0.0),
            tags="", unsigned=False, keep=2, check=("bin/check",), restart=("bin/start",), ready=("bin/ready",),
            within=5.0, watch=20.0, same=("bin/same",), account="", backups=None,
        )  # fmt: skip
        self.now = 1_800_000_000.0
        self.steps: list[str] = []
        self.on_step: Callable[[str], object] = lambda _words: None

    def push(self, how: str, *, signed: bool = True) -> str:
        """Commit a version that goes wrong in some way, or in none."""
        return self.origin.push(self.owner if signed else self.other, how=f"{how}\n")

    def tell(self, words: str) -> None:
        self.steps.append(words)
        self.on_step(words)

    def rest(self, seconds: float) -> None:
        self.now += seconds
        self.on_step("rests")

    def round(self) -> UpdateRound:
        return UpdateRound(
            self.choice, self.place, self.tell, wall=lambda: self.now, steady=lambda: self.now, rest=self.rest
        )

    def run(self) -> RoundEnd:
        self.steps.clear()
        return self.round().run()

    def say(self, **changes: object) -> None:
        """Change what the operator says."""
        self.choice = evolve(self.choice, **changes)  # type: ignore[arg-type] # fields by name

    @property
    def record(self) -> UpdateRecord:
        return self.round().memory.load()

    @property
    def started(self) -> list[str]:
        """Which versions were started, in order, by how they go wrong."""
        path = self.place.path.parent / "started"
        return path.read_text().split() if path.exists() else []

    def running(self, how: str) -> None:
        """Have a version of which all is well installed already, and run."""
        commit = self.push(how)
        shutil.copytree(self.origin.path, self.place.version(commit), ignore=shutil.ignore_patterns(".git"))
        self.place.mark_whole(commit)
        self.place.lead_to(commit)
        (self.world / "started").write_text(f"{how}\n")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys")
    for name in ("owner", "other"):
        make_key(place / name)
    return place


@pytest.fixture
def installed(tmp_path: Path, keys: Path) -> Installed:
    return Installed(tmp_path, keys)
