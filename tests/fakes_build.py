"""What the build server's shell talks through, in memory: each records what it was told and does what it is set to."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buildtool.adapters.processes.command import Cause, CommandResult
from buildtool.adapters.storage.archive.packing import Packed
from buildtool.buildserver.attempt import AttemptTools
from buildtool.buildserver.delivery import DeliveryQueue, SpoolLimits
from buildtool.buildserver.order_check import ServerOffer
from buildtool.buildserver.server import BuildServer
from buildtool.concurrency.asker import asker
from buildtool.errors import BadOffset, BuildFailed, BuildToolError, Fenced, TooLong, Unavailable
from buildtool.model.binaries.judging import MeasuredFile
from buildtool.model.guest.history import DoneWork
from buildtool.model.guest.limits import ExceededLimit
from buildtool.model.logs.marks import LogMark
from buildtool.model.options import canonical, choice
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.servers import HeldVerdict, Offer, OfferKind
from buildtool.ports.buildserver import CommandEnd, Halt, Obstacle, OpenNetwork, SlotPlace, SourceCopy, Spooled
from buildtool.ports.common import Executor
from buildtool.project.definition import Checked, ClientChecker, Project
from buildtool.project.fetching import NamedHost
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.protocol.messages import Done, Draining, Ended, Ok, Order, RenewTickets, Tickets, Welcome

T = TypeVar("T")


COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLATFORM = canonical({"os": "linux", "arch": "x86_64"})
BASE = "http://metaserver.example"
LOG_LIMIT = 1_000_000


def ending(
    code: int | None = 0,
    cause: Cause = "exited",
    seconds: float = 1.0,
    detail: str = "exited with code 0",
    obstacle: Obstacle | None = None,
    signal: int | None = None,
) -> CommandResult:
    """Return how a command ends: of itself and well, where nothing else is said."""
    return CommandResult(code, signal, cause, seconds, detail, obstacle)


FAILED = ending(code=2, detail="exited with code 2")


class FakeCommand:
    """A command that says ``output`` and runs until ``end``; ``stopped`` is why it was told to go.

    ``frozen`` says whether it stands still.

    Whoever takes its output is waited for before its end is told; if they fail, that is its end.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        limits: tuple[float, float],
        on_output: Callable[[bytes], Awaitable[None]],
        output: bytes = b"",
        terminal: bool = False,
    ) -> None:
        if not argv or not argv[0] or min(limits) <= 0:
            raise ValueError("a command has a program, and limits that are more than nothing")
        self.argv = tuple(argv)
        self.environment = dict(environment)
        self.time_limit, self.silence_limit = limits
        self.ended: Deferred[CommandResult] = Deferred(lambda _: self.stop("cancelled"))
        self.stopped: list[str] = []
        self.terminal = terminal
        self.frozen = False
        self._how: CommandResult | Failure | None = None
        self._taken = False
        saying = _awaited(on_output(output)) if output else _nothing()
        Deferred.fromCoroutine(saying).addErrback(self._failed).addCallback(self._was_taken)

    def stop(self, reason: str) -> None:
        if not self.ended.called:
            self.stopped.append(reason)

    def freeze(self) -> None:
        if not self.ended.called:
            self.frozen = True

    def thaw(self) -> None:
        self.frozen = False

    def end(self, how: CommandResult | None = None) -> None:
        """End in this way, or in the way in which it has ended before."""
        self._how = self._how or how or ending()
        self._tell()

    def _failed(self, failure: Failure) -> None:
        self._how = failure
        self.stop("its output was not taken")

    def _was_taken(self, _: None) -> None:
        self._taken = True
        self._tell()

    def _tell(self) -> None:
        if self._how is not None and self._taken and not self.ended.called:
            self.ended.callback(self._how)


@define
class FakeNetwork:
    """A way to hosts that leads nowhere; it notes how many commands were started before it was closed."""

    hosts: tuple[NamedHost, ...]
    _started: Callable[[], int]
    environment: Mapping[str, str] = field(factory=lambda: {"https_proxy": "http://127.0.0.1:1"})
    closed_after: int | None = None

    async def close(self) -> tuple[int, int]:
        self.closed_after = self._started()
        return 3000, 40


