"""What the end of an Attempt means: for its Build, its Requests, and its server (docs/integrator.rst)."""

from __future__ import annotations

from attrs import evolve, frozen

from buildtool.domain.admission import leave
from buildtool.domain.dispatching import capable_elsewhere
from buildtool.domain.matching import satisfies
from buildtool.domain.messages import ArtifactUnkept, AttemptAccepted, AttemptEnded, Delivered, Noted
from buildtool.domain.model import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildState,
    FailedHere,
    Joined,
    Policy,
    Refusal,
    Request,
    RequestState,
    Server,
)
from buildtool.domain.turn import (
    Turn,
    announce,
    close_build,
    close_if_unwanted,
    disappoint,
    expire,
    satisfy,
)


@frozen
class EndRule:
    """What follows when an Attempt ends in one way before an artifact is there.

    ``said`` is what the server did, for those who ask why the Build is not there again: the reason follows it.
    ``suspect``: it counts against the Build, if it was building. ``strike``: and against the server. ``remember``: how
    long the Build is not offered to this server again (the name of a Policy field, "" for not at all).
    ``delay``: the Build waits a growing time before it is tried anywhere, if it had not started.
    """

    said: str
    suspect: bool = False
    strike: bool = False
    remember: str = ""
    delay: bool = False


RULES: dict[AttemptEnd, EndRule] = {
    AttemptEnd.LOST: EndRule("lost it", suspect=True, strike=True, remember="lost_ttl", delay=True),
    AttemptEnd.REFUSED: EndRule("declined", remember="refusal_first"),
    AttemptEnd.RETURNED: EndRule("handed it back", remember="lost_ttl"),
    AttemptEnd.BROKEN: EndRule("broke", suspect=True, strike=True, remember="refusal_ttl"),
    AttemptEnd.LIMITED: EndRule("reached its limit", suspect=True, remember="refusal_ttl"),
    AttemptEnd.ABORTED: EndRule("stopped it", remember="lost_ttl"),
}
"""The machine's ends. A refusal's memory doubles each time; the project's own two ends are not in this table."""


USED_EVERY = 3_600.0
"""Seconds after which it is noted again that a server does work."""

_NEVER_HAD = EndRule("did not get it", delay=True)


def current(turn: Turn, server: str, session: int, build_id: int, epoch: int) -> Attempt | None:
    """Return the live Attempt that a report is about, or None when it comes from an older Session or epoch."""
    attempt = turn.state.attempts.get((build_id, epoch))
    if attempt is None or attempt.server != server or attempt.session != session:
        return None
    known = turn.state.servers[server]
    return attempt if known.connected and known.session == session else None


def accepted(turn: Turn, event: AttemptAccepted) -> Noted:
    """Note that a build server took an Attempt."""
    attempt = current(turn, event.server, event.session, event.build_id, event.epoch)
    if attempt is None or attempt.state is not AttemptState.OFFERED:
        return Noted(stale=attempt is None or attempt.state is AttemptState.ABORTING)
    begin(turn, attempt)
    return Noted()


def unkept(turn: Turn, event: ArtifactUnkept) -> Noted:
    """Let the slot of an Attempt that waits for nothing but room at the metaserver have something else to build."""
    attempt = current(turn, event.server, event.session, event.build_id, event.epoch)
    if attempt is None or attempt.key in turn.state.unkept.get(event.server, ()):
        return Noted(stale=attempt is None)
    turn.state.note_unkept(attempt.key)
    turn.happened("artifact-unkept", f"attempt/{event.build_id}.{event.epoch}", event.reason)
    turn.freed.add(event.server)
    return Noted()


def begin(turn: Turn, attempt: Attempt) -> None:
    """Take an Attempt that was offered to be building, alive for a full term."""
    turn.state.put(evolve(attempt, state=AttemptState.BUILDING, accepted_at=turn.now))
    turn.state.lease(attempt.key, turn.now)
    build = _begun(turn.state.builds[attempt.build_id], turn.now)
    turn.state.put(build)
    _used(turn, attempt.server)
    announce(turn, build, attempt.server)


