"""What the metaserver needs from outside, and what it offers to its ports. Times are wall time, in seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from attrs import frozen

from buildtool.errors import BuildToolError
from buildtool.model.access.burnt import Burnt
from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import Account
from buildtool.model.access.tokens import Token
from buildtool.model.matching.shelves import Shelf
from buildtool.model.notices.notice import Notice
from buildtool.model.principal import Principal
from buildtool.model.records import (
    AnsweredRequest,
    Artifact,
    Attempt,
    AuditEvent,
    Build,
    Mail,
    Refusal,
    Request,
    Row,
    ShelfKey,
)
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.model.servers import Server
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.ports.pages import RunningBuild
from buildtool.protocol.messages import AbortOrder, Order, RequestStatus


@frozen
class Snapshot:
    """All that is open, as the database has it at the start, and the next free numbers.

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


class BrokerStore(Protocol):
    """The metaserver's database, as the scheduler's shell uses it. Each call is one transaction."""

    async def load(self) -> Snapshot:
        """Return everything that is open."""

    async def accounts(self) -> Sequence[Account]:
        """Return all Identities and Invitations."""

    async def addresses(self) -> Sequence[MailAddress]:
        """Return all mail addresses that a code was mailed to, in the order of when that was last."""

    async def tokens(self) -> Sequence[Token]:
        """Return all tokens and sessions, in the order in which they were made."""

    async def answered(self, client_ids: Iterable[str]) -> Mapping[str, AnsweredRequest]:
        """Return what was answered to these client request ids; ids never seen are left out."""

    async def known(
        self, keys: Iterable[ShelfKey], client_ids: Iterable[str], now: float
    ) -> tuple[Mapping[ShelfKey, Shelf], Mapping[str, AnsweredRequest]]:
        """Return the artifacts given out, newest first, and the failures still remembered, for every key asked.

        And what ``answered`` does, in the same transaction: decisions wait for both.
        """

    async def commit(self, rows: Sequence[Row | Notice], happened: Sequence[AuditEvent], now: float) -> None:
        """Write all rows and events in one durable transaction. Raises StorageUnavailable; then nothing is written."""

    async def request(self, request_id: int) -> Request | None:
        """Return a Request, open or ended."""

    async def requests_of(self, email: str, most: int) -> Sequence[Request]:
        """Return at most ``most`` Requests for an e-mail address that something was built for, newest first."""

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
    lost: tuple[RunningBuild, ...] = ()
    members: tuple[OutgoingMail, ...] = ()


class OutboxStore(Protocol):
    """The outbox, as the mailer uses it. Each call is one transaction."""

    async def due(self, now: float, limit: int) -> Sequence[OutgoingMail]:
        """Return at most ``limit`` mails that are to be tried now, longest due first; a digest is one of them."""

    async def hold(self, keys: Sequence[str], now: float, until: float) -> None:
        """Hold mails back, each to be told in a digest for its address: one that is not due, or a new one ``until``.

        Of a digest that is held back all members are.
        """

    async def next_due(self) -> float | None:
        """Return when the next unsent mail is to be tried (wall time), or None when there is none."""

    async def sent(self, key: str, now: float) -> None:
        """Mark a mail as taken by the mail server. Raises NotFound for one that is not in the outbox."""

    async def deferred(self, key: str, next_try: float, reason: str) -> None:
        """Record that a mail could not be sent now, why, and when to try again. Raises NotFound."""

    async def refused(self, key: str, now: float, reason: str) -> None:
        """Record on mail and requests that the mail server refused for good. Raises NotFound."""

    async def withheld(self, keys: Sequence[str], now: float, reason: str) -> None:
        """Record that mails are not sent, and why, on them and on their requests; what is marked before stays so."""

    async def shift(self, seconds: float, now: float, latest: float) -> None:
        """Delay every mail that was put off by so many seconds, to ``latest`` at most: the clock was set to ``now``.

        One that was not tried yet is due at once, whenever it was written, unless it is held back for a digest.
        """


