"""The names of branches and tags of a project, for whoever completes a command line."""

from __future__ import annotations

from attrs import frozen

from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.demands import source_url
from buildtool.model.principal import Principal
from buildtool.ports.metaserver import SourceResolver
from buildtool.protocol.hello import REFS, AskRefs, RefsFound


@frozen
class RefLister:
    """A reader of the refs of a project, for who may ask for its builds."""

    resolver: SourceResolver
    permissions: Permissions
    admittance: Admittance

    async def read(self, by: Principal, message: AskRefs) -> RefsFound:
        """Return the newest branches and tags. Raises UnknownProject, Unauthorised, UsageError, LimitReached."""
        self.admittance.explanation(by)
        project = self.permissions.project(by, message.project)
        names = await self.resolver.refs(source_url(project, message.source))
        return RefsFound(tuple(names[:REFS]))
