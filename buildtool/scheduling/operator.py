"""The operator's hand: servers paused and resumed, names and failures forgotten, artifacts withdrawn, everything held.

Each act is ``stale`` where it is so already, or there is no such server.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.scheduling import events
from buildtool.scheduling.answers import Acknowledged
from buildtool.scheduling.attempts import settle_confirmations
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.servers import names


def pause(context: DecisionContext, event: events.ServerPaused) -> Acknowledged:
    """Stop giving a server builds until it is resumed."""
    return _pause(context, event.server, event.reason or "by the operator", event.by)


def drain(context: DecisionContext, event: events.ServerDrained) -> Acknowledged:
    """Stop giving a server builds until it is resumed, and note it when what it has is finished."""
    server = context.state.servers.get(event.server)
    reason = event.reason or "by the operator"
    if server is None or (server.paused == reason and (server.finishing or not _works(context, server.name))):
        return Acknowledged(stale=True)
    context.state.put(evolve(server, paused=reason, finishing=True))
    context.happened("server-drain-asked", f"server/{server.name}", reason, event.by)
    context.freed.add(server.name)
    return Acknowledged()


def note_finished(context: DecisionContext, name: str) -> None:
    """Record that a server which is drained has finished what it had."""
    server = context.state.servers.get(name)
    if server is not None and server.finishing and not _works(context, name):
        context.state.put(evolve(server, finishing=False))
        context.happened("server-drained", f"server/{name}", server.paused)


def _works(context: DecisionContext, name: str) -> bool:
    return bool(context.state.slots.attempts_of.get(name))


def resume(context: DecisionContext, event: events.ServerResumed) -> Acknowledged:
    """Start to give a server builds again."""
    return _pause(context, event.server, "", event.by)


def _pause(context: DecisionContext, name: str, reason: str, by: str) -> Acknowledged:
    server = context.state.servers.get(name)
    if server is None or server.paused == reason:
        return Acknowledged(stale=True)
    context.state.put(evolve(server, paused=reason, finishing=bool(reason) and server.finishing))
    context.happened("server-paused" if reason else "server-resumed", f"server/{name}", reason, by)
    context.freed.add(name)
    return Acknowledged()


def forget_server(context: DecisionContext, event: events.ServerForgotten) -> Acknowledged:
    """Forget a name that is neither connected nor has an Attempt."""
    server = context.state.servers.get(event.server)
    if server is None or server.connected or server.name in names.busy_in(context.state):
        return Acknowledged(stale=True)
    names.forget(context, server, "", event.by)
    return Acknowledged()


def forget_failure(context: DecisionContext, event: events.FailureForgotten) -> Acknowledged:
    """Forget a failure, so that the next request for the same has it built."""
    context.state.shelves.forget_failure(event.failure)
    context.happened("failure-forgotten", f"build/{event.failure.build_id}", by=event.by)
    return Acknowledged()


def withdraw_artifact(context: DecisionContext, event: events.ArtifactGone) -> Acknowledged:
    """Record that an artifact is given out no more."""
    context.state.append(evolve(event.artifact, withdrawn=event.reason))
    context.happened("artifact-withdrawn", f"artifact/{event.artifact.id}", event.reason, event.by)
    return Acknowledged()


def begin_expiry(context: DecisionContext, _event: events.ExpiryBegun) -> Acknowledged:
    """Record from now on which artifacts are promised."""
    context.state.hits.promised = set()
    return Acknowledged()


def expire_artifact(context: DecisionContext, event: events.ArtifactExpired) -> Acknowledged:
    """Record that an artifact is given out no more by a rule of what is kept; one that was promised meanwhile stays."""
    promised, shelf = context.state.hits.promised, context.state.shelves.get(event.artifact.shelf)
    gone = not shelf.more and all(one.id != event.artifact.id for one in shelf.artifacts)
    if promised is None or event.artifact.id in promised or gone:
        return Acknowledged(stale=True)
    context.state.append(evolve(event.artifact, withdrawn=event.reason))
    context.happened("artifact-expired", f"artifact/{event.artifact.id}", event.reason)
    return Acknowledged()


def hold(context: DecisionContext, event: events.DispatchHeld) -> Acknowledged:
    """Stop the start of all Builds, or allow it again."""
    state = context.state
    if state.slots.holding == event.held:
        return Acknowledged(stale=True)
    state.slots.hold(held=event.held)
    context.happened("dispatch-held" if event.held else "dispatch-resumed", "metaserver", by=event.by)
    context.freed.update(state.slots.free)
    return Acknowledged()


def reconfigure(context: DecisionContext, _event: events.Reconfigured) -> Acknowledged:
    """Start what can be built by the configuration that was just taken."""
    context.happened("reconfigured", "metaserver")
    settle_confirmations(context)
    context.freed.update(context.state.slots.free)
    return Acknowledged()
