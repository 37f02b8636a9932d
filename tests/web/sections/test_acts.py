"""Buttons do what the table of rights lets who presses them, once, and lead back to a page of this site."""

import re
from urllib.parse import urlencode

import pytest
from attrs import evolve

from buildtool.errors import StorageUnavailable, Unavailable
from buildtool.model.access.rights import RIGHTS
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.messages import Submit
from buildtool.protocol.operator import (
    AbortBuild,
    DrainServer,
    ForgetFailure,
    ForgetServer,
    LowerRequest,
    PauseServer,
    RaiseRequest,
)
from buildtool.web.app import make_urls
from buildtool.web.forms import Forms
from buildtool.web.live.hub import Answering
from buildtool.web.rendering import templates
from buildtool.web.sections.acts import ACTS
from buildtool.web.sessions import form_mark
from tests.messages import waiting
from tests.support.inline import run
from tests.web.api.world import KEYED, ROOT, ApiWorld
from tests.web.test_sessions import session_of
from tests.web.visitor import PUBLIC, TRANSFER, Seen, check_html, tags

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def press(world: ApiWorld, name: str, cookie: str, **fields: str) -> Seen:
    body = urlencode(fields).encode()
    return world.visitor.visit(f"/acts/{name}", "POST", {**FORM, "Cookie": f"session={cookie}"}, body)


def said_after(world: ApiWorld, pressed: Seen, cookie: str) -> str:
    said = pressed.headers["set-cookie"].partition(";")[0]
    page = world.visitor.visit("/", headers={"Cookie": f"session={cookie}; {said}"})
    check_html(page.text)
    found = re.search(r'<p class="note said" role="status">(.*?)</p></div>\n<main ', page.text)
    assert " data-live=" in page.text, "it stands outside of what is exchanged when something changes"
    assert "said=; Path=/; Max-Age=0" in page.headers["set-cookie"], "it is said once"
    return found.group(1) if found else ""


def test_a_button_does_its_act_and_leads_back_with_one_line() -> None:
    world = ApiWorld()
    session = session_of(world)
    seen = press(
        world, "pause", session, mark=form_mark(session), server="elm", reason="dust", back="/buildservers?page=1"
    )
    assert (seen.status, seen.headers["location"]) == (303, "/buildservers?page=1")
    assert [(by.name, message) for by, message in world.asked] == [(ROOT.name, PauseServer("elm", "dust"))]
    assert said_after(world, seen, session) == "It is done."


@pytest.mark.parametrize("away", [Unavailable("nothing listens at /srv/state"), StorageUnavailable("/srv is full")])
def test_where_nobody_can_do_it_no_path_is_told(away: Exception) -> None:
    world = ApiWorld()
    session = session_of(world, KEYED)
    world.people.fail = away
    seen = press(world, "ask-again", session, mark=form_mark(session), build_id="1", once="7")
    world.people.fail = None
    said = said_after(world, seen, session)
    assert said.startswith("Nothing was changed: the ")
    assert "/srv" not in said


def test_no_button_leads_to_another_site_or_writes_a_header() -> None:
    world = ApiWorld()
    session = session_of(world)
    for back in ("//evil.example", "https://evil.example/", "/\\evil.example", "/x\r\nSet-Cookie: a=b", ""):
        seen = press(world, "pause", session, mark=form_mark(session), server="elm", back=back)
        assert seen.headers["location"] == "/"
        assert "a=b" not in str(dict(seen.headers))


def test_without_the_mark_of_the_session_nothing_is_done() -> None:
    world = ApiWorld()
    session, other = session_of(world), session_of(world)
    for mark in ("", form_mark(other), form_mark(""), "é" * 32):
        seen = press(world, "pause", session, mark=mark, server="elm")
        assert seen.status == 303
        assert "too old, or of another session" in said_after(world, seen, session)
    assert not world.asked


def test_what_stands_in_the_address_is_no_part_of_a_form() -> None:
    world = ApiWorld()
    session = session_of(world)
    query = urlencode({"mark": form_mark(session), "server": "elm"})
    seen = world.visitor.visit(f"/acts/pause?{query}", "POST", {**FORM, "Cookie": f"session={session}"}, b"x=1")
    assert seen.status == 303
    assert not world.asked


