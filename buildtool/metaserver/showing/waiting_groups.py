"""Why builds wait, grouped by what each waits for, with what happens next. Pure: computed when somebody asks.

Builds that ask for the same of a build server wait for the same, unless one has a history of its own: so as many are
looked at as there are kinds, however long the queue is.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from buildtool.model.matching.reasons import Cause, group_words
from buildtool.model.options import Canonical
from buildtool.model.records import Build, BuildState
from buildtool.scheduling.answers import ServerReasons, WaitReasons
from buildtool.scheduling.state.estimates import Estimate
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import NAMES_SHOWN, NOBODY_YET, why

QUEUE_LOOKED_AT = 20_000
"""So many builds, the first in the queue, are grouped; the others are counted."""

KINDS_LOOKED_AT = 60
"""For so many kinds of builds it is found out why they wait; the others are counted."""

TURNED_AFTER = 1_000
"""After so many builds others may be served."""

BUILDS_NAMED = 20
"""So many builds of a group, the first in the queue, are named."""

PROMISING = (
    Cause.BUSY,
    Cause.DELAYED,
    Cause.REFUSED,
    Cause.QUARANTINED,
    Cause.CLOSED,
    Cause.PAUSED,
    Cause.OFFLINE,
)
"""What a build that some build server can build waits for: of several, the first of these that is so."""


@frozen
class WaitGroup:
    """A number of builds that wait for the same: ``cause`` names it, ``never`` where nothing that is known could help.

    ``words`` say it of ``servers``, of which there are ``server_count``. ``builds`` are the first in the queue.
    ``estimate`` is when the first of them may start, ``next`` what happens next where no time is known. ``platforms``
    says how many are for which platform.
    """

    cause: str
    words: str
    servers: tuple[str, ...]
    server_count: int
    builds: tuple[int, ...]
    count: int
    estimate: Estimate | None
    next: str
    platforms: Mapping[Canonical, int] = field(factory=dict)


@frozen
class Waiting:
    """All groups, the largest first, and how many builds wait whose reasons were not looked for."""

    groups: tuple[WaitGroup, ...]
    unseen: int


@define
class _Growing:
    """A group while it is put together."""

    told: WaitReasons
    cause: str
    words: str
    servers: ServerReasons | None
    builds: list[int] = field(factory=list)
    count: int = 0
    platforms: Counter[Canonical] = field(factory=Counter)


def grouped(state: State, now: float, sees: Callable[[Build], bool]) -> Iterator[Waiting | None]:
    """Return why those builds wait at wall time ``now`` that a caller sees; None before each look, which takes a while.

    The last that is returned is the answer: between two looks others may be served.
    """
    queued = [one for one in state.builds.values() if one.state is BuildState.QUEUED and sees(one)]
    first = heapq.nsmallest(QUEUE_LOOKED_AT, queued, key=lambda one: (one.place, one.id))
    refused = {build_id for build_id, _ in state.refusals}
    kinds: dict[Hashable, tuple[str, str]] = {}
    groups: dict[tuple[str, str], _Growing] = {}
    unseen = len(queued) - len(first)
    for number, build in enumerate(first, 1):
        if not number % TURNED_AFTER:
            yield None
        kind = kind_of(build, now, refused)
        if kind not in kinds:
            if len(kinds) >= KINDS_LOOKED_AT:
                unseen += 1
                continue
            yield None
            if build.id not in state.builds:
                continue  # it has begun, or ended, meanwhile
            found = _named(why(state, build, now))
            kinds[kind] = found.cause, found.words
            groups.setdefault((found.cause, found.words), found)
        group = groups[kinds[kind]]
        group.count += 1
        group.platforms[build.spec.platform] += 1
        if len(group.builds) < BUILDS_NAMED:
            group.builds.append(build.id)
    largest = sorted(groups.values(), key=lambda one: (-one.count, one.builds))
    yield Waiting(tuple(map(_finished, largest)), unseen)


def kind_of(build: Build, now: float, refused: Collection[int]) -> Hashable:
    """Return what a build has in common with those that wait for the same; ``now`` is wall time in seconds."""
    spec = build.spec
    own: Any = build.id if build.id in refused or build.failed_on or build.not_before > now else None
    return spec.demand_class, spec.source, own


def cause_of(told: WaitReasons) -> str:
    """Return what is waited for, in one word."""
    return _named(told).cause


def _named(told: WaitReasons) -> _Growing:
    """Return the group of builds that wait for these reasons, with nothing in it."""
    if told.halted:
        return _Growing(told, "halted", told.halted, None)
    if not told.servers:
        return _Growing(told, "never", NOBODY_YET[0], None)
    for cause in PROMISING:
        found = [group for group in told.groups if group.reasons and group.reasons[0].cause is cause]
        if found:
            words = _words(cause, found[0])
            same = [group for group in found if _words(cause, group) == words]
            names = tuple(name for group in same for name in group.servers)
            servers = ServerReasons(found[0].reasons, names[:NAMES_SHOWN], sum(group.count for group in same))
            return _Growing(told, cause.value, words, servers)
    return _Growing(
        told, "never", told.nearest.partition("; ")[0] or "no build server that is known can build it", None
    )


def _words(cause: Cause, group: ServerReasons) -> str:
    """Return what is waited for, without what changes while one waits."""
    match cause:
        case Cause.BUSY:
            return "a slot to be free"
        case Cause.OFFLINE:
            return "a build server to connect"
        case Cause.DELAYED:
            return "the time at which it is tried again"
        case _:
            return group_words(evolve(reason, note="") for reason in group.reasons)


def _finished(group: _Growing) -> WaitGroup:
    told, servers = group.told, group.servers
    then = told.nearest.partition("; ")[2] if group.cause == "never" else ""
    return WaitGroup(
        cause=group.cause,
        words=group.words,
        servers=servers.servers if servers is not None else (),
        server_count=servers.count if servers is not None else 0,
        builds=tuple(group.builds),
        count=group.count,
        estimate=told.estimate,
        next="; ".join(reason.note for reason in servers.reasons if reason.note) if servers is not None else then,
        platforms=group.platforms,
    )
