"""What there is to know of triggers.

Tested by tests/metaserver/triggering/test_triggers.py.
"""

from __future__ import annotations

from attrs import field, frozen

LISTED = 1_000
"""Most triggers that one answer tells of."""


@frozen
class AskTriggers:
    """A question: what asks for builds by itself, from the trigger ``project/name`` in ``after`` on."""

    after: str = field(default="", metadata={"most": 200})


@frozen
class LookNow:
    """An act: have the triggers of a project look at its repositories at once, since something may have happened."""

    project: str = field(metadata={"most": 80})


@frozen
class TriggerStatus:
    """The status of a trigger: when it looks, at which refs, and what came of it.

    ``asked`` is when it asked for something last, None for never, ``next`` when it looks next (wall time), None where
    it waits for a delivery. ``said`` is
    what came of it, or, where it is ``failing``, why the last look failed. ``to`` is how many addresses it mails.
    """

    project: str = field(metadata={"most": 80, "sent": 80})
    name: str = field(metadata={"most": 80, "sent": 80})
    when: str = field(metadata={"most": 200, "sent": 200})
    refs: tuple[str, ...] = field(metadata={"sent": 250, "members": 60})
    builds: int
    to: int
    asked: float | None
    next: float | None
    said: str = field(metadata={"sent": 400, "kept": "start"})
    failing: bool = False


@frozen
class RefusalCount:
    """A count of deliveries that were refused for one reason."""

    reason: str = field(metadata={"most": 40, "sent": 40})
    count: int


@frozen
class HookStatus:
    """The status of a project's deliveries: ``taken`` is when the last was, None for never, and ``said`` what it said.

    ``refused`` counts those that were refused since the metaserver started; the last was at ``refused_at``, for the
    reason ``why``. Times are wall time.
    """

    project: str = field(metadata={"most": 80, "sent": 80})
    taken: float | None
    said: str = field(metadata={"sent": 400, "kept": "start"})
    refused: tuple[RefusalCount, ...] = field(metadata={"members": 10})
    refused_at: float | None = None
    why: str = field(default="", metadata={"sent": 400, "kept": "start"})


@frozen
class TriggersFound:
    """An answer: triggers by project and name; ``more`` says that there are further ones.

    ``hooks`` are the deliveries to projects that take some.
    """

    found: tuple[TriggerStatus, ...] = field(metadata={"members": LISTED})
    more: bool = False
    hooks: tuple[HookStatus, ...] = field(default=(), metadata={"members": LISTED, "whole": 100_000})
