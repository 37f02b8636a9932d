"""The metaserver, put together as its entry point does, from the same parts, over the simulated machine."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.files import ArtifactStore
from buildtool.adapters.logs import LogStore
from buildtool.adapters.mail import Mailer
from buildtool.adapters.mail_text import Links, render
from buildtool.adapters.outbox_store import SqlOutboxStore
from buildtool.adapters.patrol import Patrol
from buildtool.adapters.pb_server import Gateway
from buildtool.adapters.scrub import Scrub
from buildtool.adapters.shelving import Shelving
from buildtool.adapters.stores import SqlBrokerStore
from buildtool.adapters.sweep import Sweep
from buildtool.adapters.transfer import Oversight, TransferSite
from buildtool.domain.incarnations import Keys
from buildtool.domain.messages import ArtifactGone
from buildtool.domain.model import Artifact
from buildtool.domain.state import State
from buildtool.entry.housekeeping import SCRUB_AFTER, SWEEP_AFTER
from buildtool.errors import BuildToolError
from buildtool.metaserver.broker import SLICE, Broker
from buildtool.metaserver.desk import Desk
from buildtool.metaserver.explaining import Explainer
from buildtool.metaserver.server_desk import Acts, ServerDesk, TicketOffice
from buildtool.metaserver.telling import Addresses, Teller
from buildtool.metaserver.troubles import Troubles
from tests.simulation.clock import Life
from tests.simulation.database import SimulatedDatabase
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.world import World


class Stopwatch:
    """Reads as if everything took the broker a few milliseconds, so that batches end and pause anywhere."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._rng.uniform(0.0, SLICE / 2)
        return self._now


@define(eq=False)
class Metaserver:
    """One life of the metaserver. ``serving`` once it listens."""

    world: World
    machine: Machine
    life: Life
    serving: bool = False
    parts: list[Any] = field(factory=list)
    state: State = field(init=False)
    broker: Broker = field(init=False)

    async def start(self) -> None:
        """Open everything, take up what was open, and listen. Raises BuildToolError."""
        world, life, settings = self.world, self.life, self.world.settings
        clock, keys, disk = world.wall, Keys(world.key), self.machine.executor(life)
        database = SimulatedDatabase(world.rows, life, world.faults, world.committed)
        database.take_term()
        store = SqlBrokerStore(database)
        artifacts = ArtifactStore(self.machine.directory, disk, self.machine.disk)
        logs = LogStore(self.machine.directory, disk, self.machine.disk)
        await logs.start()
        mailer = self._mailer(SqlOutboxStore(database))
        state = self.state = State({project.name: project.scheduling() for project in settings.projects}, world.lease)
        addresses = Addresses(settings.transfer_url, settings.public_url)
        teller = Teller(state, store, addresses, keys, clock.wall)
        tickets = TicketOffice(settings, clock, keys)
        gateway = Gateway(life, silence=world.lease)
        shelving = Shelving(self.machine.directory, artifacts, disk, self.machine.disk)
        acts = Acts(gateway, gateway, mailer, logs, shelving, teller, tickets, life)
        broker = self.broker = Broker(state, store, clock, life, shelving, acts, Stopwatch(world.seed))
        desk = Desk(settings, broker, store, world.resolver, teller, Explainer(state, store, teller), broker)
        troubles = Troubles(broker, life)
        server_desk = ServerDesk(settings, broker, shelving, tickets, gateway, troubles.unkept)

        async def gone(artifact: Artifact, why: str) -> None:
            await broker.send(ArtifactGone(artifact, why))

        async def damaged(digest: str, what: str) -> None:
            try:
                if not await shelving.quarantine(digest):
                    return
            except BuildToolError:
                pass  # it is not given out, whether or not it can be moved
            for artifact in await store.artifacts_of(digest):
                await gone(artifact, what)

        def corrupt(digest: str) -> None:
            Deferred.fromCoroutine(damaged(digest, "its bytes differ from their digest")).addErrback(_put_off)

        def lives(build_id: int, epoch: int) -> bool:
            return (build_id, epoch) in state.attempts

        self.parts += [database, store, artifacts, logs, mailer, gateway, acts, broker, desk, server_desk]
        await broker.start()
        await artifacts.start(keep=state.attempts)
        for left in [left for left in await logs.unfinished() if not lives(*left)]:
            acts.finish_log(*left)
        self._patrol(Sweep(database, shelving, gone), Scrub(database, shelving, damaged))
        site = TransferSite(life, keys, clock, artifacts, logs, Oversight(lives, corrupt, unkept=troubles.unkept))
        self.parts.append(site)
        world.network.listen("transfer", life, site)
        world.network.listen("meta", life, gateway.factory(desk, server_desk))
        mailer.startService()
        self.serving = True

    def _patrol(self, sweep: Sweep, scrub: Scrub) -> None:
        """Look after the files, as the entry point's housekeeping does."""
        for name, round_, delay in (
            ("the sweep", sweep.round_, SWEEP_AFTER),
            ("the scrubber", scrub.round_, SCRUB_AFTER),
        ):
            patrol = Patrol(name, self.life, round_)
            self.parts.append(patrol)
            patrol.start(delay)

    def _mailer(self, outbox: SqlOutboxStore) -> Mailer:
        world, settings = self.world, self.world.settings
        addresses = Addresses(settings.transfer_url, settings.public_url)
        links = Links(addresses.artifact, addresses.page, lambda build_id: f"{settings.public_url}/logs/{build_id}")

        def rendered(outgoing: Any, now: float) -> tuple[str, str]:
            return render(outgoing, links, now)

        return Mailer(outbox, self.life, world.wall, settings.mail, rendered, world.mail.delivery(self.life))


def _put_off(failure: Failure) -> None:
    failure.trap(BuildToolError)
