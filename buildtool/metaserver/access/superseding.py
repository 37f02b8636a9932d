"""Which older requests a submission takes the place of: the caller's own, for commits before its own of the same ref.

Tested by tests/metaserver/access/test_superseding.py.
"""

from __future__ import annotations

from buildtool.errors import UsageError
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.authorised import Permissions
from buildtool.model.access.rights import Act, Subject, platform_names
from buildtool.model.principal import Principal
from buildtool.model.records import Request
from buildtool.ports.metaserver import SourceResolver
from buildtool.scheduling.events import Older, Submitted
from buildtool.scheduling.order.superseding import waiting_alike

__all__ = ["older_of"]

ASKED_ABOUT = 100
"""Of so many refs and commits, those that were asked for first, the version control is asked whether they are older."""


async def older_of(
    by: Principal, one: Submitted, url: str, admittance: Admittance, permissions: Permissions, resolver: SourceResolver
) -> Older:
    """Return what of the caller's a submission takes the place of, by what the repository at ``url`` holds.

    Raises UsageError where nothing proves who the caller is, or its revision is no ref; Unauthorised where they may
    not cancel their requests; RepositoryUnreachable.
    """
    if not (by.key or by.token or by.owner or by.trusted):
        raise UsageError("--supersede ends older requests of yours, and no key says who you are: ask with a key")
    keyed = bool(by.key or by.token or by.owner)
    spec = one.demand.spec
    theirs = Subject(frozenset({one.email}), spec.project, platform_names(spec.platform), proven=not keyed)
    permissions.check(by, Act.CANCEL, theirs)
    like = Request(0, one.client_id, "", one.email, one.demand, one.force, 0.0, 0.0, share=one.share)
    waiting = waiting_alike(admittance.broker.state, like)
    among = list(dict.fromkeys((each.demand.ref, each.demand.spec.revision) for each in waiting))[:ASKED_ABOUT]
    commits = await resolver.older(url, one.demand.ref, spec.revision, among)
    return Older(commits, None if keyed else one.asker)
