"""What the pages read, and whom they ask. Times are wall time, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from attrs import AttrsInstance, field, frozen

from buildtool.model.logs.index import FoundInLog, LogIndex
from buildtool.model.options import Canonical
from buildtool.model.principal import Principal
from buildtool.model.records import Artifact, Attempt, Build, BuildState, Request
from buildtool.model.search.build_query import EVERYTHING, BuildQuery
from buildtool.model.search.commits import CommitNote
from buildtool.model.servers import OfferKind, Server
from buildtool.model.trust.evidence import SandboxLevel, SourceTrust
from buildtool.ports.keeping import ExpiredArtifacts
from buildtool.ports.work import WorkFound
from buildtool.protocol.messages import Explanation
from buildtool.protocol.news import EventNotes

A = TypeVar("A", bound=AttrsInstance)

REQUESTS_SHOWN = 100
"""How many of a Build's Requests its page has: the first."""

ATTEMPTS_SHOWN = 50
"""How many of a Build's Attempts its page has: the newest; one that no machine takes for days has more."""


@frozen
class Overview:
    """The state of everything in one look. ``builds`` has every state as a key.

    What is open or unsent is exact; figures over all history (ended builds, artifacts and their bytes) may be
    some seconds old. ``slots`` is how many builds the connected servers take at once, ``running`` how many run.
    """

    builds: Mapping[BuildState, int]
    requests_waiting: int
    servers_connected: int
    servers_known: int
    slots: int
    running: int
    artifacts: int
    artifact_bytes: int
    mails_unsent: int
    mails_refused: int
    oldest_queued: Build | None
    last_event: int


@frozen
class RunningBuild:
    """An Attempt that has not ended, and its Build."""

    attempt: Attempt
    build: Build


@frozen
class ServerLine:
    """A build server and what it is building, oldest first; ``hidden`` is how much more that may not be seen."""

    server: Server
    running: tuple[RunningBuild, ...]
    hidden: int = 0


class BuildLine(NamedTuple):
    """A Build for a list, with what a list shows of its Attempt, its Artifact, its Requests and its revision.

    A tuple of plain values: a page has fifty. The Attempt is the one that decided it, or else the newest; ``server`` is
    empty where there is none. The Artifact's ``digest`` is empty where there is none, or it is not given out any more;
    ``maker`` made it, maybe another than the Attempt's. Of its ``requests`` the first has ``ref``, ``revrange`` and
    ``email``; ``person`` is a number of the address, -1 where that is unknown; ``due`` the round of one that waits.
    """

    id: int
    state: BuildState
    project: str
    source: str
    revision: str
    options: Canonical
    platform: Canonical
    created_at: float
    started_at: float | None
    ended_at: float | None
    not_before: float
    reason: str
    place: int
    epoch: int
    attempt: int | None
    server: str
    kind: OfferKind | None
    offered_at: float | None
    accepted_at: float | None
    attempt_ended_at: float | None
    attempt_reason: str
    digest: str
    content_digest: str
    name: str
    size: int
    runs_on: Canonical
    maker: str
    built_at: float
    requests: int
    ref: str
    revrange: str
    email: str
    person: int
    subject: str
    sandbox: SandboxLevel = SandboxLevel.NONE
    due: float = 0.0
    trust: SourceTrust = SourceTrust.TRUSTED


class StateCount(NamedTuple):
    """The number of builds of a state that fit: all if ``exact``, else at least so many. It is counted to 1,001."""

    number: int
    exact: bool


Sees = Callable[[str, Canonical], bool]
"""Whether builds of a project for a platform may be seen; of the platform only system and architecture are said."""


@frozen
class BuildsAsked:
    """A search of builds: what fits ``query``, with numbers below ``before`` or above ``after`` if that is said.

    ``sees`` is None where all may be seen, ``mine`` are the addresses of who asks, ``now`` is wall time in seconds.
    ``counted`` asks for the counts as well.
    """

    query: BuildQuery = EVERYTHING
    before: int | None = None
    after: int | None = None
    limit: int = 50
    sees: Sees | None = None
    mine: tuple[str, ...] = ()
    now: float = 0.0
    counted: bool = False


