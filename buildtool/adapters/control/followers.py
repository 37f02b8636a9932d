"""Requesters that wait in the foreground: who follows which Request; each is sent every change of it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.spread import pb

from buildtool.model.records import RequestState
from buildtool.protocol import codec
from buildtool.protocol.messages import RequestStatus


@define(eq=False)
class Follower:
    """A peer that follows one Request. ``left`` is called once, when it no longer does.

    One that did not show the Request's token is not ``told`` it. Until ``ready`` (it was seen that it may follow, and
    the first answer sent) only the newest move is kept for it.
    """

    request_id: int
    reference: pb.RemoteReference
    left: Callable[[], None]
    told: bool = True
    ready: bool = field(default=False, init=False)
    kept: RequestStatus | None = field(default=None, init=False)


class FollowerRegistry:
    """All followers, by the Request that they follow."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._followers: dict[int, list[Follower]] = {}

    def follows(self, request_id: int) -> bool:
        return request_id in self._followers

    def join(self, follower: Follower) -> None:
        """Start to keep moves for a follower."""
        self._followers.setdefault(follower.request_id, []).append(follower)

    def leave(self, follower: Follower) -> None:
        """Forget a follower; a second time does nothing."""
        others = self._followers.get(follower.request_id, [])
        if follower not in others:
            return
        others.remove(follower)
        if not others:
            del self._followers[follower.request_id]
        follower.left()

    def ready(self, follower: Follower) -> None:
        """Send a follower moves from the reactor's next turn on: their first answer goes out before."""
        self._clock.callLater(0, self._begin, follower)

    def _begin(self, follower: Follower) -> None:
        follower.ready = True
        if follower.kept is not None:
            self._send(follower, follower.kept)

    def moved(self, status: RequestStatus) -> None:
        for follower in list(self._followers.get(status.request_id, ())):
            if follower.ready:
                self._send(follower, status)
            else:
                follower.kept = status

    def _send(self, follower: Follower, status: RequestStatus) -> None:
        if status.state != RequestState.WAITING.value:
            self.leave(follower)
        try:
            if not follower.told:
                status = evolve(status, token="")
            follower.reference.callRemote("moved", codec.text_of(status), pbanswer=False)
        except pb.DeadReferenceError:
            self.leave(follower)
