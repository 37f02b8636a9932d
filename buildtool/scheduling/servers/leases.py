"""Leases: who is believed to build what, what a server that comes back is told, and what a Lease that ends means.

A lost connection ends nothing. An Attempt is believed alive for a full term after it was last heard of; when its Lease
ends it is *missing*: its Build waits for somebody else. One that comes back before that happened goes on at the same
epoch, and what its absence had cost is taken back (docs/adr/0009-leases.md).
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import Attempt, AttemptEnd, AttemptState, BuildState
from buildtool.model.servers import Held, HeldState, HeldVerdict, Server, Verdict
from buildtool.scheduling.answers import Acknowledged, HeldVerdicts
from buildtool.scheduling.attempts import begin, close_attempt, end, miss, settle_confirmations
from buildtool.scheduling.decision import DecisionContext, announce, server_of
from buildtool.scheduling.effects import Abort
from buildtool.scheduling.events import DrainBegun, HeldReported
from buildtool.scheduling.servers import quarantine
from buildtool.scheduling.servers.owners import note_frozen, note_wishes


def heard(context: DecisionContext, event: HeldReported) -> HeldVerdicts:
    """Renew the Leases of what a build server has; return what is to become of what is not simply to go on."""
    server = server_of(context, event)
    if server is None:
        return HeldVerdicts(stale=True)
    server = note_wishes(context, server, event.notice)
    if server.away_until(context.now):
        settle_confirmations(context)  # before the verdicts, of which none may be about a Build that ends by this
    judged = tuple(judge(context, server, held) for held in event.held)
    return HeldVerdicts(tuple(one for one in judged if one.verdict is not Verdict.GO_ON))


def drain(context: DecisionContext, event: DrainBegun) -> Acknowledged:
    """Mark a build server as draining: it is given nothing more in this Session."""
    server = server_of(context, event)
    if server is None:
        return Acknowledged(stale=True)
    if not server.draining:
        context.state.put(evolve(server, draining=True))
        context.happened("server-draining", f"server/{server.name}", event.reason)
    return Acknowledged()


def judge(context: DecisionContext, server: Server, held: Held) -> HeldVerdict:
    """Return what is to become of an Attempt that a build server has; renew the Lease of one that may go on."""
    attempt = context.state.attempts.get(held.key)
    if attempt is None or attempt.server != server.name:
        return _told(held, Verdict.DROP, "nobody waits for it any more")
    if attempt.state is AttemptState.ABORTING:
        return _told(held, Verdict.DROP, _still_aborting(context, server, attempt, held))
    if attempt.state is AttemptState.MISSING:
        return _judge_missing(context, server, attempt, held)
    if attempt.session != server.session:
        bound = evolve(attempt, session=server.session)
        context.state.put(bound)
        if bound.state is AttemptState.OFFERED:
            begin(context, bound)  # that it was accepted got lost with the connection
    note_frozen(context, held)
    context.state.leases.renew(held.key, context.now)
    return _told(held, Verdict.GO_ON if held.state is HeldState.BUILDING else Verdict.DELIVER)


def expire_lease(context: DecisionContext, attempt: Attempt) -> None:
    """End an Attempt that was not heard of in time, or that is overdue, or make it missing."""
    if attempt.state is AttemptState.ABORTING:
        reason = f"{attempt.reason}; {attempt.server} did not say that it ended"
        close_attempt(context, attempt, AttemptEnd.ABORTED, reason)
        return
    if context.state.leases.is_overdue(attempt, context.now):
        reason = f"{attempt.server} did not end it in time"
        context.tell(Abort(attempt.server, attempt.session, attempt.build_id, attempt.epoch, reason))
        end(context, attempt, AttemptEnd.LIMITED, reason)
        return
    miss(context, attempt, f"{attempt.server} was not heard of for {context.state.leases.term:.0f} s")


def _still_aborting(context: DecisionContext, server: Server, attempt: Attempt, held: Held) -> str:
    if held.state is HeldState.BUILDING:
        if attempt.session != server.session:
            context.state.put(evolve(attempt, session=server.session))
        context.state.leases.renew(held.key, context.now)
    else:
        close_attempt(context, attempt, AttemptEnd.ABORTED, attempt.reason)
    return attempt.reason or "it was aborted"


def _judge_missing(context: DecisionContext, server: Server, attempt: Attempt, held: Held) -> HeldVerdict:
    build = context.state.builds[attempt.build_id]
    if build.state is BuildState.QUEUED and build.epoch == attempt.epoch:
        _revive(context, server, attempt)
        note_frozen(context, held)
        context.state.leases.renew(attempt.key, context.now)
        return _told(held, Verdict.GO_ON if held.state is HeldState.BUILDING else Verdict.DELIVER)
    if held.state is HeldState.DONE:
        # Its artifact is as good as that of the newer Attempt, and it is there: it has only to be sent.
        context.state.put(evolve(attempt, session=server.session))
        return _told(held, Verdict.DELIVER)
    reason = f"it was given to another build server after {server.name} had not been heard of"
    if held.state is HeldState.ENDED:
        context.happened("late-end", f"build/{attempt.build_id}", f"epoch {attempt.epoch} on {server.name} had ended")
    close_attempt(context, attempt, AttemptEnd.LOST, attempt.reason)
    return _told(held, Verdict.DROP, reason)


def _revive(context: DecisionContext, server: Server, attempt: Attempt) -> None:
    """Resume a missing Attempt at the same epoch, and take back what its absence had cost."""
    state = context.state
    build = state.builds[attempt.build_id]
    broken = tuple(name for name in build.broken_on if not (attempt.suspected and name == server.name))
    running = evolve(build, state=BuildState.RUNNING, not_before=0.0, broken_on=broken)
    state.put(running)
    began = attempt.accepted_at if attempt.accepted_at is not None else context.now
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
    refusal = state.refusals.get((build.id, server.name))
    if refusal is not None:
        state.put(evolve(refusal, until=context.now))
    if attempt.struck:
        quarantine.give_strike_back(context, server.name, build.spec.project)
    context.happened("attempt-revived", f"build/{build.id}", f"epoch {attempt.epoch} on {server.name}")
    announce(context, running, server.name)


def _told(held: Held, verdict: Verdict, reason: str = "") -> HeldVerdict:
    return HeldVerdict(held.build_id, held.epoch, verdict, reason)
