"""The tickets of one Attempt: renewed where the metaserver does not take them any more.

Tested by tests/buildserver/test_server.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import evolve

from buildtool.errors import BadTicket, NotFound
from buildtool.ports.buildserver import MetaserverLink
from buildtool.protocol.messages import RenewTickets, Tickets

T = TypeVar("T")


class TicketHolder:
    """The tickets of one Attempt: those that have expired, or are not there any more, are renewed."""

    def __init__(self, build_id: int, epoch: int, link: MetaserverLink, tickets: Tickets | None) -> None:
        self._wanted = RenewTickets(build_id, epoch)
        self._link = link
        self._tickets = tickets

    async def using(self, send: Callable[[Tickets], Awaitable[T]]) -> T:
        """Send something. Raises what that raises, what renewing raises, and BadTicket when fresh ones do not do."""
        tickets = self._tickets
        if tickets is not None:
            try:
                return await send(tickets)
            except BadTicket:
                if self._tickets is tickets:  # nobody else has renewed them meanwhile
                    self._tickets = None
        if self._tickets is None:
            self._tickets = await self._link.tell(self._wanted, Tickets)
        return await send(self._tickets)

    async def for_source(self) -> str:
        """Return a ticket for the metaserver's own copy of the commit. Raises NotFound where it gives none."""
        tickets = await self._link.tell(evolve(self._wanted, source=True), Tickets)
        if not tickets.source_ticket:
            raise NotFound("the metaserver gives out nothing of the commit")
        return tickets.source_ticket
