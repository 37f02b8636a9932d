"""What the pages, as a process of their own, ask the metaserver in the name of visitors.

That is over its local socket, or over its control port with a key.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import attrs
from attrs import define, field
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from buildtool.adapters.control.calls import CALL_TIMEOUT
from buildtool.adapters.control.client import PATIENCE as LONG_CALLS
from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.network.in_turn import InTurn
from buildtool.errors import BuildToolError, NotRunning, ProtocolMismatch, Unauthorised, Unavailable
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.pages import A, ShownVisitor
from buildtool.protocol.enrolment import AddressShown, ShowCode
from buildtool.protocol.hello import AskProjects
from buildtool.protocol.hooks.messages import DeliverHook
from buildtool.protocol.messages import AskBuild, AskHealth, Explanation, HealthStatus
from buildtool.protocol.pages.visiting import ActFor

PATIENCE = 2.0
"""Seconds after which a page is shown without the metaserver's answer."""

REST = 10.0
"""Seconds for which a metaserver that did not answer is not asked again: pages must not become slow with it.

A delivery of a forge is not sent twice, so for that it is asked all the same.
"""

WAITS: Mapping[type[attrs.AttrsInstance], float] = {
    **LONG_CALLS, AskHealth: PATIENCE, AskProjects: PATIENCE,
}  # fmt: skip
"""Seconds that the answer to what a visitor asks for may take, where it is not as long as any call may."""

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
    _why: str = field(default="", init=False)

    async def act(self, shown: ShownVisitor, message: attrs.AttrsInstance, answer: type[A]) -> A:
        most = WAITS.get(type(message), CALL_TIMEOUT)
        by = shown.by
        said = "" if by.key or by.token else by.owner  # then it is a proxy's word
        return await self._told(ActFor(shown.secret, by.address, by.trusted, message, said), answer, most)

    async def tell(self, message: attrs.AttrsInstance, answer: type[A]) -> A:
        return await self._told(message, answer, CALL_TIMEOUT)

    async def confirm(self, code: str, network: str) -> str | None:
        """Confirm an address for a visitor: the code is all that is needed."""
        by = ShownVisitor(Principal(PrincipalRole.VISITOR, address=network))
        return await self._asked(self.act(by, ShowCode(code), AddressShown), lambda told: told.email)

    async def why(self, build_id: int, visitor: ShownVisitor) -> Explanation | None:
        try:
            return await self._asked(self.act(visitor, AskBuild(build_id), Explanation), lambda told: told)
        except BuildToolError:
            return None  # a build has ended meanwhile, and the database says how

    async def health(self, visitor: ShownVisitor) -> HealthStatus | None:
        """Return the health of the metaserver; None when it does not answer."""
        try:
            return await self._asked(self.act(visitor, AskHealth(), HealthStatus), lambda told: told)
        except BuildToolError:
            return None

    async def _asked(self, asking: Coroutine[Any, Any, A], read: Callable[[A], T]) -> T | None:
        """Return what is read of an answer, None where none came in time."""
        try:
            return read(await asking)
        except (Unavailable, NotRunning, ProtocolMismatch):
            return None

    async def _told(self, message: attrs.AttrsInstance, answer: type[A], within: float) -> A:
        if self.clock.seconds() < self._resting_until and not isinstance(message, DeliverHook):
            raise Unavailable(self._why)
        try:
            client = await self._connected()
            return await client.ask(message, answer, within=within)
        except (Unavailable, NotRunning, ProtocolMismatch) as error:
            log.info("pages go without the metaserver: {error}", error=error)
            self.close()
            self._resting_until, self._why = self.clock.seconds() + REST, str(error)
            raise

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