@define
class FakeCommands:
    """Starts commands that end as ``script`` says, in order; what it does not name runs until the test ends it."""

    script: list[CommandResult] = field(factory=list)
    output: bytes = b""
    started: list[FakeCommand] = field(factory=list)
    consumers: list[Callable[[bytes], Awaitable[None]]] = field(factory=list)
    enclosed: list[int] = field(factory=list)
    roots: list[str] = field(factory=list)
    ends: int = 0
    over: ExceededLimit | None = None
    networks: list["FakeNetwork"] = field(factory=list)

    async def enclose(self, slot: int, tree: Path, place: SlotPlace, root: str = "") -> "FakeCommands":
        self.enclosed.append(slot)
        self.roots.append(root)
        return self

    async def open_network(self, hosts: Sequence[NamedHost], note: Callable[[str], None]) -> OpenNetwork:
        network = FakeNetwork(tuple(hosts), lambda: len(self.started))
        self.networks.append(network)
        return network

    def exceeded(self, ended: CommandEnd) -> ExceededLimit | None:
        return self.over

    async def end(self) -> None:
        self.ends += 1

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], Awaitable[None]],
        time_limit: float,
        silence_limit: float,
        terminal: bool = False,
    ) -> FakeCommand:
        end = self.script.pop(0) if self.script else None
        output = b"" if end is not None and end.cause == "not started" else self.output
        command = FakeCommand(argv, environment, (time_limit, silence_limit), on_output, output, terminal)
        self.started.append(command)
        self.consumers.append(on_output)
        if end is not None:
            command.end(end)
        return command


async def _awaited(result: Awaitable[None]) -> None:
    await result


async def _nothing() -> None:
    """A command that says nothing is waited for by nobody."""


@define
class FakeSources:
    """Checks out by saying a path; ``error`` is what goes wrong, ``hold`` makes it wait for the test.

    ``received`` is how many bytes are fetched for that.
    """

    error: BaseException | None = None
    hold: Deferred[None] | None = None
    asked: list[tuple[str, str, int]] = field(factory=list)
    copy: SourceCopy | None = None
    received: int = 0

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        self.asked.append((url, commit, slot))
        self.copy = copy
        counted = asker().received
        if counted is not None:
            counted.add(self.received)
        if self.hold is not None:
            await self.hold
        if self.error is not None:
            raise self.error
        return Path(f"/sources/slot-{slot}")


PACKED = Packed(1000, "d" * 64, "c" * 64, ())


@define
class FakeWorkshop:
    """Keeps no files; ``pack_error`` is what goes wrong when packing, ``packing`` makes it wait for the test."""

    pack_error: Exception | None = None
    packing: Deferred[None] | None = None
    halts: list[Halt] = field(factory=list)
    prepare_error: BuildToolError | None = None
    packed: list[tuple[str, ...]] = field(factory=list)
    packed_files: tuple[MeasuredFile, ...] = ()
    cleared: list[int] = field(factory=list)
    now: dict[str, Value] = field(factory=lambda: {"disk": 10_000})
    hold: Deferred[None] | None = None
    tools: list[Mapping[str, str] | None] = field(factory=list)

    async def prepare(self, slot: int, halt: Halt, tools: Mapping[str, str] | None = None) -> SlotPlace:
        self.tools.append(tools)
        halt.check()
        if self.prepare_error is not None:
            raise self.prepare_error
        top = Path(f"/slots/{slot}")
        return SlotPlace(top / "home", top / "tmp", top / "output")

    async def measure(self, archive: Path, halt: Halt) -> tuple[MeasuredFile, ...]:
        halt.check()
        return self.packed_files

    async def pack(self, root: Path, names: Sequence[str], output: Path, limit: int, halt: Halt) -> Packed:
        if self.packing is not None:
            await self.packing
        halt.check()
        if self.pack_error is not None:
            raise self.pack_error
        if PACKED.size > limit:
            raise BuildFailed(f"the artifact has more than the {limit} bytes that are allowed")
        self.packed.append(tuple(names))
        self.halts.append(halt)
        return PACKED

    async def clear(self, slot: int, halt: Halt) -> None:
        halt.check()
        self.cleared.append(slot)

    async def machine(self) -> Mapping[str, Value]:
        if self.hold is not None:
            await self.hold
        return self.now


