"""What the shells need from the outside, as Protocols; adapters implement them, ``tests/fakes.py`` too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import frozen

from buildtool.domain.messages import Happened
from buildtool.domain.model import (
    Artifact,
    Attempt,
    Beat,
    Build,
    BuildState,
    FailedHere,
    Held,
    Judged,
    Mail,
    Refusal,
    Request,
    Server,
    Shelf,
    ShelfKey,
    Shift,
)
from buildtool.domain.platforms import Value
from buildtool.operator_protocol import (
    AbortBuild,
    Acted,
    Drain,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    Standing,
)
from buildtool.protocol import (
    AbortOrder,
    Accepted,
    AskBuild,
    AskExplain,
    AskStatus,
    AskWhy,
    Cancel,
    Done,
    Draining,
    Ended,
    Explanation,
    Follow,
    HealthTold,
    Heard,
    Heartbeat,
    Ok,
    Order,
    Register,
    RenewTickets,
    Submit,
    SubmitTogether,
    Tickets,
    Told,
    ToldTogether,
    Welcome,
)

T = TypeVar("T")

Row = Request | Build | Attempt | Server | Refusal | Artifact | FailedHere | Mail | Beat | Shift
"""What the scheduler writes: each value is the whole row of its kind and key."""


class Clock(Protocol):
    """Wall time, for display, expiry of kept things and tickets. Timers use the reactor's monotonic clock."""

    def wall(self) -> float:
        """Return seconds since the epoch."""


class Ids(Protocol):
    """All randomness."""

    def unique(self) -> str:
        """Return a new id that nobody else has: 32 hex digits."""

    def secret(self, size: int) -> bytes:
        """Return ``size`` bytes that cannot be guessed."""