def test_a_form_that_is_none_changes_nothing() -> None:
    world = ApiWorld()
    session = session_of(world)
    many = b"&".join(b"a%d=" % one for one in range(99))
    for body in (b"a=1&a=2", b"server=%00", b"%ff=%fe", many):
        seen = world.visitor.visit("/acts/pause", "POST", {**FORM, "Cookie": f"session={session}"}, body)
        assert seen.status == 303
    assert not world.asked


@pytest.mark.parametrize("role", PrincipalRole)
def test_each_button_is_refused_where_the_role_may_not_do_its_act(role: PrincipalRole) -> None:
    world = ApiWorld(Principal(role, "x"))
    for name, one in ACTS.items():
        seen = world.visitor.visit(f"/acts/{name}", "POST", FORM)
        assert (seen.status == 303) == bool(RIGHTS.most(role, one.act)), name
    assert not world.asked


def test_the_same_form_sent_twice_asks_once_and_another_anew() -> None:
    world = ApiWorld()
    made = world.tokens.make(KEYED)
    session = run(world.tokens.sign_in(token=made.token)).session
    for once in ("7", "7", "8"):
        press(world, "ask-again", session, mark=form_mark(session), build_id="1", once=once)
    ids = [one.client_id for one in world.people.submitted if isinstance(one, Submit)]
    assert len(ids) == 3
    assert ids[0] == ids[1] != ids[2]
    assert world.people.submitted[0].project == "testproject"


def test_buttons_are_shown_to_who_may_press_them_only() -> None:
    text = '{% from "acts.html" import act with context %}{{ act("pause", "Pause", {"server": server}, reason=true) }}'
    template = templates(make_urls(PUBLIC, TRANSFER), Answering())["acts"].environment.from_string(text)
    forms = Forms("ann", "m" * 32, "7", "/x?a=1&b=2", lambda name: name == "pause")
    shown = template.render(forms=forms, server='"><script>')
    values = [given.get("value") for tag, given in tags(shown) if tag == "input"]
    assert values[:4] == ["m" * 32, "7", "/x?a=1&b=2", '"><script>']
    assert template.render(forms=evolve(forms, may=lambda _name: False), server="elm").strip() == ""
    assert template.render(forms=None, server="elm").strip() == ""


def test_the_pages_have_the_buttons_of_what_they_show_and_pressing_one_asks_for_that() -> None:
    """For who is signed in and may; a visitor sees none."""
    world = ApiWorld()
    session = session_of(world)
    for path, act, message in (
        ("/build/6", "abort", AbortBuild(6, "")),
        ("/build/3", "forget-failure", ForgetFailure(3)),
        ("/buildservers?name=elm", "pause", PauseServer("elm", "")),
        ("/buildservers/elm", "pause", PauseServer("elm", "")),
    ):
        page = world.visitor.visit(path, headers={"Cookie": f"session={session}"})
        check_html(page.text)
        assert f'action="/acts/{act}"' not in world.visitor.visit(path).text
        form = page.text.partition(f'action="/acts/{act}"')[2].partition("</form>")[0]
        fields = {str(one.get("name")): str(one.get("value") or "") for tag, one in tags(form) if tag == "input"}
        assert press(world, act, session, **fields).status == 303
        assert world.asked[-1][1] == message


