"""What goes is old or too much, was used longest ago, and is never what must stay."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.keeping.choosing import Going, KeptThing, Survey, Turn, goes
from buildtool.model.keeping.limits import KeptKind, Limit

NOW = 1_000.0

things = st.builds(
    KeptThing,
    st.integers(0, 1_000).map(float),
    st.integers(1, 40),
    st.integers(0, 50),
    st.sampled_from(["", "", "busy"]),
)
everything = st.lists(things, max_size=12, unique_by=lambda one: one.number)
ages = st.none() | st.integers(1, 1_000).map(float)
limits = st.builds(Limit, ages, st.none() | st.integers(0, 300))
turns = st.builds(Turn, st.integers(1, 5), st.integers(1, 120))
kinds = st.sampled_from(KeptKind)


def total(kept: list[KeptThing]) -> int:
    return sum(one.size for one in kept)


def rounds(kind: KeptKind, kept: list[KeptThing], limit: Limit, turn: Turn) -> tuple[list[KeptThing], list[Going]]:
    """Let all go that has to, a turn after the other; return what is left, and what went."""
    left, gone = kept, list[Going]()
    while going := goes(kind, left, limit, total(left), NOW, turn):
        gone += going
        left = [one for one in left if one not in {it.thing for it in going}]
    return left, gone


@given(kinds, everything, limits, turns)
def test_what_is_spared_stays_and_a_turn_is_small(
    kind: KeptKind, kept: list[KeptThing], limit: Limit, turn: Turn
) -> None:
    going = goes(kind, kept, limit, total(kept), NOW, turn)
    assert not any(one.thing.spared for one in going)
    assert len(going) <= turn.things
    assert len(going) <= 1 or sum(one.thing.size for one in going) <= turn.size
    assert {one.thing for one in going} <= set(kept)


@given(kinds, everything, limits, turns)
def test_in_the_end_nothing_is_left_that_could_go_and_is_too_old_or_too_much(
    kind: KeptKind, kept: list[KeptThing], limit: Limit, turn: Turn
) -> None:
    left, gone = rounds(kind, kept, limit, turn)
    may_go = [one for one in left if not one.spared]
    if limit.age is not None:
        assert all(NOW - one.at <= limit.age for one in may_go)
    if limit.most is not None:
        assert total(left) <= limit.most or not may_go
    assert goes(kind, left, limit, total(left), NOW, turn) == ()
    assert sorted([*left, *(one.thing for one in gone)]) == sorted(kept)


@given(kinds, everything, limits, turns)
def test_nothing_goes_for_nothing_and_what_was_used_longest_ago_goes_first(
    kind: KeptKind, kept: list[KeptThing], limit: Limit, turn: Turn
) -> None:
    """Whatever goes by size did not go in vain: with it, and all that was used later, there was too much."""
    left, gone = rounds(kind, kept, limit, turn)
    there = total(kept)
    for one in gone:
        old = limit.age is not None and NOW - one.thing.at > limit.age
        assert old or (limit.most is not None and there > limit.most)
        there -= one.thing.size
    assert [one.thing for one in gone] == sorted(one.thing for one in gone)
    if limit.age is None:
        assert all(one.thing < other for one in gone for other in left if not other.spared)


@given(everything, everything)
def test_without_limits_nothing_ever_goes(kept: list[KeptThing], others: list[KeptThing]) -> None:
    assert goes(KeptKind.LOGS, [*kept, *others], Limit(), 10**18, 1e12) == ()


@given(everything, st.integers(1, 6), st.integers(1, 5))
def test_of_a_look_through_everything_those_are_held_that_go_first(
    kept: list[KeptThing], most: int, at_once: int
) -> None:
    survey = Survey(most=most)
    for start in range(0, len(kept), at_once):
        survey.add(kept[start : start + at_once])
    assert (survey.count, survey.total) == (len(kept), total(kept))
    assert survey.spared == sum(bool(one.spared) for one in kept)
    assert list(survey.oldest()) == sorted(one for one in kept if not one.spared)[:most]


def test_the_rule_is_said_in_words() -> None:
    old = KeptThing(0.0, 1, 10)
    (by_age,) = goes(KeptKind.LOGS, [old], Limit(age=100.0), 10, 86_400.0 * 30)
    assert by_age.rule == "logs older than 100 s"
    (by_size,) = goes(KeptKind.ARTIFACTS, [evolve(old, size=2048)], Limit(most=1024), 2048, NOW)
    assert by_size.rule == "artifacts of more than 1.0 KiB together, those first that were not given out for longest"
