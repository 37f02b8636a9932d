"""States of Request, Build and Attempt, and one transition table each; a step that is not in its table raises.

The state diagrams in ``docs/lifecycles.rst`` are checked against these tables.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar

from buildtool.errors import IllegalTransition
from buildtool.model.servers import QuickEnum

_S = TypeVar("_S", bound=enum.Enum)


class RequestState(QuickEnum):
    """The state of a Request; every one but WAITING is an end."""

    WAITING = "waiting"
    SATISFIED = "satisfied"
    FAILED = "failed"
    UNBUILDABLE = "unbuildable"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class BuildState(QuickEnum):
    """The state of a Build; QUEUED and RUNNING are open, the others are its Outcome."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNBUILDABLE = "unbuildable"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class AttemptState(QuickEnum):
    """The state of an Attempt: offered to its server, building there, told to stop, missing, or ended.

    A MISSING one was not heard of until its Lease ran out: it takes no slot, its Build waits for another server, and it
    may still come back.
    """

    OFFERED = "offered"
    BUILDING = "building"
    ABORTING = "aborting"
    MISSING = "missing"
    ENDED = "ended"


class AttemptEnd(QuickEnum):
    """The way in which an Attempt ended, which says whose failure it was.

    FAILED and MISTAKEN are the project's: the first may be repeated elsewhere, the second no machine could do better.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    MISTAKEN = "mistake of the project"
    LOST = "lost"
    REFUSED = "refused"
    RETURNED = "returned"
    BROKEN = "broken machine"
    LIMITED = "over the machine's limit"
    ABORTED = "aborted"


class JoinReason(QuickEnum):
    """The reason why a Request waits for its Build: it is its own, whatever satisfies it does, or this Attempt will."""

    OWN = "own"
    IMPLICATION = "implication"
    ATTEMPT = "attempt"
    RANGE = "range"


REQUEST: Mapping[RequestState | None, frozenset[RequestState]] = {
    None: frozenset({RequestState.WAITING, RequestState.SATISFIED, RequestState.FAILED}),
    RequestState.WAITING: frozenset(
        {
            RequestState.SATISFIED,
            RequestState.FAILED,
            RequestState.UNBUILDABLE,
            RequestState.CANCELLED,
            RequestState.EXPIRED,
            RequestState.SUPERSEDED,
        }
    ),
}
"""A Request is born waiting, satisfied (a hit) or failed (remembered); it ends once. None is before its birth."""

BUILD: Mapping[BuildState | None, frozenset[BuildState]] = {
    None: frozenset({BuildState.QUEUED}),
    BuildState.QUEUED: frozenset(
        {BuildState.RUNNING, BuildState.SUCCEEDED, BuildState.FAILED, BuildState.CANCELLED, BuildState.EXPIRED}
    ),
    BuildState.RUNNING: frozenset(
        {BuildState.QUEUED, BuildState.SUCCEEDED, BuildState.FAILED, BuildState.UNBUILDABLE, BuildState.CANCELLED}
    ),
}
"""A Build queues, runs, and may queue again. A queued one fails when nobody is left to confirm its failure, and
succeeds when an Attempt that was missing delivers after all."""

ATTEMPT: Mapping[AttemptState | None, frozenset[AttemptState]] = {
    None: frozenset({AttemptState.OFFERED}),
    AttemptState.OFFERED: frozenset(
        {AttemptState.BUILDING, AttemptState.ABORTING, AttemptState.MISSING, AttemptState.ENDED}
    ),
    AttemptState.BUILDING: frozenset({AttemptState.ABORTING, AttemptState.MISSING, AttemptState.ENDED}),
    AttemptState.ABORTING: frozenset({AttemptState.ENDED}),
    AttemptState.MISSING: frozenset({AttemptState.BUILDING, AttemptState.ENDED}),
}
"""An Attempt that is told to stop keeps its slot until its server says that the processes are gone, or its Lease ends;
one whose Lease has ended may come back."""


def check(table: Mapping[_S | None, frozenset[_S]], old: _S | None, new: _S) -> None:
    """Raise IllegalTransition unless ``table`` allows the step; staying in a state is no step."""
    if old is new:
        return
    if new not in table.get(old, frozenset()):
        was = old.value if old is not None else "nothing"
        raise IllegalTransition(f"a {type(new).__name__.removesuffix('State')} cannot go from {was} to {new.value}")


def ends(table: Mapping[_S | None, frozenset[_S]]) -> frozenset[_S]:
    """Return the states of ``table`` that nothing leaves."""
    reached = frozenset(state for targets in table.values() for state in targets)
    return frozenset(state for state in reached if state not in table)
