"""Pages act for their visitors, who are whom the metaserver finds out: nothing that pages say gives them a right."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.port_settings import Front
from buildtool.errors import NotFound, Unauthorised, UsageError
from buildtool.metaserver.access.visiting import LocalQuestions, VisitorService
from buildtool.metaserver.authorised import authorised
from buildtool.model.access.proxies import ProxyIdentity
from buildtool.model.access.rights import RIGHTS, Extent
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol import codec
from buildtool.protocol.acts import ACT_OF
from buildtool.protocol.enrolment import ShowCode
from buildtool.protocol.messages import AskBuild, AskHealth, Explanation, HealthStatus
from buildtool.protocol.operator import Drain
from buildtool.protocol.pages.visiting import _CALLS, ActFor, AskVisitor
from tests.fakes import FakeRequestService
from tests.metaserver.access.test_tokens import KEYED, NOBODY, ROOT, Farm
from tests.support.inline import run as done

PAGES = Principal(PrincipalRole.PAGES, "pages")


def visiting(farm: Farm, *, handlers: dict[type, object] | None = None) -> VisitorService:
    people = authorised(handlers or FakeRequestService().handlers, lambda: RIGHTS)  # type: ignore[arg-type]
    return VisitorService(farm.world.deployment, people, {}, farm.service)


def test_everything_that_people_may_call_can_be_asked_for_a_visitor() -> None:
    from buildtool.protocol.calls import PERSON
    from buildtool.protocol.messages import Follow
    from buildtool.protocol.pages.farm_view import AskFarm
    from buildtool.protocol.pages.figures import AskFigures

    assert set(_CALLS) == set(PERSON.values()) - {Follow} | {ShowCode, AskFarm, AskFigures}


@given(st.sampled_from([one for one in _CALLS if one is not ShowCode]), st.text(max_size=40), st.booleans())
def test_no_visitor_without_a_token_that_holds_may_do_what_a_stranger_may_not(
    call: type, wrong: str, trusted: bool
) -> None:
    farm, reached = Farm(), list[Principal]()

    async def handler(by: Principal, _message: object) -> None:
        reached.append(by)

    service = visiting(farm, handlers={one: handler for one in _CALLS if one is not ShowCode})
    message: Any = object.__new__(call)
    for token in ("", wrong):
        with pytest.raises(Unauthorised) if token or not RIGHTS.extent(NOBODY.role, ACT_OF[call]) else _nothing():
            done(service.act(PAGES, ActFor(token, "192.0.2.7", trusted, message)))
    assert all(by.role is PrincipalRole.VISITOR and not by.trusted for by in reached)


def test_a_proxys_word_that_pages_pass_on_counts_where_the_metaservers_own_configuration_says_so() -> None:
    farm, reached = Farm(), list[Principal]()

    async def handler(by: Principal, _message: object) -> HealthStatus:
        reached.append(by)
        return HealthStatus(ok=True)

    service = visiting(farm, handlers={AskHealth: handler})
    asked = ActFor("", "192.0.2.7", False, AskHealth(), "anna@example.org")
    done(service.act(PAGES, asked))
    assert (reached[-1].role, reached[-1].owner) == (PrincipalRole.VISITOR, ""), "this farm asks no proxy"
    identity = ProxyIdentity.of({"header": "X-User", "roles": {"anna@example.org": "operator"}})
    service.configuration.settings = evolve(service.configuration.settings, front=Front(identity))
    done(service.act(PAGES, asked))
    assert (reached[-1].role, reached[-1].owner) == (PrincipalRole.OPERATOR, "anna@example.org")
    with pytest.raises(Unauthorised, match="not believed"):
        done(service.act(PAGES, ActFor("", "192.0.2.7", False, AskHealth(), "anna")))
    with pytest.raises(Unauthorised):
        done(service.act(PAGES, ActFor("bt_wrong", "192.0.2.7", False, AskHealth(), "anna@example.org")))


class _nothing:  # noqa: N801 - used as a statement
    def __enter__(self) -> None: ...
    def __exit__(self, *_what: object) -> None: ...


def test_a_visitor_with_a_token_does_what_its_holder_may_and_no_more() -> None:
    farm, reached = Farm(), list[Principal]()

    async def drain(by: Principal, _message: Drain) -> None:
        reached.append(by)

    service = visiting(farm, handlers={Drain: drain})
    ann, root = farm.make(KEYED).token, farm.make(ROOT).token
    assert RIGHTS.extent(PrincipalRole.REQUESTER, ACT_OF[Drain]) is Extent.NONE
    with pytest.raises(Unauthorised, match="may not drain the farm"):
        done(service.act(PAGES, ActFor(ann, "192.0.2.7", trusted=False, act=Drain(on=True))))
    done(service.act(PAGES, ActFor(root, "192.0.2.7", trusted=False, act=Drain(on=True))))
    assert [(by.role, by.name, by.address) for by in reached] == [(ROOT.role, ROOT.name, "192.0.2.7")]


def test_who_a_visitor_is_is_told_with_their_limits_and_for_a_while_only() -> None:
    farm = Farm()
    service, token = visiting(farm), farm.make().token
    told = done(service.who(PAGES, AskVisitor(token, "", trusted=False)))
    assert (told.role, told.name, told.owner) == ("requester", "ann", "ann@example.org")
    assert 0 < told.expires - farm.world.wall.now <= 10
    assert done(service.who(PAGES, AskVisitor("", "", trusted=True))).role == "visitor", "keys are needed here"


def test_pages_inside_the_metaserver_ask_with_whom_the_connection_proved_or_with_what_was_shown() -> None:
    farm, callers = Farm(), list[Principal]()

    async def health(by: Principal, _message: AskHealth) -> HealthStatus:
        callers.append(by)
        return HealthStatus(ok=True)

    async def build(_by: Principal, _message: AskBuild) -> Explanation:
        raise NotFound("it is not open")

    inside = LocalQuestions(visiting(farm, handlers={AskHealth: health, AskBuild: build}))
    assert done(inside.health(ShownVisitor(KEYED))) == HealthStatus(ok=True)
    done(inside.health(ShownVisitor(NOBODY, farm.make().token)))
    assert [callers[0], callers[1].name] == [KEYED, "ann"]
    assert done(inside.health(ShownVisitor(Principal(PrincipalRole.PAGES)))) is None
    assert done(inside.why(1, ShownVisitor(KEYED))) is None
    with pytest.raises(UsageError, match="another kind of message"):
        done(inside.act(ShownVisitor(KEYED), AskHealth(), Explanation))


def test_what_a_visitor_asks_for_crosses_the_wire_whatever_it_is() -> None:
    for act in (AskBuild(7), AskHealth(), Drain(on=True)):
        message = ActFor("bt_x", "192.0.2.7", trusted=False, act=act)
        assert codec.decode(ActFor, codec.encode(message)) == message
    plain = codec.encode(ActFor("", "", trusted=False, act=AskHealth()))
    wrongs: list[Any] = [
        {"type": "Follow", "request_id": 1, "token": ""},
        {"type": "HealthStatus", "ok": True},
        [],
        "x",
        {},
    ]
    for wrong in wrongs:
        with pytest.raises(Exception, match="expected one of"):
            codec.decode(ActFor, {**plain, "act": wrong})
