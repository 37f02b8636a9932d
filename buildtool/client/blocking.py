"""A farm, for programs without Twisted: the same calls, each of which returns when it is answered.

A reactor of its own is turned by whoever calls, while they wait: there is no thread, the one of the program is left
alone, and Ctrl-C ends a call. Names are looked up in the call too. Tested by tests/client/test_blocking.py.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.pollreactor import PollReactor
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.client.farm import FarmClient, unseen
from buildtool.client.groups import ApiGroup, BuildGroup, FarmGroup, MachineGroup, RequestGroup
from buildtool.client.limits import RateLeft
from buildtool.client.operating import OperatorGroup
from buildtool.errors import UsageError
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.api.answers import ArtifactSummary
from buildtool.protocol.messages import FoundArtifact

G = TypeVar("G", bound=ApiGroup)
P = ParamSpec("P")
T = TypeVar("T")


class _Resolution:
    """A name that is looked up, or was."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: it is over before anybody could."""


@implementer(IHostnameResolver)
class _InCall:
    """A resolver of names that asks the system, and waits for it."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Send a receiver the addresses of a host: none where the system knows none, or the name is not one."""
        resolution: Any = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        try:
            found = socket.getaddrinfo(hostName, portNumber, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        for family, _, _, _, address in found:
            if family == socket.AF_INET6:
                resolutionReceiver.addressResolved(IPv6Address("TCP", *address))
            elif family == socket.AF_INET:
                resolutionReceiver.addressResolved(IPv4Address("TCP", *address))
        resolutionReceiver.resolutionComplete()
        found_all: IHostResolution = resolution
        return found_all


class Turns:
    """The turns of a reactor of its own, made by the caller who waits for a coroutine."""

    def __init__(self) -> None:
        self.reactor: ReactorBase = PollReactor()
        self.reactor.installNameResolver(_InCall())
        self._waits = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns, or raise what it raises; an interruption ends it. Raises UsageError."""
        if self._waits:
            coroutine.close()
            raise UsageError("one call after the other: this farm's client waits for an answer already")
        found: list[Any] = []
        self._waits = True
        try:
            waiting = Deferred.fromCoroutine(coroutine)
            waiting.addBoth(found.append)
            self.turn(lambda: bool(found), waiting)
        finally:
            self._waits = False
        if isinstance(found[0], Failure):
            found[0].raiseException()
        told: T = found[0]
        return told

    def turn(self, over: Callable[[], bool], waiting: Deferred[Any]) -> None:
        """Run the reactor until it is ``over``; where the caller is interrupted, what is waited for is cancelled."""
        reactor = self.reactor
        try:
            while not over():
                reactor.runUntilCurrent()
                if not over():
                    reactor.doIteration(reactor.timeout())
        except BaseException:
            waiting.cancel()
            raise

    def close(self) -> None:
        """Close what is still open."""
        self.reactor.disconnectAll()


class BlockingGroup(Generic[G]):
    """A group of routes whose methods wait."""

    def __init__(self, turns: Turns, group: G) -> None:
        self.turns = turns
        self.group = group


def blocking(
    method: Callable[Concatenate[G, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingGroup[G], P], T]:
    """Return a method that waits for what one of a group returns."""

    def waited(group: BlockingGroup[G], /, *args: P.args, **named: P.kwargs) -> T:
        return group.turns.run(method(group.group, *args, **named))

    return update_wrapper(waited, method)


class BlockingRequests(BlockingGroup[RequestGroup]):
    """The requests: asked for, followed to their end, explained, moved in the order, cancelled."""

    submit = blocking(RequestGroup.submit)
    submit_together = blocking(RequestGroup.submit_together)
    list = blocking(RequestGroup.list)
    explain = blocking(RequestGroup.explain)
    latest = blocking(RequestGroup.latest)
    channels = blocking(RequestGroup.channels)
    status = blocking(RequestGroup.status)
    why = blocking(RequestGroup.why)
    cancel = blocking(RequestGroup.cancel)
    forward = blocking(RequestGroup.forward)
    back = blocking(RequestGroup.back)
    wait = blocking(RequestGroup.wait)


class BlockingBuilds(BlockingGroup[BuildGroup]):
    """The builds: found, shown, explained, ended, built again."""

    list = blocking(BuildGroup.list)
    show = blocking(BuildGroup.show)
    files = blocking(BuildGroup.files)
    why = blocking(BuildGroup.why)
    queue = blocking(BuildGroup.queue)
    matrix = blocking(BuildGroup.matrix)
    log = blocking(BuildGroup.log)
    log_index = blocking(BuildGroup.log_index)
    search_log = blocking(BuildGroup.search_log)
    abort = blocking(BuildGroup.abort)
    rebuild = blocking(BuildGroup.rebuild)
    forget_failure = blocking(BuildGroup.forget_failure)


class BlockingMachines(BlockingGroup[MachineGroup]):
    """The build servers: shown, paused, resumed, drained, forgotten."""

    list = blocking(MachineGroup.list)
    show = blocking(MachineGroup.show)
    work = blocking(MachineGroup.work)
    own = blocking(MachineGroup.own)
    pause = blocking(MachineGroup.pause)
    drain = blocking(MachineGroup.drain)
    resume = blocking(MachineGroup.resume)
    forget = blocking(MachineGroup.forget)


class BlockingWhole(BlockingGroup[FarmGroup]):
    """The farm as a whole, and who asks."""

    status = blocking(FarmGroup.status)
    health = blocking(FarmGroup.health)
    projects = blocking(FarmGroup.projects)
    project = blocking(FarmGroup.project)
    descriptions = blocking(FarmGroup.descriptions)
    refs = blocking(FarmGroup.refs)
    triggers = blocking(FarmGroup.triggers)
    watch = blocking(FarmGroup.watch)
    watches = blocking(FarmGroup.watches)
    unwatch = blocking(FarmGroup.unwatch)
    look = blocking(FarmGroup.look)
    targets = blocking(FarmGroup.targets)
    try_targets = blocking(FarmGroup.try_targets)
    audit = blocking(FarmGroup.audit)
    change = blocking(FarmGroup.change)
    me = blocking(FarmGroup.me)
    tokens = blocking(FarmGroup.tokens)
    make_token = blocking(FarmGroup.make_token)
    revoke_token = blocking(FarmGroup.revoke_token)


class BlockingOperator(BlockingGroup[OperatorGroup]):
    """The operators' acts: several ended together, artifacts withdrawn, keys given and revoked."""

    cancel_several = blocking(OperatorGroup.cancel_several)
    abort_several = blocking(OperatorGroup.abort_several)
    purge = blocking(OperatorGroup.purge)
    purge_built_by = blocking(OperatorGroup.purge_built_by)
    drain = blocking(OperatorGroup.drain)
    identities = blocking(OperatorGroup.identities)
    invite = blocking(OperatorGroup.invite)
    revoke = blocking(OperatorGroup.revoke)
    rotate = blocking(OperatorGroup.rotate)


class BlockingFarm:
    """A client of the farm whose pages are at a URL. It is closed at the end, or used with ``with``.

    Its calls come one after the other; each thread makes one of its own.
    """

    def __init__(self, url: str, token: str = "") -> None:
        """``token`` says who asks. Raises UsageError for what is no URL."""
        self._turns = turns = Turns()
        self._client = client = FarmClient(url, token, reactor=turns.reactor)
        self.requests, self.builds = BlockingRequests(turns, client.requests), BlockingBuilds(turns, client.builds)
        self.machines, self.farm = BlockingMachines(turns, client.machines), BlockingWhole(turns, client.farm)
        self.operator = BlockingOperator(turns, client.operator)

    @property
    def limits(self) -> Mapping[str, RateLeft]:
        """What is left of what is limited, as ``FarmClient`` has it."""
        return self._client.limits

    def fetch(
        self,
        artifact: FoundArtifact | ArtifactSummary,
        path: str,
        progress: Callable[[int], None] = unseen,
        *,
        sandbox: SandboxLevel = SandboxLevel.NONE,
    ) -> None:
        """Fetch an artifact to a path, as ``FarmClient`` does. Raises NotFound, Unavailable and as that says."""
        self._turns.run(self._client.fetch(artifact, path, progress, sandbox=sandbox))

    def close(self) -> None:
        """Close all connections."""
        self._turns.run(self._client.close())
        self._turns.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
