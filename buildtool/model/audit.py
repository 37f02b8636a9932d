"""What happened to whom: the rows of the events table, for live pages, audit and resuming."""

from __future__ import annotations

from attrs import frozen


@frozen
class AuditEvent:
    """One row of the events table: what happened to whom, for live pages, audit and resuming."""

    kind: str
    subject: str
    detail: str = ""
