"""What the pages, as a process of their own, ask the metaserver in the name of visitors.

That is over its local socket, or over its control port with a key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.network.in_turn import InTurn
from buildtool.errors import BuildToolError, NotRunning, ProtocolMismatch, Unauthorised, Unavailable
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.protocol.enrolment import AddressShown, ShowCodeFor
from buildtool.protocol.messages import AskBuildFor, AskHealthFor, Explanation, HealthStatus

PATIENCE = 2.0
"""Seconds after which a page is shown without the metaserver's answer."""

REST = 10.0
"""Seconds for which a metaserver that did not answer is not asked again: pages must not become slow with it."""

T = TypeVar("T")

log = Logger()


@define(eq=False)
class MetaserverQuestions:
    """The ``ports.Questions`` and ``web.health.HealthSource`` over one connection, made when needed and kept."""

    endpoint: IStreamClientEndpoint | InTurn
    where: str
    clock: IReactorTime
    _client: Session | None = field(default=None, init=False)
    _resting_until: float = field(default=float("-inf"), init=False)

    async def confirm(self, code: str, network: str) -> str | None:
        """Confirm an address for a visitor: the code is all that is needed."""
        try:
            client = await self._connected()
            return (await client.ask(ShowCodeFor(code, network), AddressShown)).email
        except (Unavailable, NotRunning, ProtocolMismatch) as error:
            log.info("pages go without the metaserver: {error}", error=error)
            self.close()
            return None

    async def why(self, build_id: int, visitor: Principal) -> Explanation | None:
        question = AskBuildFor(build_id, key=visitor.key, address=visitor.address, trusted=visitor.trusted)
        return await self._asked(lambda client: client.ask(question, Explanation))

    async def health(self, visitor: Principal) -> HealthStatus | None:
        """Return the health of the metaserver; None when it does not answer."""
        question = AskHealthFor(key=visitor.key, address=visitor.address, trusted=visitor.trusted)
        return await self._asked(lambda client: client.ask(question, HealthStatus, within=PATIENCE))

    async def _asked(self, ask: Callable[[Session], Awaitable[T]]) -> T | None:
        if self.clock.seconds() < self._resting_until:
            return None
        try:
            return await ask(await self._connected())
        except (Unavailable, NotRunning, ProtocolMismatch) as error:
            log.info("pages go without the metaserver: {error}", error=error)
            self.close()
            self._resting_until = self.clock.seconds() + REST
            return None
        except BuildToolError:
            return None  # a build has ended meanwhile, and the database says how

    def close(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _connected(self) -> Session:
        if self._client is None:
            try:
                self._client = await greet(
                    self.endpoint, self.where, PrincipalRole.PAGES.value, self.clock, within=PATIENCE
                )
            except Unauthorised as error:  # the pages themselves, and not a visitor
                raise Unavailable(str(error)) from error
        return self._client
