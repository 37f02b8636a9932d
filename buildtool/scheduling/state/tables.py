"""The open records by key: what every other part of the state looks at. They are changed by ``records`` only.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

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
