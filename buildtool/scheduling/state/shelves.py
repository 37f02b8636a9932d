"""Shelves: finished artifacts and remembered failures, loaded when an event needs them, dropped when they are many.

Neither memory nor the start depend on history: what is not here is in the database.

The test is tests/scheduling/state/test_hits.py.
"""

from __future__ import annotations

from functools import partial
from itertools import islice

from attrs import evolve

from buildtool.model.matching.shelves import Shelf, stocked
from buildtool.model.records import Artifact, RememberedFailure, ShelfKey
from buildtool.scheduling.state.journal import Journal

SHELVES_KEPT = 20_000
"""How many shelves stay in memory; the longest unused ones go first."""

_EMPTY = Shelf()


class Shelves:
    """The shelves that are in memory, in ``kept``."""

    def __init__(self, journal: Journal) -> None:
        self.kept: dict[ShelfKey, Shelf] = {}
        self._journal = journal

    def get(self, key: ShelfKey) -> Shelf:
        """Return a shelf that is loaded, or an empty one."""
        return self.kept.get(key, _EMPTY)

    def stock(self, key: ShelfKey, shelf: Shelf) -> None:
        """Take in a shelf as the database has it; no change, so nothing to take back."""
        self.kept.pop(key, None)
        self.kept[key] = shelf

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

    def forget_failure(self, failure: RememberedFailure) -> None:
        """Forget a failure for good, also where the clock is set back: what is to be read anew counts until never."""
        self._journal.write(failure.build_id, evolve(failure, until=0.0))
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

    def _restock(self, key: ShelfKey, shelf: Shelf | None) -> None:
        """Change a shelf that is loaded, or drop it, None: one that is not will be loaded, the change included."""
        old = self.kept.pop(key, None)
        if old is not None:
            if shelf is not None:
                self.kept[key] = shelf
            self._journal.add(partial(self.kept.__setitem__, key, old))
