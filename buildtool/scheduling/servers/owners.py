"""Owners of machines: when they take theirs back for a while, and what that means for what is built there.

A build that is frozen costs nothing but time: its Lease goes on for as long as its build server is heard of, and the
time in which it was frozen counts against no limit, up to ``MOST_FROZEN`` in all. So nobody has a Build for ever who
only says that an owner is in the way.

The test is tests/scheduling/servers/test_owners.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import Attempt
from buildtool.model.servers import Held, HeldState, OwnerNotice, Server
from buildtool.scheduling.decision import DecisionContext, announce
from buildtool.scheduling.state.lease_table import thawed


def note_wishes(context: DecisionContext, server: Server, notice: OwnerNotice) -> Server:
    """Record what the owner of a build server wishes now; return the server as it is then."""
    now = evolve(server, closed=notice.closed, closed_until=notice.until, away=notice.away)
    if now == server:
        return server
    context.state.put(now)
    if now.closed != server.closed:
        if now.closed:
            context.happened("server-closed", f"server/{server.name}", now.closed)
        else:
            context.happened("server-opened", f"server/{server.name}", "it takes builds again")
            context.freed.add(server.name)
    return now


def note_frozen(context: DecisionContext, held: Held) -> None:
    """Record that an Attempt is frozen by the owner of its machine, or goes on; tell those who follow it."""
    attempt = context.state.attempts[held.key]
    frozen = held.frozen and held.state is HeldState.BUILDING
    if frozen == (attempt.frozen_at is not None):
        return
    changed = evolve(attempt, frozen_at=context.now) if frozen else thawed(attempt, context.now)
    context.state.put(changed)
    subject = f"build/{attempt.build_id}"
    if frozen:
        why = context.state.servers[attempt.server].closed or "by its owner"
        context.happened("attempt-frozen", subject, f"epoch {attempt.epoch} on {attempt.server}: {why}")
    else:
        context.happened("attempt-thawed", subject, f"epoch {attempt.epoch} on {attempt.server} goes on")
    _tell(context, changed)


def _tell(context: DecisionContext, attempt: Attempt) -> None:
    build = context.state.builds.get(attempt.build_id)
    if build is not None and build.epoch == attempt.epoch:
        announce(context, build, attempt.server)
