"""Who may do what: handlers behind the table of rights, and what services ask of it where ownership matters.

A call is checked twice: before it reaches its service, where it is seen whether its role may do such an act at all; and
by the service, once it is known what the act is about. What somebody may not see is for them as if it was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import Settings
from buildtool.errors import Unauthorised
from buildtool.model.access.rights import Act, Rights, Subject, platform_names
from buildtool.model.principal import Principal
from buildtool.model.records import Artifact, BuildSpec
from buildtool.ports.metaserver import ConnectionEnded, Handler, Handlers
from buildtool.project.definition import Project
from buildtool.protocol.acts import ACT_OF

__all__ = ["Permissions", "authorised"]


def authorised(handlers: Handlers, rights: Callable[[], Rights]) -> Handlers:
    """Return the same handlers, each behind the right that its message needs. Raises KeyError where one names none.

    ``rights`` returns the table that holds now.
    """
    acts = {**ACT_OF, ConnectionEnded: Act.SERVE}
    return {message: partial(_checked, acts[message], handler, rights) for message, handler in handlers.items()}


async def _checked(act: Act, handler: Handler, rights: Callable[[], Rights], by: Principal, message: Any) -> Any:  # noqa: ANN401 - any message
    rights().check_role(by, act)
    return await handler(by, message)


def _owned_by_nobody(_server: str) -> str:
    return ""


@define(eq=False)
class Permissions:
    """The rights by the configuration that holds now. ``owner_of`` returns the address of a build server's owner."""

    configuration: CurrentConfiguration
    owner_of: Callable[[str], str] = _owned_by_nobody

    @property
    def settings(self) -> Settings:
        """The settings that hold now."""
        return self.configuration.settings

    def sees(self, by: Principal, project: str) -> bool:
        """Return whether a caller may know of a project."""
        return self.settings.sees(by, project)

    def project(self, by: Principal, name: str) -> Project:
        """Return a project that a caller may ask for.

        Raises Unauthorised, and UnknownProject, which lists those that they see.
        """
        project = self.settings.project(name, by)
        if not project.access.may_request.includes(by):
            raise Unauthorised(f"{by.name or 'who has no key'} may not ask for builds of {name}")
        return project

    def machines(self, servers: tuple[str, ...]) -> frozenset[str]:
        """Return whose build servers are: the addresses of their owners.

        Their names are none of these: a requester's key may be called as another owner's machine.
        """
        return frozenset(filter(None, map(self.owner_of, servers)))

    def check(self, by: Principal, act: Act, subject: Subject) -> None:
        """Raise Unauthorised where a caller may not do an act to its subject."""
        self.settings.rights.check(by, act, subject)

    def check_purge(self, by: Principal, artifacts: Sequence[Artifact]) -> None:
        """Raise Unauthorised where a caller may not have one of these artifacts removed."""
        for one in artifacts:
            self.check(by, Act.PURGE, Subject(project=one.shelf.project, platforms=platform_names(one.platform)))

    def allows(self, by: Principal, act: Act, spec: BuildSpec, *, proven: bool = False, owner: str = "") -> bool:
        """Return whether a caller may do an act to a build or request, whose ``owner`` has this e-mail address."""
        owners = frozenset({owner} if owner else ())
        subject = Subject(owners, spec.project, platform_names(spec.platform), proven)
        return (proven or self.sees(by, spec.project)) and self.settings.rights.allows(by, act, subject)
