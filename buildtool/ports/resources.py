"""What the metaserver takes of its machine, as whoever shows it needs it.

The test is tests/metaserver/showing/test_farm_counts.py.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class ResourceUse:
    """A measurement of what the metaserver takes: files and connections, memory, processor and disk.

    There may be so many files and connections as ``descriptors_most`` says, None for any number.
    ``memory``, ``database``, ``free`` and ``disk`` are bytes, ``processor`` seconds, ``started`` wall time in seconds.
    """

    descriptors: int
    descriptors_most: int | None
    memory: int
    processor: float
    started: float
    database: int
    free: int
    disk: int


class ResourceSource(Protocol):
    """The part that knows what the metaserver takes of its machine."""

    async def read(self) -> ResourceUse:
        """Return what is taken now. Raises StorageUnavailable."""
