"""What the end of an Attempt means: for its Build, its Requests, and its server (docs/integrator.rst).

The test is tests/scheduling/test_endings.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.matching.acceptance import acceptable
from buildtool.model.matching.reasons import group_words
from buildtool.model.matching.satisfaction import satisfies
from buildtool.model.policy import Policy
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildState,
    JoinReason,
    Refusal,
    RememberedFailure,
    RequestState,
)
from buildtool.model.trust.evidence import Evidence
from buildtool.scheduling.answers import Acknowledged
from buildtool.scheduling.cancelling import close_if_unwanted
from buildtool.scheduling.decision import (
    DecisionContext,
    announce,
    close_build,
    expire,
    leave,
    satisfy,
    server_of,
    tell_unsuccessful,
)
from buildtool.scheduling.dispatching import capable_elsewhere
from buildtool.scheduling.events import ArtifactUnkept, AttemptAccepted, AttemptEnded, AttemptEvent, Delivered
from buildtool.scheduling.servers import declining, quarantine
from buildtool.scheduling.servers.declining import EndRule, remembered_for
from buildtool.scheduling.state.lease_table import thawed

DIGITS = 12
"""So many digits of a digest tell two artifacts apart for people."""


USED_EVERY = 3_600.0
"""Seconds after which it is noted again that a server does work."""

_NEVER_HAD = EndRule("did not get it", delay=True)


def current(context: DecisionContext, event: AttemptEvent) -> Attempt | None:
    """Return the live Attempt that an event is about, or None when it comes from an older Session or epoch."""
    attempt = context.state.attempts.get((event.build_id, event.epoch))
    if attempt is None or (attempt.server, attempt.session) != (event.server, event.session):
        return None
    return attempt if server_of(context, event) is not None else None


def accepted(context: DecisionContext, event: AttemptAccepted) -> Acknowledged:
    """Record that a build server took an Attempt."""
    attempt = current(context, event)
    if attempt is None or attempt.state is not AttemptState.OFFERED:
        return Acknowledged(stale=attempt is None or attempt.state is AttemptState.ABORTING)
    begin(context, attempt)
    return Acknowledged()


def unkept(context: DecisionContext, event: ArtifactUnkept) -> Acknowledged:
    """Release the slot of a finished Attempt that waits for nothing but room at the metaserver.

    One that is missing takes none: it says so again once it is believed to be there.
    """
    attempt = current(context, event)
    if attempt is None or attempt.state is AttemptState.MISSING or context.state.slots.is_unkept(attempt):
        return Acknowledged(stale=attempt is None)
    context.state.slots.note_unkept(attempt)
    context.happened("artifact-unkept", f"attempt/{event.build_id}.{event.epoch}", event.reason)
    context.freed.add(event.server)
    return Acknowledged()


def begin(context: DecisionContext, attempt: Attempt) -> None:
    """Take an Attempt that was offered to be building, alive for a full term."""
    context.state.put(evolve(attempt, state=AttemptState.BUILDING, accepted_at=context.now))
    context.state.leases.renew(attempt.key, context.now)
    build = _begun(context.state.builds[attempt.build_id], context.now)
    context.state.put(build)
    _used(context, attempt.server)
    announce(context, build, attempt.server)


def _used(context: DecisionContext, name: str) -> None:
    """Note that a server does work, at most once an hour: so its name is remembered longer."""
    server = context.state.servers[name]
    if not server.used_at or abs(context.now - server.used_at) >= USED_EVERY:
        context.state.put(evolve(server, used_at=context.now))


def delivered(context: DecisionContext, event: Delivered) -> Acknowledged:
    """Publish an Attempt's artifact: the Build succeeds, and every Request that it satisfies ends.

    One that was made with less than what its Build demands is none: its machine broke.
    """
    attempt = current(context, event)
    if attempt is None:
        return Acknowledged(stale=True)
    attempt = evolve(attempt, processor=event.processor)
    if attempt.state is AttemptState.ABORTING:
        close_attempt(context, attempt, AttemptEnd.ABORTED, "finished while it was being aborted", event.log_tail)
        return Acknowledged(stale=True)
    build = _begun(context.state.builds[event.build_id], attempt.offered_at)
    attempt = evolve(attempt, evidence=attempt.evidence.at_most(Evidence(event.sandbox, attempt.evidence.source)))
    unacceptable = acceptable(attempt.evidence, build.spec.policy)
    if unacceptable:
        reason = f"{attempt.server} delivered what may not be used: it {group_words(unacceptable)}"
        _end_in_time(context, attempt, AttemptEnd.BROKEN, reason, event.log_tail)
        return Acknowledged(stale=True)
    differs = _differing(context, build, attempt, event)
    artifact = _publish(context, build, attempt, event)
    close_attempt(context, attempt, AttemptEnd.SUCCEEDED, "", event.log_tail)
    waiting = context.state.waiters(build.id)
    made = evolve(build, artifact_id=artifact.id, deciding_epoch=attempt.epoch)
    close_build(context, made, BuildState.SUCCEEDED, differs)
    _hand_out(context, artifact, differs)
    for request in waiting:
        if request.id in context.state.requests:
            leave(context, request)
    _did_well(context, attempt.server)
    return Acknowledged()


def ended(context: DecisionContext, event: AttemptEnded) -> Acknowledged:
    """Take in how an Attempt ended without an artifact."""
    attempt = current(context, event)
    if attempt is None:
        return Acknowledged(stale=True)
    attempt = evolve(attempt, processor=event.processor)
    return Acknowledged(stale=not _end_in_time(context, attempt, event.end, event.reason, event.log_tail))


def _end_in_time(context: DecisionContext, attempt: Attempt, how: AttemptEnd, reason: str, log_tail: str) -> bool:
    """End a live Attempt; return whether it was in time. One that is missing is closed, whatever became of it."""
    if attempt.state is AttemptState.MISSING:
        # Somebody else has the Build by now: only a success would still be of use.
        close_attempt(context, attempt, AttemptEnd.LOST, f"ended too late: {reason}", log_tail)
        return False
    end(context, attempt, how, reason, log_tail)
    return True


def end(context: DecisionContext, attempt: Attempt, how: AttemptEnd, reason: str, log_tail: str = "") -> None:
    """End a live Attempt and decide what becomes of its Build."""
    if attempt.state is AttemptState.ABORTING:
        close_attempt(context, attempt, AttemptEnd.ABORTED, attempt.reason, log_tail)
        return
    closed = close_attempt(context, attempt, how, reason, log_tail)
    build = context.state.builds[attempt.build_id]
    if how is AttemptEnd.FAILED:
        _project_failed(context, build, closed)
    elif how is AttemptEnd.MISTAKEN:
        _project_mistaken(context, build, closed)
    else:
        _machine_failed(context, build, closed, declining.RULES[how], began=attempt.state is AttemptState.BUILDING)


def undelivered(context: DecisionContext, attempt: Attempt, reason: str) -> None:
    """End an Attempt whose order never reached its server: nothing is held against anybody, and it is tried again."""
    closed = close_attempt(context, attempt, AttemptEnd.LOST, reason)
    _machine_failed(context, context.state.builds[attempt.build_id], closed, _NEVER_HAD, began=False)


def miss(context: DecisionContext, attempt: Attempt, reason: str) -> None:
    """Mark an Attempt as missing, whose Lease ended, and put its Build back into the queue. It may come back."""
    build, rule = context.state.builds[attempt.build_id], declining.RULES[AttemptEnd.LOST]
    began = attempt.state is AttemptState.BUILDING
    missing = evolve(
        thawed(attempt, context.now),
        state=AttemptState.MISSING,
        end=AttemptEnd.LOST,
        reason=reason,
        suspected=rule.suspect and began and attempt.server not in build.broken_on,
        struck=rule.strike and began,
    )
    context.state.put(missing)
    context.freed.add(attempt.server)
    context.happened("attempt-missing", f"build/{attempt.build_id}", f"epoch {attempt.epoch}: {reason}")
    _machine_failed(context, build, missing, rule, began=began)


def settle_confirmations(context: DecisionContext) -> None:
    """Fail each Build that awaits confirmation, once no capable server is connected or expected back."""
    for build_id in list(context.state.records.confirming):
        build = context.state.builds.get(build_id)
        if build is not None and not capable_elsewhere(context, build):
            _fail(context, build)


def requeue(context: DecisionContext, build: Build) -> None:
    """Put a Build back into the queue, in its old place; the Requests that joined only its Attempt leave it."""
    context.state.put(evolve(build, state=BuildState.QUEUED))
    for request in context.state.waiters(build.id):
        if request.expires_at <= context.now:
            expire(context, request)
    for request in context.state.waiters(build.id):
        if request.joined is JoinReason.ATTEMPT:
            leave(context, request)
    close_if_unwanted(context, build.id, "nobody waits for it any more")
    if build.id in context.state.builds:
        announce(context, context.state.builds[build.id])
        context.again.add(build.id)


def _begun(build: Build, when: float) -> Build:
    """Return a Build that a build server has taken: ``when``, unless one had before."""
    return build if build.started_at is not None else evolve(build, started_at=when)


def close_attempt(
    context: DecisionContext, attempt: Attempt, how: AttemptEnd, reason: str, log_tail: str = ""
) -> Attempt:
    """End an Attempt, whatever becomes of its Build."""
    ended = thawed(attempt, context.now)
    closed = evolve(ended, state=AttemptState.ENDED, end=how, reason=reason, ended_at=context.now, log_tail=log_tail)
    context.state.put(closed)
    context.freed.add(attempt.server)
    context.happened(f"attempt-{how.name.lower()}", f"build/{attempt.build_id}", f"epoch {attempt.epoch}: {reason}")
    return closed


def _publish(context: DecisionContext, build: Build, attempt: Attempt, event: Delivered) -> Artifact:
    artifact = Artifact(
        id=context.state.number("artifact"),
        shelf=build.spec.shelf,
        options=build.spec.options,
        platform=attempt.platform,
        kind=attempt.kind,
        build_id=build.id,
        epoch=attempt.epoch,
        server=attempt.server,
        digest=event.digest,
        content_digest=event.content_digest,
        size=event.size,
        name=event.name,
        built_at=context.now,
        seconds=event.seconds,
        evidence=attempt.evidence,
        need=event.need,
    )
    context.state.append(artifact)
    return artifact


def _differing(context: DecisionContext, build: Build, attempt: Attempt, event: Delivered) -> str:
    """Return in words that the newest artifact of the very same has other bytes, or "": then it is not reproducible."""
    same = (build.spec.options, attempt.platform, attempt.kind, attempt.evidence.source)
    for one in context.state.shelves.get(build.spec.shelf).artifacts:
        if (one.options, one.platform, one.kind, one.evidence.source) == same:
            if one.digest == event.digest:
                return ""
            before, now = one.digest[:DIGITS], event.digest[:DIGITS]
            return (
                f"not the same bytes as build {one.build_id} made of the same on {one.server}: "
                f"SHA-256 {before}... before, {now}... now"
            )
    return ""


def _hand_out(context: DecisionContext, artifact: Artifact, reason: str = "") -> None:
    """Complete every waiting Request that the artifact satisfies; Builds that nobody waits for then end."""
    emptied: dict[int, None] = {}
    for request_id in sorted(context.state.records.wanting.get(artifact.shelf)):
        request = context.state.requests[request_id]
        if satisfies(artifact, request.demand, context.state.projects.compare(artifact.shelf.project)):
            continue
        satisfy(context, request, artifact, reason)
        if request.build_id is not None:
            emptied[request.build_id] = None
    for build_id in emptied:
        close_if_unwanted(context, build_id, f"build {artifact.build_id} made what was waited for")


def _did_well(context: DecisionContext, server: str) -> None:
    """Clear what is held against a server: it built something to its end."""
    quarantine.absolve(context, server)
    context.state.reluctance.made(server)


def _project_mistaken(context: DecisionContext, build: Build, attempt: Attempt) -> None:
    """End a Build that no machine could make: neither repeated nor remembered, since it may be mended any moment.

    What is wrong may stand in the configuration or in another repository, and mending it changes no revision. The
    server's strikes stay as they are: it was not seen to do well either.
    """
    failed = _failed(build, attempt)
    waiting = context.state.waiters(build.id)
    close_build(context, failed, BuildState.FAILED, attempt.reason)
    tell_unsuccessful(context, waiting, RequestState.FAILED, attempt.reason)


def _failed(build: Build, attempt: Attempt) -> Build:
    return evolve(
        _begun(build, attempt.offered_at),
        failed_on=(*build.failed_on, attempt.server),
        deciding_epoch=attempt.epoch,
        reason=attempt.reason,
        failed_platform=attempt.platform,
        failed_kind=attempt.kind,
        failed_evidence=attempt.evidence,
    )


def _project_failed(context: DecisionContext, build: Build, attempt: Attempt) -> None:
    failed = _failed(build, attempt)
    policy = context.state.projects.policy(build.spec.project)
    context.state.put(failed)
    if len(failed.failed_on) <= policy.confirm_failures and capable_elsewhere(context, failed):
        requeue(context, failed)
    else:
        _fail(context, failed)
    _did_well(context, attempt.server)


def _fail(context: DecisionContext, build: Build) -> None:
    """Make a project's failure final, remember it, and tell those who asked for exactly this."""
    policy = context.state.projects.policy(build.spec.project)
    waiting = context.state.waiters(build.id)
    close_build(context, build, BuildState.FAILED, build.reason)
    until = context.now + policy.failure_ttl
    seen = build.failed_platform, until, build.reason, build.failed_kind, build.failed_evidence
    context.state.append(RememberedFailure(build.id, build.spec.shelf, *seen))
    tell_unsuccessful(context, waiting, RequestState.FAILED, build.reason)


