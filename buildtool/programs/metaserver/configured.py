"""What a configuration says about what is there already: open builds that it has moved on from, programs it needs."""

from __future__ import annotations

from twisted.logger import Logger

from buildtool.adapters.vcs.svn.refs import is_svn
from buildtool.configuration.settings import Settings
from buildtool.errors import StorageUnavailable, UsageError
from buildtool.metaserver.broker import Broker
from buildtool.model.policy import Policy
from buildtool.model.records import Build, BuildState
from buildtool.project.definition import Project
from buildtool.scheduling.events import BuildAborted
from buildtool.scheduling.servers.names import DAY
from buildtool.scheduling.state.state import State

log = Logger()

BY = "the configuration"
"""Who ended a build, in the events."""


async def end_outdated_builds(settings: Settings, broker: Broker) -> None:
    """End what waits with options that its project has no more, and say which projects are not configured any more.

    No build server would take the first: they would be offered and declined for ever. The others wait, since a project
    may be left out by mistake, or renamed and be named again.
    """
    projects = {project.name: project for project in settings.projects}
    strange: dict[str, int] = {}
    for build in list(broker.state.builds.values()):
        project = projects.get(build.spec.project)
        if project is None:
            strange[build.spec.project] = strange.get(build.spec.project, 0) + 1
        elif build.state is BuildState.QUEUED and (problem := _unknown_now(project, build)):
            reason = f"project {project.name} was configured anew, and does not take what was asked for: {problem}"
            log.warn("build {id} ends: {reason}", id=build.id, reason=reason)
            try:
                await broker.send(BuildAborted(build.id, reason, BY))
            except StorageUnavailable:
                return  # whoever builds it says so; the next start, or SIGHUP, ends it
    for name, count in sorted(strange.items()):
        words = "its open build waits" if count == 1 else f"its {count} open builds wait"
        log.warn("project {name} is not configured: {words} until it is, or expire", name=name, words=words)


def _unknown_now(project: Project, build: Build) -> str:
    """Return what a project has no more of the options that a build was asked for with, or ""."""
    try:
        project.options.compile_values(dict(build.spec.options))
    except UsageError as error:
        return str(error)
    return ""


def policies(settings: Settings) -> dict[str, Policy]:
    """Return by what each project's builds are scheduled."""
    return {project.name: project.scheduling() for project in settings.projects}


def state_by(settings: Settings, incarnation: str) -> State:
    """Return the state of a farm that has these settings, with nothing in it."""
    return State(policies(settings), float(settings.lease), incarnation, settings.names_kept * DAY, settings.weights)


def programs(settings: Settings) -> frozenset[str]:
    """Return the programs that look up revisions in the projects' repositories."""
    return frozenset(filter(None, map(_program, settings.projects)))


def _program(project: Project) -> str:
    """Return which program a project's own repository needs, or "" when its configuration does not say."""
    try:
        return "svn" if is_svn(project.path_to_url("")) else "git"
    except Exception:  # noqa: BLE001 - the integrator's own function; who asks for a build is told what it says
        return ""
