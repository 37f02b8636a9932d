"""What the pages hear of events as they are committed: one subscription, and batches in which a subject stands once.

The test is tests/protocol/test_transcripts.py; what the metaserver sends is tested by
tests/adapters/control/events/test_followers.py.
"""

from __future__ import annotations

from attrs import field, frozen

NOTES_MOST = 500
"""Of how many subjects one batch tells; where there are more, it says that everything may have changed."""


@frozen
class FollowEvents:
    """A question of the pages, to be told of all events from now on."""


@frozen
class EventsFollowed:
    """The answer to FollowEvents: ``last`` is the number of the newest event that is committed."""

    last: int


@frozen
class EventNote:
    """The newest event of a batch about one subject."""

    seq: int
    kind: str = field(metadata={"most": 80, "kept": "start"})
    subject: str = field(metadata={"most": 300, "kept": "start"})


@frozen
class EventNotes:
    """A batch of events: those with numbers above ``after``, up to ``last``, by their subjects in order of ``seq``.

    Unless it is ``whole`` there were more than it says, or some that are not known. Without any it is a sign of life.
    """

    after: int
    last: int
    notes: tuple[EventNote, ...] = field(default=(), metadata={"members": NOTES_MOST})
    whole: bool = True
