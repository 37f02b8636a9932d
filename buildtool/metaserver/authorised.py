"""Handlers behind the table of rights: each call is checked before it reaches its service.

Here it is seen whether a role may do an act at all. Whether something is the caller's own, its service knows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from buildtool.model.access.rights import Act, Extent, Rights
from buildtool.model.principal import Principal
from buildtool.ports.metaserver import ConnectionEnded, Handler, Handlers
from buildtool.protocol.acts import ACT_OF

__all__ = ["authorised"]


def authorised(handlers: Handlers, rights: Callable[[], Rights]) -> Handlers:
    """Return the same handlers, each behind the right that its message needs. Raises KeyError where one names none.

    ``rights`` returns the table that holds now.
    """
    acts = {**ACT_OF, ConnectionEnded: Act.SERVE}
    return {message: partial(_checked, acts[message], handler, rights) for message, handler in handlers.items()}


async def _checked(act: Act, handler: Handler, rights: Callable[[], Rights], by: Principal, message: Any) -> Any:  # noqa: ANN401 - any message
    table = rights()
    if table.extent(by.role, act) is Extent.NONE:
        table.check(by, act)
    return await handler(by, message)
