"""How many streams there may be at once, and whose: where all places are taken, who has most of them makes room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from buildtool.errors import LimitReached
from buildtool.model.addresses import wide_network_of

AGAIN = 30.0
"""In how many seconds it is worth trying again where there is no place."""


class Ending(Protocol):
    """A stream that can be ended."""

    def end(self) -> None:
        """End the stream in order."""


@define(eq=False)
class StreamPlaces:
    """The places of at most ``most`` streams. One network may have all that no other wants."""

    most: int
    _streams: dict[str, dict[Ending, None]] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def take(self, address: str, stream: Ending) -> Callable[[], None]:
        """Take a place for a visitor from an address; return what gives it up. Raises LimitReached."""
        network = wide_network_of(address) or address
        if len(self) >= self.most:
            largest = max(self._streams.values(), key=len, default={})
            if len(largest) <= len(self._streams.get(network, ())) + 1:
                raise LimitReached(f"{self.most} pages are live already: this one is not", AGAIN)
            next(iter(largest)).end()
        self._streams.setdefault(network, {})[stream] = None

        def left() -> None:
            there = self._streams.get(network, {})
            there.pop(stream, None)
            if not there:
                self._streams.pop(network, None)

        return left
