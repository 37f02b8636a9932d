"""What a requester needs from outside: a metaserver to ask, files to fetch and a place for them, a terminal or pipe."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from buildtool.protocol.messages import Follow, RequestStatus

if TYPE_CHECKING:
    from buildtool.model.logs.index import Phase

T = TypeVar("T", bound=attrs.AttrsInstance)


class MetaserverClient(Protocol):
    """A requester's connection to the metaserver, of which ``protocol.calls`` has what it can be asked.

    Every method raises Unavailable without one, or what was answered.
    """

    @property
    def projects(self) -> str:
        """The digest of what ``AskProjects`` is answered with, "" where the metaserver describes none."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended, as far as is known here."""

    async def ask(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        """Send a message and return its answer."""

    async def follow(self, message: Follow, moved: Callable[[RequestStatus], None]) -> RequestStatus:
        """Follow a Request: call ``moved`` at every change. Returns its status now."""

    def closed(self) -> Deferred[str]:
        """Return a Deferred of why the connection ended, once it has."""

    def close(self) -> None:
        """End the connection."""


class Downloads(Protocol):
    """A requester's way to fetch bytes from the transfer port."""

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        """Fetch ``size`` bytes to ``path`` (written beside it, verified, renamed). Raises Unavailable, BadUpload."""

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """Return log bytes from ``offset`` and whether the log is finished; waits up to ``wait`` seconds for more."""

    async def phases(self, url: str) -> Sequence[Phase]:
        """Return the phases of a log, in their order. Raises Unavailable, NotFound, DecodeError."""


class Tone(enum.Enum):
    """The tone of a line, which a terminal may show by its colour."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"


class Console(Protocol):
    """A display of how the request goes."""

    def say(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Show one line."""

    def state(self, told: RequestStatus, seconds: float) -> None:
        """Show the status of a Request that has waited, or whose build has run, for so many ``seconds``.

        Once it has ended, the rest of its log may still come.
        """

    def moved(self, told: RequestStatus, line: str) -> None:
        """Show that one of several Requests has moved: a line about it, or how it stands."""

    def log(self, data: bytes) -> None:
        """Show more of the log: arbitrary bytes."""

    def downloading(self, name: str, received: int, size: int) -> None:
        """Show how many bytes of an artifact are here."""


class Destination(Protocol):
    """The place where an artifact goes."""

    async def choose(self, name: str) -> str:
        """Return the path for an artifact of this name. Raises UsageError when nothing can be written there."""

    async def occupied(self, path: str) -> bool:
        """Return whether there is a file at ``path``, which would be replaced."""

    async def holds(self, path: str, size: int, digest: str) -> bool:
        """Return whether the file at ``path`` has ``size`` bytes and this SHA-256 already."""
