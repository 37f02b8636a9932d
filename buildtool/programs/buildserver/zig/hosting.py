"""Warms zig's targets one after the other while a build server runs, and has it announce those that work.

Tested by tests/programs/buildserver/zig/test_hosting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.control.build_server_link import BuildServerLink
from buildtool.adapters.host.zig.targets import ZigTarget
from buildtool.buildserver.server import BuildServer
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import MachineFault
from buildtool.ports.buildserver import Halt, Halted
from buildtool.ports.common import Executor
from buildtool.programs.buildserver.capability import AnnouncedCapability, warmed
from buildtool.programs.buildserver.zig.offers import ZigOffers
from buildtool.project.definition import Project

log = Logger()

ANNOUNCED = 120.0
"""Seconds at least between two logins that announce what has become ready, but for the last."""

BUSY = 30.0
"""Seconds until it is looked again whether the machine's owner is away, or the builds are done."""


@define(eq=False)
class ZigHosting:
    """The one that warms. ``found`` is what is announced; ``told`` hears of it when there is more.

    ``may`` says whether anything may be begun on this machine now, and ``idle`` whether nothing is built on it. Call it
    in the reactor's thread.
    """

    reactor: IReactorTime
    pool: Executor
    found: AnnouncedCapability
    projects: Iterable[Project]
    may: Callable[[], bool]
    told: Callable[[AnnouncedCapability], None]
    idle: Callable[[], bool] = lambda: False
    _halt: Halt = field(factory=Halt, init=False)
    _failed: set[ZigTarget] = field(factory=set, init=False)
    _untold: int = field(default=0, init=False)
    _last: float = field(default=0.0, init=False)
    _task: PeriodicTask | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start to warm, where there is a zig and anything to do; call it before anything is built."""
        zig = self.found.zig
        if zig is None:
            return
        try:
            await self.pool.run(zig.store.tidy)
        except OSError as error:
            log.warn("old caches of zig stay in {place}: {why}", place=zig.store.top, why=str(error))
        if self.found.coming:
            log.info(
                "zig {version} makes programs for further platforms; each is tried once, which takes minutes in all, "
                "and offered as soon as it works",
                version=zig.store.zig.version,
            )
        self._last = self.reactor.seconds()
        self._task = PeriodicTask("zig's targets", self.reactor, self._round)
        self._task.start(0.0)

    async def stop(self) -> None:
        """Stop warming; what was not finished is begun anew at the next start."""
        self._halt.ask("the build server stops")
        if self._task is not None:
            await self._task.stop()

    async def _round(self, _task: PeriodicTask) -> float:
        zig = self.found.zig
        if zig is None:
            return BUSY
        cold = [one for one in await self.pool.run(zig.cold) if one not in self._failed]
        if not cold or (self._untold and self.reactor.seconds() - self._last >= ANNOUNCED):
            await self._tell()
        if not self.may():
            return BUSY
        if not cold:
            return await self._debug_one(zig)
        target = cold[0]
        gently = not self.idle()  # or on a busy machine it would never come to what requests may wait for
        try:
            await self.pool.run(partial(zig.store.try_target, target, self._halt.check, gently=gently))
        except MachineFault as error:
            self._failed.add(target)
            log.warn("zig is not offered for {name}: {why}", name=target.name, why=str(error))
        except Halted:
            return BUSY
        else:
            self._untold += 1
            log.info("zig makes programs for {name}; still to be tried: {count}", name=target.name, count=len(cold) - 1)
        return 0.0

    async def _debug_one(self, zig: ZigOffers) -> float:
        """Add to one target, while there is any, what programs with debugging information are linked with."""
        plain = [one for one in await self.pool.run(zig.plain) if one not in self._failed]
        if not plain:
            return 3_600.0  # a target whose files somebody removed is made again
        try:
            await self.pool.run(partial(zig.store.add_debugged, plain[0], self._halt.check))
        except MachineFault as error:
            self._failed.add(plain[0])
            log.warn("each build with -g for {name} takes long: {why}", name=plain[0].name, why=str(error))
        except Halted:
            return BUSY
        return 0.0

    async def _tell(self) -> None:
        if not self._untold:
            return
        self._untold, self._last = 0, self.reactor.seconds()
        self.found = await self.pool.run(partial(warmed, self.found, self.projects))
        self.told(self.found)


def host_zig(
    reactor: IReactorTime,
    pool: Executor,
    found: AnnouncedCapability,
    projects: Iterable[Project],
    server: BuildServer,
    link: BuildServerLink,
    nice: Callable[[], int],
) -> ZigHosting:
    """Return what warms zig's targets, not started yet; ``link`` logs in anew to announce what is ready.

    ``nice`` returns by how much builds give way to everything else.
    """

    def told(now: AnnouncedCapability) -> None:
        server.offered = evolve(server.offered, offers=now.offers)
        link.again("logging in anew, to announce more platforms")

    if found.zig is not None:
        found.zig.store.nice = nice
    may = lambda: not server.notice().closed  # noqa: E731
    return ZigHosting(reactor, pool, found, projects, may, told, lambda: not server.running)
