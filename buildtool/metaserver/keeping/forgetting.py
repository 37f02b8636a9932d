"""Lets go what is older or more than what is kept: a look through everything, then some at a time, beside full load.

Of each thing the record that it has expired is committed first, then its files go. A crash between the two leaves files
that the next round takes. What is chosen is looked at again in the moment in which it goes.

Tested by tests/metaserver/keeping/test_forgetting.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from buildtool.model.keeping.choosing import USUAL_TURN, Going, KeptThing, Survey, Turn, goes
from buildtool.model.keeping.gone import DAY, expired_words
from buildtool.model.keeping.limits import Keeping, KeptKind
from buildtool.model.records import Artifact
from buildtool.model.text import size_words
from buildtool.ports.keeping import KeptArtifact, KeptLogs, KeptRows

log = Logger()

AT_ONCE = 50
"""How many rows or files one look is about."""

PAUSE = 0.1
"""Seconds between two looks or turns, so that they hold up nobody."""

IN_USE = "it was given out lately"

Rest = Callable[[float], Awaitable[None]]
"""Waits for so many seconds. Raises CancelledError when the work is to stop."""


class Withdrawing(Protocol):
    """The broker, as what lets artifacts go uses it. Every method raises StorageUnavailable."""

    async def begin(self) -> None:
        """Record from now on what is promised."""

    async def expire(self, artifacts: Mapping[Artifact, str]) -> Sequence[Artifact]:
        """Expire artifacts, each for its reason, unless it was promised; return those that are given out no more."""

    async def remove(self, digest: str) -> bool:
        """Delete a file unless an artifact that is given out has its bytes; return whether there was one."""


@define
class GivenOut:
    """The files that were given out, to be recorded now and then: each once a day, since that is all that matters.

    ``most`` files are held at once; who gave out more is told of the others the next time.
    """

    most: int = 100_000
    _fresh: dict[str, float] = field(factory=dict)
    _today: set[str] = field(factory=set)
    _day: float = -1.0

    def add(self, digest: str, now: float) -> None:
        """Take in that a file is given out at wall time ``now``."""
        if now // DAY != self._day:
            self._day = now // DAY
            self._today.clear()
        if digest not in self._today and len(self._today) < self.most:
            self._today.add(digest)
            self._fresh[digest] = now

    def taken(self) -> dict[str, float]:
        """Return what is to be recorded now, and when each was given out."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    async def record(self, rows: KeptRows) -> None:
        """Record what is to be; what cannot be is recorded the next time. Raises StorageUnavailable."""
        fresh, recorded = self.taken(), False
        try:
            await rows.given_out(fresh)
            recorded = True
        finally:
            if not recorded:
                self._fresh = {**fresh, **self._fresh}


async def no_rest(_seconds: float) -> None:
    """Wait for nothing."""


@frozen
class Surveys:
    """The looks through everything that there is, by kind: of the database and of the files, which it only reads."""

    rows: KeptRows
    logs: KeptLogs
    keeping: Callable[[], Keeping]
    now: Callable[[], float]
    rest: Rest = no_rest
    at_once: int = AT_ONCE

    async def look(self, kind: KeptKind) -> Survey:
        """Return what there is of a kind. Raises StorageUnavailable, CancelledError."""
        return await (self._artifacts() if kind is KeptKind.ARTIFACTS else self._logs())

    def chosen(self, kind: KeptKind, survey: Survey, turn: Turn = USUAL_TURN) -> tuple[Going, ...]:
        """Return what goes next of a kind."""
        return goes(kind, survey.oldest(), self.keeping().of(kind), survey.total, self.now(), turn)

    def thing(self, kept: KeptArtifact) -> KeptThing:
        """Return an artifact as what is chosen from: one that was given out lately is spared."""
        lately = self.now() - kept.at < self.keeping().grace
        return evolve(kept.thing, spared=kept.spared or (IN_USE if lately else ""))

    async def _artifacts(self) -> Survey:
        survey, after = Survey(), 0
        while found := await self.rows.artifacts(after, self.at_once):
            survey.add(map(self.thing, found))
            after = found[-1].artifact.id
            await self.rest(PAUSE)
        return survey

    async def _logs(self) -> Survey:
        survey, numbers = Survey(), await self.logs.kept()
        for start in range(0, len(numbers), self.at_once):
            chunk = numbers[start : start + self.at_once]
            sizes, known = await self.logs.sizes(chunk), await self.rows.logs(chunk, self.now())
            survey.add(evolve(known[number], size=sizes[number]) for number in chunk if number in known)
            await self.rest(PAUSE)
        return survey


@frozen
class Forgetting:
    """The end of what is too old or too much. ``round_`` is one look through everything, after which that goes."""

    surveys: Surveys
    broker: Withdrawing
    turn: Turn = field(default=USUAL_TURN)
    given_out: GivenOut = field(factory=GivenOut)

    async def round_(self) -> dict[KeptKind, Survey]:
        """Forget all that has to go; return what there was. Raises StorageUnavailable, CancelledError."""
        await self.given_out.record(self.surveys.rows)
        found: dict[KeptKind, Survey] = {}
        for kind in KeptKind:
            if self.surveys.keeping().of(kind).limited:
                found[kind] = await self.surveys.look(kind)
                await self._turns(kind, found[kind])
        return found

    async def _turns(self, kind: KeptKind, survey: Survey) -> None:
        """Let go what has to, some at a time; what stays all the same is left for the next look."""
        things, total, gone = survey.oldest(), survey.total, 0
        letting_go = self._artifacts if kind is KeptKind.ARTIFACTS else self._logs
        while going := goes(kind, things, self.surveys.keeping().of(kind), total, self.surveys.now(), self.turn):
            went, tried = set(await letting_go(going)), {one.thing.number for one in going}
            gone += len(went)
            total -= sum(one.thing.size for one in going if one.thing.number in went)
            things = [one for one in things if one.number not in tried]
            await self.surveys.rest(PAUSE)
        if gone:
            log.info(
                "{count} {kind} have expired; {size} are left", count=gone, kind=kind.value, size=size_words(total)
            )

    async def _logs(self, going: Sequence[Going]) -> Sequence[int]:
        rules = {one.thing.number: one.rule for one in going}
        there = self.surveys.logs.between(min(rules), max(rules))
        gone = await self.surveys.rows.logs_go(rules, there, self.surveys.now())
        return [number for number in sorted(gone) if await self.surveys.logs.remove(number)]

    async def _artifacts(self, going: Sequence[Going]) -> Sequence[int]:
        await self.broker.begin()
        await self.given_out.record(self.surveys.rows)  # a look through everything takes long
        rules, now = {one.thing.number: one.rule for one in going}, self.surveys.now()
        kept = [one for one in await self.surveys.rows.artifacts_again(rules) if not self.surveys.thing(one).spared]
        expired = await self.broker.expire({one.artifact: expired_words(now, rules[one.artifact.id]) for one in kept})
        digests = {one.digest for one in expired}
        await self.surveys.rows.given_out_no_more(digests)
        for digest in sorted(digests):
            await self.broker.remove(digest)
        return [one.id for one in expired]
