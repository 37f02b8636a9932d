"""The operator's hand: servers paused and resumed, builds aborted, failures forgotten, everything held."""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import BuildState, RequestState
from buildtool.scheduling import server_names
from buildtool.scheduling.answers import Noted
from buildtool.scheduling.attempts import settle_confirmations, tell_unsuccessful
from buildtool.scheduling.decision import DecisionContext, close_build
from buildtool.scheduling.events import (
    ArtifactGone,
    BuildAborted,
    DispatchHeld,
    FailureForgotten,
    Reconfigured,
    ServerForgotten,
    ServerPaused,
    ServerResumed,
)

Act = (
    ServerPaused | ServerResumed | ServerForgotten | BuildAborted | FailureForgotten | DispatchHeld | ArtifactGone
    | Reconfigured
)  # fmt: skip


def operate(context: DecisionContext, event: Act) -> Noted:  # noqa: PLR0911 - one line a kind
    """Perform an act of the operator; ``stale`` where it is so already, or there is no such server or open Build."""
    match event:
        case ServerPaused():
            return _pause(context, event.server, event.reason or "by the operator", event.by)
        case ServerResumed():
            return _pause(context, event.server, "", event.by)
        case ServerForgotten():
            return _forget(context, event)
        case BuildAborted():
            return _abort(context, event)
        case FailureForgotten():
            context.state.shelves.forget_failure(event.failure, context.now)
            context.happened("failure-forgotten", f"build/{event.failure.build_id}", audited("", event.by))
            return Noted()
        case DispatchHeld():
            return _hold(context, event)
        case ArtifactGone():
            context.state.append(evolve(event.artifact, withdrawn=event.reason))
            context.happened("artifact-withdrawn", f"artifact/{event.artifact.id}", audited(event.reason, event.by))
            return Noted()
        case Reconfigured():
            return _reconfigured(context)


def audited(detail: str, by: str) -> str:
    """Return the detail of an event with who did it, if an operator did."""
    return "; ".join(part for part in (detail, by and f"by {by}") if part)


def _pause(context: DecisionContext, name: str, reason: str, by: str) -> Noted:
    server = context.state.servers.get(name)
    if server is None or server.paused == reason:
        return Noted(stale=True)
    context.state.put(evolve(server, paused=reason))
    context.happened("server-paused" if reason else "server-resumed", f"server/{name}", audited(reason, by))
    context.freed.add(name)
    return Noted()


def _forget(context: DecisionContext, event: ServerForgotten) -> Noted:
    server = context.state.servers.get(event.server)
    if server is None or server.connected or server.name in server_names.busy_in(context.state):
        return Noted(stale=True)
    server_names.forget(context, server, audited("", event.by))
    return Noted()


def _abort(context: DecisionContext, event: BuildAborted) -> Noted:
    build = context.state.builds.get(event.build_id)
    if build is None:
        return Noted(stale=True)
    waiting = context.state.waiters(build.id)
    context.happened("build-aborted", f"build/{build.id}", audited(event.reason, event.by))
    close_build(context, build, BuildState.CANCELLED, event.reason)
    tell_unsuccessful(context, waiting, RequestState.CANCELLED, event.reason)
    return Noted()


def _hold(context: DecisionContext, event: DispatchHeld) -> Noted:
    state = context.state
    if state.slots.holding == event.held:
        return Noted(stale=True)
    state.slots.hold(held=event.held)
    context.happened("dispatch-held" if event.held else "dispatch-resumed", "metaserver", audited("", event.by))
    context.freed.update(state.slots.free)
    return Noted()


def _reconfigured(context: DecisionContext) -> Noted:
    context.happened("reconfigured", "metaserver")
    settle_confirmations(context)
    context.freed.update(context.state.slots.free)
    return Noted()
