"""What is remembered of names of build servers besides their rows; none of it is in the database.

The test is tests/scheduling/test_server_names.py.
"""

from __future__ import annotations

from itertools import islice

NAMES_KEPT = 7 * 86_400.0
"""Seconds for which the name of a build server that never built anything is remembered after it was last seen."""

SESSIONS_KEPT = 1_000
"""Of how many forgotten servers the last Session is remembered, until the metaserver ends."""


class NameMemory:
    """The memory of names: for how many seconds an unused one is ``kept``, and when they were last ``looked`` at.

    ``sessions`` has the last Session of each server that was forgotten.
    """

    def __init__(self, kept: float) -> None:
        self.kept = kept
        self.looked = 0.0
        self.sessions: dict[str, int] = {}

    def keep_session(self, name: str, session: int) -> None:
        """Remember the Session of a server that is being forgotten, so that none after it has the same number."""
        self.sessions.pop(name, None)
        self.sessions[name] = session
        for other in list(islice(self.sessions, max(0, len(self.sessions) - SESSIONS_KEPT))):
            del self.sessions[other]
