"""How far a request is, for a display that is drawn anew all the time: words, and a bar where what is usual is known.

Nothing here reads a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from buildtool.model.lifecycle import BuildState
from buildtool.model.text import duration_words
from buildtool.requester.text import clean, ended, waits

if TYPE_CHECKING:
    from buildtool.protocol.messages import RequestStatus

LATE = 1.1
"""A build that takes longer than usual by this factor is said to."""


@frozen
class Progress:
    """A place on the way: ``seconds`` of the ``usual`` ones, None where there are none; ``time`` says that in words."""

    words: str
    time: str = ""
    seconds: float = 0.0
    usual: float | None = None

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar to show."""
        return self.usual is not None


def progress(told: RequestStatus, seconds: float) -> Progress:
    """Return how far a Request is that has waited, or whose build has run, for so many ``seconds``."""
    if not waits(told):
        return Progress(ended(told)[0])
    lasting = duration_words(seconds)
    if told.build_id is None or told.build_state == BuildState.QUEUED.value:
        what = f"request {told.request_id}" if told.build_id is None else f"build {told.build_id}"
        why = clean(told.reason or "; ".join(line.strip() for line in told.why[:1]))
        return Progress(f"{what} has waited for {lasting}{f': {why}' if why else ''}", seconds=seconds)
    words = f"build {told.build_id} on {clean(told.server) or 'its way'}"
    if told.why:  # it stands still
        return Progress(words, clean(told.why[0]), seconds)
    if told.usual is None or told.usual <= 0:
        return Progress(words, f"for {lasting}", seconds)
    usually = duration_words(told.usual)
    if seconds > told.usual * LATE:
        return Progress(words, f"longer than usual: {lasting} so far, usually {usually}", told.usual, told.usual)
    return Progress(words, f"{lasting} of usually {usually}", min(seconds, told.usual), told.usual)
