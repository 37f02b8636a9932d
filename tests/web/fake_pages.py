"""What the pages read, in memory: the fakes that stand in for the database and the log store."""

from collections import Counter
from collections.abc import Collection, Sequence

from attrs import AttrsInstance, define, evolve, field, frozen
from twisted.internet.defer import Deferred

from buildtool.errors import NotFound, StorageUnavailable, Unavailable
from buildtool.model.access.rights import platform_names
from buildtool.model.guest.history import month_of
from buildtool.model.keeping.gone import EXPIRED
from buildtool.model.logs.index import FOUND_LIMIT, FoundInLog, LogIndex
from buildtool.model.logs.marks import LogMark
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildState,
    Request,
    RequestState,
)
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.model.search.terms import Term, asked_terms, found, query_groups, server_term, spec_terms
from buildtool.model.servers import Server
from buildtool.ports.pages import (
    ATTEMPTS_SHOWN,
    LINE_LIMIT,
    LINES_LIMIT,
    REQUESTS_SHOWN,
    A,
    BuildDetail,
    BuildLine,
    BuildsAsked,
    BuildsFound,
    EventLine,
    Health,
    HourCount,
    Overview,
    RequestLine,
    RunningBuild,
    ServerLine,
    ShownVisitor,
    StateCount,
)
from buildtool.ports.work import WorkFound, WorkLine
from buildtool.protocol.messages import Explanation, HealthStatus
from buildtool.scheduling.order.rounds import place_of

NOW = 1_790_000_000.0
"""The wall time of every test."""

IN_A_SLOT = (AttemptState.OFFERED, AttemptState.BUILDING, AttemptState.ABORTING)


