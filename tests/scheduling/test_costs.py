"""What one event costs is bounded, whatever peers have announced, asked for or left behind."""

import pytest
from attrs import evolve

from buildtool.model.matching.reasons import Cause
from buildtool.model.matching.shelves import SHELF_MOST
from buildtool.model.options import canonical
from buildtool.model.records import Artifact, Demand
from buildtool.model.servers import Capability, Offer, OfferKind
from buildtool.scheduling.admission import JOINS_LOOKED_AT
from buildtool.scheduling.answers import ExplainedAnswer, SessionOpened
from buildtool.scheduling.decide import EXPIRED_AT_ONCE, decide
from buildtool.scheduling.events import (
    AskedWhy,
    AttemptAccepted,
    Delivered,
    Disconnected,
    Event,
    Explain,
    Registered,
    Submitted,
    Tick,
)
from buildtool.scheduling.waiting import KINDS_LOOKED_AT, lines
from tests.scheduling.broker import TestBroker
from tests.scheduling.worlds import POLICIES, POLICY, SKILL, machine, spec, submitted
from tests.support.steps import steps

A_NAME = 60
"""Calls that one more name may cost: looking at one more server that is known, not at its offers."""


def liar(number: int, offers: int = 64, arch: str = "") -> Capability:
    """A machine that offers platforms which nobody else has."""
    names = [arch or f"zz{number}x{index}" for index in range(offers)]
    platforms = [
        canonical({"os": "linux", "libc": "glibc", "arch": name, "libc_version": f"2.{number}.{index}"})
        for index, name in enumerate(names)
    ]
    return Capability(tuple(map(Offer, platforms)), (("cpus", 1),), (SKILL,), 4)


def login(broker: TestBroker, name: str, capability: Capability, *, stays: bool) -> None:
    (opened,) = broker.send(Registered(name, capability))
    assert isinstance(opened, SessionOpened)
    if not stays:
        broker.send(Disconnected(name, opened.session, "gone"))


def with_liars(count: int, *, stay: bool, arch: str = "") -> TestBroker:
    broker = TestBroker(POLICIES)
    for number in range(count):
        login(broker, f"liar{number:04}", liar(number, arch=arch), stays=stay)
    return broker


def cost(broker: TestBroker, event: Event) -> int:
    """Return what it costs to decide an event."""
    return steps(lambda: decide(broker.state, event, broker.now))


WANTED = spec(platform={"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.31"})
QUESTION = Explain(submitted("x", WANTED).demand, force=False)


@pytest.mark.parametrize("stay", [True, False])
def test_a_question_costs_no_more_for_the_offers_of_a_thousand_names(stay: bool) -> None:
    some, many = with_liars(100, stay=stay), with_liars(300, stay=stay)
    assert cost(many, QUESTION) - cost(some, QUESTION) <= 200 * A_NAME


@pytest.mark.parametrize("stay", [True, False])
def test_a_submission_of_a_new_kind_costs_no_more_for_them(stay: bool) -> None:
    some, many = with_liars(100, stay=stay), with_liars(300, stay=stay)
    assert cost(many, submitted("a", WANTED)) - cost(some, submitted("a", WANTED)) <= 200 * A_NAME


def test_names_that_have_left_cost_a_submission_nothing_though_they_offered_its_platform() -> None:
    some, many = (with_liars(count, stay=False, arch="x86_64") for count in (10, 200))
    assert cost(many, submitted("a", WANTED)) - cost(some, submitted("a", WANTED)) <= 200


def test_who_is_not_compared_is_counted_and_who_is_there_comes_first() -> None:
    broker = with_liars(100, stay=False)
    login(broker, "anna", machine(arch="ppc"), stays=True)
    broker.send(submitted("a", WANTED))
    (told,) = broker.send(AskedWhy(1))
    assert isinstance(told, ExplainedAnswer)
    assert told.why is not None
    assert told.why.servers == 101
    assert sum(group.count for group in told.why.groups) == 101
    *compared, rest = told.why.groups
    assert rest.reasons[0].cause is Cause.UNSEEN
    assert rest.count == 101 - KINDS_LOOKED_AT
    assert "anna" in [name for group in compared for name in group.servers]
    assert "97 more build servers cannot take it either" in lines(told.why)


