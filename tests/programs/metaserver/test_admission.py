"""How many handshakes a network may begin at the metaserver's ports."""

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from buildtool.errors import LimitReached
from buildtool.model.access.ceilings import NO_CEILINGS, Most
from buildtool.model.access.proxies import Proxies
from buildtool.programs.metaserver.admission import FarmCeilings
from buildtool.scheduling.allowances import Allowances


def test_one_network_begins_so_many_handshakes_and_a_proxy_of_the_farm_as_many_as_come_through_it() -> None:
    ceilings = evolve(NO_CEILINGS, handshakes_a_minute=Most(None, 2, 3))
    made = FarmCeilings(Clock(), Allowances(ceilings), lambda: Proxies.of(["192.0.2.1"]))
    for _ in range(9):
        made.handshake("192.0.2.1")
    for _ in range(2):
        made.handshake("203.0.113.7")
    with pytest.raises(LimitReached, match="2 handshakes a minute"):
        made.handshake("203.0.113.7")
