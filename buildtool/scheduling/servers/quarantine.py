"""When a machine is quarantined: after breaking builds in a row, for longer each time; and what ends that.

The test is tests/scheduling/test_failures.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.policy import Policy
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.state.timers import QuarantineOver


def strike(context: DecisionContext, name: str, policy: Policy, reason: str) -> None:
    """Count that a server broke a build; with ``policy.strikes`` in a row it is given nothing more for a while."""
    server = context.state.servers[name]
    strikes = server.strikes + 1
    if strikes < policy.strikes:
        context.state.put(evolve(server, strikes=strikes))
        return
    seconds = min(policy.quarantine_most, policy.quarantine_first * 2.0 ** min(server.quarantines, 30))
    context.state.put(
        evolve(
            server,
            strikes=0,
            quarantines=server.quarantines + 1,
            quarantined_until=context.now + seconds,
            quarantine_reason=f"broke {policy.strikes} builds in a row; last: {reason}",
        )
    )
    context.happened("server-quarantined", f"server/{name}", f"for {seconds:.0f} s")


def absolve(context: DecisionContext, name: str) -> None:
    """Clear the strikes of a server: it finished a Build, or the Build it broke on breaks everywhere."""
    server = context.state.servers.get(name)
    if server is not None and (server.strikes or server.quarantines or server.quarantined_until):
        context.state.put(evolve(server, strikes=0, quarantines=0, quarantined_until=0.0, quarantine_reason=""))


def give_strike_back(context: DecisionContext, name: str, project: str) -> None:
    """Take back the last strike, and the quarantine if it was that strike which led there."""
    server = context.state.servers[name]
    if server.strikes:
        context.state.put(evolve(server, strikes=server.strikes - 1))
    elif server.quarantined_until:
        left = context.state.projects.policy(project).strikes - 1
        earlier = max(0, server.quarantines - 1)
        free = evolve(server, strikes=left, quarantines=earlier, quarantined_until=0.0, quarantine_reason="")
        context.state.put(free)


def end_quarantine(context: DecisionContext, event: QuarantineOver) -> None:
    """Start to give a server builds again."""
    context.state.put(evolve(context.state.servers[event.server], quarantined_until=0.0, quarantine_reason=""))
    context.freed.add(event.server)
