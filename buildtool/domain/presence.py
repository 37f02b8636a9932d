"""Build servers come and go: logins, lost connections, and the metaserver's own restart."""

from __future__ import annotations

from attrs import evolve

from buildtool.domain.dispatching import fill
from buildtool.domain.messages import Disconnected, Fence, Noted, Registered, SessionOpened
from buildtool.domain.model import AttemptEnd, AttemptState, BuildState, Server
from buildtool.domain.outcomes import end, requeue, settle_confirmations
from buildtool.domain.ready import place_of
from buildtool.domain.turn import Turn


def register(turn: Turn, event: Registered) -> SessionOpened:
    """Open a new Session. The newest login of a name stands; what an older one was building is lost."""
    old = turn.state.servers.get(event.server)
    if old is not None and old.connected:
        _leave(turn, old, "a newer login of the same build server took over")
        turn.tell(Fence(old.name, old.session))
        old = turn.state.servers[event.server]
    server = Server(
        name=event.server,
        session=old.session + 1 if old is not None else 1,
        capability=event.capability,
        connected=True,
        since=turn.now,
        last_seen=turn.now,
        strikes=old.strikes if old is not None else 0,
        quarantines=old.quarantines if old is not None else 0,
        quarantined_until=old.quarantined_until if old is not None else 0.0,
        quarantine_reason=old.quarantine_reason if old is not None else "",
    )
    turn.state.put(server)
    turn.freed.add(server.name)
    turn.happened("server-connected", f"server/{server.name}", f"session {server.session}")
    settle_confirmations(turn)
    fill(turn, server.name)
    return SessionOpened(server.session)


def disconnect(turn: Turn, event: Disconnected) -> Noted:
    """End a Session; its Attempts are lost. An older Session's end changes nothing."""
    server = turn.state.servers.get(event.server)
    if server is None or not server.connected or server.session != event.session:
        return Noted(stale=True)
    _leave(turn, server, event.reason)
    settle_confirmations(turn)
    return Noted()


def restart(turn: Turn) -> Noted:
    """Believe in nothing that was running or connected before; what was running is queued first.

    Nobody is to blame for the metaserver's own restart: no strike, no memory, no delay.
    """
    for server in list(turn.state.servers.values()):
        if server.connected:
            turn.state.put(evolve(server, connected=False))
    interrupted = [build for build in turn.state.builds.values() if build.state is BuildState.RUNNING]
    for attempt in list(turn.state.attempts.values()):
        aborting = attempt.state is AttemptState.ABORTING
        closed = evolve(
            attempt,
            state=AttemptState.ENDED,
            end=AttemptEnd.ABORTED if aborting else AttemptEnd.LOST,
            reason="the metaserver was restarted",
            ended_at=turn.now,
        )
        turn.state.put(closed)
    for build in interrupted:
        requeue(turn, evolve(build, first=True))
    turn.happened("metaserver-started", "metaserver")
    return Noted()


def _leave(turn: Turn, server: Server, reason: str) -> None:
    turn.state.put(evolve(server, connected=False, last_seen=turn.now, since=turn.now))
    turn.happened("server-disconnected", f"server/{server.name}", reason)
    state = turn.state
    # Each may be started elsewhere at once, so they go in the order of their places; an aborted one has no place.
    keys = list(state.attempts_of.get(server.name, ()))
    keys.sort(key=lambda key: place_of(state.builds[key[0]]) if key[0] in state.builds else (False, 0, 0))
    for key in keys:
        attempt = state.attempts[key]
        end(turn, attempt, AttemptEnd.LOST, f"contact with {server.name} was lost: {reason}")
