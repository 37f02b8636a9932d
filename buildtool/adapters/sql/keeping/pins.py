"""Which artifacts are kept whatever the limits are. What names some for good adds its table here.

Tested by tests/ports/test_kept_rows.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

Pins = Callable[[Connection, Sequence[int]], frozenset[int]]
"""Returns which of these artifacts, by id, it names. It runs in the transaction of who asks."""

PINS: tuple[Pins, ...] = ()
"""All that name artifacts: channels are one. Who names one promises it first, see ``HitFinder.promised``."""


def pinned(connection: Connection, numbers: Sequence[int]) -> frozenset[int]:
    """Return which of these artifacts stay, whatever the limits are."""
    return frozenset[int]().union(*(one(connection, numbers) for one in PINS))
