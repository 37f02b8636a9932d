"""What is said of watches: standing wishes to be told of each new binary of a branch.

Tested by tests/metaserver/telling/test_watches.py.
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.protocol.messages import Submit

LISTED = 500
"""Most watches that one answer tells of."""


@frozen
class WatchBranch:
    """An act: watch a branch, which the revision of ``wish`` names, for whom that would be built for.

    What the watch ``asks`` for is the same of each new commit. ``digest`` is when what came is told together, such as
    ``daily`` or ``07:00 Europe/Berlin``; where it is empty each binary has a mail of its own.
    """

    wish: Submit
    asks: bool = True
    digest: str = field(default="", metadata={"most": 200})


@frozen
class AskWatches:
    """A question: the watches of the caller, or, where they may see them, of all; those after the one with a number."""

    after: int = 0


@frozen
class EndWatch:
    """An act: end a watch."""

    watch: int


@frozen
class WatchStatus:
    """The status of a watch: of what, for whom, and since when (wall time).

    ``email`` is masked for others. ``awaited`` is how many commits came of which no binary was told. ``said`` is what
    keeps it from its work now, "" for nothing.
    """

    watch: int
    project: str = field(metadata={"most": 80, "sent": 80})
    source: str = field(metadata={"sent": 1_000})
    ref: str = field(metadata={"sent": 250})
    email: str = field(metadata={"sent": 400})
    asks: bool
    digest: str = field(metadata={"sent": 200})
    made: float
    tip: str = field(metadata={"sent": 80})
    awaited: int
    said: str = field(metadata={"sent": 400, "kept": "start"})


@frozen
class WatchesFound:
    """An answer: watches by their numbers; ``more`` says that there are further ones."""

    found: tuple[WatchStatus, ...] = field(metadata={"members": LISTED})
    more: bool = False