@define
class FakeUploads:
    """A transfer port: logs by offset, what was uploaded and fetched; ``errors`` and ``log_errors`` come first.

    A log may have ``log_limit`` bytes, as its ticket says.
    """

    logs: dict[str, bytearray] = field(factory=dict)
    appended: list[tuple[int, int]] = field(factory=list)
    marks: list[LogMark] = field(factory=list)
    uploaded: list[tuple[str, str, str]] = field(factory=list)
    fetched: list[tuple[str, str, Path]] = field(factory=list)
    errors: list[BuildToolError] = field(factory=list)
    log_errors: list[BuildToolError] = field(factory=list)
    log_tickets: list[str] = field(factory=list)
    held: Deferred[None] | None = None
    slow: Deferred[None] | None = None
    log_limit: int = LOG_LIMIT

    @property
    def log(self) -> bytes:
        """All logs, one after another."""
        return b"".join(self.logs.values())

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
        if self.held is not None:
            await self.held
        self.log_tickets.append(ticket)
        if self.log_errors:
            raise self.log_errors.pop(0)
        log = self.logs.setdefault(url, bytearray())
        if offset > len(log):
            raise BadOffset("not there yet", len(log))
        fresh = data[len(log) - offset :]
        if fresh and len(log) + len(fresh) > self.log_limit:
            raise TooLong(f"the log would have more than {self.log_limit} bytes")
        log += fresh
        self.appended.append((offset, len(data)))
        assert all(mark.offset <= len(log) for mark in marks)
        known = self.marks[-1].number if self.marks else -1
        self.marks += (mark for mark in marks if mark.number > known)
        return len(log)

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        if self.slow is not None:
            await self.slow
        if self.errors:
            raise self.errors.pop(0)
        self.uploaded.append((url, ticket, path))

    async def fetch_copy(self, url: str, ticket: str, path: Path) -> int:
        self.fetched.append((url, ticket, path))
        return 0