class Executor(Protocol):
    """Runs blocking functions away from the reactor."""

    async def run(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, or raise what it raises."""


@frozen
class Snapshot:
    """Everything open, as the database has it at the start, and the next free numbers.

    ``recent`` are the newest artifacts, oldest first, from which durations are learnt; ``beat`` is when the metaserver
    was last there (wall time), or 0.
    """

    requests: tuple[Request, ...]
    builds: tuple[Build, ...]
    attempts: tuple[Attempt, ...]
    servers: tuple[Server, ...]
    refusals: tuple[Refusal, ...]
    next_request: int
    next_build: int
    next_artifact: int
    recent: tuple[Artifact, ...] = ()
    beat: float = 0.0


@frozen
class Answered:
    """A Request that was answered before: its id, the digest of its body, and the answer given."""

    request_id: int
    body_digest: str
    answer: str


class BrokerStore(Protocol):
    """The metaserver's database, as the scheduler's shell uses it. Each call is one transaction."""

    async def load(self) -> Snapshot:
        """Return everything that is open."""

    async def answered(self, client_ids: Iterable[str]) -> Mapping[str, Answered]:
        """Return what was answered to these client request ids; ids never seen are left out."""

    async def known(
        self, keys: Iterable[ShelfKey], client_ids: Iterable[str], now: float
    ) -> tuple[Mapping[ShelfKey, Shelf], Mapping[str, Answered]]:
        """Return the artifacts that are given out and the failures still remembered, for every key asked.

        And what ``answered`` does, in the same transaction: decisions wait for both.
        """

    async def commit(self, rows: Sequence[Row], happened: Sequence[Happened], now: float) -> None:
        """Write all rows and events in one durable transaction. Raises StorageUnavailable; then nothing is written."""

    async def request(self, request_id: int) -> Request | None:
        """Return a Request, open or ended."""

    async def build(self, build_id: int) -> Build | None:
        """Return a Build, open or ended."""

    async def artifact(self, artifact_id: int) -> Artifact | None:
        """Return an Artifact, also a withdrawn one."""

    async def similar(self, key: ShelfKey, limit: int) -> Sequence[Artifact]:
        """Return artifacts that are given out and may come near a shelf, each once.

        The newest with the same options, then the newest of the project: at most ``limit`` of each, newest first.
        """

    async def artifacts_of(self, digest: str) -> Sequence[Artifact]:
        """Return the artifacts with these bytes that are given out."""

    async def attempts(self, build_id: int) -> Sequence[Attempt]:
        """Return all Attempts of a Build, oldest first."""


@frozen
class OutgoingMail:
    """A mail of the outbox that is due, with all that its body tells, and how often it was tried.

    ``artifacts`` are those of a summary's Requests. ``server`` is the build server that a mail to its owner is about,
    as it is now, and ``lost`` what it was building when contact was lost. One that has ``members`` is a digest: it
    tells of all of them, which were held back, and is marked with all of them.
    """

    mail: Mail
    build: Build | None
    requests: tuple[Request, ...]
    artifact: Artifact | None
    attempts: tuple[Attempt, ...]
    tries: int
    artifacts: tuple[Artifact, ...] = ()
    server: Server | None = None
    lost: tuple[Running, ...] = ()
    members: tuple[OutgoingMail, ...] = ()


class OutboxStore(Protocol):
    """The outbox, as the mailer uses it. Each call is one transaction."""

    async def due(self, now: float, limit: int) -> Sequence[OutgoingMail]:
        """Return at most ``limit`` mails that are to be tried now, oldest first; a digest is one of them."""

    async def hold(self, keys: Sequence[str], now: float, until: float) -> None:
        """Hold mails back, each to be told in a digest for its address: one that is not due, or a new one ``until``.

        Of a digest that is held back all members are.
        """

    async def next_due(self) -> float | None:
        """Return when the next unsent mail is to be tried (wall time), or None when there is none."""

    async def sent(self, key: str, now: float) -> None:
        """Mark a mail as taken by the mail server."""

    async def deferred(self, key: str, next_try: float, reason: str) -> None:
        """Note that a mail could not be sent now, and when to try again."""

    async def refused(self, key: str, now: float, reason: str) -> None:
        """Note on mail and requests that the mail server refused for good."""

    async def shift(self, seconds: float, now: float, latest: float) -> None:
        """Let every mail that was put off be tried so much later, but by ``latest``: the clock was set to ``now``.

        One that was not tried yet is due at once, whenever it was written.
        """


# --- what the pages read --------------------------------------------------------------------------------


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
class Running:
    """An Attempt that has not ended, and its Build."""

    attempt: Attempt
    build: Build


@frozen
class ServerLine:
    """A build server and what it is building, oldest first."""

    server: Server
    running: tuple[Running, ...]


@frozen
class BuildLine:
    """A Build for a list: the Attempt that decided it (or else the newest), its Artifact, and how many asked.

    ``attempt.log_tail`` is always empty here.
    """

    build: Build
    attempt: Attempt | None
    artifact: Artifact | None
    requests: int


@frozen
class RequestLine:
    """A Request, and what the mail server said when it refused the mail about it for good (else empty)."""

    request: Request
    mail_error: str = ""


@frozen
class BuildDetail:
    """All about one Build: its newest Attempts and first Requests, oldest first, and how many asked in all."""

    build: Build
    attempts: tuple[Attempt, ...]
    requests: tuple[RequestLine, ...]
    request_count: int
    artifact: Artifact | None


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
    """That the database answers, with the schema revision that it has."""

    revision: str


class Pages(Protocol):
    """What the pages read. Every method raises StorageUnavailable while the database cannot be read.

    Lists are paged by key, newest first: the next page is asked for with ``before`` the last id of this one.
    E-mail addresses are whole here; the presenters mask them.
    """

    async def overview(self, now: float) -> Overview:
        """Return the figures of the start page."""

    async def build_servers(self, *, skip: int = 0, limit: int = 50, name: str = "") -> Sequence[ServerLine]:
        """Return build servers, the connected ones first, by name; only the one called ``name`` if that is said."""

    async def builds(
        self,
        *,
        before: int | None = None,
        limit: int = 50,
        project: str | None = None,
        state: BuildState | None = None,
    ) -> Sequence[BuildLine]:
        """Return at most ``limit`` Builds with ids below ``before``, newest first; of a project or state if named."""

    async def build(self, build_id: int) -> BuildDetail | None:
        """Return all about one Build, or None when there is none of this id."""

    async def request(self, request_id: int) -> RequestLine | None:
        """Return one Request, or None when there is none of this id."""

    async def events(self, after: int, limit: int = 200) -> Sequence[EventLine]:
        """Return at most ``limit`` events with a ``seq`` above ``after``, oldest first."""

    async def health(self) -> Health:
        """Say that the database answers."""


class SourceResolver(Protocol):
    """What is asked of version control by the metaserver."""

    async def resolve(self, url: str, ref: str) -> str:
        """Return the full id of ``ref``, as ``r123`` for Subversion. Raises UnknownRef, RepositoryUnreachable."""

    async def acceptable(self, url: str, commit: str, revrange: str) -> tuple[str, ...]:
        """Return the commits that ``revrange`` accepts, nearest first. Raises UsageError, UnknownRef."""

    async def pin(self, url: str, commit: str) -> None:
        """Keep ``commit`` in the mirror whatever happens at the origin."""


class ArtifactFiles(Protocol):
    """Artifact bytes by digest, and uploads on their way there."""

    def present(self, digest: str, size: int) -> bool:
        """Say whether the file of this digest is there with this size. Raises StorageUnavailable: nobody knows."""

    async def publish(self, build_id: int, epoch: int, digest: str, size: int) -> None:
        """Move a finished upload to its digest, durably. Raises BadUpload, StorageUnavailable."""

    async def discard(self, build_id: int, epoch: int) -> None:
        """Throw away what an Attempt uploaded, if anything."""


class LogFiles(Protocol):
    """Log bytes by Build and epoch."""

    async def finish(self, build_id: int, epoch: int) -> None:
        """Compress a log that nothing will be appended to any more."""


class LogExtent(Protocol):
    """How long a log is by now, in bytes, and whether nothing will be appended to it any more."""

    @property
    def length(self) -> int: ...

    @property
    def finished(self) -> bool: ...


class LogReader(Protocol):
    """Log bytes by Build and epoch, for the pages."""

    async def state(self, build_id: int, epoch: int) -> LogExtent:
        """Return how much there is of a log. Raises NotFound when nothing of it has arrived, StorageUnavailable."""

    async def read(self, build_id: int, epoch: int, start: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``start`` on, b"" at the end. Raises NotFound, StorageUnavailable."""


# --- the metaserver's shell and what it talks through -------------------------------------------------


class BuildServers(Protocol):
    """The way to connected build servers; what cannot be delivered shows as a lost connection.

    The answer to an order comes back to the ``BuildServerDesk`` as ``accepted`` or as ``ended`` (refused).
    """

    def dispatch(self, server: str, session: int, order: Order) -> None:
        """Send an order to its build server."""

    def abort(self, server: str, session: int, order: AbortOrder) -> None:
        """Tell the build server to stop an Attempt."""

    def fence(self, server: str, session: int) -> None:
        """Close the connection of an older Session."""

    async def silence(self, server: str, session: int) -> float:
        """Ask a build server whether it is there; return for how many seconds nothing was heard of it, 0 if it answers.

        Infinity when it has no connection any more.
        """


class Followers(Protocol):
    """Requesters that wait in the foreground."""

    def follows(self, request_id: int) -> bool:
        """Say whether anybody follows this Request."""

    def moved(self, told: Told) -> None:
        """Tell whoever follows this Request how it stands."""


class Notifier(Protocol):
    """The mailer, as the scheduler's shell sees it."""

    def nudge(self) -> None:
        """There is new mail in the outbox."""


class OperatorStore(Protocol):
    """What only an operator asks of the database. Each call is one transaction."""

    async def mail_left(self) -> tuple[int, int]:
        """Return how many mails are to be sent, and how many were refused for good."""

    async def artifacts_by(self, server: str, after: int, limit: int) -> Sequence[Artifact]:
        """Return at most ``limit`` artifacts of a build server that are given out, with ids above ``after``."""


class ArtifactRemoval(Protocol):
    """Takes artifact files away."""

    async def remove_unless(self, digest: str, named: Callable[[], Awaitable[bool]]) -> bool:
        """Delete the file of a digest unless ``named()`` says that it is needed; say whether there was one.

        Nothing is published under that digest meanwhile. Raises StorageUnavailable.
        """


class OperatorDesk(Protocol):
    """What an operator may ask of the metaserver; ``by`` is who does. All raise BuildToolError for what cannot be."""

    async def standing(self) -> Standing:
        """Say how everything stands."""

    async def pause(self, message: PauseServer, by: str) -> Acted:
        """Give a build server nothing more."""

    async def resume(self, message: ResumeServer, by: str) -> Acted:
        """Give a build server builds again."""

    async def abort(self, message: AbortBuild, by: str) -> Acted:
        """End an open Build."""

    async def rebuild(self, message: RebuildBuild, by: str) -> Acted:
        """Build again what a Build built."""

    async def forget_server(self, message: ForgetServer, by: str) -> Acted:
        """Know a build server no more. Raises NotFound, and StillThere for one that is connected or has builds."""

    async def forget(self, message: ForgetFailure, by: str) -> Acted:
        """Forget that a Build failed."""

    async def purge(self, message: PurgeArtifact, by: str) -> Acted:
        """Give an artifact out no more."""

    async def purge_built_by(self, message: PurgeBuiltBy, by: str) -> Acted:
        """Give nothing out any more that a build server made."""

    async def drain(self, message: Drain, by: str) -> Acted:
        """Start nothing more and end once nothing runs, or go on as usual."""


class RequesterDesk(Protocol):
    """What requesters may ask of the metaserver. Every method raises BuildToolError for what cannot be done."""

    async def submit(self, message: Submit) -> Told:
        """Ask for a build; sending the same message again gives the same answer."""

    async def submit_together(self, message: SubmitTogether) -> ToldTogether:
        """Ask for several builds at once, about which one mail will tell."""

    async def cancel(self, message: Cancel) -> Told:
        """End a Request."""

    async def status(self, message: AskStatus) -> Told:
        """Say how a Request stands."""

    async def explain(self, message: AskExplain) -> Explanation:
        """Say what a submission would be answered, without making it."""

    async def why(self, message: AskWhy) -> Explanation:
        """Say why a Request waits."""

    async def build(self, message: AskBuild) -> Explanation:
        """Say how an open Build stands and why it waits. Raises NotFound for one that is not open."""

    async def health(self) -> HealthTold:
        """Say whether the metaserver can do its work."""


class Conditions(Protocol):
    """What keeps the metaserver from doing its work, if anything."""

    def problems(self) -> tuple[str, ...]:
        """Return each in one line; empty when all is well."""


class Questions(Protocol):
    """What the pages ask the metaserver, since it is not in the database."""

    async def why(self, build_id: int) -> Explanation | None:
        """Return how an open Build stands and why it waits; None when it is not open, or nobody answers in time."""


class BuildServerDesk(Protocol):
    """What build servers tell the metaserver. Every method raises BuildToolError for what cannot be taken in."""

    async def register(self, message: Register) -> Welcome:
        """Open a new Session for a build server. Raises NameTaken as long as another machine of its name is there."""

    async def disconnected(self, server: str, session: int, reason: str, *, clean: bool) -> None:
        """The connection of a Session ended."""

    async def accepted(self, server: str, session: int, message: Accepted) -> Ok:
        """The build server took an Attempt."""

    async def ended(self, server: str, session: int, message: Ended) -> Ok:
        """An Attempt ended without an artifact."""

    async def done(self, server: str, session: int, message: Done) -> Ok:
        """An Attempt's artifact is uploaded."""

    async def renew(self, server: str, session: int, message: RenewTickets) -> Tickets:
        """Give fresh tickets for a running Attempt."""

    async def heartbeat(self, server: str, session: int, message: Heartbeat) -> Heard:
        """A build server lives: the Leases of what it holds begin anew. Raises Fenced for an older Session."""

    async def draining(self, server: str, session: int, message: Draining) -> Ok:
        """A build server finishes what it has and takes no more orders."""


# --- the build server's shell and what it talks through ------------------------------------------------


class Orders(Protocol):
    """What the metaserver may ask of a build server."""

    async def build(self, order: Order) -> Accepted:
        """Take an Attempt, which then goes on by itself. Raises BuildToolError (the refusal's reason)."""

    async def abort(self, order: AbortOrder) -> Ok:
        """Stop an Attempt; its end is told when its processes are gone."""

    def held(self) -> tuple[Held, ...]:
        """Return every Attempt that is here, those whose end nobody has taken yet among them."""

    def connected(self, welcome: Welcome) -> None:
        """A Session is open; its ``verdicts`` say what is to become of what was held."""

    def judged(self, verdicts: Sequence[Judged]) -> None:
        """A heartbeat was answered with these verdicts."""

    def disconnected(self, reason: str) -> None:
        """The Session ended; another login will be tried. What is held goes on."""


class MetaserverLink(Protocol):
    """What a build server tells the metaserver. Every method raises Unavailable while there is no connection."""

    async def ended(self, message: Ended) -> Ok:
        """Say how an Attempt ended without an artifact."""

    async def done(self, message: Done) -> Ok:
        """Say that an Attempt's artifact is uploaded."""

    async def renew(self, message: RenewTickets) -> Tickets:
        """Ask for fresh tickets."""

    async def draining(self, message: Draining) -> Ok:
        """Say that no more orders are taken."""


class Uploads(Protocol):
    """Bytes from a build server to the transfer port."""

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes) -> int:
        """Append ``data`` at ``offset`` and return the log's length there. Raises Unavailable, BadTicket, BadUpload."""

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        """Send a file, resuming where an earlier try stopped. Raises Unavailable, BadTicket, BadUpload."""


