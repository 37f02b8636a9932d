"""The tables of handlers: each message or event goes to what takes it, and none is without a handler."""

import typing
from typing import Any

import pytest

from buildtool.adapters.control.gateway import BuildServerEndpoint, PersonEndpoint, ServiceEndpoint
from buildtool.adapters.control.operator_endpoint import OperatorEndpoint
from buildtool.metaserver.access.tokens import TokenService
from buildtool.metaserver.accounts import AccountService
from buildtool.metaserver.build_servers import BuildServerService
from buildtool.metaserver.operating.bounces import BounceService
from buildtool.metaserver.operating.machines import MachineService
from buildtool.metaserver.operating.ordering import OrderService
from buildtool.metaserver.operating.several import SeveralService
from buildtool.metaserver.operations import OperatorService
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.metaserver.telling.targets import TargetService
from buildtool.metaserver.telling.watches import WatchService
from buildtool.metaserver.triggering.triggers import Triggers
from buildtool.model.principal import Principal
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.calls import REQUESTER
from buildtool.protocol.messages import Cancel
from buildtool.scheduling.decide import ANSWERS
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.events import Event
from tests import fakes

SERVICES: list[tuple[type[Any], type[ServiceEndpoint]]] = [
    (RequestService, PersonEndpoint),
    (BuildServerService, BuildServerEndpoint),
    (fakes.FakeRequestService, PersonEndpoint),
    (fakes.FakeBuildServerService, BuildServerEndpoint),
]


def handlers_of(service: type[Any]) -> Handlers:
    """Return the table of a service that needs nothing around it, as long as none of them is called."""
    handlers: Handlers = object.__new__(service).handlers
    return handlers


@pytest.mark.parametrize(("service", "endpoint"), SERVICES)
def test_each_call_has_a_handler_unless_the_endpoint_answers_it_itself(
    service: type[Any], endpoint: type[ServiceEndpoint]
) -> None:
    takes = REQUESTER if endpoint is PersonEndpoint else endpoint.takes
    passed = {message for name, message in takes.items() if not hasattr(endpoint, f"remote_{name}")}
    assert passed <= set(handlers_of(service))


def test_each_call_of_an_operator_has_a_handler_in_one_service() -> None:
    services = [
        handlers_of(one)
        for one in (
            OperatorService,
            MachineService,
            SeveralService,
            OrderService,
            TokenService,
            BounceService,
            Triggers,
            TargetService,
            Subscriptions,
            WatchService,
        )
    ]
    found = [message for one in (*services, object.__new__(AccountService).operating) for message in one]
    assert sorted(map(str, found)) == sorted(map(str, set(OperatorEndpoint.takes.values()) - {Cancel}))
    assert Cancel in handlers_of(RequestService)


@pytest.mark.parametrize(
    "service",
    [
        RequestService,
        BuildServerService,
        OperatorService,
        MachineService,
        SeveralService,
        OrderService,
        TokenService,
        BounceService,
        Subscriptions,
        WatchService,
    ],
)
def test_each_handler_takes_who_calls_and_the_message_that_it_stands_for(service: type[Any]) -> None:
    for message, handler in handlers_of(service).items():
        hints = list(typing.get_type_hints(handler).values())
        assert hints[:2] == [Principal, message]


def test_each_event_is_decided_by_what_takes_it() -> None:
    assert set(ANSWERS) == set(typing.get_args(Event))
    for event, decides in ANSWERS.items():
        hints = list(typing.get_type_hints(decides).values())
        assert hints[:2] == [DecisionContext, event]
