"""The metaserver, put together as its entry point does, from the same parts, over the simulated machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.control.gateway import Gateway, Identify, anybody
from buildtool.adapters.http.handling import Oversight
from buildtool.adapters.http.transfer_site import TransferSite
from buildtool.adapters.mail.codes import render_code
from buildtool.adapters.mail.letter import Letter
from buildtool.adapters.mail.mailer import Mailer
from buildtool.adapters.mail.text import MailLinks, render
from buildtool.adapters.maintenance.orphan_sweep import OrphanSweep
from buildtool.adapters.maintenance.scrub_artifacts import ArtifactScrub
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.operator_store import SqlOperatorStore
from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.logs import LogStore
from buildtool.adapters.tls.authority import KEYS
from buildtool.adapters.tls.burnt_file import NAME as BURNT
from buildtool.adapters.tls.burnt_file import BurntFile
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import BuildToolError
from buildtool.metaserver.access.mailed_codes import MailedCodes, open_codes
from buildtool.metaserver.access.own_requests import RequestFinder
from buildtool.metaserver.access.tokens import TokenService, open_tokens, session_secret
from buildtool.metaserver.access.visiting import VisitorService
from buildtool.metaserver.accounts import AccountService, open_accounts
from buildtool.metaserver.authorised import Permissions, authorised
from buildtool.metaserver.batches import SLICE
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.build_servers import BuildServerService
from buildtool.metaserver.effects import EffectPerformer
from buildtool.metaserver.explanations import Explainer
from buildtool.metaserver.farm_status import FarmStatusReader
from buildtool.metaserver.operating import acting
from buildtool.metaserver.operating.bounces import BounceService
from buildtool.metaserver.operations import OperatorService
from buildtool.metaserver.problems import BuildProblems
from buildtool.metaserver.request_status import PublicUrls, RequestStatusReader
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.ticket_office import TicketOffice
from buildtool.model.access.confirmation import mail_code
from buildtool.model.access.identities import Identity
from buildtool.model.access.rights import RIGHTS
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Artifact
from buildtool.ports.metaserver import Handler, Handlers, OutgoingMail
from buildtool.programs.metaserver.mail import return_address
from buildtool.programs.metaserver.maintenance import SCRUB_AFTER, SWEEP_AFTER
from buildtool.protocol.hello import Hello
from buildtool.protocol.messages import Heartbeat, Register, RequestStatuses
from buildtool.scheduling.events import ArtifactGone
from buildtool.scheduling.state.state import State
from tests.simulation.clock import Life
from tests.simulation.database import SimulatedDatabase
from tests.simulation.keys import Signer
from tests.simulation.machine import Machine
from tests.simulation.origin import submitted
from tests.simulation.trust import OPERATOR

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
    accounts: AccountService | None = None
    operating: Handlers = field(factory=dict)
    ended: Callable[[str, str], None] = field(default=lambda _key, _why: None)

    async def start(self) -> None:
        """Open everything, take up what was open, and listen. Raises BuildToolError."""
        world, life, settings = self.world, self.life, self.world.settings
        clock, keys, disk = world.wall, Keys(world.key), self.machine.executor(life)
        database = SimulatedDatabase(world.rows, life, world.faults, world.committed)
        database.take_term()
        store = SqlBrokerStore(database, (events := world.front.events(life)).committed)
        artifacts = ArtifactStore(self.machine.directory, disk, self.machine.disk)
        logs = LogStore(self.machine.directory, disk, self.machine.disk, clock.wall)
        await logs.start()
        mailer = self._mailer(SqlOutboxStore(database), keys)
        state = self.state = State(world.configuring.policies(), world.lease, weights=world.fairness.weights)
        configuration = CurrentConfiguration(settings)
        status_reader = RequestStatusReader(state, store, PublicUrls(configuration), keys, clock.wall)
        tickets = TicketOffice(configuration, clock, keys)
        identify = await self._identify(store)
        gateway = Gateway(life, identify=identify, silence=world.lease, events=events)
        self.ended = gateway.end_key
        removal = ArtifactRemoval(self.machine.directory, artifacts, disk, self.machine.disk)
        effects = EffectPerformer(
            gateway.connections,
            gateway.followers,
            world.telling.start(self, database, mailer),
            logs,
            removal,
            status_reader,
            tickets,
            life,
        )
        broker = self.broker = Broker(state, store, clock, life, removal, effects, Stopwatch(world.seed))
        explainer = Explainer(state, store, status_reader)
        requests = RequestService(configuration, broker, store, world.resolver(life), status_reader, explainer, broker)
        requests.admittance.allowances.configure(world.shares.ceilings)
        troubles = BuildProblems(broker, life)
        build_servers = BuildServerService(
            configuration, broker, removal, tickets, gateway.connections, troubles.unkept
        )

        async def gone(artifact: Artifact, why: str) -> None:
            await broker.send(ArtifactGone(artifact, why))

        async def damaged(digest: str, what: str) -> None:
            try:
                if not await removal.quarantine(digest):
                    return
            except BuildToolError:
                pass  # it is not given out, whether or not it can be moved
            for artifact in await store.artifacts_of(digest):
                await gone(artifact, what)

        def corrupt(digest: str) -> None:
            Deferred.fromCoroutine(damaged(digest, "its bytes differ from their digest")).addErrback(_put_off)

        def lives(build_id: int, epoch: int) -> bool:
            return (build_id, epoch) in state.attempts

        self.parts += [database, store, artifacts, logs, mailer, gateway, effects, broker, requests, build_servers]
        await broker.start()
        await artifacts.start(keep=state.attempts)
        for left in [left for left in await logs.unfinished() if not lives(*left)]:
            effects.finish_log(*left)
        self._task(OrphanSweep(database, removal, gone), ArtifactScrub(database, removal, damaged))
        site = TransferSite(life, keys, clock, artifacts, logs, Oversight(lives, corrupt, unkept=troubles.unkept))
        self.parts += [site, *world.retention.started(self, database, store, removal, logs)]
        world.network.listen("transfer", life, site)
        people = {**requests.handlers, **self._operators(configuration, store, removal, database, keys)}
        tokens = await self._tokens(configuration, requests, mailer, keys)
        self._listen(configuration, gateway, (people, build_servers.handlers), tokens, events)
        await world.triggering.start(self, requests, database)
        mailer.startService()
        self.serving = True

    def _listen(
        self,
        configuration: CurrentConfiguration,
        gateway: Gateway,
        services: tuple[Handlers, Handlers],
        tokens: TokenService | None,
        events: EventFollowers,
    ) -> None:
        """Let come whoever comes: people and build servers, peers about their keys, and the pages."""
        (people, build_servers), accounts, world, life = services, self.accounts, self.world, self.life
        enrolling, pages = dict[Any, Handler](), dict[Any, Handler]()
        self.operating = self._guarded(people)
        if accounts is not None and tokens is not None:
            enrolling = {**accounts.joining, **accounts.keeping}
            people = {**people, **tokens.among(accounts.operating)}
            self.operating = self._guarded(people)
        guarded = tuple(self._guarded(one) for one in (people, build_servers, enrolling))
        if tokens is not None:
            pages = self._visiting(configuration, guarded, tokens)
        world.network.listen("meta", life, gateway.factory(*guarded))
        world.front.network.listen("meta", life, world.front.door(life, events, pages))

    # --- who is there -------------------------------------------------------------------------------------

    async def _identify(self, store: SqlBrokerStore) -> Identify:
        """Return what says who is there, in a world with keys by those that are known."""
        world = self.world
        if not world.keyed:
            return anybody
        numbers = random.Random(f"{world.seed} {self.life.name}")
        service = AccountService(
            store,
            world.wall,
            Signer(world.certificate_life),
            world.trust.life,
            lambda: [("meta", 1)],
            lambda key, why: self.ended(key, why),  # noqa: PLW0108 - it is another one by then
            lambda: world.trust.rejoin_within,
            lambda: f"{numbers.getrandbits(192):048x}",
            BurntFile(self.machine.directory / KEYS / BURNT, self.machine.executor(self.life), self.machine.disk),
        )
        self.accounts = await open_accounts(service)
        holders = KeyHolders(self.accounts.known, world.wall)

        async def identify(stranger: Principal, transport: Any, hello: Hello) -> Principal:
            found = await holders(stranger, transport, hello)
            if world.metaserver is self:
                world.trust.admitted(transport.getPeerCertificate(), hello.role, found)
            return found

        return identify

    async def _tokens(
        self, configuration: CurrentConfiguration, requests: RequestService, mailer: Mailer, keys: Keys
    ) -> TokenService | None:
        """Return tokens, sessions and codes by mail, in a world with keys."""
        world, accounts, store = self.world, self.accounts, requests.store
        if accounts is None:
            return None
        life, secret = world.trust.life, keys.codes(world.trust.life)
        numbers = random.Random(f"{world.seed} {self.life.name} tokens")
        allowances = requests.admittance.allowances
        codes = MailedCodes(configuration, store, world.wall, self.life.seconds, mailer, allowances, secret, life)
        codes.released = requests.admittance.release
        return await open_tokens(
            TokenService(
                configuration, store, world.wall, life, session_secret(secret),
                lambda: f"{numbers.getrandbits(192):048x}", self._holder,
                await open_codes(codes),
            )
        )  # fmt: skip

    def _holder(self, key: str) -> Identity | None:
        return self.accounts.book.keys.get(key) if self.accounts is not None else None

    def _visiting(
        self, configuration: CurrentConfiguration, services: Sequence[Handlers], tokens: TokenService
    ) -> dict[Any, Handler]:
        """Return what pages may ask, with a witness of what they are told."""
        visiting = VisitorService(configuration, services[0], services[-1], tokens).handlers
        return {message: partial(self._visited, handler) for message, handler in visiting.items()}

    async def _visited(self, handler: Handler, by: Principal, message: attrs.AttrsInstance) -> Any:
        with self.world.visits.asking(message, self.life) as making:
            answer = await handler(by, message)
        if self.world.metaserver is self:
            self.world.visits.answered(making, answer)
        return answer

    def _guarded(self, handlers: Handlers) -> Handlers:
        """Return handlers with a witness of what comes to them; where there are keys, behind the table of rights."""
        witnessed = {message: partial(self._witnessed, handler) for message, handler in handlers.items()}
        return authorised(witnessed, lambda: RIGHTS) if self.world.keyed else witnessed

    async def _witnessed(self, handler: Handler, by: Principal, message: attrs.AttrsInstance) -> Any:
        world, began = self.world, self.world.time.now
        if world.keyed and world.metaserver is self:
            world.trust.acting(by, message)
            if by.token:
                world.visits.acting(by, message)
        world.fairness.acting(by, message)
        act = world.ownership.begins(by, message, self.life)
        if items := submitted(message):
            world.refs.asks(items)
        server = message.server if isinstance(message, Register) else by.name
        if isinstance(message, (Heartbeat, Register)):
            world.downtimes.hears(server, message.notice)
        with world.visits.asking(message, self.life, by):
            answer = await handler(by, message)
        if items and world.metaserver is self:
            told = answer.items if isinstance(answer, RequestStatuses) else (answer,)
            world.refs.answered([world.watch.requests[one.request_id] for one in told])
        act.done(answer)
        if world.metaserver is self and isinstance(message, (Heartbeat, Register)):
            world.watch.heard(server, message.held, began)
            world.downtimes.heard(server, message.notice)
        return answer

    async def operate(self, message: attrs.AttrsInstance) -> Any:
        """Do what the operator asks for over the local socket. Raises BuildToolError."""
        return await self.operating[type(message)](OPERATOR, message)

    def _operators(
        self,
        configuration: CurrentConfiguration,
        store: SqlBrokerStore,
        files: ArtifactRemoval,
        database: Database,
        keys: Keys,
    ) -> Handlers:
        """Return what operators may do, and the owners of build servers to these."""
        accounts = self.accounts
        history = SqlOperatorStore(database)
        farm = FarmStatusReader(self.broker, history, self.broker, self.world.wall)

        def owner_of(server: str) -> str:
            holder = accounts.book.holder(PrincipalRole.BUILD_SERVER, server) if accounts is not None else None
            return holder.owner if holder is not None else ""

        permissions = Permissions(configuration, owner_of)
        operators = OperatorService(
            configuration, self.broker, store, history, files, self.world.wall, farm, permissions
        )
        bounces = BounceService(store, history, keys, permissions)
        return {
            **operators.handlers,
            **acting(RequestFinder(self.broker, store, keys, permissions)),
            **bounces.handlers,
        }

    # --- what it looks after ------------------------------------------------------------------------------

    def _task(self, sweep: OrphanSweep, scrub: ArtifactScrub) -> None:
        """Look after the files, as the entry point's housekeeping does."""
        for name, round_, delay in (
            ("the sweep", sweep.round_, SWEEP_AFTER),
            ("the scrubber", scrub.round_, SCRUB_AFTER),
        ):
            task = PeriodicTask(name, self.life, round_)
            self.parts.append(task)
            task.start(delay)

    def _mailer(self, outbox: SqlOutboxStore, keys: Keys) -> Mailer:
        world, settings = self.world, self.world.settings
        addresses = PublicUrls(CurrentConfiguration(settings))
        links = MailLinks(addresses.artifact, addresses.page, lambda build_id: f"{settings.public_url}/logs/{build_id}")

        async def rendered(outgoing: OutgoingMail, now: float) -> Letter:
            mail = outgoing.mail
            if mail.purpose:
                code = mail_code(keys.codes(mail.key.partition(":")[0]), mail.email, mail.created_at)
                return render_code(mail, code, settings.public_url, ("meta", 1), "")
            return evolve(render(outgoing, links, now), returns_to=return_address(settings.mail, outgoing, keys))

        return Mailer(outbox, self.life, world.wall, settings.mail, rendered, world.mail.delivery(self.life))


def _put_off(failure: Failure) -> None:
    failure.trap(BuildToolError)
