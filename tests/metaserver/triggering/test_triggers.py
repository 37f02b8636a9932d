"""Triggers over a real service for requests: asked for once whatever happens, and told what came of it."""

import operator
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import Overloaded, UnknownProject, UnknownRef
from buildtool.metaserver.triggering.triggers import Triggers
from buildtool.model.hooks.delivery import HookDelivery
from buildtool.model.hooks.signing import ForgeKind
from buildtool.model.principal import Principal
from buildtool.model.records import Mail, Request, RequestState
from buildtool.model.triggers.trigger import Trigger
from buildtool.project import every, nightly, on_poll, on_push, on_tag
from buildtool.project.triggers import ProjectPoll
from buildtool.protocol.messages import RequestStatuses, SubmitTogether
from buildtool.protocol.projects.triggers import AskTriggers, LookNow, TriggersFound
from tests.fakes_build import COMMIT, project
from tests.metaserver.test_build_servers import settings
from tests.metaserver.test_requests import BEN, EVE, Resolver, World
from tests.support.hook_store import MemoryHooks
from tests.support.memory import WallClock
from tests.support.triggers import MemoryTriggers, Tips

MAIN, A = "refs/heads/main", "refs/heads/a"
OTHER = COMMIT


class Gone(Resolver):
    """A repository in which the branch ``a`` is gone by the time that it is asked for."""

    async def resolve(self, url: str, ref: str) -> str:
        if ref == "refs/heads/a":
            raise UnknownRef("it is gone")
        return COMMIT


@define
class Hanging:
    """``ports.RefReader``: the repository ``own`` answers late, others at once."""

    late: Deferred[dict[str, str]]
    others: Tips

    async def tips(self, url: str) -> Mapping[str, str]:
        return await self.late if url == "own" else await self.others.tips(url)


class Broken:
    """``ports.RefReader`` with a defect."""

    async def tips(self, url: str) -> Mapping[str, str]:
        raise RuntimeError(f"a defect, at {url}")


