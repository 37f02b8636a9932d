"""What the pages read of the work that build servers did. Times are in seconds."""

from __future__ import annotations

from attrs import frozen


@frozen
class WorkLine:
    """The sums of what build servers did in a month for a project; of several, or of all projects, the name is empty.

    ``good``, ``failed`` and ``other`` are attempts that were begun, by whose matter their end was: the project's, or
    else the machine's. ``processor`` and ``wall`` are seconds, the first without ``unmeasured`` attempts; ``size`` is
    bytes of artifacts.
    """

    month: str
    server: str = ""
    project: str = ""
    good: int = 0
    failed: int = 0
    other: int = 0
    unmeasured: int = 0
    processor: float = 0.0
    wall: float = 0.0
    size: int = 0
    requesters: int = 0


@frozen
class WorkFound:
    """All such sums, the newest month first, and how many different requesters there were in the months asked for."""

    lines: tuple[WorkLine, ...] = ()
    requesters: int = 0