@frozen
class Spooled:
    """How an Attempt ended, as it is kept on disk until the metaserver has taken it; ``artifact`` is a Done's file."""

    end: Done | Ended
    artifact: Path | None = None


class SpoolFiles(Protocol):
    """Ends of Attempts on disk, one for each Build and epoch: they outlive this program, and a loss of power."""

    async def keep(self, end: Done | Ended, artifact: Path | None = None) -> Spooled:
        """Keep an end durably, in the place of an earlier one of that Attempt; ``artifact`` is moved there.

        Raises MachineFault when the disk does not let it; then everything is as it was.
        """

    async def entries(self) -> Sequence[Spooled]:
        """Return all that is kept, oldest first; what is not whole is deleted. Raises MachineFault."""

    async def drop(self, build_id: int, epoch: int) -> None:
        """Forget an end and delete its file; that there is none does not matter. Raises MachineFault."""


SourceCopy = Callable[[Path], Awaitable[None]]
"""Writes what the metaserver has of an Attempt's commit to a path. Raises NotFound when it has nothing, Unavailable."""


class SourceCopies(Protocol):
    """Commits that the metaserver keeps, from its transfer port."""

    async def fetch_copy(self, url: str, ticket: str, path: Path) -> None:
        """Write a copy to ``path``. Raises NotFound where there is none, Unavailable, BadTicket, StorageUnavailable."""


