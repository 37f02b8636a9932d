"""Every way in names the act that it is, and every role is tried against every one of them."""

from contextlib import suppress

import attrs
import pytest

from buildtool.errors import Unauthorised
from buildtool.metaserver.authorised import authorised
from buildtool.model.access.rights import RIGHTS, Extent, Rights
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.acts import ACT_OF
from buildtool.protocol.calls import BUILD_SERVER, JOINING, OPERATOR, RENEWING, REQUESTER, SEEKING
from buildtool.protocol.messages import Submit
from tests.support.inline import run

CALLS = (REQUESTER, SEEKING, BUILD_SERVER, OPERATOR, JOINING, RENEWING)
CALLABLE = {message for calls in CALLS for message in calls.values()}


def test_every_message_that_can_be_called_names_its_act() -> None:
    assert CALLABLE - ACT_OF.keys() == set()


def test_every_act_that_the_operator_s_socket_offers_is_the_operator_s() -> None:
    assert all(RIGHTS.extent(PrincipalRole.OPERATOR, ACT_OF[message]) for message in OPERATOR.values())


@pytest.mark.parametrize("role", PrincipalRole)
def test_a_call_reaches_its_service_exactly_where_the_role_may_do_its_act(role: PrincipalRole) -> None:
    reached: list[type] = []

    async def handler(_by: Principal, message: object) -> None:
        reached.append(type(message))

    handlers = authorised(dict.fromkeys(CALLABLE, handler), lambda: RIGHTS)
    for message in CALLABLE:
        reached.clear()
        made = object.__new__(message)  # no field of it is looked at
        with suppress(Unauthorised):
            run(handlers[message](Principal(role, "x"), made))  # type: ignore[arg-type]
        assert bool(reached) == (RIGHTS.extent(role, ACT_OF[message]) > Extent.NONE), (role, message)


def test_the_table_that_holds_when_it_is_called_counts() -> None:
    table = [RIGHTS]

    async def handler(_by: Principal, _message: object) -> None: ...

    handlers = authorised({Submit: handler}, lambda: table[0])
    by = Principal(PrincipalRole.REQUESTER)
    run(handlers[Submit](by, None))  # type: ignore[arg-type]
    table[0] = Rights({})
    with pytest.raises(Unauthorised, match="a requester may not ask for builds: nobody may"):
        run(handlers[Submit](by, None))  # type: ignore[arg-type]


def test_a_message_without_an_act_is_noticed_when_the_handlers_are_made() -> None:
    with pytest.raises(KeyError):
        authorised({attrs.make_class("Odd", []): None}, lambda: RIGHTS)  # type: ignore[dict-item]
