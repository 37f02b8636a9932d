"""Several ways to one metaserver, tried one after the other: the one that was last good comes first."""

from __future__ import annotations

from attrs import define, frozen
from twisted.internet.interfaces import IStreamClientEndpoint


@frozen
class Way:
    """One way to a metaserver; ``where`` is its host and port, for messages.

    ``unbelieved`` is what is said where its certificate is not believed, if that is known.
    """

    where: str
    endpoint: IStreamClientEndpoint
    unbelieved: str = ""


@define(eq=False)
class InTurn:
    """The ways to one metaserver, of which each is tried until one is good. Of a name's addresses Twisted tries all."""

    ways: tuple[Way, ...]
    _good: Way | None = None

    @property
    def where(self) -> str:
        """Where the metaserver is, for messages."""
        return " or ".join(one.where for one in self.ways)

    def order(self) -> list[Way]:
        """Return the ways in the order in which they are to be tried now."""
        return sorted(self.ways, key=lambda one: one is not self._good)

    def was_good(self, way: Way) -> None:
        """Try this one first from now on."""
        self._good = way