class Sources(Protocol):
    """What is asked of version control by a build server."""

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        """Return a directory that holds exactly ``commit``; one ``slot`` has one, used by one build at a time.

        Where the repository does not give the commit out, ``copy`` is what the metaserver has of it. Raises UnknownRef,
        CommitGone, RepositoryUnreachable, MachineFault, Unavailable.
        """


@frozen
class Obstacle:
    """What was in the way of a command that was not started: the system's ``errno``, 0 where it gave none.

    ``where`` is the directory or program that could not be used; of a program that is not there, all places where it
    was looked for. It is empty where it was neither.
    """

    errno: int
    where: tuple[Path, ...] = ()


class CommandEnd(Protocol):
    """How a command ended; its process group is gone. ``adapters.processes.Ended`` says what the fields mean."""

    @property
    def code(self) -> int | None: ...

    @property
    def cause(self) -> str: ...

    @property
    def seconds(self) -> float: ...

    @property
    def detail(self) -> str: ...

    @property
    def succeeded(self) -> bool: ...

    @property
    def killed_from_outside(self) -> bool: ...

    @property
    def obstacle(self) -> Obstacle | None: ...


class RunningCommand(Protocol):
    """A command that was started; ``ended`` is awaited for its end."""

    @property
    def ended(self) -> Awaitable[CommandEnd]: ...

    def stop(self, reason: str) -> None:
        """End it: TERM to the whole group, then KILL. May be repeated."""


