"""Effects: acts asked for, performed only after the commit.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.model.records import Attempt, AuditEvent, Build, Request

# --- Effects: acts asked for, performed only after the commit ---------------------------------------------


@frozen
class Dispatch:
    """An act: send this Attempt to its build server."""

    attempt: Attempt
    build: Build


@frozen
class Abort:
    """An act: tell the build server to end an Attempt: TERM, then KILL, for the whole process group."""

    server: str
    session: int
    build_id: int
    epoch: int
    reason: str


@frozen
class Fence:
    """An act: close the connection of an older Session; a newer one of the same server stands."""

    server: str
    session: int


@frozen
class MailWritten:
    """An act: wake the mailer, since there is new mail in the outbox."""


@frozen
class NoticesWritten:
    """An act: wake what tells targets, since there are new notices for these in the outbox."""

    targets: frozenset[str]


@frozen
class RequestMoved:
    """An act: send a changed Request's status to its followers."""

    request: Request
    build_state: str = ""
    epoch: int = 0
    server: str = ""


Effect = Dispatch | Abort | Fence | MailWritten | NoticesWritten | RequestMoved | AuditEvent
