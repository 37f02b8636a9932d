"""How a hit is found: the artifact on the shelves that satisfies a demand best."""

from __future__ import annotations

from operator import is_

from buildtool.model.matching.newest import fitting
from buildtool.model.matching.shelves import Shelf
from buildtool.model.records import Artifact, Demand
from buildtool.scheduling.state.projects import ProjectPolicies
from buildtool.scheduling.state.shelves import Shelves

Look = tuple[Demand, tuple[Shelf, ...], Artifact | None]
"""What was looked for, on which shelves as they were then, and what was found there."""


class HitFinder:
    """A finder of hits on the shelves in memory. ``last`` is the last look, None for none that is still good.

    ``promised`` are the ids of all artifacts that were found since it was made empty: they may have been promised to
    a requester. It is None until one has to be known. A hit is looked for before a decision, since its file may be
    gone, and in it: the second time it is known.
    """

    def __init__(self, shelves: Shelves, projects: ProjectPolicies) -> None:
        self.last: Look | None = None
        self.promised: set[int] | None = None
        self._shelves = shelves
        self._projects = projects

    def find(self, demand: Demand) -> Artifact | None:
        """Return the artifact that satisfies a demand best: nearest revision first, then the newest."""
        shelves = tuple(map(self._shelves.get, demand.shelves))
        if self.last is not None and _is_same(self.last, demand, shelves):
            return self._noted(self.last[2])
        compare = self._projects.compare(demand.spec.project)
        found = next(fitting(demand, shelves, compare), None)
        self.last = demand, shelves, found
        return self._noted(found)

    def _noted(self, found: Artifact | None) -> Artifact | None:
        if self.promised is not None and found is not None:
            self.promised.add(found.id)
        return found


def _is_same(look: Look, demand: Demand, shelves: tuple[Shelf, ...]) -> bool:
    """Return whether this is what was looked for: the same demand, on shelves of which none has changed since."""
    return look[0] is demand and all(map(is_, look[1], shelves))
