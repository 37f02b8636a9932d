"""Every route reaches only those who may do it, and never names a project to who may not know of it."""

import re
from collections.abc import Collection, Iterator, Mapping

import pytest
from attrs import evolve, frozen
from twisted.web.server import Request

from buildtool.errors import Unauthorised
from buildtool.model.access.rights import RIGHTS, Act, platform_names
from buildtool.model.farm.deployment import NO_PLACE, UNNAMED, Deployment, ProjectPlace
from buildtool.model.options import Canonical
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.project_options import ProjectOptions
from buildtool.model.records import BuildState
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.messages import HealthStatus
from buildtool.web.app import SECTIONS
from tests.fakes_build import OPTIONS
from tests.web.fake_pages import FakeLogs, FakePages, NoQuestions
from tests.web.farm import farm
from tests.web.visitor import Seen, Visitor, links

SECRET = "lua"
ROUTES = [route for section in SECTIONS for route, _ in section.routes()]


@frozen
class Some:
    """``web.access.Access`` of a farm where only those with a key know of one project."""

    by: Principal
    unseen: str = ""
    """The arch of what nobody sees."""

    def visitor(self, _request: Request) -> Principal:
        return self.by

    def check_role(self, by: Principal, act: Act) -> None:
        RIGHTS.check_role(by, act)

    def sees(self, by: Principal, project: str, act: Act, platform: Canonical | None = None) -> bool:
        if self.unseen and self.unseen in platform_names(platform or ()):
            return False
        if act is Act.SEE_ACCESS:
            return by.role is PrincipalRole.OPERATOR
        return project != SECRET or by.role is not PrincipalRole.VISITOR

    def offered(self, by: Principal) -> Collection[str]:
        return [name for name in ("testproject", SECRET) if self.sees(by, name, Act.SEE_BUILD)]

    def projects(self, by: Principal) -> Collection[str] | None:
        return self.offered(by)

    def defaults(self) -> Mapping[str, Canonical]:
        return {}

    def deployment(self) -> Deployment:
        return UNNAMED

    def place(self, _project: str) -> ProjectPlace:
        return NO_PLACE

    def options(self, project: str) -> ProjectOptions | None:
        return OPTIONS if project in ("testproject", SECRET) else None


def visitor(role: PrincipalRole) -> Visitor:
    pages = farm()
    logs = FakeLogs({(one.id, epoch): b"a log" for one in pages.builds_made for epoch in range(4)})
    return Visitor(pages, logs, access=Some(Principal(role, "x")))


def addresses(pages: FakePages) -> Iterator[str]:
    """Every route, with every number and name that there is, and some that there are not."""
    numbers = [*(one.id for one in pages.builds_made), 999]
    for path in (route.path for route in ROUTES):
        for number in numbers if "<build_id>" in path else [0]:
            yield path.replace("<build_id>", str(number)).replace("<name>", "style.css")
    for query in (
        "project=lua",
        "project=testproject",
        "project=luu",
        *(f"state={state.value}" for state in BuildState),
        "q=platform:ppc", "q=server:elm", "q=option:checks=yes", "q=since:1970-01-01", "q=4+8",
    ):  # fmt: skip
        for form in ("", ".csv", ".json", ".atom"):
            yield f"/builds{form}?{query}"
    for number in numbers:
        yield f"/builds?before={number}"
        yield f"/logs/{number}?attempt=1"
    for server in pages.servers:
        yield f"/buildservers?name={server.name}"


def shows(seen: Seen) -> bool:
    """Return whether an answer names the project that is secret, in any case, in body or headers."""
    return SECRET in (seen.text + str(dict(seen.headers))).lower()


@pytest.mark.parametrize("role", PrincipalRole)
def test_every_role_reaches_exactly_the_routes_whose_act_it_may_do(role: PrincipalRole) -> None:
    asked = visitor(role)
    for route in ROUTES:
        path = re.sub(r"<\w+>", "1", route.path)
        seen = asked.visit(path, route.method)
        said = seen.status
        try:
            RIGHTS.check_role(Principal(role), route.act)
        except Unauthorised:
            assert said in ((401, 403) if route.path.startswith("/api/v1/") else (403,)), route
        else:
            unmarked = route.method == "POST" and "load it again" in seen.text  # no form of ours, and so refused later
            assert said in (200, 303, 400, 404, 415, 503) or unmarked, route


def test_no_route_names_a_secret_project_to_a_stranger_and_what_is_of_it_is_as_if_it_was_not_there() -> None:
    stranger, friend, pages = visitor(PrincipalRole.VISITOR), visitor(PrincipalRole.REQUESTER), farm()
    seen_by_friends = 0
    for path in addresses(pages):
        seen = stranger.visit(path)
        if "project=lua" not in path:
            assert not shows(seen), path
        seen_by_friends += shows(friend.visit(path))
    assert seen_by_friends > 10
    for build in pages.builds_made:
        if build.spec.project == SECRET:
            for path in (f"/build/{build.id}", f"/builds/{build.id}", f"/logs/{build.id}"):
                gone, never = stranger.visit(path), stranger.visit(path.replace(str(build.id), "999"))
                assert gone.status == never.status == 404
                assert gone.text.replace(f"build {build.id}", "build 999") == never.text


