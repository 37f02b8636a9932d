"""Build servers come and go: logins, lost connections, the metaserver's own restart, and owners who are told."""

from __future__ import annotations

from attrs import evolve

from buildtool.domain import names
from buildtool.domain.addresses import find_address
from buildtool.domain.leases import judge_all
from buildtool.domain.messages import (
    ClockStepped,
    Disconnected,
    Fence,
    MailWritten,
    NameHeld,
    NoPlace,
    Noted,
    Registered,
    SessionOpened,
)
from buildtool.domain.model import (
    AttemptEnd,
    AttemptState,
    Capability,
    Judged,
    Mail,
    RequestState,
    Server,
    Verdict,
)
from buildtool.domain.outcomes import close_attempt, end, settle_confirmations, undelivered
from buildtool.domain.ready import place_of
from buildtool.domain.state import OWNER_TOLD_AFTER
from buildtool.domain.turn import Turn

CHANGING = frozenset({"disk", "memory"})
"""Properties of a machine that are looked at anew at each login."""

AWAY_LEAST = 60.0
"""Seconds without a metaserver that are worth writing down: a beat may be half a minute old when it ends."""


BEAT_EVERY = 20.0
"""Seconds after which a look at everything writes down that the metaserver is there."""


def beat(turn: Turn) -> None:
    """Write down that the metaserver is there, if the last time was a while ago."""
    if abs(turn.now - turn.state.beat) >= BEAT_EVERY:
        turn.state.note_beat(turn.now)


OWNERS = "build servers"
"""Against whose share mails to the owners of build servers count, all of them together: anybody may name anybody."""


def register(turn: Turn, event: Registered) -> SessionOpened | NameHeld | NoPlace:
    """Open a new Session, if the name is free; what the server has goes on, what it has not is lost.

    One that is connected under the name is cut off only if it was asked and did not answer.
    """
    refused = names.refusal(turn, event)
    if refused is not None:
        return refused
    old = turn.state.servers.get(event.server)
    if old is not None and old.connected:
        turn.happened("server-fenced", f"server/{old.name}", "a newer login of the same build server took over")
        turn.tell(Fence(old.name, old.session))
    server = Server(
        name=event.server,
        session=1 + (old.session if old is not None else turn.state.last_sessions.get(event.server, 0)),
        capability=event.capability,
        connected=True,
        since=turn.now,
        last_seen=turn.now,
        strikes=old.strikes if old is not None else 0,
        quarantines=old.quarantines if old is not None else 0,
        quarantined_until=old.quarantined_until if old is not None else 0.0,
        quarantine_reason=old.quarantine_reason if old is not None else "",
        paused=old.paused if old is not None else "",
        instance=event.instance,
        origin=event.origin,
        used_at=old.used_at if old is not None else 0.0,
    )
    held = event.held
    if old is not None and names.is_another(old, event):
        names.lose_all(turn, old)
        held = ()
    turn.state.put(server)
    turn.happened("server-connected", f"server/{server.name}", f"session {server.session}")
    if old is not None and _is_another(old.capability, server.capability):
        _ask_again(turn, server.name)
    verdicts = judge_all(turn, server, held)
    _lose_what_is_not_there(turn, server)
    if held is not event.held:
        verdicts = tuple(
            Judged(one.build_id, one.epoch, Verdict.DROP, "it is not this machine's") for one in event.held
        )
    turn.freed.add(server.name)
    settle_confirmations(turn)
    return SessionOpened(server.session, verdicts)


def _is_another(before: Capability, now: Capability) -> bool:
    """Say whether a machine announces something else than before, but for what changes by itself."""
    return _lasting(before) != _lasting(now)


def _lasting(capability: Capability) -> tuple[object, ...]:
    machine = tuple((name, value) for name, value in capability.machine if name not in CHANGING)
    return capability.offers, capability.skills, capability.max_builds, capability.software, machine


def _ask_again(turn: Turn, server: str) -> None:
    """Remember no refusal of a machine that has changed: it has another limit, other tools, another recipe."""
    for build_id in list(turn.state.refused_by.get(server, ())):
        refusal = turn.state.refusals[build_id, server]
        if refusal.until > turn.now:
            turn.state.put(evolve(refusal, until=turn.now))


def disconnect(turn: Turn, event: Disconnected) -> Noted:
    """End a Session; what it builds is believed alive until its Lease ends. An older Session's end changes nothing."""
    server = turn.state.servers.get(event.server)
    if server is None or not server.connected or server.session != event.session:
        return Noted(stale=True)
    missing_since = 0.0 if event.clean else turn.now
    turn.state.put(
        evolve(server, connected=False, last_seen=turn.now, since=turn.now, missing_since=missing_since, draining=False)
    )
    turn.happened("server-disconnected", f"server/{server.name}", event.reason)
    names.forget_largest(turn)
    settle_confirmations(turn)
    return Noted()