@frozen
class BuildsFound:
    """The builds that a search found, newest first. ``more`` says that further ones fit in the direction asked for.

    ``stopped`` is the number at which it ended too early: what lies beyond was not looked at. ``counts`` are those of
    all builds that fit but for their state and the page, ``platforms`` what they are for.
    """

    lines: tuple[BuildLine, ...]
    more: bool = False
    stopped: int | None = None
    counts: Mapping[BuildState, StateCount] = field(factory=dict)
    platforms: tuple[str, ...] = ()


@frozen
class RequestLine:
    """A Request, and what the mail server said when it refused the mail about it for good (else empty)."""

    request: Request
    mail_error: str = ""


@frozen
class BuildDetail:
    """All about one Build: its newest Attempts and first Requests, oldest first, and how many asked in all.

    ``commit`` is what its revision is about, ``log_gone`` that its logs have expired, and why; where that is so.
    """

    build: Build
    attempts: tuple[Attempt, ...]
    requests: tuple[RequestLine, ...]
    request_count: int
    artifact: Artifact | None
    commit: CommitNote | None = None
    log_gone: str = ""


@frozen
class HourCount:
    """A count of what happened of a kind in an hour (numbered since 1970), and the seconds that it took or saved."""

    hour: int
    kind: str
    times: int
    seconds: float


@frozen
class EventLine:
    """One row of the events table. ``seq`` rises; ``at`` is wall time; rows are pruned from the oldest on."""

    seq: int
    at: float
    kind: str
    subject: str
    detail: str


@frozen
class Health:
    """The health of the database: the schema revision with which it answers."""

    revision: str


@frozen
class ConcernedBuild:
    """A Build that something happened to: what says who may see it, its newest Attempt, and on which build server."""

    build_id: int
    project: str
    platform: Canonical
    epoch: int
    server: str


class News(Protocol):
    """The database, as what is live in the pages reads it. Every method raises StorageUnavailable."""

    async def concerned(
        self, builds: Collection[int], requests: Collection[int] = (), artifacts: Collection[int] = ()
    ) -> Sequence[ConcernedBuild]:
        """Return the Builds with these ids, those that these Requests wait or waited for, and of these Artifacts."""

    async def since(self, after: int, limit: int) -> Sequence[EventLine]:
        """Return at most ``limit`` events with a ``seq`` above ``after``, oldest first."""

    async def newest(self) -> tuple[int, float]:
        """Return the ``seq`` of the newest event, and when (wall time, seconds) the metaserver last ran; 0 for none."""


class Pages(ExpiredArtifacts, Protocol):
    """The database, as the pages read it. Every method raises StorageUnavailable while it cannot be read.

    Lists are paged by key, newest first: the next page is asked for with ``before`` the last id of this one. The
    presenters mask e-mail addresses.
    """

    async def overview(self, now: float) -> Overview:
        """Return the figures of the start page."""

    async def build_servers(self, *, skip: int = 0, limit: int = 50, name: str = "") -> Sequence[ServerLine]:
        """Return build servers, the connected ones first, by name; only the one called ``name`` if that is said."""

    async def builds(self, asked: BuildsAsked) -> BuildsFound:
        """Return at most ``asked.limit`` builds that fit, newest first. Raises UsageError for what is too much."""

    async def build(self, build_id: int) -> BuildDetail | None:
        """Return all about one Build, or None when there is none of this id."""

    async def artifacts_of(self, digest: str) -> Sequence[Artifact]:
        """Return the artifacts with these bytes that are given out."""

    async def request(self, request_id: int) -> RequestLine | None:
        """Return one Request, or None when there is none of this id."""

    async def events(self, after: int, limit: int = 200) -> Sequence[EventLine]:
        """Return at most ``limit`` events with a ``seq`` above ``after``, oldest first."""

    async def hours(self, first: int) -> Sequence[HourCount]:
        """Return what happened in each hour from the one numbered ``first`` on, oldest first."""

    async def work(self, servers: Sequence[str], since: str = "", *, each: bool = False) -> WorkFound:
        """Return what build servers did by month and project, or server and month; people are counted ``since`` one."""

    async def owned(self, owners: Collection[str], *, limit: int = 200) -> Sequence[ServerLine]:
        """Return the build servers of owners (in small letters), by name."""

    async def health(self) -> Health:
        """Return the schema revision of the database, if it answers."""


