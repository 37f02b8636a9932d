"""What changed since the last commit: the rows to be written, and how each change is taken back.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from buildtool.model.records import ExpiryShift, Row


class Journal:
    """Every change of the state is noted here: ``rollback`` undoes them, ``rows`` are what is to be committed."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._rows: dict[tuple[type, object], Row] = {}

    def savepoint(self) -> int:
        """Return a mark for ``rollback``."""
        return len(self._undo)

    def rollback(self, mark: int = 0) -> None:
        """Undo every change made since ``mark``, newest first."""
        while len(self._undo) > mark:
            self._undo.pop()()

    def add(self, undo: Callable[[], None]) -> None:
        """Add how a change that was just made is undone."""
        self._undo.append(undo)

    def change(self, apply: Callable[[Any, Any, Any], None], key: object, old: Any, new: Row) -> None:  # noqa: ANN401 - a record of the kind that ``apply`` is for
        """Write the row ``new`` and call ``apply(key, old, new)``; the undo calls it the other way round."""
        mark = (type(new), key)
        earlier = self._rows.get(mark)
        self._rows[mark] = new
        self._undo.append(partial(self._unwrite, mark, earlier))
        apply(key, old, new)
        self._undo.append(partial(apply, key, new, old))

    def write(self, key: object, row: Row) -> None:
        """Record a row that is to be committed, in place of an earlier form of it."""
        mark = (type(row), key)
        earlier = self._rows.get(mark)
        self._rows[mark] = row
        self._undo.append(partial(self._unwrite, mark, earlier))

    def shift(self, seconds: float, *, failures: bool) -> None:
        """Write that all remembered failures, or else all open Requests, last so many seconds longer."""
        earlier = self._rows.get((ExpiryShift, failures))
        before = earlier.seconds if isinstance(earlier, ExpiryShift) else 0.0
        self.write(failures, ExpiryShift(before + seconds, failures))

    def writes(self, kind: type, key: object) -> bool:
        """Return whether a row is to be committed."""
        return (kind, key) in self._rows

    def rows(self) -> list[Row]:
        """Return the rows changed since the last commit, each once, in its newest form."""
        return list(self._rows.values())

    def clear(self) -> None:
        """Forget every change: they are committed and can no longer be taken back."""
        self._undo.clear()
        self._rows.clear()

    def _unwrite(self, mark: tuple[type, object], earlier: Row | None) -> None:
        if earlier is None:
            del self._rows[mark]
        else:
            self._rows[mark] = earlier
