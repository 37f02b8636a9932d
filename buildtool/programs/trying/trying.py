"""``bin/buildserver.py try PROJECT``: build a working tree by a recipe, twice, without any server.

Covered by tests/programs/trying/test_trying.py.
"""

from __future__ import annotations

import argparse
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve
from twisted.internet.base import ReactorBase

from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.recipe_commands import BuildBounds
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.settings import Settings, need_projects
from buildtool.errors import UsageError
from buildtool.model.options import Canonical
from buildtool.model.records import AttemptEnd
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.confinement import limits_here
from buildtool.programs.buildserver.roots.offers import files_of
from buildtool.programs.buildserver.sandbox_choice import check_enough, covered, declared, sandbox_seen
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import complain, say
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.common.subcommands import How, switch, valued
from buildtool.programs.doctors.buildserver import install_words
from buildtool.programs.startcompile.asking.wanted import compile_said
from buildtool.programs.trying.bench import Bench, TrialRequest
from buildtool.project.definition import Project
from buildtool.project.recipe import Plan
from buildtool.project.trial import (
    MemberDifference,
    TriedRun,
    TriedWith,
    as_object,
    head_lines,
    plan_lines,
    run_lines,
    second_lines,
)

EXIT_PROJECT = 3
"""The exit code where the project does not build, as of startcompile.py."""

EXIT_DIFFERS = 11
"""The exit code where a second run made other bytes."""

TRYING: Mapping[str, How] = {
    "--source": valued("the sources: a working tree (default: the current directory)", "DIR", Path),
    "--output": valued("where artifacts are kept (default: trying/ below build_dir)", "DIR", Path),
    "--once": switch("run the recipe once, and compare with nothing"),
}
"""The options of a trial besides those of the build server."""

PLACE = "trying"
"""The directory below ``build_dir`` in which recipes are tried."""

DOWNLOADS = "downloads"
"""The directory below that in which files that recipes declare are kept."""


def try_project(program: str, said: argparse.Namespace) -> int:
    """Try a project's recipe, with the options of the project that were said; return the exit code.

    Raises UsageError, ConfigurationError.
    """
    settings = settings_of(said, secrets=False)
    need_projects(settings)
    project = settings.project(said.target)
    options = compile_said(project, said.more)
    source = (said.source or Path()).absolute()
    if not source.is_dir():
        raise UsageError(f"--source {source} is no directory")
    return run(program, partial(_tried, settings, project, options, source, said), verbose=said.verbose)


async def _tried(
    settings: Settings,
    project: Project,
    options: Canonical,
    source: Path,
    said: argparse.Namespace,
    reactor: ReactorBase,
    stop: StopRequest,
) -> int:
    start = Start.of(
        evolve(settings, projects=(project,)), said, CredentialStore(settings.build_dir / "identity"), None
    )
    place = BuildDirectory(settings.build_dir / PLACE / uuid.uuid4().hex[:8])
    found, without = start.offered(place), start.without(place)
    readable = declared((*found.offers, *found.coming), start.said.readable)
    private = [*start.hidden(place), settings.build_dir / PLACE / DOWNLOADS]
    tools = found.detected.get("tools")
    install = install_words((project,), tools if isinstance(tools, tuple) else ())
    limit = start.said.time_limit
    groups = ControlGroups.found("trying")
    wanted = TrialRequest(
        project=project,
        options=options,
        offer=found.offers[0],
        source=source,
        place=place.top,
        keep=(said.output or settings.build_dir / PLACE).absolute(),
        machine=dict(found.machine),
        prove=lambda keepers: covered(
            sandbox_seen(start.sandbox_choice(), keepers, place.sandbox, private, readable), without
        ),
        bounds=BuildBounds(limits_here(found), found.max_builds, groups),
        without=without,
        downloads=settings.build_dir / PLACE / DOWNLOADS,
        networked=start.networked(),
        time_limit=None if limit is None else float(limit),
        roots=files_of(found.roots),
        seed=found.seed,
    )
    bench = Bench(wanted, reactor, stop)
    try:
        check_enough(start.sandbox_choice(), bench.sandbox)
        return await _run(bench, wanted, said, install)
    finally:
        await bench.close()
        groups.close()


async def _run(bench: Bench, wanted: TrialRequest, said: argparse.Namespace, install: str) -> int:
    facts = await bench.facts()
    tried = TriedWith(
        project=wanted.project.name,
        recipe=wanted.project.recipe.version,
        source=str(wanted.source),
        commit=facts.commit,
        changed=facts.changed,
        platform=wanted.offer.platform,
        kind=wanted.offer.kind.value,
        options=wanted.options,
        install=install,
        declined=await bench.declined(facts),
        sandbox=bench.sandbox.level.value,
        sandbox_notes=(*bench.sandbox.notes, *([bench.sandbox.mend] if bench.sandbox.mend else [])),
    )
    show = _beside if said.json else _shown
    _lines(head_lines(tried), said)
    plans: list[Plan] = []

    def planned(plan: Plan) -> None:
        plans.append(plan)
        _lines(plan_lines(plan), said)

    first = await bench.run(0, facts, show, planned)
    _lines(run_lines(first), said)
    runs = [first]
    found: tuple[MemberDifference, ...] = ()
    if first.succeeded and not said.once:
        second = await bench.run(1, facts, _silent)
        found = await _found(bench, first, second)
        runs.append(second)
        _lines(second_lines(first, second, found), said)
        if second.digest == first.digest:
            os.unlink(second.path)  # noqa: PTH108 - a text, as it is told
    if said.json:
        say(json.dumps(as_object(tried, plans[0] if plans else None, runs, found), sort_keys=True))
    return _code(runs)


async def _found(bench: Bench, first: TriedRun, second: TriedRun) -> tuple[MemberDifference, ...]:
    return await bench.compared(first, second) if second.succeeded and second.digest != first.digest else ()


def _code(runs: Sequence[TriedRun]) -> int:
    for one in runs:
        if not one.succeeded:
            theirs = one.end in (AttemptEnd.FAILED.value, AttemptEnd.MISTAKEN.value)
            return EXIT_PROJECT if theirs else EXIT_FAILED
    return EXIT_OK if len({one.digest for one in runs}) == 1 else EXIT_DIFFERS


def _lines(lines: Sequence[str], said: argparse.Namespace) -> None:
    if not said.json:
        say("\n".join(lines))


def _shown(text: str) -> None:
    say("\n".join(f"| {line}" for line in text.split("\n")))


def _beside(text: str) -> None:
    for line in text.split("\n"):
        complain(line)


def _silent(_text: str) -> None:
    """Show nothing: of the second run's log only the end matters, where it fails."""
