"""What is remembered of a followed configuration leads back to what held, however often a start by a new one ends."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.guest.follow_record import MOST_STARTS, FollowRecord

commits = st.sampled_from(["", "a" * 40, "b" * 40, "c" * 40])
records = st.builds(
    FollowRecord, source=st.just("s"), holds=commits, accepted=commits, begins=commits, failed=commits,
    starts=st.integers(0, MOST_STARTS), tip=commits,
)  # fmt: skip


@given(records)
def test_a_commit_that_ends_every_start_is_given_up_and_what_held_still_holds(record: FollowRecord) -> None:
    begins, starts = record.begins, 0
    while record.begins:
        record = record.starting()
        starts += bool(record.begins)
    assert starts <= MOST_STARTS
    assert not begins or record.failed == begins


@given(records)
def test_a_commit_that_was_loaded_holds_and_the_owners_word_is_used_up(record: FollowRecord) -> None:
    after = record.held(5.0)
    if not record.begins:
        assert after == record
    else:
        assert (after.holds, after.before, after.since) == (record.begins, record.holds, 5.0)
        assert (after.begins, after.accepted, after.failed) == ("", "", "")


@given(records, commits)
def test_a_commit_that_the_owner_names_is_tried_again(record: FollowRecord, commit: str) -> None:
    after = record.accepting(commit)
    assert after.accepted == commit
    assert after.failed != commit or not commit
    assert after.holds == record.holds


@given(records)
def test_nothing_holds_of_another_repository(record: FollowRecord) -> None:
    assert record.of("s") is record
    assert record.of("t") == FollowRecord("t")


@given(records)
def test_what_waits_is_what_is_newest_and_does_not_hold(record: FollowRecord) -> None:
    assert record.waits == ("" if record.tip == record.holds else record.tip)
    assert evolve(record, tip=record.holds).waits == ""
