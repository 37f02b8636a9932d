"""A witness of the order: by what was committed, whether each build stands where it should and is charged to whom.

It knows nothing of clocks and lines of the metaserver: it goes by rows, through all its lives.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import define, field

from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Build, BuildState, Request, RequestState
from buildtool.protocol.operator import LowerRequest, RaiseRequest
from tests.simulation.origin import ORDER, full

OPEN = (BuildState.QUEUED, BuildState.RUNNING)
AGEING = 100
"""Newcomers to a round: said again here, so that another one in the program is noticed."""

SLACK = 1e-6


@define(eq=False)
class Fairness:
    """The open builds and requests as they are committed; ``wrong`` takes a violation."""

    wrong: Callable[[str], None]
    weights: Weights = EVEN
    superseding: Collection[str] = ()
    """Client ids of what was asked for with ``supersede``."""

    _moves: defaultdict[int, set[int]] = field(factory=lambda: defaultdict(set))
    """For each Request how nice an operator has ever asked it to be, or it inherited from one that was moved so."""

    _requests: dict[int, Request] = field(factory=dict)
    _builds: dict[int, Build] = field(factory=dict)
    _newcomers: dict[int, Build] = field(factory=dict)
    """Open builds of shares that had nothing else open when they came."""

    def acting(self, by: Principal, message: object) -> None:
        """Somebody is about to do something: an operator may move a Request."""
        if by.role is PrincipalRole.OPERATOR and isinstance(message, (LowerRequest, RaiseRequest)):
            forward = isinstance(message, RaiseRequest)
            self._moves[message.request_id].add(-message.rounds if forward else message.rounds)

    def committed(self, rows: Sequence[Any]) -> None:
        """Take rows that were committed together."""
        requests = {row.id: row for row in rows if type(row) is Request}
        builds = {row.id: row for row in rows if type(row) is Build}
        moved = [(was, row) for row in requests.values() if (was := self._requests.get(row.id, row)).nice != row.nice]
        fresh = {number for number in requests if number not in self._requests}
        before = dict(self._builds)
        self._requests |= requests
        there = Counter(row.share for row in [*before.values(), *builds.values()])
        # One that came within this batch may have been charged to somebody else by its end.
        there.update(one.share for one in self._requests.values() if one.build_id in builds)
        heirs = {row.id: self._superseded(row, [requests[number] for number in fresh]) for row in requests.values()}
        for row in builds.values():
            self._keeps(before.get(row.id), row)
            if row.state in OPEN:
                self._builds[row.id] = row
                self._charged(row)
                if row.id not in before and row.place in fresh and row.place not in heirs.values():
                    self._comes(row, there[row.share], before)
            else:
                self._builds.pop(row.id, None)
                self._newcomers.pop(row.id, None)
        for number, heir in heirs.items():
            self._inherits(before.get(requests[number].build_id or 0), requests[number], heir)
        for was, request in moved:
            self._goes(was, request, [one.id for one in requests.values() if one.build_id == was.build_id], before)
        self._leave(requests)

    def _leave(self, requests: dict[int, Request]) -> None:
        """Look at how nice Requests are, and forget those that have ended."""
        for number, request in requests.items():
            if request.nice < 0 and request.nice not in self._moves[number]:
                self.wrong(f"request {number} was moved forward by who asked for it")
            if request.state is not RequestState.WAITING:
                del self._requests[number]

    def _superseded(self, row: Request, fresh: Sequence[Request]) -> int:
        """Return by which new Request one has ended, 0 where it has not: one of the same person, for a later commit."""
        if row.state is not RequestState.SUPERSEDED:
            return 0
        for one in fresh:
            mine, theirs = row.demand.spec, one.demand.spec
            same = (row.email, row.share, full(row.demand.ref)) == (one.email, one.share, full(one.demand.ref))
            kind = (mine.options, mine.platform, mine.native) == (theirs.options, theirs.platform, theirs.native)
            later = ORDER.index(theirs.revision) > ORDER.index(mine.revision)
            if same and kind and later and one.client_id in self.superseding:
                return one.id
        self.wrong(f"request {row.id} is superseded, and {row.email} asked for nothing newer in its place")
        return 0

    def _inherits(self, was: Build | None, row: Request, heir: int) -> None:
        """The Build of a Request that took another's place is due no later than that one's was.

        How nice its requester asked it to be comes on top: the place is inherited, and that is not.
        """
        if heir:
            self._moves[heir].add(row.nice)
        newer = self._requests.get(heir)
        if newer is None or was is None or was.place != row.id:
            return
        now = self._builds.get(newer.build_id or 0)
        due, before = 0.0 if now is None else now.tag + now.nice, was.tag + was.nice
        if now is not None and due > before + max(0, newer.nice) + SLACK:
            self.wrong(f"build {now.id} of request {heir} is due at {due:.2f}, and took a place at {before:.2f}")

    def _goes(self, was: Request, now: Request, changed: list[int], before: dict[int, Build]) -> None:
        """Only an operator moves a Request forward. That makes its Build due no later, and a move back no sooner.

        ``changed`` are those who wait for the Build and changed too: who comes or leaves moves it as well.
        """
        how = f"from nice {was.nice} to {now.nice}"
        if now.nice < was.nice and now.nice not in self._moves[now.id]:
            self.wrong(f"request {now.id} went {how}, and no operator did it")
        stood, stands = before.get(was.build_id or 0), self._builds.get(was.build_id or 0)
        if changed != [now.id] or stood is None or stands is None or stands.state is not BuildState.QUEUED:
            return
        later = stands.tag + stands.nice - stood.tag - stood.nice
        if later > SLACK if now.nice < was.nice else later < -SLACK:
            self.wrong(f"request {now.id} went {how}, and its build is due {later:+.2f} rounds later")
        if stands.place == now.id and stands.nice != now.nice:
            self.wrong(f"request {now.id} went {how}, and its build {stands.id} stands at nice {stands.nice}")

    def _keeps(self, before: Build | None, now: Build) -> None:
        """A build keeps its place as long as it is charged to the same request, whatever becomes of it."""
        if before is None or (before.place, before.nice) != (now.place, now.nice):
            return
        if (before.share, before.base, before.tag) != (now.share, now.base, now.tag):
            self.wrong(f"build {now.id} stood at {before.tag:.2f}, and stands at {now.tag:.2f} without a reason")

    def _charged(self, build: Build) -> None:
        """An open build is charged to one who waits for it."""
        charged = self._requests.get(build.place)
        if charged is None or charged.build_id != build.id:
            self.wrong(f"build {build.id} is charged to request {build.place}, which does not wait for it")
        elif not build.share or (build.share, build.nice) != (charged.share, charged.nice):
            self.wrong(
                f"build {build.id} is charged to {build.share!r}, and request {build.place} is {charged.share!r}'s"
            )

    def _comes(self, build: Build, together: int, before: dict[int, Build]) -> None:
        """A new build stands behind what its share has open for the same machines, and at most behind all of it."""
        weight = self.weights.shares.get(build.share, 1.0)  # not by its method, which a mutant changes
        rounds = build.tag - build.base
        if rounds > (together - 1) / weight + SLACK:
            self.wrong(f"build {build.id} waits {rounds:.2f} rounds behind {together - 1} of its share")
        same = [one for one in before.values() if one.spec.demand_class == build.spec.demand_class]
        still = [one for one in same if one.id in self._builds]
        if any(one.share == build.share for one in still) and rounds < 1 / weight - SLACK:
            self.wrong(f"build {build.id} does not wait behind others of its share")
        if rounds < SLACK:
            for one in still:
                older = self._newcomers.get(one.id)
                if older is None or older.spec.demand_class != build.spec.demand_class:
                    continue  # it wants something else since it came, and moved another clock
                if build.base < older.base + 1 / AGEING - SLACK:
                    self.wrong(f"build {build.id} came to a clock that stands still since build {one.id}")
            self._newcomers[build.id] = build
