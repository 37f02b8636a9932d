"""What there is to know of whom projects tell what comes of builds.

Tested by tests/metaserver/telling/test_targets.py.
"""

from __future__ import annotations

from attrs import field, frozen

LISTED = 1_000
"""Most targets that one answer tells of."""


@frozen
class AskTargets:
    """A question: who is told what comes of builds, from the target ``project/name`` in ``after`` on."""

    after: str = field(default="", metadata={"most": 700})


@frozen
class TryTargets:
    """An act: try whether a project's targets would be told, which changes nothing at a forge."""

    project: str = field(metadata={"most": 80})


@frozen
class TargetStatus:
    """The status of a target, ``project/name``: how much it is to be told, since when, and what was given up.

    ``told`` is when it was told something last (wall time), ``oldest`` when the oldest was written that waits.
    ``error`` says why something was not told when it was tried last; with ``away`` nothing is told there now.
    """

    name: str = field(metadata={"sent": 700})
    waiting: int
    oldest: float | None
    given_up: int
    told: float | None
    error: str = field(metadata={"sent": 600, "kept": "start"})
    away: bool = False


@frozen
class TargetsFound:
    """An answer: targets by name; ``more`` says that there are further ones."""

    found: tuple[TargetStatus, ...] = field(metadata={"members": LISTED})
    more: bool = False
