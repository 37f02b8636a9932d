"""What operators may do, and owners of build servers and requesters to what is their own."""

from __future__ import annotations

from buildtool.metaserver.access.own_requests import RequestFinder
from buildtool.metaserver.operating.machines import MachineService
from buildtool.metaserver.operating.ordering import OrderService
from buildtool.metaserver.operating.several import SeveralService
from buildtool.ports.metaserver import Handlers


def acting(finder: RequestFinder) -> Handlers:
    """Return what may be asked for about build servers, places in the order, and many builds or requests at once."""
    broker, permissions = finder.broker, finder.permissions
    services = MachineService(broker, permissions), SeveralService(broker, permissions), OrderService(broker, finder)
    return {message: handler for one in services for message, handler in one.handlers.items()}