@pytest.mark.parametrize("said", ["ssh://ann@attic.example.org", "javascript://attic/%0aalert(1)"])
def test_how_a_machine_is_reached_is_told_to_those_who_may_know_it_and_is_a_link_only_for_known_ways(said: str) -> None:
    pages = farm()
    pages.servers = [evolve(it, capability=evolve(it.capability, access_uri=said)) for it in pages.servers]
    name = pages.servers[0].name
    paths = (f"/buildservers/{name}", f"/buildservers?name={name}", "/", "/buildservers", "/api/v1/machines")
    for role in PrincipalRole:
        visits = Visitor(pages, access=Some(Principal(role, "x")))
        told = [path for path in paths if "attic" in visits.visit(path).text]
        assert bool(told) == (role is PrincipalRole.OPERATOR), (role, told)
        if told:
            assert {f"/buildservers/{name}", "/api/v1/machines"} <= set(told)
            assert (f'href="{said}"' in visits.visit(paths[0]).text) == said.startswith("ssh:")


def test_who_may_not_see_the_builds_that_are_counted_is_told_so() -> None:
    pages = farm()
    pages.builds_made = [evolve(one, spec=evolve(one.spec, project=SECRET)) for one in pages.builds_made]
    visits = Visitor(pages, access=Some(Principal(PrincipalRole.VISITOR)))
    front, listed = visits.visit("/").text, visits.visit("/builds").text
    assert "The figures count all builds of the farm, also those that are not shown to you." in front
    assert "nothing waits" not in front, "a build is queued"
    for page in (front, listed):
        assert "No build that you may see" in page
        assert "Nothing has been built yet" not in page
    empty = Visitor(FakePages(), access=Some(Principal(PrincipalRole.VISITOR)))
    assert "also those that are not shown" not in empty.visit("/").text
    assert "Nothing has been built yet" in empty.visit("/").text


def test_what_may_not_be_seen_is_in_no_count_and_no_choice() -> None:
    """Also where it is a platform of a project."""
    asked = Visitor(farm(), access=Some(Principal(PrincipalRole.VISITOR), "ppc"))
    text = asked.visit("/builds?q=state:failed+state:succeeded").text
    open_to_all = Visitor(farm()).visit("/builds?q=state:failed+state:succeeded").text
    assert ("all 8" in open_to_all, "succeeded 2" in open_to_all, "failed 1" in open_to_all) == (True, True, True)
    assert ("all 4" in text, "succeeded 2" in text, "failed 1" in text) == (True, True, False)
    assert "linux-ppc" in open_to_all
    assert "linux-ppc" not in text


def test_nobody_finds_out_who_asked_by_trying_addresses() -> None:
    """Whether there is such a person or not, and for whomever else's address."""
    stranger = Visitor(farm())
    answers = {
        stranger.visit(f"/builds?q=by:{email}").text.replace(email, "")
        for email in ("ada@example.org", "eve@example.org")
    }
    assert len(answers) == 1
    assert "is not searched for" in answers.pop()
    ada = Visitor(farm(), access=Some(Principal(PrincipalRole.REQUESTER, "a", owner="Ada@example.org")))
    for line in ("by:me", "by:ada@example.org"):
        text = ada.visit(f"/builds?q={line}").text
        assert [link for link in links(text) if link.startswith("/build/")] == ["/build/3", "/build/1"]
        assert '<td data-name="Asked by">you</td>' in text
    assert ada.visit("/builds?q=by:eve@example.org").status == 400


def test_a_filter_by_a_secret_project_answers_as_one_by_a_project_that_there_is_not() -> None:
    stranger = visitor(PrincipalRole.VISITOR)
    secret, never = stranger.visit("/builds?project=lua"), stranger.visit("/builds?project=luu")
    assert secret.text.replace("lua", "luu") == never.text


def test_a_platform_of_which_builds_may_not_be_seen_has_neither_pages_nor_logs() -> None:
    pages = farm()
    made = next(one for one in pages.builds_made if one.spec.project != SECRET)
    logs = FakeLogs({(one.id, epoch): b"a log" for one in pages.builds_made for epoch in range(4)})
    (arch,) = (value for name, value in made.spec.platform if name == "arch")
    for unseen, status in (("", 200), (str(arch), 404)):
        asked = Visitor(pages, logs, access=Some(Principal(PrincipalRole.VISITOR), unseen))
        assert asked.visit(f"/build/{made.id}").status == status
        assert asked.visit(f"/logs/{made.id}").status == status


def test_what_runs_is_counted_though_it_is_not_named() -> None:
    pages = farm()
    hidden = [one.build for line in [pages] for one in line._running()]
    pages.builds_made = [
        evolve(one, spec=evolve(one.spec, project=SECRET)) if one in hidden else one for one in pages.builds_made
    ]
    asked = Visitor(pages, access=Some(Principal(PrincipalRole.VISITOR)))
    text = asked.visit("/buildservers").text
    assert "1 of 2 at once" in text
    assert not [link for link in links(text) if "/build/" in link]


def test_the_metaserver_is_asked_in_the_name_of_the_visitor() -> None:
    asked: list[Principal] = []

    class Source(NoQuestions):
        async def health(self, visitor: ShownVisitor) -> HealthStatus:
            asked.append(visitor.by)
            return HealthStatus(ok=True)

        async def why(self, build_id: int, visitor: ShownVisitor) -> None:
            asked.append(visitor.by)

    ben = Principal(PrincipalRole.REQUESTER, "ben")
    source, pages = Source(), farm()
    queued = next(one for one in pages.builds_made if one.state is BuildState.QUEUED)
    seen = Visitor(pages, questions=source, condition=source, access=Some(ben))
    seen.visit("/health")
    seen.visit(f"/build/{queued.id}")
    assert asked == [ben, ben]
