"""What an answer comes to: told, to be tried again and when, or given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.notices.outcome import WAIT_MOST, HttpReply, TellOutcome, outcome_of, wait_of

NOW = 1_700_000_000.0


def outcome(code: int, text: str = "", **headers: str) -> TellOutcome:
    return outcome_of(HttpReply(code, {name.replace("_", "-"): one for name, one in headers.items()}, text), NOW)


@pytest.mark.parametrize("code", [200, 201, 204])
def test_what_was_taken_is_told(code: int) -> None:
    assert outcome(code) == TellOutcome(told=True)


@pytest.mark.parametrize("code", [401, 403, 429, 500, 502, 503, 301, 307])
def test_what_concerns_all_that_is_told_there_holds_all_of_it_up(code: int) -> None:
    found = outcome(code)
    assert (found.told, found.whole, found.final) == (False, True, False)
    assert str(code) in found.reason


@pytest.mark.parametrize(("code", "text"), [(404, "Not Found"), (409, "locked"), (422, "No commit found for SHA: abc")])
def test_what_may_come_yet_is_tried_again_and_holds_up_nothing_else(code: int, text: str) -> None:
    found = outcome(code, text)
    assert (found.told, found.whole, found.final) == (False, False, False)


@pytest.mark.parametrize("code", [400, 410, 422])
def test_what_no_other_try_would_change_is_given_up_with_what_was_said(code: int) -> None:
    found = outcome(code, "Validation\nFailed")
    assert found.final
    assert "Validation Failed" in found.reason


def test_what_is_begun_at_gitlab_and_begun_again_is_told() -> None:
    assert outcome(400, '{"message":"Cannot transition status via :enqueue from :pending (Reason(s): ...)"}').told


def test_a_target_is_left_alone_for_as_long_as_it_says() -> None:
    assert outcome(429, retry_after="90").wait == 90.0
    assert outcome(503, retry_after="Tue, 14 Nov 2023 22:14:20 GMT").wait == 60.0
    assert outcome(403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW) + 30)).wait == 30.0
    assert outcome(201, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW) + 30)).wait == 30.0
    assert outcome(429, ratelimit_remaining="0", ratelimit_reset=str(int(NOW) + 5)).wait == 5.0
    assert outcome(403, x_ratelimit_remaining="7", x_ratelimit_reset=str(int(NOW) + 30)).wait is None
    assert outcome(403, "You have exceeded a secondary rate limit").whole


WORDS = st.text("0123456789 GMT,:-\u0663x", max_size=30)


@given(
    headers=st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset"]), WORDS),
    code=st.integers(100, 999),
    text=st.text(max_size=300),
)
def test_whatever_is_answered_a_wait_is_bounded_and_a_reason_is_one_line(
    headers: dict[str, str], code: int, text: str
) -> None:
    wait = wait_of(headers, NOW)
    assert wait is None or 1.0 <= wait <= WAIT_MOST
    found = outcome_of(HttpReply(code, headers, text), NOW)
    assert found.told or ("\n" not in found.reason and 0 < len(found.reason) < 300)
