"""``decide``: one event in, one answer and the acts that follow out; nothing is performed here.

The state is changed in memory; the caller commits ``state.changes()`` and only then tells anybody, or takes the
decision back with ``state.rollback()``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve, frozen

from buildtool.domain import admission, leases, names, operating, outcomes, presence
from buildtool.domain.explain import explain, explain_build
from buildtool.domain.messages import (
    Answer,
    ArtifactGone,
    ArtifactUnkept,
    AskedWhy,
    AttemptAccepted,
    AttemptEnded,
    BuildAborted,
    Cancelled,
    CancelRequested,
    ClockStepped,
    Delivered,
    Disconnected,
    DispatchHeld,
    DrainBegun,
    Effect,
    Event,
    Explain,
    Explained,
    FailureForgotten,
    HeldReported,
    Noted,
    Reconfigured,
    Registered,
    Restarted,
    ServerForgotten,
    ServerPaused,
    ServerResumed,
    Submitted,
    SubmittedTogether,
    Tick,
)
from buildtool.domain.model import Build, BuildState, ShelfKey
from buildtool.domain.ready import place_of
from buildtool.domain.settling import settle
from buildtool.domain.state import State
from buildtool.domain.turn import Turn, expire, withdraw

EXPIRED_AT_ONCE = 20
"""So many Requests expire in one decision: each is told why nobody built it, which is found out then."""


@frozen
class Decision:
    """What the sender of the event is told, and what is to be done, both once the changes are committed."""

    answer: Answer
    effects: tuple[Effect, ...]


def decide(state: State, event: Event, now: float) -> Decision:
    """Take ``event`` in at wall time ``now`` (seconds). Raises nothing that an honest event can cause."""
    turn = Turn(state, now)
    answer = _answer(turn, event)
    settle(turn)
    turn.finish()
    return Decision(answer, tuple(turn.effects))


def shelves_needed(state: State, event: Event) -> tuple[ShelfKey, ...]:  # noqa: PLR0911 - one line for each kind
    """Return the shelves that have to be in memory before ``event`` is decided.

    Whatever may end a Build may admit its Requests anew, each with its own revision.
    """
    match event:
        case Submitted() | Explain():
            return event.demand.shelves()
        case SubmittedTogether():
            return tuple(key for item in event.items for key in item.demand.shelves())
        case Delivered() | AttemptEnded() | BuildAborted():
            return _shelves_of_build(state, event.build_id)
        case FailureForgotten():
            return (event.failure.shelf,)
        case Disconnected() | Registered():
            return tuple(
                key
                for attempt_key in state.attempts_of.get(event.server, ())
                for key in _shelves_of_build(state, attempt_key[0])
            ) + _shelves_of_confirming(state)
        case ArtifactGone():
            return (event.artifact.shelf,)
        case Tick():
            return _shelves_of_attempts(state) + _shelves_of_confirming(state)
        case Reconfigured():
            return _shelves_of_confirming(state)
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


def _answer(turn: Turn, event: Event) -> Answer:  # noqa: C901, PLR0911, PLR0912 - one line a kind
    match event:
        case Submitted():
            return admission.submit(turn, event)
        case SubmittedTogether():
            return admission.submit_together(turn, event)
        case CancelRequested():
            request = turn.state.requests.get(event.request_id)
            return Cancelled(withdraw(turn, request) if request is not None else None)
        case Registered():
            return presence.register(turn, event)
        case Disconnected():
            return presence.disconnect(turn, event)
        case AttemptAccepted():
            return outcomes.accepted(turn, event)
        case ArtifactUnkept():
            return outcomes.unkept(turn, event)
        case AttemptEnded():
            return outcomes.ended(turn, event)
        case Delivered():
            return outcomes.delivered(turn, event)
        case HeldReported():
            return leases.heard(turn, event)
        case DrainBegun():
            return leases.drain(turn, event)
        case Restarted():
            return presence.restart(turn)
        case ClockStepped():
            return presence.step_clock(turn, event)
        case (
            ServerPaused() | ServerResumed() | ServerForgotten() | BuildAborted() | FailureForgotten() | DispatchHeld()
        ):
            return operating.operate(turn, event)
        case ArtifactGone() | Reconfigured():
            return operating.operate(turn, event)
        case Explain():
            return explain(turn.state, event, turn.now)
        case AskedWhy():
            build = turn.state.builds.get(event.build_id)
            return explain_build(turn.state, build, turn.now) if build is not None else Explained("")
        case Tick():
            return _tick(turn)


def _tick(turn: Turn) -> Noted:
    """Look at everything whose time has come: what has expired goes first, then all that may start, in its order.

    Where many Requests expire the others wait for the next Tick, which ``next_wake`` asks for at once.
    """
    state = turn.state
    presence.beat(turn)
    kinds = ("lease", "absence", "request", "build", "server", "refusal")
    due: dict[str, dict[Any, None]] = {kind: {} for kind in kinds}
    while state.timers and state.timers[0][0] <= turn.now and len(due["request"]) < EXPIRED_AT_ONCE:
        when, kind, key = state.pop_timer()
        if _means_something(state, when, kind, key, turn.now):
            due[kind][key] = None
    for request_id in due["request"]:
        _expire(turn, request_id)
    _expire_leases(turn, due["lease"])
    for name in due["absence"]:
        presence.look_at_absent(turn, name)
    for build_id in due["build"]:
        if build_id in state.builds:
            state.put(evolve(state.builds[build_id], not_before=0.0))
            turn.again.add(build_id)
    for name in due["server"]:
        state.put(evolve(state.servers[name], quarantined_until=0.0, quarantine_reason=""))
    turn.freed.update(due["server"], (server for _, server in due["refusal"]))
    names.forget_old(turn)
    return Noted()


def _expire_leases(turn: Turn, keys: Iterable[tuple[int, int]]) -> None:
    """End the belief in Attempts that were not heard of, in the order of their Builds' places."""
    state = turn.state
    for key in sorted(keys, key=lambda key: place_of(state.builds[key[0]]) if key[0] in state.builds else (0, 0)):
        lease = state.leases.get(key)
        if lease is not None and lease.until <= turn.now:
            leases.expire_lease(turn, state.attempts[key])


def _expire(turn: Turn, request_id: int) -> None:
    request = turn.state.requests.get(request_id)
    if request is None or request.expires_at > turn.now or request.build_id is None:
        return
    if turn.state.builds[request.build_id].state is BuildState.QUEUED:
        expire(turn, request)


def _means_something(state: State, when: float, kind: str, key: object, now: float) -> bool:  # noqa: PLR0911
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
        case "lease":
            return isinstance(key, tuple) and key in state.leases and state.leases[key].until == when
        case "absence":
            return key in state.absent
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


def _shelves_of_attempts(state: State) -> tuple[ShelfKey, ...]:
    """Return the shelves that are needed should any Attempt be believed lost."""
    return tuple(key for attempt in state.attempts.values() for key in _shelves_of_build(state, attempt.build_id))


def _shelves_of_confirming(state: State) -> tuple[ShelfKey, ...]:
    return tuple(key for build_id in state.confirming for key in _shelves_of_build(state, build_id))
