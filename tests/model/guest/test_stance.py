"""Whether a lent machine builds, freezes or hands back, and the words in which it says why."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.guest.hours import read_away, read_hours
from buildtool.model.guest.stance import OPEN, Motion, Observed, OwnerWishes, PauseAsked, judge_stance

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = (read_hours("Mon-Fri 20:00-07:00", lambda _: BERLIN),)
CHRISTMAS = (read_away("2026-12-24..2027-01-02", lambda _: BERLIN),)
PLAIN = OwnerWishes(BERLIN)
IDLE_ONLY = OwnerWishes(BERLIN, idle_only=True)

TOUCHED, LEFT = Observed(input_age=2.0), Observed(input_age=900.0)

GIB = 1 << 30

AGES = st.none() | st.floats(0, 10_000)
SEEN = st.builds(
    Observed,
    AGES,
    st.none() | st.floats(0, 64),
    st.none() | st.booleans(),
    builds_memory=st.none() | st.integers(0, 9 * GIB),
)
WISHES = st.builds(
    OwnerWishes,
    zone=st.just(BERLIN),
    hours=st.sampled_from([(), NIGHTS]),
    network_hours=st.sampled_from([(), NIGHTS]),
    away=st.sampled_from([(), CHRISTMAS]),
    idle_only=st.booleans(),
    max_load=st.none() | st.floats(0, 8),
    mains_only=st.booleans(),
    patience=st.integers(0, 100_000).map(float),  # of less than a second there is none: a clock's figures round it
    memory_present=st.none() | st.integers(1, 9 * GIB),
)
NOWS = st.integers(1_790_000_000, 1_800_000_000).map(float)
PAUSES = st.none() | st.builds(PauseAsked, st.none() | NOWS)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


NOON = at("2026-11-27T12:00")


def test_an_owner_who_asks_for_nothing_is_never_in_the_way() -> None:
    assert judge_stance(PLAIN, NOON, TOUCHED) == OPEN


def test_an_owner_who_comes_back_freezes_the_build_and_past_their_patience_it_is_handed_back() -> None:
    back = judge_stance(IDLE_ONLY, NOON, TOUCHED)

    assert (back.begins, back.running) == (False, Motion.FREEZE)
    assert back.words == "its owner is at the machine until they have left it for 15 min"
    assert back.look_again == NOON + 600
    assert judge_stance(IDLE_ONLY, NOON, TOUCHED, frozen_for=599.0).running is Motion.FREEZE
    assert judge_stance(IDLE_ONLY, NOON, TOUCHED, frozen_for=600.0).running is Motion.HAND_BACK
    assert judge_stance(IDLE_ONLY, NOON, LEFT, frozen_for=599.0) == OPEN


def test_what_is_known_to_last_longer_than_the_patience_is_not_waited_for() -> None:
    wishes = evolve(PLAIN, hours=NIGHTS)

    morning = judge_stance(wishes, at("2026-11-27T07:00"), LEFT)
    assert morning.running is Motion.HAND_BACK
    assert morning.words == "it is outside its hours; it takes builds again at 20:00 Europe/Berlin"
    assert judge_stance(wishes, at("2026-11-27T19:55"), LEFT).running is Motion.FREEZE
    assert judge_stance(wishes, at("2026-11-27T20:00"), LEFT).begins


def test_after_the_last_day_of_the_week_the_day_is_said() -> None:
    found = judge_stance(evolve(PLAIN, hours=NIGHTS), at("2026-11-28T12:00"), LEFT)
    assert found.until == "it takes builds again at Mon 20:00 Europe/Berlin"


def test_the_load_of_others_counts_where_it_was_said_or_nothing_else_tells() -> None:
    busy = Observed(others_load=3.0)

    assert judge_stance(IDLE_ONLY, NOON, busy).reason == "its owner uses its processors"
    assert judge_stance(evolve(IDLE_ONLY, max_load=4.0), NOON, busy) == OPEN
    assert judge_stance(IDLE_ONLY, NOON, evolve(LEFT, others_load=3.0)) == OPEN
    assert not judge_stance(evolve(IDLE_ONLY, max_load=2.0), NOON, evolve(LEFT, others_load=3.0)).begins


def test_beside_an_owner_builds_go_on_within_their_share_and_stand_still_beyond_it() -> None:
    wishes = evolve(PLAIN, memory_present=4 * GIB)

    within = judge_stance(wishes, NOON, evolve(TOUCHED, builds_memory=4 * GIB))
    assert (within.begins, within.running, within.memory) == (True, Motion.GO_ON, 4 * GIB)
    beyond = judge_stance(wishes, NOON, evolve(TOUCHED, builds_memory=4 * GIB + 1))
    assert (beyond.begins, beyond.running, beyond.memory) == (False, Motion.FREEZE, 4 * GIB)
    assert beyond.words == (
        "its owner is at the machine, and builds need more than the 4.0 GiB of memory that they may use then until "
        "they have left it for 15 min"
    )
    assert judge_stance(wishes, NOON, evolve(LEFT, builds_memory=9 * GIB)) == OPEN
    only = judge_stance(evolve(wishes, idle_only=True), NOON, evolve(TOUCHED, builds_memory=9 * GIB))
    assert only.reason == "its owner is at the machine", "who is never built beside needs no second reason"


def test_on_battery_it_builds_only_where_the_owner_did_not_forbid_it() -> None:
    battery = Observed(on_battery=True)

    assert judge_stance(PLAIN, NOON, battery) == OPEN
    assert judge_stance(evolve(PLAIN, mains_only=True), NOON, battery).words == (
        "it runs from its battery until it is plugged in"
    )


def test_what_is_left_of_the_disk_keeps_builds_from_beginning_and_what_runs_gives_its_own_back() -> None:
    """Frozen, it would keep what it has on the disk until the patience is over, and its owner would lack it."""
    wishes = evolve(PLAIN, disk=20.0)
    full = judge_stance(wishes, NOON, Observed(free_disk=19.9))

    assert (full.begins, full.running) == (False, Motion.HAND_BACK)
    assert full.words == "its owner keeps what is left of its disk until 20 GiB of it are free"
    assert judge_stance(wishes, NOON, Observed(free_disk=20.0)) == OPEN


def test_all_that_is_in_the_way_is_told_what_counts_first_before_the_rest() -> None:
    found = judge_stance(
        evolve(PLAIN, disk=20.0, mains_only=True), NOON, Observed(free_disk=1.0, on_battery=True), pause=PauseAsked()
    )
    assert found.all_words == (
        "its owner paused it until they resume it",
        "it runs from its battery until it is plugged in",
        "its owner keeps what is left of its disk until 20 GiB of it are free",
    )
    assert found.words == found.all_words[0]
    assert OPEN.all_words == ()


@pytest.mark.parametrize(("until", "motion"), [(NOON + 300, Motion.FREEZE), (NOON + 7_200, Motion.HAND_BACK)])
def test_a_pause_for_longer_than_the_patience_hands_back_at_once(until: float, motion: Motion) -> None:
    paused = judge_stance(PLAIN, NOON, LEFT, pause=PauseAsked(until))

    assert paused.running is motion
    assert paused.words.startswith("its owner paused it; it takes builds again at 1")
    assert judge_stance(PLAIN, until, LEFT, pause=PauseAsked(until)) == OPEN


def test_a_machine_that_is_away_takes_nothing_new_and_finishes_what_it_builds() -> None:
    away = judge_stance(evolve(PLAIN, away=CHRISTMAS), at("2026-12-25T12:00"), LEFT)

    assert (away.begins, away.running) == (False, Motion.GO_ON)
    assert away.words == (
        "its owner said that it is away (2026-12-24..2027-01-02); "
        "it takes builds again at 2027-01-03 00:00 Europe/Berlin"
    )


def test_outside_the_hours_of_the_network_what_runs_goes_on_and_nothing_is_sent() -> None:
    found = judge_stance(evolve(PLAIN, network_hours=NIGHTS), NOON, LEFT)
    assert (found.begins, found.running, found.transfers) == (False, Motion.GO_ON, False)


@given(WISHES, NOWS, SEEN, PAUSES, st.floats(0, 200_000))
def test_whatever_is_in_the_way_has_words_and_nothing_frozen_is_kept_beyond_the_patience(
    wishes: OwnerWishes, now: float, seen: Observed, pause: PauseAsked | None, frozen_for: float
) -> None:
    found = judge_stance(wishes, now, seen, pause=pause, frozen_for=frozen_for)

    assert found.begins == (found.reason == "")
    assert found.running is Motion.GO_ON or not found.begins
    assert found.transfers or not found.begins
    assert found.running is not Motion.FREEZE or frozen_for < wishes.patience
    assert found.look_again is None or found.look_again > now
    assert len(found.words) < 200


@given(WISHES, NOWS, SEEN, PAUSES, st.floats(0, 0.999))
def test_while_nothing_happens_the_answer_holds_until_it_says_to_look_again(
    wishes: OwnerWishes, now: float, seen: Observed, pause: PauseAsked | None, part: float
) -> None:
    found = judge_stance(wishes, now, seen, pause=pause)
    if found.look_again is None:
        return
    later = part * (found.look_again - now)
    frozen_for = later if found.running is Motion.FREEZE else 0.0

    again = judge_stance(wishes, now + later, seen, pause=pause, frozen_for=frozen_for)
    assert (again.begins, again.transfers, again.reason) == (found.begins, found.transfers, found.reason)
    if found.running is not Motion.HAND_BACK:  # else nothing runs any more
        assert again.running is found.running


@given(WISHES, NOWS, SEEN, PAUSES)
def test_a_build_that_was_handed_back_would_not_have_gone_on_within_the_patience(
    wishes: OwnerWishes, now: float, seen: Observed, pause: PauseAsked | None
) -> None:
    if judge_stance(wishes, now, seen, pause=pause).running is Motion.HAND_BACK:
        later = now + wishes.patience
        assert judge_stance(wishes, later, seen, pause=pause, frozen_for=wishes.patience).running is Motion.HAND_BACK
