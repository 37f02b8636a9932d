"""The operator's hand: servers paused and resumed, builds aborted, failures forgotten, everything held."""

from __future__ import annotations

from attrs import evolve

from buildtool.domain import names
from buildtool.domain.messages import (
    ArtifactGone,
    BuildAborted,
    DispatchHeld,
    FailureForgotten,
    Noted,
    Reconfigured,
    ServerForgotten,
    ServerPaused,
    ServerResumed,
)
from buildtool.domain.model import BuildState, RequestState
from buildtool.domain.outcomes import settle_confirmations, tell_unsuccessful
from buildtool.domain.turn import Turn, close_build

Act = (
    ServerPaused | ServerResumed | ServerForgotten | BuildAborted | FailureForgotten | DispatchHeld | ArtifactGone
    | Reconfigured
)  # fmt: skip


def operate(turn: Turn, event: Act) -> Noted:  # noqa: PLR0911 - one line a kind
    """Do what the operator says. ``stale`` when it is so already, or there is no such server or open Build."""
    match event:
        case ServerPaused():
            return _pause(turn, event.server, event.reason or "by the operator", event.by)
        case ServerResumed():
            return _pause(turn, event.server, "", event.by)
        case ServerForgotten():
            return _forget(turn, event)
        case BuildAborted():
            return _abort(turn, event)
        case FailureForgotten():
            turn.state.forget_failure(event.failure, turn.now)
            turn.happened("failure-forgotten", f"build/{event.failure.build_id}", audited("", event.by))
            return Noted()
        case DispatchHeld():
            return _hold(turn, event)
        case ArtifactGone():
            turn.state.append(evolve(event.artifact, withdrawn=event.reason))
            turn.happened("artifact-withdrawn", f"artifact/{event.artifact.id}", audited(event.reason, event.by))
            return Noted()
        case Reconfigured():
            return _reconfigured(turn)


def audited(detail: str, by: str) -> str:
    """Return the detail of an event with who did it, if an operator did."""
    return "; ".join(part for part in (detail, by and f"by {by}") if part)


def _pause(turn: Turn, name: str, reason: str, by: str) -> Noted:
    server = turn.state.servers.get(name)
    if server is None or server.paused == reason:
        return Noted(stale=True)
    turn.state.put(evolve(server, paused=reason))
    turn.happened("server-paused" if reason else "server-resumed", f"server/{name}", audited(reason, by))
    turn.freed.add(name)
    return Noted()


def _forget(turn: Turn, event: ServerForgotten) -> Noted:
    server = turn.state.servers.get(event.server)
    if server is None or server.connected or server.name in names.busy_in(turn.state):
        return Noted(stale=True)
    names.forget(turn, server, audited("", event.by))
    return Noted()


def _abort(turn: Turn, event: BuildAborted) -> Noted:
    build = turn.state.builds.get(event.build_id)
    if build is None:
        return Noted(stale=True)
    waiting = turn.state.waiters(build.id)
    turn.happened("build-aborted", f"build/{build.id}", audited(event.reason, event.by))
    close_build(turn, build, BuildState.CANCELLED, event.reason)
    tell_unsuccessful(turn, waiting, RequestState.CANCELLED, event.reason)
    return Noted()


def _hold(turn: Turn, event: DispatchHeld) -> Noted:
    state = turn.state
    if state.holding == event.held:
        return Noted(stale=True)
    state.hold_dispatch(held=event.held)
    turn.happened("dispatch-held" if event.held else "dispatch-resumed", "metaserver", audited("", event.by))
    turn.freed.update(state.free)
    return Noted()


def _reconfigured(turn: Turn) -> Noted:
    turn.happened("reconfigured", "metaserver")
    settle_confirmations(turn)
    turn.freed.update(turn.state.free)
    return Noted()
