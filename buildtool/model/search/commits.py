"""What is known of a revision besides its id: who made it, when, and what for.

Tested by tests/ports/test_commit_store.py and tests/adapters/vcs/git/test_objects.py.
"""

from __future__ import annotations

from typing import NamedTuple

from attrs import frozen

SUBJECT_LIMIT = 200
"""Most characters of a subject or an author that are kept."""


@frozen
class CommitNote:
    """The first line of a revision's message, the name of its author, and when that was (wall time in seconds)."""

    subject: str
    author: str
    at: float


class RevisionKey(NamedTuple):
    """A revision of one of a project's sources: r12 of one is not r12 of another."""

    project: str
    source: str
    revision: str

    @property
    def place(self) -> str:
        """The source as the database has it: with its project, whose name has no blank."""
        return f"{self.project} {self.source}"
