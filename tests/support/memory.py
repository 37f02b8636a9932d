"""In-memory stand-ins for what the metaserver's shell talks to, behind the same ports as the real ones."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.storage.artifacts import DIGEST
from buildtool.errors import BadUpload, StorageUnavailable, WrongDigest
from buildtool.model.access.burnt import Burnt
from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import Identity, Invitation
from buildtool.model.access.tokens import Token
from buildtool.model.matching.shelves import Shelf, stocked
from buildtool.model.notices.notice import Notice
from buildtool.model.records import (
    AnsweredRequest,
    Artifact,
    Attempt,
    AttemptState,
    AuditEvent,
    Build,
    Refusal,
    RememberedFailure,
    Request,
    RequestState,
    Row,
    ShelfKey,
)
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.model.servers import Server
from buildtool.ports.metaserver import Snapshot
from buildtool.scheduling.effects import Effect
from tests.scheduling.broker import OPEN_BUILD, beat_of, write

R = TypeVar("R")


@define
class MemoryStore:
    """Implements ``ports.BrokerStore``. ``problems`` are raised by the next commits, one each; None lets one pass.

    With ``took_effect`` what they were to write is written all the same. While ``held`` is a list, commits wait in it
    until a test calls them back.
    """

    rows: dict[tuple[str, object], Row] = field(factory=dict)
    happened: list[AuditEvent] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    commits: list[int] = field(factory=list)
    problems: list[Exception | None] = field(factory=list)
    took_effect: bool = False
    refuse: Callable[[Row], Exception | None] = lambda _row: None
    held: list[Deferred[None]] | None = None

    def all(self, kind: type[R]) -> list[R]:
        return [row for row in self.rows.values() if isinstance(row, kind)]

    async def load(self) -> Snapshot:
        requests = tuple(row for row in self.all(Request) if row.state is RequestState.WAITING)
        builds = tuple(row for row in self.all(Build) if row.state in OPEN_BUILD)
        return Snapshot(
            requests,
            builds,
            tuple(row for row in self.all(Attempt) if row.state is not AttemptState.ENDED),
            tuple(self.all(Server)),
            tuple(self.all(Refusal)),
            1 + max((row.id for row in self.all(Request)), default=0),
            1 + max((row.id for row in self.all(Build)), default=0),
            1 + max((row.id for row in self.all(Artifact)), default=0),
            beat=beat_of(self.rows),
        )

    async def requests_of(self, email: str, most: int) -> Sequence[Request]:
        own = [row for row in self.all(Request) if row.email == email and row.build_id is not None]
        return sorted(own, key=lambda row: -row.id)[:most]

    async def accounts(self) -> Sequence[Identity | Invitation]:
        return [*self.all(Identity), *self.all(Invitation)]

    async def addresses(self) -> Sequence[MailAddress]:
        return sorted(self.all(MailAddress), key=lambda row: row.mailed_at)

    async def tokens(self) -> Sequence[Token]:
        return sorted(self.all(Token), key=lambda row: row.made)

    async def answered(self, client_ids: Iterable[str]) -> Mapping[str, AnsweredRequest]:
        wanted = set(client_ids)
        return {
            row.client_id: AnsweredRequest(row.id, row.body_digest, row.answer)
            for row in self.all(Request)
            if row.client_id in wanted
        }

    async def known(
        self, keys: Iterable[ShelfKey], client_ids: Iterable[str], now: float
    ) -> tuple[Mapping[ShelfKey, Shelf], Mapping[str, AnsweredRequest]]:
        return {key: self._shelf(key, now) for key in keys}, await self.answered(client_ids)

    async def commit(self, told: Sequence[Row | Notice], happened: Sequence[AuditEvent], now: float) -> None:
        rows = [row for row in told if not isinstance(row, Notice)]
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting
        problem = self.problems.pop(0) if self.problems else None
        for row in rows:
            problem = problem or self.refuse(row)
        if problem is not None and not self.took_effect:
            raise problem
        write(self.rows, rows)
        if problem is not None:
            raise problem
        self.notices.extend(row for row in told if isinstance(row, Notice))
        self.happened.extend(happened)
        self.commits.append(len(rows))

    async def request(self, request_id: int) -> Request | None:
        return next((row for row in self.all(Request) if row.id == request_id), None)

    async def build(self, build_id: int) -> Build | None:
        return next((row for row in self.all(Build) if row.id == build_id), None)

    async def artifact(self, artifact_id: int) -> Artifact | None:
        return next((row for row in self.all(Artifact) if row.id == artifact_id), None)

    async def attempts(self, build_id: int) -> Sequence[Attempt]:
        return sorted((row for row in self.all(Attempt) if row.build_id == build_id), key=lambda row: row.epoch)

    async def similar(self, key: ShelfKey, limit: int) -> Sequence[Artifact]:
        found = [row for row in self.all(Artifact) if row.shelf.project == key.project and not row.withdrawn]
        return sorted(found, key=lambda row: -row.id)[:limit]

    async def artifacts_of(self, digest: str) -> Sequence[Artifact]:
        return [row for row in self.all(Artifact) if row.digest == digest and not row.withdrawn]

    def _shelf(self, key: ShelfKey, now: float) -> Shelf:
        artifacts = [row for row in self.all(Artifact) if row.shelf == key and not row.withdrawn]
        failures = [row for row in self.all(RememberedFailure) if row.shelf == key and row.until > now]
        return stocked(sorted(artifacts, key=lambda row: -row.id), sorted(failures, key=lambda row: -row.build_id))


@define
class MemoryCommits:
    """Implements ``ports.CommitStore``. ``problem`` is raised by the next call; ``writes`` counts what was written."""

    notes: dict[RevisionKey, CommitNote] = field(factory=dict)
    writes: list[int] = field(factory=list)
    problem: Exception | None = None

    async def unknown(self, revisions: Sequence[RevisionKey]) -> Sequence[RevisionKey]:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        return [one for one in revisions if one not in self.notes]

    async def keep(self, notes: Mapping[RevisionKey, CommitNote]) -> None:
        self.notes |= notes
        self.writes.append(len(notes))


@define
class MemoryBurnt:
    """Implements ``ports.BurntStore``. ``problem`` is raised by the next append."""

    kept: list[Burnt] = field(factory=list)
    problem: Exception | None = None

    async def append(self, burnt: Sequence[Burnt]) -> None:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        self.kept += burnt

    async def read(self) -> Sequence[Burnt]:
        return list(self.kept)


@define
class MemoryFiles:
    """Implements ``ports.ArtifactFiles`` and ``ArtifactRemover``: every digest is there but those ``missing``.

    ``uploads`` are digest and size of what was sent, by build and epoch; ``removed`` the digests whose files went.
    ``trouble`` is raised while it is set.
    """

    missing: set[str] = field(factory=set)
    asked: list[str] = field(factory=list)
    uploads: dict[tuple[int, int], tuple[str, int]] = field(factory=dict)
    sizes: dict[str, int] = field(factory=dict)
    removed: list[str] = field(factory=list)
    questions: int = 0
    trouble: Exception | None = None

    async def absent(self, files: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        self.questions += 1
        self._check()
        self.asked += [digest for digest, _ in files]
        return frozenset(one for one in files if not self._has(*one))

    async def publish(self, build_id: int, epoch: int, digest: str, size: int) -> None:
        self._check()
        sent = self.uploads.pop((build_id, epoch), None)
        if sent == (digest, size):
            self.missing.discard(digest)
            self.sizes[digest] = size
        elif not self._has(digest, size):
            if sent is not None and sent[1] == size:
                raise WrongDigest("other bytes were sent")
            raise BadUpload("it was not sent whole")

    async def discard(self, build_id: int, epoch: int) -> None:
        self._check()
        self.uploads.pop((build_id, epoch), None)

    async def remove_unless(self, digest: str, named: Callable[[], Awaitable[bool]]) -> bool:
        if await named():
            return False
        self._check()
        if digest in self.missing:
            return False
        self.missing.add(digest)
        self.removed.append(digest)
        return True

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _has(self, digest: str, size: int) -> bool:
        known = digest not in self.missing and DIGEST.fullmatch(digest) is not None
        return known and self.sizes.get(digest, size) == size


@define
class WallClock:
    """Implements ``ports.Clock``: the time that a test sets, which passes as ``passing`` does, if that is said."""

    now: float = 1_000.0
    passing: IReactorTime | None = None

    def wall(self) -> float:
        return self.now + (0.0 if self.passing is None else self.passing.seconds())


@define
class Performed:
    """Implements ``broker.Performer``: keeps what it was asked to do. ``order`` is shared with a test's own notes."""

    effects: list[Effect] = field(factory=list)
    ended: list[Attempt] = field(factory=list)
    order: list[str] = field(factory=list)
    problem: Exception | None = None

    def perform(self, effect: Effect) -> None:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        self.effects.append(effect)
        self.order.append(type(effect).__name__)

    def attempt_ended(self, attempt: Attempt) -> None:
        self.ended.append(attempt)


def full_disk() -> StorageUnavailable:
    """What a database on a full disk says."""
    return StorageUnavailable("database or disk is full")


__all__ = ["MemoryBurnt", "MemoryFiles", "MemoryStore", "Performed", "WallClock", "full_disk"]
