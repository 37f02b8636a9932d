"""What a trigger asks for of a commit: the same messages that a requester would send, with ids that can be made again.

Tested by tests/metaserver/triggering/test_triggers.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

from buildtool.metaserver.demands import body_digest
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import RequestState
from buildtool.model.triggers.looking import CommitWanted
from buildtool.model.triggers.trigger import Trigger
from buildtool.protocol.messages import RequestStatus, Submit, SubmitTogether

_ID = 32
"""The length of a client request id, in hex digits."""


@frozen
class TriggerAsker:
    """A trigger of a project, as it asks. ``secret`` is the metaserver's own, so that no id is taken before it asks."""

    project: str
    trigger: Trigger
    secret: bytes

    @property
    def principal(self) -> Principal:
        """Who asks: each trigger by itself has its turns in the order, and is trusted as the configuration is."""
        return Principal(PrincipalRole.TRIGGER, name=f"trigger:{self.project}/{self.trigger.name}", trusted=True)

    def messages(self, change: CommitWanted) -> Iterator[SubmitTogether]:
        """Yield what is asked for of a commit: for each address, of which one mail tells, or once without."""
        for email in self.trigger.to or ("",):
            items = (
                Submit("", self.project, email, self.trigger.source, change.ref, "", dict(one.options),
                       dict(one.platform), {}, nice=self.trigger.nice, supersede=self.trigger.supersede)
                for one in self.trigger.variants
            )  # fmt: skip
            yield SubmitTogether(tuple(evolve(one, client_id=self._id(one, change)) for one in items))

    def again(self, asked: SubmitTogether, told: Sequence[RequestStatus]) -> SubmitTogether | None:
        """Return what to ask for once more: what had ended for a newer commit, which the ref is no longer."""
        ended = tuple(
            evolve(item, client_id=self._digest(f"{item.client_id}\0{status.request_id}"))
            for item, status in zip(asked.items, told, strict=True)
            if status.state == RequestState.SUPERSEDED.value
        )
        return SubmitTogether(ended) if ended else None

    def _id(self, item: Submit, change: CommitWanted) -> str:
        """Return the id of a submission: another for each commit, and the same when it is asked for once more."""
        of = "\0".join((self.project, self.trigger.name, change.ref, change.commit, body_digest(item)))
        return self._digest(of)

    def _digest(self, of: str) -> str:
        said = b"trigger\0" + of.encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()[:_ID]
