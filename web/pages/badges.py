"""Which tone and words each state has. Every state has a line here; a test walks the enumerations."""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.model.records import Attempt, AttemptEnd, AttemptState, BuildState, JoinReason, RequestState
from buildtool.model.servers import OfferKind, Server
from buildtool.model.trust.evidence import Evidence, SandboxLevel

from .views import Badge

BUILD: Mapping[BuildState, Badge] = {
    BuildState.QUEUED: Badge("wait", "queued"),
    BuildState.RUNNING: Badge("busy", "running"),
    BuildState.SUCCEEDED: Badge("ok", "succeeded"),
    BuildState.FAILED: Badge("bad", "failed"),
    BuildState.UNBUILDABLE: Badge("bad", "unbuildable", "broken"),
    BuildState.CANCELLED: Badge("quiet", "cancelled"),
    BuildState.EXPIRED: Badge("quiet", "expired", "expired"),
}

REQUEST: Mapping[RequestState, Badge] = {
    RequestState.WAITING: Badge("wait", "waiting"),
    RequestState.SATISFIED: Badge("ok", "satisfied"),
    RequestState.FAILED: Badge("bad", "failed"),
    RequestState.UNBUILDABLE: Badge("bad", "unbuildable", "broken"),
    RequestState.CANCELLED: Badge("quiet", "cancelled"),
    RequestState.EXPIRED: Badge("quiet", "expired", "expired"),
    RequestState.SUPERSEDED: Badge("quiet", "superseded"),
}

_GOING: Mapping[AttemptState, Badge] = {
    AttemptState.OFFERED: Badge("wait", "offered"),
    AttemptState.BUILDING: Badge("busy", "building"),
    AttemptState.ABORTING: Badge("wait", "stopping"),
    AttemptState.MISSING: Badge("wait", "missing"),
    AttemptState.ENDED: Badge("quiet", "ended"),
}

_ENDED: Mapping[AttemptEnd, Badge] = {
    AttemptEnd.SUCCEEDED: Badge("ok", "succeeded"),
    AttemptEnd.FAILED: Badge("bad", "failed"),
    AttemptEnd.MISTAKEN: Badge("bad", "mistake of the project"),
    AttemptEnd.LOST: Badge("quiet", "lost"),
    AttemptEnd.REFUSED: Badge("quiet", "refused"),
    AttemptEnd.RETURNED: Badge("quiet", "returned"),
    AttemptEnd.BROKEN: Badge("wait", "broken machine", "broken"),
    AttemptEnd.LIMITED: Badge("wait", "over the machine's limit", "broken"),
    AttemptEnd.ABORTED: Badge("quiet", "aborted"),
}


def made(kind: OfferKind, evidence: Evidence) -> str:
    """Return how something is made, in which sandbox where there is one, and whether its source is not trusted."""
    within = "" if evidence.sandbox is SandboxLevel.NONE else evidence.sandbox.words
    return ", ".join(filter(None, (kind.words, within, evidence.source.words)))


JOINED: Mapping[JoinReason, str] = {
    JoinReason.OWN: "exactly this build",
    JoinReason.IMPLICATION: "whatever satisfies this build will do",
    JoinReason.ATTEMPT: "the platform it is being built for will do",
    JoinReason.RANGE: "a revision near enough",
}


def attempt(it: Attempt) -> Badge:
    """Return the state or end of an Attempt. One that is missing has an end too, until it comes back."""
    if it.state is AttemptState.ENDED and it.end is not None:
        return _ENDED[it.end]
    if it.frozen_at is not None and it.state is AttemptState.BUILDING:
        return Badge("wait", "frozen", "paused")
    return _GOING[it.state]


def server(it: Server, running: int, now: float) -> Badge:
    """Return the state of a build server at ``now``, wall time in seconds."""
    if not it.connected:
        return Badge("bad", "missing", "broken") if it.missing_since else Badge("quiet", "not connected")
    if it.paused:
        return Badge("wait", "draining" if it.finishing else "paused", "paused")
    if it.quarantined_until > now:
        return Badge("bad", "quarantined", "broken")
    if it.draining or it.closed:
        return Badge("wait", "draining" if it.draining else "its owner's", "paused")
    if running >= it.capability.max_builds:
        return Badge("busy", "busy")
    return Badge("busy", "building") if running else Badge("ok", "idle")
