"""What the metaserver decides first at a restart, and when its clock was set: whatever waits for a time is put right.

``metaserver/broker.py`` loads what is open from the database and sends Restarted before anything else.

The test is tests/scheduling/servers/test_leases.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import AttemptState
from buildtool.scheduling.answers import Acknowledged
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.events import ClockStepped, Restarted
from buildtool.scheduling.servers import names
from buildtool.scheduling.servers.declining import remembered_at_most

AWAY_LEAST = 60.0
"""Seconds without a metaserver that are worth writing down: a beat may be half a minute old when it ends."""

BEAT_EVERY = 20.0
"""Seconds after which a look at everything writes down that the metaserver is there."""


def beat(context: DecisionContext) -> None:
    """Write down that the metaserver is there, if the last time was a while ago."""
    if abs(context.now - context.state.beat) >= BEAT_EVERY:
        context.state.note_beat(context.now)


def restart(context: DecisionContext, _event: Restarted) -> Acknowledged:
    """Restart with no server connected, but some expected back: every Lease gets a full term, owners more time.

    The time in which there was no metaserver does not count towards the life of a Request: nothing could be built.
    """
    away = context.now - context.state.beat if context.state.beat else 0.0
    if away >= AWAY_LEAST:
        context.state.records.shift_requests(away)
        context.happened("metaserver-was-away", "metaserver", f"for {away:.0f} s")
    elif away < 0:
        _shift_all(context, away)
    context.state.note_beat(context.now)
    for server in list(context.state.servers.values()):
        if server.connected or (server.missing_since and not server.missing_told):
            context.state.put(evolve(server, connected=False, missing_since=context.now, draining=False))
    names.forget_largest(context)
    for attempt in list(context.state.attempts.values()):
        if attempt.state is not AttemptState.MISSING:
            context.state.leases.renew(attempt.key, context.now)
    _wait_no_longer_than_ever(context)
    context.happened("metaserver-started", "metaserver")
    return Acknowledged()


def _wait_no_longer_than_ever(context: DecisionContext) -> None:
    """Limit every wait to the longest that there is: the clock may have been set back while the metaserver was away."""
    state, now = context.state, context.now
    for build in list(state.builds.values()):
        latest = now + state.projects.policy(build.spec.project).retry_most
        if build.not_before > latest:
            state.put(evolve(build, not_before=latest))
    latest = now + max((policy.quarantine_most for policy in state.projects.of.values()), default=0.0)
    for server in list(state.servers.values()):
        if server.quarantined_until > latest:
            state.put(evolve(server, quarantined_until=latest))
    for refusal in list(state.refusals.values()):
        policy = state.projects.policy(state.builds[refusal.build_id].spec.project)
        latest = now + remembered_at_most(policy, refusal.count)
        if refusal.until > latest:
            state.put(evolve(refusal, until=latest))


def step_clock(context: DecisionContext, event: ClockStepped) -> Acknowledged:
    """Move every time by the seconds that the clock was set, so that nothing waits longer or shorter for that."""
    context.state.leases.shift(event.seconds)
    _shift_all(context, event.seconds)
    context.state.note_beat(context.now)
    context.happened("clock-stepped", "metaserver", f"by {event.seconds:+.0f} s")
    return Acknowledged()


def _shift_all(context: DecisionContext, by: float) -> None:
    """Shift everything that waits for a time, or holds until one, except for Leases."""
    state = context.state
    state.records.shift_requests(by)
    state.shelves.shift_failures(by)
    state.reluctance.shift(by)
    for build in list(state.builds.values()):
        if build.not_before:
            state.put(evolve(build, not_before=build.not_before + by))
    for server in list(state.servers.values()):
        quarantined = server.quarantined_until + by if server.quarantined_until else 0.0
        missing = server.missing_since + by if server.missing_since else 0.0
        closed = server.closed_until + by if server.closed_until else 0.0
        if (quarantined, missing, closed) != (server.quarantined_until, server.missing_since, server.closed_until):
            state.put(evolve(server, quarantined_until=quarantined, missing_since=missing, closed_until=closed))
    for attempt in list(state.attempts.values()):
        if attempt.frozen_at is not None:
            state.put(evolve(attempt, frozen_at=attempt.frozen_at + by))
    for refusal in list(state.refusals.values()):
        state.put(evolve(refusal, until=refusal.until + by))
