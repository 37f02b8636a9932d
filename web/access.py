"""What a visitor may see: who they are is found out once a request; what they may not see is for them not there.

Each route names the act of the table of rights that it is. Tested by tests/web/test_access.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from attrs import evolve
from twisted.web.server import Request

from buildtool.model.access.rights import Act
from buildtool.model.farm.deployment import NO_PLACE, UNNAMED, Deployment, ProjectPlace
from buildtool.model.options import Canonical
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.project_options import ProjectOptions
from buildtool.model.records import BuildSpec
from buildtool.ports.pages import Sees, ServerLine, ShownVisitor


class Access(Protocol):
    """The rights of visitors, as the pages ask for them."""

    def visitor(self, request: Request) -> Principal:
        """Return who sends a request."""

    def check_role(self, by: Principal, act: Act) -> None:
        """Raise Unauthorised where a visitor may not do an act at all."""

    def sees(self, by: Principal, project: str, act: Act, platform: Canonical | None = None) -> bool:
        """Return whether a visitor may do an act to what is of a project, and of a platform where one is said."""

    def offered(self, by: Principal) -> Collection[str]:
        """Return the names of the projects that a visitor may choose from."""

    def projects(self, by: Principal) -> Collection[str] | None:
        """Return the names of the projects whose builds a visitor may see; None for all that there are or were."""

    def defaults(self) -> Mapping[str, Canonical]:
        """Return the default options of each project that is configured."""

    def deployment(self) -> Deployment:
        """Return what the farm says of itself."""

    def place(self, project: str) -> ProjectPlace:
        """Return what a project says of itself, of which nothing is known where it is not configured."""

    def options(self, project: str) -> ProjectOptions | None:
        """Return the options of a project that is configured, None for any other."""


class EverythingSeen:
    """The ``Access`` of pages that stand alone, where all may be seen. ``offered`` are projects' names.

    ``deployment`` is what the farm says of itself, ``place`` what each of its projects does, and ``options`` are those
    of projects whose options are known.
    """

    def __init__(
        self,
        offered: Collection[str] = (),
        deployment: Deployment = UNNAMED,
        place: ProjectPlace = NO_PLACE,
        options: Mapping[str, ProjectOptions] | None = None,
    ) -> None:
        self._offered, self._deployment, self._place = tuple(offered), deployment, place
        self._options = dict(options or {})

    def visitor(self, _request: Request) -> Principal:
        """Return a visitor."""
        return Principal(PrincipalRole.VISITOR, trusted=True)

    def check_role(self, by: Principal, act: Act) -> None:
        """Check nothing."""

    def sees(self, _by: Principal, _project: str, act: Act, _platform: Canonical | None = None) -> bool:
        """Return that they may, but for how machines are reached."""
        return act is not Act.SEE_ACCESS

    def offered(self, _by: Principal) -> Collection[str]:
        """Return the names to choose from."""
        return self._offered

    def projects(self, _by: Principal) -> None:
        """Return that all are."""

    def defaults(self) -> Mapping[str, Canonical]:
        """Return those of the projects whose options are known."""
        return {name: options.defaults for name, options in self._options.items()}

    def options(self, project: str) -> ProjectOptions | None:
        """Return the options of a project, where they are known."""
        return self._options.get(project)

    def deployment(self) -> Deployment:
        """Return what the farm says of itself."""
        return self._deployment

    def place(self, _project: str) -> ProjectPlace:
        """Return what each project says of itself."""
        return self._place


def remember_visitor(request: Request, by: Principal, secret: str = "") -> None:
    """Keep who sends a request with it, and the token or session that was shown."""
    request.setComponent(ShownVisitor, ShownVisitor(by, secret))


def shown_by(request: Request) -> ShownVisitor:
    """Return who sends a request, as the metaserver is told; a stranger where that was not found out."""
    found = request.getComponent(ShownVisitor, None)
    return found if isinstance(found, ShownVisitor) else ShownVisitor(Principal(PrincipalRole.STRANGER))


def visitor_of(request: Request) -> Principal:
    """Return who sends a request; a stranger where that was not found out."""
    return shown_by(request).by


def sees_for(access: Access, by: Principal) -> Sees | None:
    """Return of which projects and platforms a visitor may see builds; None for all that there are or were."""
    if access.projects(by) is None:
        return None
    return lambda project, platform: access.sees(by, project, Act.SEE_BUILD, platform)


def projects_seen(access: Access, by: Principal) -> Callable[[str], bool]:
    """Return what says whether a visitor may see builds of a project."""
    everything = access.projects(by) is None
    return lambda project: everything or access.sees(by, project, Act.SEE_BUILD)


def seen_line(line: ServerLine, access: Access, by: Principal) -> ServerLine:
    """Return the line of a build server without what a visitor may not see; builds of that kind are counted."""
    running = tuple(one for one in line.running if may_see(access, by, one.build.spec))
    capability = line.server.capability
    skills = tuple(skill for skill in capability.skills if access.sees(by, skill.project, Act.SEE_BUILD))
    access_uri = capability.access_uri if access.sees(by, "", Act.SEE_ACCESS) else ""
    server = evolve(line.server, capability=evolve(capability, skills=skills, access_uri=access_uri))
    return evolve(line, server=server, running=running, hidden=line.hidden + len(line.running) - len(running))


def may_see(access: Access, by: Principal, spec: BuildSpec, act: Act = Act.SEE_BUILD) -> bool:
    """Return whether a visitor may do an act to a build."""
    return access.sees(by, spec.project, act, spec.platform)
