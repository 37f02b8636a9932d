"""The requests of whoever asks, the newest first: what ``startcompile.py list`` shows.

Found by what builds are found by, so what was answered at once with an artifact is not among them.
"""

from __future__ import annotations

from functools import partial

from attrs import evolve, frozen

from buildtool import errors
from buildtool.concurrency.inbox import Gate
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.request_status import RequestStatusReader
from buildtool.model.access.rights import Act
from buildtool.model.principal import Principal
from buildtool.ports.metaserver import BrokerStore
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import RequestStatuses


@frozen
class RequestLister:
    """A reader of the Requests of one person, for that person."""

    store: BrokerStore
    status_reader: RequestStatusReader
    permissions: Permissions
    admittance: Admittance
    gate: Gate

    async def read(self, by: Principal, message: AskRequests) -> RequestStatuses:
        """Return the newest requests of a caller. Raises UsageError for one without an address, LimitReached."""
        if not by.owner:
            raise errors.UsageError(
                "no key says who you are, so nobody knows which requests are yours: join or log in, or ask about "
                "each by the id that was told to you"
            )
        self.admittance.explanation(by)
        return await self.gate.run(partial(self._read, by, max(1, min(message.most, TOGETHER))))

    async def _read(self, by: Principal, most: int) -> RequestStatuses:
        found = await self.store.requests_of(by.owner, most)
        told = []
        for request in found:
            spec = request.demand.spec
            if self.permissions.allows(by, Act.SEE_REQUEST, spec, owner=request.email):
                status = await self.status_reader.read(request)
                own = self.permissions.allows(by, Act.CANCEL, spec, owner=request.email)
                told.append(status if own else evolve(status, token=""))
        return RequestStatuses(tuple(told))
