"""A build server's configuration follows a repository: looked at now and then, tried, and taken over between builds.

What is to be done, ``model/guest/following.py`` decides; here it is done. What is taken over holds from the next start
on: the program starts itself anew once nothing builds, since Python forgets nothing that it has loaded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.buildserver.server import BuildServer
from buildtool.concurrency.backoff import Backoff, Tries
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import BuildToolError, UsageError
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.model.guest.following import (
    SHORT,
    FollowDecision,
    FollowStanding,
    FollowStep,
    Kinship,
    TrialVerdict,
    decide_following,
)
from buildtool.model.guest.hours import WeekHours, holds, next_change
from buildtool.model.text import one_line
from buildtool.ports.buildserver import FollowedConfiguration, FollowLook
from buildtool.ports.common import Clock

log = Logger()

SPREAD = 0.2
"""The part by which chance shortens the time to the next look, so that not all machines ask at once."""

FAILURES = Backoff(first=60.0, most=7_200.0, spread=SPREAD)
"""Seconds until a look is tried again that failed."""

LONGEST_SLEEP = 3_600.0
"""The most seconds without asking whether the network may be used."""

SHORTEST_ID = 7
"""The least digits by which a commit is named by hand."""


@define(eq=False)
class ConfigurationFollower:
    """The one that follows: ``record`` is what is remembered, which ``keep`` writes. Call it in the reactor's thread.

    ``asks`` is whether the owner is to be asked, ``every`` the seconds between two looks, ``network`` the hours in
    which the network may be used now. ``anew`` asks for a start of the program by what is taken over. ``draw`` draws a
    number from 0 to 1.
    """

    source: FollowedConfiguration
    name: str
    record: FollowRecord
    keep: Callable[[FollowRecord], Awaitable[None]]
    server: BuildServer
    asks: bool
    every: float
    network: Callable[[], tuple[WeekHours, ...]]
    clock: Clock
    timers: IReactorTime
    anew: Callable[[str], None]
    draw: Callable[[], float]
    trouble: str = field(default="", init=False)
    _chosen: FollowLook | None = field(default=None, init=False)
    _passed: str = field(default="", init=False)
    _failed: tuple[str, str] = field(default=("", ""), init=False)
    _said: str = field(default="", init=False)
    _tries: Tries = field(factory=FAILURES.begin, init=False)
    _one: DeferredLock = field(factory=DeferredLock, init=False)
    _task: PeriodicTask = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._task = PeriodicTask(f"the look at {self.name}", self.timers, self._round)

    def start(self) -> None:
        """Start to look, at once."""
        self._task.start(0.0)

    async def stop(self) -> None:
        """Stop looking."""
        await self._task.stop()

    def look_again(self) -> None:
        """Start a look at once."""
        self._task.hasten()

    def accept(self, said: str) -> None:
        """Accept a commit that the owner names by hand, whatever is older or newer. Raises UsageError."""
        record = accepting(self.record, said)
        self.record = evolve(record, words=f"{record.accepted[:SHORT]} is accepted, and looked at now")
        log.info("its owner accepts {commit}", commit=self.record.accepted[:SHORT])
        self.look_again()

    async def take_over(self) -> None:
        """Record what is to hold from the next start on. Nothing builds any more, and nothing more is taken."""
        if self._chosen is not None:
            await self._one.run(self._follow, self._chosen, closed=True)

    # --- inside -----------------------------------------------------------------------------------------

    async def _round(self, _task: PeriodicTask) -> float:
        if self._chosen is not None:
            return LONGEST_SLEEP  # whatever is newer comes after the next start: a server that wavers changes nothing
        now, hours = self.clock.wall(), self.network()
        if not holds(hours, now):
            opens = next_change(hours, now)
            return LONGEST_SLEEP if opens is None else min(LONGEST_SLEEP, max(1.0, opens - now))
        try:
            look = await self.source.look(self.record.holds)
        except BuildToolError as error:
            if str(error) != self.trouble:
                log.warn("{name} is not followed now: {why}", name=self.name, why=error)
            self.trouble = str(error)
            return self._tries.next_delay() * (1.0 - SPREAD * self.draw())
        if self.trouble:
            log.info("{name} is followed again", name=self.name)
        self.trouble = ""
        self._tries.reset()
        if look.tip.commit != self.record.tip and look.tip.kinship is not Kinship.SAME:
            log.info("{name} has a new commit: {about}", name=self.name, about=look.about)
        await self._one.run(self._follow, look)
        return self.every * (1.0 - SPREAD * self.draw())

    async def _follow(self, look: FollowLook, *, closed: bool = False) -> None:
        """Do one step after the other, until one waits for something."""
        while True:
            decided = self._decided(look, closed=closed)
            match decided.step:
                case FollowStep.TRY:
                    await self._try(look.tip.commit)
                    continue
                case FollowStep.APPLY:
                    self.record = evolve(self.record, begins=look.tip.commit, starts=0)
            if await self._noted(look, decided) and decided.step is FollowStep.DRAIN:
                self._chosen = look
                self.anew(decided.words)
            return

    def _decided(self, look: FollowLook, *, closed: bool) -> FollowDecision:
        record, commit = self.record, look.tip.commit
        failed = {record.failed: record.failed_words, self._failed[0]: self._failed[1]}
        trial = TrialVerdict.PASSED if commit == self._passed else TrialVerdict.UNTRIED
        standing = FollowStanding(
            look.tip,
            record.holds,
            self.asks,
            record.accepted,
            TrialVerdict.FAILED if commit in failed else trial,
            failed.get(commit, ""),
            0 if closed else self.server.running,
            closed,
            not record.lost,
        )
        return decide_following(standing)

    async def _try(self, commit: str) -> None:
        try:
            why = await self.source.attempt(commit)
        except BuildToolError as error:
            why = str(error)
        if why:
            self._failed = (commit, why)
        else:
            self._passed = commit

    async def _noted(self, look: FollowLook, decided: FollowDecision) -> bool:
        """Note how things stand; return whether that was kept, without which nothing is taken over."""
        words, commit = decided.words, look.tip.commit
        if words and words != self._said:
            tell = log.warn if decided.step is FollowStep.REFUSE else log.info
            tell("{name}: {words}", name=self.name, words=words)
        self._said = words
        self.record = evolve(self.record, tip=commit, words=words, seen_at=self.clock.wall())
        try:
            await self.keep(self.record)
        except BuildToolError as error:
            log.warn("what is known of {name} cannot be kept: {why}", name=self.name, why=error)
            return False
        return True


def accepting(record: FollowRecord, said: str) -> FollowRecord:
    """Return the record where the owner names a commit by hand. Raises UsageError for one that was not seen."""
    known = record.waits
    if not known:
        raise UsageError("there is no commit that waits: config-diff shows what holds")
    if len(said) < SHORTEST_ID or not known.startswith(said.lower()):
        raise UsageError(
            f"{one_line(said, 40)!r} is not what waits, which is {known[:SHORT]}: read what config-diff shows first"
        )
    return record.accepting(known)
