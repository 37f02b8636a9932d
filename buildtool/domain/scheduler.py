"""``decide``: one event in, one answer and the acts that follow out; nothing is performed here.

The state is changed in memory; the caller commits ``state.changes()`` and only then tells anybody, or takes the
decision back with ``state.rollback()``.
"""

from __future__ import annotations

from attrs import evolve, frozen

from buildtool.domain import admission, outcomes, presence
from buildtool.domain.dispatching import fill, start_somewhere
from buildtool.domain.messages import (
    Answer,
    ArtifactGone,
    AttemptAccepted,
    AttemptEnded,
    Cancelled,
    CancelRequested,
    Delivered,
    Disconnected,
    Effect,
    Event,
    Noted,
    Registered,
    Restarted,
    Submitted,
    Tick,
)
from buildtool.domain.model import AttemptEnd, AttemptState, Build, BuildState, ShelfKey
from buildtool.domain.state import State
from buildtool.domain.turn import Turn, close_build, withdraw

OFFER_LIMIT = 90.0
"""Seconds after which an Attempt that its server neither took nor refused is believed lost."""


@frozen
class Decision:
    """What the sender of the event is told, and what is to be done, both once the changes are committed."""

    answer: Answer
    effects: tuple[Effect, ...]


def decide(state: State, event: Event, now: float) -> Decision:
    """Take ``event`` in at wall time ``now`` (seconds). Raises nothing that an honest event can cause."""
    turn = Turn(state, now)
    answer = _answer(turn, event)
    turn.finish()
    return Decision(answer, tuple(turn.effects))


def shelves_needed(state: State, event: Event) -> tuple[ShelfKey, ...]:
    """Return the shelves that have to be in memory before ``event`` is decided.

    Whatever may end a Build may admit its Requests anew, each with its own revision.
    """
    match event:
        case Submitted():
            return event.demand.shelves()
        case Delivered():
            return _shelves_of_build(state, event.build_id)
        case AttemptEnded():
            return _shelves_of_build(state, event.build_id)
        case Disconnected() | Registered():
            return tuple(
                key
                for attempt_key in state.attempts_of.get(event.server, ())
                for key in _shelves_of_build(state, attempt_key[0])
            ) + _shelves_of_confirming(state)
        case ArtifactGone():
            return (event.artifact.shelf,)
        case _:
            return ()


def next_wake(state: State, now: float) -> float | None:
    """Return the wall time of the earliest timer that still means something, or None; forgets those that do not."""
    while state.timers:
        when, kind, key = state.timers[0]
        if _means_something(state, when, kind, key, now):
            return when
        state.pop_timer()
    return None


def _answer(turn: Turn, event: Event) -> Answer:  # noqa: C901, PLR0911 - one line for each kind of event
    match event:
        case Submitted():
            return admission.submit(turn, event)
        case CancelRequested():
            request = turn.state.requests.get(event.request_id)
            return Cancelled(withdraw(turn, request) if request is not None else None)
        case Registered():
            return presence.register(turn, event)
        case Disconnected():
            return presence.disconnect(turn, event)
        case AttemptAccepted():
            return outcomes.accepted(turn, event)
        case AttemptEnded():
            return outcomes.ended(turn, event)
        case Delivered():
            return outcomes.delivered(turn, event)
        case ArtifactGone():
            turn.state.append(evolve(event.artifact, withdrawn=event.reason))
            turn.happened("artifact-withdrawn", f"artifact/{event.artifact.id}", event.reason)
            return Noted()
        case Restarted():
            return presence.restart(turn)
        case Tick():
            return _tick(turn)


def _tick(turn: Turn) -> Noted:
    """Look at everything whose time has come."""
    state = turn.state
    due: list[tuple[str, object]] = []
    while state.timers and state.timers[0][0] <= turn.now:
        when, kind, key = state.pop_timer()
        if _means_something(state, when, kind, key, turn.now):
            due.append((kind, key))
    for kind, key in due:
        _due(turn, kind, key)
    for attempt in list(state.attempts.values()):
        if attempt.state is AttemptState.OFFERED and attempt.offered_at + OFFER_LIMIT <= turn.now:
            outcomes.end(turn, attempt, AttemptEnd.LOST, f"{attempt.server} did not answer the order")
            fill(turn, attempt.server)
    return Noted()


def _due(turn: Turn, kind: str, key: object) -> None:
    state = turn.state
    match kind:
        case "request":
            _expire(turn, int(str(key)))
        case "build":
            build = state.builds.get(int(str(key)))
            if build is not None and build.not_before and build.not_before <= turn.now:
                ready = evolve(build, not_before=0.0)
                state.put(ready)
                start_somewhere(turn, ready)
        case "server":
            server = state.servers.get(str(key))
            if server is not None and 0 < server.quarantined_until <= turn.now:
                state.put(evolve(server, quarantined_until=0.0, quarantine_reason=""))
                fill(turn, server.name)
        case "refusal" if isinstance(key, tuple):
            fill(turn, str(key[1]))


def _expire(turn: Turn, request_id: int) -> None:
    request = turn.state.requests.get(request_id)
    if request is None or request.expires_at > turn.now or request.build_id is None:
        return
    build = turn.state.builds[request.build_id]
    if build.state is not BuildState.QUEUED:
        return
    outcomes.expire(turn, request)
    if not turn.state.waiting_on.get(build.id):
        close_build(turn, build, BuildState.EXPIRED, "every request for it expired")


def _means_something(state: State, when: float, kind: str, key: object, now: float) -> bool:
    match kind:
        case "request":
            request = state.requests.get(int(str(key)))
            if request is None or request.expires_at != when:
                return False
            return when > now or _queued(state, request.build_id)
        case "build":
            build = state.builds.get(int(str(key)))
            return build is not None and build.not_before == when
        case "server":
            server = state.servers.get(str(key))
            return server is not None and server.quarantined_until == when
        case _:
            refusal = state.refusals.get(key) if isinstance(key, tuple) else None
            return refusal is not None and refusal.until == when and (when > now or refusal.server in state.free)


def _queued(state: State, build_id: int | None) -> bool:
    build = state.builds.get(build_id) if build_id is not None else None
    return build is not None and build.state is BuildState.QUEUED


def _shelves_of_build(state: State, build_id: int) -> tuple[ShelfKey, ...]:
    build: Build | None = state.builds.get(build_id)
    own = (build.spec.shelf(),) if build is not None else ()
    return own + tuple(request.demand.spec.shelf() for request in state.waiters(build_id))


def _shelves_of_confirming(state: State) -> tuple[ShelfKey, ...]:
    return tuple(key for build_id in state.confirming for key in _shelves_of_build(state, build_id))
