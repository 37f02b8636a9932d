"""What a trigger asks for of a commit: the same messages that a requester would send, with ids that can be made again.

Tested by tests/metaserver/triggering/test_triggers.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from attrs import evolve, frozen

from buildtool.metaserver.demands import body_digest
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.triggers.looking import CommitWanted
from buildtool.model.triggers.trigger import TRIGGER, Trigger
from buildtool.protocol.messages import Submit, SubmitTogether

_ID = 32
"""The length of a client request id, in hex digits."""


@frozen
class TriggerAsker:
    """A trigger of a project, as it asks. ``secret`` is the metaserver's own, so that no id is taken before it asks.

    ``since`` is when it asked for something before, as that was written down: what it asks for from then on has ids of
    its own, so that a branch that is moved back to an older commit is asked for anew, whatever became of that.
    """

    project: str
    trigger: Trigger
    secret: bytes
    since: float

    @property
    def principal(self) -> Principal:
        """Who asks: each trigger by itself has its turns in the order, and is trusted as the configuration is."""
        return Principal(PrincipalRole.TRIGGER, name=f"{TRIGGER}{self.project}/{self.trigger.name}", trusted=True)

    def messages(self, change: CommitWanted) -> Iterator[SubmitTogether]:
        """Yield what is asked for of a commit: for each address, of which one mail tells, or once without."""
        for email in self.trigger.to or ("",):
            items = (
                Submit("", self.project, email, self.trigger.source, change.ref, "", dict(one.options),
                       dict(one.platform), {}, nice=self.trigger.nice, supersede=self.trigger.supersede)
                for one in self.trigger.variants
            )  # fmt: skip
            yield SubmitTogether(tuple(evolve(one, client_id=self._id(one, change)) for one in items))

    def _id(self, item: Submit, change: CommitWanted) -> str:
        """Return the id of a submission: another for each commit and time, and the same where that is asked again."""
        about = (self.project, self.trigger.name, repr(self.since), change.ref, change.commit, body_digest(item))
        said = b"trigger\0" + "\0".join(about).encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()[:_ID]
