"""Signed messages to a URL: what each says is in docs/integrator.rst, and its form is what our own hooks take."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define, field

from buildtool.adapters.notices.http import CallHttp, HttpCall
from buildtool.model.notices.notice import Notice
from buildtool.model.notices.outcome import TellOutcome, outcome_of
from buildtool.ports.common import Clock
from buildtool.ports.notices import OutgoingNotice

EVENT, PING = "build", "ping"
"""The events that a message is about: what comes of a build, and a try."""


@define(eq=False)
class WebhookTeller:
    """A way to tell one URL. ``page`` returns the URL of what a notice is about."""

    url: str = field(repr=False)
    secret: str = field(repr=False)
    call: CallHttp
    page: Callable[[Notice], str]
    wall: Clock

    async def tell(self, outgoing: OutgoingNotice) -> TellOutcome:
        """Send a notice. Raises Unavailable where nothing answers there."""
        call = webhook_call(self.url, self.secret, outgoing, self.page(outgoing.notice))
        return outcome_of(await self.call(call), self.wall.wall())

    async def look(self) -> str:
        """Return what is wrong with the URL, or "", by a signed message of the event ``ping``. Raises Unavailable."""
        body = json.dumps({"event": PING, "at": self.wall.wall()}).encode()
        number = hashlib.sha256(body).hexdigest()[:32]
        outcome = outcome_of(await self.call(_signed(self.url, self.secret, PING, number, body)), self.wall.wall())
        return outcome.reason


def webhook_call(url: str, secret: str, outgoing: OutgoingNotice, page: str) -> HttpCall:
    """Return the call that sends a notice, signed over the bytes of its body. All tries of one have one id."""
    notice = outgoing.notice
    number = delivery_id(outgoing)
    said = {
        "event": EVENT,
        "id": number,
        "project": notice.project,
        "revision": notice.revision,
        "ref": notice.ref,
        "context": notice.context,
        "state": notice.state.value,
        "ended": notice.state.ended,
        "reason": notice.reason,
        "request": notice.request_id,
        "build": notice.build_id,
        "url": page,
        "at": datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds"),
    }
    body = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
    return _signed(url, secret, EVENT, number, body)


def _signed(url: str, secret: str, event: str, number: str, body: bytes) -> HttpCall:
    headers = {
        "Content-Type": "application/json",
        "X-Event": event,
        "X-Delivery-Id": number,
        "X-Hub-Signature-256": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}",
    }
    return HttpCall("POST", url, headers, body)


def delivery_id(outgoing: OutgoingNotice) -> str:
    """Return the id of a message: the same however often it is tried, and another one for each that is new."""
    notice = outgoing.notice
    about = (notice.target, notice.key, str(outgoing.serial), str(notice.request_id), repr(notice.at))
    return hashlib.sha256("\0".join(about).encode("utf-8", "surrogatepass")).hexdigest()[:32]
