"""Which refs a project has is told to who may ask for its builds."""

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.errors import Unauthorised, UnknownProject, UsageError
from buildtool.model.principal import Principal
from buildtool.protocol.hello import AskRefs, RefsFound
from tests.fakes_build import project
from tests.metaserver.test_build_servers import settings
from tests.metaserver.test_requests import BEN, EVE, World


class RefNamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def asked(self, by: Principal, message: AskRefs) -> Deferred[RefsFound]:
        async def answer() -> RefsFound:
            found: RefsFound = await self.world.service.handlers[AskRefs](by, message)
            return found

        return Deferred.fromCoroutine(answer())

    def test_who_may_ask_for_builds_is_told(self) -> None:
        assert self.successResultOf(self.asked(BEN, AskRefs("paint"))).names == ("main", "v1.0")
        self.failureResultOf(self.asked(BEN, AskRefs("pianted")), UnknownProject)
        self.failureResultOf(self.asked(BEN, AskRefs("paint", "../x")), UsageError)

    def test_others_are_not(self) -> None:
        one = evolve(project(), visible_to=["@example.org"], may_request=["ben"])
        self.world.service.configuration.settings = evolve(settings(), projects=(one,))
        assert self.successResultOf(self.asked(BEN, AskRefs("paint"))).names
        self.failureResultOf(self.asked(EVE, AskRefs("paint")), UnknownProject, Unauthorised)
