"""What is known of all watches: who they are for, what they want, and what is in the way of it.

Tested by tests/metaserver/telling/test_watches.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

from buildtool.errors import BuildToolError
from buildtool.metaserver.demands import DemandReader, body_digest, source_url
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.model.addresses import masked
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Artifact, Demand
from buildtool.model.telling.watch import WATCH, BranchWatch
from buildtool.model.text import one_line
from buildtool.project.definition import Project
from buildtool.protocol.codec import decode
from buildtool.protocol.json_text import TextBounds, parsed
from buildtool.protocol.messages import Submit
from buildtool.protocol.projects.watches import WatchStatus
from buildtool.scheduling.answers import ExplainedAnswer
from buildtool.scheduling.events import CancelRequested, Explain

__all__ = ["WatchBook", "person_of"]

log = Logger()

_SAID = 300
_ID = 32
_BOUNDS = TextBounds(1_000_000)


def _any_key(_key: str) -> bool:
    return True


@define(eq=False)
class WatchBook:
    """The watches of a farm, by their numbers. ``secret`` makes ids that no requester can make.

    ``knows`` returns whether a key is believed. ``unchecked`` are commits of which it is not known whether there is a
    binary for a watch, ``said`` what keeps one from its work.
    """

    requests: RequestService
    subscriptions: Subscriptions
    secret: bytes = field(repr=False)
    knows: Callable[[str], bool] = _any_key
    watches: dict[int, BranchWatch] = field(factory=dict, init=False)
    said: dict[int, str] = field(factory=dict, init=False)
    unchecked: dict[int, set[str]] = field(factory=lambda: defaultdict(set), init=False)
    demands: DemandReader = field(init=False)

    def __attrs_post_init__(self) -> None:
        requests = self.requests
        self.demands = DemandReader(requests.configuration, requests.broker.state, requests.resolver)

    def take(self, watch: BranchWatch) -> None:
        """Take what a watch knows now."""
        self.watches[watch.id] = watch

    def drop(self, watch: BranchWatch) -> None:
        """Forget a watch."""
        for known in (self.watches, self.said, self.unchecked):
            known.pop(watch.id, None)

    def now(self) -> float:
        """Return wall time in seconds."""
        return self.requests.broker.clock.wall()

    def status(self, one: BranchWatch, by: Principal, *, own: bool = False) -> WatchStatus:
        """Return the status of a watch, as a caller may see it, whose ``own`` it is."""
        open_to = own or one.email == by.owner or by.role is PrincipalRole.OPERATOR
        email = one.email if open_to else masked(one.email)
        said = self.silence(one) or self.said.get(one.id, "")
        return WatchStatus(
            one.id, one.project, one.source, one.ref, email, one.asks, one.digest, one.made, one.tip,
            len(one.awaited), said,
        )  # fmt: skip

    async def hit(self, demand: Demand, email: str) -> Artifact | None:
        """Return the binary that will do for a demand, None where there is none."""
        answer = await self.requests.broker.send(Explain(demand, share=f"{WATCH}{email}"))
        hit = isinstance(answer, ExplainedAnswer) and answer.verdict == "hit"
        return answer.artifact if hit and isinstance(answer, ExplainedAnswer) else None

    async def withdraw(self, watch: BranchWatch) -> None:
        """Cancel what a watch asked for last, if that waits."""
        if not watch.asks:
            return
        asked = self.id_of(watch, self.wish(watch))
        for one in tuple(self.requests.broker.state.requests.values()):
            if one.client_id == asked:
                await self.requests.broker.send(CancelRequested(one.id))

    def silence(self, watch: BranchWatch) -> str:
        """Return why a watch does nothing now, "" where it does."""
        if not self.believed(watch):
            return "its address waits to be confirmed: a code was mailed there"
        if watch.key and not self.knows(watch.key):
            return "the key with which it was made is not believed any more"
        if self.subscriptions.has_ended(watch.email, watch.topic):
            return "its mails were ended by the link in one, which has them come again"
        return ""

    def believed(self, watch: BranchWatch) -> bool:
        """Return whether the address of a watch is believed."""
        return self.requests.admittance.believes(person_of(watch), watch.email)

    def wanted(self, watch: BranchWatch) -> tuple[Project, Submit]:
        """Return the project of a watch, if its person may ask for it, and what they want. Raises BuildToolError."""
        return self.requests.permissions.project(person_of(watch), watch.project), self.wish(watch)

    def wish(self, watch: BranchWatch) -> Submit:
        """Return what a watch asks for."""
        return decode(Submit, parsed(watch.wish.encode(), _BOUNDS))

    def url(self, watch: BranchWatch) -> str:
        """Return where a watch looks, or, where its project cannot say, what is no URL and the watch's own."""
        try:
            return source_url(self.requests.permissions.settings.project(watch.project), watch.source)
        except BuildToolError:
            return watch.topic

    def id_of(self, watch: BranchWatch, wish: Submit) -> str:
        """Return the id of what a watch asks for: another each time that its branch moved, and the same until then."""
        about = (watch.topic, repr(watch.made), str(watch.moves), watch.tip, body_digest(wish))
        said = b"watch\0" + "\0".join(about).encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()[:_ID]

    def why(self, error: Exception) -> str:
        """Return why a look failed, for people; a defect is logged."""
        if isinstance(error, BuildToolError):
            return one_line(str(error), _SAID)
        log.failure("the look of a watch failed")
        return "what came could not be found out or asked for: the metaserver's log says why"


def person_of(watch: BranchWatch) -> Principal:
    """Return who made a watch, as far as that is known by what proved it."""
    return Principal(
        PrincipalRole.REQUESTER, watch.name, watch.address, key=watch.key, owner=watch.owner, trusted=watch.trusted
    )