def test_many_that_offer_the_same_are_all_compared() -> None:
    broker = TestBroker(POLICIES)
    for number in range(3 * KINDS_LOOKED_AT):
        login(broker, f"s{number}", machine(arch="ppc"), stays=bool(number % 2))
    broker.send(submitted("a", WANTED))
    (told,) = broker.send(AskedWhy(1))
    assert isinstance(told, ExplainedAnswer)
    assert told.why is not None
    assert [(group.reasons[0].cause, group.count) for group in told.why.groups] == [
        (Cause.PROPERTY, 3 * KINDS_LOOKED_AT)
    ]


def test_open_builds_that_will_not_do_are_looked_at_up_to_a_bound() -> None:
    def opened(count: int) -> TestBroker:
        broker = TestBroker(POLICIES)
        for number in range(count):
            platform = {"os": "linux", "arch": f"other{number}"}
            broker.send(submitted(f"c{number}", spec(platform=platform), email=f"user{number}@example.org"))
        return broker

    some, many = opened(JOINS_LOOKED_AT), opened(JOINS_LOOKED_AT + 200)
    assert cost(many, submitted("a", WANTED)) - cost(some, submitted("a", WANTED)) <= 200


def test_the_shelves_of_a_range_are_made_once() -> None:
    demand = submitted("x", near=4).demand
    assert demand.shelves is demand.shelves
    assert steps(lambda: demand.shelves) < 10


def test_a_shelf_does_not_grow_with_what_is_forced() -> None:
    """Of each platform the newest stands there, which is what is given out; there are no more than a bound."""
    broker = TestBroker(POLICIES)
    login(broker, "anna", machine(max_builds=4), stays=True)
    for number in range(30):
        broker.send(submitted(f"c{number}", force=True))
        (attempt,) = broker.state.attempts.values()
        broker.send(AttemptAccepted("anna", 1, *attempt.key))
        digest = f"{number:064x}"
        broker.send(Delivered("anna", 1, *attempt.key, digest, digest, 1, "lua.zip", 1.0))
    (shelf,) = broker.state.shelves.kept.values()
    (artifact,) = shelf.artifacts
    assert artifact.digest == f"{29:064x}"
    assert shelf.more
    others = [
        artifact_for(artifact, number, OfferKind.CROSS if number % 2 else OfferKind.NATIVE)
        for number in range(2 * SHELF_MOST)
    ]
    for other in others:
        broker.state.append(other)
    (shelf,) = broker.state.shelves.kept.values()
    assert list(shelf.artifacts) == others[: SHELF_MOST - 1 : -1]
    broker.state.journal.rollback()
    assert [one.digest for one in broker.state.shelves.get(artifact.shelf).artifacts] == [f"{29:064x}"]


def artifact_for(like: Artifact, number: int, kind: OfferKind) -> Artifact:
    return evolve(like, id=1_000 + number, platform=(("arch", f"a{number}"),), kind=kind)


def test_requests_that_expire_together_do_so_a_few_at_a_time_and_each_in_time() -> None:
    broker = TestBroker(POLICIES)
    for number in range(3 * EXPIRED_AT_ONCE):
        broker.send(submitted(f"c{number}"))
    broker.now += POLICY.request_ttl
    for left in (2, 1, 0):
        assert broker.state.timers.next_due(broker.now) is not None
        broker.send(Tick())
        assert len(broker.state.requests) == left * EXPIRED_AT_ONCE


def test_a_range_of_two_thousand_revisions_is_decided_in_a_bounded_number_of_steps() -> None:
    """The shelves are made with the first look, and looked up then: nothing is made anew for each of five looks."""
    many = tuple(f"{number:040x}" for number in range(2_000))
    demand = Demand(evolve(WANTED, revision=many[0]), "main", "999", many)
    broker = TestBroker(POLICIES)
    event = Submitted("c", "c", "user@example.org", demand)
    broker._load_for(event)
    assert cost(broker, event) <= 12 * len(many)
    assert len(broker.state.records.wanting.get(demand.shelves[-1])) == 1
