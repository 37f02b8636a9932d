"""A build server as a guest: an owner who comes back has the machine at once, and who leaves gives it back."""

from datetime import UTC
from zoneinfo import ZoneInfo

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.buildserver.guest import QUICK, SLOW, Guest
from buildtool.errors import Declined
from buildtool.model.guest.hours import DaySpan, read_hours
from buildtool.model.guest.stance import Observed, OwnerWishes, PauseAsked
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldState, OwnerNotice
from buildtool.protocol.messages import Done, Ended
from tests.fakes_build import Place, ending, order, place

IDLE_ONLY = OwnerWishes(UTC, idle_only=True)
AT_THE_MACHINE = "its owner is at the machine until they have left it for 15 min"


@define
class Seat:
    """The owner's seat: ``probe`` says how long ago they used it, ``wall`` what the clock on the wall shows."""

    at: Place
    age: float = 10_000.0
    looks: int = 0
    used: int = 0
    bounds: list[int | None] = field(factory=list)
    started: float = field(default=1_800_000_000.0)

    async def look(self, _wishes: OwnerWishes) -> Observed:
        self.looks += 1
        return Observed(input_age=self.age, builds_memory=self.used)

    async def bound(self, memory: int | None) -> None:
        self.bounds.append(memory)

    def wall(self) -> float:
        return self.started + self.at.clock.seconds()


