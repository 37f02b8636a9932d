"""Which Request somebody may do something to: by its token, or as who they are.

Tested by tests/metaserver/test_requests.py.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.errors import NotFound, Unauthorised
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.model.access.rights import Act, Extent
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal
from buildtool.model.records import Request
from buildtool.model.tickets import token_matches
from buildtool.ports.metaserver import BrokerStore

__all__ = ["RequestFinder"]


@frozen
class RequestFinder:
    """A finder of Requests, open or ended, for who may do something to them."""

    broker: Broker
    store: BrokerStore
    keys: Keys
    permissions: Permissions

    async def find(self, by: Principal, act: Act, request_id: int, token: str = "") -> Request:
        """Return a Request that a caller may do an act to. Raises NotFound, Unauthorised."""
        proven = token_matches(request_id, token, self.keys.request(request_id))
        request, rights = None, self.permissions.settings.rights
        if proven or by.owner or rights.most(by.role, act) is Extent.ALL:
            request = await self.known(request_id)
        if request is None and (proven or rights.allows(by, act)):
            raise NotFound(f"there is no request {request_id}")
        if request is None or not self.permissions.allows(
            by, act, request.demand.spec, proven=proven, owner=request.email
        ):
            wrong = f"that is not the token of request {request_id}"
            if not token:
                wrong = f"request {request_id} is not yours, or there is none"
            raise Unauthorised(f"{wrong}: use the id as it was told to you")
        return request

    async def known(self, request_id: int) -> Request | None:
        """Return a Request, open or ended, without a look at who asks."""
        return self.broker.state.requests.get(request_id) or await self.store.request(request_id)
