"""What is said of the newest binary that there is."""

import pytest
from attrs import evolve

from buildtool.protocol.projects.latest import LatestFound
from buildtool.requester.latest import STALE, newest
from tests import messages

FOUND = LatestFound("lua", "main", "f" * 40, messages.found(), 3, 10_000.0, 0.0, 4)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FOUND, ", 3 commits behind main, of 2 h ago"),
        (evolve(FOUND, behind=1), ", 1 commit behind main, of 2 h ago"),
        (evolve(FOUND, behind=0, at=0.0), ", which is where main is"),
        (evolve(FOUND, artifact=None, looked=12), "lua has no binary of main that would do: all of it was looked at"),
        (evolve(FOUND, artifact=None, looked=10_000, more=True), ": its newest 10,000 revisions were looked at"),
    ],
)
def test_it_is_said_how_far_it_is_behind_or_what_was_looked_at(found: LatestFound, said: str) -> None:
    assert said in newest(found, 17_200.0)[0]


def test_it_is_said_where_a_branch_may_have_moved_since_and_nothing_else_than_one_line_each() -> None:
    lines = newest(evolve(FOUND, age=STALE + 1.0, branch="ma\nin"), 17_200.0)
    assert "its origin does not answer since" in lines[1]
    assert not any("\n" in line for line in lines)
