"""The open records by key: what every other part of the state looks at. They are changed by ``records`` only.

Beside them what is remembered of names of build servers, of which nothing is in the database.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from itertools import islice

from attrs import define, field

from buildtool.model.records import Attempt, Build, Refusal, Request
from buildtool.model.servers import Server

AttemptKey = tuple[int, int]
"""The id of a Build and the epoch of one Attempt of it."""

RefusalKey = tuple[int, str]
"""The id of a Build and the name of the build server that is not to get it for a while."""


@define
class Tables:
    """All that is open. What has ended leaves with the change that ended it."""

    requests: dict[int, Request] = field(factory=dict)
    builds: dict[int, Build] = field(factory=dict)
    attempts: dict[AttemptKey, Attempt] = field(factory=dict)
    servers: dict[str, Server] = field(factory=dict)
    refusals: dict[RefusalKey, Refusal] = field(factory=dict)


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
