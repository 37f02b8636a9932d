"""Who lends machines sees what all of them did, and nobody else's; who is not signed in is asked to be."""

import pytest
from attrs import evolve

from buildtool.model.principal import Principal
from tests.support.inline import run
from tests.web.api.world import KEYED, ROOT, ApiWorld
from tests.web.fake_pages import NOW
from tests.web.farm import farm
from tests.web.test_sessions import session_of
from tests.web.visitor import check_html


def world() -> ApiWorld:
    """Return a farm of which two machines are Ann's, and one is Bob's."""
    made = ApiWorld()
    made.tokens.world.wall.now = NOW
    owners = {"elm": KEYED.owner.upper(), "yew": KEYED.owner, "oak": "bob@example.org"}
    made.pages.servers = [evolve(it, owner=owners.get(it.name, "")) for it in made.pages.servers]
    return made


def page_of(at: ApiWorld, by: Principal) -> str:
    seen = at.visitor.visit("/your-machines", headers={"Cookie": f"session={session_of(at, by)}"})
    check_html(seen.text)
    assert seen.status == 200
    return seen.text


def test_an_owner_sees_their_machines_each_and_together() -> None:
    at = world()
    text = page_of(at, KEYED)
    assert "2 machines. This month: 4 builds" in text
    assert [name in text for name in ("/buildservers/elm", "/buildservers/yew", "/buildservers/oak")] == [
        True, True, False,
    ]  # fmt: skip
    assert "What they did together" in text
    assert run(at.pages.work(["elm", "yew"])).lines
    row = text.partition(">yew</a>")[2].partition("</tr>")[0]
    assert row.count(">0<") == 2, "what did nothing is there with nothing"


def test_who_owns_none_is_told_so() -> None:
    assert f"No machine of {ROOT.name} has connected yet." in page_of(world(), ROOT)


@pytest.mark.parametrize("path", ["/buildservers", "/"])
def test_the_way_there_is_shown_to_who_is_signed_in(path: str) -> None:
    at = world()
    cookie = {"Cookie": f"session={session_of(at, KEYED)}"}
    assert ("/your-machines" in at.visitor.visit(path, headers=cookie).text) == (path == "/buildservers")
    assert "/your-machines" not in at.visitor.visit(path).text


def test_who_is_not_signed_in_is_asked_to_be_and_sees_nobodys() -> None:
    at = world()
    seen = at.visitor.visit("/your-machines")
    check_html(seen.text)
    assert seen.status == 200
    assert "You are not signed in" in seen.text
    assert not [it.name for it in farm().servers if f">{it.name}<" in seen.text]
