"""The matrix of a project is there for who may see it, and only of what they may see."""

from buildtool.model.principal import Principal, PrincipalRole
from buildtool.web.access import EverythingSeen
from tests.web.farm import farm
from tests.web.test_access import Some
from tests.web.visitor import Visitor, check_html, links

VISITOR = Principal(PrincipalRole.VISITOR, address="192.0.2.7")


def test_a_matrix_leads_to_the_builds_of_its_cells_and_is_searched() -> None:
    visitor = Visitor(farm())
    seen = visitor.visit("/matrix/testproject")
    check_html(seen.text)
    assert {"/build/1", "/build/3", "/build/7"} <= set(links(seen.text))
    found = visitor.visit("/matrix/testproject?q=state:failed").text
    check_html(found)
    assert [link for link in links(found) if link.startswith("/build/")] == ["/build/3"]
    nothing = visitor.visit("/matrix/testproject?q=platform:s390x")
    check_html(nothing.text)
    assert "Nothing of testproject fits." in nothing.text
    assert visitor.visit("/matrix").headers["location"] == "/matrix/testproject"


def test_what_is_not_understood_is_answered_with_400() -> None:
    visitor = Visitor(farm())
    for query in ("q=colour:red", "q=project:lua", "q=by:me", "x=1"):
        assert visitor.visit(f"/matrix/testproject?{query}").status == 400


def test_a_project_that_a_visitor_does_not_know_is_not_there() -> None:
    visitor = Visitor(farm(), access=Some(VISITOR))
    hidden, absent = visitor.visit("/matrix/lua"), visitor.visit("/matrix/luu")
    assert hidden.status == absent.status == 404
    assert hidden.text == absent.text.replace("luu", "lua")


def test_builds_that_a_visitor_may_not_see_are_in_no_cell() -> None:
    seen = Visitor(farm(), access=Some(VISITOR, unseen="ppc")).visit("/matrix/testproject")
    assert "/build/3" not in set(links(seen.text))
    assert "/build/1" in set(links(seen.text))


def test_where_there_is_no_project_the_page_says_so() -> None:
    assert "There is no project" in Visitor(farm(), access=EverythingSeen([])).visit("/matrix").text
