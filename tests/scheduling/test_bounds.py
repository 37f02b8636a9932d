"""The broker's memory follows what is open, and not what ever was asked."""

from buildtool.scheduling.decide import decide
from buildtool.scheduling.events import CancelRequested
from buildtool.scheduling.state.state import State
from buildtool.scheduling.state.timers import TIMERS_SPARED
from tests.scheduling.worlds import POLICIES, POLICY, submitted


def test_requests_that_end_early_leave_no_timers_behind() -> None:
    """Each has one for the time at which it would have expired, which may be a week away."""
    state = State(POLICIES)
    kept = decide(state, submitted("kept"), 1.0)
    for number in range(3 * TIMERS_SPARED):
        decide(state, submitted(f"c{number}"), 2.0)
        decide(state, CancelRequested(state.next_numbers["request"] - 1), 2.0)
        state.committed()
    assert kept is not None
    assert list(state.requests) == [1]
    assert len(state.timers) <= TIMERS_SPARED + 10
    assert state.timers.next_due(3.0) == 1.0 + POLICY.request_ttl


def test_the_revisions_that_open_requests_accept_are_counted() -> None:
    state = State(POLICIES)
    mark = state.journal.savepoint()
    decide(state, submitted("a", near=4), 1.0)
    decide(state, submitted("b"), 1.0)
    assert state.records.revisions_wanted == 6
    decide(state, CancelRequested(1), 1.0)
    assert state.records.revisions_wanted == 1
    state.journal.rollback(mark)
    assert state.records.revisions_wanted == 0
