"""Honest build servers: the real shell and link, over commands, sources and files that only pretend."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from buildtool.adapters.executors import Inline
from buildtool.adapters.pb_link import Backoff, BuildServerLink
from buildtool.attempt import Tools
from buildtool.buildserver import BuildServer, Offered
from buildtool.domain.platforms import Value
from buildtool.errors import BuildToolError, MachineFault
from buildtool.ports import Orders, PackedFile, SlotPlace
from buildtool.protocol import AbortOrder, Accepted, Done, Ended, Ok, Order, Register, RenewTickets, Tickets, Welcome
from tests.fakes_build import Exit
from tests.simulation import projects
from tests.simulation.clock import Life
from tests.simulation.machine import Machine
from tests.simulation.transfers import SimulatedUploads

if TYPE_CHECKING:
    from tests.simulation.world import World

KILL_AFTER = 5.0


@frozen
class Packed:
    size: int
    digest: str
    content_digest: str


class Making:
    """``ports.RunningCommand``: ends after its time, or soon after it is told to."""

    def __init__(self, life: Life, seconds: float, end: Exit) -> None:
        self.ended: Deferred[Exit] = Deferred()
        self._life = life
        self._began = life.seconds()
        life.callLater(seconds, self._end, end)

    def stop(self, reason: str) -> None:
        spent = self._life.seconds() - self._began
        end = Exit(code=None, cause="stopped", seconds=spent, detail=f"stopped: {reason}")
        self._life.callLater(KILL_AFTER * 0.5, self._end, end)

    def _end(self, end: Exit) -> None:
        if not self.ended.called:
            self.ended.callback(end)


@define(eq=False)
class Workbench:
    """``ports.Commands``, ``Sources`` and ``Workshop`` of one life: what is made is known, and where it lies."""

    world: World
    builder: Builder
    life: Life
    files: dict[str, bytes] = field(factory=dict)
    made: dict[Path, tuple[str, str]] = field(factory=dict)

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], Awaitable[None]],
        time_limit: float,
        silence_limit: float,
    ) -> Making:
        rng, faults = self.world.rng, self.world.faults
        _, colour, revision = argv
        truth = self.world.truths.of(revision, colour)
        seconds = truth.seconds * self.builder.slowness
        self.made[cwd] = (revision, colour)
        output, end = f"making {colour} of {revision[:8]}\n", Exit(seconds=seconds)
        if faults.on and rng.random() < self.builder.trouble:
            seconds *= rng.random()
            kind = rng.randrange(3)
            if kind == 0:
                end = Exit(code=137, seconds=seconds, detail="exited with code 137", killed_from_outside=True)
            elif kind == 1:
                output, end = output + "out of paper\n", Exit(code=1, seconds=seconds, detail="exited with code 1")
            else:
                end = Exit(code=None, cause="not started", seconds=0.0, detail="cannot start 'make': no such program")
        elif truth.fails:
            end = Exit(code=2, seconds=seconds, detail="exited with code 2")
        making = Making(self.life, seconds, end)
        Deferred.fromCoroutine(_said(on_output, output.encode()))
        return making

    async def checkout(self, url: str, commit: str, slot: int) -> Path:
        await self.life.pause(self.world.rng.uniform(0.1, 3.0))
        return Path(f"/simulated/{self.builder.name}/tree-{slot}")

    async def prepare(self, slot: int) -> SlotPlace:
        if self.world.faults.happens("full_disk"):
            raise MachineFault("no space left on device")
        top = Path(f"/simulated/{self.builder.name}/slot-{slot}")
        return SlotPlace(top / "home", top / "tmp", top / "output")

    async def arches(self, archive: Path) -> frozenset[str]:
        return frozenset()

    async def pack(self, root: Path, names: Sequence[str], output: Path) -> PackedFile:
        revision, colour = self.made[root]
        await self.life.pause(0.2)
        stamp = f"{self.builder.name} {self.life.name} {self.world.time.now}"
        data = f"{colour} paint of {revision}, by {stamp}\n".encode() * self.builder.bulk
        self.files[str(output)] = data
        digest = hashlib.sha256(data).hexdigest()
        self.world.watch.packed(self.builder.name, digest, revision, colour)
        return Packed(len(data), digest, hashlib.sha256(data[:40]).hexdigest())

    async def clear(self, slot: int) -> None:
        await self.life.pause(0.01)

    async def machine(self) -> Mapping[str, Value]:
        await self.life.pause(0.01)
        return {"owner": self.world.faults.happens("refusal")}

    def read(self, path: str) -> bytes:
        return self.files[path]


async def _said(on_output: Callable[[bytes], Awaitable[None]], output: bytes) -> None:
    await on_output(output)


@define(eq=False)
class Overheard:
    """``ports.Orders`` and ``ports.MetaserverLink`` with a witness in between."""

    world: World
    name: str
    link: BuildServerLink
    server: Orders | None = None
    session: int = 0

    async def build(self, order: Order) -> Accepted:
        self.world.watch.ordered(self.name, self.session, order)
        assert self.server is not None
        return await self.server.build(order)

    async def abort(self, order: AbortOrder) -> Ok:
        assert self.server is not None
        return await self.server.abort(order)

    def connected(self, welcome: Welcome) -> None:
        self.session = welcome.session
        self.world.watch.welcomed(self.name, welcome.session)
        assert self.server is not None
        self.server.connected(welcome)

    def disconnected(self, reason: str) -> None:
        assert self.server is not None
        self.server.disconnected(reason)

    async def ended(self, message: Ended) -> Ok:
        session = self.session
        answer = await self.link.ended(message)
        self.world.watch.end_taken(self.name, session, message, answer)
        return answer

    async def done(self, message: Done) -> Ok:
        session = self.session
        answer = await self.link.done(message)
        self.world.watch.done_taken(self.name, session, message, answer)
        return answer

    async def renew(self, message: RenewTickets) -> Tickets:
        return await self.link.renew(message)


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
    machine: Machine
    life: Life = field(init=False)
    link: BuildServerLink = field(init=False)
    server: BuildServer = field(init=False)
    lives: int = 0

    @property
    def running(self) -> bool:
        return self.lives > 0 and not self.life.ended

    def start(self) -> None:
        world = self.world
        self.lives += 1
        life = self.life = Life(world.time, f"{self.name}.{self.lives}")
        project = world.settings.projects[0]
        found = projects.capability(self.arches, memory=self.memory, max_builds=self.max_builds, of=project)
        bench = Workbench(world, self, life)
        self.link = BuildServerLink(
            world.network.endpoint(life, self.name, "meta"),
            "meta:1",
            lambda: Register(self.name, found),
            life,
            final=self._final,
            backoff=Backoff(most=self.maxdelay, chance=world.rng.random),
        )
        overheard = Overheard(world, self.name, self.link)
        tools = Tools(
            sources=bench,
            commands=bench,
            workshop=bench,
            uploads=SimulatedUploads(world.network, life, self.name, bench.read),
            clock=life,
            environment={"PATH": "/usr/bin"},
            server=self.name,
        )
        offered = Offered({project.name: project}, found.offers, found.max_builds)
        self.server = BuildServer(offered, tools, overheard, Inline())
        overheard.server = self.server
        self.link.orders = overheard
        world.keep(self.link, self.server, bench)
        world.trace.say(self.name, f"starts, life {self.lives}")
        self.link.startService()

    def crash(self, *, silently: bool) -> None:
        """End at once, in the middle of whatever it is."""
        self.world.trace.say(self.name, f"crashes{', power and all' if silently else ''}")
        self.life.ended = True
        self.world.network.machine_gone(self.life, silently=silently)

    def stop(self) -> None:
        """End as SIGTERM ends it: give back what runs, say good-bye."""
        self.world.trace.say(self.name, "is asked to stop")
        life = self.life

        async def leave() -> None:
            await self.server.hand_back("SIGTERM")
            await self.link.stopService()

        def gone(_result: object) -> None:
            if not life.ended:
                self.world.trace.say(self.name, "has stopped")
                life.ended = True
                self.world.network.machine_gone(life, silently=False)

        Deferred.fromCoroutine(leave()).addBoth(gone)

    def _final(self, error: BuildToolError) -> None:
        self.world.watch.wrong(f"{self.name} was turned away for good: {error}")
