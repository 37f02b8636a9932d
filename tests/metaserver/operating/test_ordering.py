"""A request is moved in the order by whoever may, and who asked is told where it stands, or why it stays."""

from attrs import evolve

from buildtool.errors import Conflict, NotFound, StorageUnavailable, Unauthorised, UsageError
from buildtool.metaserver.access.own_requests import RequestFinder
from buildtool.metaserver.operating.ordering import OrderService
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Request
from buildtool.model.tickets import cancel_token
from buildtool.protocol.operator import ActionResult, LowerRequest, RaiseRequest
from buildtool.scheduling.events import AddressConfirmed, CancelRequested
from tests.metaserver.operating.test_bounces import KEYS
from tests.metaserver.test_operations import ANN, OperatorCase
from tests.scheduling.worlds import spec, submitted
from tests.support.memory import full_disk

BEN = Principal(PrincipalRole.REQUESTER, "ben", owner="ben@example.org")
EVE = Principal(PrincipalRole.REQUESTER, "eve", owner="eve@example.com")
NOBODY = Principal(PrincipalRole.REQUESTER, "")


class OrderTests(OperatorCase):
    """A busy machine, for which three requests of Ben's wait and then one of Eve's: 2, 3, 4 and 5."""

    def setUp(self) -> None:
        super().setUp()
        self.order = OrderService(self.broker, RequestFinder(self.broker, self.store, KEYS, self.service.permissions))
        self.login("attic")
        for number, email in enumerate(("zoe@example.org", *("ben@example.org",) * 3, "eve@example.com")):
            self.done(self.broker.send(submitted(f"client{number}", spec(number), email=email)))

    def forward(self, number: int, rounds: int, by: Principal = ANN) -> ActionResult:
        return self.done(self.order.forward(by, RaiseRequest(number, rounds)))

    def back(self, number: int, rounds: int, by: Principal = BEN, token: str = "") -> ActionResult:
        return self.done(self.order.back(by, LowerRequest(number, rounds, token)))

    def no(self, error: type[Exception], number: int, rounds: int, by: Principal = BEN, token: str = "") -> str:
        return str(self.refused(self.order.back(by, LowerRequest(number, rounds, token)), error))

    def nice(self, number: int) -> int:
        return self.broker.state.requests[number].nice

    def test_an_operator_moves_the_last_before_all_others_which_is_written_down_before_it_is_told(self) -> None:
        told = self.forward(4, 20)
        assert told.words == ("request 4 is moved 20 rounds forward; no build stands before it",)
        stored = self.done(self.store.request(4))
        assert isinstance(stored, Request)
        assert stored.nice == -20
        assert self.events("request-raised") == [f"nice was 0 and is -20; by {ANN.name}"]
        told = self.forward(4, 20)
        assert (told.words, told.changed) == (("request 4 is moved 20 rounds forward already",), False)
        assert self.forward(4, 0).words == ("request 4 is neither moved forward nor back; 3 builds stand before it",)

    def test_what_cannot_be_written_down_is_not_done(self) -> None:
        self.store.problems = [full_disk()] * 4
        self.refused(self.order.forward(ANN, RaiseRequest(4, 20)), StorageUnavailable)
        assert self.nice(4) == 0

    def test_who_asked_lets_others_go_first_and_does_not_take_that_back(self) -> None:
        assert self.back(2, 3).words == ("request 2 is moved 3 rounds back; 3 builds stand before it",)
        assert self.no(Unauthorised, 2, 1) == (
            "request 2 is moved 3 rounds back already: only an operator moves it forward again"
        )
        assert self.nice(2) == 3
        assert self.back(2, 1, ANN).changed
        assert self.nice(2) == 1

    def test_whose_it_is_a_token_proves_where_nobody_has_a_key(self) -> None:
        assert self.back(2, 1, NOBODY, cancel_token(2, KEYS.request(2))).changed
        self.no(Unauthorised, 3, 1, NOBODY, cancel_token(2, KEYS.request(2)))
        assert (self.nice(2), self.nice(3)) == (1, 0)

    def test_nobody_moves_another_s_and_nobody_but_an_operator_moves_one_forward(self) -> None:
        assert self.no(Unauthorised, 2, 1, EVE) == (
            "request 2 is not yours, or there is none: use the id as it was told to you"
        )
        self.refused(self.order.forward(BEN, RaiseRequest(2, 1)), Unauthorised)
        assert self.nice(2) == 0

    def test_what_is_begun_or_ended_or_not_there_has_no_place(self) -> None:
        begun = self.refused(self.order.forward(ANN, RaiseRequest(1, 1)), Conflict)
        assert str(begun) == "build 1 of request 1 is begun: only what waits has a place"
        self.refused(self.order.forward(ANN, RaiseRequest(99, 1)), NotFound)
        self.done(self.broker.send(CancelRequested(2)))
        ended = self.refused(self.order.forward(ANN, RaiseRequest(2, 1)), Conflict)
        assert str(ended) == "request 2 is cancelled: only what waits has a place"

    def test_more_rounds_than_there_are_is_refused(self) -> None:
        for rounds in (-1, 21):
            self.refused(self.order.forward(ANN, RaiseRequest(4, rounds)), UsageError)
            assert "0 to 20 rounds" in self.no(UsageError, 4, rounds)

    def test_who_joined_behind_a_better_placed_one_is_told_that_the_build_stays(self) -> None:
        self.done(self.broker.send(submitted("joined", spec(4), email="ben@example.org")))
        stays = "build 5 stays where another request has it, in a better place; 1 build stands before it"
        assert self.back(6, 2).words == (f"request 6 is moved 2 rounds back; {stays}",)

    def test_one_that_is_not_confirmed_yet_takes_it_along(self) -> None:
        asked = submitted("held", spec(1, jit=True), email="dora@example.org")
        self.done(self.broker.send(evolve(asked, held=True)))
        told = self.forward(6, 4)
        assert told.words == ("request 6 is moved 4 rounds forward; it finds its place once its address is confirmed",)
        self.done(self.broker.send(AddressConfirmed(6, asked.demand)))
        build = self.broker.state.builds[6]
        assert (build.nice, build.place) == (-4, 6)
