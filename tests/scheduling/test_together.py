"""Requests that are made together: admitted in one decision, told by one mail when the last has ended."""

import pytest
from attrs import evolve

from buildtool.model.records import AttemptEnd, Mail, Request
from buildtool.scheduling.answers import AnsweredTogether, Hit, Queued, RepeatedSubmission
from buildtool.scheduling.events import (
    AttemptAccepted,
    AttemptEnded,
    CancelRequested,
    Delivered,
    Registered,
    SubmittedTogether,
)
from tests.scheduling.broker import TestBroker
from tests.scheduling.worlds import POLICIES, machine, spec, submitted


def together(broker: TestBroker, *revisions: int) -> AnsweredTogether:
    """Ask for several revisions at once."""
    items = tuple(submitted(f"c{revision}", spec(revision)) for revision in revisions)
    (answer,) = broker.send(SubmittedTogether(items))
    assert isinstance(answer, AnsweredTogether)
    return answer


def work(broker: TestBroker, *, fail: bool = False) -> None:
    """Let every running Attempt end."""
    for attempt in list(broker.state.attempts.values()):
        who = (attempt.server, attempt.session, *attempt.key)
        broker.send(AttemptAccepted(*who))
        if fail:
            broker.send(AttemptEnded(*who, AttemptEnd.FAILED, "error"))
        else:
            digest = f"{attempt.build_id:064x}"
            broker.send(Delivered(*who, digest, digest, 1, "lua.zip", 1.0))


def mails(broker: TestBroker) -> list[Mail]:
    return list(broker.all(Mail))


def test_the_requests_have_consecutive_numbers_and_wait_for_builds_of_their_own() -> None:
    broker = TestBroker(POLICIES)
    answer = together(broker, 0, 1, 2)
    assert all(isinstance(one, Queued) for one in answer.answers)
    assert [request.group for request in broker.all(Request)] == [1, 1, 1]
    assert {request.build_id for request in broker.all(Request)} == {1, 2, 3}


def test_one_mail_tells_of_all_when_the_last_has_ended_and_not_before() -> None:
    broker = TestBroker(POLICIES)
    together(broker, 0, 1)
    broker.send(Registered("anna", machine()))
    work(broker)
    assert mails(broker) == []
    work(broker, fail=True)
    (mail,) = mails(broker)
    assert mail.summary
    assert mail.request_ids == (1, 2)


def test_a_crash_between_the_ends_loses_no_summary() -> None:
    broker = TestBroker(POLICIES)
    together(broker, 0, 1)
    broker.send(Registered("anna", machine()))
    work(broker)
    broker.crash()
    broker.send(CancelRequested(2))
    (mail,) = mails(broker)
    assert mail.request_ids == (1, 2), "the first had ended with something to tell"


def test_all_hits_and_all_cancelled_send_no_mail() -> None:
    broker = TestBroker(POLICIES)
    broker.send(Registered("anna", machine()))
    broker.send(submitted("x0", spec(0)))
    work(broker)
    broker.send(submitted("x1", spec(1)))
    work(broker)
    before = len(mails(broker))
    answer = together(broker, 0, 1)
    assert all(isinstance(one, Hit) for one in answer.answers)
    together(broker, 2, 3)
    for request in list(broker.state.requests.values()):
        broker.send(CancelRequested(request.id))
    assert len(mails(broker)) == before


def test_sending_them_again_gives_the_same_answers_and_makes_nothing() -> None:
    broker = TestBroker(POLICIES)
    together(broker, 0, 1)
    again = together(broker, 0, 1)
    assert all(isinstance(one, RepeatedSubmission) for one in again.answers)
    assert len(list(broker.all(Request))) == 2


def test_two_that_want_the_same_wait_for_one_build() -> None:
    broker = TestBroker(POLICIES)
    item = submitted("a", spec(0))
    broker.send(SubmittedTogether((item, evolve(item, client_id="b", body_digest="b"))))
    assert {request.build_id for request in broker.all(Request)} == {1}
    broker.send(Registered("anna", machine()))
    work(broker)
    (mail,) = mails(broker)
    assert mail.request_ids == (1, 2)


@pytest.mark.parametrize("how", [AttemptEnd.MISTAKEN, AttemptEnd.FAILED])
def test_who_is_admitted_anew_when_another_of_the_group_ends_and_then_withdraws_leaves_the_mail_to_be_sent(
    how: AttemptEnd,
) -> None:
    broker = TestBroker(POLICIES)
    broker.send(Registered("anna", machine()))
    items = submitted("a", spec(1)), submitted("b", spec(0), near=1)
    broker.send(SubmittedTogether(items))
    (attempt,) = broker.state.attempts.values()
    broker.send(AttemptEnded(attempt.server, attempt.session, *attempt.key, how, "error"))
    assert mails(broker) == []
    broker.send(CancelRequested(2))
    (mail,) = mails(broker)
    assert mail.request_ids == (1, 2), "the first had ended with something to tell"
