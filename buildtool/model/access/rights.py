"""The one table of rights: which role may do which act, to all, to what is its own, or not at all.

Whatever comes in (a call of Perspective Broker, a route, the operator's socket) names the act that it is. What the
table does not say is refused. A configuration may tighten or loosen it, see ``with_changes``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import TypeVar

from attrs import field, frozen

from buildtool.errors import Unauthorised, UsageError
from buildtool.model.access.identities import Scope
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.servers import QuickEnum

E = TypeVar("E")

__all__ = ["RIGHTS", "Act", "Extent", "Rights", "Subject"]


class Act(QuickEnum):
    """A thing that can be done; the values are words that stand after "may not" and in a configuration."""

    JOIN = "join"
    RENEW = "renew its certificate"
    SUBMIT = "ask for builds"
    FORCE = "have builds made anew"
    CANCEL = "cancel requests"
    SEE_REQUEST = "see requests"
    SEE_BUILD = "see builds"
    SEE_LOG = "see logs"
    SEE_ARTIFACT = "fetch artifacts"
    SEE_FARM = "see the farm"
    SERVE = "serve builds"
    PAUSE = "pause build servers"
    FORGET_SERVER = "forget build servers"
    ABORT = "abort builds"
    REBUILD = "rebuild builds"
    FORGET_FAILURE = "forget failures"
    PURGE = "purge artifacts"
    DRAIN = "drain the farm"
    INVITE = "invite"
    REVOKE = "revoke keys"
    SEE_KEYS = "see who has a key"


class Extent(enum.IntEnum):
    """The reach of a right."""

    NONE = 0
    OWN = 1
    ALL = 2


@frozen
class Subject:
    """The things that an act is about: whose they are (names and addresses), of which project and platform, if any."""

    owners: frozenset[str] = frozenset()
    project: str = ""
    platform: str = ""


NOTHING = Subject()

_READING = dict.fromkeys((Act.SEE_REQUEST, Act.SEE_BUILD, Act.SEE_LOG, Act.SEE_ARTIFACT, Act.SEE_FARM), Extent.ALL)

_Table = Mapping[PrincipalRole, Mapping[Act, Extent]]

_TABLE: _Table = {
    PrincipalRole.STRANGER: {},
    PrincipalRole.JOINING: {Act.JOIN: Extent.ALL},
    PrincipalRole.RENEWING: {Act.RENEW: Extent.OWN},
    PrincipalRole.REQUESTER: {
        Act.SUBMIT: Extent.ALL,
        Act.FORCE: Extent.ALL,
        Act.CANCEL: Extent.OWN,
        Act.SEE_REQUEST: Extent.OWN,
        Act.SEE_BUILD: Extent.ALL,
        Act.SEE_LOG: Extent.ALL,
        Act.SEE_ARTIFACT: Extent.ALL,
        Act.SEE_FARM: Extent.ALL,
        # As the owner of build servers.
        Act.PAUSE: Extent.OWN,
        Act.REBUILD: Extent.OWN,
    },
    PrincipalRole.BUILD_SERVER: {Act.SERVE: Extent.OWN},
    PrincipalRole.OBSERVER: _READING,
    PrincipalRole.OPERATOR: dict.fromkeys(set(Act) - {Act.JOIN, Act.SERVE}, Extent.ALL),
    # Pages ask for their visitors, with whose rights they are checked.
    PrincipalRole.PAGES: {},
}


@frozen
class Rights:
    """A table of rights."""

    table: _Table = field(default=_TABLE)

    def extent(self, role: PrincipalRole, act: Act) -> Extent:
        """Return how far a role may do an act."""
        return self.table.get(role, {}).get(act, Extent.NONE)

    def check(
        self,
        by: Principal,
        act: Act,
        subject: Subject = NOTHING,
        limits: Scope = Scope(),  # noqa: B008 - frozen
    ) -> None:
        """Raise Unauthorised, in one line, where a caller may not do an act to its subject.

        ``limits`` are those of the caller's key.
        """
        extent = self.extent(by.role, act)
        who = f"{by.name} ({by.role.value})" if by.name else f"a {by.role.value or 'stranger'}"
        if extent is Extent.NONE:
            raise Unauthorised(f"{who} may not {act.value}: {self._who_may(act)}")
        if extent is Extent.OWN and not _owned(by, subject.owners):
            raise Unauthorised(f"{who} may {act.value} that are their own, and this is not: {self._who_may(act)}")
        for what, one, allowed in (
            ("project", subject.project, limits.projects), ("platform", subject.platform, limits.platforms),
        ):  # fmt: skip
            if one and allowed and one not in allowed:
                raise Unauthorised(f"{who} may {act.value} of the {what} {', '.join(allowed)} only, not of {one}")

    def with_changes(self, changes: Mapping[str, Mapping[str, str]]) -> Rights:
        """Return the table with changes, by role and act, as the setting ``rights`` has them.

        Raises UsageError, which names what would be right.
        """
        table = {role: dict(acts) for role, acts in self.table.items()}
        roles = {role.value: role for role in _CHANGEABLE}
        acts = {act.value: act for act in Act}
        for role_name, wanted in changes.items():
            role = _found(roles, role_name, "role")
            for act_name, extent_name in wanted.items():
                table[role][_found(acts, act_name, "act")] = _found(_EXTENTS, extent_name, "extent")
        return Rights(table)

    def _who_may(self, act: Act) -> str:
        may = [role.value for role in self.table if self.extent(role, act) is Extent.ALL and role.value]
        return f"whoever is {' or '.join(may)} may" if may else "nobody may"


_CHANGEABLE: Collection[PrincipalRole] = (PrincipalRole.REQUESTER, PrincipalRole.OBSERVER, PrincipalRole.OPERATOR)
_EXTENTS = {"nothing": Extent.NONE, "own": Extent.OWN, "all": Extent.ALL}

RIGHTS = Rights()


def _owned(by: Principal, owners: Collection[str]) -> bool:
    return any(one and one in owners for one in (by.name, by.owner))


def _found(known: Mapping[str, E], name: object, what: str) -> E:
    if not isinstance(name, str) or name not in known:
        raise UsageError(f"there is no {what} {name!r:.60}: there are {', '.join(map(repr, known))}")
    return known[name]