@define
class FakePages:
    """The rows of a metaserver; ``broken`` is raised by every method when it is set."""

    builds_made: list[Build] = field(factory=list)
    attempts: list[Attempt] = field(factory=list)
    artifacts: list[Artifact] = field(factory=list)
    requests: list[Request] = field(factory=list)
    servers: list[Server] = field(factory=list)
    mail_errors: dict[int, str] = field(factory=dict)
    hour_counts: list[HourCount] = field(factory=list)
    commits: dict[RevisionKey, CommitNote] = field(factory=dict)
    logs_gone: dict[int, str] = field(factory=dict)
    last_event: int = 0
    broken: Exception | None = None

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _running(self) -> list[RunningBuild]:
        """Everything that takes a slot, oldest first."""
        made = {build.id: build for build in self.builds_made}
        open_ones = [it for it in self.attempts if it.state in IN_A_SLOT and it.build_id in made]
        in_order = sorted(open_ones, key=lambda it: (it.offered_at, it.build_id))
        return [RunningBuild(evolve(it, log_tail=""), made[it.build_id]) for it in in_order]

    def _artifact(self, build: Build) -> Artifact | None:
        return next((it for it in self.artifacts if it.id == build.artifact_id), None)

    def _commit(self, build: Build) -> CommitNote | None:
        return self.commits.get(RevisionKey(build.spec.project, build.spec.source, build.spec.revision))

    def _line(self, build: Build) -> BuildLine:
        epoch = build.epoch if build.deciding_epoch is None else build.deciding_epoch
        chosen = [it for it in self.attempts if (it.build_id, it.epoch) == (build.id, epoch)]
        tried = chosen[-1] if chosen else None
        made = self._artifact(build)
        made = made if made is not None and not made.withdrawn else None
        asked = sorted((it for it in self.requests if it.build_id == build.id), key=lambda it: it.id)
        first = asked[0] if asked else None
        spec, commit = build.spec, self._commit(build)
        people = list(dict.fromkeys(it.email.lower() for it in sorted(self.requests, key=lambda it: it.id)))
        return BuildLine(
            build.id, build.state, spec.project, spec.source, spec.revision, spec.options, spec.platform,
            build.created_at, build.started_at, build.ended_at, build.not_before, build.reason, build.place,
            build.epoch, tried.epoch if tried else None, tried.server if tried else "", tried.kind if tried else None,
            tried.offered_at if tried else None, tried.accepted_at if tried else None,
            tried.ended_at if tried else None, tried.reason if tried else "",
            made.digest if made else "", made.content_digest if made else "", made.name if made else "",
            made.size if made else 0, made.platform if made else (), made.server if made else "",
            made.built_at if made else 0.0,
            len(asked), first.demand.ref if first else "", first.demand.revrange if first else "",
            first.email if first else "", 1 + people.index(first.email.lower()) if first else -1,
            commit.subject if commit else "", due=place_of(build)[0] if build.state is BuildState.QUEUED else 0.0,
            trust=spec.policy.source,
        )  # fmt: skip

    def terms(self, build: Build) -> set[Term]:
        """Return what a build is found by."""
        spec = build.spec
        own = set(spec_terms(spec.project, spec.revision, spec.options, spec.platform))
        own |= {server_term(it.server) for it in self.attempts if it.build_id == build.id}
        for it in self.requests:
            if it.build_id == build.id:
                own |= set(asked_terms(it.email, it.demand.ref, it.demand.spec.revision))
        return own

    async def overview(self, now: float) -> Overview:
        self._check()
        states = Counter(build.state for build in self.builds_made)
        connected = [server for server in self.servers if server.connected]
        queued = [build for build in self.builds_made if build.state is BuildState.QUEUED]
        given_out = [it for it in self.artifacts if not it.withdrawn]
        return Overview(
            builds={state: states[state] for state in BuildState},
            requests_waiting=sum(it.state is RequestState.WAITING for it in self.requests),
            servers_connected=len(connected),
            servers_known=len(self.servers),
            slots=sum(server.capability.max_builds for server in connected),
            running=len(self._running()),
            artifacts=len(given_out),
            artifact_bytes=sum(it.size for it in given_out),
            mails_unsent=0,
            mails_refused=len(self.mail_errors),
            oldest_queued=min(queued, key=lambda build: build.place, default=None),
            last_event=self.last_event,
        )

    async def build_servers(self, *, skip: int = 0, limit: int = 50, name: str = "") -> Sequence[ServerLine]:
        self._check()
        wanted = [it for it in self.servers if name in ("", it.name)]
        shown = sorted(wanted, key=lambda it: (not it.connected, it.name))[max(skip, 0) :][:limit]
        running = self._running()
        return [ServerLine(it, tuple(one for one in running if one.attempt.server == it.name)) for it in shown]

    async def builds(self, asked: BuildsAsked) -> BuildsFound:
        self._check()
        query, since = asked.query, asked.query.since_at(asked.now)
        groups = list(query_groups(query, asked.mine))
        seen = [it for it in self.builds_made if asked.sees is None or asked.sees(it.spec.project, it.spec.platform)]
        fitting = [
            it
            for it in sorted(seen, key=lambda build: -build.id)
            if all(found(self.terms(it), group) for group in groups)
            and (not query.number or it.id in query.number)
            and (since is None or it.created_at >= since)
        ]
        counts = Counter(it.state for it in fitting)
        platforms = {max(platform_names(it.spec.platform), key=len, default="") for it in seen} - {""}
        chosen = [
            it
            for it in fitting
            if (not query.state or it.state in query.state)
            and (asked.before is None or it.id < asked.before)
            and (asked.after is None or it.id > asked.after)
        ]
        limit = max(asked.limit, 0)
        backwards = asked.after is not None and asked.before is None
        shown = chosen[-limit:] if backwards and limit else chosen[:limit]
        return BuildsFound(
            tuple(map(self._line, shown)),
            bool(limit) and len(chosen) > limit,
            None,
            {state: StateCount(counts[state], exact=True) for state in BuildState} if asked.counted else {},
            tuple(sorted(platforms)) if asked.counted else (),
        )

    async def build(self, build_id: int) -> BuildDetail | None:
        self._check()
        for build in self.builds_made:
            if build.id == build_id:
                asked = sorted((it for it in self.requests if it.build_id == build_id), key=lambda it: it.id)
                lines = tuple(RequestLine(it, self.mail_errors.get(it.id, "")) for it in asked[:REQUESTS_SHOWN])
                attempts = sorted((it for it in self.attempts if it.build_id == build_id), key=lambda it: it.epoch)
                newest = tuple(attempts[-ATTEMPTS_SHOWN:])
                made, gone = self._artifact(build), self.logs_gone.get(build.id, "")
                return BuildDetail(build, newest, lines, len(asked), made, self._commit(build), gone)
        return None

    async def artifact_gone(self, digest: str) -> str:
        self._check()
        found = [one.withdrawn for one in reversed(self.artifacts) if one.digest == digest]
        return "" if "" in found else next((one for one in found if one.startswith(EXPIRED)), "")

    async def request(self, request_id: int) -> RequestLine | None:
        self._check()
        found = [it for it in self.requests if it.id == request_id]
        return RequestLine(found[0], self.mail_errors.get(request_id, "")) if found else None

    async def events(self, after: int, limit: int = 200) -> Sequence[EventLine]:
        self._check()
        return []

    async def hours(self, first: int) -> Sequence[HourCount]:
        self._check()
        return [one for one in self.hour_counts if one.hour >= first]

    async def artifacts_of(self, digest: str) -> Sequence[Artifact]:
        self._check()
        return [it for it in self.artifacts if it.digest == digest and not it.withdrawn]

    async def work(self, servers: Sequence[str], since: str = "", *, each: bool = False) -> WorkFound:
        self._check()
        projects = {build.id: build.spec.project for build in self.builds_made}
        found: dict[tuple[str, str], WorkLine] = {}
        people: dict[tuple[str, str], set[str]] = {}
        for it in self.attempts:
            begun = it.state is AttemptState.ENDED and it.accepted_at is not None and it.end is not AttemptEnd.REFUSED
            if not begun or it.server not in servers or it.accepted_at is None or it.ended_at is None:
                continue
            month, project = month_of(it.ended_at), projects[it.build_id]
            key = (it.server, month) if each else (month, project)
            line = found.get(key) or WorkLine(month, *((it.server, "") if each else ("", project)))
            good = it.end is AttemptEnd.SUCCEEDED
            failed = it.end in {AttemptEnd.FAILED, AttemptEnd.MISTAKEN}
            made = [one.size for one in self.artifacts if (one.build_id, one.epoch) == (it.build_id, it.epoch)]
            found[key] = evolve(
                line, good=line.good + good, failed=line.failed + failed, other=line.other + (not (good or failed)),
                unmeasured=line.unmeasured + (it.processor is None), processor=line.processor + (it.processor or 0.0),
                wall=line.wall + max(0.0, it.ended_at - it.accepted_at - it.rested),
                size=line.size + max(made, default=0),
            )  # fmt: skip
            asked = {one.email.lower() for one in self.requests if one.build_id == it.build_id}
            people[key] = people.get(key, set()) | (asked if month >= since else set())
        lines = [evolve(line, requesters=len(people[key])) for key, line in found.items()]
        lines.sort(key=lambda it: (it.server, it.project))
        lines.sort(key=lambda it: it.month, reverse=True)
        return WorkFound(tuple(lines), len(set[str]().union(*people.values())))

    async def owned(self, owners: Collection[str], *, limit: int = 200) -> Sequence[ServerLine]:
        self._check()
        theirs = sorted((it for it in self.servers if it.owner and it.owner.lower() in owners), key=lambda it: it.name)
        running = self._running()
        return [ServerLine(it, tuple(one for one in running if one.attempt.server == it.name)) for it in theirs[:limit]]

    async def health(self) -> Health:
        if self.broken is not None:
            raise StorageUnavailable(str(self.broken))
        return Health("0001")


