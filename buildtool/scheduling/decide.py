"""``decide``: one event in, one answer and the acts that follow out; nothing is performed here.

The state is changed in memory; the caller commits ``state.journal.rows()`` and only then tells anybody, or takes the
decision back with ``state.journal.rollback()``.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, assert_never

from attrs import evolve, frozen

from buildtool.model.records import Build, BuildState, ShelfKey
from buildtool.scheduling import admission, attempts, cancelling, events, explain, operator, restart
from buildtool.scheduling.admission import admit_anew
from buildtool.scheduling.answers import Acknowledged, Answer
from buildtool.scheduling.attempts import settle_confirmations
from buildtool.scheduling.decision import DecisionContext, expire, expire_held
from buildtool.scheduling.dispatching import fill, start_waiting
from buildtool.scheduling.effects import Effect
from buildtool.scheduling.order import moving, placing
from buildtool.scheduling.order.rounds import Place, place_of
from buildtool.scheduling.servers import leases, names, quarantine, sessions
from buildtool.scheduling.state import timers
from buildtool.scheduling.state.state import State
from buildtool.scheduling.state.timers import RULES, TimerKey, TimerKind

EXPIRED_AT_ONCE = 20
"""So many Requests expire in one decision: each is told why nobody built it, which is found out then."""


@frozen
class Decision:
    """The answer to an event and the effects to perform, both once the changes are committed."""

    answer: Answer
    effects: tuple[Effect, ...]


def decide(state: State, event: events.Event, now: float) -> Decision:
    """Take ``event`` in at wall time ``now`` (seconds). Raises nothing that an honest event can cause."""
    context = DecisionContext(state, now)
    answer = ANSWERS[type(event)](context, event)
    settle(context)
    context.finish()
    return Decision(answer, tuple(context.effects))


def shelves_needed(state: State, event: events.Event) -> tuple[ShelfKey, ...]:  # noqa: PLR0911 - one line for each kind
    """Return the shelves that have to be in memory before ``event`` is decided.

    Whatever may end a Build may admit its Requests anew, each with its own revision.
    """
    match event:
        case events.Submitted() | events.Explain() | events.AddressConfirmed():
            return event.demand.shelves
        case events.SubmittedTogether():
            return tuple(key for item in event.items for key in item.demand.shelves)
        case events.Delivered() | events.AttemptEnded() | events.BuildAborted():
            return _shelves_of_build(state, event.build_id)
        case events.FailureForgotten():
            return (event.failure.shelf,)
        case events.Disconnected() | events.Registered():
            return tuple(
                key
                for attempt_key in state.slots.attempts_of.get(event.server, ())
                for key in _shelves_of_build(state, attempt_key[0])
            ) + _shelves_of_confirming(state)
        case events.ArtifactGone() | events.ArtifactExpired():
            return (event.artifact.shelf,)
        case events.Tick():
            return _shelves_of_attempts(state) + _shelves_of_confirming(state)
        case events.Reconfigured():
            return _shelves_of_confirming(state)
        case _:
            return ()


def _tick(context: DecisionContext, _event: events.Tick) -> Acknowledged:
    """Decide everything whose time has come, kind by kind; within a kind what was due first is decided first.

    Where many Requests expire the others wait for the next Tick, which ``timers.next_due`` asks for at once.
    """
    restart.beat(context)
    for event in _due(context):
        _on_time(context, event)
    names.forget_old(context)
    return Acknowledged()


def _due(context: DecisionContext) -> list[timers.TimedEvent]:
    """Return what has become due, in the order in which it is decided; Leases in the order of their Builds' places."""
    state = context.state
    due: dict[TimerKind, list[TimerKey]] = {kind: [] for kind in TimerKind}
    while len(due[TimerKind.REQUEST]) < EXPIRED_AT_ONCE and (timer := state.timers.take(context.now)) is not None:
        due[timer.kind].append(timer.key)
    due[TimerKind.LEASE].sort(key=partial(_lease_place, state))
    return [RULES[kind].event(key) for kind, keys in due.items() for key in keys]


def _lease_place(state: State, key: tuple[int, int]) -> Place:
    return place_of(state.builds[key[0]]) if key[0] in state.builds else (0.0, 0, 0)


