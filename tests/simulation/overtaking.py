"""A witness of the bound: how many builds that were asked for later came to stand before one that waits.

What is started is always what stands first (``decisions``), so that no more can be started before it either. It goes by
rows, through all lives of the metaserver, and says the bound of docs/adr/0054-fair-shares.md once more.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import define, field

from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.records import Build, BuildState, Request

AGEING = 100
"""Newcomers to a round: said again here, so that another one in the program is noticed."""

SLACK = 1e-6


@define(eq=False)
class Standing:
    """One build that waits: the span of rounds that it ever stood in, and how many came to stand before it."""

    place: int
    base: float
    key: float
    due: float
    shares: int
    passed: int = 0

    def at_most(self, lanes: int, weight: float) -> int:
        """Return how many of all that come later may stand before it."""
        rounds = max(0.0, self.due - self.base)
        return (self.shares + math.ceil(AGEING * rounds) + 1) * (math.ceil(weight * lanes * rounds) + 1)


@define(eq=False)
class Overtaking:
    """All that waits, by what it competes for; ``wrong`` takes a violation.

    What an operator moved forward is not counted, nor who has taken the place of an older request of theirs.
    """

    wrong: Callable[[str], None]
    weights: Weights = EVEN
    superseding: Collection[str] = ()
    most: int = 0
    """The most that ever came to stand before one."""

    _waiting: defaultdict[object, dict[int, Standing]] = field(factory=lambda: defaultdict(dict))
    _kind: dict[int, object] = field(factory=dict)
    _shares: dict[int, str] = field(factory=dict)
    """Whose each open build is."""

    _lanes: set[tuple[str, int]] = field(factory=set)
    _heirs: set[int] = field(factory=set)
    """Requests that may have taken the place of an older one."""

    def committed(self, rows: Sequence[Any]) -> None:
        """Take rows that were committed together."""
        self._heirs |= {row.id for row in rows if type(row) is Request and row.client_id in self.superseding}
        builds = [row for row in rows if type(row) is Build]
        fresh = [row for row in builds if row.id not in self._shares and row.state is BuildState.QUEUED]
        for row in builds:
            if row.state in (BuildState.QUEUED, BuildState.RUNNING):
                self._shares[row.id] = row.share
                self._lanes.add((row.spec.project, row.nice))
            else:
                self._shares.pop(row.id, None)
        shares = len(set(self._shares.values())) if fresh else 0
        for row in sorted(fresh, key=lambda one: one.id):
            self._comes(row, shares)
        for row in builds:
            self._stands(row)

    def _comes(self, row: Build, shares: int) -> None:
        """A build has come: it stands before no more of those that came earlier than there may."""
        kind, key = row.spec.demand_class, row.tag + row.nice
        before = self._waiting[kind]
        if row.nice >= 0 and row.place not in self._heirs:
            weight = max(1.0, *self.weights.shares.values(), 1.0)
            for number, one in before.items():
                if key < one.key - SLACK and one.place < row.place:
                    one.passed += 1
                    self.most = max(self.most, one.passed)
                    if one.passed > (most := one.at_most(len(self._lanes), weight)):
                        self.wrong(f"{one.passed} builds came to stand before build {number}, and {most} may")
        self._kind[row.id] = kind
        before[row.id] = Standing(row.place, row.base, key, key, shares)

    def _stands(self, row: Build) -> None:
        """A build stands where it does now. One that is begun, or wants something else by now, is looked at no more."""
        kind = self._kind.get(row.id)
        one = self._waiting[kind].get(row.id) if kind is not None else None
        if one is None:
            return
        if row.state is not BuildState.QUEUED or row.spec.demand_class != kind:
            del self._waiting[kind][row.id], self._kind[row.id]
            return
        one.place, one.key = row.place, row.tag + row.nice
        one.base, one.due = min(one.base, row.base), max(one.due, one.key)