class Commands(Protocol):
    """Starts commands as processes of their own."""

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], Awaitable[None]],
        time_limit: float,
        silence_limit: float,
    ) -> RunningCommand:
        """Start a command whose whole environment is given; limits are in seconds."""


class PackedFile(Protocol):
    """An archive that was written: its size in bytes and its digests, in hex."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> str: ...

    @property
    def content_digest(self) -> str: ...


class Halted(Exception):
    """Work in a thread ended because it was told to; whoever told it knows why."""


class Halt:
    """Tells work that goes on in a thread to end: asked for in the reactor's thread, looked at between small steps."""

    def __init__(self) -> None:
        self.reason = ""

    def ask(self, reason: str) -> None:
        """Let the work end at its next step. May be repeated; the first reason counts."""
        self.reason = self.reason or reason or "stopped"

    def check(self) -> None:
        """Raise Halted once somebody has asked for that."""
        if self.reason:
            raise Halted(self.reason)


@frozen
class SlotPlace:
    """What one build has to itself besides its sources: a home directory, temporary space, room for the archive."""

    home: Path
    temporary: Path
    output: Path


class Workshop(Protocol):
    """The build server's own files. Every method raises MachineFault when the disk does not let it.

    Those that get a Halt end soon after it was asked for, and raise Halted.
    """

    async def prepare(self, slot: int, halt: Halt) -> SlotPlace:
        """Return fresh, empty directories for ``slot``."""

    async def arches(self, archive: Path, halt: Halt) -> frozenset[str]:
        """Return the architectures of the programs and shared libraries in an archive, as far as they are known."""

    async def pack(self, root: Path, names: Sequence[str], output: Path, limit: int, halt: Halt) -> PackedFile:
        """Pack what a recipe delivers, at most ``limit`` bytes. Raises BuildFailed and what it is the parent of too."""

    async def clear(self, slot: int, halt: Halt) -> None:
        """Delete what a build left in its directories."""

    async def machine(self) -> Mapping[str, Value]:
        """Return the machine's properties as they are now: free disk and memory among them, in MiB."""