def test_who_asked_cancels_their_own_request_and_asks_again_on_the_page_of_its_build() -> None:
    """An operator cancels everybody's; nobody sees a button for what is another's."""
    world = ApiWorld()
    world.people.answers[6] = waiting()
    session = session_of(world, KEYED)

    def buttons(path: str, cookie: str) -> list[tuple[str, str]]:
        page = world.visitor.visit(path, headers={"Cookie": f"session={cookie}"}).text
        check_html(page)
        return re.findall(r'action="/acts/([a-z-]+)".*?<button type="submit">(.*?)</button>', page, re.DOTALL)

    assert buttons("/build/6", session) == []
    world.pages.requests[5] = evolve(world.pages.requests[5], email=KEYED.owner.upper())
    lower = "Let others go before request 6"
    assert buttons("/build/6", session) == [("cancel", "Cancel my request"), ("lower", lower)]
    assert buttons("/build/1", session)[0] == ("ask-again", "Ask again")
    assert ("cancel", "Cancel request 6") in buttons("/build/6", session_of(world))
    fields = {"mark": form_mark(session), "request_id": "6", "token": "abcdef"}
    assert press(world, "cancel", session, **fields, back="/build/6").headers["location"] == "/build/6"
    assert world.people.answers[6].state == "cancelled"


def test_an_operator_moves_a_request_forward_or_back_on_the_page_of_its_build() -> None:
    world = ApiWorld()
    session = session_of(world)
    page = world.visitor.visit("/build/6", headers={"Cookie": f"session={session}"}).text
    form = page.partition('action="/acts/raise"')[2].partition("</form>")[0]
    assert 'formaction="/acts/lower">Move it back</button>' in form
    fields = {str(one.get("name")): str(one.get("value") or "") for tag, one in tags(form) if tag == "input"}
    for act, rounds, message in (("raise", "0", RaiseRequest(6, 0)), ("lower", "20", LowerRequest(6, 20))):
        assert press(world, act, session, **{**fields, "rounds": rounds}).status == 303
        assert world.asked[-1][1] == message
    seen = press(world, "raise", session, **{**fields, "rounds": "21"})
    assert "Nothing was changed: a request is moved by 0 to 20 rounds" in said_after(world, seen, session)


def test_who_has_no_address_is_offered_nothing_that_needs_one() -> None:
    """Of an operator of this machine a name is known that no mail reaches: they ask by the form."""
    world = ApiWorld()
    page = world.visitor.visit("/build/1", headers={"Cookie": f"session={session_of(world)}"}).text
    assert "/acts/ask-again" not in page
    assert "Ask with changes" in page


def test_a_machine_is_paused_or_let_finish_for_one_reason() -> None:
    world = ApiWorld()
    session = session_of(world)
    page = world.visitor.visit("/buildservers/elm", headers={"Cookie": f"session={session}"}).text
    assert page.count('name="reason"') == 1
    form = page.partition('action="/acts/pause"')[2].partition("</form>")[0]
    assert 'formaction="/acts/drain">Let it finish</button>' in form
    fields = {str(one.get("name")): str(one.get("value") or "") for tag, one in tags(form) if tag == "input"}
    assert press(world, "drain", session, **{**fields, "reason": "its disk is full"}).status == 303
    assert world.asked[-1][1] == DrainServer("elm", "its disk is full")


def test_a_machine_is_forgotten_once_it_is_gone_and_the_list_of_them_is_shown_then() -> None:
    """Its own page is none any more."""
    world = ApiWorld()
    session = session_of(world)

    def form() -> str:
        page = world.visitor.visit("/buildservers/elm", headers={"Cookie": f"session={session}"}).text
        return page.partition('action="/acts/forget"')[2].partition("</form>")[0]

    assert form() == "", "it is connected and would be known again at once"
    world.pages.servers = [evolve(one, connected=False) for one in world.pages.servers]
    fields = {str(one.get("name")): str(one.get("value") or "") for tag, one in tags(form()) if tag == "input"}
    assert press(world, "forget", session, **fields).headers["location"] == "/buildservers"
    assert world.asked[-1][1] == ForgetServer("elm")


def test_what_is_asked_for_again_is_all_of_what_was() -> None:
    world = ApiWorld()
    session = session_of(world, KEYED)
    made = world.pages.builds_made[0]
    world.pages.builds_made[0] = evolve(made, spec=evolve(made.spec, native=True))
    press(world, "ask-again", session, mark=form_mark(session), build_id="1", once="7")
    (asked,) = world.people.submitted
    assert (asked.native, asked.revision, asked.compile) == (True, made.spec.revision, dict(made.spec.options))
