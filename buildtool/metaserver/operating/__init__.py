"""What operators may do, and owners of build servers and requesters to what is their own."""

from __future__ import annotations

from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.operating.machines import MachineService
from buildtool.metaserver.operating.several import SeveralService
from buildtool.ports.metaserver import Handlers


def acting(broker: Broker, permissions: Permissions) -> Handlers:
    """Return what may be asked for about build servers, and about many builds or requests at once."""
    return {**MachineService(broker, permissions).handlers, **SeveralService(broker, permissions).handlers}
