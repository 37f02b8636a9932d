"""Puts together what follows a repository while a build server runs, and how the program starts anew by what is new.

Tested by tests/e2e/test_following.py.
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from pathlib import Path

from attrs import define, frozen
from twisted.internet.base import ReactorBase

from buildtool.adapters.runtime.clock import WallClock
from buildtool.buildserver.following import ConfigurationFollower
from buildtool.buildserver.server import BuildServer
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.ports.common import Executor
from buildtool.programs.buildserver.following.source import FollowedSource
from buildtool.programs.buildserver.following.starting import Following
from buildtool.programs.buildserver.guest.desk import GuestDesk
from buildtool.programs.common.beginning import start_again
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK
from buildtool.programs.common.output import complain
from buildtool.programs.common.program import StopRequest


@frozen
class FollowNeeds:
    """The parts of a program that whatever follows needs: ``own`` is this machine's own configuration."""

    reactor: ReactorBase
    pool: Executor
    server: BuildServer
    own: Path
    said: argparse.Namespace
    anew: StopRequest


@define(eq=False)
class FollowHosting:
    """The one that follows while a build server runs, or none; ``stop`` ends it."""

    server: BuildServer
    anew: StopRequest
    follower: ConfigurationFollower | None = None
    source: FollowedSource | None = None

    def start(self) -> None:
        """Start to look for what is new."""
        if self.follower is not None:
            self.follower.start()

    async def stop(self) -> None:
        """Stop looking; what is fetched or tried is broken off."""
        if self.source is not None:
            self.source.close()
        if self.follower is not None:
            await self.follower.stop()

    async def taken_over(self) -> str:
        """Wait until a new commit may be taken over, have what builds finish, and note what begins; return why."""
        reason = await self.anew.asked()
        await self.server.drain(reason)
        if self.follower is not None:
            await self.follower.take_over()
        return reason


def host_following(following: Following | None, needs: FollowNeeds, desk: GuestDesk) -> FollowHosting:
    """Return what follows, not started yet, and let the owner ask for it. Raises ConfigurationError."""
    if following is None:
        return FollowHosting(needs.server, needs.anew)
    clock, choice, memory = WallClock(), following.choice, following.memory
    source = FollowedSource(choice, following.place, needs.own, needs.said, needs.pool, clock)

    async def keep(record: FollowRecord) -> None:
        await needs.pool.run(partial(memory.save, record))

    desk.following = ConfigurationFollower(
        source,
        following.words,
        following.record(),
        keep,
        needs.server,
        choice.asks,
        choice.every,
        lambda: desk.settings.wishes.network_hours,
        clock,
        needs.reactor,
        needs.anew.ask,
        random.random,
    )
    return FollowHosting(needs.server, needs.anew, desk.following, source)


def ended(program: str, code: int, anew: StopRequest) -> int:
    """Return the exit code, or start the program anew where it has ended for that.

    It starts with the words that it was started with, but for the line of an invitation, which was used.
    """
    if code != EXIT_OK or not anew.reason:
        return code
    why = start_again(without=("--join",))
    complain(f"{program}: cannot start anew: {why}")
    return EXIT_FAILED
