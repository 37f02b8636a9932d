"""What is remembered of updates: each step is noted before it is done, so one that was ended is gone on with."""

import pytest
from attrs import evolve
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from buildtool.model.updating.record import (
    LONGEST_DELAY,
    MOST_FAILED,
    MOST_RUNS,
    ResumeStep,
    UpdatePhase,
    UpdateRecord,
)

A, B = "a" * 40, "b" * 40
HOLDS_A = UpdateRecord(holds=A, name="v1")


def test_what_was_ended_before_anything_was_touched_is_forgotten() -> None:
    step, record = HOLDS_A.beginning(B, "v2", 1.0).resuming()
    assert (step, record) == (ResumeStep.FORGET, HOLDS_A)


def test_what_was_ended_while_it_was_started_is_gone_on_with_a_few_times_and_then_gone_back_from() -> None:
    record = HOLDS_A.beginning(B, "v2", 1.0).entering(UpdatePhase.STARTING)
    for _ in range(MOST_RUNS):
        step, record = record.resuming()
        assert step is ResumeStep.GO_ON
    step, record = record.resuming()
    assert step is ResumeStep.RETURN
    assert record.attempt is not None
    assert record.attempt.why == "the update ended 3 times while it was watched"
    assert record.resuming() == (ResumeStep.RETURN, record), "going back is gone on with until it is done"


def test_what_held_is_kept_as_past_and_what_failed_is_not() -> None:
    record = HOLDS_A.beginning(B, "v2", 1.0).held(2.0)
    assert (record.holds, record.past, record.attempt) == (B, (A,), None)
    failed = HOLDS_A.beginning(B, "v2", 1.0).failing("it died", 2.0, for_good=True)
    assert (failed.holds, failed.past) == (A, ())
    noted = failed.failure_of(B)
    assert noted is not None
    assert (noted.why, noted.again) == ("it died", None)
    assert failed.accepting(B).failure_of(B) is None


def test_what_could_not_be_made_is_tried_again_each_time_after_twice_as_long_up_to_a_day() -> None:
    record, delays = HOLDS_A, []
    for _ in range(12):
        record = record.beginning(B, "v2", 0.0).failing("no network", 100.0, for_good=False)
        noted = record.failure_of(B)
        assert noted is not None
        assert noted.again is not None
        delays.append(noted.again - 100.0)
    assert delays[:3] == [600.0, 1200.0, 2400.0]
    assert delays[-1] == LONGEST_DELAY


def test_what_was_accepted_stays_so_while_it_could_not_be_made_and_not_once_it_has_failed() -> None:
    record = HOLDS_A.accepting(B).beginning(B, "v2", 0.0)
    assert record.failing("no network", 100.0, for_good=False).accepted == B
    assert record.failing("it died", 100.0, for_good=True).accepted == ""


def test_going_back_by_hand_has_the_version_before_hold_and_the_one_that_was_left_fail() -> None:
    record = HOLDS_A.beginning(B, "v2", 1.0).held(2.0)
    record = record.leaving(A, "by hand", 3.0).failing("by hand", 3.0, for_good=True)
    assert (record.holds, record.past) == (A, ())
    assert record.failure_of(B) is not None


def test_a_link_that_somebody_changed_counts() -> None:
    assert HOLDS_A.found(A, 5.0) is HOLDS_A
    record = HOLDS_A.found(B, 5.0)
    assert (record.holds, record.past) == (B, (A,))


def test_nothing_ends_that_was_not_begun() -> None:
    with pytest.raises(RuntimeError):
        HOLDS_A.held(1.0)


class EndedAnywhere(RuleBasedStateMachine):
    """An installation whose updates succeed, fail or are ended at any point, and are gone on with."""

    def __init__(self) -> None:
        super().__init__()
        self.record = UpdateRecord(holds="0", name="0")
        self.link = "0"
        self.made = 0

    @precondition(lambda self: self.record.attempt is None)
    @rule()
    def begin(self) -> None:
        self.made += 1
        self.record = self.record.beginning(str(self.made), f"v{self.made}", float(self.made))

    def phase(self) -> UpdatePhase | None:
        return None if self.record.attempt is None else self.record.attempt.phase

    @precondition(lambda self: self.phase() is UpdatePhase.MAKING)
    @rule()
    def start(self) -> None:
        self.record = self.record.entering(UpdatePhase.STARTING)

    @precondition(lambda self: self.phase() is UpdatePhase.STARTING)
    @rule()
    def lead(self) -> None:
        assert self.record.attempt is not None
        self.link = self.record.attempt.commit

    @precondition(lambda self: self.phase() is UpdatePhase.STARTING and self.link == self.record.attempt.commit)
    @rule()
    def hold(self) -> None:
        self.record = self.record.held(1.0)

    @precondition(lambda self: self.phase() in (UpdatePhase.STARTING, UpdatePhase.RETURNING))
    @rule()
    def go_back(self) -> None:
        self.record = self.record.entering(UpdatePhase.RETURNING, "it died")
        assert self.record.attempt is not None
        self.link = self.record.attempt.before
        self.record = self.record.failing("it died", 1.0, for_good=True)

    @precondition(lambda self: self.phase() is UpdatePhase.MAKING)
    @rule()
    def fail(self) -> None:
        self.record = self.record.failing("no network", 1.0, for_good=False)

    @rule()
    def ended(self) -> None:
        step, self.record = self.record.resuming()
        if step is ResumeStep.RETURN:
            self.go_back()

    @invariant()
    def who_rests_has_the_link_lead_to_what_holds(self) -> None:
        if self.phase() in (None, UpdatePhase.MAKING):
            assert self.link == self.record.holds
        else:
            assert self.record.attempt is not None
            assert self.link in (self.record.attempt.before, self.record.attempt.commit)

    @invariant()
    def what_holds_has_not_failed_and_little_is_kept(self) -> None:
        assert self.record.failure_of(self.record.holds) is None
        assert self.record.holds not in self.record.past
        assert len(self.record.failed) <= MOST_FAILED


TestEndedAnywhere = EndedAnywhere.TestCase


def test_the_end_of_a_run_is_kept() -> None:
    assert evolve(HOLDS_A, words="x", code=1, at=2.0) == HOLDS_A.ending("x", 1, 2.0)
