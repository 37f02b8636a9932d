"""``bin/buildserver.py doctor``: what keeps this machine from building, line by line, with the mend.

Tested by tests/programs/doctors/test_buildserver.py and test_visiting.py.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from twisted.internet.base import ReactorBase

from buildtool.adapters.host.programs import find_tools
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import BuildToolError
from buildtool.model.checkup.machine import ToolFacts, install_line, judge_open_files, judge_tools
from buildtool.model.checkup.packages import COMMON
from buildtool.model.checkup.verdicts import CheckResult, fine, problem
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.joining import said_join_line
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.doctors.visiting import MIB, Visit, disk_result, families, own_farm, report, visit
from buildtool.project.definition import Project

OPEN_FILES = 256
"""Files and connections at once: those of a few builds, and what a checkout takes."""

LOW, NEED = 2048 * MIB, 256 * MIB
"""Bytes of free disk below which the owner is told, and below which hardly anything is built."""


def doctor(program: str, said: argparse.Namespace) -> int:
    """Check everything that a build server needs, print the verdicts, and return the exit code."""
    try:
        settings = load_settings(said.config, secrets=False)
    except BuildToolError as error:
        return report([problem("configuration", str(error), "mend that file")], as_json=said.json)
    return run(program, partial(_examined, said, settings), verbose=said.verbose)


async def _examined(said: argparse.Namespace, settings: Settings, reactor: ReactorBase, _stop: StopRequest) -> int:
    results = [fine("configuration", str(settings.path))]
    store = CredentialStore(settings.build_dir / "identity")
    farm, wrong = own_farm(reactor, store)
    results += wrong
    try:
        said_join_line(said.join)
        start = Start.of(settings, said, store, None if farm is None else farm.own)
        results += start_results(start)
        results += await visit(reactor, Visit(start.addresses(), "build server", settings.transfer_port), farm)
    except BuildToolError as error:
        results.append(_wrong("options", error))
    results.append(disk_result("build_dir", settings.build_dir, LOW, NEED))
    results += tool_results(settings.projects)
    results.append(judge_open_files(_open_files(), OPEN_FILES))
    return report(results, as_json=said.json)


def start_results(start: Start) -> list[CheckResult]:
    """Return the verdicts on what a start would refuse: name, directory, platforms, files with secrets. Blocks."""
    results = []
    try:
        place = start.place()
        results.append(fine("machine", place.top.name))
    except BuildToolError as error:
        results.append(_wrong("machine", error))
        place = BuildDirectory(start.settings.build_dir)
    checks: list[tuple[str, Callable[[], object]]] = [
        ("build_dir", place.check),
        ("platforms", lambda: start.offered(place).offers),
        ("secret files", start.secrets),
        ("network", start.networked),
    ]
    for what, check in checks:
        try:
            check()
        except BuildToolError as error:
            results.append(_wrong(what, error))
    return results


def _wrong(what: str, error: BuildToolError) -> CheckResult:
    return problem(what, str(error), "mend that")


def tool_results(projects: Iterable[Project]) -> list[CheckResult]:
    """Return the verdicts on the tools of each project, git first. Blocks."""
    git = ToolFacts("every build", ("git",), () if find_tools(["git"]) else ("git",), COMMON)
    found = [git, *missing_tools(projects)]
    if len(found) == 1:
        return [*judge_tools(found, families()), problem("projects", "none is configured", "load one in config.py")]
    return judge_tools(found, families())


def missing_tools(projects: Iterable[Project], there: Iterable[str] | None = None) -> list[ToolFacts]:
    """Return what each project needs, and what of it is missing here, or not among ``there``. Blocks without that."""
    known = list(projects)
    needed = {one.name: _needed(one) for one in known}
    tools = find_tools(sorted({tool for some in needed.values() for tool in some})) if there is None else set(there)
    return [
        ToolFacts(
            one.name,
            needed[one.name],
            tuple(tool for tool in needed[one.name] if tool not in tools),
            _packages(one),
        )
        for one in known
    ]


def install_words(projects: Iterable[Project], there: Iterable[str]) -> str:
    """Return the one line that installs what projects need and is not ``there``; "" for nothing."""
    return install_line(missing_tools(projects, there), families())


def _needed(project: Project) -> tuple[str, ...]:
    tools = project.recipe.machine.get("tools", ())
    return tools if isinstance(tools, tuple) else ()


def _packages(project: Project) -> Mapping[str, Mapping[str, str]]:
    return {**COMMON, **project.recipe.packages}


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return -1 if soft == resource.RLIM_INFINITY else soft