class TriggersTests(SynchronousTestCase):
    def farm(self, *triggers: Trigger | ProjectPoll, resolver: Resolver | None = None, **more: Any) -> None:
        self.world = World(resolver=resolver or Resolver())
        self.world.service.open_limit = 1000
        self.project = evolve(project(), triggers=triggers, **more)
        self.world.service.configuration.settings = evolve(settings(), projects=(self.project,))
        self.tips, self.store, self.clock = Tips({MAIN: "a" * 40}), MemoryTriggers(), WallClock()
        self.hooks = MemoryHooks()
        self.begin()

    def begin(self) -> None:
        """Begin as a metaserver does that knows only what was written."""
        service = self.world.service
        self.triggers = Triggers(
            service.submit_together,
            service.permissions,
            service.admittance,
            self.tips,
            self.store,
            self.clock,
            b"secret",
            self.hooks,
        )
        self.successResultOf(Deferred.fromCoroutine(self.triggers.start()))

    def round(self, later: float = 0.0) -> float:
        """Have those look that are due so many seconds later, and return when the next are."""
        self.clock.now += later
        timers = self.world.service.broker.timers
        task = PeriodicTask("looks", timers, self.triggers.round_)
        return self.successResultOf(Deferred.fromCoroutine(self.triggers.round_(task)))

    def asked(self) -> list[tuple[str, str, str]]:
        """Return whom what was asked for is for, by which ref, and what became of it."""
        found = sorted(self.world.store.all(Request), key=operator.attrgetter("id"))
        return [(one.email, one.demand.ref, one.state.value) for one in found]

    def told(self) -> TriggersFound:
        return self.successResultOf(Deferred.fromCoroutine(self.triggers.told(BEN, AskTriggers())))

    def test_a_push_is_asked_for_once_for_each_address_in_its_name(self) -> None:
        self.farm(on_push("main", to=["ann@example.org", "bob@example.org"], nice=2))
        self.round()
        assert self.asked() == [], "what was there before is left"
        self.tips.refs[MAIN] = OTHER
        self.round(601)
        self.round(601)
        assert self.asked() == [("ann@example.org", MAIN, "waiting"), ("bob@example.org", MAIN, "waiting")]
        requests = self.world.store.all(Request)
        assert {one.share for one in requests} == {"trigger:paint/push main"}
        assert {one.nice for one in requests} == {2}
        assert len({one.build_id for one in requests}) == 1
        counted = self.world.service.broker.state.records.open_counts.of("ann@example.org", "", "")
        assert counted[0] == 0, "what a project asks for by itself is none of those that she may have"

    def test_nobody_is_mailed_where_nobody_is_named(self) -> None:
        self.farm(on_push("main", platforms=["ppc", "arm", "ppc"]))
        self.round()
        self.tips.refs[MAIN] = OTHER
        self.round(601)
        requests = self.world.store.all(Request)
        assert [one.email for one in requests] == ["", ""]
        self.successResultOf(Deferred.fromCoroutine(self.end_all()))
        assert {one.state for one in self.world.store.all(Request)} == {RequestState.CANCELLED}
        assert self.world.store.all(Mail) == []

    async def end_all(self) -> None:
        from buildtool.scheduling.events import BuildAborted

        for build_id in list(self.world.service.broker.state.builds):
            await self.world.service.broker.send(BuildAborted(build_id, "by hand", "ops"))

    def test_a_metaserver_that_ended_before_it_remembered_asks_for_the_same_and_doubles_nothing(self) -> None:
        self.farm(on_push("main", to="ann@example.org"), on_tag("v*", to="bob@example.org"))
        self.round()
        self.tips.refs |= {MAIN: OTHER, "refs/tags/v1": OTHER}
        self.store.full = True
        self.round(601)
        once = self.asked()
        assert len(once) == 2
        self.store.full = False
        self.begin()
        self.round(1)
        assert self.asked() == once
        assert all("request" in one.said and not one.failing for one in self.told().found)

    def test_a_newer_commit_takes_the_place_of_its_own_older_one_and_of_nobody_elses(self) -> None:
        self.farm(on_push("main", to="ann@example.org"), every("1h", "main", to="ann@example.org"))
        self.round()
        self.tips.refs[MAIN] = OTHER
        self.round(3_601)
        self.world.resolver.pushed = ["b" * 40] * 4
        self.tips.refs[MAIN] = "b" * 40
        self.round(601)
        states = [
            (one.share, one.state) for one in sorted(self.world.store.all(Request), key=operator.attrgetter("id"))
        ]
        push, hourly = "trigger:paint/push main", "trigger:paint/every main"
        assert states[-1] == (push, RequestState.WAITING)
        assert sorted(states[:-1], key=str) == [(hourly, RequestState.WAITING), (push, RequestState.SUPERSEDED)]

    def test_an_origin_that_is_away_is_asked_again_and_said_to_be(self) -> None:
        self.farm(on_push("main"))
        self.tips.away = True
        self.round()
        (told,) = self.told().found
        assert told.failing
        assert "does not answer" in told.said
        assert 0 < (told.next or 0) - self.clock.now <= 20
        self.tips.away = False
        self.round(21)
        assert not self.told().found[0].failing
        self.tips.refs[MAIN] = OTHER
        self.round(601)
        assert len(self.asked()) == 1, "and nothing is lost"

    def test_a_branch_that_is_moved_back_is_asked_for_again_where_that_had_ended_for_the_newer_commit(self) -> None:
        self.farm(on_push("main", to="ann@example.org"))
        self.round()
        for commit in ("b" * 40, OTHER, "b" * 40):
            before = self.store.kept["paint", "push main"]
            self.world.resolver.pushed = [commit] * 4
            self.tips.refs[MAIN] = commit
            self.round(601)
        states = [
            (one.demand.spec.revision[:1], one.state.value)
            for one in sorted(self.world.store.all(Request), key=operator.attrgetter("id"))
        ]
        assert states[0] == ("b", "superseded")
        assert states[-1] == ("b", "waiting")
        self.store.kept["paint", "push main"] = before
        self.begin()
        self.round(601)
        assert len(self.world.store.all(Request)) == len(states), "the same ids, where that was not remembered"

    def test_a_commit_that_was_cancelled_is_asked_for_anew_where_its_branch_comes_back_to_it(self) -> None:
        self.farm(on_push("main", supersede=False))
        self.round()
        for commit in ("b" * 40, OTHER, "b" * 40):
            self.world.resolver.pushed = [commit]
            self.tips.refs[MAIN] = commit
            self.round(601)
            if commit != OTHER and len(self.asked()) == 1:
                self.successResultOf(Deferred.fromCoroutine(self.end_all()))
        assert [state for _, _, state in self.asked()] == ["cancelled", "waiting", "waiting"]

    def test_a_branch_that_went_while_it_was_asked_for_and_came_again_is_asked_for(self) -> None:
        self.farm(on_push("a"), resolver=Gone())
        self.tips.refs = {MAIN: OTHER}
        self.round()
        self.tips.refs = {MAIN: OTHER, A: OTHER}
        self.tips.vanishing = {A}
        self.round(601)
        assert self.asked() == []
        self.world.service.resolver = self.world.service._demands.resolver = Resolver()
        self.tips.refs = {MAIN: OTHER, A: OTHER}
        self.round(601)
        assert [ref for _, ref, _ in self.asked()] == [A]

    def test_a_branch_that_moved_between_two_addresses_is_asked_for_again_whatever_it_is_then(self) -> None:
        self.farm(
            on_push("main", to=["ann@example.org", "bob@example.org"], supersede=False),
            resolver=Resolver(pushed=["c" * 40, "d" * 40, "c" * 40, "c" * 40]),
        )
        self.round()
        self.tips.refs[MAIN] = "c" * 40
        self.round(601)
        self.round(601)
        self.round(601)
        last = {
            one.email: one.demand.spec.revision for one in sorted(self.world.store.all(Request), key=lambda one: one.id)
        }
        assert last == {"ann@example.org": "c" * 40, "bob@example.org": "c" * 40}
        assert len(self.asked()) == 4, "and not for ever"

    def test_a_ref_that_is_nothing_to_build_is_not_tried_at_each_look(self) -> None:
        self.farm(on_push("a"), resolver=Gone())
        self.tips.refs = {MAIN: OTHER}
        self.round()
        self.tips.refs = {MAIN: OTHER, A: OTHER}
        self.round(601)
        looks = self.tips.looks
        self.round(601)
        assert self.tips.looks == looks + 1, "it was listed, and not looked for once more"

    def test_of_several_addresses_none_is_left_out_where_asking_for_one_failed(self) -> None:
        self.farm(on_push("main", to=["ann@example.org", "bob@example.org"]))
        self.round()
        self.tips.refs[MAIN] = OTHER
        self.world.resolver.pushed = [OTHER] * 4
        ask, failing = self.triggers.ask, [True]

        async def once(by: Principal, message: SubmitTogether) -> RequestStatuses:
            if failing and message.items[0].email == "bob@example.org":
                raise Overloaded("too many requests wait")
            return await ask(by, message)

        self.triggers.ask = once
        self.round(601)
        assert [email for email, _, _ in self.asked()] == ["ann@example.org"]
        assert self.told().found[0].failing
        failing.clear()
        self.round(21)
        assert [email for email, _, _ in self.asked()] == ["ann@example.org", "bob@example.org"]

    def test_a_defect_is_logged_and_put_off_as_any_look_that_failed(self) -> None:
        self.farm(on_push("main"))
        self.triggers.refs = Broken()
        assert self.round() <= 20
        (told,) = self.told().found
        assert told.failing
        assert "log says why" in told.said
        assert (told.next or 0) > self.clock.now
        assert len(self.flushLoggedErrors(RuntimeError)) == 1

    def test_the_first_time_of_a_schedule_is_made_up_for_as_any_other(self) -> None:
        self.farm(every("6h", "main"))
        self.round()
        self.clock.now += 6 * 3_600
        self.begin()
        self.round()
        assert len(self.asked()) == 1

    def test_a_clock_that_was_a_year_ahead_keeps_no_trigger_from_looking(self) -> None:
        self.farm(on_push("main"))
        self.round(3e7)
        self.clock.now -= 3e7
        self.tips.refs[MAIN] = OTHER
        self.round()
        self.round(601)
        assert len(self.asked()) == 1

    def test_turns_are_named_in_small_letters_as_weights_are(self) -> None:
        self.farm(every("1h"))
        self.tips.refs["HEAD"] = OTHER
        self.round()
        self.round(3_601)
        assert [one.share for one in self.world.store.all(Request)] == ["trigger:paint/every head"]

    def test_a_ref_that_is_gone_by_now_keeps_no_other_from_being_asked_for(self) -> None:
        self.farm(on_push(["a", "main"]), resolver=Gone())
        self.round()
        self.tips.refs |= {MAIN: OTHER, "refs/heads/a": OTHER}

        self.round(601)
        assert [ref for _, ref, _ in self.asked()] == [MAIN]

    def test_who_may_ask_for_builds_may_have_its_triggers_look_at_once(self) -> None:
        self.farm(on_push("main"), visible_to=["ben"], may_request=["ben"])
        self.round()
        self.tips.refs[MAIN] = OTHER
        assert self.round(1) > 60 - 2
        assert self.asked() == []
        done = self.successResultOf(Deferred.fromCoroutine(self.triggers.look(BEN, LookNow("paint"))))
        assert done.count == 1
        self.round()
        assert len(self.asked()) == 1
        self.failureResultOf(Deferred.fromCoroutine(self.triggers.look(EVE, LookNow("paint"))), UnknownProject)
        seen = self.successResultOf(Deferred.fromCoroutine(self.triggers.told(EVE, AskTriggers())))
        assert seen.found == ()

    def test_a_project_without_triggers_says_so(self) -> None:
        self.farm()
        done = self.successResultOf(Deferred.fromCoroutine(self.triggers.look(BEN, LookNow("paint"))))
        assert not done.changed
        assert self.told().found == ()

    def hint(self) -> None:
        """Have a forge deliver something."""
        delivery = HookDelivery("paint", str(self.clock.now), ForgeKind.GITHUB, "", "push", self.clock.now)
        self.triggers.hint("paint", self.successResultOf(Deferred.fromCoroutine(self.hooks.take(delivery))))

    def open(self) -> bool:
        """Return whether a delivery is open, of which a metaserver that is started anew would be told."""
        return bool(self.successResultOf(Deferred.fromCoroutine(self.hooks.open())))

    def test_without_a_poll_it_looks_when_something_is_delivered_and_at_the_start(self) -> None:
        self.farm(on_poll(None), on_push("main"), nightly("03:00 Europe/Berlin"))
        self.round()
        looks = self.tips.looks
        self.tips.refs[MAIN] = OTHER
        self.round(86_400 * 9)
        assert [one.next is None for one in self.told().found] == [False, True]
        assert self.asked() == [("", MAIN, "waiting")][:0]
        self.hint()
        self.round()
        assert self.asked() == [("", MAIN, "waiting")]
        assert self.tips.looks == looks + 1 + 1, "and the night"
        self.tips.refs[MAIN] = "b" * 40
        self.begin()
        self.round()
        assert len(self.asked()) == 2, "something may have been delivered while it did not run"

    def test_a_delivery_is_open_until_a_look_after_it_ended_well(self) -> None:
        self.farm(on_push("main"), on_tag("v*", poll=None))
        self.round()
        self.hint()
        self.tips.away = True
        self.round()
        self.round()
        assert self.open(), "the repository did not answer"
        self.tips.away = False
        self.store.full = True
        self.tips.refs[MAIN] = OTHER
        self.round(3_600)
        self.round()
        assert self.open(), "what came of it could not be written"
        self.store.full = False
        self.hooks.full = True
        self.round(3_600)
        self.round()
        assert self.open()
        self.hooks.full = False
        self.round()
        assert not self.open()
        assert len(self.asked()) == 1

    def test_a_delivery_stays_open_while_there_is_more_than_a_look_asks_for(self) -> None:
        self.farm(on_tag("v*", poll=None))
        self.round()
        self.hint()
        self.tips.refs |= {f"refs/tags/v{number}": OTHER for number in range(22)}
        self.round()
        assert self.open()
        self.round()
        self.round()
        assert not self.open()
        assert len(self.asked()) == 22

    def test_a_delivery_to_what_looks_at_nothing_is_settled_at_once_and_one_to_no_project_hints_nothing(self) -> None:
        self.farm(every("6h", "main"))
        self.round()
        looks = self.tips.looks
        self.hint()
        self.triggers.hint("gone", 5)
        self.round()
        assert (self.open(), self.tips.looks) == (False, looks)

    def test_a_look_that_hangs_holds_up_no_other_repository(self) -> None:
        self.farm(
            on_push("main"), on_push("main", source="other", name="other"), path_to_url=lambda source: source or "own"
        )
        hanging: Deferred[dict[str, str]] = Deferred()
        self.triggers.refs = Hanging(hanging, self.tips)
        self.round()
        self.round(601)
        assert self.tips.looks == 2
        stopping = Deferred.fromCoroutine(self.triggers.stop())
        self.assertNoResult(stopping)
        hanging.callback({})
        self.successResultOf(stopping)
