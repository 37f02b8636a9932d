"""What a farm says is left is told as it said, and what is no such header is nothing."""

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.client.groups import BuildWish, FarmGroup, RequestGroup
from buildtool.client.limits import RateLeft, read_limits
from buildtool.protocol.pages.visiting import LimitLeft
from buildtool.web.api.limits import left_header, policy_header
from tests.client.farms import ClientWorld
from tests.support.lanes import examples

LIMITS = st.lists(
    st.builds(
        LimitLeft, st.from_regex(r"[a-z][a-z-]{0,30}", fullmatch=True), st.integers(1, 10**9).map(float),
        st.integers(1, 10**6).map(float), st.integers(0, 10**9), st.floats(0, 1e6),
    ),
    unique_by=lambda one: one.name, max_size=5,
)  # fmt: skip


@settings(max_examples=examples(40))
@given(LIMITS)
def test_what_the_api_says_is_what_its_client_understands(left: list[LimitLeft]) -> None:
    told = read_limits(left_header(left), policy_header(left, ['"codes of others";q=5;w=3600']))
    assert {name: (one.left, one.most, one.seconds) for name, one in told.items()} == {
        one.name: (one.left, int(one.most), int(one.seconds)) for one in left
    }
    assert all(0 <= told[one.name].full - one.full <= 1 for one in left), "no sooner than it is so"


@given(st.text(alphabet='"ab,;=r01 é', max_size=40), st.text(alphabet='"ab,;=qw01 ', max_size=40))
def test_no_header_is_an_error(left: str, policy: str) -> None:
    assert all(one.left >= 0 for one in read_limits(left, policy).values())


def test_only_what_is_told_is_kept_and_the_newest_answer_counts() -> None:
    assert read_limits('"requests";r=7;t=3, other;r=1, "x";r=-1', '"requests";q=9;w=60') == {
        "requests": RateLeft(7, 3, 9, 60)
    }
    at = ClientWorld()
    api = at.api()
    assert api.limits == {}
    for expected in (7, 6):
        limit = LimitLeft("requests", 10.0, 3_600.0, expected, 20.5)
        at.world.left = partial(_left, limit)
        at.do(RequestGroup(api).submit(BuildWish("paint")))
        assert api.limits == {"requests": RateLeft(expected, 21, 10, 3_600)}
    at.do(FarmGroup(api).projects())
    assert api.limits["requests"].left == 6


def _left(limit: LimitLeft, _by: object) -> tuple[LimitLeft, ...]:
    return (limit,)


def test_a_project_is_told_with_its_options() -> None:
    at = ClientWorld()
    told = at.do(FarmGroup(at.api()).project("testproject"))
    (colour,) = told.compile
    assert (colour.name, colour.flag, colour.choices, colour.default) == ("colour", "--colour", ("red", "blue"), "red")
