"""Mails that came back: noted on the Request that they told of.

Tested by tests/metaserver/operating/test_bounces.py.
"""

from __future__ import annotations

from attrs import define
from twisted.logger import Logger

from buildtool.metaserver.authorised import Permissions
from buildtool.model.access.rights import Act, Subject
from buildtool.model.farm.return_paths import ReturnTag
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal
from buildtool.model.text import one_line
from buildtool.ports.metaserver import BrokerStore, Handlers, OperatorStore
from buildtool.protocol import operator

REASON_LIMIT = 300
"""The longest reason, in characters."""


@define
class BounceService:
    """A service for the mail server, which calls it by ``bin/metaserver bounce``. ``keys`` prove what is told."""

    store: BrokerStore
    history: OperatorStore
    keys: Keys
    permissions: Permissions

    _log = Logger()

    @property
    def handlers(self) -> Handlers:
        """What may be asked for."""
        return {operator.ReportBounce: self.report}

    async def report(self, by: Principal, message: operator.ReportBounce) -> operator.ActionResult:
        """Record on a Request that the mail about it came back. What proves nothing is told, and changes nothing."""
        self.permissions.check(by, Act.NOTE_BOUNCES, Subject())
        tag = ReturnTag.read(message.tag)
        request = await self.store.request(tag.request_id) if tag is not None else None
        if tag is None or request is None or not tag.is_of(self.keys.request(request.id), request.email):
            return operator.ActionResult(("nothing is noted: the farm sent no mail from that address",), changed=False)
        reason = f"it came back: {one_line(message.reason, REASON_LIMIT)}"
        count = await self.history.mail_returned(request.id, reason)
        self._log.warn("the mail about request {id} came back: {reason}", id=request.id, reason=reason)
        return operator.ActionResult((f"request {request.id}: {reason}",), build_id=request.build_id, count=count)
