"""What pages and API ask about the farm as a whole; the same rules as for ``messages``. Times are in seconds."""

from __future__ import annotations

from attrs import field, frozen

GROUPS_TOLD = 40
RUNNING_TOLD = 200
NAMED = 20


@frozen
class AskFarm:
    """A question what runs, and why what waits does, as far as the caller may see it."""


@frozen
class RunningView:
    """A build that runs for so many ``seconds``; ``usual`` is how long alike ones took, by ``basis``, where known."""

    build_id: int
    seconds: float
    usual: float | None
    basis: str = field(metadata={"kept": "start"})


@frozen
class WhyLine:
    """One reason for waiting, in words, with the servers it holds for (at most 20 names) and how many they are."""

    words: str = field(metadata={"sent": 800, "kept": "start"})
    servers: tuple[str, ...] = field(metadata={"sent": 100, "members": 20})
    count: int


@frozen
class WaitView:
    """A number of builds that wait for the same; ``builds`` are the first in the queue, ``seconds`` till one may start.

    ``cause`` names the kind of reason. ``then`` is what happens next where no time is known.
    """

    cause: str = field(metadata={"most": 40, "sent": 40})
    words: str = field(metadata={"sent": 800, "kept": "start"})
    servers: tuple[str, ...] = field(metadata={"sent": 100, "members": NAMED})
    server_count: int
    builds: tuple[int, ...] = field(metadata={"members": NAMED})
    count: int
    seconds: float | None
    basis: str = field(metadata={"kept": "start"})
    then: str = field(metadata={"sent": 400, "kept": "start"})


@frozen
class FarmView:
    """An answer: what runs, the oldest first, and the groups of what waits, the largest first.

    ``unseen`` builds wait of which it is not told why. ``draining`` says that nothing is given out any more.
    """

    running: tuple[RunningView, ...] = field(metadata={"members": RUNNING_TOLD})
    waiting: tuple[WaitView, ...] = field(metadata={"members": GROUPS_TOLD})
    unseen: int
    draining: bool
