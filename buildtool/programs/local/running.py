"""``bin/metaserver --local N``: a whole farm inside this process, for trying a recipe out, that leaves nothing.

Covered by tests/e2e/test_local.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import define, evolve, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredList

from buildtool.adapters.processes.environment import forbid_inspection
from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.finding import from_here
from buildtool.configuration.given.values import NOTHING
from buildtool.configuration.settings import Settings, check_projects, load_settings
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver import main as buildserver
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.beginning import is_ignored
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK, ROOT
from buildtool.programs.common.output import say
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.local.ground import free_ports, import_sources
from buildtool.programs.local.words import configuration, what_to_do
from buildtool.programs.metaserver.checking import FILE_PATIENCE, apart, within
from buildtool.programs.metaserver.service import Metaserver
from buildtool.programs.metaserver.state_directory import StartOptions

PREFIX = "buildtool-local-"
"""How the name of the directory begins that is made for it, below ``$TMPDIR``."""

USUAL = 1
"""How many build servers there are where their number is not said."""

_SOURCES = "BUILDTOOL_TESTPROJECT_REPOSITORY"


def local(program: str, said: argparse.Namespace) -> int:
    """Run a farm until it is told to stop, remove all that it made, and return the exit code. Raises BuildToolError."""
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if not is_ignored(number)]
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending}  # until it heeds them
    there = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    try:
        settings = _settings(said, there)
        forbid_inspection()
        farm = _LocalFarm(settings, _programs(said, settings))
        return run(program, farm.run, verbose=said.verbose)
    finally:
        remove_tree(there)
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(said: argparse.Namespace, there: Path) -> Settings:
    """Return the settings of a farm below ``there``: neither those of another one here, nor what the environment says.

    Raises ConfigurationError, UnknownProject.
    """
    recipe = _recipe(said)
    sources = ROOT / "testproject" / "source"
    if sources.is_dir() and not os.environ.get(_SOURCES) and not (ROOT / "var" / "testproject.git").exists():
        import_sources(sources, there / "testproject.git")
        os.environ[_SOURCES] = str(there / "testproject.git")  # for the project's configuration, which asks it
    file = there / "config.py"
    file.write_text(configuration(there, free_ports(3), recipe, said.project or ()), encoding="utf-8")
    with within(FILE_PATIENCE):
        settings = load_settings(file, given=NOTHING)
    if not settings.projects and not said.project:
        raise ConfigurationError(f"{recipe}: projects is empty, so there is nothing to build")
    everything = {one.name for one in settings.projects}
    for name in said.project or ():
        if name not in everything:
            load_settings(recipe if said.recipe is None else file, given=NOTHING).project(name)
    apart(lambda limit: check_projects(settings, within=limit), settings.path)
    return settings


def _recipe(said: argparse.Namespace) -> Path:
    """Return the file with the projects. Raises ConfigurationError."""
    named = said.recipe or said.config
    if named is None and not (ROOT / "setup.cfg").is_file():
        raise ConfigurationError("there is no checkout with an example here: say --recipe FILE, a project's config.py")
    found = from_here(named or ROOT / "config.py", "--recipe" if said.recipe else "--config")
    if not found.is_file():
        what = "is no file" if found.exists() else "there is no such file"
        raise ConfigurationError(f"{found}: {what}: --recipe names a project's config.py")
    return found


def _programs(said: argparse.Namespace, settings: Settings) -> list[buildserver.BuildServerProgram]:
    """Return so many build servers as are wanted, each with what this machine offers. Raises BuildToolError."""
    found = []
    for number in range(1, (said.target or USUAL) + 1):
        words = ["serve", "--name", f"local-{number}", "--sandbox", "best"]
        words += ["--platforms", said.platforms] if said.platforms else []
        _, own = buildserver.COMMAND_LINE.parse(words)
        start = Start.of(settings, own, CredentialStore(settings.build_dir / "identity"), None)
        found.append(buildserver.started(start, StopRequest()))
    return found


@define(eq=False)
class _LocalFarm:
    """A farm in this process; the build servers stop before the metaserver, which takes what they hand back."""

    settings: Settings
    programs: Sequence[buildserver.BuildServerProgram]
    _levels: list[SandboxLevel] = field(factory=list, init=False)
    _failures: list[BuildToolError] = field(factory=list, init=False)
    _failed: bool = field(default=False, init=False)

    async def run(self, reactor: ReactorBase, stop: StopRequest) -> int:
        _end_with_terminal(stop)
        metaserver = Metaserver(
            CurrentConfiguration(self.settings), reactor, True, stop.ask, StartOptions(False, False)
        )
        await metaserver.start()
        ends, running = [], []
        try:
            for program in self.programs:
                end = StopRequest()
                ends.append(end)
                running.append(Deferred.fromCoroutine(self._served(program, reactor, stop, end)))
            await stop.asked()
        finally:
            for end in ends:
                end.ask(stop.reason or "the farm ends")
            await DeferredList(running)
            await metaserver.stop()
        if self._failures:
            raise self._failures[0]
        return EXIT_FAILED if metaserver.lost or self._failed else EXIT_OK

    async def _served(
        self, program: buildserver.BuildServerProgram, reactor: ReactorBase, stop: StopRequest, end: StopRequest
    ) -> None:
        """Run a build server; where it ends by itself, the farm does."""
        with program.place.lock():
            try:
                serving = evolve(program, serving=partial(self._one_more, stop))
                self._failed = await buildserver.served(serving, reactor, end) != EXIT_OK or self._failed
            except BuildToolError as error:
                self._failures.append(error)
            finally:
                stop.ask(f"{program.name} has ended")

    def _one_more(self, stop: StopRequest, level: SandboxLevel) -> None:
        """Print how the farm is used once all of its build servers serve, and end it with the terminal."""
        self._levels.append(level)
        if len(self._levels) < len(self.programs):
            return
        _end_with_terminal(stop)  # again: each build server drains at this signal
        say("\n".join(what_to_do(self.settings, self._levels, sys.argv[0])))


def _end_with_terminal(stop: StopRequest) -> None:
    """Ask the farm to stop when its terminal is closed. Where SIGHUP is ignored (``nohup`` does that) it stays so."""
    if not is_ignored(signal.SIGHUP):
        signal.signal(signal.SIGHUP, lambda _number, _frame: stop.ask("the terminal is closed (SIGHUP)"))