def _machine_failed(context: DecisionContext, build: Build, attempt: Attempt, rule: EndRule, *, began: bool) -> None:
    policy = context.state.projects.policy(build.spec.project)
    changed = build
    if rule.suspect and began and attempt.server not in build.broken_on:
        changed = evolve(build, broken_on=(*build.broken_on, attempt.server))
    if rule.delay and not began:
        wait = min(policy.retry_most, policy.retry_first * 2.0 ** min(build.delays, 30))
        changed = evolve(changed, delays=build.delays + 1, not_before=context.now + wait)
    if changed is not build:
        context.state.put(changed)
    if rule.grows:
        context.state.reluctance.gave_up(attempt.server, context.now)
    if rule.strike and began:
        quarantine.strike(context, attempt.server, policy, attempt.reason)
    if len(changed.broken_on) >= policy.breakages:
        _give_up(context, changed, attempt)
        return
    if rule.remember:
        _remember(context, changed, attempt, rule, policy)
    if changed.failed_on and not capable_elsewhere(context, changed):
        _fail(context, changed)
    else:
        requeue(context, changed)


def _give_up(context: DecisionContext, build: Build, attempt: Attempt) -> None:
    """A Build that broke on several machines is at fault itself, as far as anybody can tell."""
    waiting = context.state.waiters(build.id)
    reason = f"it broke on {len(build.broken_on)} machines ({', '.join(build.broken_on)}); last: {attempt.reason}"
    close_build(context, evolve(build, deciding_epoch=attempt.epoch), BuildState.UNBUILDABLE, reason)
    tell_unsuccessful(context, waiting, RequestState.UNBUILDABLE, reason)
    for server in build.broken_on:
        quarantine.absolve(context, server)
        context.freed.add(server)


def _remember(context: DecisionContext, build: Build, attempt: Attempt, rule: EndRule, policy: Policy) -> None:
    old = context.state.refusals.get((build.id, attempt.server))
    count = old.count + 1 if old is not None else 1
    seconds = remembered_for(rule, policy, count)
    context.state.put(Refusal(build.id, attempt.server, context.now + seconds, f"{rule.said}: {attempt.reason}", count))