# --- the requester's shell and what it talks through ----------------------------------------------------


class MetaserverClient(Protocol):
    """What a requester asks. Every method raises Unavailable without a connection, or the error that was answered."""

    async def submit(self, message: Submit) -> Told:
        """Ask for a build."""

    async def submit_together(self, message: SubmitTogether) -> ToldTogether:
        """Ask for several builds at once."""

    async def cancel(self, message: Cancel) -> Told:
        """End a Request."""

    async def status(self, message: AskStatus) -> Told:
        """Ask how a Request stands."""

    async def explain(self, message: AskExplain) -> Explanation:
        """Ask what a submission would be answered."""

    async def why(self, message: AskWhy) -> Explanation:
        """Ask why a Request waits."""

    async def build(self, message: AskBuild) -> Explanation:
        """Ask how an open Build stands."""

    async def follow(self, message: Follow, moved: Callable[[Told], None]) -> Told:
        """Hear of every change of a Request; returns how it stands now."""

    async def closed(self) -> str:
        """Return why the connection ended, once it has."""

    def close(self) -> None:
        """End the connection."""


class Downloads(Protocol):
    """Bytes from the transfer port to a requester."""

    async def fetch(self, url: str, path: str, size: int, digest: str, progress: Callable[[int], None]) -> None:
        """Fetch to ``path`` (written beside it, verified, renamed). Raises Unavailable, BadUpload (wrong digest)."""

    async def log(self, url: str, offset: int, wait: float) -> tuple[bytes, bool]:
        """Return log bytes from ``offset`` and whether the log is finished; waits up to ``wait`` seconds for more."""
