"""The farm of a recorded release: the same sources at the same address, whoever records and whoever tests."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from attrs import define

from buildtool.demo.local_farm import PATIENCE, FarmError, LocalFarm, Program, import_sources
from tests.support.building import narrow_path

HERE = Path(__file__).parent
CONFIG = HERE / "config.py"
ADDRESS = "127.83.71.2"
"""Where ``git daemon`` has the sources: an address of loopback that nobody else uses."""

BUILD = """\
set -e
test "$1" != failed
if test -p "$CONTROL/gate-$SERVER"; then cat "$CONTROL/gate-$SERVER"; fi
echo "$1" >program
"""


@define
class ReleaseFarm(LocalFarm):
    """The farm of a recorded release."""

    def ask(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run startcompile.py --json, which must end with ``code``, and return what it printed last."""
        done = self.request("--json", *words)
        if done.returncode != code:
            raise FarmError(f"{done.returncode} instead of {code}: {done.stderr}{done.stdout}")
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def server(self, name: str) -> Program:
        """Start a build server."""
        return self.start_build_server(name, "--no-cross", RELEASE_SERVER=name)


@contextmanager
def release_farm(directory: Path, checkout: Path | None = None) -> Iterator[ReleaseFarm]:
    """Yield a farm below ``directory``, with its origin served; all of it is stopped at the end."""
    sources, control = directory / "sources", directory / "control"
    for one in (sources, control):
        one.mkdir(parents=True, exist_ok=True)
    (sources / "build.sh").write_text(BUILD)
    import_sources(sources, directory / "origin" / "greeter.git")
    farm = ReleaseFarm(directory / "farm", CONFIG, {"RELEASE_CONTROL": str(control), "PATH": narrow_path()})
    if checkout is not None:
        farm.root, farm.python = checkout, str(checkout / ".venv" / "bin" / "python")
    try:
        farm.programs.append(_serve(directory / "origin"))
        yield farm
    finally:
        farm.stop()


def _serve(repositories: Path) -> Program:
    """Start a server of git repositories; another test may be about to leave its address."""
    words = ["git", "daemon", f"--listen={ADDRESS}", "--reuseaddr", "--export-all", "--verbose"]
    until = monotonic() + PATIENCE
    while True:
        program = Program.start("git daemon", [*words, f"--base-path={repositories}"], dict(os.environ))
        try:
            program.wait_for("Ready to rumble")
        except FarmError:
            if monotonic() > until:
                raise
            program.ended()
            sleep(0.5)
        else:
            return program
