"""Why a Build waits, computed when somebody asks: reasons grouped over the servers, and what is ahead."""

from __future__ import annotations

from buildtool.domain.matching import Cause, Reason, group_words
from buildtool.domain.messages import ServerReasons, Why
from buildtool.domain.model import Build, Offer, Server
from buildtool.domain.state import State

NAMES_SHOWN = 20
"""At most so many servers are named with one reason; the others are counted."""

NAMES_SAID = 3
"""How many of them a line for people names."""


def why(state: State, build: Build, now: float) -> Why:
    """Return why an open Build has not been given to a server at wall time ``now``."""
    groups: dict[tuple[Reason, ...], list[str]] = {}
    for name in sorted(state.servers):
        groups.setdefault(server_reasons(state, build, state.servers[name], now), []).append(name)
    told = tuple(
        ServerReasons(reasons, tuple(names[:NAMES_SHOWN]), len(names))
        for reasons, names in sorted(groups.items(), key=lambda item: (len(item[0]), item[1]))
        if reasons
    )
    return Why(
        groups=told,
        servers=len(state.servers),
        ahead=state.queue.ahead(build),
        not_before=build.not_before if build.not_before > now else 0.0,
        nearest=_nearest(told),
    )


def server_reasons(state: State, build: Build, server: Server, now: float) -> tuple[Reason, ...]:  # noqa: PLR0911
    """Return what stands between a Build and a server: what it lacks, or else what keeps it from starting now."""
    verdict = state.verdict(build, server)
    if not isinstance(verdict, Offer):
        return verdict
    if not server.connected:
        return (Reason(Cause.OFFLINE),)
    if server.quarantined_until > now:
        return (Reason(Cause.QUARANTINED, have=server.quarantine_reason),)
    refusal = state.refusals.get((build.id, server.name))
    if refusal is not None and refusal.until > now:
        return (Reason(Cause.REFUSED, have=refusal.reason),)
    if server.name in build.failed_on:
        return (Reason(Cause.REFUSED, have="it failed there; another server is to confirm that"),)
    taken = state.load_of(server.name)
    if taken >= server.capability.max_builds:
        return (Reason(Cause.BUSY, wanted=server.capability.max_builds, have=taken),)
    return (Reason(Cause.DELAYED),) if build.not_before > now else ()


def lines(told: Why) -> tuple[str, ...]:
    """Return the answer for people, one line for each reason."""
    if not told.servers:
        return ("no build server is known yet; it will be built as soon as one that can comes",)
    said = [f"{_who(group)} {group_words(group.reasons)}" for group in told.groups]
    if told.ahead:
        said.append(f"{told.ahead} {'build waits' if told.ahead == 1 else 'builds wait'} before this one")
    return tuple(said)


def _who(group: ServerReasons) -> str:
    names = ", ".join(group.servers[:NAMES_SAID])
    more = f" and {group.count - NAMES_SAID} more" if group.count > NAMES_SAID else ""
    return f"{names}{more}:"


def _nearest(groups: tuple[ServerReasons, ...]) -> str:
    """Return in words what the server that comes nearest lacks, when none that is known could ever build it."""
    lacking = [group for group in groups if group.reasons and group.reasons[0].cause in _LACKS]
    if not lacking or len(lacking) != len(groups):
        return ""
    best = min(lacking, key=lambda group: len(group.reasons))
    return f"{best.servers[0]} {group_words(best.reasons)}"


_LACKS = frozenset({Cause.PROPERTY, Cause.PROJECT, Cause.RECIPE, Cause.DESCRIPTIONS, Cause.NATIVE})