@frozen
class FakeExtent:
    """How long a log is, and whether it is finished."""

    length: int
    finished: bool


@define
class FakeLogs:
    """Logs by build and epoch; those in ``growing`` are not finished. Nothing is left from byte ``gone_from`` on."""

    logs: dict[tuple[int, int], bytes] = field(factory=dict)
    growing: set[tuple[int, int]] = field(factory=set)
    gone_from: float = float("inf")
    longest_read: int = 0
    marks: dict[tuple[int, int], list[LogMark]] = field(factory=dict)
    searching: Deferred[None] | None = None

    async def state(self, build_id: int, epoch: int) -> FakeExtent:
        key = (build_id, epoch)
        if key not in self.logs:
            raise NotFound("there is no such log")
        return FakeExtent(len(self.logs[key]), key not in self.growing)

    async def read(self, build_id: int, epoch: int, start: int, size: int) -> bytes:
        await self.state(build_id, epoch)
        self.longest_read = max(self.longest_read, size)
        return b"" if start >= self.gone_from else self.logs[build_id, epoch][start : start + size]

    async def index(self, build_id: int, epoch: int) -> LogIndex:
        extent, index = await self.state(build_id, epoch), LogIndex()
        index.grow(self.logs[build_id, epoch])
        if extent.finished:
            index.close()
        for mark in self.marks.get((build_id, epoch), ()):
            index.mark(mark, self.logs[build_id, epoch].count(b"\n", 0, mark.offset) + 1)
        return index

    async def lines(self, build_id: int, epoch: int, first: int, count: int) -> Sequence[bytes]:
        index = await self.index(build_id, epoch)
        lines = self.logs[build_id, epoch].split(b"\n")[: index.lines]
        return [line[:LINE_LIMIT] for line in lines[first - 1 : first - 1 + min(count, LINES_LIMIT)]]

    async def search(self, build_id: int, epoch: int, text: bytes, *, fold: bool) -> FoundInLog:
        await self.state(build_id, epoch)
        if self.searching is not None:
            await self.searching
        whole = self.logs[build_id, epoch]
        data, wanted = (whole.lower(), text.lower()) if fold else (whole, text)
        found = [number for number, line in enumerate(data.split(b"\n"), 1) if wanted in line]
        return FoundInLog(tuple(found[:FOUND_LIMIT]), len(found), data.count(b"\n"), complete=True)


class NoQuestions:
    """``ports.Questions`` to a metaserver that does not answer: what a test needs of it, it says itself."""

    async def act(self, shown: ShownVisitor, message: AttrsInstance, answer: type[A]) -> A:
        raise Unavailable("no metaserver answers")

    async def tell(self, message: AttrsInstance, answer: type[A]) -> A:
        raise Unavailable("no metaserver answers")

    async def why(self, build_id: int, visitor: ShownVisitor) -> Explanation | None:
        return None

    async def confirm(self, code: str, network: str) -> str | None:
        return None

    async def health(self, visitor: ShownVisitor) -> HealthStatus | None:
        return None
