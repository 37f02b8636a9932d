"""Build servers that lie, in the real protocol: late, twice, in contradiction, about other people's builds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypeVar

import attrs
from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buildtool.adapters.control.calls import RemoteEndpoint
from buildtool.adapters.control.client import Session, greet
from buildtool.errors import BuildToolError, Declined, Unauthorised
from buildtool.model.records import AttemptEnd, AttemptState
from buildtool.model.servers import Held, HeldState, OwnerNotice
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    Done,
    Ended,
    Heartbeat,
    HeartbeatAnswer,
    Ok,
    Order,
    Register,
    Welcome,
)
from tests.simulation import projects
from tests.simulation.clock import Life
from tests.simulation.parties import Party
from tests.simulation.transfers import SimulatedUploads

if TYPE_CHECKING:
    from tests.simulation.metaserver import Metaserver
    from tests.simulation.world import World

T = TypeVar("T", bound=attrs.AttrsInstance)
Key = tuple[int, int]
ENDS = tuple(end for end in AttemptEnd if end not in (AttemptEnd.SUCCEEDED, AttemptEnd.LOST, AttemptEnd.REFUSED))


@define(eq=False)
class _Ear(RemoteEndpoint):
    takes: ClassVar[Mapping[str, type[attrs.AttrsInstance]]] = {"build": Order, "abort": AbortOrder}

    _liar: Liar

    async def remote_build(self, message: Order) -> Accepted:
        return await self._liar.ordered(message)

    async def remote_abort(self, message: AbortOrder) -> Ok:
        return Ok()


@define(eq=False)
class Liar:
    """A build server that takes orders and makes of them whatever it likes."""

    world: World
    name: str
    party: Party | None = None
    life: Life = field(init=False)
    session: Session | None = None
    number: int = 0
    orders: dict[Key, Order] = field(factory=dict)
    forgotten: set[Key] = field(factory=set)
    files: dict[str, bytes] = field(factory=dict)
    _owner: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._owner = random.Random(f"{self.world.seed} {self.name} owner")
        self.life = Life(self.world.time, self.name)

    def start(self) -> None:
        self._go(self._live())

    def stop(self) -> None:
        """Be gone for good."""
        self.life.ended = True
        self.world.network.machine_gone(self.life, silently=False)

    def _go(self, act: object) -> None:
        def wrong(failure: object) -> None:
            self.world.watch.wrong(f"{self.name} met a defect: {failure}")

        self.world.keep(Deferred.fromCoroutine(act).addErrback(wrong))  # type: ignore[arg-type] # a coroutine

    async def _live(self) -> None:
        world, rng = self.world, self.world.rng
        project = world.settings.projects[0]
        party = self.party
        endpoint = party.endpoint(self.life) if party is not None else None
        endpoint = endpoint or world.network.endpoint(self.life, self.name, "meta")
        haunts = False
        while True:
            try:
                if party is not None:
                    await party.ready(self.life)
                session = await greet(endpoint, "meta:1", "build server", self.life)
                held = tuple(self._invented(key) for key in self._keys(2)) if rng.random() < 0.3 else ()
                if haunts or rng.random() < 0.5:
                    held = tuple(Held(*key) for key in self.orders)
                level = world.sandboxes.claimed()
                capability = projects.capability(projects.ARCHES, memory=9_000, max_builds=2, of=project, sandbox=level)
                instance = f"the directory of {self.name}"
                register = Register(self.name, capability, self._frozen(held), instance, self._notice())
                welcome = await session.call("register", register, Welcome, _Ear(self))
            except BuildToolError as error:
                if party is not None and isinstance(error, Unauthorised):
                    await party.turned_away(self.life)
                await self.life.pause(rng.uniform(5.0, 60.0))
                continue
            self.session, self.number = session, welcome.session
            there = world.metaserver
            until = world.time.now + rng.uniform(60.0, 3_000.0)
            while world.time.now < until and not session.broker.disconnected:
                await self.life.pause(welcome.lease / 4)
                mine = tuple(Held(*key) for key in self.orders if key not in self.forgotten)
                held = mine if rng.random() < 0.8 else tuple(self._invented(key) for key in self._keys(3))
                await self._say(session, "heartbeat", Heartbeat(self._frozen(held), self._notice()), HeartbeatAnswer)
            self.session = None
            haunts = rng.random() < 0.5
            if haunts:
                self._go(self._haunt(session, welcome.session, there))
            else:
                session.close()
            await self.life.pause(rng.uniform(1.0, 5.0 if haunts else 200.0))

    async def _haunt(self, session: Session, number: int, there: Metaserver | None) -> None:
        """Go on talking in a Session although another has begun, which has said that it holds the same Attempts.

        A metaserver beside which another was started may still answer what it need not commit, until it notices.
        """
        while self.number == number and not session.broker.disconnected:
            await self.life.pause(0.5)
        for key, order in list(self.orders.items()):
            message = self._end(key) if self.world.rng.random() < 0.8 else self._done(key, b"from beyond")
            answer = await self._say(session, "done" if isinstance(message, Done) else "ended", message, Ok)
            if answer is not None and not answer.stale:
                self.world.watch.wrong(f"{self.name} was believed in session {number}, which is over: {order.build_id}")
        heard = await self._say(session, "heartbeat", Heartbeat(()), HeartbeatAnswer)
        if heard is not None and there is self.world.metaserver:
            self.world.watch.wrong(f"{self.name} was heard in session {number}, which is over")
        session.close()

    def _keys(self, most: int) -> list[Key]:
        """Return Attempts that may be anybody's."""
        rng = self.world.rng
        live = [row.key for row in self.world.watch.attempts.values() if row.state is AttemptState.BUILDING]
        if live and rng.random() < 0.6:  # it has good spies
            return [rng.choice(live)]
        builds = max((key[0] for key in self.orders), default=3) + 2
        return list({(rng.randint(1, builds), rng.randint(1, 3)): None for _ in range(rng.randint(1, most))})

    def _frozen(self, held: tuple[Held, ...]) -> tuple[Held, ...]:
        """Return the same, some of it said to stand still."""
        return tuple(evolve(one, frozen=self._owner.random() < 0.3) for one in held)

    def _notice(self) -> OwnerNotice:
        """Return what its owner is said to wish, if there were one."""
        rng, now = self._owner, self.world.wall.wall()
        closed = rng.choice(("", "", "", "its owner is at the machine", "x" * 300))
        away = tuple(
            (now + rng.uniform(-9_000.0, 9_000.0), now + rng.uniform(-9_000.0, 9_000.0))
            for _ in range(rng.choice((0, 0, 1, 16)))
        )
        return OwnerNotice(closed, rng.choice((0.0, now + 300.0, 253_402_300_799.0)), away)

    def _invented(self, key: Key) -> Held:
        return Held(*key, self.world.rng.choice(tuple(HeldState)))

    async def ordered(self, order: Order) -> Accepted:
        """Take an order, or do not; what comes of it is another matter."""
        world, rng, key = self.world, self.world.rng, (order.build_id, order.epoch)
        world.watch.ordered(self.name, self.number, order)
        if world.faults.happens("refusal"):
            raise Declined("does not feel like it")
        if rng.random() < 0.1:
            await self.life.pause(rng.uniform(20.0, 200.0))
        self.orders[key] = order
        if rng.random() < 0.3:
            self.forgotten.add(key)  # it says nothing of it until it reports
        self._go(self._lie(order))
        return Accepted(*key)

    async def _lie(self, order: Order) -> None:
        world, rng, faults = self.world, self.world.rng, self.world.faults
        await self.life.pause(rng.uniform(0.1, 60.0))
        key = (order.build_id, order.epoch)
        first = await self._report(order)
        if key in self.forgotten:
            faults.count("lie_late")
        if key in self.forgotten or faults.happens("lie_late"):
            await self.life.pause(rng.uniform(0.5, 4.0) * world.lease)
        if first is not None:
            await self._tell(first)
        if faults.happens("lie_double") and first is not None:
            await self._tell(first)
        if faults.happens("lie_contradiction"):
            await self._tell(self._end(key) if isinstance(first, Done) else self._done(key, b"never sent"))
        if faults.happens("lie_foreign"):
            for other in self._keys(3):
                if other not in self.orders:
                    await self._tell(self._end(other) if rng.random() < 0.5 else self._done(other, b"not mine"))
                    await self._smuggle(order, other)
        if len(self.orders) > 4:
            del self.orders[next(iter(self.orders))]

    async def _report(self, order: Order) -> Done | Ended | None:
        rng, key = self.world.rng, (order.build_id, order.epoch)
        kind = rng.randrange(4)
        if kind == 0:
            return None
        if kind == 1:
            return self._end(key)
        data = f"whatever {self.name} says {self.world.time.now}".encode()
        if kind == 2 and await self._upload(order, data):
            return self._done(key, data)
        if rng.random() < 0.5:
            await self._upload(order, b"something bad!")
        return self._done(key, b"something else")

    async def _upload(self, order: Order, data: bytes) -> bool:
        path = f"{order.build_id}-{order.epoch}"
        self.files[path] = data
        uploads = SimulatedUploads(self.world.network, self.life, self.name, self.files.__getitem__)
        digest = hashlib.sha256(data).hexdigest()
        try:
            await uploads.append_log(order.log_url, order.log_ticket, 0, b"trust me\n")
            await uploads.upload(
                order.log_url.replace("/logs/", "/uploads/"), order.artifact_ticket, path, digest, len(data)
            )
        except BuildToolError:
            return False
        return True

    async def _smuggle(self, order: Order, other: Key) -> None:
        """Try to send something for another Attempt with one's own ticket."""
        old, new = f"{order.build_id}/{order.epoch}", f"{other[0]}/{other[1]}"
        if old == new:
            return
        self.files["smuggled"] = b"somebody else's program"
        uploads = SimulatedUploads(self.world.network, self.life, self.name, self.files.__getitem__)
        digest = hashlib.sha256(self.files["smuggled"]).hexdigest()
        url = order.log_url.replace("/logs/", "/uploads/").replace(old, new)
        try:
            await uploads.upload(url, order.artifact_ticket, "smuggled", digest, len(self.files["smuggled"]))
        except BuildToolError:
            return
        self.world.watch.wrong(f"{self.name} sent an artifact for {new} with the ticket of {old}")

    def _end(self, key: Key) -> Ended:
        return Ended(*key, self.world.rng.choice(ENDS), "it says so", "trust me\n")

    def _done(self, key: Key, data: bytes) -> Done:
        digest = hashlib.sha256(data).hexdigest()
        claimed = self.world.sandboxes.claimed()
        return Done(*key, digest, digest, len(data), "paint.zip", 1.0, "trust me\n", claimed)

    async def _tell(self, message: Done | Ended) -> None:
        session, number = self.session, self.number
        if session is None:
            return
        watch = self.world.watch
        if isinstance(message, Done):
            answer = await self._say(session, "done", message, Ok)
            if answer is not None:
                watch.done_taken(self.name, number, message, answer)
        else:
            answer = await self._say(session, "ended", message, Ok)
            if answer is not None:
                watch.end_taken(self.name, number, message, answer)

    async def _say(self, session: Session, name: str, message: attrs.AttrsInstance, expected: type[T]) -> T | None:
        try:
            return await session.call(name, message, expected)
        except BuildToolError as error:
            self.world.trace.say(self.name, f"is not believed: {name} {error.code}")
            return None
