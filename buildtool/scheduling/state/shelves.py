"""Shelves: finished artifacts and remembered failures, loaded when an event needs them, dropped when they are many.

Neither memory nor the start depend on history: what is not here is in the database.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from operator import is_

from attrs import evolve

from buildtool.model.matching.satisfaction import satisfies
from buildtool.model.records import Artifact, Demand, RememberedFailure, Shelf, ShelfKey, stocked
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.projects import ProjectPolicies

SHELVES_KEPT = 20_000
"""How many shelves stay in memory; the longest unused ones go first."""

_EMPTY = Shelf()


class Shelves:
    """The shelves that are in memory, in ``kept``.

    ``hit`` is what was looked for last, on which shelves as they were then, and what was found there.
    """

    def __init__(self, projects: ProjectPolicies, journal: Journal) -> None:
        self.kept: dict[ShelfKey, Shelf] = {}
        self.hit: tuple[Demand, tuple[Shelf, ...], Artifact | None] | None = None
        self._projects = projects
        self._journal = journal

    def get(self, key: ShelfKey) -> Shelf:
        """Return a shelf that is loaded, or an empty one."""
        return self.kept.get(key, _EMPTY)

    def stock(self, key: ShelfKey, shelf: Shelf) -> None:
        """Take in a shelf as the database has it; no change, so nothing to take back."""
        self.kept.pop(key, None)
        self.kept[key] = shelf

    def find_hit(self, demand: Demand) -> Artifact | None:
        """Return the artifact that satisfies a demand best: nearest revision first, then the newest.

        It is looked for before a decision, since its file may be gone, and in it: the second time it is known.
        """
        shelves = tuple(map(self.get, demand.shelves()))
        if self._is_known(demand, shelves) and self.hit is not None:
            return self.hit[2]
        compare = self._projects.compare(demand.spec.project)
        found = next((one for shelf in shelves for one in shelf.artifacts if not satisfies(one, demand, compare)), None)
        self.hit = demand, shelves, found
        return found

    def add(self, record: Artifact | RememberedFailure) -> None:
        """Write something finished, and put it first on its shelf; an artifact that is withdrawn leaves it."""
        shelf = self.get(record.shelf)
        if isinstance(record, RememberedFailure):
            self._journal.write(record.build_id, record)
            self._restock(record.shelf, stocked(shelf.artifacts, (record, *shelf.failures), more=shelf.more))
            return
        self._journal.write(record.id, record)
        others = tuple(artifact for artifact in shelf.artifacts if artifact.id != record.id)
        if record.withdrawn:
            self._restock(record.shelf, None if shelf.more else evolve(shelf, artifacts=others))
        else:
            self._restock(record.shelf, stocked((record, *others), shelf.failures, more=shelf.more))

    def forget_failure(self, failure: RememberedFailure, now: float) -> None:
        """Forget a failure from ``now`` (wall time) on."""
        self._journal.write(failure.build_id, evolve(failure, until=now))
        shelf = self.get(failure.shelf)
        left = tuple(one for one in shelf.failures if one.build_id != failure.build_id)
        self._restock(failure.shelf, None if shelf.more else evolve(shelf, failures=left))

    def shift_failures(self, seconds: float) -> None:
        """Remember every failure so much longer, those too that are on no shelf in memory."""
        for key, shelf in list(self.kept.items()):
            if shelf.failures:
                later = tuple(evolve(failure, until=failure.until + seconds) for failure in shelf.failures)
                self._restock(key, evolve(shelf, failures=later))
        self._journal.shift(seconds, failures=True)

    def trim(self) -> None:
        """Drop the longest unused shelves where too many are in memory."""
        for key in list(islice(self.kept, max(0, len(self.kept) - SHELVES_KEPT))):
            del self.kept[key]

    def _is_known(self, demand: Demand, shelves: tuple[Shelf, ...]) -> bool:
        """Return whether this was looked for last: the same demand, on shelves of which none has changed since."""
        return self.hit is not None and self.hit[0] is demand and all(map(is_, self.hit[1], shelves))

    def _restock(self, key: ShelfKey, shelf: Shelf | None) -> None:
        """Change a shelf that is loaded, or drop it, None: one that is not will be loaded, the change included."""
        old = self.kept.pop(key, None)
        if old is not None:
            if shelf is not None:
                self.kept[key] = shelf
            self._journal.add(partial(self.kept.__setitem__, key, old))
