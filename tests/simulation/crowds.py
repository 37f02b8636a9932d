"""A world of its own: one person asks for thousands of builds, another for one, then a crowd for one each.

There is one machine, and nothing goes wrong. ``python -m tests.simulation.crowds 300`` says in a line of JSON what came
of it; with the name of a mutant behind that, what came of it with that guard off.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.model.records import Attempt, Request
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import Submit
from tests.simulation.mutants import MUTANTS, switched
from tests.simulation.projects import ARCHES
from tests.simulation.requesters import Requester
from tests.simulation.world import World

SEED = 8
"""A world without keys, so that nobody has to be invited first."""

CROWD = 250
"""So many people come at last. Ageing lets about a hundred of them pass one round."""

STEPS = 400_000


@frozen
class CrowdSeen:
    """What came of it: how long the single one waited (virtual seconds), and how many were begun meanwhile."""

    waited: float
    length: float
    begun_before: int
    passed: int
    violations: tuple[str, ...]


class Crowd(World):
    """The world. ``see`` lets it happen."""

    def __init__(self, many: int) -> None:
        super().__init__(SEED)
        self.many = many
        self.builders = [self._builder(0)]
        self.builders[0].max_builds, self.builders[0].arches = 1, ARCHES[:1]
        self.builders[0].trouble = 0.0
        self.watch.honest = {builder.name for builder in self.builders}
        self.liars, self.twins = [], []
        self.requesters = [self._person(name) for name in ("ann", "bob", *(f"new{one}" for one in range(CROWD)))]
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._asked = 0

    def _person(self, name: str) -> Requester:
        return Requester(self, name, f"{name}@example.org")

    def committed(self, transaction: tuple[Any, ...], *, told: bool = True) -> None:
        super().committed(transaction, told=told)
        if transaction[0] == "_commit":
            self._attempts |= {row.key: row for row in transaction[1] if type(row) is Attempt}

    def _run(self) -> None:
        self.start_metaserver()
        self.time.call(1.0, partial(self.start_builder, self.builders[0]))
        ann, bob, *others = self.requesters
        self._until(lambda: self.metaserver is not None and self._connections(self.builders[0]) == 1)
        left = self.many
        while left and not self.watch.violations:
            self._asks(ann, min(left, TOGETHER))
            left -= min(left, TOGETHER)
            self._until(lambda: not ann.busy)
        self._until(lambda: bool(self._attempts))
        self._asks(bob, 1)
        self._until(lambda: not bob.busy)
        self._until(lambda: self._first_of(bob) is not None)
        for one in others:
            self._asks(one, 1)
        self._until(lambda: not any(one.busy for one in others))

    def _until(self, come: Callable[[], bool]) -> None:
        """Let happen what happens until something has come."""
        while not come() and not self.watch.violations:
            if self.steps > STEPS or self.time.next_time() is None:
                self.watch.wrong("it does not come")
            self._step()

    def _asks(self, who: Requester, count: int) -> None:
        """Somebody asks for so many builds at once, each of something else than any other."""
        items = tuple(self._item(who, self._asked + number) for number in range(count))
        self._asked += count
        who.busy += 1

        def over(result: object) -> None:
            who.busy -= 1
            if isinstance(result, Failure) or result is None:
                self.watch.wrong(f"{who.name} is not answered: {result}")

        self.keep(Deferred.fromCoroutine(who._answered(items)).addBoth(over))

    def _item(self, who: Requester, sheet: int) -> Submit:
        item = Submit(f"{sheet:032x}", "paint", who.email, "", "main", "", {"sheet": sheet}, {}, {})
        return evolve(item, local={"os": "linux", "arch": ARCHES[0]})

    def _request_of(self, who: Requester) -> Request | None:
        return next((row for row in self.watch.requests.values() if row.email == who.email), None)

    def _first_of(self, who: Requester) -> Attempt | None:
        request = self._request_of(who)
        return self._attempts.get((request.build_id or 0, 1)) if request is not None else None

    def see(self) -> CrowdSeen:
        """Let it happen, and say how it was for the single one."""
        found = self.run().violations
        bob = self.requesters[1]
        asked, mine = self._request_of(bob), self._first_of(bob)
        if asked is None or mine is None:
            return CrowdSeen(-1.0, -1.0, -1, -1, found)
        began = sorted(one.offered_at for one in self._attempts.values() if one.offered_at < mine.offered_at)
        between = sum(asked.admitted_at < at for at in began)
        last = max(at for at in began if at <= asked.admitted_at)
        waited = mine.offered_at - asked.admitted_at
        return CrowdSeen(waited, mine.offered_at - last, between, self.overtaking.most, found)


def main(words: Sequence[str]) -> None:
    """Say what came of it, and end this process: what a world leaves is not tidied up."""
    gc.disable()
    mutants = [one for one in MUTANTS if one.name in words[1:]]
    with switched(mutants[0]) if mutants else nullcontext():
        seen = Crowd(int(words[0])).see()
    line = {"waited": seen.waited, "length": seen.length, "begun_before": seen.begun_before}
    print(json.dumps({**line, "passed": seen.passed, "violations": seen.violations}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
