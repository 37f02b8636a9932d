"""``bin/buildserver.py doctor``: what keeps this machine from building, line by line, with the mend.

Tested by tests/programs/doctors/test_buildserver.py and test_visiting.py.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve
from twisted.internet.base import ReactorBase

from buildtool.adapters.host.packaged_toolchains import PACKAGES as COMPILERS
from buildtool.adapters.host.presence.probe import PresenceProbe
from buildtool.adapters.host.programs import find_tools
from buildtool.adapters.host.roots.store import damaged_in
from buildtool.adapters.host.wine import PACKAGES
from buildtool.adapters.processes.sandbox.proving import CONTAINER
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.settings import Settings
from buildtool.errors import BuildToolError
from buildtool.model.checkup.confinement import judge_limits, judge_path, judge_sandbox
from buildtool.model.checkup.machine import ToolFacts, install_line, judge_open_files, judge_tools
from buildtool.model.checkup.packages import COMMON
from buildtool.model.checkup.verdicts import CheckResult, CheckVerdict, fine, problem, warning
from buildtool.model.guest.stance import judge_stance
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.capability import AnnouncedCapability
from buildtool.programs.buildserver.confinement import confinement, memory_here
from buildtool.programs.buildserver.following.starting import following_of, shown_with
from buildtool.programs.buildserver.guest.local_socket import ask_server
from buildtool.programs.buildserver.guest.wishes import settings_file
from buildtool.programs.buildserver.roots.commands import ADD_PLATFORM
from buildtool.programs.buildserver.running.leftovers import DELETE, leftovers_of
from buildtool.programs.buildserver.sandbox_choice import BEST
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.buildserver.zig.adding import ADD_COMMAND
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.joining import said_join_line
from buildtool.programs.common.output import called
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.doctors.visiting import MIB, Visit, disk_result, families, own_farm, report, visit
from buildtool.project.definition import Project

OPEN_FILES = 256
"""Files and connections at once: those of a few builds, and what a checkout takes."""

LOW, NEED = 2048 * MIB, 256 * MIB
"""Bytes of free disk below which the owner is told, and below which hardly anything is built."""

RUNNERS = {
    "linux": "apt-get install qemu-user-static",
    "windows": f"apt-get install --no-install-recommends {PACKAGES}",
    "wasi": f"{called('buildserver.py')} {ADD_COMMAND.example}",
}
"""The command that installs what runs programs of a system; nothing here runs those of macOS."""


def doctor(program: str, said: argparse.Namespace) -> int:
    """Check everything that a build server needs, print the verdicts, and return the exit code."""
    try:
        settings = settings_of(said, secrets=False)
    except BuildToolError as error:
        return report([problem("configuration", str(error), "mend that file")], as_json=said.json)
    return run(program, partial(_examined, said, settings), verbose=said.verbose)


async def _examined(said: argparse.Namespace, settings: Settings, reactor: ReactorBase, _stop: StopRequest) -> int:
    results = [fine("configuration", str(settings.path))]
    store = CredentialStore(settings.build_dir / "identity")
    farm, wrong = own_farm(reactor, store)
    results += wrong
    search: str | None = None
    hidden: tuple[str, ...] = ()
    try:
        said_join_line(said.join)
        start = Start.of(settings, said, store, None if farm is None else farm.own)
        search, hidden = start.without(_place(start)[0]).search, start.left_out()
        start, told = follow_results(start)
        results += told
        settings = start.settings
        told, found = start_results(start)
        results += told
        if found is None:
            results.append(_skipped("sandbox", "sandbox, limits and what builds see", told))
        else:
            results += confinement_results(start, found)
            results += leftover_results(start)
        results += wish_results(start, found)
        results += await visit(reactor, Visit(start.addresses(), "build server", settings.transfer_port), farm)
    except BuildToolError as error:
        results.append(_wrong("options", error))
        results.append(_skipped("metaserver", "what comes after that, up to the metaserver", results[-1:]))
    results.append(disk_result("build_dir", settings.build_dir, LOW, NEED))
    results += tool_results(settings.projects, search, hidden)
    results.append(judge_open_files(_open_files(), OPEN_FILES))
    return report(results, as_json=said.json)


def start_results(start: Start) -> tuple[list[CheckResult], AnnouncedCapability | None]:
    """Return the verdicts on what a start would refuse: name, directory, platforms, files with secrets. Blocks.

    With them comes what the machine offers, None where that is among what is wrong.
    """
    results: list[CheckResult] = []
    offered: list[AnnouncedCapability] = []
    place, verdict = _place(start)
    results.append(verdict)
    checks: list[tuple[str, Callable[[], object]]] = [
        ("build_dir", place.check),
        ("platforms", lambda: offered.append(start.offered(place))),
        ("secret files", start.secrets),
        ("network", start.networked),
        ("settings", lambda: start.guest_settings(memory_here(offered[0]) if offered else None)),
    ]
    for what, check in checks:
        try:
            check()
        except BuildToolError as error:
            results.append(_wrong(what, error))
    found = offered[0] if offered and all(map(_is_fine, results)) else None
    if found is None:
        return results, None
    cross = [zig_result(found), *compiler_results(found), *runs(found)] if start.said.cross else []
    return [*results, *cross, *root_results(found, damaged_in(start.settings.build_dir))], found


def _place(start: Start) -> tuple[BuildDirectory, CheckResult]:
    """Return where the machine builds, and the verdict on it; where it is wrong, what is around it is looked at."""
    try:
        place = start.place()
    except BuildToolError as error:
        return BuildDirectory(start.settings.build_dir), _wrong("machine", error)
    return place, fine("machine", place.top.name)


def zig_result(found: AnnouncedCapability) -> CheckResult:
    """Return for what a zig makes programs here, or with which command there would be one: nothing is wrong without."""
    if found.zig is None:
        return fine(
            "zig",
            f"none: {called('buildserver.py')} {ADD_COMMAND.example} makes this machine build for nearly everything",
        )
    version, count = found.zig.store.zig.version, len(found.zig.targets)
    tried = count - len(found.zig.cold())
    return fine("zig", f"{version}, for {count} targets, of which {tried} were tried and the others are beside builds")


def compiler_results(found: AnnouncedCapability) -> list[CheckResult]:
    """Return for what nothing here makes programs, and which packages would; nothing where zig makes all of it."""
    made = {
        (dict(one.platform).get("os"), dict(one.platform).get("libc") == "musl", dict(one.platform).get("arch"))
        for one in found.offers
    }
    own = str(found.detected.get("arch", ""))
    lacking = [
        f"{one.words} (apt-get install --no-install-recommends {one.packages})"
        for one in COMPILERS
        if one.words and (one.os, one.libc == "musl", one.arch or own) not in made
    ]
    if found.zig is not None or not lacking:
        return []
    return [fine("platforms", f"nothing here makes programs for {', '.join(lacking)}; zig makes all of them")]


def root_results(found: AnnouncedCapability, damaged: Sequence[str] = ()) -> list[CheckResult]:
    """Return which other releases and architectures builds run in, and why one does not, or which command adds one.

    What is ``damaged`` cannot be offered, and takes room.
    """
    broken = [
        warning("systems", f"{name} is damaged", f"add-platform makes it anew, remove-platform {name} removes it")
        for name in damaged
    ]
    if not found.roots:
        example = f"{called('buildserver.py')} {ADD_PLATFORM.example} adds one"
        return broken or [fine("systems", f"none beside its own: {example}")]
    return broken + [
        warning(
            "systems", f"{one.root.name} is not offered: {one.why}", one.mend or "add-platform --refresh makes it anew"
        )
        if one.why
        else fine("systems", f"{one.words()}{', not chosen by --platforms' if one.unchosen else ''}")
        for one in found.roots
    ]


def runs(found: AnnouncedCapability) -> list[CheckResult]:
    """Return for which systems programs are made here and not run, with the command that installs what would."""
    names = ("os", "arch")
    made = {
        tuple(dict(one.platform).get(name) for name in names) for one in found.offers if one.kind is OfferKind.CROSS
    }
    ran = {tuple(dict(one.platform).get(name) for name in names) for one in found.offers if "RUN" in dict(one.tools)}
    if found.zig is not None:
        made |= {(one.os, one.arch) for one in found.zig.targets}
        ran |= {(one.os, one.arch) for one in found.zig.targets if found.zig.store.runners(one)}
    results = []
    for system, mend in RUNNERS.items():
        lacking = sorted(str(arch) for there, arch in made - ran if there == system)
        if lacking:
            what = f"what is built for {system} ({', '.join(lacking)}) is not run: {mend} installs what may run it"
            results.append(fine("running", what))
    return results


def follow_results(start: Start) -> tuple[Start, list[CheckResult]]:
    """Return the start by the configuration that is followed, and the verdict on that; none where none is. Blocks."""
    if not (start.said.follow_config or start.said.signed_by):
        return start, []
    try:
        following = following_of(start.said, start.place().follow)
        settings, words = shown_with(following, start.settings)
    except BuildToolError as error:
        return start, [_wrong("follow-config", error)]
    return evolve(start, settings=settings), [fine("follow-config", words)]


def confinement_results(start: Start, found: AnnouncedCapability) -> list[CheckResult]:
    """Return the verdicts on what keeps builds from this machine: sandbox, limits, PATH and network. Blocks."""
    within, choice = confinement(start, start.place(), found), start.sandbox_choice()
    sandbox, linux = within.sandbox, sys.platform == "linux"
    told = filter(None, (f"a build may use {within.limit_words()}", within.present_words(), within.groups.words()))
    container = any(Path(mark).exists() for mark in CONTAINER)
    least = None if choice == BEST else SandboxLevel(choice)
    return [
        judge_sandbox(sandbox.level, least, sandbox.notes, sandbox.mend),
        judge_limits("; ".join(told), within.groups.places, linux=linux, container=container),
        judge_path(within.left_out),
        fine("network", f"while they fetch: {', '.join(within.networked) or 'no project'} (--allow-network)"),
    ]


def leftover_results(start: Start) -> list[CheckResult]:
    """Return what is left over of earlier settings below the build server's directory. Blocks.

    One that runs was started with settings of its own, by which it uses what is there.
    """
    place = start.place()
    try:
        ask_server(place.top, {"act": "status"})
    except BuildToolError:
        found, mend = leftovers_of(place, start.said), f"{DELETE} deletes it at a start"
    else:
        return [fine("left over", f"not looked for while {place.top.name} runs, which has named it at its start")]
    return [warning("left over", one.words(), mend) for one in found] or [fine("left over", "nothing")]


def wish_results(start: Start, found: AnnouncedCapability | None) -> list[CheckResult]:
    """Return what each wish of the machine's owner means now, and what a build server of this name says. Blocks."""
    try:
        place = start.place()
        wishes = start.guest_settings(memory_here(found) if found is not None else None).wishes
    except BuildToolError as error:
        return [_skipped("wishes", "hours, presence, power and disk", [_wrong("", error)])]
    seen = PresenceProbe(disk_at=_there(place.top)).look(wishes)
    stance = judge_stance(wishes, time.time(), seen)
    mend = (
        f"it is by {settings_file(start.said, start.settings.build_dir)} or the command line, if you want it otherwise"
    )
    told = [warning("wishes", f"no build begins now: {one}", mend) for one in stance.all_words]
    return [*(told or [fine("wishes", "nothing that its owner asks for is in the way now")]), _running(place)]


