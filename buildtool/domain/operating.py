"""The operator's hand: servers paused and resumed, builds aborted, failures forgotten, everything held."""

from __future__ import annotations

from attrs import evolve

from buildtool.domain.dispatching import fill
from buildtool.domain.messages import (
    BuildAborted,
    DispatchHeld,
    FailureForgotten,
    Noted,
    ServerPaused,
    ServerResumed,
)
from buildtool.domain.model import BuildState, RequestState
from buildtool.domain.outcomes import tell_unsuccessful
from buildtool.domain.turn import Turn, close_build

Act = ServerPaused | ServerResumed | BuildAborted | FailureForgotten | DispatchHeld


def operate(turn: Turn, event: Act) -> Noted:
    """Do what the operator says. ``stale`` when it is so already, or there is no such server or open Build."""
    match event:
        case ServerPaused():
            return _pause(turn, event.server, event.reason or "by the operator")
        case ServerResumed():
            return _pause(turn, event.server, "")
        case BuildAborted():
            return _abort(turn, event)
        case FailureForgotten():
            turn.state.forget_failure(event.failure, turn.now)
            turn.happened("failure-forgotten", f"build/{event.failure.build_id}")
            return Noted()
        case DispatchHeld():
            return _hold(turn, held=event.held)


def _pause(turn: Turn, name: str, reason: str) -> Noted:
    server = turn.state.servers.get(name)
    if server is None or server.paused == reason:
        return Noted(stale=True)
    turn.state.put(evolve(server, paused=reason))
    turn.happened("server-paused" if reason else "server-resumed", f"server/{name}", reason)
    fill(turn, name)
    return Noted()


def _abort(turn: Turn, event: BuildAborted) -> Noted:
    build = turn.state.builds.get(event.build_id)
    if build is None:
        return Noted(stale=True)
    waiting = turn.state.waiters(build.id)
    close_build(turn, build, BuildState.CANCELLED, event.reason)
    tell_unsuccessful(turn, waiting, RequestState.CANCELLED, event.reason)
    return Noted()


def _hold(turn: Turn, *, held: bool) -> Noted:
    state = turn.state
    if state.holding == held:
        return Noted(stale=True)
    state.hold_dispatch(held=held)
    turn.happened("dispatch-held" if held else "dispatch-resumed", "metaserver")
    for name in sorted(state.free):
        fill(turn, name)
    return Noted()