class LogExtent(Protocol):
    """The length of a log by now, in bytes, and whether nothing will be appended to it any more."""

    @property
    def length(self) -> int: ...

    @property
    def finished(self) -> bool: ...


LINE_LIMIT = 4_000
"""Most bytes of one line that are read for a page."""

LINES_LIMIT = 2_000
"""Most lines that are read at once."""

SEARCHED_LIMIT = 200
"""Most bytes of a text that is searched for."""


class LogReader(Protocol):
    """The bytes of logs by Build and epoch, for the pages, and what is known of them."""

    async def state(self, build_id: int, epoch: int) -> LogExtent:
        """Return the extent of a log. Raises NotFound when nothing of it has arrived, StorageUnavailable."""

    async def read(self, build_id: int, epoch: int, start: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``start`` on, b"" at the end. Raises NotFound, StorageUnavailable."""

    async def index(self, build_id: int, epoch: int) -> LogIndex:
        """Return the index of what there is of a log. Raises NotFound, StorageUnavailable."""

    async def lines(self, build_id: int, epoch: int, first: int, count: int) -> Sequence[bytes]:
        """Return at most ``count`` lines from the ``first`` (1) on, without line ends; of a long one its beginning.

        Raises NotFound, StorageUnavailable.
        """

    async def search(self, build_id: int, epoch: int, text: bytes, *, fold: bool) -> FoundInLog:
        """Return which lines have a text, in capitals or not if ``fold``. It ends when it is cancelled.

        Raises NotFound, StorageUnavailable, and LimitReached when too many search.
        """


class OpenArtifact(Protocol):
    """An artifact that is open; it is closed only when nothing reads it."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    async def read(self, start: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``start`` on. Raises StorageUnavailable."""

    def close(self) -> None:
        """Close the file."""


class ArtifactReader(Protocol):
    """The bytes of artifacts, for the pages."""

    async def open(self, digest: str) -> OpenArtifact:
        """Return an artifact whose bytes are those of its digest. Raises NotFound, Damaged, StorageUnavailable."""


@frozen
class ShownVisitor:
    """A visitor: who that is, as far as the pages know, and the token or session by which the metaserver knows it."""

    by: Principal
    secret: str = field(default="", repr=False)


class Questions(Protocol):
    """The pages' questions to the metaserver, and acts there, each in the name of a visitor."""

    async def act(self, shown: ShownVisitor, message: AttrsInstance, answer: type[A]) -> A:
        """Ask for what a visitor asks for, and return the answer of that kind.

        Raises what the metaserver refuses it with, Unavailable where it does not answer.
        """

    async def tell(self, message: AttrsInstance, answer: type[A]) -> A:
        """Ask what the pages ask themselves: who a visitor is, to sign them in or out. Raises what ``act`` does."""

    async def confirm(self, code: str, network: str) -> str | None:
        """Confirm the mail address that a code was mailed to, for a visitor from a network; return the address.

        None where no answer comes in time. Raises Unauthorised for a code that does not hold, LimitReached.
        """

    async def why(self, build_id: int, visitor: ShownVisitor) -> Explanation | None:
        """Return the state of an open Build and why it waits; None when it is not open, or no answer comes in time."""


class EventListener(Protocol):
    """A taker of the metaserver's news: it may be called at any time, and does not fail."""

    def began(self, last: int) -> None:
        """Take that the metaserver answers, and which event is the newest: those after it will be told."""

    def told(self, batch: EventNotes) -> None:
        """Take what happened; a batch without events is a sign of life."""

    def lost(self) -> None:
        """Take that the metaserver does not answer."""


class EventFeed(Protocol):
    """The one subscription of the pages to what happens, however many visitors there are."""

    def start(self, listener: EventListener) -> None:
        """Start to tell a listener, as soon as and whenever the metaserver is there."""

    async def stop(self) -> None:
        """Stop telling."""
