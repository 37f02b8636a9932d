"""What the API answers of the work that build servers did. Tested by tests/web/api/test_work.py."""

from __future__ import annotations

from attrs import field, frozen

WORK_ROWS = 2_000
"""Most rows of one answer: the newest months."""

OWNED = 200
"""Most build servers of one owner."""


@frozen
class WorkSummary:
    """The sums of a month (UTC) and project: builds by how they ended, seconds of processors and of wall time, bytes.

    ``other`` builds ended by no fault of the project. Of ``unmeasured`` builds it is not known what processors they
    used. Of a project that who asks may not see, ``project`` is empty; ``requesters`` is null where it is not told, as
    of months of more than a year ago.
    """

    month: str
    project: str
    succeeded: int
    failed: int
    other: int
    processor_seconds: float
    unmeasured: int
    seconds: float
    bytes: int
    requesters: int | None


@frozen
class WorkReport:
    """The work of build servers by month and project, the newest first."""

    rows: tuple[WorkSummary, ...] = field(metadata={"members": WORK_ROWS})


@frozen
class MachineWork:
    """The work of one build server, by month."""

    name: str
    rows: tuple[WorkSummary, ...] = field(metadata={"members": WORK_ROWS})


@frozen
class OwnMachines:
    """The work of all machines of who asks, together by month and project, and of each by month."""

    together: WorkReport
    machines: tuple[MachineWork, ...] = field(metadata={"members": OWNED})