class Guests(SynchronousTestCase):
    def lend(self, wishes: OwnerWishes = IDLE_ONLY, *, building: bool = True) -> tuple[Place, Seat, Guest]:
        at = place(max_builds=2)
        seat = Seat(at)
        guest = Guest(at.server, seat, wishes, seat, at.clock)
        self.successResultOf(Deferred.fromCoroutine(guest.start()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(guest.stop())))
        at.clock.advance(SLOW)
        if building:
            self.successResultOf(Deferred.fromCoroutine(at.server.build(order())))
            at.clock.advance(0)
            at.pass_time(SLOW)
        return at, seat, guest

    def declined(self, at: Place) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(at.server.build(order(9))), Declined).value)

    def test_what_builds_stands_still_within_half_a_second_and_the_metaserver_hears_of_it(self) -> None:
        at, seat, _ = self.lend()
        (command,) = at.commands.started
        hastened = at.hastened
        seat.age = 0.1
        at.clock.advance(QUICK)

        self.assertTrue(command.frozen)
        assert at.server.held() == (Held(1, 1, HeldState.BUILDING, frozen=True),)
        assert at.server.notice() == OwnerNotice(AT_THE_MACHINE)
        assert at.hastened == hastened + 1
        assert self.declined(at) == AT_THE_MACHINE

    def test_it_goes_on_when_the_owner_leaves_and_delivers(self) -> None:
        at, seat, _ = self.lend()
        (command,) = at.commands.started
        seat.age = 0.1
        at.pass_time(300)
        seat.age = 900
        at.pass_time(QUICK)

        self.assertFalse(command.frozen)
        command.end()
        at.pass_time(1)
        at.commands.started[1].end()
        at.pass_time(1)
        (done,) = at.link.told
        assert isinstance(done, Done)
        assert done.seconds < 60, "what a build takes is told without the time in which it stood still"
        assert b"[frozen: its owner is at the machine" in at.uploads.log
        assert b"[goes on after 5 min]" in at.uploads.log

    def test_past_the_patience_it_is_handed_back(self) -> None:
        at, seat, _ = self.lend()
        (command,) = at.commands.started
        seat.age = 0.1
        at.pass_time(QUICK)
        seat.age = 1.0
        at.pass_time(599)
        assert command.stopped == []
        at.pass_time(2)

        assert command.stopped == [AT_THE_MACHINE]
        command.end(ending(code=None, cause="stopped"))
        at.pass_time(1)
        (ended,) = at.link.told
        assert isinstance(ended, Ended)
        assert (ended.end, ended.reason) == (AttemptEnd.RETURNED, AT_THE_MACHINE)

    def test_beside_its_owner_what_needs_more_memory_waits_for_them_and_comes_back_only_once_they_have_left(
        self,
    ) -> None:
        at, seat, _ = self.lend(OwnerWishes(UTC, memory_present=1_000))
        (command,) = at.commands.started
        seat.age, seat.used = 0.1, 900
        at.pass_time(QUICK)
        assert (command.frozen, seat.bounds) == (False, [1_000])
        seat.used = 1_100
        at.pass_time(QUICK)
        assert command.frozen
        seat.age = 1.0
        at.pass_time(601)
        command.end(ending(code=None, cause="stopped"))
        seat.used = 0
        at.pass_time(SLOW)
        assert "builds need more than" in self.declined(at), "it would be handed back again and again"
        seat.age = 900
        at.pass_time(SLOW)
        assert (at.server.notice().closed, seat.bounds) == ("", [1_000, None])

    def test_a_second_visit_has_its_own_patience(self) -> None:
        at, seat, _ = self.lend()
        (command,) = at.commands.started
        for _ in range(3):
            seat.age = 0.1
            at.pass_time(500)
            seat.age = 900
            at.pass_time(QUICK)
        assert (command.stopped, command.frozen) == ([], False)

    def test_a_build_between_two_commands_begins_the_next_only_when_it_goes_on(self) -> None:
        at, seat, _ = self.lend()
        seat.age = 0.1
        at.pass_time(QUICK)
        at.commands.started[0].end()
        at.pass_time(10)
        assert len(at.commands.started) == 1
        seat.age = 900
        at.pass_time(QUICK)
        assert len(at.commands.started) == 2

    def test_nobody_looks_often_while_nothing_builds_or_at_all_where_nobody_asked_for_it(self) -> None:
        at, seat, _ = self.lend(building=False)
        before = seat.looks
        at.pass_time(10 * SLOW)
        assert seat.looks - before <= 11

        at, seat, _ = self.lend(evolve(IDLE_ONLY, idle_only=False))
        at.pass_time(100)
        assert seat.looks == 0

    def test_hours_that_end_are_noticed_when_they_end(self) -> None:
        zone = ZoneInfo("UTC")
        hours = read_hours("00:00-08:01", lambda _: zone)
        at, seat, _ = self.lend(OwnerWishes(UTC, hours=(hours,)))
        (command,) = at.commands.started
        left = 1_800_000_060.0 - seat.wall()
        at.pass_time(left - 1)
        self.assertFalse(command.frozen)
        at.pass_time(1.5)
        assert command.stopped, "it is known to take longer than the owner's patience"
        assert at.server.notice().until == 1_800_057_600.0

    def test_a_pause_holds_until_it_is_over_or_taken_back(self) -> None:
        at, seat, guest = self.lend()
        (command,) = at.commands.started
        guest.pause = PauseAsked(seat.wall() + 60)
        guest.look_again()
        at.pass_time(1)
        self.assertTrue(command.frozen)
        at.pass_time(59.5)
        self.assertFalse(command.frozen)

        guest.pause = PauseAsked()
        guest.look_again()
        at.pass_time(0.1)
        self.assertTrue(command.frozen)
        guest.pause = None
        guest.look_again()
        at.pass_time(0.1)
        self.assertFalse(command.frozen)

    def test_where_the_network_has_its_hours_nothing_large_is_sent_outside_them(self) -> None:
        zone = ZoneInfo("UTC")
        network = read_hours("00:00-08:01", lambda _: zone)
        at, seat, _ = self.lend(OwnerWishes(UTC, network_hours=(network,)))
        at.pass_time(1_800_000_061.0 - seat.wall())
        for command in range(2):
            at.commands.started[command].end()
            at.pass_time(1)
        assert (at.uploads.uploaded, at.link.told) == ([], [])

        at.pass_time(1_800_057_601.0 - seat.wall(), step=30.0)
        at.pass_time(60)
        assert len(at.uploads.uploaded) == 1
        assert len(at.link.told) == 1

    def test_the_farm_hears_when_the_machine_will_be_away(self) -> None:
        at, _, _ = self.lend(OwnerWishes(UTC, away=(DaySpan(1.9e9, 2e9, "x"),)), building=False)
        assert at.server.notice() == OwnerNotice(away=((1.9e9, 2e9),))
