"""Builds that fetch from named hosts first, in a simulated farm, where some owners allow that and others do not.

A witness sees which commands run while a network is open, and on whose machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field

from buildtool.project.fetching import NamedHost

MATTERS = 0.4
"""In how many worlds something is fetched."""

HOST = "colours.example"
FETCH = "fetch"
"""The program of the commands that fetch."""

PROXY = "https_proxy"


@define(eq=False)
class Fetching:
    """What is fetched in one world, and who lets it. ``wrong`` takes a violation."""

    seed: int
    fetched: frozenset[str] = field(init=False, default=frozenset())
    """The colours whose builds fetch."""

    wrong: Callable[[str], None] = field(init=False)
    _rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        rng = self._rng = random.Random(f"{self.seed} fetching")
        if rng.random() < MATTERS:
            self.fetched = frozenset(rng.sample(("red", "blue", "green"), rng.choice((1, 2))))

    def allowed(self, name: str) -> bool:
        """Return whether the owner of a machine lets builds fetch."""
        return random.Random(f"{self.seed} {name} fetches").random() < 0.6

    def opens(self, name: str, hosts: Sequence[NamedHost]) -> SimulatedWay:
        """An honest machine opens its network for a build."""
        self._check(self.allowed(name), f"{name} opens its network for a build, and its owner did not allow that")
        self._check(tuple(one.name for one in hosts) == (HOST,), f"{name} opens its network to {hosts}")
        return SimulatedWay()

    def starts(self, name: str, argv: Sequence[str], way: SimulatedWay | None, environment: Mapping[str, str]) -> bool:
        """An honest machine starts a command; return whether it is one that fetches."""
        fetches, reaches = tuple(argv[:1]) == (FETCH,), way is not None and not way.closed
        what = f"{name} starts {' '.join(argv)}"
        self._check(fetches == reaches, f"{what} while its network is {'open' if reaches else 'closed'}")
        self._check((PROXY in environment) == fetches, f"{what} and says {'a' if not fetches else 'no'} way out")
        self._check(not fetches or {*argv[1:]} <= self.fetched, f"{what}, which fetches nothing")
        return fetches

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong(what)


@define(eq=False)
class SimulatedWay:
    """``ports.OpenNetwork``."""

    closed: bool = False
    environment: Mapping[str, str] = field(factory=lambda: {PROXY: "http://127.0.0.1:9"})

    async def close(self) -> tuple[int, int]:
        self.closed = True
        return 0, 0
