"""What is said in a channel: what began to fail and what works again, in a line that fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.notices.channel import LINE_LIMIT, channel_line, is_news
from buildtool.model.notices.notice import NoticeState
from tests.support.notices import notice

SUCCESS, FAILURE, ERROR = NoticeState.SUCCESS, NoticeState.FAILURE, NoticeState.ERROR
URL = "https://farm.test/build/7"


@pytest.mark.parametrize(
    ("state", "before", "news"),
    [
        (FAILURE, None, True),
        (FAILURE, SUCCESS, True),
        (FAILURE, FAILURE, False),
        (SUCCESS, FAILURE, True),
        (SUCCESS, SUCCESS, False),
        (SUCCESS, None, False),
    ],
)
def test_a_line_is_said_when_something_begins_to_fail_or_works_again(
    state: NoticeState, before: NoticeState | None, news: bool
) -> None:
    told = notice(state=state.value)
    assert is_news(told, before, every=False) is news
    assert is_news(told, before, every=True)


def test_a_line_says_what_how_why_and_where() -> None:
    failed = notice("on/linux-ppc", "failure", reason="make: *** [all] Error 2")
    assert channel_line(failed, URL) == (
        "lua main at 0123456789ab, on/linux-ppc: fails: make: *** [all] Error 2 https://farm.test/build/7"
    )
    assert channel_line(notice("on/linux-ppc", "success"), URL) == (
        "lua main at 0123456789ab, on/linux-ppc: builds https://farm.test/build/7"
    )


@given(reason=st.text(max_size=600), ref=st.text(max_size=250), state=st.sampled_from([SUCCESS, FAILURE, ERROR]))
def test_whatever_a_build_says_it_is_one_line_that_fits_and_ends_in_the_url(
    reason: str, ref: str, state: NoticeState
) -> None:
    line = channel_line(notice(state=state.value, reason=reason, ref=ref), URL)
    assert len(line.encode()) <= LINE_LIMIT
    assert line.isprintable()
    assert line.endswith(f" {URL}")