def _used(turn: Turn, name: str) -> None:
    """Note that a server does work, at most once an hour: so its name is remembered longer."""
    server = turn.state.servers[name]
    if not server.used_at or abs(turn.now - server.used_at) >= USED_EVERY:
        turn.state.put(evolve(server, used_at=turn.now))


def delivered(turn: Turn, event: Delivered) -> Noted:
    """Publish an Attempt's artifact: the Build succeeds, and whoever the artifact satisfies is told."""
    attempt = current(turn, event.server, event.session, event.build_id, event.epoch)
    if attempt is None:
        return Noted(stale=True)
    if attempt.state is AttemptState.ABORTING:
        close_attempt(turn, attempt, AttemptEnd.ABORTED, "finished while it was being aborted", event.log_tail)
        return Noted(stale=True)
    build = _begun(turn.state.builds[event.build_id], attempt.offered_at)
    artifact = _publish(turn, build, attempt, event)
    close_attempt(turn, attempt, AttemptEnd.SUCCEEDED, "", event.log_tail)
    waiting = turn.state.waiters(build.id)
    made = evolve(build, artifact_id=artifact.id, deciding_epoch=attempt.epoch)
    close_build(turn, made, BuildState.SUCCEEDED, "")
    _hand_out(turn, artifact)
    for request in waiting:
        if request.id in turn.state.requests:
            leave(turn, request)
    _absolve(turn, attempt.server)
    return Noted()


def ended(turn: Turn, event: AttemptEnded) -> Noted:
    """Take in how an Attempt ended without an artifact."""
    attempt = current(turn, event.server, event.session, event.build_id, event.epoch)
    if attempt is None:
        return Noted(stale=True)
    if attempt.state is AttemptState.MISSING:
        # Somebody else has the Build by now: only a success would still be of use.
        close_attempt(turn, attempt, AttemptEnd.LOST, f"ended too late: {event.reason}", event.log_tail)
        return Noted(stale=True)
    end(turn, attempt, event.end, event.reason, event.log_tail)
    return Noted()


def end(turn: Turn, attempt: Attempt, how: AttemptEnd, reason: str, log_tail: str = "") -> None:
    """End a live Attempt and decide what becomes of its Build."""
    if attempt.state is AttemptState.ABORTING:
        close_attempt(turn, attempt, AttemptEnd.ABORTED, attempt.reason, log_tail)
        return
    closed = close_attempt(turn, attempt, how, reason, log_tail)
    build = turn.state.builds[attempt.build_id]
    if how is AttemptEnd.FAILED:
        _project_failed(turn, build, closed)
    elif how is AttemptEnd.MISTAKEN:
        _project_mistaken(turn, build, closed)
    else:
        _machine_failed(turn, build, closed, RULES[how], began=attempt.state is AttemptState.BUILDING)


def undelivered(turn: Turn, attempt: Attempt, reason: str) -> None:
    """End an Attempt whose order never reached its server: nothing is held against anybody, and it is tried again."""
    closed = close_attempt(turn, attempt, AttemptEnd.LOST, reason)
    _machine_failed(turn, turn.state.builds[attempt.build_id], closed, _NEVER_HAD, began=False)


def miss(turn: Turn, attempt: Attempt, reason: str) -> None:
    """Let a Build wait for somebody else: its Attempt was not heard of until its Lease ended. It may come back."""
    build, rule = turn.state.builds[attempt.build_id], RULES[AttemptEnd.LOST]
    began = attempt.state is AttemptState.BUILDING
    missing = evolve(
        attempt,
        state=AttemptState.MISSING,
        end=AttemptEnd.LOST,
        reason=reason,
        suspected=rule.suspect and began and attempt.server not in build.broken_on,
        struck=rule.strike and began,
    )
    turn.state.put(missing)
    turn.freed.add(attempt.server)
    turn.happened("attempt-missing", f"build/{attempt.build_id}", f"epoch {attempt.epoch}: {reason}")
    _machine_failed(turn, build, missing, rule, began=began)


