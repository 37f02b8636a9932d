"""The places for those who wait, in the API, for what has not come yet.

Tested by tests/web/api/test_files.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from buildtool.errors import LimitReached

LOOK_EVERY = 1.0
"""Seconds between two looks whether what is waited for has come."""

WATCHED = 500
"""Most who wait at once for one kind of thing."""

_AGAIN = 60.0


@define
class WaitingPlaces:
    """The places for those who wait, of which there are ``most``."""

    most: int = WATCHED
    taken: int = field(default=0, init=False)

    @contextmanager
    def place(self, full: str) -> Iterator[None]:
        """Take a place until the end of the block. Raises LimitReached, which says what is ``full``."""
        if self.taken >= self.most:
            raise LimitReached(f"{self.most} {full}", _AGAIN)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
