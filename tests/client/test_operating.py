"""The client has a method for each route, and operators' acts reach the services that they are for."""

import inspect

import pytest

from buildtool.client import changes, connection, farm, groups, operating, transfers
from buildtool.client.blocking import BlockingFarm
from buildtool.client.operating import OperatorGroup
from buildtool.errors import Unauthorised
from buildtool.protocol.api.routes import ROUTES
from tests.client.farms import ClientWorld


def test_every_route_is_asked_by_a_method_of_the_client() -> None:
    text = "".join(map(inspect.getsource, (connection, changes, farm, groups, operating, transfers)))
    missing = [
        f"{call.method} {call.path}"
        for call in ROUTES
        if not (call.message is not None and f"{call.message.__name__}(" in text)
        and f'"{call.path}"' not in text
        and call.path not in {"/artifacts/{digest}", "/events", "/requests/cancel", "/builds/abort"}
    ]  # an artifact comes from its URL, events by EVENTS, and the other two messages are made by who asks
    assert missing == []


def test_what_waits_without_blocking_waits_with_it() -> None:
    with BlockingFarm("http://127.0.0.1:9") as there:
        for group in (there.requests, there.builds, there.machines, there.farm, there.operator):
            own = {name for name, one in inspect.getmembers(type(group.group), inspect.iscoroutinefunction)}
            assert {name for name in own if not name.startswith("_")} <= {*dir(group)}, group


def test_an_act_is_asked_at_its_route_and_refused_as_at_the_socket() -> None:
    at = ClientWorld()
    with pytest.raises(Unauthorised, match="may not"):
        at.do(OperatorGroup(at.api()).purge("12", "broken"))
    assert at.agent.urls == [f"{at.api().url.api}/artifacts/12/purge"]
