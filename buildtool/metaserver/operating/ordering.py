"""Requests that wait are moved in the order: forward by operators, back also by who asked for them."""

from __future__ import annotations

from attrs import frozen

from buildtool.errors import Conflict, InternalError, Unauthorised, UsageError
from buildtool.metaserver.access.own_requests import RequestFinder
from buildtool.metaserver.broker import Broker
from buildtool.model.access.rights import Act
from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.principal import Principal
from buildtool.model.records import Request, RequestState
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.operator import ActionResult, LowerRequest, RaiseRequest
from buildtool.scheduling.answers import Moved
from buildtool.scheduling.events import NiceSet


@frozen
class OrderService:
    """A service that moves Requests in the order. Every method raises BuildToolError for what cannot be done."""

    broker: Broker
    finder: RequestFinder

    @property
    def handlers(self) -> Handlers:
        """What may be asked for."""
        return {RaiseRequest: self.forward, LowerRequest: self.back}

    async def forward(self, by: Principal, message: RaiseRequest) -> ActionResult:
        """Move a Request forward by so many rounds; 0 takes it back. Raises UsageError, NotFound, Conflict."""
        _check(message.rounds)
        request = await self.finder.find(by, Act.RAISE, message.request_id)
        return await self._move(request, -message.rounds, by.name or by.role.value)

    async def back(self, by: Principal, message: LowerRequest) -> ActionResult:
        """Move a Request back by so many rounds, never forward unless an operator says so.

        Raises UsageError, NotFound, Unauthorised, Conflict.
        """
        _check(message.rounds)
        request = await self.finder.find(by, Act.LOWER, message.request_id, message.token)
        raises = self.finder.permissions.allows(by, Act.RAISE, request.demand.spec, owner=request.email)
        return await self._move(request, message.rounds, (by.name or by.role.value) if raises else "")

    async def _move(self, request: Request, nice: int, by: str) -> ActionResult:
        answer = await self.broker.send(NiceSet(request.id, nice, by))
        if not isinstance(answer, Moved):
            raise InternalError("the metaserver answered an act with something else")
        now = answer.request or await self.finder.known(request.id) or request
        if answer.request is None:
            how = "waits no more" if now.state is RequestState.WAITING else f"is {now.state.value}"
            raise Conflict(f"request {now.id} {how}: only what waits has a place")
        if not answer.changed and now.nice == nice:
            return ActionResult((f"request {now.id} {_stands(nice)} already",), changed=False, build_id=now.build_id)
        if not answer.changed and nice < now.nice and not by:
            stood = f"{_stands(now.nice)} already"
            raise Unauthorised(f"request {now.id} {stood}: only an operator moves it forward again")
        if not answer.changed:
            raise Conflict(f"build {now.build_id} of request {now.id} is begun: only what waits has a place")
        words = [f"request {now.id} {_stands(nice)}"]
        if answer.build is None:
            words.append("it finds its place once its address is confirmed")
        elif answer.build.place != now.id:
            words.append(f"build {answer.build.id} stays where another request has it, in a better place")
        if answer.ahead is not None:
            before = {0: "no build stands", 1: "1 build stands"}.get(answer.ahead, f"{answer.ahead} builds stand")
            words.append(f"{before} before it")
        return ActionResult(("; ".join(words),), build_id=now.build_id)


def _check(rounds: int) -> None:
    if not 0 <= rounds <= NICE_MOST:
        raise UsageError(f"a request is moved by 0 to {NICE_MOST} rounds, not by {rounds}")


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _stands(nice: int) -> str:
    if not nice:
        return "is neither moved forward nor back"
    return f"is moved {_rounds(abs(nice))} {'forward' if nice < 0 else 'back'}"
