"""The networks from which known keys were shown: their peers are let in before strangers."""

from __future__ import annotations

from collections import Counter, OrderedDict

from attrs import define, field

from buildtool.concurrency.bounded_cache import keep_newest

KEYS = 10_000
"""Keys of which it is remembered where they were shown, those that were shown latest."""

OF_KEY = 8
"""Networks that are remembered of one key, the latest ones: who has one cannot make all the world known with it."""


@define(eq=False)
class MetNetworks:
    """A memory of the networks from which each key was shown, in bounds."""

    keys: int = KEYS
    _of: OrderedDict[str, OrderedDict[str, None]] = field(factory=OrderedDict, init=False)
    _known: Counter[str] = field(factory=Counter, init=False)

    def __contains__(self, network: object) -> bool:
        return network in self._known

    def add(self, key: str, network: str) -> None:
        """Remember that a known key was shown from a network."""
        networks = self._of.get(key)
        if networks is None:
            if len(self._of) >= self.keys:
                self.forget(next(iter(self._of)))
            networks = self._of[key] = OrderedDict()
        self._of.move_to_end(key)
        if network not in networks:
            self._known[network] += 1
            if len(networks) >= OF_KEY:
                self._drop(next(iter(networks)))
        keep_newest(networks, network, None, OF_KEY)

    def forget(self, key: str) -> None:
        """Forget where a key was shown, which is not known any more."""
        for network in self._of.pop(key, ()):
            self._drop(network)

    def _drop(self, network: str) -> None:
        self._known[network] -= 1
        if not self._known[network]:
            del self._known[network]
