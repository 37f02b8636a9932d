"""A version holds once it was ready in time and stayed so; what ends meanwhile is seen, also where it is restarted."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.updating.watching import LAPSE, VersionWatch, WatchVerdict

NEW = VersionWatch(began=0.0, within=60.0, lasting=300.0)
LOOKS = st.lists(
    st.tuples(st.floats(0.1, 40.0), st.sampled_from(["", "503"]), st.sampled_from(["", "17"])), max_size=60
)


def test_one_that_is_never_ready_is_lost_once_its_time_is_over() -> None:
    watch = NEW.seen(59.0, "it answered 503", "")
    assert watch.verdict(59.0) is WatchVerdict.WAIT
    assert watch.verdict(60.0) is WatchVerdict.LOST
    assert watch.words == "it was not ready within 60 s: it answered 503"


def test_one_that_stays_ready_holds() -> None:
    watch = NEW.seen(50.0, "", "17")
    assert watch.verdict(349.0) is WatchVerdict.WAIT
    assert watch.seen(350.0, "", "17").verdict(350.0) is WatchVerdict.HELD


def test_one_whose_process_ends_and_is_started_anew_is_lost_though_it_is_ready_at_each_look() -> None:
    watch = NEW.seen(1.0, "", "17").seen(61.0, "", "18")
    assert watch.verdict(61.0) is WatchVerdict.LOST
    assert watch.words == "it was ready, and then not any more: a process of it ended, and another one was started"


def test_one_that_is_away_for_a_moment_is_waited_for_and_one_that_stays_away_is_lost() -> None:
    watch = NEW.seen(1.0, "", "").seen(100.0, "it answered 503", "")
    assert watch.seen(100.0 + LAPSE - 1, "", "").verdict(100.0 + LAPSE) is WatchVerdict.WAIT
    assert watch.seen(100.0 + LAPSE, "it answered 503", "").verdict(100.0 + LAPSE) is WatchVerdict.LOST


@given(LOOKS)
def test_nothing_holds_that_was_not_ready_at_the_last_look_and_for_so_long_before(
    looks: list[tuple[float, str, str]],
) -> None:
    watch, now, ready = NEW, 0.0, None
    for after, why, same in looks:
        now += after
        watch = watch.seen(now, why, same)
        ready = now if ready is None and not why else ready
        if watch.verdict(now) is WatchVerdict.HELD:
            assert not why
            assert ready is not None
            assert now - ready >= NEW.lasting
        if watch.verdict(now) is not WatchVerdict.WAIT:
            break


@given(st.floats(0.0, 1e6))
def test_whatever_is_seen_watching_comes_to_an_end(at: float) -> None:
    assert NEW.seen(at, "503", "").verdict(at + NEW.within + 1) is WatchVerdict.LOST
    assert NEW.seen(at, "", "").verdict(at + NEW.lasting + 1) is WatchVerdict.HELD
