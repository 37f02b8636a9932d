"""Builds that wait for a better machine than one that is free: what must hold of them, and worlds that have some.

In those each machine makes each platform, its own natively, and it is known beforehand how long that takes, as after
years.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from attrs import define, field

from buildtool.model.options import Canonical
from buildtool.model.servers import OFFER_RANK
from buildtool.scheduling.events import ClockStepped, Event, Tick
from buildtool.scheduling.order.better import HELD
from buildtool.scheduling.state.estimates import BuildDurations, Estimate
from buildtool.scheduling.state.state import State
from tests.simulation.projects import ARCHES

MATTERS = 0.3
"""In how many worlds it is known how long builds take."""

LENGTHS = (20.0, 60.0, 200.0, 900.0)
"""Seconds that they are believed to take, however long they do."""

SLACK = 0.01
"""Seconds that sums of times may be apart."""


def matters(seed: int) -> bool:
    """Return whether a world is one of those."""
    return random.Random(f"lengths of {seed}").random() < MATTERS


def arches_of(seed: int, name: str, drawn: tuple[str, ...]) -> tuple[str, ...]:
    """Return the architectures for which a machine builds, its own first; those that were drawn in other worlds."""
    return tuple(random.Random(f"{seed} {name}").sample(ARCHES, len(ARCHES))) if matters(seed) else drawn


@contextmanager
def believed_lengths(seed: int) -> Iterator[None]:
    """Have the metaserver believe for how long builds run, in some worlds."""
    if not matters(seed):
        yield
        return

    @cache
    def length(platform: Canonical, server: str) -> float:
        return random.Random(f"{seed} {platform} {server}").choice(LENGTHS)

    def expected(_self: object, _shelf: object, platform: Canonical, server: str) -> Estimate:
        return Estimate(length(platform, server), "earlier builds")

    original = BuildDurations.expected
    BuildDurations.expected = expected  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        BuildDurations.expected = original  # type: ignore[method-assign]


@define
class HeldBack:
    """The builds that wait so, each with the machine that they are held back from, and until when was said."""

    _known: Mapping[tuple[int, str], float] = field(factory=dict)

    def look(self, state: State, event: Event, wrong: Callable[[str], None]) -> None:
        """None waits longer than was said when it first did, nor for a machine that is no better."""
        held = {key: one.until for key, one in state.refusals.items() if one.count == HELD}
        for (build, name), until in held.items() if not isinstance(event, ClockStepped) else ():
            said = [known for key, known in self._known.items() if key[0] == build and key in held]
            if said and until > max(said) + SLACK:
                wrong(f"build {build} is held back from {name} for {until - max(said):.2f} s longer than was said")
            if (build, name) not in self._known and not isinstance(event, Tick):  # that is several decisions
                capable = state.queue.capable(state.builds[build])
                mine = OFFER_RANK[capable[name].kind]
                if not any(OFFER_RANK[offer.kind] < mine for offer in capable.values()):
                    wrong(f"build {build} is held back from {name}, and no machine makes it in a better way")
        self._known = held
