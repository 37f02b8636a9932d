"""Who is told what comes of builds, shown to who may see it, and tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import define

from buildtool.errors import BuildToolError
from buildtool.metaserver.authorised import Permissions
from buildtool.model.access.rights import Act, Subject
from buildtool.model.principal import Principal
from buildtool.ports.metaserver import Handlers
from buildtool.ports.notices import NoticeStore, TargetFigures
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.projects.targets import LISTED, AskTargets, TargetsFound, TargetStatus, TryTargets

Try = Callable[[], Awaitable[str]]
"""Returns what is wrong with a target, or "". Raises BuildToolError where that cannot be known."""

NONE_TOLD = "nobody is told: tell = [github_status(...), ...] of its configuration names who is"


@define(eq=False)
class TargetService:
    """A service that says how telling goes on.

    ``targets`` returns what tries each of the configuration's, by name, and ``away`` why those that take nothing now do
    not.
    """

    store: NoticeStore
    permissions: Permissions
    targets: Callable[[], Mapping[str, Try]]
    away: Callable[[], Mapping[str, str]]

    @property
    def handlers(self) -> Handlers:
        """What may be asked."""
        return {AskTargets: self.told, TryTargets: self.tried}

    async def told(self, by: Principal, message: AskTargets) -> TargetsFound:
        """Return the targets of the projects that a caller sees. Raises StorageUnavailable."""
        figures, away, configured = await self.store.figures(), self.away(), self.targets()
        waits = {name for name, one in figures.items() if one.waiting}
        seen = [name for name in sorted(configured.keys() | waits) if self._sees(by, name) and name > message.after]
        found = (_status(name, figures.get(name, TargetFigures()), away.get(name, "")) for name in seen[:LISTED])
        return TargetsFound(tuple(found), len(seen) > LISTED)

    def _sees(self, by: Principal, name: str) -> bool:
        return self.permissions.sees(by, name.partition("/")[0])

    async def tried(self, by: Principal, message: TryTargets) -> ActionResult:
        """Try each target of a project. Raises UnknownProject, Unauthorised."""
        self.permissions.check(by, Act.DRAIN, Subject())
        project = self.permissions.settings.project(message.project, by).name
        tries = {name: one for name, one in self.targets().items() if name.partition("/")[0] == project}
        if not tries:
            return ActionResult((f"{project}: {NONE_TOLD}",), changed=False, count=0)
        words = [
            f"{name}: {await _wrong(one) or 'it answers, and takes what it is told'}" for name, one in tries.items()
        ]
        return ActionResult(tuple(words), changed=False, count=len(words))


async def _wrong(attempt: Try) -> str:
    try:
        return await attempt()
    except BuildToolError as error:
        return str(error)


def _status(name: str, figures: TargetFigures, away: str) -> TargetStatus:
    error = away or figures.error
    return TargetStatus(name, figures.waiting, figures.oldest, figures.given_up, figures.told, error, bool(away))