def _running(place: BuildDirectory) -> CheckResult:
    """Return what a build server of this name says now, such as that it is paused."""
    try:
        status = ask_server(place.top, {"act": "status"})
    except BuildToolError as error:
        return fine("running", str(error))
    if status.get("takes"):
        return fine("running", f"{place.top.name} runs and takes builds")
    return warning(
        "running",
        f"{place.top.name} runs and takes no builds: {status.get('why')}",
        f"{called('buildserver.py')} resume ends a pause",
    )


def _there(place: Path) -> Path:
    """Return a directory, or of those that it will be made in the nearest that is there."""
    return next(one for one in (place, *place.parents) if one.exists())


def _skipped(what: str, checks: str, wrong: Sequence[CheckResult]) -> CheckResult:
    """Return that checks were left out because of others that found something wrong."""
    because = next((one.words for one in wrong if one.verdict is CheckVerdict.PROBLEM), "something above is wrong")
    return warning(what, f"skipped: {checks}, because {because}", "look again once that is mended")


def _is_fine(one: CheckResult) -> bool:
    return one.verdict is CheckVerdict.OK


def _wrong(what: str, error: BuildToolError) -> CheckResult:
    return problem(what, str(error), "say it otherwise, on the command line or in your file of settings")


def tool_results(
    projects: Iterable[Project], search: str | None = None, hidden: Sequence[str] = ()
) -> list[CheckResult]:
    """Return the verdicts on the tools of each project, git first. Blocks.

    ``search`` is PATH as builds have it, and ``hidden`` are the directories of PATH that they do not see.
    """
    git = ToolFacts("every build", ("git",), () if find_tools(["git"]) else ("git",), COMMON)
    found = [git, *(_where_hidden(one, hidden) for one in missing_tools(projects, search=search))]
    if len(found) == 1:
        return [*judge_tools(found, families()), problem("projects", "none is configured", "load one in config.py")]
    return judge_tools(found, families())


def _where_hidden(found: ToolFacts, hidden: Sequence[str]) -> ToolFacts:
    """Return the same, with those of the missing that are in directories which builds do not see."""
    places = {tool: shutil.which(tool, path=os.pathsep.join(hidden)) if hidden else None for tool in found.missing}
    return evolve(found, hidden={tool: str(Path(place).parent) for tool, place in places.items() if place is not None})


def missing_tools(
    projects: Iterable[Project], there: Iterable[str] | None = None, search: str | None = None
) -> list[ToolFacts]:
    """Return what each project needs, and what of it is missing here, or not among ``there``. Blocks without that.

    ``search`` replaces PATH.
    """
    known = list(projects)
    needed = {one.name: _needed(one) for one in known}
    tools = (
        find_tools(sorted({tool for some in needed.values() for tool in some}), search) if there is None else set(there)
    )
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
