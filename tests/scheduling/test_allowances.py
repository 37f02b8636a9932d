"""Nobody has more than the ceilings say, in any stretch of time, and nobody's share is taken by others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.concurrency.rates import SHARES_KEPT
from buildtool.errors import LimitReached, UsageError
from buildtool.model.access.ceilings import NO_CEILINGS, USUAL_CEILINGS, Ceilings, Counted, Most
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.scheduling.allowances import NOBODY, Allowances, Counting, counting

SMALL = Ceilings(
    requests_an_hour=Most(10, 20, 40),
    open_requests=Most(3, 4, 5),
    explanations_a_minute=Most(6, 12, 24),
    requests_at_once=8,
)
PEOPLE = ["ann@example.org", "ben@example.org", "cid@example.org"]
WHOM = st.builds(
    lambda who, host: Counting(who, f"192.0.{host // 4}.{host}", f"192.0.{host // 4}.0/24"),
    st.sampled_from(PEOPLE),
    st.integers(0, 15),
)
EVENTS = st.lists(st.tuples(WHOM, st.integers(1, 8), st.floats(0, 600)), max_size=150)


def spent(allowances: Allowances, whom: Counting, now: float, amount: float) -> LimitReached | None:
    """Spend requests; return why that was refused."""
    try:
        allowances.spend(Counted.REQUESTS, whom, now, amount)
    except LimitReached as refused:
        return refused
    return None


@given(EVENTS)
def test_in_no_stretch_of_time_anybody_has_more_than_the_ceilings_say(
    events: list[tuple[Counting, int, float]],
) -> None:
    allowances, now = Allowances(SMALL), 0.0
    had: list[tuple[float, Counting, int]] = []
    for whom, amount, pause in events:
        now += pause
        refused = spent(allowances, whom, now, amount)
        if refused is not None:
            assert 0 < refused.again < math.inf
            later = Allowances(SMALL)
            for at, before, size in had:
                later.take(Counted.REQUESTS, before, at, size)
            later.spend(Counted.REQUESTS, whom, now + refused.again, amount)
            continue
        had.append((now, whom, amount))
    for first in range(len(had)):
        for scope in ("somebody", "address", "network"):
            most = getattr(SMALL.requests_an_hour, scope)
            who, total = getattr(had[first][1], scope), 0
            for at, whom, amount in had[first:]:
                if getattr(whom, scope) == who:
                    total += amount
                    assert total <= most + (at - had[first][0]) * most / 3_600 + 1e-3


@given(st.lists(st.tuples(WHOM, st.integers(1, 8)), max_size=60))
def test_what_one_asks_for_takes_nothing_of_another_elsewhere(asked: list[tuple[Counting, int]]) -> None:
    allowances = Allowances(SMALL)
    for whom, amount in asked:
        spent(allowances, whom, 0.0, amount)
    honest = Counting("honest@example.org", "203.0.113.1", "203.0.113.0/24")
    for _ in range(10):
        allowances.spend(Counted.REQUESTS, honest, 0.0)
    with pytest.raises(
        LimitReached, match=r"10 requests an hour for honest@example.org is reached: try again in 6 min"
    ):
        allowances.spend(Counted.REQUESTS, honest, 0.0)


def test_a_network_with_a_thousand_names_has_no_more_than_a_network() -> None:
    allowances, through = Allowances(SMALL), 0
    for number in range(1_000):
        by = Principal(PrincipalRole.REQUESTER, f"name-{number}", f"192.0.2.{number % 256}")
        refused = spent(allowances, counting(by), 0.0, 1)
        through += refused is None
        if refused is not None:
            assert "from the network 192.0.2.0/24" in str(refused) or "from 192.0.2." in str(refused)
    assert through == 40


def test_memory_is_bounded_whatever_is_invented() -> None:
    allowances = Allowances(SMALL)
    for number in range(SHARES_KEPT + 500):
        allowances.take(Counted.REQUESTS, Counting(f"name-{number}"), 0.0)
    assert sum(len(one._accounts) for one in allowances._shares.values()) == SHARES_KEPT


def test_what_is_there_at_a_time_is_bounded_by_each_scope() -> None:
    allowances = Allowances(SMALL)
    by = Principal(PrincipalRole.REQUESTER, "ann-1", "192.0.2.1", key="ab", owner="ann@example.org")
    places = allowances.places(by, "ann@example.org")
    assert places is not None
    assert not places.refusal((2, 3, 4), (3, 4, 5))
    assert not places.refusal((7, 7, 7), (7, 7, 7)), "nobody more waits"
    for there, words in (
        ((3, 3, 3), "3 open requests for ann@example.org is reached (3 there are)"),
        ((0, 4, 4), "4 open requests from 192.0.2.1 is reached"),
        ((0, 0, 5), "5 open requests from the network 192.0.2.0/24 is reached"),
    ):
        first, second, third = there
        assert words in places.refusal(there, (first + 1, second + 1, third + 1))
    assert allowances.places(Principal(PrincipalRole.OPERATOR, "root"), "ann@example.org") is None
    assert Allowances(NO_CEILINGS).places(by, "ann@example.org") is None
    with pytest.raises(UsageError, match=r"9 builds .* may be 8"):
        allowances.check_together(9)


def test_debts_are_paid_before_more_is_taken() -> None:
    allowances = Allowances(Ceilings(stored_gib_a_day=Most(10)))
    whom = Counting("attic")
    allowances.check(Counted.STORED, whom, 0.0, 0.0)
    allowances.take(Counted.STORED, whom, 0.0, 25)
    with pytest.raises(LimitReached) as refused:
        allowances.check(Counted.STORED, whom, 0.0, 0.0)
    assert refused.value.again == pytest.approx(1.5 * 86_400, rel=0.01)
    allowances.check(Counted.STORED, whom, refused.value.again, 0.0)


@pytest.mark.parametrize(
    ("by", "email", "whom"),
    [
        (Principal(PrincipalRole.OPERATOR, "root"), "", NOBODY),
        (Principal(PrincipalRole.PAGES, address="pages"), "", NOBODY),
        (Principal(PrincipalRole.REQUESTER, address="127.0.0.1"), "a@b.org", Counting("a@b.org")),
        (Principal(PrincipalRole.REQUESTER, address="::1/128"), "a@b.org", Counting("a@b.org")),
        (
            Principal(PrincipalRole.REQUESTER, "ann-1", "198.51.100.7", key="ab", owner="ann@example.org"),
            "other@example.org",
            Counting("ann@example.org", "198.51.100.7", "198.51.100.0/24"),
        ),
        (
            Principal(PrincipalRole.REQUESTER, address="2001:db8:1:2ff::/64"),
            "",
            Counting("", "2001:db8:1:2ff::/64", "2001:db8:1:200::/56"),
        ),
    ],
)
def test_who_counts_is_the_owner_of_the_key_and_this_machine_stands_for_nobody(
    by: Principal, email: str, whom: Counting
) -> None:
    assert counting(by, email) == whom


def test_ceilings_that_change_begin_anew_and_others_go_on() -> None:
    allowances, whom = Allowances(SMALL), Counting("ann@example.org")
    for what in (Counted.REQUESTS, Counted.EXPLANATIONS):
        allowances.take(what, whom, 0.0, 100)
    allowances.configure(SMALL.with_changes({"requests_an_hour": 11}))
    allowances.spend(Counted.REQUESTS, whom, 0.0)
    with pytest.raises(LimitReached):
        allowances.spend(Counted.EXPLANATIONS, whom, 0.0)
    allowances.configure(NO_CEILINGS)
    allowances.spend(Counted.EXPLANATIONS, whom, 0.0, 1e9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"requests": 1}, "there is no limit 'requests': there are requests_an_hour, open_requests"),
        ({"open_requests": 0}, "a whole number from 1 on"),
        ({"open_requests": True}, "a whole number from 1 on"),
        ({"open_requests": (1, 2)}, "three numbers"),
        ({"requests_at_once": "many"}, "a whole number from 1 on"),
    ],
)
def test_a_ceiling_that_is_none_is_told_in_one_line(changes: dict[object, object], words: str) -> None:
    with pytest.raises(UsageError) as wrong:
        USUAL_CEILINGS.with_changes(changes)
    assert words in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_one_number_is_for_a_caller_and_three_are_for_all_scopes() -> None:
    changed = USUAL_CEILINGS.with_changes(
        {"open_requests": 5, "connections": (None, 2, 3), "requests_at_once": None, "codes_an_hour": None}
    )
    assert changed.open_requests == Most(5, 2_000, 5_000)
    assert changed.connections == Most(None, 2, 3)
    assert changed.codes_an_hour.somebody is None
    assert "connections: any, 2, 3" in changed.lines()
    assert "requests_at_once: any" in changed.lines()


@given(EVENTS, WHOM)
def test_what_is_left_may_be_had_and_one_more_may_not(
    events: list[tuple[Counting, int, float]], asks: Counting
) -> None:
    allowances, now = Allowances(SMALL), 0.0
    for whom, amount, pause in events:
        now += pause
        spent(allowances, whom, now, amount)
    told = allowances.left(Counted.REQUESTS, asks, now)
    assert told is not None
    assert 0 <= told.left <= told.most
    if told.left:
        allowances.check(Counted.REQUESTS, asks, now, told.left)
    if told.left < min(10, told.most):
        with pytest.raises(LimitReached):
            allowances.check(Counted.REQUESTS, asks, now, told.left + 1)
    later = allowances.left(Counted.REQUESTS, asks, now + told.full + 1e-3)
    assert later is not None
    assert (later.left, later.full) == (later.most, 0.0) or later.most != told.most


def test_of_what_is_not_limited_nothing_is_left_to_tell() -> None:
    assert Allowances(NO_CEILINGS).left(Counted.REQUESTS, Counting("ann@example.org"), 0.0) is None
    assert Allowances(SMALL).left(Counted.REQUESTS, NOBODY, 0.0) is None
