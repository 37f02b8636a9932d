"""In whose name builds are asked for: by whoever calls, for the addresses that are told of it.

Tested by tests/metaserver/test_requests.py and tests/metaserver/triggering/test_triggers.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.errors import Unauthorised, UsageError
from buildtool.metaserver.authorised import Permissions
from buildtool.model.access.rights import Act, Subject, platform_names
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Demand
from buildtool.protocol.messages import Submit

__all__ = ["addressed", "check_may_ask"]


def addressed(by: Principal, items: tuple[Submit, ...]) -> tuple[Submit, ...]:
    """Return submissions of which each says who is told: the caller's own address where none was said.

    Raises UsageError where there is none.
    """
    if by.role is PrincipalRole.TRIGGER:
        return items  # whom it has mailed, which may be nobody, is the configuration's word
    if not items[0].email and not by.owner:
        why = f"the key of {by.name} has no e-mail address" if by.key else "no key says who you are"
        raise UsageError(f"{why}: say who is told")
    return tuple(evolve(item, email=item.email or by.owner) for item in items)


def check_may_ask(permissions: Permissions, by: Principal, demand: Demand, email: str, *, force: bool) -> None:
    """Raise Unauthorised where a caller may not ask for this in the name of who has that address."""
    subject = Subject(frozenset({email}), demand.spec.project, platform_names(demand.spec.platform), by.trusted)
    if by.owner and by.owner != email and not permissions.settings.rights.allows(by, Act.SUBMIT, subject):
        raise Unauthorised(f"{by.name} asks for builds in the name of {by.owner} only, not of {email}")
    permissions.check(by, Act.SUBMIT, subject)
    if force:
        permissions.check(by, Act.FORCE, subject)
