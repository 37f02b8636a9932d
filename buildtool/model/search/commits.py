"""What is known of a revision besides its id: who made it, when, and what for.

Tested by tests/ports/test_build_search.py.
"""

from __future__ import annotations

from attrs import frozen

SUBJECT_LIMIT = 200
"""Most characters of a subject or an author that are kept."""


@frozen
class Commit:
    """A revision of a source: the first line of its message, the name of its author, and when that was (wall time)."""

    source: str
    revision: str
    subject: str
    author: str
    at: float
