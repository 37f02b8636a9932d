"""A mail that came back is noted on the request that it told of, if its address proves that the farm sent it."""

from buildtool.errors import Unauthorised
from buildtool.metaserver.operating.bounces import BounceService
from buildtool.model.farm.return_paths import ReturnTag
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.operator import ActionResult, ReportBounce
from tests.metaserver.test_operations import ANN, OperatorCase
from tests.scheduling.worlds import spec, submitted

KEYS = Keys(b"k" * 32)


class BounceTests(OperatorCase):
    """A service over a broker with two requests of ben for one build, and one of eve."""

    def setUp(self) -> None:
        super().setUp()
        self.login("anna")
        self.bounces = BounceService(self.store, self.history, KEYS, self.service.permissions)
        for number, email in enumerate(("ben@example.org", "ben@example.org", "eve@example.com")):
            self.done(self.broker.send(submitted(f"client{number}", spec(1), email=email)))

    def notes(self) -> list[str]:
        return [self.history.returned.get(number, "") for number in (1, 2, 3)]

    def report(self, tag: ReturnTag, by: Principal = ANN) -> ActionResult:
        return self.done(self.bounces.report(by, ReportBounce(str(tag), "550 5.1.1 \x1b[31muser\nunknown")))

    def test_it_is_noted_on_all_requests_of_the_address_that_the_mail_told_of(self) -> None:
        told = self.report(ReturnTag.of(KEYS.request(1), 1, "ben@example.org"))
        assert told.words == ("request 1: it came back: 550 5.1.1 user unknown",)
        assert told.count == 2
        assert self.notes() == ["it came back: 550 5.1.1 user unknown"] * 2 + [""]

    def test_an_address_that_the_farm_did_not_make_changes_nothing(self) -> None:
        for tag in (
            ReturnTag.of(KEYS.request(1), 1, "eve@example.com"),
            ReturnTag.of(b"another", 1, "ben@example.org"),
            ReturnTag.of(KEYS.request(99), 99, "ben@example.org"),
        ):
            told = self.report(tag)
            assert (told.words, told.changed) == (("nothing is noted: the farm sent no mail from that address",), False)
        assert self.notes() == ["", "", ""]

    def test_only_operators_may_say_so(self) -> None:
        by = Principal(PrincipalRole.REQUESTER, "ben", owner="ben@example.org")
        tag = ReturnTag.of(KEYS.request(1), 1, "ben@example.org")
        self.refused(self.bounces.report(by, ReportBounce(str(tag), "no")), Unauthorised)
        assert self.notes() == ["", "", ""]
