"""A configuration that is new is tried in a process of its own, as it will be loaded, and its recipes are asked.

``python -m`` this module is that process: the job comes on its standard input with the environment in which the
configuration will be loaded, so that none of it shows in ``/proc``; the answer is a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from buildtool.adapters.processes.environment import forbid_inspection, needed
from buildtool.adapters.vcs.process import TimedOut, VcsProgram, read
from buildtool.configuration.settings import check_projects, load_settings
from buildtool.errors import BuildToolError, MachineFault
from buildtool.model.text import one_line
from buildtool.programs.buildserver.following.loading import with_projects_of
from buildtool.programs.common.output import say
from buildtool.programs.metaserver.checking import apart
from buildtool.project.recipe_check import Within

LIMIT = 300.0
"""Seconds that a trial may take."""

_ROOT = Path(__file__).resolve().parents[4]
_PYTHON = "python"


class TrialRunner(VcsProgram):
    """A runner of trials. All methods block, in any thread; ``limit`` is in seconds."""

    def __init__(self, limit: float = LIMIT) -> None:
        super().__init__(_PYTHON, lambda where: MachineFault(f"{where} is gone: it is what runs this program"))
        self._limit = limit

    def attempt(self, own: Path, followed: Path, networked: Sequence[str]) -> str:
        """Return why a followed configuration will not do with this machine's own, "" where it will.

        ``networked`` are the projects that are allowed to use the network. Raises MachineFault.
        """
        job = {
            "own": os.fspath(own),
            "followed": os.fspath(followed),
            "networked": list(networked),
            "environment": dict(os.environ),
        }
        words = [sys.executable, "-P", "-m", __name__]
        environment = {**needed(), "PYTHONPATH": os.fspath(_ROOT)}
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stdin:
            process = self.start(words, environment, stdin, followed.parent)
        try:
            with os.fdopen(writing, "wb") as stream:
                stream.write(json.dumps(job).encode())
            answer = read(process, _PYTHON, self._limit)
        except TimedOut:
            return f"it was not loaded and asked within {self._limit:g} s"
        except BrokenPipeError as error:
            raise MachineFault(f"{sys.executable} ended before it could try a configuration") from error
        finally:
            self.end(process)
        try:
            told = json.loads(answer.out)
        except ValueError:
            last = one_line((answer.err.strip().splitlines() or [""])[-1], 300)
            return f"trying it ended with exit code {answer.code}{': ' if last else ''}{last}"
        return str(told["why"])


def main() -> int:
    """Answer the job on standard input."""
    forbid_inspection()
    job = json.load(sys.stdin)
    os.environ.clear()
    os.environ.update(job["environment"])
    own, followed = Path(job["own"]), Path(job["followed"])

    def check(limit: Within) -> str:
        settings = with_projects_of(load_settings(own, secrets=False), followed)
        check_projects(settings, thorough=True, within=limit)
        lost = sorted(set(job["networked"]) - {one.name for one in settings.projects})
        return f"it has no project {lost[0]}, which --allow-network names" if lost else ""

    try:
        why = apart(check, followed)
    except BuildToolError as error:
        why = str(error)
    except RuntimeError as error:
        why = f"a defect while it was tried: {error}"
    say(json.dumps({"why": one_line(why, 1_000)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