def _on_time(context: DecisionContext, event: timers.TimedEvent) -> None:
    state = context.state
    match event:
        case timers.RequestExpired():
            _expire(context, event.request_id)
        case timers.LeaseExpired():
            lease = state.leases.of.get(event.key)
            if lease is not None and lease.until <= context.now:
                leases.expire_lease(context, state.attempts[event.key])
        case timers.AbsenceNoticed():
            settle_confirmations(context)
        case timers.OwnerDue():
            sessions.tell_owner(context, event.server)
        case timers.RetryDue():
            if event.build_id in state.builds:
                state.put(evolve(state.builds[event.build_id], not_before=0.0))
                context.again.add(event.build_id)
        case timers.QuarantineOver():
            quarantine.end_quarantine(context, event)
        case timers.RefusalOver():
            context.freed.add(event.key[1])
        case _:
            assert_never(event)


def _expire(context: DecisionContext, request_id: int) -> None:
    request = context.state.requests.get(request_id)
    if request is None or request.expires_at > context.now:
        return
    if request.held:
        expire_held(context, request)
    elif request.build_id is not None and context.state.builds[request.build_id].state is BuildState.QUEUED:
        expire(context, request)


def _shelves_of_build(state: State, build_id: int) -> tuple[ShelfKey, ...]:
    build: Build | None = state.builds.get(build_id)
    own = (build.spec.shelf,) if build is not None else ()
    return own + tuple(request.demand.spec.shelf for request in state.waiters(build_id))


def _shelves_of_attempts(state: State) -> tuple[ShelfKey, ...]:
    """Return the shelves that are needed should any Attempt be believed lost."""
    return tuple(key for attempt in state.attempts.values() for key in _shelves_of_build(state, attempt.build_id))


def _shelves_of_confirming(state: State) -> tuple[ShelfKey, ...]:
    return tuple(key for build_id in state.records.confirming for key in _shelves_of_build(state, build_id))


def settle(context: DecisionContext) -> None:
    """Move Builds to the place of who still waits for them, and admit anew the Requests that left theirs.

    Then what waits again is started, and what was freed is filled.
    """
    state = context.state
    for build_id in sorted(context.left):
        placing.replace(context, build_id)
    for request_id in sorted(context.anew):
        admit_anew(context, state.requests[request_id])
    for place in _in_order(state, context.again):
        start_waiting(context, place[2])
    for name in sorted(context.freed, key=lambda one: (state.reluctance.of(one, context.now), one)):
        fill(context, name)
        operator.note_finished(context, name)


def _in_order(state: State, again: Iterable[int]) -> list[Place]:
    """Return the places of those of some Builds that are open, the first in the order first."""
    return sorted(place_of(state.builds[key]) for key in again if key in state.builds)


ANSWERS: Mapping[type[events.Event], Callable[[DecisionContext, Any], Answer]] = {
    events.Submitted: admission.submit_one,
    events.SubmittedTogether: admission.submit_together,
    events.AddressConfirmed: admission.release,
    events.CancelRequested: cancelling.cancel,
    events.NiceSet: moving.set_nice,
    events.Registered: sessions.register,
    events.Disconnected: sessions.disconnect,
    events.DrainBegun: leases.drain,
    events.HeldReported: leases.heard,
    events.AttemptAccepted: attempts.accepted,
    events.ArtifactUnkept: attempts.unkept,
    events.AttemptEnded: attempts.ended,
    events.Delivered: attempts.delivered,
    events.ArtifactGone: operator.withdraw_artifact,
    events.ExpiryBegun: operator.begin_expiry,
    events.ArtifactExpired: operator.expire_artifact,
    events.Restarted: restart.restart,
    events.ClockStepped: restart.step_clock,
    events.ServerPaused: operator.pause,
    events.ServerDrained: operator.drain,
    events.ServerResumed: operator.resume,
    events.ServerForgotten: operator.forget_server,
    events.BuildAborted: cancelling.abort,
    events.FailureForgotten: operator.forget_failure,
    events.DispatchHeld: operator.hold,
    events.Reconfigured: operator.reconfigure,
    events.Explain: explain.explain,
    events.AskedWhy: explain.explain_open,
    events.Tick: _tick,
}
"""What decides each kind of event."""
