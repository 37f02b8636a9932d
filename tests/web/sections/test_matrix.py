"""The matrix of a project is there for who may see it, and only of what they may see."""

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.model.options import Canonical
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import BuildState
from buildtool.ports.pages import BuildsAsked
from buildtool.web.access import EverythingSeen
from buildtool.web.pages.asking import matrix as presented
from buildtool.web.sections.matrix import revisions_found
from tests.support.inline import run
from tests.web.fake_pages import FakePages
from tests.web.farm import PPC, X86, build, farm
from tests.web.test_access import Some
from tests.web.visitor import Visitor, check_html, links, tags

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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([X86, PPC])), max_size=40))
def test_each_revision_is_on_one_page_with_all_its_builds_the_newest_first(
    monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[int, Canonical]]
) -> None:
    """Two revisions a page, found in stretches of five builds, so that builds of one lie on both sides of a page."""
    monkeypatch.setattr(presented, "ROWS", 2)
    builds = []
    for number, (revision, platform) in enumerate(drawn, 1):
        one = build(number, BuildState.QUEUED, 1_000 - number)
        builds.append(evolve(one, spec=evolve(one.spec, revision=f"{revision:02}ab" * 10, platform=platform)))
    whole = dict[str, list[int]]()
    for one in reversed(builds):
        whole.setdefault(one.spec.revision, []).append(one.id)
    pages, seen, before = FakePages(builds_made=builds), list[tuple[str, int]](), None
    for _ in range(len(builds) + 1):
        found, before = run(revisions_found(pages, BuildsAsked(limit=5), before))
        assert len({one.revision for one in found.lines}) <= 2
        seen += [(one.revision, one.id) for one in found.lines]
        if before is None:
            break
    assert before is None
    assert list(dict.fromkeys(revision for revision, _ in seen)) == list(whole), "in order, and none is left out"
    if all(len(one) + len(other) <= 5 for one in whole.values() for other in whole.values()):
        assert sorted(number for _, number in seen) == [one.id for one in builds], "each once"


def test_older_revisions_are_a_link_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presented, "ROWS", 1)
    visitor, at, rows = Visitor(farm()), "/matrix/testproject?q=platform%3Ax86_64", list[int]()
    while at:
        text = visitor.visit(at).text
        check_html(text)
        rows.append(text.count('<tr id="r-'))
        at = next((str(it["href"]) for tag, it in tags(text) if tag == "a" and it.get("rel") == "next"), "")
        assert not at or at.startswith("/matrix/testproject?q=platform%3Ax86_64&amp;before=".replace("&amp;", "&"))
    assert len(rows) > 2
    assert rows == [1] * len(rows)
    assert "Newest revisions" in text


def test_what_is_not_understood_is_answered_with_400() -> None:
    visitor = Visitor(farm())
    for query in ("q=colour:red", "q=project:lua", "q=by:me", "x=1"):
        assert visitor.visit(f"/matrix/testproject?{query}").status == 400
    assert visitor.visit("/matrix/testproject?before=x").status == 404


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