class SourceResolver(Protocol):
    """The version control with which the metaserver resolves revisions."""

    async def resolve(self, url: str, ref: str) -> str:
        """Return the full id of ``ref``, as ``r123`` for Subversion. Raises UnknownRef, RepositoryUnreachable."""

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        """Return the commits that ``revrange`` accepts, nearest first; later ones are on the way from ``refs``.

        Raises UsageError, UnknownRef.
        """

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        """Return whether ``commit``, which was resolved before, is one of ``refs`` or lies before one of them now.

        Of Subversion it always is: its author may write at the URL. What cannot be found out is not.
        """

    async def pin(self, url: str, commit: str) -> None:
        """Keep ``commit`` in the mirror whatever happens at the origin."""

    async def older(
        self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        """Return those of ``among``, refs as typed with full ids, that are the same ref and lie before ``commit``.

        ``commit`` is what ``ref`` was resolved to: of what a force-push took away nothing lies before it. Raises
        UsageError where ``ref`` is the id of a revision, UnknownRef, RepositoryUnreachable.
        """

    async def refs(self, url: str) -> Sequence[str]:
        """Return the newest branches and tags, as they were when the origin was asked last; none for Subversion."""


class CommitReader(Protocol):
    """The version control, as what a revision is about is read there."""

    async def about(self, url: str, commit: str) -> CommitNote | None:
        """Return what a commit with a full id, which was resolved before, is about; None where that cannot be read.

        Raises RepositoryUnreachable.
        """


class CommitStore(Protocol):
    """The database, as what revisions are about is written there. Every method raises StorageUnavailable."""

    async def unknown(self, revisions: Sequence[RevisionKey]) -> Sequence[RevisionKey]:
        """Return those of which nothing is written."""

    async def keep(self, notes: Mapping[RevisionKey, CommitNote]) -> None:
        """Write what revisions are about; what was written of one before is replaced."""


@frozen
class Bundle:
    """A commit packed into a file, for build servers that the origin does not give it to: size in bytes, SHA-256."""

    path: Path
    size: int
    digest: str


class BeingMade(BuildToolError):
    """A bundle is not ready yet."""

    code = "being-made"


class ArtifactFiles(Protocol):
    """The bytes of artifacts by digest, and uploads on their way there."""

    async def absent(self, files: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """Return those of the files, told by digest and size in bytes, that are not there with that size.

        Raises StorageUnavailable where it cannot be known.
        """

    async def publish(self, build_id: int, epoch: int, digest: str, size: int) -> None:
        """Move a finished upload of ``size`` bytes to its digest, durably.

        Raises BadUpload, UnsafeArchive (then it is gone), StorageUnavailable.
        """

    async def discard(self, build_id: int, epoch: int) -> None:
        """Delete what an Attempt uploaded, if anything."""


class LogFiles(Protocol):
    """The bytes of logs by Build and epoch."""

    async def finish(self, build_id: int, epoch: int) -> None:
        """Compress a log that nothing will be appended to any more."""


# --- the metaserver's shell and what it talks through -------------------------------------------------

Handler = Callable[[Principal, Any], Awaitable[Any]]
"""Answers a message of whoever calls with a message. Raises BuildToolError for what cannot be done."""

Handlers = Mapping[type[attrs.AttrsInstance], Handler]
"""What a service can be asked, each message with its handler: the same for every way in."""


@frozen
class Signed:
    """A certificate (PEM) that was made for a key (``key_id``), and when it expires (wall time in seconds)."""

    key: str
    certificate: str
    expires: float


class CertificateSigner(Protocol):
    """The farm's authority: it signs for keys. ``fingerprint`` identifies its own."""

    @property
    def fingerprint(self) -> str:
        """The ``key_id`` of the authority that signs now."""

    def authorities(self, now: float) -> tuple[str, ...]:
        """Return the certificates of all authorities to believe (PEM), the one that signs ``now`` first."""

    def fingerprints(self, now: float) -> tuple[str, ...]:
        """Return the ``key_id`` of each of these authorities."""

    def is_current(self, certificate: str) -> bool:
        """Return whether the authority that signs now made a certificate (PEM)."""

    async def rotate(self, now: float) -> None:
        """Make a new authority; the older ones are believed for a while. Raises UsageError, StorageUnavailable."""

    def sign(self, request: str, name: str, now: float) -> Signed:
        """Return a certificate for the key of a request (PKCS #10, PEM). Raises UsageError for one that is none."""

    def renew(self, certificate: str, name: str, now: float) -> Signed:
        """Return the next certificate for the key of a certificate that was made here (PEM)."""


class BurntStore(Protocol):
    """A record, outside of the database, of what can never be used again: revoked keys and used invitations."""

    async def append(self, burnt: Sequence[Burnt]) -> None:
        """Add to what is kept, durably. Raises StorageUnavailable."""

    async def read(self) -> Sequence[Burnt]:
        """Return all that is kept. Raises StorageUnavailable."""


@frozen
class ConnectionEnded:
    """The connection of a build server's Session ended. Never sent over the wire.

    ``clean`` if it said good-bye, ``final`` if its key was revoked.
    """

    reason: str
    clean: bool
    final: bool = False


class BuildServers(Protocol):
    """The way to connected build servers; what cannot be delivered shows as a lost connection.

    The answer to an order comes back to the service for build servers as Accepted or as Ended (refused).
    """

    def dispatch(self, server: str, session: int, order: Order) -> None:
        """Send an order to its build server."""

    def abort(self, server: str, session: int, order: AbortOrder) -> None:
        """Send a build server the order to stop an Attempt."""

    def fence(self, server: str, session: int) -> None:
        """Close the connection of an older Session."""

    async def silence(self, server: str, session: int) -> float:
        """Ask a build server whether it is there; return for how many seconds nothing was heard of it, 0 if it answers.

        Infinity when it has no connection any more.
        """


class Followers(Protocol):
    """The requesters that wait in the foreground."""

    def follows(self, request_id: int) -> bool:
        """Return whether a Request has a follower."""

    def moved(self, status: RequestStatus) -> None:
        """Send a Request's new status to its followers."""


class Notifier(Protocol):
    """One way of telling what was decided, of which mail is one: it tells what lies in its outbox, at least once."""

    def nudge(self, targets: Collection[str] = ()) -> None:
        """Wake the notifier: there is something new in its outbox, for these targets where it has several."""


class OperatorStore(Protocol):
    """The database, as an operator's actions use it. Each call is one transaction."""

    async def mail_left(self) -> tuple[int, int]:
        """Return how many mails are to be sent, and how many were refused for good."""

    async def oldest_mail(self) -> float | None:
        """Return when the oldest mail was written that is to be sent, None where there is none."""

    async def mail_returned(self, request_id: int, reason: str) -> int:
        """Record on a Request, and on those that the same mail told of, why that came back; count them."""

    async def artifacts_by(self, server: str, after: int, limit: int) -> Sequence[Artifact]:
        """Return at most ``limit`` artifacts of a build server that are given out, with ids above ``after``."""


class ArtifactRemover(Protocol):
    """The remover of artifact files."""

    async def remove_unless(self, digest: str, named: Callable[[], Awaitable[bool]]) -> bool:
        """Delete the file of a digest unless ``named()`` says that it is needed; return whether there was one.

        Nothing is published under that digest meanwhile. Raises StorageUnavailable.
        """


class Conditions(Protocol):
    """The problems that keep the metaserver from doing its work."""

    def problems(self) -> tuple[str, ...]:
        """Return each problem in one line; empty when all is well."""