def settle_confirmations(turn: Turn) -> None:
    """Make final every failure that waits to be repeated, where nobody is there or expected who could repeat it."""
    for build_id in list(turn.state.confirming):
        build = turn.state.builds.get(build_id)
        if build is not None and not capable_elsewhere(turn, build):
            _fail(turn, build)


def requeue(turn: Turn, build: Build) -> None:
    """Let a Build wait again in its old place; who joined only its Attempt leaves it."""
    turn.state.put(evolve(build, state=BuildState.QUEUED))
    for request in turn.state.waiters(build.id):
        if request.expires_at <= turn.now:
            expire(turn, request)
    for request in turn.state.waiters(build.id):
        if request.joined is Joined.ATTEMPT:
            leave(turn, request)
    close_if_unwanted(turn, build.id, "nobody waits for it any more")
    if build.id in turn.state.builds:
        announce(turn, turn.state.builds[build.id])
        turn.again.add(build.id)


def _begun(build: Build, when: float) -> Build:
    """Return a Build that a build server has taken: ``when``, unless one had before."""
    return build if build.started_at is not None else evolve(build, started_at=when)


def close_attempt(turn: Turn, attempt: Attempt, how: AttemptEnd, reason: str, log_tail: str = "") -> Attempt:
    """End an Attempt, whatever becomes of its Build."""
    closed = evolve(attempt, state=AttemptState.ENDED, end=how, reason=reason, ended_at=turn.now, log_tail=log_tail)
    turn.state.put(closed)
    turn.freed.add(attempt.server)
    turn.happened(f"attempt-{how.name.lower()}", f"build/{attempt.build_id}", f"epoch {attempt.epoch}: {reason}")
    return closed


def _publish(turn: Turn, build: Build, attempt: Attempt, event: Delivered) -> Artifact:
    artifact = Artifact(
        id=turn.state.number("artifact"),
        shelf=build.spec.shelf(),
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
        built_at=turn.now,
        seconds=event.seconds,
    )
    turn.state.append(artifact)
    return artifact


def _hand_out(turn: Turn, artifact: Artifact) -> None:
    """Complete every waiting Request that the artifact satisfies; Builds that nobody waits for then end."""
    emptied: dict[int, None] = {}
    for request_id in sorted(turn.state.wanting.get(artifact.shelf)):
        request = turn.state.requests[request_id]
        if satisfies(artifact, request.demand, turn.state.compare(artifact.shelf.project)):
            continue
        satisfy(turn, request, artifact)
        if request.build_id is not None:
            emptied[request.build_id] = None
    for build_id in emptied:
        close_if_unwanted(turn, build_id, f"build {artifact.build_id} made what was waited for")


def _project_mistaken(turn: Turn, build: Build, attempt: Attempt) -> None:
    """End a Build that no machine could make: neither repeated nor remembered, since it may be mended any moment.

    What is wrong may stand in the configuration or in another repository, and mending it changes no revision. The
    server's strikes stay as they are: it was not seen to do well either.
    """
    failed = _failed(build, attempt)
    waiting = turn.state.waiters(build.id)
    close_build(turn, failed, BuildState.FAILED, attempt.reason)
    tell_unsuccessful(turn, waiting, RequestState.FAILED, attempt.reason)


def _failed(build: Build, attempt: Attempt) -> Build:
    return evolve(
        _begun(build, attempt.offered_at),
        failed_on=(*build.failed_on, attempt.server),
        deciding_epoch=attempt.epoch,
        reason=attempt.reason,
        failed_platform=attempt.platform,
        failed_kind=attempt.kind,
    )


def _project_failed(turn: Turn, build: Build, attempt: Attempt) -> None:
    failed = _failed(build, attempt)
    policy = turn.state.policy(build.spec.project)
    turn.state.put(failed)
    if len(failed.failed_on) <= policy.confirm_failures and capable_elsewhere(turn, failed):
        requeue(turn, failed)
    else:
        _fail(turn, failed)
    _absolve(turn, attempt.server)


