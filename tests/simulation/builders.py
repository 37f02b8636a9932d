"""Honest build servers: the real shell and link, over commands, sources and files that only pretend."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.control.build_server_link import BuildServerLink, LoginPace
from buildtool.adapters.processes.command import CommandResult
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.archive.packing import Packed
from buildtool.adapters.storage.filesystem import Disk, OpenMode, make_directories
from buildtool.adapters.storage.spool import Spool
from buildtool.buildserver.attempt import AttemptTools
from buildtool.buildserver.delivery import DeliveryQueue
from buildtool.buildserver.guest import Guest
from buildtool.buildserver.order_check import ServerOffer
from buildtool.buildserver.server import BuildServer
from buildtool.errors import BadArchive, BadUpload, BuildFailed, BuildToolError, MachineFault
from buildtool.model.binaries.judging import MeasuredFile
from buildtool.model.guest.limits import ExceededLimit
from buildtool.model.platforms import Value
from buildtool.model.servers import Held, HeldVerdict, OwnerNotice
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.buildserver import CommandEnd, Halt, Obstacle, OpenNetwork, Orders, SlotPlace, SourceCopy, Spooled
from buildtool.ports.common import Executor
from buildtool.project.fetching import NamedHost
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    Done,
    Ended,
    Ok,
    Order,
    Register,
    Welcome,
)
from tests.fakes_build import FakeCommand, ending
from tests.simulation import projects
from tests.simulation.clock import Life
from tests.simulation.fetching import SimulatedWay
from tests.simulation.limits import Bounds, Met
from tests.simulation.machine import Machine
from tests.simulation.parties import Party
from tests.simulation.transfers import SimulatedUploads

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T", bound=attrs.AttrsInstance)


KILL_AFTER = 5.0
NO_MAKE = Obstacle(errno.ENOENT, (Path("/usr/bin/make"),))


class Making(FakeCommand):
    """``ports.RunningCommand``: ends after its time, or soon after it is told to."""

    def __init__(self, life: Life, *command: Any) -> None:
        self._life = life
        self._began = life.seconds()
        super().__init__(*command)

    def will_end(self, seconds: float, how: CommandResult) -> None:
        """End so after some seconds, of which those do not count in which it stands still."""
        self._left, self._end = seconds, how
        self._due = self._life.callLater(seconds, self.end, how)

    def freeze(self) -> None:
        if not self.frozen and self._due.active():
            self._left = self._due.getTime() - self._life.seconds()
            self._due.cancel()
            super().freeze()

    def thaw(self) -> None:
        if self.frozen and not self.stopped:
            self.will_end(self._left, self._end)
        super().thaw()

    def stop(self, reason: str) -> None:
        if not self.stopped:
            seconds = self._life.seconds() - self._began + KILL_AFTER * 0.5
            self._life.callLater(
                KILL_AFTER * 0.5, self.end, ending(code=None, cause="stopped", seconds=seconds, detail=reason)
            )
        super().stop(reason)


@define(eq=False)
class Workbench:
    """``ports.Commands``, ``Sources`` and ``SlotFiles`` of one life: what is made is known, and where it lies."""

    world: World
    builder: Builder
    life: Life
    made: dict[Path, tuple[str, str]] = field(factory=dict)
    begun: dict[Path, float] = field(factory=dict)
    keys: dict[Path, tuple[int, int]] = field(factory=dict)
    packed: dict[Path, tuple[MeasuredFile, ...]] = field(factory=dict)

    async def enclose(self, slot: int, tree: Path, place: SlotPlace, root: str = "") -> Enclosed:
        (key,) = (one.key for one in self.builder.server._open.values() if one.slot == slot)
        return Enclosed(self, key)

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        self.begun[Path(f"/simulated/{self.builder.name}/tree-{slot}")] = self.life.seconds()
        await self.life.pause(self.world.rng.uniform(0.1, 3.0))
        return Path(f"/simulated/{self.builder.name}/tree-{slot}")

    async def prepare(self, slot: int, halt: Halt, tools: Mapping[str, str] | None = None) -> SlotPlace:
        await self.life.pause(0.01)
        halt.check()
        if self.world.faults.happens("full_disk"):
            raise MachineFault("no space left on device")
        top = self.builder.machine.directory / f"slot-{slot}"
        return SlotPlace(top / "home", top / "tmp", top / "output")

    async def measure(self, archive: Path, halt: Halt) -> tuple[MeasuredFile, ...]:
        return self.packed.get(archive, ())

    async def pack(self, root: Path, names: Sequence[str], output: Path, limit: int, halt: Halt) -> Packed:
        revision, colour = self.made[root]
        await self.life.pause(0.2)
        halt.check()
        if self.world.truths.of(revision, colour).cannot:
            raise BadArchive(f"{colour} paint runs out of the tree")
        stamp = f"{self.builder.name} {self.life.name} {self.world.time.now}"
        data = f"{colour} paint of {revision}, by {stamp}\n".encode() * self.builder.bulk
        if len(data) > limit:
            raise BuildFailed(f"the artifact has more than the {limit} bytes that are allowed")
        try:
            await self.builder.machine.executor(self.life).run(partial(self._write, output, data))
        except OSError as error:
            raise MachineFault(f"cannot pack: {error.strerror}") from error
        digest = hashlib.sha256(data).hexdigest()
        self.world.watch.packed(self.builder.name, digest, revision, colour)
        self.world.owners.packed(self.builder.name, digest, self.begun.get(root, 0.0), self.life)
        self.world.sandboxes.packed(self.builder.name, digest, self.builder.really)
        self.world.needs.packed(self.builder.name, digest, revision, colour)
        self.packed[output] = self.world.needs.files(self.keys.get(root), revision, colour)
        return Packed(len(data), digest, hashlib.sha256(data[:40]).hexdigest(), ())

    async def clear(self, slot: int, halt: Halt) -> None:
        await self.life.pause(0.01)
        halt.check()

    async def machine(self) -> Mapping[str, Value]:
        await self.life.pause(0.01)
        return {"owner": self.world.faults.happens("refusal")}

    def _write(self, path: Path, data: bytes) -> None:
        disk = self.builder.machine.disk
        make_directories(disk, path.parent)
        file = disk.open(path, OpenMode.EMPTY)
        try:
            disk.append(file, data)
        finally:
            disk.close(file)

    def read(self, path: str) -> bytes:
        data = self.builder.machine.read(Path(path))
        if data is None:
            raise BadUpload(f"{path} cannot be read")
        return data


@define(eq=False)
class Enclosed:
    """``ports.EnclosedCommands`` of one Attempt; ``way`` is its network, once one was opened."""

    bench: Workbench
    key: tuple[int, int]
    way: SimulatedWay | None = None
    _over: list[tuple[CommandEnd, ExceededLimit]] = field(factory=list)

    async def open_network(self, hosts: Sequence[NamedHost], note: Callable[[str], None]) -> OpenNetwork:
        way = self.way = self.bench.world.fetching.opens(self.bench.builder.name, hosts)
        return way

    def exceeded(self, ended: CommandEnd) -> ExceededLimit | None:
        return next((over for end, over in self._over if end is ended), None)

    async def end(self) -> None:
        """Nothing outlives a command here."""

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
    ) -> Making:
        bench, limits = self.bench, (time_limit, silence_limit)
        if bench.world.fetching.starts(bench.builder.name, argv, self.way, environment):
            fetching = Making(bench.life, argv, environment, limits, on_output, b"fetching\n")
            fetching.will_end(2.0, ending(seconds=2.0))
            return fetching
        _, colour, revision = argv
        output, seconds, end, met = self._comes_to(revision, colour)
        excess = bench.world.limits.meets(bench.builder.bounds, revision, colour, seconds, time_limit)
        if excess.end is not None:
            seconds, end, met = excess.end.seconds, excess.end, excess.met
        if excess.over is not None:
            self._over.append((end, excess.over))
        bench.made[cwd], bench.keys[cwd] = (revision, colour), self.key
        bench.world.limits.met(bench.builder.name, self.key, met)
        making = Making(bench.life, argv, environment, limits, on_output, output.encode())
        making.will_end(seconds, end)
        return making

    def _comes_to(self, revision: str, colour: str) -> tuple[str, float, CommandResult, Met | None]:
        """Return what a command says, how many seconds it takes and how it ends, as far as no limit is met."""
        world, builder = self.bench.world, self.bench.builder
        truth = world.truths.of(revision, colour)
        seconds = truth.seconds * builder.slowness
        output = f"making {colour} of {revision[:8]}\n"
        if world.faults.on and world.rng.random() < builder.trouble:
            seconds *= world.rng.random()
            kind = world.rng.randrange(3)
            if kind == 0:
                killed = ending(code=137, seconds=seconds, detail="exited with code 137")
                return output, seconds, killed, Met("killed from outside")
            if kind == 1:
                exited = ending(code=1, seconds=seconds, detail="exited with code 1")
                return output + "out of paper\n", seconds, exited, Met("machine fault")
            return (
                "",
                0.0,
                ending(None, "not started", 0.0, "cannot start 'make': no such program", NO_MAKE),
                Met("not started"),
            )
        if truth.fails:
            return output, seconds, ending(code=2, seconds=seconds, detail="exited with code 2"), Met("project's own")
        return output, seconds, ending(seconds=seconds), None


@define(eq=False)
class Overheard:
    """``ports.Orders`` and ``ports.MetaserverLink`` with a witness in between."""

    world: World
    name: str
    link: BuildServerLink
    level: SandboxLevel = SandboxLevel.NONE
    server: Orders | None = None
    session: int = 0

    async def build(self, order: Order) -> Accepted:
        self.world.watch.ordered(self.name, self.session, order)
        assert self.server is not None
        self.world.sandboxes.ordered(self.name, order, self.level)
        return await self.server.build(order)

    async def abort(self, order: AbortOrder) -> Ok:
        assert self.server is not None
        return await self.server.abort(order)

    def connected(self, welcome: Welcome) -> None:
        self.session = welcome.session
        self.world.watch.welcomed(self.name, welcome.session)
        self.world.watch.judged(self.name, welcome.verdicts)
        assert self.server is not None
        self.server.connected(welcome)

    def notice(self) -> OwnerNotice:
        assert self.server is not None
        return self.server.notice()

    def held(self) -> tuple[Held, ...]:
        assert self.server is not None
        held = self.server.held()
        self.world.watch.reports(self.name, held)
        self.world.owners.holds(self.name, self, held)
        return held

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        assert self.server is not None
        self.world.watch.judged(self.name, verdicts)
        self.server.judged(verdicts)

    def disconnected(self, reason: str) -> None:
        assert self.server is not None
        self.server.disconnected(reason)

    async def tell(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        session, watch = self.session, self.world.watch
        if isinstance(message, Ended):
            watch.reporting(self.name, message)
            self.world.limits.reports(self.name, message)
        elif isinstance(message, Done):
            self.world.owners.told(self.name, message.digest, message.seconds)
            self.world.sandboxes.delivers(self.name, message)
        answer = await self.link.tell(message, expected)
        if isinstance(message, Ended) and isinstance(answer, Ok):
            watch.end_taken(self.name, session, message, answer)
        elif isinstance(message, Done) and isinstance(answer, Ok):
            watch.done_taken(self.name, session, message, answer)
        return answer


class WatchedSpool(Spool):
    """A spool with a witness of what is on its disk."""

    def __init__(self, world: World, name: str, directory: Path, executor: Executor, disk: Disk) -> None:
        super().__init__(directory, executor, disk)
        self._world = world
        self._name = name

    async def keep(self, end: Done | Ended, artifact: Path | None = None) -> Spooled:
        kept = await super().keep(end, artifact)
        self._world.watch.keeps(self._name, (end.build_id, end.epoch))
        self._world.tempt(self._name)
        return kept


@define(eq=False)
class Builder:
    """An honest machine. ``start`` begins a life of its build server, ``crash`` ends it without a word."""

    world: World
    name: str
    arches: tuple[str, ...]
    memory: int
    max_builds: int
    slowness: float
    trouble: float
    bulk: int
    maxdelay: float
    keepalive: float
    machine: Machine
    party: Party | None = None
    life: Life = field(init=False)
    link: BuildServerLink = field(init=False)
    server: BuildServer = field(init=False)
    deliveries: DeliveryQueue = field(init=False)
    overheard: Overheard = field(init=False)
    lives: int = 0
    leaving: bool = False
    level: SandboxLevel = SandboxLevel.NONE
    really: SandboxLevel = SandboxLevel.NONE

    @property
    def bounds(self) -> Bounds:
        """What it gives a build."""
        return self.world.limits.of_machine(self.name)

    @property
    def admin(self) -> str:
        """Who is mailed when it is missing."""
        return f"owner-{self.name}@example.org"

    @property
    def session(self) -> int:
        """The Session that it believes in, 0 before the first."""
        return self.overheard.session if self.lives else 0

    @property
    def running(self) -> bool:
        return self.lives > 0 and not self.life.ended

    def start(self) -> None:
        world = self.world
        self.lives += 1
        self.leaving = False
        life = self.life = Life(world.time, f"{self.name}.{self.lives}")
        project = world.settings.projects[0]
        self.level = world.sandboxes.of_life()
        self.really = world.sandboxes.really(self.level)
        found = projects.capability(
            self.arches,
            memory=self.memory,
            max_builds=self.max_builds,
            of=project,
            sandbox=self.level,
            admin=self.admin,
        )
        found = world.needs.announced(self.name, found)
        bench = Workbench(world, self, life)
        self.link = BuildServerLink(
            self.party.endpoint(life) if self.party is not None else world.network.endpoint(life, self.name, "meta"),
            "meta:1",
            lambda: Register(self.name, found, instance=f"the directory of {self.name}"),
            life,
            final=self._final,
            pace=LoginPace(most=self.maxdelay, chance=world.rng.random),
            keepalive=self.keepalive,
        )
        overheard = self.overheard = Overheard(world, self.name, self.link, self.level)
        uploads = SimulatedUploads(world.network, life, self.name, bench.read)
        tools = AttemptTools(
            sources=bench,
            commands=bench,
            workshop=bench,
            uploads=uploads,
            clock=life,
            environment={"PATH": "/usr/bin"},
            server=self.name,
            time_limit=self.bounds.seconds,
            networked=frozenset((project.name,) if world.fetching.allowed(self.name) else ()),
            sandbox=self.really,
        )
        offered = ServerOffer({project.name: project}, found.offers, found.max_builds, self.level)
        disk = self.machine.executor(life)
        spool = WatchedSpool(world, self.name, self.machine.directory / "spool", disk, self.machine.disk)
        self.deliveries = DeliveryQueue(spool, overheard, uploads, life)
        hasten = self.link.hasten
        self.server = BuildServer(offered, tools, overheard, self.deliveries, Inline(), hasten=hasten)
        overheard.server = self.server
        self.link.orders = overheard
        world.trace.say(self.name, f"starts, life {self.lives}")
        world.watch.begins(self.name)
        world.keep(self.link, self.server, bench, Deferred.fromCoroutine(self._begin()).addErrback(self._not_begun))

    async def _begin(self) -> None:
        """Take up what an earlier life left, and log in."""
        life, party = self.life, self.party
        await self.deliveries.restore()
        if party is not None:
            party.own = None  # what it knew was in memory
            await party.ready(life)
        owner = self.world.owners.of.get(self.name)
        if owner is not None:
            owner.guest = Guest(self.server, owner, owner.wishes, self.world.machines_wall, life)
            owner.life = life
            await owner.guest.start()
        self.link.startService()
        if party is not None:
            await party.keep(life, lambda: self.link._session is not None)

    def _not_begun(self, failure: Failure) -> None:
        """Start again, as a service manager would."""
        failure.trap(MachineFault)
        self.world.trace.say(self.name, f"does not start: {failure.getErrorMessage()}")
        self.life.ended = True
        self.world.time.call(5.0, lambda: None if self.running else self.start())

    def crash(self, *, silently: bool) -> None:
        """End at once, in the middle of whatever it is."""
        self.world.trace.say(self.name, f"crashes{', power and all' if silently else ''}")
        self.life.ended = True
        if silently:
            self.machine.power_cut()
        else:
            self.machine.killed()
        self.world.network.machine_gone(self.life, silently=silently)

    @property
    def idle(self) -> bool:
        """Whether nothing runs here and nothing waits to be taken."""
        return self.server.running == 0 and not self.deliveries.held()

    def stop(self, *, drains: bool) -> None:
        """End as SIGTERM ends it, giving back what runs, or as SIGHUP does, finishing it first."""
        self.world.trace.say(self.name, f"is asked to {'drain' if drains else 'stop'}")
        self.leaving = True
        life = self.life

        async def leave() -> None:
            await (self.server.drain("SIGHUP") if drains else self.server.hand_back("SIGTERM"))
            self.deliveries.stop()
            await self.link.stopService()

        def gone(result: object) -> None:
            if isinstance(result, Failure):
                self.world.watch.wrong(f"{self.name} does not stop: {result}")
            if not life.ended:
                self.world.trace.say(self.name, "has stopped")
                life.ended = True
                self.machine.killed()
                self.world.network.machine_gone(life, silently=False)
                # Its owner wants the machine back for a while only.
                self.world.time.call(300.0 * self.world.rng.random(), lambda: self.world.start_builder(self))

        Deferred.fromCoroutine(leave()).addBoth(gone)

    def _final(self, error: BuildToolError) -> None:
        self.world.watch.wrong(f"{self.name} was turned away for good: {error}")
