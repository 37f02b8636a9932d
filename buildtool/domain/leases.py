"""Leases: who is believed to build what, what a server that comes back is told, and what a Lease that ends means.

A lost connection ends nothing. An Attempt is believed alive for a full term after it was last heard of; when its Lease
ends it is *missing*: its Build waits for somebody else. One that comes back before that happened goes on at the same
epoch, and what its absence had cost is taken back (docs/adr/0009-leases.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from buildtool.domain.messages import Abort, DrainBegun, HeldJudged, HeldReported, Noted
from buildtool.domain.model import (
    Attempt,
    AttemptEnd,
    AttemptState,
    BuildState,
    Held,
    HeldState,
    Judged,
    Server,
    Verdict,
)
from buildtool.domain.outcomes import begin, close_attempt, end, miss
from buildtool.domain.turn import Turn, announce


def heard(turn: Turn, event: HeldReported) -> HeldJudged:
    """Renew the Leases of what a build server has; say what is to become of what is not simply to go on."""
    server = turn.state.servers.get(event.server)
    if server is None or not server.connected or server.session != event.session:
        return HeldJudged(stale=True)
    judged = tuple(judge(turn, server, held) for held in event.held)
    return HeldJudged(tuple(one for one in judged if one.verdict is not Verdict.GO_ON))


def drain(turn: Turn, event: DrainBegun) -> Noted:
    """Give a build server nothing more in this Session."""
    server = turn.state.servers.get(event.server)
    if server is None or not server.connected or server.session != event.session:
        return Noted(stale=True)
    if not server.draining:
        turn.state.put(evolve(server, draining=True))
        turn.happened("server-draining", f"server/{server.name}", event.reason)
    return Noted()


def judge_all(turn: Turn, server: Server, held: Iterable[Held]) -> tuple[Judged, ...]:
    """Say for everything that a build server brings to a new Session what is to become of it."""
    return tuple(judge(turn, server, one) for one in held)


def judge(turn: Turn, server: Server, held: Held) -> Judged:
    """Say what is to become of something that a build server has; believe what may go on alive for a full term."""
    attempt = turn.state.attempts.get(held.key)
    if attempt is None or attempt.server != server.name:
        return _told(held, Verdict.DROP, "nobody waits for it any more")
    if attempt.state is AttemptState.ABORTING:
        return _told(held, Verdict.DROP, _still_aborting(turn, server, attempt, held))
    if attempt.state is AttemptState.MISSING:
        return _judge_missing(turn, server, attempt, held)
    if attempt.session != server.session:
        bound = evolve(attempt, session=server.session)
        turn.state.put(bound)
        if bound.state is AttemptState.OFFERED:
            begin(turn, bound)  # that it was accepted got lost with the connection
    turn.state.lease(held.key, turn.now)
    return _told(held, Verdict.GO_ON if held.state is HeldState.BUILDING else Verdict.DELIVER)


def expire_lease(turn: Turn, attempt: Attempt) -> None:
    """End the belief in an Attempt that was not heard of in time, or that is overdue."""
    if attempt.state is AttemptState.ABORTING:
        reason = f"{attempt.reason}; {attempt.server} did not say that it ended"
        close_attempt(turn, attempt, AttemptEnd.ABORTED, reason)
        return
    if turn.state.leases[attempt.key].overdue <= turn.now:
        reason = f"{attempt.server} did not end it in time"
        turn.tell(Abort(attempt.server, attempt.session, attempt.build_id, attempt.epoch, reason))
        end(turn, attempt, AttemptEnd.LIMITED, reason)
        return
    miss(turn, attempt, f"{attempt.server} was not heard of for {turn.state.lease_term:.0f} s")


def _still_aborting(turn: Turn, server: Server, attempt: Attempt, held: Held) -> str:
    if held.state is HeldState.BUILDING:
        if attempt.session != server.session:
            turn.state.put(evolve(attempt, session=server.session))
        turn.state.lease(held.key, turn.now)
    else:
        close_attempt(turn, attempt, AttemptEnd.ABORTED, attempt.reason)
    return attempt.reason or "it was aborted"


def _judge_missing(turn: Turn, server: Server, attempt: Attempt, held: Held) -> Judged:
    build = turn.state.builds[attempt.build_id]
    if build.state is BuildState.QUEUED and build.epoch == attempt.epoch:
        _revive(turn, server, attempt)
        return _told(held, Verdict.GO_ON if held.state is HeldState.BUILDING else Verdict.DELIVER)
    if held.state is HeldState.DONE:
        # Its artifact is as good as that of the newer Attempt, and it is there: it has only to be sent.
        turn.state.put(evolve(attempt, session=server.session))
        return _told(held, Verdict.DELIVER)
    reason = f"it was given to another build server after {server.name} had not been heard of"
    if held.state is HeldState.ENDED:
        turn.happened("late-end", f"build/{attempt.build_id}", f"epoch {attempt.epoch} on {server.name} had ended")
    close_attempt(turn, attempt, AttemptEnd.LOST, attempt.reason)
    return _told(held, Verdict.DROP, reason)


def _revive(turn: Turn, server: Server, attempt: Attempt) -> None:
    """Let a missing Attempt go on at the same epoch, and take back what its absence had cost."""
    state = turn.state
    build = state.builds[attempt.build_id]
    broken = tuple(name for name in build.broken_on if not (attempt.suspected and name == server.name))
    running = evolve(build, state=BuildState.RUNNING, not_before=0.0, broken_on=broken)
    state.put(running)
    began = attempt.accepted_at if attempt.accepted_at is not None else turn.now
    state.put(
        evolve(
            attempt,
            state=AttemptState.BUILDING,
            session=server.session,
            accepted_at=began,
            end=None,
            reason="",
            suspected=False,
            struck=False,
        )
    )
    state.lease(attempt.key, turn.now)
    refusal = state.refusals.get((build.id, server.name))
    if refusal is not None:
        state.put(evolve(refusal, until=turn.now))
    if attempt.struck:
        _give_strike_back(turn, server.name, build.spec.project)
    turn.happened("attempt-revived", f"build/{build.id}", f"epoch {attempt.epoch} on {server.name}")
    announce(turn, running, server.name)


def _give_strike_back(turn: Turn, name: str, project: str) -> None:
    """Take back the last strike, and the quarantine if it was that strike which led there."""
    server = turn.state.servers[name]
    if server.strikes:
        turn.state.put(evolve(server, strikes=server.strikes - 1))
    elif server.quarantined_until:
        left = turn.state.policy(project).strikes - 1
        earlier = max(0, server.quarantines - 1)
        free = evolve(server, strikes=left, quarantines=earlier, quarantined_until=0.0, quarantine_reason="")
        turn.state.put(free)


def _told(held: Held, verdict: Verdict, reason: str = "") -> Judged:
    return Judged(held.build_id, held.epoch, verdict, reason)
