"""What who asks has left is said where it counts, by the metaserver's word, and nothing where nothing is known."""

import pytest
from attrs import evolve

from buildtool.errors import LimitReached
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.pages.visiting import LimitLeft
from tests.web.api.test_section import KEY, WISH
from tests.web.api.world import KEYED, ApiWorld, said

LEFT = (LimitLeft("requests", 10.0, 3_600.0, 4, 2_160.5), LimitLeft("explanations", 6.0, 60.0, 6, 0.0))


@pytest.fixture
def world() -> ApiWorld:
    made = ApiWorld()
    made.left = lambda by: LEFT if by.name == KEYED.name else ()
    return made


def test_what_is_left_is_said_where_it_counts(world: ApiWorld) -> None:
    asked = world.post("/requests", WISH, {**KEY, **world.token()})
    assert asked.headers["ratelimit"] == '"requests";r=4;t=2161'
    assert asked.headers["ratelimit-policy"] == '"requests";q=10;w=3600'
    explained = world.post("/explain", WISH, world.token())
    assert explained.headers["ratelimit"] == '"explanations";r=6;t=0'
    assert explained.headers["ratelimit-policy"] == '"explanations";q=6;w=60, "requests";q=10;w=3600'
    assert "ratelimit" not in world.get("/builds", world.token()).headers
    assert [one["name"] for one in said(world.get("/me", world.token()))["left"]] == ["requests", "explanations"]


def test_who_has_had_it_is_told_when_there_is_more(world: ApiWorld) -> None:
    world.people.fail = LimitReached("the limit of 10 requests an hour is reached", 90.0)
    world.left = lambda _by: (evolve(LEFT[0], left=0),)
    seen = world.post("/requests", WISH, {**KEY, **world.token()})
    assert (seen.status, seen.headers["retry-after"]) == (429, "90")
    assert seen.headers["ratelimit"] == '"requests";r=0;t=2161'


def test_what_is_not_known_is_not_said(world: ApiWorld) -> None:
    assert "ratelimit" not in world.post("/explain", WISH).headers
    named = ApiWorld(by=Principal(PrincipalRole.REQUESTER, "ann", owner="ann@example.org"))
    named.left = lambda _by: LEFT
    assert "ratelimit" not in named.post("/explain", WISH).headers, (
        "a key is shown to the metaserver, and not by a secret"
    )
