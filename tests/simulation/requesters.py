"""Requesters: they ask, ask again when nobody answers, follow, cancel, leave, and remember all they were told."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from buildtool.adapters.control.client import Session, connect_requester
from buildtool.errors import (
    BuildToolError,
    InternalError,
    NotFound,
    Overloaded,
    RepositoryUnreachable,
    StorageUnavailable,
    Unauthorised,
    Unavailable,
    UnknownRef,
    UsageError,
)
from buildtool.protocol.messages import (
    AskStatus,
    Cancel,
    Follow,
    FoundArtifact,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)
from tests.simulation.clock import Life
from tests.simulation.parties import Party
from tests.simulation.transfers import Transfers

if TYPE_CHECKING:
    from tests.simulation.world import World

AGAIN = (Unavailable, StorageUnavailable, RepositoryUnreachable, Overloaded, InternalError)


@define(eq=False)
class Requester:
    """One person with one mailbox. ``answers`` holds the first answer for each of their client request ids."""

    world: World
    name: str
    email: str
    party: Party | None = None
    life: Life = field(init=False)
    busy: int = 0

    def __attrs_post_init__(self) -> None:
        self.life = Life(self.world.time, self.name)

    def ask(self, items: tuple[Submit, ...]) -> None:
        """Ask for builds, as one person at one terminal does."""
        self.busy += 1

        def over(failure: object) -> None:
            self.busy -= 1
            if failure is not None:
                self.world.watch.wrong(f"{self.name}: {failure}")

        self.world.keep(Deferred.fromCoroutine(self._see_through(items)).addBoth(over))

    async def _see_through(self, items: tuple[Submit, ...]) -> None:
        world, rng = self.world, self.world.rng
        told = await self._answered(items)
        if told is None:
            return
        if world.faults.happens("requester_resend"):
            await self.life.pause(rng.uniform(0.0, 600.0))
            told = await self._answered(items) or told
        one = told[rng.randrange(len(told))]
        if one.state == "waiting" and world.faults.happens("requester_cancel"):
            await self.life.pause(rng.choice((0.0, 5.0, 60.0)) * rng.random())
            await self._cancel(one)
        elif one.state == "waiting" and rng.random() < 0.4:
            await self._follow(one)
        elif one.artifact is not None:
            await self._fetch(one.artifact)

    async def _fetch(self, found: FoundArtifact) -> None:
        """Fetch an artifact: what comes is what was promised, or nothing comes."""
        transfers = Transfers(self.world.network, self.life, self.name)
        try:
            data = await transfers.fetch(found.url)
        except BuildToolError as error:
            self.world.trace.say(self.name, f"does not get {found.digest[:12]}: {error.code}")
            return
        self.world.watch.fetched(self.name, found, hashlib.sha256(data).hexdigest())

    async def _answered(self, items: tuple[Submit, ...]) -> tuple[RequestStatus, ...] | None:
        """Ask until somebody answers, or patience is at an end."""
        world, delay = self.world, 1.0
        for _ in range(12):
            client = None
            try:
                client = await self._connected()
                if len(items) == 1:
                    told: tuple[RequestStatus, ...] = (await client.ask(items[0], RequestStatus),)
                else:
                    told = (await client.ask(SubmitTogether(items), RequestStatuses)).items
            except AGAIN as error:
                world.trace.say(self.name, f"is not answered: {error.code}")
                if isinstance(error, InternalError):
                    world.watch.wrong(f"{self.name} is told of a defect: {error}")
            except BuildToolError as error:
                forward = isinstance(error, UsageError) and any(item.nice < 0 for item in items)
                if not forward and not (isinstance(error, UnknownRef) and world.refs.may_refuse(items)):
                    world.watch.wrong(f"{self.name} is refused: {error}")
                return None
            else:
                for item, one in zip(items, told, strict=True):
                    world.watch.answered(self.email, item, one)
                    world.sandboxes.told("answer", one)
                    world.needs.told(one)
                return told
            finally:
                if client is not None:
                    client.close()
            await self.life.pause(delay * (0.5 + world.rng.random()))
            delay = min(delay * 2, 300.0)
        return None

    async def _cancel(self, told: RequestStatus) -> None:
        world = self.world
        for _ in range(8):
            client = None
            try:
                client = await self._connected()
                world.watch.told("cancel", await client.ask(Cancel(told.request_id, told.token), RequestStatus))
            except AGAIN:
                pass
            except NotFound as error:
                world.watch.wrong(f"request {told.request_id} is forgotten: {error}")
                return
            else:
                return
            finally:
                if client is not None:
                    client.close()
            await self.life.pause(30.0 * world.rng.random())

    async def _follow(self, told: RequestStatus) -> None:
        """Follow one Request, again when the connection breaks, until its end or until they have better to do."""
        world = self.world
        leaves = world.faults.happens("requester_leave")
        until = world.time.now + world.rng.uniform(1.0, 300.0 if leaves else 3_000.0)
        while world.time.now < until:
            ended: Deferred[None] = Deferred()

            def moved(one: RequestStatus, ended: Deferred[None] = ended) -> None:
                world.watch.told("follow", one)
                world.sandboxes.told("follow", one)
                world.needs.told(one)
                if one.state != "waiting":
                    _wake(None, ended)

            client = None
            try:
                client = await self._connected()
                now = await client.follow(Follow(told.request_id, told.token), moved)
                world.watch.told("status", now)
                world.sandboxes.told("status", now)
                world.needs.told(now)
                if now.state != "waiting":
                    return
                client.closed().addBoth(_wake, ended)
                self.life.callLater(max(1.0, until - world.time.now), _wake, None, ended)
                await ended
                status = await client.ask(AskStatus(told.request_id, told.token), RequestStatus)
                world.watch.told("status", status)
                world.sandboxes.told("status", status)
                world.needs.told(status)
                if status.artifact is not None:
                    await self._fetch(status.artifact)
                if status.state != "waiting":
                    return
            except AGAIN:
                pass
            except NotFound as error:
                world.watch.wrong(f"request {told.request_id} is forgotten: {error}")
                return
            finally:
                if client is not None:
                    client.close()
            await self.life.pause(20.0 * world.rng.random())

    async def _connected(self) -> Session:
        """Return a connection. Raises BuildToolError; a stranger joins before that, or joins anew."""
        party = self.party
        if party is None:
            endpoint: IStreamClientEndpoint = self.world.network.endpoint(self.life, self.name, "meta")
            return await connect_requester(endpoint, "meta:1", self.life)
        while True:
            await party.ready(self.life)
            try:
                return await connect_requester(party.endpoint(self.life), "meta:1", self.life)
            except Unauthorised as error:
                self.world.trace.say(self.name, f"is not let in: {error}")
                await party.turned_away(self.life)
                await self.life.pause(1.0)


def _wake(_why: object, waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)