def restart(turn: Turn) -> Noted:
    """Nobody is connected, but whoever was is expected back: every Lease gets a fresh full term, owners more time.

    The time in which there was no metaserver does not count towards the life of a Request: nobody could build it.
    """
    away = turn.now - turn.state.beat if turn.state.beat else 0.0
    if away >= AWAY_LEAST:
        turn.state.shift_requests(away)
        turn.happened("metaserver-was-away", "metaserver", f"for {away:.0f} s")
    elif away < 0:
        _shift_all(turn, away)
    turn.state.note_beat(turn.now)
    for server in list(turn.state.servers.values()):
        if server.connected or (server.missing_since and not server.missing_told):
            turn.state.put(evolve(server, connected=False, missing_since=turn.now, draining=False))
    names.forget_largest(turn)
    for attempt in list(turn.state.attempts.values()):
        if attempt.state is not AttemptState.MISSING:
            turn.state.lease(attempt.key, turn.now)
    _wait_no_longer_than_ever(turn)
    turn.happened("metaserver-started", "metaserver")
    return Noted()


def _wait_no_longer_than_ever(turn: Turn) -> None:
    """Let nothing wait longer than it ever may: the clock may have been set back while the metaserver was away."""
    state, now = turn.state, turn.now
    for build in list(state.builds.values()):
        latest = now + state.policy(build.spec.project).retry_most
        if build.not_before > latest:
            state.put(evolve(build, not_before=latest))
    latest = now + max((policy.quarantine_most for policy in state.policies.values()), default=0.0)
    for server in list(state.servers.values()):
        if server.quarantined_until > latest:
            state.put(evolve(server, quarantined_until=latest))
    for refusal in list(state.refusals.values()):
        policy = state.policy(state.builds[refusal.build_id].spec.project)
        latest = now + max(policy.refusal_ttl, policy.refusal_first, policy.lost_ttl)
        if refusal.until > latest:
            state.put(evolve(refusal, until=latest))


def look_at_absent(turn: Turn, name: str) -> None:
    """Notice that a server is not back in time, and tell its owner once it is missing for long."""
    server = turn.state.servers[name]
    settle_confirmations(turn)
    if server.missing_told or turn.now < server.missing_since + OWNER_TOLD_AFTER:
        return
    turn.state.put(evolve(server, missing_told=True))
    turn.happened("server-missing", f"server/{name}", f"not heard of for {turn.now - server.missing_since:.0f} s")
    owner = find_address(server.capability.admin)
    if owner is not None:
        key = turn.mail_key(f"missing:{name}:{server.session}:{owner}")
        told = Mail(key, owner, None, (), RequestState.WAITING, turn.now, server=name, asker=OWNERS)
        turn.state.append(told)
        turn.tell(MailWritten())


def step_clock(turn: Turn, event: ClockStepped) -> Noted:
    """Let everything that waits for a time wait as long as it would have, although the clock was set."""
    turn.state.shift_leases(event.seconds)
    _shift_all(turn, event.seconds)
    turn.state.note_beat(turn.now)
    turn.happened("clock-stepped", "metaserver", f"by {event.seconds:+.0f} s")
    return Noted()


def _shift_all(turn: Turn, by: float) -> None:
    """Shift everything that waits for a time, or holds until one, except for Leases."""
    state = turn.state
    state.shift_requests(by)
    state.shift_failures(by)
    for build in list(state.builds.values()):
        if build.not_before:
            state.put(evolve(build, not_before=build.not_before + by))
    for server in list(state.servers.values()):
        quarantined = server.quarantined_until + by if server.quarantined_until else 0.0
        missing = server.missing_since + by if server.missing_since else 0.0
        if (quarantined, missing) != (server.quarantined_until, server.missing_since):
            state.put(evolve(server, quarantined_until=quarantined, missing_since=missing))
    for refusal in list(state.refusals.values()):
        state.put(evolve(refusal, until=refusal.until + by))


def _lose_what_is_not_there(turn: Turn, server: Server) -> None:
    """End every Attempt of a server that it did not bring to its new Session."""
    state = turn.state
    # Each may be started elsewhere at once, so they go in the order of their places; an aborted one has no place.
    keys = [key for key in state.attempts_of.get(server.name, ()) if state.attempts[key].session != server.session]
    keys.sort(key=lambda key: place_of(state.builds[key[0]]) if key[0] in state.builds else (0, 0))
    for key in keys:
        attempt = state.attempts[key]
        if attempt.state is AttemptState.ABORTING:
            close_attempt(turn, attempt, AttemptEnd.ABORTED, attempt.reason)
        elif attempt.state is AttemptState.OFFERED:
            undelivered(turn, attempt, f"{server.name} came back without it")
        else:
            end(turn, attempt, AttemptEnd.LOST, f"{server.name} came back without it")
