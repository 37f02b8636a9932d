"""Requesters that wait in the foreground: who follows which Request, and telling them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.spread import pb

from buildtool import wire
from buildtool.domain.model import RequestState
from buildtool.protocol import Told

__all__ = ["Audience", "Follower"]


@define(eq=False)
class Follower:
    """Somebody who follows one Request. ``left`` is called once, when they no longer do.

    Until ``ready`` (the token was checked, the first answer sent) only the newest move is kept for them.
    """

    request_id: int
    reference: pb.RemoteReference
    left: Callable[[], None]
    ready: bool = field(default=False, init=False)
    kept: Told | None = field(default=None, init=False)


class Audience:
    """All followers, by the Request that they follow."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._followers: dict[int, list[Follower]] = {}

    def follows(self, request_id: int) -> bool:
        """Say whether anybody follows this Request."""
        return request_id in self._followers

    def join(self, follower: Follower) -> None:
        """Begin to keep moves for a follower."""
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
        """Tell a follower of moves from the reactor's next turn on: their first answer goes out before."""
        self._clock.callLater(0, self._begin, follower)

    def _begin(self, follower: Follower) -> None:
        follower.ready = True
        if follower.kept is not None:
            self._tell(follower, follower.kept)

    def moved(self, told: Told) -> None:
        """Tell whoever follows this Request how it stands."""
        for follower in list(self._followers.get(told.request_id, ())):
            if follower.ready:
                self._tell(follower, told)
            else:
                follower.kept = told

    def _tell(self, follower: Follower, told: Told) -> None:
        if told.state != RequestState.WAITING.value:
            self.leave(follower)
        try:
            follower.reference.callRemote("moved", wire.encode(told), pbanswer=False)
        except pb.DeadReferenceError:
            self.leave(follower)
