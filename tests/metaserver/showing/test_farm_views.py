"""The state of the farm, as it is told to pages: to each as far as they may see it, and the same for a moment."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.metaserver.showing.farm_views import KEPT, FarmViewService
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.pages.farm_view import AskFarm, FarmView
from tests.metaserver.test_requests import ANN, World
from tests.support.memory import WallClock

STRANGER = Principal(PrincipalRole.VISITOR)


class ViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.wall = WallClock()
        self.service = FarmViewService(self.world.service.broker, self.world.service.permissions, self.wall)

    def view(self, by: Principal = ANN) -> FarmView:
        told: FarmView = self.successResultOf(Deferred.fromCoroutine(self.service.farm(by, AskFarm())))
        return told

    def test_an_empty_farm_has_nothing_that_runs_or_waits(self) -> None:
        assert self.view() == FarmView((), (), 0, draining=False)

    def test_what_waits_is_told_with_why_and_an_answer_is_given_again_for_a_moment(self) -> None:
        self.successResultOf(self.world.submit(1))
        (group,) = self.view().waiting
        assert (group.cause, group.count, len(group.builds)) == ("never", 1, 1)
        self.successResultOf(self.world.submit(2))
        before = self.view()
        self.wall.now += KEPT
        after = self.view()
        assert before.waiting[0].count <= after.waiting[0].count == len(after.waiting[0].builds)
