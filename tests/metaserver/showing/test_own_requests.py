"""One's own requests are listed to oneself, and to nobody else."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.errors import UsageError
from buildtool.model.principal import Principal
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.messages import Submit
from tests.metaserver.test_requests import ANN, BEN, EVE, WATCHER, World


class OwnRequestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        for number, by in enumerate((BEN, EVE, BEN), 1):
            message = Submit(f"{number:032x}", "paint", by.owner, "", f"v{number}", "", {}, {}, {}, force=True)
            self.successResultOf(Deferred.fromCoroutine(self.world.service.submit(by, message)))

    def asked(self, by: Principal, most: int = 20) -> Deferred[Any]:
        async def answer() -> Any:
            return await self.world.service.handlers[AskRequests](by, AskRequests(most))

        return Deferred.fromCoroutine(answer())

    def test_each_sees_their_own_newest_first_with_what_proves_that(self) -> None:
        mine = self.successResultOf(self.asked(BEN)).items
        assert [(one.request_id, one.ref) for one in mine] == [(3, "v3"), (1, "v1")]
        assert all(one.token and one.asked_at for one in mine)
        assert [one.request_id for one in self.successResultOf(self.asked(EVE)).items] == [2]
        assert [one.request_id for one in self.successResultOf(self.asked(BEN, 1)).items] == [3]
        assert len(self.successResultOf(self.asked(BEN, -5)).items) == 1

    def test_whom_nobody_knows_is_told_what_would_be_right(self) -> None:
        for by in (ANN, WATCHER):
            said = str(self.failureResultOf(self.asked(by), UsageError).value)
            assert "join or log in" in said
