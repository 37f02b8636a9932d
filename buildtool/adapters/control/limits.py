"""The limit on everything that a peer may do over the control port: the size of a message, calls, memory, and time."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from buildtool.adapters.control.decoder import Bounds
from buildtool.model.access.ceilings import Most
from buildtool.protocol.json_text import TextBounds

STRANGER = Bounds(size=4 * 1024, items=400)
"""What one message may be until hello is said. A Hello that names all the capabilities it may has about 250 items."""

JOINER = Bounds(size=16 * 1024, texts=TextBounds(100))
"""What one message of somebody may be who has no key, or has it renewed."""

REQUESTER = Bounds(size=512 * 1024, texts=TextBounds(20_000))
"""What one message of a requester may be."""

PEER = Bounds(size=700_000, texts=TextBounds(100_000))
"""What one message of a build server, or of the metaserver itself, may be; we send at most ``codec.SIZE_LIMIT``."""


@frozen
class ConnectionLimits:
    """The limits of connections; times in seconds, sizes in bytes.

    Of ``connections`` each network has a share, see ``ConnectionShares``. ``stranger_bytes`` and ``hello_time`` bound a
    stranger, ``idle_time`` a requester who neither asks nor waits, ``stall_time`` how long a peer may leave our answers
    unread and ``unread`` how many bytes of them. ``calls`` of one peer run at once, and as many as take ``waiting``
    bytes; further ones are not read before. ``held`` bounds the memory of all messages of all peers. ``most`` is how
    many connections one key, one address and one network have at most.
    """

    connections: int = 2_000
    stranger_bytes: int = 8 * 1024
    hello_time: float = 10.0
    idle_time: float = 600.0
    stall_time: float = 60.0
    calls: int = 64
    waiting: int = 4 * 1024**2
    unread: int = 8 * 1024**2
    held: int = 64 * 1024**2
    most: Callable[[], Most] = Most
