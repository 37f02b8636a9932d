"""The repository that the simulated farm builds from, whose refs move, go and come again; and how it is looked at.

A witness holds what Requests are for against what their refs meant between the question and the answer.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import combinations

from attrs import define, field
from twisted.internet.defer import succeed

from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import RepositoryUnreachable, UnknownRef, UsageError
from buildtool.model.records import Request
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.protocol.messages import Submit, SubmitTogether
from tests.simulation.projects import REVISIONS, STRANGE

NAMES = ("main", "release", "topic")
"""The refs; the last is deleted now and then."""

ORDER = (*REVISIONS, *STRANGE)
"""All commits, each of which has those before it as its ancestors."""

PULL = "refs/pull/1/head"

MOVES = 0.3
"""How many looks at the refs are followed by a push."""

LOOKS = (0.05, 0.05, 4.0, 30.0)
"""Seconds that a look at the refs takes, about."""


def full(ref: str) -> str:
    """Return which ref a name means: HEAD is at main."""
    return "main" if ref in ("", "HEAD") else ref.removeprefix("refs/heads/")


@define(eq=False)
class MovingOrigin:
    """The refs with the revisions that they point at, as they were at any time. ``now`` is monotonic, in seconds."""

    rng: random.Random
    now: Callable[[], float]
    refs: dict[str, str] = field(factory=lambda: dict.fromkeys(NAMES, REVISIONS[2]))
    pull: str = STRANGE[0]
    _history: list[tuple[float, Mapping[str, str]]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._note()

    def _note(self) -> None:
        self._history.append((self.now(), {**self.refs, PULL: self.pull}))

    def push(self, name: str, commit: str) -> None:
        """Move a branch, or the pull request, to a commit."""
        if name == PULL:
            self.pull = commit
        else:
            self.refs[name] = commit
        self._note()

    def move(self) -> None:
        """Move a ref: on, back, away, or to where it never was."""
        name = self.rng.choice(NAMES)
        if name == "topic" and name in self.refs and self.rng.random() < 0.5:
            del self.refs[name]
        else:
            there = [one for one in REVISIONS if one != self.refs.get(name)]
            self.refs[name] = self.rng.choice(there)
        self._note()

    def settle(self) -> None:
        """Let all refs be there from now on."""
        self.refs = {**dict.fromkeys(NAMES, REVISIONS[-1]), **self.refs}
        self._note()

    def meant(self, ref: str, since: float) -> set[str | None]:
        """Return what a ref may have meant between a time and now: None where it was not there."""
        name = full(ref)
        return {refs.get(name) for refs in self._since(since)} if name in (*NAMES, PULL) else {ref}

    def trusted(self, commit: str, since: float) -> set[bool]:
        """Return whether a commit was on a branch, at each time between a time and now."""
        return {commit in REVISIONS or commit in map(refs.get, NAMES) for refs in self._since(since)}

    def _since(self, since: float) -> list[Mapping[str, str]]:
        newest = [refs for at, refs in self._history if at <= since][-1:]
        return [*newest, *(refs for at, refs in self._history if at > since)]


@define(eq=False)
class Resolver:
    """``ports.SourceResolver`` of one life of the metaserver; who looks at the refs shares that as real ones do.

    ``pause`` waits for so many seconds, ``unreachable`` says that the origin does not answer, ``tempt`` has a ref move.
    """

    origin: MovingOrigin
    pause: Callable[[float], Awaitable[None]]
    rng: random.Random
    unreachable: Callable[[], bool]
    tempt: Callable[[], None]
    _looking: SingleFlight[Mapping[str, str]] = field(factory=SingleFlight, init=False)

    async def _look(self) -> Mapping[str, str]:
        seconds = self.rng.choice(LOOKS)
        if self.rng.random() < MOVES:
            self.tempt()
        await self.pause(seconds * self.rng.random())
        found = {**self.origin.refs, PULL: self.origin.pull}
        await self.pause(seconds * self.rng.random())
        return found

    async def resolve(self, url: str, ref: str) -> str:
        if ref in ORDER:
            await self.pause(0.05)
            return ref
        refs = await self._looking.share(url, self._look)
        if self.unreachable():
            raise RepositoryUnreachable(f"{url} does not answer")
        name = full(ref)
        if name not in refs:
            raise UnknownRef(f"there is no {ref!r} in {url}")
        return refs[name]

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        await self.pause(0.05)
        return True in self.origin.trusted(commit, self.origin.now())

    async def acceptable(self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF) -> tuple[str, ...]:
        now, most = self.origin.now(), int(revrange or 0)
        line = [one for one in ORDER if one == commit or True in self.origin.trusted(one, now)]
        at = line.index(commit)
        near = sorted(range(len(line)), key=lambda index: (abs(index - at), index))
        return tuple(line[index] for index in near if abs(index - at) <= most)

    async def older(
        self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        if ref in ORDER:
            raise UsageError(f"{ref!r} is a revision")
        refs = await self._looking.share(url, self._look)
        if self.unreachable():
            raise RepositoryUnreachable(f"{url} does not answer")
        if full(ref) not in refs:
            raise UnknownRef(f"there is no {ref!r} in {url}")
        before = ORDER[: ORDER.index(commit)]
        return frozenset((name, one) for name, one in among if full(name) == full(ref) and one in before)

    async def tips(self, url: str) -> Mapping[str, str]:
        """Return the commit of each branch, as a look finds them; it is also a ``ports.RefReader``."""
        refs = await self._looking.share(url, self._look)
        if self.unreachable():
            raise RepositoryUnreachable(f"{url} does not answer")
        return {f"refs/heads/{name}": one for name, one in refs.items() if name != PULL}

    async def pin(self, url: str, commit: str) -> None:
        return None

    async def refs(self, url: str) -> tuple[str, ...]:
        return tuple(name for name in await self._looking.share(url, self._look) if name != PULL)


def resting(unreachable: Callable[[], bool]) -> Resolver:
    """Return a resolver of an origin whose refs all stay at the newest revision, and that answers at once."""
    rng = random.Random(0)
    origin = MovingOrigin(rng, lambda: 0.0, dict.fromkeys(NAMES, REVISIONS[-1]))
    return Resolver(origin, lambda _seconds: succeed(None), rng, unreachable, lambda: None)


@define(eq=False)
class RefWitness:
    """When what was asked for first, by client id, and what was wrong about what it became."""

    origin: MovingOrigin
    wrong: Callable[[str], None]
    _asked: dict[str, float] = field(factory=dict, init=False)
    superseding: set[str] = field(factory=set, init=False)
    """Client ids of what was asked for with ``supersede``."""

    def since(self, client_id: str) -> float | None:
        """Return when something was asked for first, None where nobody submitted it."""
        return self._asked.get(client_id)

    def asks(self, items: Sequence[Submit]) -> None:
        """The metaserver is asked for builds."""
        for item in items:
            self._asked.setdefault(item.client_id, self.origin.now())
            if item.supersede:
                self.superseding.add(item.client_id)

    def answered(self, rows: Sequence[Request]) -> None:
        """It is about to answer with these Requests, which were asked for at once."""
        for row in rows:
            demand, since = row.demand, self._asked.get(row.client_id, 0.0)
            meant = self.origin.meant(demand.ref, since)
            if demand.spec.revision not in meant:
                self.wrong(f"request {row.id} is for {demand.spec.revision[:4]}, which {demand.ref} did not mean then")
        for one, other in combinations(rows, 2):
            alike = (one.demand.ref, one.demand.spec.source) == (other.demand.ref, other.demand.spec.source)
            if alike and one.demand.spec.revision != other.demand.spec.revision:
                self.wrong(f"requests {one.id} and {other.id}, asked for at once, mean two things by {one.demand.ref}")

    def may_refuse(self, items: Sequence[Submit]) -> bool:
        """Return whether one of the refs was not there at some time since it was asked for."""
        return any(None in self.origin.meant(item.revision, self._asked.get(item.client_id, 0.0)) for item in items)


def submitted(message: object) -> tuple[Submit, ...]:
    """Return what a message asks to be built, which may be nothing."""
    return message.items if isinstance(message, SubmitTogether) else (message,) if isinstance(message, Submit) else ()