@define
class FakeLink:
    """Records what the metaserver is told; ``errors`` come first. ``away`` is a connection that is lost.

    ``when_told`` is called when an end is told, ``when_lost`` when a connection is lost that was not answered over.
    """

    told: list[Done | Ended] = field(factory=list)
    errors: list[BuildToolError] = field(factory=list)
    renewed: int = 0
    drained: list[str] = field(factory=list)
    away: bool = False
    stale: bool = False
    source_ticket: str = ""
    when_told: Callable[[], None] = lambda: None
    when_lost: Callable[[str], object] = lambda _: None

    async def tell(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        answer = self._answer(message)
        assert isinstance(answer, expected)
        return answer

    def _answer(self, message: attrs.AttrsInstance) -> Ok | Tickets:
        match message:
            case Done() | Ended():
                return self._take(message)
            case RenewTickets():
                self._check()
                self.renewed += 1
                source = self.source_ticket if message.source else ""
                return Tickets(f"log-ticket-{self.renewed}", f"artifact-ticket-{self.renewed}", source)
            case Draining(reason):
                self._check()
                self.drained.append(reason)
                return Ok()
        raise AssertionError(f"no build server tells {message}")

    def _take(self, message: Done | Ended) -> Ok:
        self._check()
        self.told.append(message)
        self.when_told()
        return Ok(stale=self.stale)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("there is no connection to the metaserver")
        if not self.errors:
            return
        error = self.errors.pop(0)
        if isinstance(error, Unavailable | Fenced):
            self.away = True
            self.when_lost(str(error))
            raise Unavailable(str(error)) from error
        raise error


@define
class FakeSpool:
    """A spool in memory, which outlives a build server; ``error`` is what the disk says to everything new.

    ``stuck`` is what it says to deleting. ``hold`` makes keeping wait, ``slow`` deleting.
    """

    kept: dict[tuple[int, int], Spooled] = field(factory=dict)
    error: BuildToolError | None = None
    stuck: BuildToolError | None = None
    hold: Deferred[None] | None = None
    slow: Deferred[None] | None = None

    async def keep(self, end: Done | Ended, artifact: Path | None = None) -> Spooled:
        if self.hold is not None:
            await self.hold
        if self.error is not None:
            raise self.error
        moved = None if artifact is None else Path(f"/spool/{end.build_id}-{end.epoch}/artifact.zip")
        kept = self.kept[end.build_id, end.epoch] = Spooled(end, moved)
        return kept

    async def entries(self) -> Sequence[Spooled]:
        return list(self.kept.values())

    async def drop(self, build_id: int, epoch: int) -> None:
        if self.slow is not None:
            await self.slow
        if self.stuck is not None:
            raise self.stuck
        self.kept.pop((build_id, epoch), None)


@define
class FakeWorkRecords:
    """Keeps what was done, in order."""

    added: list[tuple[str, DoneWork]] = field(factory=list)

    def add(self, project: str, work: DoneWork) -> None:
        self.added.append((project, work))


class Immediate:
    """An Executor without threads."""

    async def run(self, function: Callable[[], T]) -> T:
        return function()


def plan(wanted: Wanted) -> Plan:
    return Plan(
        (Command(["make"], name="build"), Command(["./check"], name="check")),
        ("program",),
        machine_faults=("out of paper",),
    )


OPTIONS = ProjectOptions(standard("os", "arch"), (choice("colour", ["red", "blue"]),))


def project(**changes: object) -> Project:
    """Return a project that the fakes can build."""
    plain = Project("paint", OPTIONS, Recipe(3, plan), lambda source: f"https://git.example/{source or 'paint'}.git")
    return evolve(plain, **changes)  # type: ignore[arg-type] # the tests say what they change


def order(build_id: int = 1, epoch: int = 1, **changes: object) -> Order:
    """Return an order for that project."""
    plain = Order(
        build_id, epoch, "paint", "", COMMIT, 3, (("colour", "red"),), PLATFORM, OfferKind.NATIVE,
        "log-ticket", "artifact-ticket", f"{BASE}/logs/{build_id}/{epoch}",
    )  # fmt: skip
    return evolve(plain, **changes)  # type: ignore[arg-type] # the tests say what they change


@define
class Place:
    """A build server with all its fakes."""

    server: BuildServer
    clock: Clock
    link: FakeLink
    uploads: FakeUploads
    sources: FakeSources
    commands: FakeCommands
    workshop: FakeWorkshop
    spool: FakeSpool
    deliveries: DeliveryQueue
    records: FakeWorkRecords
    hastened: int = 0

    def hasten(self) -> None:
        self.hastened += 1

    def connect(self, session: int = 1, verdicts: Sequence[HeldVerdict] = ()) -> None:
        self.link.away = False
        self.server.connected(Welcome(session, BASE, 10_000_000, LOG_LIMIT, 60.0, tuple(verdicts)))

    def lose(self, reason: str = "connection lost") -> None:
        """The connection is lost, the transfer port too."""
        self.link.away = True
        self.server.disconnected(reason)

    def pass_time(self, seconds: float = 5.0, step: float = 0.25) -> None:
        """Let time pass in small steps, so that everything that waits gets its turns."""
        self.clock.pump([step] * int(seconds / step))


_KEPT: list[Place] = []
"""Every build server that a test made. A build that a test leaves running must not be collected as garbage: its parts
would be ended in an order in which no program ever ends them, and say so in whatever test runs then."""


def place(
    *,
    max_builds: int = 1,
    script: list[CommandResult] | None = None,
    of: Project | None = None,
    checkers: tuple[ClientChecker, ...] = (),
    time_limit: float | None = None,
    spool: FakeSpool | None = None,
    room: SpoolLimits | None = None,
    session: int = 1,
    pool: Executor | None = None,
    networked: frozenset[str] = frozenset(),
) -> Place:
    """Return a build server, connected unless ``session`` is 0; ``script`` says how its commands end.

    With a ``spool`` it is one that is started once more.
    """
    made = project(client_checkers=checkers) if of is None else of
    clock, link, uploads = Clock(), FakeLink(), FakeUploads()
    sources, commands, workshop = FakeSources(), FakeCommands(list(script or [])), FakeWorkshop()
    tools = AttemptTools(
        sources, commands, workshop, uploads, clock, {"PATH": "/usr/bin"},
        server="one", time_limit=time_limit, copies=uploads, networked=networked,
    )  # fmt: skip
    offered = ServerOffer({made.name: made}, [Offer(PLATFORM, OfferKind.NATIVE, (("CC", "gcc"),))], max_builds)
    spool = FakeSpool() if spool is None else spool
    records = FakeWorkRecords()
    deliveries = DeliveryQueue(spool, link, uploads, clock, room, records)
    server = BuildServer(offered, tools, link, deliveries, pool or Immediate(), hasten=lambda: built.hasten())  # noqa: PLW0108 - it is made next
    built = Place(server, clock, link, uploads, sources, commands, workshop, spool, deliveries, records)
    link.away = not session
    link.when_lost = lambda reason: clock.callLater(0, server.disconnected, reason)
    Deferred.fromCoroutine(deliveries.restore())
    if session:
        built.connect(session)
    _KEPT.append(built)
    return built


def yes(_: Checked) -> str | None:
    return None