def _fail(turn: Turn, build: Build) -> None:
    """Make a project's failure final, remember it, and tell those who asked for exactly this."""
    policy = turn.state.policy(build.spec.project)
    waiting = turn.state.waiters(build.id)
    close_build(turn, build, BuildState.FAILED, build.reason)
    until = turn.now + policy.failure_ttl
    turn.state.append(
        FailedHere(build.id, build.spec.shelf(), build.failed_platform, until, build.reason, build.failed_kind)
    )
    tell_unsuccessful(turn, waiting, RequestState.FAILED, build.reason)


def _machine_failed(turn: Turn, build: Build, attempt: Attempt, rule: EndRule, *, began: bool) -> None:
    policy = turn.state.policy(build.spec.project)
    changed = build
    if rule.suspect and began and attempt.server not in build.broken_on:
        changed = evolve(build, broken_on=(*build.broken_on, attempt.server))
    if rule.delay and not began:
        wait = min(policy.retry_most, policy.retry_first * 2.0 ** min(build.delays, 30))
        changed = evolve(changed, delays=build.delays + 1, not_before=turn.now + wait)
    if changed is not build:
        turn.state.put(changed)
    if rule.strike and began:
        _strike(turn, attempt.server, policy, attempt.reason)
    if len(changed.broken_on) >= policy.breakages:
        _give_up(turn, changed, attempt)
        return
    if rule.remember:
        _remember(turn, changed, attempt, rule, policy)
    if changed.failed_on and not capable_elsewhere(turn, changed):
        _fail(turn, changed)
    else:
        requeue(turn, changed)


def _give_up(turn: Turn, build: Build, attempt: Attempt) -> None:
    """A Build that broke on several machines is at fault itself, as far as anybody can tell."""
    waiting = turn.state.waiters(build.id)
    reason = f"it broke on {len(build.broken_on)} machines ({', '.join(build.broken_on)}); last: {attempt.reason}"
    close_build(turn, evolve(build, deciding_epoch=attempt.epoch), BuildState.UNBUILDABLE, reason)
    tell_unsuccessful(turn, waiting, RequestState.UNBUILDABLE, reason)
    for server in build.broken_on:
        _absolve(turn, server)
        turn.freed.add(server)


def tell_unsuccessful(turn: Turn, waiting: list[Request], state: RequestState, reason: str) -> None:
    """Tell those whose own Build came to nothing; who had joined by Attempt or range leaves it."""
    for request in waiting:
        if request.joined in (Joined.ATTEMPT, Joined.RANGE):
            leave(turn, request)
        else:
            disappoint(turn, request, state, reason)


def _remember(turn: Turn, build: Build, attempt: Attempt, rule: EndRule, policy: Policy) -> None:
    seconds = getattr(policy, rule.remember)
    old = turn.state.refusals.get((build.id, attempt.server))
    count = old.count + 1 if old is not None else 1
    if attempt.end is AttemptEnd.REFUSED:
        seconds = min(policy.refusal_ttl, seconds * 2.0 ** min(count - 1, 30))
    turn.state.put(Refusal(build.id, attempt.server, turn.now + seconds, f"{rule.said}: {attempt.reason}", count))


def _strike(turn: Turn, name: str, policy: Policy, reason: str) -> None:
    server = turn.state.servers[name]
    strikes = server.strikes + 1
    if strikes < policy.strikes:
        turn.state.put(evolve(server, strikes=strikes))
        return
    seconds = min(policy.quarantine_most, policy.quarantine_first * 2.0 ** min(server.quarantines, 30))
    turn.state.put(
        evolve(
            server,
            strikes=0,
            quarantines=server.quarantines + 1,
            quarantined_until=turn.now + seconds,
            quarantine_reason=f"broke {policy.strikes} builds in a row; last: {reason}",
        )
    )
    turn.happened("server-quarantined", f"server/{name}", f"for {seconds:.0f} s")


def _absolve(turn: Turn, name: str) -> None:
    """Give a server its strikes back: it finished a Build, or the Build it broke on breaks everywhere."""
    server: Server | None = turn.state.servers.get(name)
    if server is not None and (server.strikes or server.quarantines or server.quarantined_until):
        turn.state.put(evolve(server, strikes=0, quarantines=0, quarantined_until=0.0, quarantine_reason=""))
