"""What operators do by the API, each route a method; it raises what those of ``groups`` do.

Tested by tests/client/test_operating.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildtool.client.groups import ApiGroup
from buildtool.client.metaserver import LONG
from buildtool.protocol.enrolment import (
    AskIdentities,
    Identities,
    InvitationLine,
    InviteOne,
    RevokeOne,
    RotateAuthority,
)
from buildtool.protocol.operator import (
    AbortSeveral,
    ActionResult,
    CancelSeveral,
    Drain,
    PurgeArtifact,
    PurgeBuiltBy,
    SeveralEnded,
)


class OperatorGroup(ApiGroup):
    """The operators' acts that are about no single build or machine."""

    async def cancel_several(self, several: CancelSeveral) -> SeveralEnded:
        """End requests of a project, platform or person; where there are ``more`` ask again, with ``until``."""
        return await self.api.ask(several, SeveralEnded, within=LONG)

    async def abort_several(self, several: AbortSeveral) -> SeveralEnded:
        """End open builds of a project, platform or person; where there are ``more`` ask again, with ``until``."""
        return await self.api.ask(several, SeveralEnded, within=LONG)

    async def purge(self, artifact: str, reason: str) -> ActionResult:
        """Remove an artifact, named by its id or its digest, from what is given out."""
        return await self.api.ask(PurgeArtifact(artifact, reason), ActionResult, within=LONG)

    async def purge_built_by(self, server: str, reason: str) -> ActionResult:
        """Remove all that a build server made from what is given out."""
        return await self.api.ask(PurgeBuiltBy(server, reason), ActionResult, within=LONG)

    async def drain(self, *, on: bool = True) -> ActionResult:
        """Stop the metaserver once no build runs, of which no more start; or, not ``on``, have it go on as usual."""
        return await self.api.ask(Drain(on), ActionResult)

    async def identities(self, after: str = "") -> Identities:
        """Return who has a key and who is invited, from the name ``after`` on."""
        return await self.api.ask(AskIdentities(after), Identities)

    async def invite(
        self,
        name: str,
        role: str,
        lasts: float,
        *,
        owner: str = "",
        replaces: bool = False,
        projects: Sequence[str] = (),
        platforms: Sequence[str] = (),
    ) -> InvitationLine:
        """Return the line by which a machine or a person joins, which holds for ``lasts`` seconds."""
        asked = InviteOne(name, role, lasts, owner, replaces, tuple(projects), tuple(platforms))
        return await self.api.ask(asked, InvitationLine)

    async def revoke(self, name: str, reason: str = "") -> ActionResult:
        """Revoke every key and token of a name."""
        return await self.api.ask(RevokeOne(name, reason), ActionResult)

    async def rotate(self) -> ActionResult:
        """Move the farm to another authority."""
        return await self.api.ask(RotateAuthority(), ActionResult, within=LONG)
