"""Puts together what makes a build server a guest: settings and their file, the look at the owner, and their socket."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import define, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.adapters.control.operator_endpoint import ControlPort
from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.limits.watching import memory_of_builds
from buildtool.adapters.host.presence.probe import PresenceProbe, ToldBy
from buildtool.adapters.processes.gentleness import can_io_idle
from buildtool.adapters.runtime.clock import WallClock
from buildtool.buildserver.guest import Guest
from buildtool.buildserver.server import BuildServer
from buildtool.errors import BuildToolError
from buildtool.model.guest.stance import Observed, OwnerWishes
from buildtool.ports.common import Executor
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.guest.desk import GuestDesk, OwnedParts
from buildtool.programs.buildserver.guest.handed_pause import hand_over, handed_over
from buildtool.programs.buildserver.guest.local_socket import listen_to_owner
from buildtool.programs.buildserver.guest.wishes import GuestSettings, check_told, read_settings, settings_file
from buildtool.programs.common.program import StopRequest

log = Logger()

LOOK = 2.0
"""Seconds between two looks whether the file of settings has changed."""


@frozen
class PooledProbe:
    """The ``ports.OwnerProbe``: looks in a thread, and holds builds back by their control groups."""

    probe: PresenceProbe
    pool: Executor
    groups: ControlGroups

    async def look(self, wishes: OwnerWishes) -> Observed:
        return await self.pool.run(partial(self.probe.look, wishes))

    async def bound(self, memory: int | None) -> None:
        try:
            await self.pool.run(partial(self.groups.hold_back, memory))
        except OSError as error:  # builds are looked at all the same
            log.warn("the control groups of builds hold no memory back: {why}", why=error.strerror or str(error))


@define(eq=False)
class GuestHosting:
    """All of it while a build server runs; ``stop`` ends it."""

    desk: GuestDesk
    port: ControlPort
    looking: LoopingCall
    close: Callable[[], None]

    async def stop(self) -> None:
        """Stop looking and listening."""
        self.looking.stop()
        await maybeDeferred(self.port.stopListening)
        await self.desk.guest.stop()
        hand_over(self.desk.guest.pause)
        self.close()


async def host_guest(
    reactor: ReactorBase,
    pool: Executor,
    server: BuildServer,
    place: BuildDirectory,
    said: argparse.Namespace,
    drain: StopRequest,
    parts: OwnedParts,
) -> GuestHosting:
    """Start all of it for a build server that takes no orders yet. Raises ConfigurationError, UsageError."""
    path = settings_file(said, place.top.parent)
    groups = parts.bounds.groups
    read = partial(read_settings, said, path, parts.bounds.machine)
    settings = read()
    probe = PresenceProbe(disk_at=place.top, builds_memory=partial(memory_of_builds, groups))
    told = await pool.run(probe.told_by)
    check_told(settings.wishes, told)
    _announce(settings, told)
    looks = PooledProbe(probe, pool, groups)
    guest = Guest(server, looks, settings.wishes, WallClock(), reactor, handed_over())
    desk = GuestDesk(place.top.name, guest, told, settings, read, path, drain.ask, parts)
    desk.be_gentle()
    port = listen_to_owner(reactor, place.top, desk.answer)
    await guest.start()
    looking = _watch(reactor, path, desk)
    return GuestHosting(desk, port, looking, probe.close)


def _announce(settings: GuestSettings, told: ToldBy) -> None:
    wishes = settings.wishes
    if settings.io_idle and not can_io_idle():
        log.warn("--io-idle: this system has no idle class for disks: builds use them as everything else does")
    if wishes.watches_owner:
        log.info("whether the owner is away is told by {what}", what=told.words())
    if wishes.mains_only:
        what = told.power or "nothing: this machine has no battery, or does not tell of it, and counts as plugged in"
        log.info("whether the machine runs from its battery is told by {what}", what=what)


def _watch(reactor: ReactorBase, path: Path, desk: GuestDesk) -> LoopingCall:
    known = _stamp(path)

    def look() -> None:
        nonlocal known
        now = _stamp(path)
        if now != known:
            known = now
            try:
                desk.reload()
            except BuildToolError:
                return  # it was logged, and is part of the status

    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(LOOK, now=False)
    return looking


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
