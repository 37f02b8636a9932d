"""How much one may have: for a caller (a key's owner, or a mail address), from one network address, and from a network.

The networks are a /24 of IPv4 and a /56 of IPv6, see ``wide_network_of``. What is counted by time may be had at once,
and comes back evenly over that time. Counted in ``scheduling/allowances.py``, whose test covers this too:
tests/scheduling/test_allowances.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, fields, frozen

from buildtool.errors import UsageError
from buildtool.model.servers import QuickEnum

__all__ = ["NO_CEILINGS", "TOLD", "USUAL_CEILINGS", "Ceilings", "Counted", "Most"]

GIB = 1024**3


class Counted(QuickEnum):
    """A kind of what is counted; the values are words for people."""

    REQUESTS = "requests an hour"
    EXPLANATIONS = "explanations a minute"
    STORED = "GiB stored a day"
    CODES = "codes by mail an hour"
    HANDSHAKES = "handshakes a minute"
    OPEN = "open requests"
    CONNECTIONS = "connections"


SECONDS: Mapping[Counted, float] = {
    Counted.REQUESTS: 3_600.0,
    Counted.EXPLANATIONS: 60.0,
    Counted.STORED: 86_400.0,
    Counted.CODES: 3_600.0,
    Counted.HANDSHAKES: 60.0,
}
"""The time for which each is counted, where it is counted by time."""


TOLD: Mapping[str, Counted] = {
    "requests": Counted.REQUESTS,
    "explanations": Counted.EXPLANATIONS,
    "codes": Counted.CODES,
}
"""What callers are told of, by the name that the headers of the API have for it."""


@frozen
class Most:
    """The most of one thing (what ``Counted`` names) for one requester or build server, address and network.

    None is no limit.
    """

    somebody: int | None = None
    address: int | None = None
    network: int | None = None

    def __str__(self) -> str:
        return ", ".join("any" if one is None else f"{one:g}" for one in (self.somebody, self.address, self.network))


@frozen
class Ceilings:
    """The most of everything; ``requests_at_once`` is how many requests one submission may be, or None.

    The others are for one requester or build server, for an address and for a network. ``stored_gib_a_day`` are
    artifacts and logs, which count for who asked for them and for the build server that sends them.
    """

    requests_an_hour: Most = Most()
    open_requests: Most = Most()
    requests_at_once: int | None = None
    explanations_a_minute: Most = Most()
    stored_gib_a_day: Most = Most()
    codes_an_hour: Most = Most()
    connections: Most = Most()
    handshakes_a_minute: Most = Most()

    def of(self, what: Counted) -> Most:
        """Return the most of one thing."""
        found: Most = getattr(self, _NAMES[what])
        return found

    def with_changes(self, changes: Mapping[object, object]) -> Ceilings:
        """Return the ceilings with some changed, by name: one number is for one caller, three are for each scope.

        ``{"open_requests": (100, 200, None)}``: None is without limit. Raises UsageError, which says what is right.
        """
        names = [one.name for one in fields(Ceilings)]
        found: dict[str, Any] = {}
        for name, value in changes.items():
            if not isinstance(name, str) or name not in names:
                raise UsageError(f"there is no limit {name!r:.60}: there are {', '.join(names)}")
            if name == "requests_at_once":
                found[name] = None if value is None else int(_number(name, value))
            elif isinstance(value, tuple | list):
                if len(value) != _SCOPES:
                    raise UsageError(f"{name} = {value!r:.80}: three numbers, for somebody, an address and a network")
                found[name] = Most(*(None if one is None else _number(name, one) for one in value))
            else:
                somebody = None if value is None else _number(name, value)
                found[name] = evolve(getattr(self, name), somebody=somebody)
        return evolve(self, **found)

    def lines(self) -> tuple[str, ...]:
        """Return what holds in lines for people."""
        told = [f"{one.name}: {getattr(self, one.name)}" for one in fields(Ceilings) if one.name != _AT_ONCE]
        at_once = "any" if self.requests_at_once is None else self.requests_at_once
        return (*told, f"{_AT_ONCE}: {at_once}")


_SCOPES = 3
_AT_ONCE = "requests_at_once"
_LARGEST = 1e12

_NAMES: Mapping[Counted, str] = {
    Counted.REQUESTS: "requests_an_hour",
    Counted.EXPLANATIONS: "explanations_a_minute",
    Counted.STORED: "stored_gib_a_day",
    Counted.CODES: "codes_an_hour",
    Counted.HANDSHAKES: "handshakes_a_minute",
    Counted.OPEN: "open_requests",
    Counted.CONNECTIONS: "connections",
}

NO_CEILINGS = Ceilings()
"""No limit on anything, as where everybody is trusted who can connect."""

USUAL_CEILINGS = Ceilings(
    requests_an_hour=Most(1_000, 2_000, 5_000),
    open_requests=Most(1_000, 2_000, 5_000),
    requests_at_once=64,
    explanations_a_minute=Most(120, 240, 600),
    stored_gib_a_day=Most(200, 400, 800),
    codes_an_hour=Most(5, 10, 30),
    connections=Most(100, 1_000, 1_500),
    handshakes_a_minute=Most(None, 1_200, 2_400),
)
"""What holds where a key is needed, unless the configuration says otherwise."""


def _number(name: str, value: object) -> int:
    """Return a limit that was said. Raises UsageError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise UsageError(f"{name} = {value!r:.80}: a limit is a whole number from 1 on, or None for none")
    return value
