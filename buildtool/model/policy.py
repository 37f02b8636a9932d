"""How long things are remembered, how often they are tried, and when a machine or a Build is given up.

The test is tests/scheduling/test_failures.py.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.model.access.audience import EVERYBODY, Audience
from buildtool.model.notices.notice import NoticeRule
from buildtool.model.properties import Comparison

FAILURE_TTL = 86_400.0
"""Seconds for which a project's failure is remembered, unless the project says otherwise."""

REQUEST_TTL = 7 * 86_400.0
"""Seconds after which a Request that nobody could build expires."""

TIME_LIMIT = 3_600.0
"""Seconds that all commands of one build together may take."""


@frozen
class Policy:
    """A project's settings for versions and failing, from its ``config.py``; times in seconds.

    A refusal is remembered for ``refusal_first``, doubling up to ``refusal_ttl``; a breakage for ``refusal_ttl``; lost
    contact for ``lost_ttl``; what was handed back for ``lost_ttl``, doubling up to ``quarantine_most``; a limit of the
    machine for ``refusal_ttl``, doubling up to ``limited_most``. Contact lost before a start delays the next by
    ``retry_first``, doubling up to ``retry_most``. ``breakages`` on distinct servers make a Build unbuildable;
    ``strikes`` in a row put a server into quarantine. ``time_limit`` is the project's own for all commands of one build
    together.
    ``may_build`` says which build servers are given its Builds, ``tell`` who is told what comes of them.
    """

    recipe_version: int
    options_digest: str
    comparisons: tuple[tuple[str, Comparison], ...] = ()
    confirm_failures: int = 1
    failure_ttl: float = FAILURE_TTL
    request_ttl: float = REQUEST_TTL
    refusal_first: float = 10.0
    refusal_ttl: float = 600.0
    limited_most: float = 86_400.0
    lost_ttl: float = 30.0
    retry_first: float = 1.0
    retry_most: float = 300.0
    breakages: int = 3
    strikes: int = 3
    quarantine_first: float = 10.0
    quarantine_most: float = 3_600.0
    time_limit: float = TIME_LIMIT
    may_build: Audience = EVERYBODY
    tell: tuple[NoticeRule, ...] = ()
