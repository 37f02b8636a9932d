"""The metaserver's shell: it serialises events, lets the scheduler decide, commits, and only then tells anybody."""

from buildtool.metaserver.broker import Broker, Performer
from buildtool.metaserver.desk import Desk
from buildtool.metaserver.server_desk import ServerDesk
from buildtool.metaserver.telling import Teller

__all__ = ["Broker", "Desk", "Performer", "ServerDesk", "Teller"]
